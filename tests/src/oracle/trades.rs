//! Silver and the dead letters against the ledger: each record in exactly one of the two, once, as it must be there.
//!
//! Columns are compared with what [`crate::trades::reference`] says; those that tell the wall clock with the time of
//! the test. Each file's partition value is compared with its rows.

mod dlq;
mod silver;

pub use dlq::DlqRow;
pub use silver::StoredSilver;

use super::table::TableState;
use crate::trades::reference::{Limits, bronze_table};
use crate::trades::{Fate, TradeLedger};
use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::collections::BTreeMap;
use std::fmt;

/// How many findings are told in words.
const TOLD: usize = 12;
/// No test runs for longer than this, and no clock of a test is off by more.
const DAY: i64 = 86_400_000_000;

/// What was found.
#[derive(Debug, Default)]
pub struct TradeVerdict {
    /// Rows in silver.
    pub silver: u64,
    /// Dead letters of the topic.
    pub dlq: u64,
    /// Dead letters by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Dead letters by the version of the rules that they name.
    pub rules: BTreeMap<String, u64>,
    /// Records that have not been read yet: at or above silver's next offset.
    pub outstanding: u64,
    /// Broken promises, the first in words.
    pub findings: Vec<String>,
    /// All of them.
    pub found: u64,
}

impl TradeVerdict {
    fn find(&mut self, what: impl FnOnce() -> String) {
        self.found += 1;
        if self.findings.len() < TOLD {
            self.findings.push(what());
        }
    }

    /// Panics unless every promise holds for what has been read so far.
    #[track_caller]
    pub fn assert_sound(&self) {
        assert_eq!(self.found, 0, "the tables break their promises: {self}");
    }

    /// Panics unless every promise holds and every record has been read.
    #[track_caller]
    pub fn assert_complete(&self) {
        self.assert_sound();
        assert_eq!(self.outstanding, 0, "records not yet read: {self}");
    }
}

impl fmt::Display for TradeVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows, {} dead letters, {} outstanding", self.silver, self.dlq, self.outstanding)?;
        if self.found > 0 {
            write!(f, "; {} findings, the first of them:", self.found)?;
        }
        self.findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

/// The tables of a silver pipeline.
#[derive(Debug, Clone, Copy)]
pub struct Tables<'a> {
    /// Silver.
    pub silver: &'a TableState,
    /// The dead letters, with the position of the same source; none if the table is not there.
    pub dlq: Option<&'a TableState>,
}

/// Judges by the default limits.
pub async fn judge(tables: Tables<'_>, ledger: &TradeLedger) -> TradeVerdict {
    judge_with(tables, ledger, |_, _| Limits::default()).await
}

/// Judges by the limits that are in force for each partition and offset.
pub async fn judge_with(tables: Tables<'_>, ledger: &TradeLedger, limits: impl Fn(i32, i64) -> Limits) -> TradeVerdict {
    let mut verdict = TradeVerdict::default();
    let silver = silver::read(tables.silver, &mut verdict).await;
    let dlq = match tables.dlq {
        Some(table) => dlq::read(table, &mut verdict).await,
        None => Vec::new(),
    };
    weigh(silver, dlq, &tables.silver.next_offsets(&ledger.topic), ledger, limits, verdict)
}

/// The comparison itself, pure.
fn weigh(
    silver: Vec<StoredSilver>,
    dlq: Vec<DlqRow>,
    next: &BTreeMap<i32, i64>,
    ledger: &TradeLedger,
    limits: impl Fn(i32, i64) -> Limits,
    mut verdict: TradeVerdict,
) -> TradeVerdict {
    let mut silver =
        by_place(silver, ledger, |row| (row.row.kafka_topic.clone(), row.row.kafka_partition, row.row.kafka_offset));
    let mut dlq =
        by_place(dlq, ledger, |row: &DlqRow| (row.kafka_topic.clone(), row.kafka_partition, row.kafka_offset));
    verdict.silver = silver.values().map(|rows| rows.len() as u64).sum();
    verdict.dlq = dlq.values().map(|rows| rows.len() as u64).sum();
    for row in dlq.values().flatten() {
        *verdict.reasons.entry(row.error_reason.clone()).or_default() += 1;
        *verdict.rules.entry(row.rules_version.clone()).or_default() += 1;
    }

    let source = bronze_table(ledger.exchange);
    for (&(partition, offset), record) in &ledger.records {
        let at = (partition, offset);
        let (rows, letters) = (silver.remove(&at).unwrap_or_default(), dlq.remove(&at).unwrap_or_default());
        if next.get(&partition).is_none_or(|next| offset >= *next) {
            verdict.outstanding += 1;
            if !rows.is_empty() || !letters.is_empty() {
                verdict.find(|| format!("{at:?} is in a table, and beyond silver's next offset"));
            }
            continue;
        }
        let fate = ledger.fate(partition, offset, &limits(partition, offset)).unwrap();
        match (rows.as_slice(), letters.as_slice(), fate) {
            ([row], [], Fate::Silver(expected)) => silver::compare(row, &expected, &mut verdict),
            ([], [letter], Fate::Dlq(expected)) => {
                let id = ledger.place(partition, offset).message_id();
                dlq::compare(letter, record, expected, &source, &id, &mut verdict);
            }
            (rows, letters, fate) => verdict.find(|| {
                let told = |l: &DlqRow| format!("{} ({})", l.error_reason, l.error_detail.as_deref().unwrap_or(""));
                let reasons: Vec<_> = letters.iter().map(told).collect();
                let times = rows.len();
                format!("{at:?} is {times} times in silver, in the DLQ as {reasons:?}; must be {fate:?}: {record:?}")
            }),
        }
    }
    for at in silver.keys() {
        verdict.find(|| format!("{at:?} is in silver, and was never sent"));
    }
    for at in dlq.keys() {
        verdict.find(|| format!("{at:?} is in the DLQ, and was never sent"));
    }
    verdict
}

/// All rows of a silver table and of a table of dead letters; panics where the files are not what the manifests say.
pub async fn rows(tables: Tables<'_>) -> (Vec<StoredSilver>, Vec<DlqRow>) {
    let mut verdict = TradeVerdict::default();
    let silver = silver::read(tables.silver, &mut verdict).await;
    let dlq = match tables.dlq {
        Some(table) => dlq::read(table, &mut verdict).await,
        None => Vec::new(),
    };
    verdict.assert_sound();
    (silver, dlq)
}

/// The rows of the ledger's topic, by partition and offset.
fn by_place<T>(
    rows: Vec<T>,
    ledger: &TradeLedger,
    place: impl Fn(&T) -> (String, i32, i64),
) -> BTreeMap<(i32, i64), Vec<T>> {
    let mut places: BTreeMap<_, Vec<T>> = BTreeMap::new();
    for row in rows {
        let (topic, partition, offset) = place(&row);
        if topic == ledger.topic {
            places.entry((partition, offset)).or_default().push(row);
        }
    }
    places
}

/// All batches of a table's files, each with its file's only partition value; counts are checked against the manifests.
async fn batches(table: &TableState, verdict: &mut TradeVerdict) -> Vec<(Option<i32>, RecordBatch)> {
    let (contents, problems) = table.contents().await;
    for problem in problems {
        verdict.find(|| problem);
    }
    let mut batches = Vec::new();
    for (file, bytes) in contents {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a Parquet file").build().unwrap();
        let partition = file.partition.fields().first().cloned().flatten();
        let day = partition.and_then(|value| match value.as_primitive_literal() {
            Some(iceberg::spec::PrimitiveLiteral::Int(day)) => Some(day),
            _ => None,
        });
        let mut rows = 0;
        for batch in reader {
            let batch = batch.expect("readable rows");
            rows += batch.num_rows() as u64;
            batches.push((day, batch));
        }
        if rows != file.rows {
            verdict.find(|| format!("{} has {rows} rows, not {}", file.location, file.rows));
        }
    }
    batches
}

/// Whether a time is one of the wall clock while the test ran.
fn is_now(micros: i64) -> bool {
    #[allow(clippy::disallowed_methods, reason = "columns that tell the wall clock are compared with it")]
    let now = chrono::Utc::now().timestamp_micros();
    micros <= now && micros > now - DAY
}

#[cfg(test)]
#[path = "trades/tests.rs"]
mod tests;
