//! Where each pipeline stands, in its table and in Kafka (`k2 offsets`), how much of it is rejected ([`rejects`]), and moving it
//! by hand ([`change`]).
//!
//! The table's position is the truth; Kafka's figures are asked for beside it. Without Kafka the table's part is shown
//! alone. Showing changes nothing; a crash leaves nothing behind.

pub(crate) mod agreement;
pub mod change;
mod rejects;

pub use agreement::check_agreement;
pub use rejects::{RateLevel, Rejects};

use crate::config::{Config, Pipeline, Start};
use crate::connect;
use iceberg::spec::TableMetadata;
use k2_lake::decision::Head;
use k2_model::{ClusterId, Error, NextOffset, Partition, Result, SourceId, SourceState, TopicId, TopicIdentity, clock};
use k2_source::{Admin, ClientSettings, Watermarks};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long the brokers may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// One partition of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The pipeline.
    pub pipeline: String,
    /// Its table.
    pub table: String,
    /// Its topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to read, as the table says.
    pub next: Option<i64>,
    /// The first offset that Kafka still has.
    pub low: Option<i64>,
    /// One past the last offset that can be read.
    pub end: Option<i64>,
    /// Offsets that Kafka has and the table has not.
    pub lag: Option<i64>,
    /// What the group has committed, for lag tools.
    pub group_offset: Option<i64>,
    /// Seconds since the last commit of this pipeline, if its snapshot is still there.
    pub commit_age_s: Option<i64>,
    /// How it stands.
    pub status: Status,
}

/// How a position stands to Kafka's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Within the log.
    Ok,
    /// The table has none yet.
    NoPosition,
    /// Retention has deleted what comes next.
    BehindLogStart,
    /// The log ends before the position.
    AheadOfEnd,
    /// The topic was deleted and made anew.
    OtherTopic,
    /// The position belongs to another cluster.
    OtherCluster,
    /// The topic has no such partition.
    NoSuchPartition,
    /// The table was rolled back.
    RolledBack,
    /// Kafka did not answer.
    Unknown,
}

impl Status {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoPosition => "no position yet",
            Self::BehindLogStart => "behind log start",
            Self::AheadOfEnd => "ahead of end",
            Self::OtherTopic => "other topic id",
            Self::OtherCluster => "other cluster",
            Self::NoSuchPartition => "no such partition",
            Self::RolledBack => "table rolled back",
            Self::Unknown => "unknown",
        }
    }
}

/// All partitions, and what could not be learned.
#[derive(Debug, Default)]
pub struct Offsets {
    /// By pipeline and partition.
    pub rows: Vec<Row>,
    /// By silver pipeline.
    pub rejects: Vec<Rejects>,
    /// What kept figures from being complete.
    pub problems: Vec<Error>,
}

/// What Kafka says of one topic.
struct Topic {
    identity: TopicIdentity,
    logs: BTreeMap<Partition, Watermarks>,
    group: BTreeMap<Partition, NextOffset>,
}

/// What a table says of one pipeline.
#[derive(Default)]
struct Standing {
    state: Option<SourceState>,
    rolled_back: bool,
    committed_ms: Option<i64>,
}

/// Where the pipelines of these names stand; all enabled ones where none is named.
///
/// # Errors
/// A wrong name, or a catalog that does not answer. Kafka's silence is a problem in the result.
pub async fn show(config: &Config, names: &[String]) -> Result<Offsets> {
    let pipelines = config.select(names)?;
    let stores = connect::stores(config);
    let catalog = connect::catalog(config, &stores).await?;
    let asked = ask_kafka(connect::kafka(config), &pipelines);
    let mut shown = Offsets::default();
    let mut standings = Vec::new();
    for pipeline in &pipelines {
        let table = catalog.load(&connect::ident(config, &pipeline.table)?).await?;
        let standing = match &table {
            None => Standing::default(),
            Some(table) => standing(table.metadata(), &SourceId::new(pipeline.group.as_str())).unwrap_or_else(|e| {
                shown.problems.push(e.at(format!("table {}", pipeline.table)));
                Standing::default()
            }),
        };
        if let Some(silver) = pipeline.silver() {
            let counted = rejects::rejects(config, catalog.as_ref(), pipeline, silver, table.as_ref(), &standing);
            match counted.await {
                Ok(rejects) => shown.rejects.push(rejects),
                Err(e) => shown.problems.push(e),
            }
        }
        standings.push(standing);
    }
    let (mut topics, problems) = asked.await?;
    shown.problems.extend(problems);
    for (pipeline, standing) in pipelines.into_iter().zip(standings) {
        shown.rows.extend(rows(pipeline, &standing, topics.remove(&pipeline.name).as_ref()));
    }
    Ok(shown)
}

fn standing(table: &TableMetadata, source: &SourceId) -> Result<Standing> {
    let head = Head::of(table, source)?;
    let snapshot = head.state.as_ref().and_then(|s| table.snapshot_by_id(s.snapshot.id.0));
    Ok(Standing {
        rolled_back: head.check_lineage().is_err(),
        committed_ms: snapshot.map(|s| s.timestamp_ms()),
        state: head.state,
    })
}

/// Asks for all pipelines. Brokers that are silent once are not asked again.
async fn ask_kafka(settings: ClientSettings, pipelines: &[&Pipeline]) -> Result<(BTreeMap<String, Topic>, Vec<Error>)> {
    let wanted: Vec<_> = pipelines.iter().map(|p| (p.name.clone(), p.topic.clone(), p.group.clone())).collect();
    let work = move || -> Result<_> {
        let admin = Admin::connect(&settings, "k2-offsets")?.with_timeout(PATIENCE);
        let (mut topics, mut problems) = (BTreeMap::new(), Vec::new());
        for (pipeline, topic, group) in wanted {
            match ask_topic(&admin, &topic, &group) {
                Ok(answer) => drop(topics.insert(pipeline, answer)),
                Err(e) => {
                    let silent = e.class() == k2_model::Class::Retry;
                    problems.push(e);
                    if silent {
                        break;
                    }
                }
            }
        }
        Ok((topics, problems))
    };
    let answer = tokio::task::spawn_blocking(work).await;
    answer.map_err(|e| Error::unknown("asking Kafka failed").caused_by(e))?
}

fn ask_topic(admin: &Admin, topic: &str, group: &str) -> Result<Topic> {
    let identity = admin.identity(topic)?;
    let logs = admin.all_watermarks(topic, &admin.partitions(topic)?)?;
    Ok(Topic { identity, logs, group: admin.group_offsets(group, topic)? })
}

fn rows(pipeline: &Pipeline, standing: &Standing, kafka: Option<&Topic>) -> Vec<Row> {
    let position = standing.state.as_ref().and_then(|s| s.topics.get(&pipeline.topic));
    let known = position.into_iter().flat_map(|p| p.partitions.keys());
    let partitions: BTreeSet<Partition> = known.chain(kafka.into_iter().flat_map(|t| t.logs.keys())).copied().collect();
    let age = standing.committed_ms.map(|at| (clock::now_millis() - at).max(0) / 1000);
    let row = |partition: Partition| {
        let next = position.and_then(|p| p.partitions.get(&partition)).map(|p| p.next.0);
        let log = kafka.and_then(|t| t.logs.get(&partition));
        let belongs = standing.state.as_ref().zip(position).map(|(s, p)| (&s.cluster_id, p.topic_id.as_ref()));
        let mut status = status(next, belongs, kafka.map(|t| (&t.identity, log)));
        if standing.rolled_back {
            status = Status::RolledBack;
        }
        let lag = log.map(|log| match (next, status) {
            (None, _) if pipeline.start == Start::Latest => 0,
            (None, _) | (_, Status::OtherTopic | Status::OtherCluster) => log.end.0 - log.low.0,
            (Some(next), _) => (log.end.0 - next.max(log.low.0)).max(0),
        });
        Row {
            pipeline: pipeline.name.clone(),
            table: pipeline.table.clone(),
            topic: pipeline.topic.clone(),
            partition: partition.0,
            next,
            low: log.map(|l| l.low.0),
            end: log.map(|l| l.end.0),
            lag,
            group_offset: kafka.and_then(|t| t.group.get(&partition)).map(|o| o.0),
            commit_age_s: next.and(age),
            status,
        }
    };
    partitions.into_iter().map(row).collect()
}

/// | position | Kafka | status |
/// |---|---|---|
/// | none | any | no position |
/// | any | silent | unknown |
/// | of another cluster, or topic id | | other cluster, other topic |
/// | any | without the partition | no such partition |
/// | below the log's start, above its end, between | | behind, ahead, ok |
fn status(
    next: Option<i64>,
    belongs: Option<(&ClusterId, Option<&TopicId>)>,
    kafka: Option<(&TopicIdentity, Option<&Watermarks>)>,
) -> Status {
    let (Some(next), Some((cluster, topic_id))) = (next, belongs) else { return Status::NoPosition };
    let Some((identity, log)) = kafka else { return Status::Unknown };
    if *cluster != identity.cluster_id {
        return Status::OtherCluster;
    }
    if topic_id.is_some() && identity.topic_id.as_ref() != topic_id {
        return Status::OtherTopic;
    }
    match log {
        None => Status::NoSuchPartition,
        Some(log) if next < log.low.0 => Status::BehindLogStart,
        Some(log) if next > log.end.0 => Status::AheadOfEnd,
        Some(_) => Status::Ok,
    }
}

#[cfg(test)]
#[path = "offsets/tests.rs"]
mod tests;
