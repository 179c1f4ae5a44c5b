//! `partitions`: what each partition holds, added up over all manifests.

use super::batch::{Column, longs, times};
use super::partition::PartitionType;
use datafusion::arrow::array::{Int32Array, Int64Array, RecordBatch};
use datafusion::error::Result;
use iceberg::spec::{DataContentType, ManifestEntryRef, Struct};
use iceberg::table::Table;
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug, Default)]
struct Total {
    rows: u64,
    files: u64,
    bytes: u64,
    position_deletes: u64,
    position_delete_files: u64,
    equality_deletes: u64,
    equality_delete_files: u64,
    /// Milliseconds since 1970 and id of the last snapshot that changed it, as far as snapshots are still known.
    updated: Option<(i64, i64)>,
}

/// The sums so far, in the order in which partitions were first seen.
#[derive(Debug)]
pub(super) struct Totals {
    partition: PartitionType,
    snapshot_times: HashMap<i64, i64>,
    index: HashMap<(i32, Struct), usize>,
    totals: Vec<Total>,
}

impl Totals {
    pub(super) fn new(table: &Table) -> Result<Self> {
        let snapshots = table.metadata().snapshots();
        Ok(Self {
            partition: PartitionType::of(table)?,
            snapshot_times: snapshots.map(|s| (s.snapshot_id(), s.timestamp_ms())).collect(),
            index: HashMap::new(),
            totals: Vec::new(),
        })
    }

    /// Adds the live files of a manifest.
    pub(super) fn add(&mut self, spec: i32, entries: &[ManifestEntryRef]) {
        for entry in entries.iter().filter(|entry| entry.is_alive()) {
            let file = entry.data_file();
            // all of an unpartitioned table is one partition
            let spec = if self.partition.is_empty() { 0 } else { spec };
            let next = self.totals.len();
            let at = *self.index.entry((spec, file.partition().clone())).or_insert(next);
            if at == next {
                self.totals.push(Total::default());
            }
            let total = &mut self.totals[at];
            match file.content_type() {
                DataContentType::Data => {
                    total.rows += file.record_count();
                    total.files += 1;
                    total.bytes += file.file_size_in_bytes();
                }
                DataContentType::PositionDeletes => {
                    total.position_deletes += file.record_count();
                    total.position_delete_files += 1;
                }
                DataContentType::EqualityDeletes => {
                    total.equality_deletes += file.record_count();
                    total.equality_delete_files += 1;
                }
            }
            let by = entry.snapshot_id().and_then(|id| Some((*self.snapshot_times.get(&id)?, id)));
            total.updated = total.updated.max(by);
        }
    }

    /// The table.
    pub(super) fn finish(self) -> Result<RecordBatch> {
        let mut rows: Vec<(&(i32, Struct), &Total)> =
            self.index.iter().map(|(key, at)| (key, &self.totals[*at])).collect();
        rows.sort_by_key(|(key, _)| self.index.get(*key));
        let each = || rows.iter().map(|(_, total)| *total);
        let mut columns: Vec<Column> = Vec::new();
        if !self.partition.is_empty() {
            let values: Vec<_> = rows.iter().map(|((spec, values), _)| (*spec, values)).collect();
            columns.push(("partition", self.partition.array(&values)?, false));
            let specs = rows.iter().map(|((spec, _), _)| *spec);
            columns.push(("spec_id", Arc::new(Int32Array::from_iter_values(specs)), false));
        }
        columns.extend::<[Column; 9]>([
            ("record_count", longs(each().map(|t| t.rows)), false),
            ("file_count", longs(each().map(|t| t.files)), false),
            ("total_data_file_size_in_bytes", longs(each().map(|t| t.bytes)), false),
            ("position_delete_record_count", longs(each().map(|t| t.position_deletes)), false),
            ("position_delete_file_count", longs(each().map(|t| t.position_delete_files)), false),
            ("equality_delete_record_count", longs(each().map(|t| t.equality_deletes)), false),
            ("equality_delete_file_count", longs(each().map(|t| t.equality_delete_files)), false),
            ("last_updated_at", times(each().map(|t| t.updated.map(|(millis, _)| millis))), true),
            (
                "last_updated_snapshot_id",
                Arc::new(Int64Array::from_iter(each().map(|t| t.updated.map(|(_, id)| id)))),
                true,
            ),
        ]);
        Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
    }
}
