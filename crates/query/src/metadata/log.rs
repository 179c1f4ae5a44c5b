//! What the table's metadata file itself tells: snapshots, history, branches and tags, earlier metadata files.

use super::batch::{text_maps, times};
use datafusion::arrow::array::{ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use datafusion::error::Result;
use iceberg::spec::{SnapshotRef, SnapshotRetention};
use iceberg::table::Table;
use std::collections::HashSet;
use std::sync::Arc;

pub(super) fn snapshots(table: &Table) -> Result<RecordBatch> {
    let mut rows: Vec<&SnapshotRef> = table.metadata().snapshots().collect();
    rows.sort_by_key(|s| (s.timestamp_ms(), s.sequence_number()));
    let columns: [(&str, ArrayRef, bool); 6] = [
        ("committed_at", times(rows.iter().map(|s| Some(s.timestamp_ms()))), false),
        ("snapshot_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|s| s.snapshot_id()))), false),
        ("parent_id", Arc::new(Int64Array::from_iter(rows.iter().map(|s| s.parent_snapshot_id()))), true),
        (
            "operation",
            Arc::new(StringArray::from_iter_values(rows.iter().map(|s| s.summary().operation.as_str()))),
            true,
        ),
        ("manifest_list", Arc::new(StringArray::from_iter_values(rows.iter().map(|s| s.manifest_list()))), true),
        ("summary", text_maps(rows.iter().map(|s| &s.summary().additional_properties)), true),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

pub(super) fn history(table: &Table) -> Result<RecordBatch> {
    let metadata = table.metadata();
    let rows = metadata.history();
    let mut ancestors = HashSet::new();
    let mut next = metadata.current_snapshot();
    while let Some(snapshot) = next {
        // a circle in broken metadata ends here too
        if !ancestors.insert(snapshot.snapshot_id()) {
            break;
        }
        next = snapshot.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
    }
    let parent = |id| metadata.snapshot_by_id(id).and_then(|s| s.parent_snapshot_id());
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("made_current_at", times(rows.iter().map(|e| Some(e.timestamp_ms()))), false),
        ("snapshot_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|e| e.snapshot_id))), false),
        ("parent_id", Arc::new(Int64Array::from_iter(rows.iter().map(|e| parent(e.snapshot_id)))), true),
        (
            "is_current_ancestor",
            Arc::new(BooleanArray::from_iter(rows.iter().map(|e| Some(ancestors.contains(&e.snapshot_id))))),
            false,
        ),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

pub(super) fn metadata_log_entries(table: &Table) -> Result<RecordBatch> {
    let metadata = table.metadata();
    let earlier = metadata.metadata_log().iter().map(|e| (e.timestamp_ms, e.metadata_file.clone()));
    let now = table.metadata_location().map(|file| (metadata.last_updated_ms(), file.to_owned()));
    let rows: Vec<(i64, String)> = earlier.chain(now).collect();
    // the snapshot that was current when the file was written
    let latest = |millis: i64| {
        let entry = metadata.history().iter().rev().find(|entry| entry.timestamp_ms() <= millis)?;
        metadata.snapshot_by_id(entry.snapshot_id).or(None)
    };
    let snapshots: Vec<Option<&SnapshotRef>> = rows.iter().map(|(millis, _)| latest(*millis)).collect();
    let ids = snapshots.iter().map(|s| s.map(|s| s.snapshot_id()));
    let columns: [(&str, ArrayRef, bool); 5] = [
        ("timestamp", times(rows.iter().map(|(millis, _)| Some(*millis))), false),
        ("file", Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, file)| file))), false),
        ("latest_snapshot_id", Arc::new(Int64Array::from_iter(ids)), true),
        (
            "latest_schema_id",
            Arc::new(Int32Array::from_iter(snapshots.iter().map(|s| s.and_then(|s| s.schema_id())))),
            true,
        ),
        (
            "latest_sequence_number",
            Arc::new(Int64Array::from_iter(snapshots.iter().map(|s| s.map(|s| s.sequence_number())))),
            true,
        ),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// A row of `refs`, as it is read from the metadata's JSON.
struct Ref {
    name: String,
    kind: &'static str,
    snapshot_id: i64,
    max_ref_age: Option<i64>,
    min_snapshots: Option<i32>,
    max_snapshot_age: Option<i64>,
}

pub(super) fn refs(table: &Table) -> Result<RecordBatch> {
    let mut rows = Vec::new();
    for (name, reference) in named(table)? {
        let snapshot_id = reference.snapshot_id;
        rows.push(match reference.retention {
            SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms } => Ref {
                name,
                kind: "BRANCH",
                snapshot_id,
                max_ref_age: max_ref_age_ms,
                min_snapshots: min_snapshots_to_keep,
                max_snapshot_age: max_snapshot_age_ms,
            },
            SnapshotRetention::Tag { max_ref_age_ms } => Ref {
                name,
                kind: "TAG",
                snapshot_id,
                max_ref_age: max_ref_age_ms,
                min_snapshots: None,
                max_snapshot_age: None,
            },
        });
    }
    let columns: [(&str, ArrayRef, bool); 6] = [
        ("name", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.name))), false),
        ("type", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.kind))), false),
        ("snapshot_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.snapshot_id))), false),
        ("max_reference_age_in_ms", Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.max_ref_age))), true),
        ("min_snapshots_to_keep", Arc::new(Int32Array::from_iter(rows.iter().map(|r| r.min_snapshots))), true),
        ("max_snapshot_age_in_ms", Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.max_snapshot_age))), true),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// The table's references by name. `TableMetadata` keeps the map to itself but writes it into its JSON.
fn named(table: &Table) -> Result<std::collections::BTreeMap<String, iceberg::spec::SnapshotReference>> {
    let wrong = |e: serde_json::Error| super::broken(table, format!("the metadata's references can't be read: {e}"));
    let json = serde_json::to_value(table.metadata()).map_err(wrong)?;
    match json.get("refs") {
        Some(refs) => serde_json::from_value(refs.clone()).map_err(wrong),
        None => Ok(std::collections::BTreeMap::new()),
    }
}
