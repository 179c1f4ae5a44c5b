//! All that is known of a table's rows, and the promises held against it.

mod notes;

use super::files::{Facts, inspect};
use super::history::{History, Links};
use super::incarnation::Incarnations;
use super::report::{Finding, Findings, Promise, TableReport, count, ranges};
use super::sets::{Key, Offsets};
use super::subject::{Entry, Subject};
use super::{Layer, Phase, Progress, Watch};
use futures::{StreamExt, TryStreamExt, stream};
use k2_model::{Error, Partition, Result};
use roaring::RoaringTreemap;
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

/// Files read at a time: opening them is most of the wait.
const FILES_AT_ONCE: usize = 6;

/// The books of one table.
pub(super) struct Book<'a> {
    pub(super) name: &'a str,
    pub(super) layer: Layer,
    pub(super) subject: &'a Subject,
    pub(super) history: History,
    pub(super) offsets: Offsets,
    /// Records that are there more than once.
    pub(super) twins: Offsets,
    known: Incarnations,
    rows: u64,
    seconds: f64,
    bytes: u64,
    recorded: u64,
    all_read: bool,
    limits: HashMap<Key, Limit>,
    unplaced: BTreeSet<Key>,
    without_id: u64,
    /// Rows without any place in Kafka.
    placeless: u64,
    /// Rows of an incarnation that nothing tells of any more.
    earlier: u64,
    positions: Findings,
    ranges: Findings,
    once: Findings,
    below: Findings,
    files: Findings,
    bounds: Findings,
    ids: Findings,
}

/// What the positions say of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// Every row is below this offset.
    Below(i64),
    /// Rows of Spark, or of an earlier incarnation of the topic: nothing is known.
    Unknown,
    /// Rows of ours, but the table has no position for them.
    Missing,
}

impl<'a> Book<'a> {
    /// `known`: the incarnations of topics, for tables whose rows tell theirs in the message id.
    pub(super) fn open(
        name: &'a str,
        layer: Layer,
        subject: &'a Subject,
        positions: Findings,
        known: Incarnations,
    ) -> Self {
        let mut ranges = Findings::default();
        // a batch without rejects costs the DLQ table no commit
        let links = if layer == Layer::Dlq { Links::Advance } else { Links::Abut };
        let history = History::of(subject.table.metadata(), links, &mut ranges);
        history.check_ends(&subject.positions(), &mut ranges);
        Self {
            name,
            layer,
            subject,
            known,
            history,
            offsets: Offsets::new(),
            twins: Offsets::new(),
            rows: 0,
            seconds: 0.0,
            bytes: 0,
            recorded: 0,
            all_read: true,
            limits: HashMap::new(),
            unplaced: BTreeSet::new(),
            without_id: 0,
            placeless: 0,
            earlier: 0,
            positions,
            ranges,
            once: Findings::default(),
            below: Findings::default(),
            files: Findings::default(),
            bounds: Findings::default(),
            ids: Findings::default(),
        }
    }

    /// Reads the keys of every file, a few files at a time, and enters them in the order of their commits.
    pub(super) async fn read_files(&mut self, watch: &Watch) -> Result<()> {
        let started = Instant::now();
        let (subject, known) = (self.subject, self.known.clone());
        let known = &known;
        let of = u64::try_from(subject.entries.len()).unwrap_or(u64::MAX);
        let mut paths = HashMap::new();
        let looks = subject
            .entries
            .iter()
            .map(|entry| async move { Ok::<_, Error>((entry, inspect(subject, entry, known).await?)) });
        let mut looks = stream::iter(looks).buffered(FILES_AT_ONCE);
        let mut done = 0;
        while let Some((entry, facts)) = looks.try_next().await? {
            if let Some(first) = paths.insert(entry.path.as_str(), entry.added_by) {
                let by = |id: Option<i64>| id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
                let (first, second) = (by(first), by(entry.added_by));
                let what = format!("the file is in the table twice, by snapshots {first} and {second}");
                self.files.add(Finding::new(what).file(&entry.path));
            }
            self.enter(entry, facts);
            done += 1;
            watch(Progress { table: self.name, phase: Phase::Files, done, of, rows: self.rows });
        }
        self.name_the_twins().await?;
        self.seconds = started.elapsed().as_secs_f64();
        Ok(())
    }

    fn enter(&mut self, entry: &Entry, facts: Facts) {
        self.bytes += entry.size;
        self.recorded += entry.rows;
        self.rows += facts.rows;
        self.all_read &= !facts.unread;
        facts.wrong_file.into_iter().for_each(|f| self.files.add(f));
        facts.wrong_bounds.into_iter().for_each(|f| self.bounds.add(f));
        if let Some((rows, lowest)) = facts.impossible {
            let what = format!(
                "{} without a topic, a partition or an offset from 0 on (lowest: {lowest})",
                count(rows, "row")
            );
            self.below.add_many(Finding::new(what).file(&entry.path), rows);
        }
        self.placeless += facts.placeless;
        for (key, strangers) in &facts.strangers {
            self.check_strangers(entry, key, strangers);
        }
        for (key, twice) in facts.twice {
            for (from, to) in ranges(twice.iter()) {
                let finding = key.finding("more than once in one file").offsets(from, to).file(&entry.path);
                self.once.add_many(finding, from.abs_diff(to));
            }
            *self.twins.entry(key).or_default() |= twice;
        }
        for (key, set) in facts.offsets {
            self.check_covered(entry, &key, &set);
            self.check_below(entry, &key, &set);
            if key.topic_id.is_none() {
                self.without_id += set.len();
            }
            let known = self.offsets.entry(key.clone()).or_default();
            if known.intersection_len(&set) > 0 {
                let twins = &*known & &set;
                for (from, to) in ranges(twins.iter()) {
                    let finding = key.finding(TWICE).offsets(from, to).file(&entry.path);
                    self.once.add_many(finding, from.abs_diff(to));
                }
                *self.twins.entry(key).or_default() |= twins;
            }
            *known |= set;
        }
    }

    /// Rows whose message id fits no incarnation. Before a person's move they may be of one that nothing tells of any more.
    fn check_strangers(&mut self, entry: &Entry, key: &Key, set: &RoaringTreemap) {
        if self.history.decided.get(&*key.topic).is_some_and(|moved| entry.sequence < *moved) {
            self.earlier += set.len();
            return;
        }
        let what = match self.known.of_topic(&key.topic) {
            0 => "no position tells the topic id, so message_id cannot be recomputed".to_owned(),
            1 => "message_id is not that of this record".to_owned(),
            n => format!("message_id is not that of this record, in none of {n} incarnations of the topic"),
        };
        for (from, to) in ranges(set.iter()) {
            self.ids.add_many(key.finding(&what).offsets(from, to).file(&entry.path), from.abs_diff(to));
        }
    }

    /// Rows of a commit of ours lie in the ranges that it covered.
    fn check_covered(&mut self, entry: &Entry, key: &Key, set: &RoaringTreemap) {
        let Some(covered) = entry.added_by.and_then(|id| self.history.covered.get(&id)) else { return };
        let (from, to) = covered.get(&(key.topic.to_string(), key.partition)).copied().unwrap_or((0, 0));
        let (first, last) = ends(set);
        if first < from || last >= to {
            let what = format!(
                "rows {first} to {last}, but snapshot {} covered {from}..{to}",
                entry.added_by.unwrap_or_default()
            );
            self.ranges.add(key.finding(what).file(&entry.path));
        }
    }

    fn check_below(&mut self, entry: &Entry, key: &Key, set: &RoaringTreemap) {
        let limit = match self.limits.get(key) {
            Some(limit) => *limit,
            None => {
                let limit = self.limit(key);
                self.limits.insert(key.clone(), limit);
                limit
            }
        };
        match limit {
            Limit::Unknown => {}
            Limit::Missing => {
                if self.unplaced.insert(key.clone()) {
                    let what = "rows, but the table has no position there: `k2 run` would read them again";
                    self.positions.add(key.finding(what).file(&entry.path));
                }
            }
            Limit::Below(next) => {
                let (_, last) = ends(set);
                if last >= next {
                    let mut above = set.iter();
                    above.advance_to(place(next));
                    for (from, to) in ranges(above) {
                        let what = format!("at or above the next offset {next}");
                        let finding = key.finding(what).offsets(from, to).file(&entry.path);
                        self.below.add_many(finding, from.abs_diff(to));
                    }
                }
            }
        }
    }

    /// What the positions of all sources say of a key.
    fn limit(&self, key: &Key) -> Limit {
        let topics = || self.subject.sources.values().filter_map(|state| state.topics.get(&*key.topic));
        // a position without an id is about whatever the brokers had; one with an id only about its own incarnation
        let same = topics()
            .filter(|t| t.topic_id.is_none() || t.topic_id.as_ref().map(|id| id.as_str()) == key.topic_id.as_deref());
        let nexts: Vec<_> = same.map(|t| t.partitions.get(&Partition(key.partition)).map(|p| p.next.0)).collect();
        match nexts.iter().max() {
            Some(Some(next)) => Limit::Below(*next),
            // rows of Spark, or of an earlier incarnation
            None if key.topic_id.is_none() || topics().next().is_some() => Limit::Unknown,
            _ if self.subject.unreadable || self.was_taken_away(key) => Limit::Unknown,
            _ => Limit::Missing,
        }
    }

    fn was_taken_away(&self, key: &Key) -> bool {
        let mut chains = self.history.chains.iter();
        chains.any(|((_, topic, partition), chain)| {
            **topic == *key.topic && *partition == key.partition && chain.moved && chain.stands.is_none()
        })
    }

    /// The offsets that the table has of an incarnation, and those of them that only rows have which do not tell theirs.
    pub(super) fn rows_of(
        &self,
        topic: &str,
        topic_id: Option<&str>,
        partition: i32,
    ) -> (RoaringTreemap, RoaringTreemap) {
        let (mut with_id, mut without) = (RoaringTreemap::new(), RoaringTreemap::new());
        for (key, set) in self.offsets.iter().filter(|(key, _)| *key.topic == *topic && key.partition == partition) {
            if key.topic_id.is_none() {
                without |= set;
            } else if key.topic_id.as_deref() == topic_id {
                with_id |= set;
            }
        }
        let bare = if topic_id.is_some() { &without - &with_id } else { RoaringTreemap::new() };
        (with_id | without, bare)
    }

    /// Whether every file could be read.
    pub(super) fn all_read(&self) -> bool {
        self.all_read
    }

    /// Whether records of a range are there twice.
    pub(super) fn has_twins_in(&self, topic: &str, partition: i32, from: i64, to: i64) -> bool {
        let range = place(from)..place(to);
        self.twins.iter().any(|(key, twins)| {
            *key.topic == *topic && key.partition == partition && twins.range_cardinality(range.clone()) > 0
        })
    }

    /// Says of the first records that are there twice which file has the other row.
    async fn name_the_twins(&mut self) -> Result<()> {
        for entry in &self.subject.entries {
            let wanted = |f: &Finding| {
                let at = f.offsets.map_or(0, |(from, _)| from);
                let may_hold = entry.offsets.0.is_none_or(|l| l <= at) && entry.offsets.1.is_none_or(|u| u >= at);
                f.what == TWICE && may_hold && f.file.as_ref() != Some(&entry.path)
            };
            if !self.once.first().iter().any(wanted) {
                continue;
            }
            let facts = inspect(self.subject, entry, &self.known).await?;
            for finding in self.once.first_mut() {
                let holds = |(key, set): (&Key, &RoaringTreemap)| {
                    let at = finding.offsets.and_then(|(from, _)| u64::try_from(from).ok());
                    finding.topic.as_deref() == Some(&*key.topic)
                        && finding.partition == Some(key.partition)
                        && at.is_some_and(|at| set.contains(at))
                };
                if wanted(finding) && facts.offsets.iter().any(holds) {
                    finding.what = format!("{TWICE}, also in {}", entry.path);
                }
            }
        }
        Ok(())
    }

    /// The report of the table.
    pub(super) fn close(self, pipelines: Vec<String>) -> TableReport {
        let partitions: BTreeSet<_> = self
            .offsets
            .keys()
            .map(|k| (k.topic.to_string(), k.partition))
            .chain(self.subject.positions().into_keys().map(|(_, topic, partition)| (topic, partition)))
            .collect();
        let notes = self.notes();
        let counts = self.counts();
        let (rows, files) = (count(self.rows, "row"), self.subject.entries.len());
        let placed = count(self.subject.positions().len() as u64, "position");
        let sources = count(self.subject.sources.len() as u64, "source");
        let of_files = count(files as u64, "file");
        let limited = self.limits.values().filter(|l| matches!(l, Limit::Below(_))).count() as u64;
        let mut checks = vec![
            self.positions.into_check(Promise::Positions, format!("{placed} of {sources}")),
            self.ranges.into_check(Promise::Ranges, self.history.summary()),
            self.once.into_check(Promise::Once, format!("{rows} in {}", count(self.offsets.len() as u64, "partition"))),
            self.below
                .into_check(Promise::BelowNext, format!("{rows}, {} with a position", count(limited, "partition"))),
            self.files.into_check(Promise::Files, of_files.clone()),
            self.bounds.into_check(Promise::Bounds, of_files),
            counts,
        ];
        if self.subject.keys.message_id.is_some() {
            checks.push(self.ids.into_check(Promise::MessageIds, rows));
        }
        TableReport {
            table: self.name.to_owned(),
            pipelines,
            snapshot: self.subject.snapshot.as_ref().map(|s| s.snapshot_id()),
            rows: self.rows,
            files,
            bytes: self.bytes,
            snapshots: self.history.snapshots,
            partitions: partitions.len(),
            seconds: self.seconds,
            checks,
            notes,
        }
    }

    fn counts(&self) -> super::Check {
        let mut findings = Findings::default();
        if self.subject.delete_files > 0 {
            let why =
                format!("not compared: {} of other engines", count(self.subject.delete_files as u64, "delete file"));
            return findings.into_check(Promise::Counts, why);
        }
        if self.rows != self.recorded {
            let what = format!("{} read, but the manifests tell {}", count(self.rows, "row"), self.recorded);
            findings.add_many(Finding::new(what), self.rows.abs_diff(self.recorded));
        }
        let told = self.subject.snapshot.as_ref().and_then(|snapshot| {
            let told = snapshot.summary().additional_properties.get("total-records")?;
            Some((told.clone(), told.parse::<u64>().ok()))
        });
        if let Some((told, number)) = &told
            && *number != Some(self.recorded)
        {
            let what = format!("the summary's total-records is {told}, but the manifests tell {}", self.recorded);
            findings.add_many(Finding::new(what), number.map_or(1, |n| n.abs_diff(self.recorded)));
        }
        let also = if told.is_some() { "" } else { "; the summary tells no total" };
        findings.into_check(Promise::Counts, format!("{}{also}", count(self.rows, "row")))
    }
}

/// A record that two files have.
const TWICE: &str = "in a second file";

/// First and last offset of a set.
fn ends(set: &RoaringTreemap) -> (i64, i64) {
    let end = |offset: Option<u64>| i64::try_from(offset.unwrap_or(0)).unwrap_or(i64::MAX);
    (end(set.min()), end(set.max()))
}

/// An offset as a bitmap knows it.
pub(super) fn place(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}
