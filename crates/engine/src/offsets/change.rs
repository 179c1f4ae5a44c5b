//! Moving positions by hand: `k2 offsets set`, `reset`, `accept-loss`.
//!
//! Each command is a pure function from the position as it is to the position as it shall be; [`Gate::set_position`] applies
//! it to the head of the table, pinned. Without `execute` it is applied to nothing and only shown.

mod both;

use crate::config::{Config, Pipeline};
use crate::connect;
use crate::verify::history::{History, Links};
use both::Both;
use iceberg::spec::TableMetadata;
use k2_lake::decision::{Head, check_identity};
use k2_lake::gate::{Gate, Moves, moves};
use k2_model::position::VERSION;
use k2_model::{
    BatchId, Error, NextOffset, Partition, PartitionPosition, Result, SinkSnapshot, SnapshotId, SourceId, SourceState,
    TopicIdentity, TopicPosition,
};
use k2_source::{Admin, Watermarks};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What to do with the position of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Continue at these offsets.
    Set(BTreeMap<Partition, NextOffset>),
    /// Continue where the commits on the table's main branch end: after a rollback.
    AsTable,
    /// Forget the positions of these partitions, or of all if none is named: they begin at `start` again.
    Reset(Vec<Partition>),
    /// Go on at the start of the log where retention was faster.
    AcceptLoss,
}

/// What a change does, or did.
#[derive(Debug)]
pub struct Changed {
    /// The table.
    pub table: String,
    /// Positions before and after.
    pub moves: Moves,
    /// The same of the DLQ table, of a silver pipeline.
    pub dlq: Option<DlqMoves>,
    /// What a person has to know.
    pub warnings: Vec<String>,
}

/// What a change does to the DLQ table of a silver pipeline.
#[derive(Debug)]
pub struct DlqMoves {
    /// The table.
    pub table: String,
    /// Positions before and after.
    pub moves: Moves,
}

/// What is asked of Kafka first.
struct Facts {
    identity: TopicIdentity,
    logs: BTreeMap<Partition, Watermarks>,
}

/// Makes the change, or shows what it would do.
///
/// # Errors
/// A pipeline or partition that is not there, an offset that Kafka does not have, a table that cannot be committed to.
pub async fn change(config: &Config, pipeline: &str, change: &Change, execute: bool) -> Result<Changed> {
    let names = [pipeline.to_owned()];
    let [pipeline] = config.select(&names)?[..] else { return Err(Error::config("name one pipeline")) };
    let stores = connect::stores(config);
    let catalog = connect::catalog(config, &stores).await?;
    let ident = connect::ident(config, &pipeline.table)?;
    if catalog.load(&ident).await?.is_none() {
        return Err(Error::config("the table does not exist, so it has no position").at(format!("table {ident}")));
    }
    // a reset, and what the table says of itself, need no Kafka
    let facts = match change {
        Change::Set(_) | Change::AcceptLoss => Some(ask(config, pipeline).await?),
        Change::AsTable | Change::Reset(_) => None,
    };
    let gate = Gate::new(Arc::clone(&catalog), ident, SourceId::new(pipeline.group.as_str()));
    let wanted = Wanted { change, pipeline, facts };
    if let Some(silver) = pipeline.silver() {
        let dlq = connect::ident(config, &silver.dlq)?;
        return Both::new(wanted, gate, catalog, dlq).change(execute).await;
    }
    let (table, before) = gate.position(wanted.replaces_broken()).await?;
    let after = wanted.apply(table.metadata(), before.clone())?;
    let broken = before.is_none() && table.metadata().properties().contains_key(&gate.source().property_key());
    let mut changed = Changed {
        table: pipeline.table.clone(),
        moves: moves(before.as_ref(), after.as_ref()),
        dlq: None,
        warnings: warnings(change, table.metadata(), before.as_ref(), after.as_ref()),
    };
    if execute && (before != after || broken) {
        changed.moves = gate.set_position(wanted.replaces_broken(), |table, state| wanted.apply(table, state)).await?;
    }
    Ok(changed)
}

async fn ask(config: &Config, pipeline: &Pipeline) -> Result<Facts> {
    let (settings, topic) = (connect::kafka(config), pipeline.topic.clone());
    let work = move || -> Result<Facts> {
        let admin = Admin::connect(&settings, "k2-offsets")?;
        let identity = admin.identity(&topic)?;
        Ok(Facts { identity, logs: admin.all_watermarks(&topic, &admin.partitions(&topic)?)? })
    };
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::unknown("asking Kafka failed").caused_by(e))?
}

/// A change of one pipeline, with all that it needs to know.
struct Wanted<'a> {
    change: &'a Change,
    pipeline: &'a Pipeline,
    facts: Option<Facts>,
}

impl Wanted<'_> {
    /// Whether a position that cannot be read may go.
    fn replaces_broken(&self) -> bool {
        matches!(self.change, Change::Reset(partitions) if partitions.is_empty())
    }

    /// What becomes of a position.
    fn apply(&self, table: &TableMetadata, state: Option<SourceState>) -> Result<Option<SourceState>> {
        let facts = || self.facts.as_ref().ok_or_else(|| Error::unknown("Kafka was not asked"));
        let source = SourceId::new(self.pipeline.group.as_str());
        match self.change {
            Change::Set(wanted) => set(self.pipeline, facts()?, &Head::of(table, &source)?, wanted).map(Some),
            Change::AsTable => as_table(self.pipeline, table, state, Links::Abut),
            Change::Reset(partitions) => Ok(reset(self.pipeline, partitions, state)),
            Change::AcceptLoss => {
                Head::of(table, &source)?.check_lineage()?;
                accept_loss(self.pipeline, facts()?, state)
            }
        }
    }
}

fn at(next: NextOffset) -> PartitionPosition {
    PartitionPosition { next, leader_epoch: None, last: None, batch: BatchId::fresh() }
}

/// Positions of another cluster or incarnation go: they mean nothing beside the new ones.
fn set(
    pipeline: &Pipeline,
    facts: &Facts,
    head: &Head,
    wanted: &BTreeMap<Partition, NextOffset>,
) -> Result<SourceState> {
    let topic = &pipeline.topic;
    for (partition, next) in wanted {
        let place = |e: Error| e.at(format!("topic {topic}/{partition}"));
        let log = facts.logs.get(partition).ok_or_else(|| {
            place(
                Error::config(format!("the topic has no partition {partition}"))
                    .fix(format!("its partitions are 0 to {}", facts.logs.len().saturating_sub(1))),
            )
        })?;
        if *next < log.low || *next > log.end {
            return Err(place(
                Error::config(format!("Kafka has no offset {next} to go on from"))
                    .fix(format!("choose one from {} (the log's start) to {} (its end)", log.low, log.end)),
            ));
        }
    }
    let identity = &facts.identity;
    let known = head.state.clone().filter(|s| s.cluster_id == identity.cluster_id);
    let mut topics = known.as_ref().map(|s| s.topics.clone()).unwrap_or_default();
    let same = |t: &TopicPosition| t.topic_id.is_none() || t.topic_id == identity.topic_id;
    let position = topics.remove(topic).filter(same);
    let mut position = position.unwrap_or_else(|| TopicPosition { topic_id: None, partitions: BTreeMap::new() });
    // one commit makes the table's history count as accepted: all positions have to be right in it
    let unnamed: Vec<String> =
        position.partitions.keys().filter(|p| !wanted.contains_key(p)).map(ToString::to_string).collect();
    if !unnamed.is_empty() && head.check_lineage().is_err() {
        return Err(Error::config(format!(
            "the table was rolled back: partitions {} need a position too",
            unnamed.join(", ")
        ))
        .fix("name all partitions in one command, or let the table tell: `k2 offsets set PIPELINE --as-table`"));
    }
    position.topic_id = identity.topic_id.clone();
    position.partitions.extend(wanted.iter().map(|(partition, next)| (*partition, at(*next))));
    topics.insert(topic.clone(), position);
    Ok(SourceState {
        version: VERSION,
        cluster_id: identity.cluster_id.clone(),
        snapshot: SinkSnapshot { id: SnapshotId(0), sequence: 0 },
        rules: known.as_ref().and_then(|s| s.rules.clone()),
        intents: known.map(|s| s.intents).unwrap_or_default(),
        topics,
    })
}

/// Positions become what the ranges on main say.
fn as_table(
    pipeline: &Pipeline,
    table: &TableMetadata,
    state: Option<SourceState>,
    links: Links,
) -> Result<Option<SourceState>> {
    let Some(mut state) = state else { return Ok(None) };
    let history = History::of(table, links, &mut crate::verify::Findings::default());
    for (topic, position) in &mut state.topics {
        let mut kept = BTreeMap::new();
        for (partition, was) in std::mem::take(&mut position.partitions) {
            let chain = history.chains.get(&(pipeline.group.clone(), topic.clone(), partition.0));
            match chain.map(|c| c.stands) {
                Some(Some(stands)) if stands == was.next.0 => drop(kept.insert(partition, was)),
                Some(Some(stands)) => drop(kept.insert(partition, at(NextOffset(stands)))),
                // taken away by hand, or not begun yet
                Some(None) => {}
                None if history.complete => {}
                None => {
                    return Err(Error::config("the snapshots that would tell the position have expired")
                        .at(format!("topic {topic}/{partition}"))
                        .fix("find the greatest offset of the partition in the table and name all partitions: `k2 offsets set`"));
                }
            }
        }
        position.partitions = kept;
    }
    state.topics.retain(|_, position| !position.partitions.is_empty());
    Ok((!state.topics.is_empty()).then_some(state))
}

fn reset(pipeline: &Pipeline, partitions: &[Partition], state: Option<SourceState>) -> Option<SourceState> {
    let mut state = state?;
    if partitions.is_empty() {
        return None;
    }
    if let Some(position) = state.topics.get_mut(&pipeline.topic) {
        position.partitions.retain(|partition, _| !partitions.contains(partition));
    }
    state.topics.retain(|_, position| !position.partitions.is_empty());
    (!state.topics.is_empty()).then_some(state)
}

fn accept_loss(pipeline: &Pipeline, facts: &Facts, state: Option<SourceState>) -> Result<Option<SourceState>> {
    let Some(mut state) = state else { return Ok(None) };
    check_identity(&state, &facts.identity)?;
    if let Some(position) = state.topics.get_mut(&pipeline.topic) {
        for (partition, was) in &mut position.partitions {
            if let Some(log) = facts.logs.get(partition)
                && was.next < log.low
            {
                *was = at(log.low);
            }
        }
    }
    Ok(Some(state))
}

fn warnings(
    change: &Change,
    table: &TableMetadata,
    before: Option<&SourceState>,
    after: Option<&SourceState>,
) -> Vec<String> {
    let rows = table.current_snapshot().and_then(|s| s.summary().additional_properties.get("total-records"));
    let mut warnings = Vec::new();
    let moves = moves(before, after);
    match change {
        Change::Reset(_) if !moves.is_empty() && rows.is_some_and(|r| r != "0") => warnings.push(format!(
            "the table has {} rows. Records that Kafka still has will be in it twice, unless the topic was made anew",
            rows.map_or("some", |r| r.as_str())
        )),
        Change::Set(_) => {
            if moves.values().any(|(from, to)| matches!((from, to), (Some(from), Some(to)) if to < from)) {
                warnings.push(
                    "a position goes back: records in between will be in the table twice, unless their rows are gone"
                        .into(),
                );
            }
            if moves.values().any(|(from, to)| matches!((from, to), (Some(from), Some(to)) if to > from)) {
                warnings.push("a position goes forward: records in between will not be in the table".into());
            }
            if moves.values().any(|(_, to)| to.is_none()) {
                warnings.push(
                    "positions of another cluster or an earlier topic are dropped; those partitions begin at the pipeline's \
                     `start` unless they are set too"
                        .into(),
                );
            }
        }
        _ => {}
    }
    warnings
}

#[cfg(test)]
#[path = "change/tests.rs"]
mod tests;
