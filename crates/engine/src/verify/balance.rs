//! The balance of a silver pipeline: every record of bronze is in silver or in the DLQ, in one of them, once.
//!
//! ## What is compared
//! Per partition the offsets that both sides have covered: from the higher of the two beginnings to the lower of the two next
//! offsets, and not beyond the beginning of a batch whose rejects are decided on and not yet in the DLQ table. Within them
//! bitmaps of offsets are compared as sets, so that records which compaction or transactions left out are no matter.
//! Offsets that a person has skipped (`k2 offsets`) are not owed.
//!
//! ## Consistency
//! Tables are loaded in the order silver, DLQ, bronze, while a pipeline may be at work:
//! 1. An intent leaves silver's position after its rejects are in the DLQ table. So what silver, loaded first, no longer
//!    lists is in the DLQ table, loaded later; what it lists may be there or not, and the DLQ table's own position tells.
//! 2. Bronze holds every record below its own position at any time, so its turn does not matter; the last is the fullest.
//! 3. The DLQ table never stands beyond silver. That shows only if it is read *before* silver, so silver's position is read
//!    once more where the first look seems to say so.

use super::Layer;
use super::book::{Book, place};
use super::history::ChainKey;
use super::report::{BalanceReport, Check, Finding, Findings, PartitionBalance, Promise, count, ranges};
use super::sets::Key;
use crate::config::{Pipeline, Silver};
use crate::offsets::agreement::beyond;
use k2_lake::catalog::Catalog;
use k2_lake::decision::Head;
use k2_lake::decision::settle::{Verdict, judge};
use k2_model::{Intent, NextOffset, Partition, Result, SourceId, SourceState};
use roaring::RoaringTreemap;
use std::collections::BTreeMap;

/// The books that a balance is made of.
pub(super) struct Pair<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) silver: &'a Book<'a>,
    pub(super) dlq: &'a Book<'a>,
    /// None: none is configured, or it is not there.
    pub(super) bronze: Option<&'a Book<'a>>,
    settings: &'a Silver,
    /// The DLQ table's head; none: its position cannot be read.
    head: Option<Head>,
}

impl<'a> Pair<'a> {
    /// The pair of a silver pipeline, among the books of all tables.
    pub(super) fn of(pipeline: &'a Pipeline, settings: &'a Silver, books: &'a [Book<'a>]) -> Option<Self> {
        let find = |layer: Layer, name: &str| books.iter().find(|b| b.layer == layer && b.name == name);
        let (silver, dlq) = (find(Layer::Silver, &pipeline.table)?, find(Layer::Dlq, &settings.dlq)?);
        let bronze = find(Layer::Bronze, &settings.bronze);
        let head = Head::of(dlq.subject.table.metadata(), &SourceId::new(pipeline.group.as_str())).ok();
        Some(Self { pipeline, silver, dlq, bronze, settings, head })
    }

    fn source(&self) -> SourceId {
        SourceId::new(self.pipeline.group.as_str())
    }

    /// Silver's position.
    pub(super) fn state(&self) -> Option<&'a SourceState> {
        self.silver.subject.sources.get(&self.source())
    }

    fn rejects_state(&self) -> Option<&'a SourceState> {
        self.dlq.subject.sources.get(&self.source())
    }

    fn topic_id(&self) -> Option<&'a str> {
        self.state()?.topics.get(&self.pipeline.topic)?.topic_id.as_ref().map(|id| id.as_str())
    }

    /// The offsets of a partition in silver and in the DLQ.
    pub(super) fn rows_of(&self, partition: i32) -> (RoaringTreemap, RoaringTreemap) {
        let rows = |book: &Book<'_>| book.rows_of(&self.pipeline.topic, self.topic_id(), partition).0;
        (rows(self.silver), rows(self.dlq))
    }

    /// What has become of an intent, by the DLQ table as it was loaded.
    fn verdict(&self, intent: &Intent) -> Result<Verdict> {
        match (&self.head, self.state()) {
            (Some(head), Some(state)) => judge(head, &state.cluster_id, intent),
            _ => Ok(Verdict::Apply),
        }
    }

    /// Intents that the DLQ table did not have when it was loaded.
    fn pending(&self) -> impl Iterator<Item = &'a Intent> {
        let intents = self.state().into_iter().flat_map(|s| &s.intents);
        intents.filter(|intent| !matches!(self.verdict(intent), Ok(Verdict::Applied)))
    }

    /// Up to where silver and the DLQ are complete, by partition.
    pub(super) fn complete_to(&self) -> BTreeMap<Partition, i64> {
        let position = self.state().and_then(|s| s.topics.get(&self.pipeline.topic));
        let each = position.into_iter().flat_map(|p| &p.partitions);
        let mut bounds: BTreeMap<Partition, i64> = each.map(|(p, at)| (*p, at.next.0)).collect();
        for intent in self.pending() {
            for (partition, (from, to)) in intent.ranges.iter().filter(|_| intent.topic == self.pipeline.topic) {
                if let Some(bound) = bounds.get_mut(partition).filter(|_| from < to) {
                    *bound = (*bound).min(from.0);
                }
            }
        }
        bounds
    }

    /// Holds the promises about both tables.
    pub(super) async fn check(&self, catalog: &dyn Catalog) -> Result<BalanceReport> {
        let mut report = BalanceReport {
            pipeline: self.pipeline.name.clone(),
            topic: self.pipeline.topic.clone(),
            bronze: self.bronze.map(|b| b.name.to_owned()),
            silver: self.silver.name.to_owned(),
            dlq: self.dlq.name.to_owned(),
            partitions: Vec::new(),
            rate: None,
            checks: vec![self.intents(catalog).await?, self.apart()],
            notes: Vec::new(),
        };
        let waiting = self.pending().map(|i| i.rows).sum::<u64>();
        if waiting > 0 {
            report.notes.push(format!(
                "{} of {} {} on the way to {}: compared up to there",
                count(waiting, "reject"),
                count(self.pending().count() as u64, "commit"),
                if waiting == 1 { "is" } else { "are" },
                self.dlq.name,
            ));
        }
        match self.bronze {
            Some(bronze) => self.balance(bronze, &mut report),
            None if self.settings.bronze.is_empty() => {
                report.notes.push("the pipeline names no bronze table to compare with".to_owned());
            }
            None => report.notes.push(format!("{} does not exist: nothing to compare with", self.settings.bronze)),
        }
        Ok(report)
    }

    /// What silver has decided on is in the DLQ table or can still come there.
    async fn intents(&self, catalog: &dyn Catalog) -> Result<Check> {
        let mut findings = Findings::default();
        let topic = &self.pipeline.topic;
        let intents: Vec<&Intent> = self.state().into_iter().flat_map(|s| &s.intents).collect();
        for intent in &intents {
            match self.verdict(intent) {
                Ok(Verdict::Applied) => {}
                Ok(Verdict::Apply) => self.look_for_files(intent, &mut findings).await?,
                Err(e) => findings.add_many(Finding::new(e.to_string()), intent.rows.max(1)),
            }
        }
        for (partition, rejects, trades) in self.beyond_silver(catalog).await? {
            let silver = trades.map_or_else(|| "has no position there".to_owned(), |next| format!("at {next}"));
            let what = format!("the DLQ table stands at {rejects}, silver {silver}: rejects in between would be lost");
            findings.add(Finding::new(what).topic(topic.clone(), partition.0));
        }
        let applied = intents.len() - self.pending().count();
        let summary = format!("{} of {} applied", applied, count(intents.len() as u64, "intent"));
        Ok(findings.into_check(Promise::Intents, summary))
    }

    /// The files of a pending intent are the only place where its rejects are.
    async fn look_for_files(&self, intent: &Intent, findings: &mut Findings) -> Result<()> {
        let batch = format!("of batch {}", intent.batch);
        for file in &intent.files {
            let Some(path) = file.get("file_path").and_then(serde_json::Value::as_str) else {
                findings.add(Finding::new(format!("a file of the rejects {batch} has no path")));
                continue;
            };
            let there = self.dlq.subject.table.file_io().exists(path).await;
            if !there.map_err(|e| k2_lake::store::iceberg_error("cannot look for a file", e).at(path.to_owned()))? {
                let what = format!("the rejects {batch} are not in the DLQ table yet, and their file is missing");
                findings.add_many(Finding::new(what).file(path), intent.rows.max(1));
            }
        }
        Ok(())
    }

    /// Silver was loaded before the DLQ table and may have moved on since: where it seems to be behind, it is asked again.
    async fn beyond_silver(&self, catalog: &dyn Catalog) -> Result<Vec<(Partition, NextOffset, Option<NextOffset>)>> {
        let topic = &self.pipeline.topic;
        if self.silver.subject.unreadable || beyond(topic, self.state(), self.rejects_state()).is_empty() {
            return Ok(Vec::new());
        }
        let now = catalog.load(self.silver.subject.table.identifier()).await?;
        // a position that cannot be read is told elsewhere
        let now = now.and_then(|table| Head::of(table.metadata(), &self.source()).ok());
        Ok(now.map_or_else(Vec::new, |now| beyond(topic, now.state.as_ref(), self.rejects_state())))
    }

    /// No record is in both tables, in whatever incarnation of the topic.
    fn apart(&self) -> Check {
        let mut findings = Findings::default();
        let of_topic = |(key, _): &(&Key, &RoaringTreemap)| *key.topic == *self.pipeline.topic;
        let (mut silver, mut rejects) = (0, 0);
        for (_, set) in self.dlq.offsets.iter().filter(of_topic) {
            rejects += set.len();
        }
        for (key, set) in self.silver.offsets.iter().filter(of_topic) {
            silver += set.len();
            let Some(in_dlq) = self.dlq.offsets.get(key) else { continue };
            if set.is_disjoint(in_dlq) {
                continue;
            }
            for (from, to) in ranges((set & in_dlq).iter()) {
                let what = format!("in {} and in {}", self.silver.name, self.dlq.name);
                findings.add_many(key.finding(what).offsets(from, to), from.abs_diff(to));
            }
        }
        findings.into_check(Promise::Apart, format!("{} and {}", count(silver, "record"), count(rejects, "reject")))
    }

    fn balance(&self, bronze: &Book<'_>, report: &mut BalanceReport) {
        let mut findings = Findings::default();
        let mut uncovered = 0_u64;
        for (partition, complete) in self.complete_to() {
            let Some(theirs) = self.of_bronze(bronze, partition) else {
                uncovered += 1;
                continue;
            };
            let (silver, dlq) = self.rows_of(partition.0);
            let first_row = silver.min().into_iter().chain(dlq.min()).min();
            let key = (self.pipeline.group.clone(), self.pipeline.topic.clone(), partition.0);
            let ours = stretch(self.silver, &key, first_row, complete);
            let from = theirs.from.max(ours.from);
            let to = theirs.to.min(ours.to).max(from);
            let within = |mut set: RoaringTreemap| {
                set.remove_range(..place(from));
                set.remove_range(place(to)..);
                set
            };
            let (bronze_rows, silver, dlq) = (
                within(bronze.rows_of(&self.pipeline.topic, self.topic_id(), partition.0).0),
                within(silver),
                within(dlq),
            );
            report.partitions.push(PartitionBalance {
                partition: partition.0,
                from,
                to,
                bronze: bronze_rows.len(),
                silver: silver.len(),
                dlq: dlq.len(),
            });
            let mut tell = |what: &str, set: RoaringTreemap| {
                for (from, to) in ranges(set.iter()) {
                    let finding = Finding::new(what).topic(self.pipeline.topic.clone(), partition.0);
                    findings.add_many(finding.offsets(from, to), from.abs_diff(to));
                }
            };
            let doubled = within(self.twins_of(partition.0));
            tell(&format!("more than once in {} or in {}", self.silver.name, self.dlq.name), doubled);
            tell("in silver and in the DLQ", &silver & &dlq);
            let both = silver | dlq;
            let (mut missing, mut surplus) = (&bronze_rows - &both, both - bronze_rows);
            for (from, to) in ours.skipped {
                missing.remove_range(place(from)..place(to));
            }
            for (from, to) in theirs.skipped {
                surplus.remove_range(place(from)..place(to));
            }
            tell("in bronze, but neither in silver nor in the DLQ", missing);
            tell("in silver or in the DLQ, but not in bronze", surplus);
        }
        if uncovered > 0 {
            let partitions = count(uncovered, "partition");
            report
                .notes
                .push(format!("{partitions} not compared: {} has no position of this topic there", bronze.name));
        }
        if [self.silver, self.dlq, bronze].iter().any(|book| !book.all_read()) {
            report.notes.push("some files could not be read: their rows count as missing".to_owned());
        }
        let (in_bronze, silver, dlq) = report.totals();
        // figures for people: rounding is no matter
        #[allow(clippy::cast_precision_loss)]
        let rate = (silver + dlq > 0).then(|| dlq as f64 / (silver + dlq) as f64);
        report.rate = rate;
        let summary = format!(
            "{} = {} + {} of {}",
            count(in_bronze, "record"),
            super::grouped(silver),
            super::grouped(dlq),
            count(report.partitions.len() as u64, "partition")
        );
        report.checks.push(findings.into_check(Promise::Balance, summary));
    }

    /// Records that silver or the DLQ has more than once.
    fn twins_of(&self, partition: i32) -> RoaringTreemap {
        let same = |key: &Key| {
            *key.topic == *self.pipeline.topic
                && key.partition == partition
                && (key.topic_id.is_none() || key.topic_id.as_deref() == self.topic_id())
        };
        let books = [self.silver, self.dlq];
        let twins = books.iter().flat_map(|book| book.twins.iter().filter(|(key, _)| same(key)));
        twins.fold(RoaringTreemap::new(), |all, (_, set)| all | set)
    }

    /// From where to where bronze has covered a partition of this incarnation, and what a person has skipped.
    fn of_bronze(&self, bronze: &Book<'_>, partition: Partition) -> Option<Stretch> {
        let state = self.state()?;
        let sources = bronze.subject.sources.iter().filter(|(_, s)| s.cluster_id == state.cluster_id);
        let positions = sources.filter_map(|(source, s)| {
            let topic = s.topics.get(&self.pipeline.topic)?;
            let id = topic.topic_id.as_ref().map(|id| id.as_str());
            let same = id.is_none() || self.topic_id().is_none() || id == self.topic_id();
            Some((source, topic.partitions.get(&partition).filter(|_| same)?.next.0))
        });
        let (source, next) = positions.max_by_key(|(_, next)| *next)?;
        let first_row = bronze.rows_of(&self.pipeline.topic, self.topic_id(), partition.0).0.min();
        let key = (source.to_string(), self.pipeline.topic.clone(), partition.0);
        Some(stretch(bronze, &key, first_row, next))
    }
}

/// What a table has covered of a partition.
struct Stretch {
    from: i64,
    to: i64,
    /// What a person has skipped.
    skipped: Vec<(i64, i64)>,
}

/// Where a chain began that is complete up to `to`. Where its first commits have expired that is the first row that is there, if
/// it is before all commits which are known.
fn stretch(book: &Book<'_>, key: &ChainKey, first_row: Option<u64>, to: i64) -> Stretch {
    let first_row = first_row.map(|row| i64::try_from(row).unwrap_or(i64::MAX));
    let Some(chain) = book.history.chains.get(key) else {
        return Stretch { from: first_row.unwrap_or(to), to, skipped: Vec::new() };
    };
    let from = match chain.begun {
        Some(begun) if book.history.complete || chain.anew => begun,
        begun => begun.into_iter().chain(first_row).min().unwrap_or(to),
    };
    Stretch { from, to, skipped: chain.skipped.clone() }
}

#[cfg(test)]
#[path = "balance/tests.rs"]
mod tests;
