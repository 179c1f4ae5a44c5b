//! The oracle: tables against the ledger of what was sent. Here bronze; silver and the dead letters in [`trades`].
//!
//! Reads the table past K2's code: the catalog's own record of the metadata file, the metadata and manifests by
//! iceberg's parsers, the Parquet files by the parquet crate. Checks the promises P1 to P3 of the fault list - nothing
//! lost, nothing twice, nothing invented - and P7: no file added twice, every live file there with the rows and the
//! length that its manifest tells.

mod files;
mod table;
pub mod trades;

pub use files::Store;
pub use table::{Catalog, LiveFile, TableState};

use crate::ledger::Ledger;
use std::collections::BTreeMap;
use std::fmt;

/// How many offsets of each kind of finding are named.
const NAMED: usize = 10;

/// A place in a topic.
type Place = (i32, i64);

/// What the oracle found. Every list but `rows` is a broken promise.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Rows in the table.
    pub rows: u64,
    /// Records of the ledger below the next offset that the table lacks.
    pub missing: Found,
    /// Rows that are there more than once.
    pub doubled: Found,
    /// Rows that differ from the record: key, value, headers or timestamp.
    pub differing: Found,
    /// Rows without a record.
    pub invented: Found,
    /// Rows at or above the next offset.
    pub beyond: Found,
    /// Records at or above the next offset: not yet read. A broken promise only once everything should be in.
    pub outstanding: u64,
    /// Files that are not what the manifests say.
    pub files: Vec<String>,
}

/// A number of offsets, the first of them by name.
#[derive(Debug, Default)]
pub struct Found {
    /// How many.
    pub count: u64,
    /// The first ones: (partition, offset).
    pub first: Vec<Place>,
}

impl Found {
    fn add(&mut self, partition: i32, offset: i64) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push((partition, offset));
        }
    }
}

impl Verdict {
    /// Whether every promise holds for what has been read so far.
    pub fn is_sound(&self) -> bool {
        let found = [&self.missing, &self.doubled, &self.differing, &self.invented, &self.beyond];
        found.iter().all(|f| f.count == 0) && self.files.is_empty()
    }

    /// Panics unless every promise holds for what has been read so far.
    #[track_caller]
    pub fn assert_sound(&self) {
        assert!(self.is_sound(), "the table breaks its promises: {self}");
    }

    /// Panics unless every promise holds and every record has been read.
    #[track_caller]
    pub fn assert_complete(&self) {
        self.assert_sound();
        assert_eq!(self.outstanding, 0, "records not yet read: {self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows, {} records outstanding", self.rows, self.outstanding)?;
        for (what, found) in [
            ("missing", &self.missing),
            ("doubled", &self.doubled),
            ("differing", &self.differing),
            ("invented", &self.invented),
            ("beyond the next offset", &self.beyond),
        ] {
            if found.count > 0 {
                write!(f, "; {} {what}, first (partition, offset) {:?}", found.count, found.first)?;
            }
        }
        for file in &self.files {
            write!(f, "; {file}")?;
        }
        Ok(())
    }
}

/// Compares a table with what its topic holds.
pub async fn compare(table: &TableState, ledger: &Ledger) -> Verdict {
    let (rows, problems) = table.bronze_rows(&ledger.topic).await;
    judge(rows, problems, &table.next_offsets(&ledger.topic), ledger)
}

/// The comparison itself, pure: rows and records by partition, each (offset, checksum).
fn judge(
    mut rows: BTreeMap<i32, Vec<(i64, u32)>>,
    problems: Vec<String>,
    next: &BTreeMap<i32, i64>,
    ledger: &Ledger,
) -> Verdict {
    let mut verdict = Verdict { files: problems, ..Verdict::default() };
    let partitions: std::collections::BTreeSet<i32> = rows.keys().chain(ledger.records.keys()).copied().collect();
    for partition in partitions {
        let mut rows = rows.remove(&partition).unwrap_or_default();
        rows.sort_unstable();
        let records = ledger.records.get(&partition).map_or(&[][..], Vec::as_slice);
        let next = next.get(&partition).copied().unwrap_or(0);
        verdict.rows += rows.len() as u64;

        let mut records = records.iter().peekable();
        let mut last = None;
        for (offset, crc) in rows {
            if last.replace(offset) == Some(offset) {
                verdict.doubled.add(partition, offset);
                continue;
            }
            if offset >= next {
                verdict.beyond.add(partition, offset);
            }
            while let Some((skipped, _)) = records.next_if(|(o, _)| *o < offset) {
                note_absent(&mut verdict, partition, *skipped, next);
            }
            match records.next_if(|(o, _)| *o == offset) {
                None => verdict.invented.add(partition, offset),
                Some((_, sent)) if *sent != crc => verdict.differing.add(partition, offset),
                Some(_) => {}
            }
        }
        records.for_each(|(skipped, _)| note_absent(&mut verdict, partition, *skipped, next));
    }
    verdict
}

fn note_absent(verdict: &mut Verdict, partition: i32, offset: i64, next: i64) {
    if offset < next {
        verdict.missing.add(partition, offset);
    } else {
        verdict.outstanding += 1;
    }
}

#[cfg(test)]
#[path = "oracle/tests.rs"]
mod tests;
