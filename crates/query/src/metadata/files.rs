//! What the manifests say about files: `files`, `data_files`, `delete_files` and `entries`.

use super::batch::{Column, count_maps, id_text_maps, longs, readable};
use super::partition::PartitionType;
use datafusion::arrow::array::{
    ArrayRef, Int32Array, Int32Builder, Int64Array, Int64Builder, LargeBinaryArray, ListBuilder, RecordBatch,
    StringArray, StructArray,
};
use datafusion::error::Result;
use iceberg::spec::{DataFile, Datum, ManifestEntryRef};
use iceberg::table::Table;
use std::collections::HashMap;
use std::sync::Arc;

/// The files of a manifest that are part of the table.
pub(super) fn live(table: &Table, spec: i32, entries: &[ManifestEntryRef]) -> Result<RecordBatch> {
    let files: Vec<&DataFile> = entries.iter().filter(|e| e.is_alive()).map(|e| e.data_file()).collect();
    Ok(RecordBatch::try_from_iter_with_nullable(columns(table, spec, &files)?)?)
}

/// All entries of a manifest, those of deleted files too.
pub(super) fn entries(table: &Table, spec: i32, entries: &[ManifestEntryRef]) -> Result<RecordBatch> {
    let files: Vec<&DataFile> = entries.iter().map(|e| e.data_file()).collect();
    let files = StructArray::from(RecordBatch::try_from_iter_with_nullable(columns(table, spec, &files)?)?);
    let status = entries.iter().map(|e| i32::from(e.status() as u8));
    let columns: [Column; 5] = [
        ("status", Arc::new(Int32Array::from_iter_values(status)), false),
        ("snapshot_id", Arc::new(Int64Array::from_iter(entries.iter().map(|e| e.snapshot_id()))), true),
        ("sequence_number", Arc::new(Int64Array::from_iter(entries.iter().map(|e| e.sequence_number()))), true),
        ("file_sequence_number", Arc::new(Int64Array::from_iter(entries.iter().map(|e| e.file_sequence_number))), true),
        ("data_file", Arc::new(files), false),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn columns(table: &Table, spec: i32, files: &[&DataFile]) -> Result<Vec<Column>> {
    let each = || files.iter();
    let bounds = |of: fn(&DataFile) -> &HashMap<i32, Datum>| -> ArrayRef {
        id_text_maps(each().map(|f| of(f).iter().map(|(id, bound)| (*id, readable(bound))).collect()))
    };
    let mut columns: Vec<Column> = vec![
        ("content", Arc::new(Int32Array::from_iter_values(each().map(|f| f.content_type() as i32))), true),
        ("file_path", Arc::new(StringArray::from_iter_values(each().map(|f| f.file_path()))), false),
        (
            "file_format",
            Arc::new(StringArray::from_iter_values(each().map(|f| f.file_format().to_string().to_uppercase()))),
            false,
        ),
        ("spec_id", Arc::new(Int32Array::from_iter_values(each().map(|_| spec))), true),
    ];
    let partition = PartitionType::of(table)?;
    if !partition.is_empty() {
        let rows: Vec<_> = each().map(|f| (spec, f.partition())).collect();
        columns.push(("partition", partition.array(&rows)?, false));
    }
    columns.extend::<[Column; 12]>([
        ("record_count", longs(each().map(|f| f.record_count())), false),
        ("file_size_in_bytes", longs(each().map(|f| f.file_size_in_bytes())), false),
        ("column_sizes", count_maps(each().map(|f| f.column_sizes())), true),
        ("value_counts", count_maps(each().map(|f| f.value_counts())), true),
        ("null_value_counts", count_maps(each().map(|f| f.null_value_counts())), true),
        ("nan_value_counts", count_maps(each().map(|f| f.nan_value_counts())), true),
        ("lower_bounds", bounds(DataFile::lower_bounds), true),
        ("upper_bounds", bounds(DataFile::upper_bounds), true),
        ("key_metadata", Arc::new(LargeBinaryArray::from_iter(each().map(|f| f.key_metadata()))), true),
        ("split_offsets", split_offsets(files), true),
        ("equality_ids", equality_ids(files), true),
        ("sort_order_id", Arc::new(Int32Array::from_iter(each().map(|f| f.sort_order_id()))), true),
    ]);
    Ok(columns)
}

fn split_offsets(files: &[&DataFile]) -> ArrayRef {
    let mut lists = ListBuilder::new(Int64Builder::new());
    for file in files {
        lists.append_option(file.split_offsets().map(|offsets| offsets.iter().map(|offset| Some(*offset))));
    }
    Arc::new(lists.finish())
}

fn equality_ids(files: &[&DataFile]) -> ArrayRef {
    let mut lists = ListBuilder::new(Int32Builder::new());
    for file in files {
        lists.append_option(file.equality_ids().map(|ids| ids.into_iter().map(Some)));
    }
    Arc::new(lists.finish())
}
