//! The table beside Kafka: every record that Kafka still has below the next offset is in the table byte for byte, and the
//! table has no row there that Kafka does not.
//!
//! 1. Kafka is read once, read_committed, partition by partition: which offsets there are, and sums of what they hold.
//! 2. Offsets are compared as sets: exact, and in a few MiB.
//! 3. The table's files are read once, whole ([`super::content`]), and sums of what both have are compared.
//! 4. Blocks that differ are read again from both, to name records and parts.
//!
//! Silver is compared together with its DLQ table: offsets of both as one set, and by content what is kept as it came, which
//! is the DLQ's raw records.
//!
//! Retention goes on meanwhile: a partition's comparison begins where Kafka began to answer.

mod read;

use super::Watch;
use super::balance::Pair;
use super::book::{Book, place};
use super::content::{Columns, Content, Wanted};
use super::report::{Check, Finding, Findings, Promise, count, ranges};
use crate::config::{Config, Pipeline, Start};
use crate::connect;
use k2_lake::decision::check_identity;
use k2_model::{NextOffset, Partition, Result, SourceId, SourceState, TopicIdentity};
use k2_source::{Admin, ClientSettings};
use read::{Side, Span, blocking, read, read_again};
use roaring::RoaringTreemap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Blocks that are looked at record by record.
const LOOKED_AT: usize = 16;

/// What was asked of Kafka before the tables were loaded.
pub(super) struct Cluster {
    settings: ClientSettings,
    /// By pipeline.
    topics: BTreeMap<String, Asked>,
}

struct Asked {
    identity: Arc<TopicIdentity>,
    group: BTreeMap<Partition, NextOffset>,
}

impl Cluster {
    pub(super) async fn ask(config: &Config, pipelines: &[&Pipeline]) -> Result<Self> {
        let settings = connect::kafka(config);
        let wanted: Vec<_> = pipelines.iter().map(|p| (p.name.clone(), p.topic.clone(), p.group.clone())).collect();
        let with = settings.clone();
        let topics = blocking(move || {
            let admin = Admin::connect(&with, "k2-verify")?;
            let ask = |(name, topic, group): (String, String, String)| {
                let identity = Arc::new(admin.identity(&topic)?);
                Ok((name, Asked { identity, group: admin.group_offsets(&group, &topic)? }))
            };
            wanted.into_iter().map(ask).collect::<Result<_>>()
        });
        Ok(Self { settings, topics: topics.await? })
    }
}

/// The comparison of one table with the topics that feed it.
pub(super) struct Comparison<'a> {
    book: &'a Book<'a>,
    cluster: &'a Cluster,
    watch: &'a Watch,
    kafka: Findings,
    group: Findings,
    records: u64,
    partitions: u64,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(book: &'a Book<'a>, cluster: &'a Cluster, watch: &'a Watch) -> Self {
        let (kafka, group) = (Findings::default(), Findings::default());
        Self { book, cluster, watch, kafka, group, records: 0, partitions: 0 }
    }

    pub(super) fn into_checks(self) -> Vec<Check> {
        let partitions = count(self.partitions, "partition");
        let compared = format!("{} of {partitions} compared", count(self.records, "record"));
        vec![self.kafka.into_check(Promise::Kafka, compared), self.group.into_check(Promise::Group, partitions)]
    }

    /// Compares the topic of one pipeline; `pair`: of a silver pipeline, with its DLQ table.
    pub(super) async fn compare(&mut self, pipeline: &Pipeline, pair: Option<&Pair<'_>>) -> Result<()> {
        let cluster = self.cluster;
        let Some(asked) = cluster.topics.get(&pipeline.name) else { return Ok(()) };
        let Some(state) = self.book.subject.sources.get(&SourceId::new(pipeline.group.as_str())) else {
            // nothing below a next offset that is not there
            return Ok(());
        };
        if let Err(e) = check_identity(state, &asked.identity) {
            self.kafka.add(Finding::new(format!("cannot be compared: {e}")));
            return Ok(());
        }
        let spans = self.spans(pipeline, pair, state, asked).await?;
        let (sides, kafka) = read(self.book.name, &cluster.settings, &pipeline.topic, &spans, self.watch).await?;
        self.records += sides.values().map(|s| s.seen.len()).sum::<u64>();
        self.compare_offsets(pipeline, pair, &spans, &sides).await?;
        let kept = |p: &i32| spans.iter().find(|s| s.partition == *p).map(|s| &*s.kept);
        let partitions = sides.iter().filter_map(|(p, s)| Some((*p, (s.from, s.to, kept(p)?, &s.seen)))).collect();
        let wanted = Wanted::new(&asked.identity, partitions);
        let (book, columns) = match pair {
            None => (self.book, Columns::BRONZE),
            Some(pair) => (pair.dlq, Columns::DLQ),
        };
        let content = Content { book, columns, watch: self.watch };
        let table = content.sums(&wanted, &bare_of(&spans)).await?;
        let differing = kafka.differing(&table);
        self.name_differences(pipeline, &spans, &sides, &content, &wanted, &differing).await
    }

    /// What to read of each partition; positions that Kafka or the group contradict are findings.
    async fn spans(
        &mut self,
        pipeline: &Pipeline,
        pair: Option<&Pair<'_>>,
        state: &SourceState,
        asked: &Asked,
    ) -> Result<Vec<Span>> {
        let Some(position) = state.topics.get(&pipeline.topic) else { return Ok(Vec::new()) };
        let topic = &pipeline.topic;
        let complete = pair.map(Pair::complete_to);
        let partitions: Vec<Partition> = position.partitions.keys().copied().collect();
        let (settings, name) = (self.cluster.settings.clone(), topic.clone());
        let logs = blocking(move || {
            let admin = Admin::connect(&settings, "k2-verify")?;
            let there = admin.partitions(&name)?;
            let asked: Vec<_> = partitions.into_iter().filter(|p| there.contains(p)).collect();
            admin.all_watermarks(&name, &asked)
        });
        let logs = logs.await?;
        let mut spans = Vec::new();
        for (partition, at) in &position.partitions {
            let next = at.next.0;
            let chain = self.book.history.chains.get(&(pipeline.group.clone(), topic.clone(), partition.0));
            let moved = chain.is_some_and(|c| c.moved);
            if let Some(committed) = asked.group.get(partition).filter(|c| c.0 > next && !moved) {
                let what =
                    format!("group {} has committed {committed}, the table's next offset is {next}", pipeline.group);
                self.group.add(Finding::new(what).topic(topic.clone(), partition.0));
            }
            let Some(log) = logs.get(partition) else {
                let what = "the table has a position, but the topic has no such partition";
                self.kafka.add(Finding::new(what).topic(topic.clone(), partition.0));
                continue;
            };
            if log.end.0 < next {
                let what = "the table has read this, but Kafka's log ends before it";
                let finding = Finding::new(what).topic(topic.clone(), partition.0).offsets(log.end.0, next);
                self.kafka.add_many(finding, next.abs_diff(log.end.0));
            }
            let (rows, kept, bare) = self.rows_of(pair, &asked.identity, *partition);
            // a pipeline that starts at the end owes nothing before its first range
            let first = match pipeline.start {
                Start::Earliest => None,
                Start::Latest if self.book.history.complete => chain.and_then(|c| c.first),
                Start::Latest => rows.min().and_then(|first| i64::try_from(first).ok()),
            };
            let from = log.low.0.max(first.unwrap_or(0));
            // rejects on their way to the DLQ table are nowhere yet
            let complete = complete.as_ref().and_then(|c| c.get(partition)).copied().unwrap_or(next);
            spans.push(Span {
                partition: partition.0,
                from,
                to: complete.min(log.end.0),
                rows: Arc::new(rows),
                kept: Arc::new(kept),
                bare: Arc::new(bare),
                headers: pair.is_none(),
            });
            self.partitions += 1;
        }
        Ok(spans)
    }

    /// The offsets that are there; those whose rows keep the record as it came; and those of them that only rows of Spark have.
    fn rows_of(
        &self,
        pair: Option<&Pair<'_>>,
        identity: &TopicIdentity,
        partition: Partition,
    ) -> (RoaringTreemap, RoaringTreemap, RoaringTreemap) {
        match pair {
            None => {
                let id = identity.topic_id.as_ref().map(|id| id.as_str());
                let (rows, bare) = self.book.rows_of(&identity.topic, id, partition.0);
                (rows.clone(), rows, bare)
            }
            Some(pair) => {
                let (silver, dlq) = pair.rows_of(partition.0);
                (silver | &dlq, dlq, RoaringTreemap::new())
            }
        }
    }

    /// Every offset of Kafka's is in the table, and the other way round.
    async fn compare_offsets(
        &mut self,
        pipeline: &Pipeline,
        pair: Option<&Pair<'_>>,
        spans: &[Span],
        sides: &BTreeMap<i32, Side>,
    ) -> Result<()> {
        let topic = &pipeline.topic;
        let (nowhere, there) = match pair {
            None => ("in Kafka, but not in the table", "in the table"),
            Some(_) => ("in Kafka, but neither in the table nor in the DLQ", "in the table or in the DLQ"),
        };
        let mut surplus = Vec::new();
        for span in spans {
            let (partition, rows) = (&span.partition, &*span.rows);
            let Some(side) = sides.get(partition) else { continue };
            let mut missing = &side.seen - rows;
            let chain = self.book.history.chains.get(&(pipeline.group.clone(), topic.clone(), *partition));
            for (from, to) in chain.iter().flat_map(|c| &c.skipped) {
                missing.remove_range(place(*from)..place(*to));
            }
            for (from, to) in ranges(missing.iter()) {
                let finding = Finding::new(nowhere).topic(topic.clone(), *partition);
                self.kafka.add_many(finding.offsets(from, to), from.abs_diff(to));
            }
            let mut rows = rows - &side.seen;
            rows.remove_range(..place(side.from));
            rows.remove_range(place(side.to)..);
            if !rows.is_empty() {
                surplus.push((*partition, rows));
            }
        }
        if surplus.is_empty() {
            return Ok(());
        }
        let (settings, name) = (self.cluster.settings.clone(), topic.clone());
        let compacted = blocking(move || Admin::connect(&settings, "k2-verify")?.is_compacted(&name)).await?;
        let what = match compacted {
            Some(true) => return Ok(()),
            Some(false) => format!("{there}, but Kafka has no such record"),
            None => format!(
                "{there}, but Kafka has no such record (unless the topic is compacted, which the brokers do not tell)"
            ),
        };
        for (partition, rows) in surplus {
            for (from, to) in ranges(rows.iter()) {
                let finding = Finding::new(&*what).topic(topic.clone(), partition).offsets(from, to);
                self.kafka.add_many(finding, from.abs_diff(to));
            }
        }
        Ok(())
    }

    /// Reads blocks that differ again, from both sides, and names records and parts.
    async fn name_differences(
        &mut self,
        pipeline: &Pipeline,
        spans: &[Span],
        sides: &BTreeMap<i32, Side>,
        content: &Content<'_>,
        wanted: &Wanted<'_>,
        differing: &[(i32, i64, i64)],
    ) -> Result<()> {
        let topic = &pipeline.topic;
        let looked_at = &differing[..differing.len().min(LOOKED_AT)];
        if looked_at.is_empty() {
            return Ok(());
        }
        let blocks: Vec<Span> = looked_at
            .iter()
            .filter_map(|(partition, from, to)| {
                let (side, span) = (sides.get(partition)?, spans.iter().find(|s| s.partition == *partition)?);
                Some(Span { from: side.from.max(*from), to: side.to.min(*to), ..span.clone() })
            })
            .collect();
        let records = read_again(&self.cluster.settings, topic, blocks).await?;
        let found = content.differences(wanted, &bare_of(spans), &records, looked_at).await?;
        let named: Vec<(i32, i64)> = found.iter().map(|d| (d.partition, d.offset)).collect();
        for difference in found {
            let what = format!("{} of the row not as in Kafka", describe(&difference.parts));
            let finding = Finding::new(what).topic(topic.clone(), difference.partition);
            self.kafka.add(finding.offsets(difference.offset, difference.offset + 1).file(difference.file));
        }
        for (partition, from, to) in differing {
            let is_named = named.iter().any(|(p, offset)| p == partition && (*from..*to).contains(offset));
            // the sums of rows that are there twice differ; told by another finding
            if is_named || content.book.has_twins_in(topic, *partition, *from, *to) {
                continue;
            }
            let what = "the rows here do not hold what Kafka's records hold";
            self.kafka.add(Finding::new(what).topic(topic.clone(), *partition).offsets(*from, *to));
        }
        Ok(())
    }
}

fn describe(parts: &[&'static str]) -> String {
    match parts {
        [] => "content".to_owned(),
        parts => parts.join(", "),
    }
}

fn bare_of(spans: &[Span]) -> BTreeMap<i32, Arc<RoaringTreemap>> {
    spans.iter().map(|s| (s.partition, Arc::clone(&s.bare))).collect()
}
