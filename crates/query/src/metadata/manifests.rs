//! `manifests`: the manifest list of a snapshot.

use super::batch::{Column, hex, int, readable};
use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StringBuilder, StructArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{Field, Fields};
use datafusion::error::Result;
use iceberg::spec::{Datum, ManifestContentType, ManifestFile, PrimitiveType, Type};
use iceberg::table::Table;
use std::sync::Arc;

pub(super) fn manifests(table: &Table, rows: &[ManifestFile]) -> Result<RecordBatch> {
    let ints =
        |of: &dyn Fn(&ManifestFile) -> i32| -> ArrayRef { Arc::new(Int32Array::from_iter_values(rows.iter().map(of))) };
    let longs =
        |of: &dyn Fn(&ManifestFile) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) };
    // a manifest lists data files or delete files, never both
    let counts = |content: ManifestContentType, of: fn(&ManifestFile) -> Option<u32>| {
        ints(&|m: &ManifestFile| if m.content == content { int(of(m)) } else { 0 })
    };
    let (data, deletes) = (ManifestContentType::Data, ManifestContentType::Deletes);
    let columns: [Column; 12] = [
        ("content", ints(&|m| m.content as i32), false),
        ("path", Arc::new(StringArray::from_iter_values(rows.iter().map(|m| &m.manifest_path))), false),
        ("length", longs(&|m| m.manifest_length), false),
        ("partition_spec_id", ints(&|m| m.partition_spec_id), false),
        ("added_snapshot_id", longs(&|m| m.added_snapshot_id), false),
        ("added_data_files_count", counts(data, |m| m.added_files_count), false),
        ("existing_data_files_count", counts(data, |m| m.existing_files_count), false),
        ("deleted_data_files_count", counts(data, |m| m.deleted_files_count), false),
        ("added_delete_files_count", counts(deletes, |m| m.added_files_count), false),
        ("existing_delete_files_count", counts(deletes, |m| m.existing_files_count), false),
        ("deleted_delete_files_count", counts(deletes, |m| m.deleted_files_count), false),
        ("partition_summaries", summaries(table, rows)?, false),
    ];
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn summaries(table: &Table, rows: &[ManifestFile]) -> Result<ArrayRef> {
    let (mut has_null, mut has_nan) = (BooleanBuilder::new(), BooleanBuilder::new());
    let (mut lower, mut upper) = (StringBuilder::new(), StringBuilder::new());
    let mut lengths = Vec::with_capacity(rows.len());
    for manifest in rows {
        let fields = manifest.partitions.as_deref().unwrap_or_default();
        let types = types(table, manifest.partition_spec_id);
        lengths.push(fields.len());
        for (index, field) in fields.iter().enumerate() {
            has_null.append_value(field.contains_null);
            has_nan.append_option(field.contains_nan);
            let text = |bytes: Option<&[u8]>| bytes.map(|bytes| bound(bytes, types.get(index)));
            lower.append_option(text(field.lower_bound.as_deref().map(Vec::as_slice)));
            upper.append_option(text(field.upper_bound.as_deref().map(Vec::as_slice)));
        }
    }
    let columns: [Column; 4] = [
        ("contains_null", Arc::new(has_null.finish()), false),
        ("contains_nan", Arc::new(has_nan.finish()), true),
        ("lower_bound", Arc::new(lower.finish()), true),
        ("upper_bound", Arc::new(upper.finish()), true),
    ];
    let fields = columns.iter().map(|(name, array, nullable)| Field::new(*name, array.data_type().clone(), *nullable));
    let fields: Fields = fields.collect();
    let values = StructArray::try_new(fields, columns.into_iter().map(|(_, array, _)| array).collect(), None)?;
    let item = Arc::new(Field::new_struct("item", values.fields().clone(), false));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(values), None)?))
}

/// The types of a spec's fields; none where the spec fits no schema any more.
fn types(table: &Table, spec: i32) -> Vec<PrimitiveType> {
    let metadata = table.metadata();
    let Some(spec) = metadata.partition_spec_by_id(spec) else { return Vec::new() };
    let mut schemas = std::iter::once(metadata.current_schema()).chain(metadata.schemas_iter());
    let Some(kind) = schemas.find_map(|schema| spec.partition_type(schema).ok()) else { return Vec::new() };
    let primitive = |kind: &Type| kind.as_primitive_type().cloned();
    kind.fields().iter().map_while(|field| primitive(&field.field_type)).collect()
}

/// A bound as text; its bytes in hex where its type is unknown.
fn bound(bytes: &[u8], kind: Option<&PrimitiveType>) -> String {
    let datum = kind.and_then(|kind| Datum::try_from_bytes(bytes, kind.clone()).ok());
    datum.map_or_else(|| hex(bytes), |datum| readable(&datum))
}
