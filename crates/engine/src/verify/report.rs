//! What a verification found, for people and for programs.

use serde::Serialize;
use std::fmt;

/// So many findings of a check are kept; the rest is counted.
const KEPT: usize = 10;

/// The promises that are checked. The names are those of the JSON output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promise {
    /// The positions can be read, belong to this branch, and cover what is in the table.
    Positions,
    /// Commit ranges abut, advance, and end at the positions.
    Ranges,
    /// No record twice.
    Once,
    /// No row at or above the next offset, no impossible offset.
    BelowNext,
    /// Every live file is there once, with the length and the rows that its manifest tells.
    Files,
    /// Partition values and bounds are true for every row, or filtered queries would miss rows.
    Bounds,
    /// Rows read, manifests and summary tell the same number.
    Counts,
    /// Silver and DLQ: the message id recomputes from cluster, topic id, partition and offset.
    MessageIds,
    /// The rejects that silver has decided on are in the DLQ table, or on their way.
    Intents,
    /// No record is in silver and in the DLQ.
    Apart,
    /// Every record of bronze is in silver or in the DLQ, and no other is.
    Balance,
    /// Every record that Kafka still has below the next offset is in the table byte for byte, and nothing else is.
    Kafka,
    /// The group's committed offset is not ahead of the table.
    Group,
}

impl Promise {
    /// The promise in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Positions => "positions are readable and their rows are in the table",
            Self::Ranges => "commit ranges abut, advance and end at the positions",
            Self::Once => "no record is there twice",
            Self::BelowNext => "no row at or above the next offset",
            Self::Files => "every file is there, as its manifest says",
            Self::Bounds => "partition values and bounds are true",
            Self::Counts => "rows, manifests and summary add up",
            Self::MessageIds => "message_id recomputes for every row",
            Self::Intents => "the rejects that silver has decided on are in the DLQ or on their way",
            Self::Apart => "no record is in silver and in the DLQ",
            Self::Balance => "bronze = silver + DLQ",
            Self::Kafka => "what Kafka still has is in the table, byte for byte",
            Self::Group => "the group's offset is not ahead of the table",
        }
    }
}

/// Something that is not as promised, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub what: String,
    /// The topic, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partition of the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The offsets: first, and one past the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offsets: Option<(i64, i64)>,
    /// The file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Finding {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), topic: None, partition: None, offsets: None, file: None }
    }

    pub(super) fn topic(mut self, topic: impl Into<String>, partition: i32) -> Self {
        (self.topic, self.partition) = (Some(topic.into()), Some(partition));
        self
    }

    pub(super) fn offsets(mut self, from: i64, to: i64) -> Self {
        self.offsets = Some((from, to));
        self
    }

    pub(super) fn file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(topic), Some(partition)) = (&self.topic, self.partition) {
            write!(f, "{topic}/{partition} ")?;
        }
        match self.offsets {
            Some((from, to)) if to == from + 1 => write!(f, "offset {from}: ")?,
            Some((from, to)) => write!(f, "offsets {from}..{to}: ")?,
            None if self.topic.is_some() => write!(f, ": ")?,
            None => {}
        }
        f.write_str(&self.what)?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, " [{file}]"))
    }
}

/// One promise, checked.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Which one.
    pub promise: Promise,
    /// Whether it holds.
    pub ok: bool,
    /// How much was looked at.
    pub summary: String,
    /// How many offences there are: offsets where they can be counted, else places.
    pub found: u64,
    /// The first of them.
    pub first: Vec<Finding>,
}

impl Check {
    /// Whether there are more findings than the first ones.
    pub fn is_cut(&self) -> bool {
        let told = |f: &Finding| f.offsets.map_or(1, |(from, to)| from.abs_diff(to).max(1));
        self.first.len() >= KEPT && self.found > self.first.iter().map(told).sum()
    }
}

/// Offences of one promise as they come up.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: u64,
    first: Vec<Finding>,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        self.add_many(finding, 1);
    }

    /// A finding that stands for `count` offences.
    pub(super) fn add_many(&mut self, finding: Finding, count: u64) {
        self.found += count;
        if self.first.len() < KEPT {
            self.first.push(finding);
        }
    }

    pub(super) fn first(&self) -> &[Finding] {
        &self.first
    }

    pub(super) fn first_mut(&mut self) -> &mut [Finding] {
        &mut self.first
    }

    pub(super) fn into_check(self, promise: Promise, summary: impl Into<String>) -> Check {
        Check { promise, ok: self.found == 0, summary: summary.into(), found: self.found, first: self.first }
    }
}

/// One table, verified as it was in one snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct TableReport {
    /// Its name.
    pub table: String,
    /// The pipelines that are configured to feed it.
    pub pipelines: Vec<String>,
    /// The snapshot that everything here is about; none: the table is empty.
    pub snapshot: Option<i64>,
    /// Rows read.
    pub rows: u64,
    /// Live data files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Snapshots in the retained history of main.
    pub snapshots: usize,
    /// Topic partitions with rows or a position.
    pub partitions: usize,
    /// How long it took.
    pub seconds: f64,
    /// The promises.
    pub checks: Vec<Check>,
    /// What is worth knowing but breaks no promise.
    pub notes: Vec<String>,
}

impl TableReport {
    /// Whether every promise that was checked holds.
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|c| c.ok)
    }
}

/// A silver pipeline beside its bronze table: where the records of the one are in the other.
#[derive(Debug, Clone, Serialize)]
pub struct BalanceReport {
    /// The silver pipeline.
    pub pipeline: String,
    /// Its topic.
    pub topic: String,
    /// The bronze table; none: the pipeline names none, or it is not there.
    pub bronze: Option<String>,
    /// The silver table.
    pub silver: String,
    /// The DLQ table.
    pub dlq: String,
    /// What was compared, by partition: that which both have covered.
    pub partitions: Vec<PartitionBalance>,
    /// Rejects among the compared records, 0 to 1; none: no records.
    pub rate: Option<f64>,
    /// The promises.
    pub checks: Vec<Check>,
    /// What is worth knowing but breaks no promise.
    pub notes: Vec<String>,
}

/// One partition of a [`BalanceReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionBalance {
    /// The partition.
    pub partition: i32,
    /// The first offset compared.
    pub from: i64,
    /// One past the last.
    pub to: i64,
    /// Records in bronze.
    pub bronze: u64,
    /// Records in silver.
    pub silver: u64,
    /// Records in the DLQ.
    pub dlq: u64,
}

impl BalanceReport {
    /// Whether every promise that was checked holds.
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|c| c.ok)
    }

    /// Records in bronze, silver and the DLQ, over all partitions.
    pub fn totals(&self) -> (u64, u64, u64) {
        let sum = |of: fn(&PartitionBalance) -> u64| self.partitions.iter().map(of).sum();
        (sum(|p| p.bronze), sum(|p| p.silver), sum(|p| p.dlq))
    }
}

/// All tables, and all pairs of them.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Bronze, silver, DLQ; each in the order of the pipelines.
    pub tables: Vec<TableReport>,
    /// By silver pipeline.
    pub balances: Vec<BalanceReport>,
}

impl Report {
    /// Whether every promise that was checked holds.
    pub fn ok(&self) -> bool {
        self.tables.iter().all(TableReport::ok) && self.balances.iter().all(BalanceReport::ok)
    }
}

/// Sorted numbers as ranges, each from its first to one past its last.
pub(super) fn ranges(numbers: impl Iterator<Item = u64>) -> Vec<(i64, i64)> {
    let mut out: Vec<(i64, i64)> = Vec::new();
    for number in numbers {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        match out.last_mut() {
            Some((_, to)) if *to == number => *to = number.saturating_add(1),
            _ => out.push((number, number.saturating_add(1))),
        }
    }
    out
}

/// `1,234 files`, `1 file`.
pub(super) fn count(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// `1234567` as `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
