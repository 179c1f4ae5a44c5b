//! Partition values of rows, and the folders that files of a value lie in.
//!
//! Values are computed by Iceberg's own transforms. Folders mean nothing to a reader (the manifests say what is where), so
//! their names are made for people and for file systems, whatever a record holds: no value can lead out of its folder.

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::take_record_batch;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use iceberg::arrow::arrow_primitive_to_literal;
use iceberg::spec::{Datum, Literal, PrimitiveLiteral, PrimitiveType, Struct, TableMetadata, Transform, Type};
use iceberg::transform::create_transform_function;
use k2_model::{Error, Result, clock};
use std::collections::HashMap;

/// The partition value of rows that were received at a time (µs).
pub fn partition_of(table: &TableMetadata, received_at: i64) -> Result<Struct> {
    let values = table.default_partition_spec().fields().iter().map(|field| {
        let source = table.current_schema().field_by_id(field.source_id);
        let datum = match source.map(|s| s.field_type.as_ref()) {
            Some(Type::Primitive(PrimitiveType::Date)) => Datum::date(clock::day_of(received_at)),
            _ => Datum::timestamptz_micros(received_at),
        };
        let transform = create_transform_function(&field.transform).map_err(no_value)?;
        Ok(transform.transform_literal(&datum).map_err(no_value)?.map(Literal::from))
    });
    Ok(Struct::from_iter(values.collect::<Result<Vec<_>>>()?))
}

/// Rows by partition value, computed from the rows' own columns: one batch per value, in the order in which the values
/// appear, each with its rows in their order. No rows: nothing. The usual batch, all of one value, is passed on as it is.
pub fn split(table: &TableMetadata, rows: &RecordBatch) -> Result<Vec<(Struct, RecordBatch)>> {
    if rows.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let (columns, types): (Vec<_>, Vec<_>) = transformed(table, rows)?.into_iter().unzip();
    let value_of = |row: usize| -> Result<Struct> {
        let literals = columns.iter().zip(&types).map(|(column, kind)| {
            let one = arrow_primitive_to_literal(&column.slice(row, 1), kind).map_err(no_value)?;
            Ok(one.into_iter().next().flatten())
        });
        Ok(Struct::from_iter(literals.collect::<Result<Vec<_>>>()?))
    };
    if all_alike(&columns).map_err(no_groups)? {
        return Ok(vec![(value_of(0)?, rows.clone())]);
    }
    let groups = groups(&columns).map_err(no_groups)?;
    let parts = groups.into_iter().map(|of_value| {
        let first = of_value.first().map_or(0, |row| *row as usize);
        let part = take_record_batch(rows, &UInt32Array::from(of_value)).map_err(no_groups)?;
        Ok((value_of(first)?, part))
    });
    parts.collect()
}

/// The transform of each partition field, applied to its source column, with the type of the result.
fn transformed(table: &TableMetadata, rows: &RecordBatch) -> Result<Vec<(ArrayRef, Type)>> {
    let spec = table.default_partition_spec();
    let kinds = table.default_partition_type().fields();
    let columns = spec.fields().iter().zip(kinds).map(|(field, kind)| {
        let name = table.current_schema().name_by_field_id(field.source_id).unwrap_or_default();
        let Some(source) = rows.column_by_name(name) else {
            return Err(Error::config(format!(
                "partition field {} follows from column {name:?}, which the rows lack",
                field.name
            )));
        };
        let transform = create_transform_function(&field.transform).map_err(no_value)?;
        let values = transform.transform(source.clone()).map_err(no_value)?;
        // a value that the transform has no result for must not be taken for null: a filter would then miss the row
        if field.transform != Transform::Void && values.null_count() > source.null_count() {
            return Err(Error::unknown(format!(
                "partition field {} has no value for a row: column {name} is out of range",
                field.name
            )));
        }
        Ok((values, kind.field_type.as_ref().clone()))
    });
    columns.collect()
}

fn all_alike(columns: &[ArrayRef]) -> Result<bool, ArrowError> {
    for column in columns {
        let (first, rest) = (column.slice(0, column.len() - 1), column.slice(1, column.len() - 1));
        if distinct(&first, &rest)?.true_count() > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The rows of each value, values in order of appearance.
fn groups(columns: &[ArrayRef]) -> Result<Vec<Vec<u32>>, ArrowError> {
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let keys = RowConverter::new(fields)?.convert_columns(columns)?;
    let mut known: HashMap<&[u8], usize> = HashMap::new();
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for (row, key) in (0_u32..).zip(keys.iter()) {
        let group = *known.entry(key.data()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        if let Some(group) = groups.get_mut(group) {
            group.push(row);
        }
    }
    Ok(groups)
}

/// The folder of a partition value, below the table's data folder: `exchange_date=2024-10-04/symbol=BTCUSDT`. Empty for a
/// table without partitions.
pub(super) fn folder(table: &TableMetadata, value: &Struct) -> String {
    let spec = table.default_partition_spec();
    let kinds = table.default_partition_type().fields();
    let parts = spec.fields().iter().zip(kinds).zip(value.iter()).map(|((field, kind), value)| {
        let value = shown(&field.transform, &kind.field_type, value);
        format!("{}={}", harmless(&field.name), harmless(&value))
    });
    parts.collect::<Vec<_>>().join("/")
}

fn shown(transform: &Transform, kind: &Type, value: Option<&Literal>) -> String {
    match (kind.as_primitive_type(), value.and_then(Literal::as_primitive_literal)) {
        (Some(PrimitiveType::Date), Some(PrimitiveLiteral::Int(day))) if !(YEAR_1..YEAR_10000).contains(&day) => {
            day.to_string()
        }
        (Some(PrimitiveType::Timestamp | PrimitiveType::Timestamptz), Some(PrimitiveLiteral::Long(at)))
            if !(i64::from(YEAR_1)..i64::from(YEAR_10000)).contains(&at.div_euclid(86_400_000_000)) =>
        {
            at.to_string()
        }
        _ => transform.to_human_string(kind, value),
    }
}

/// The days since 1970 on which the years 1 and 10000 begin: iceberg panics on dates far outside.
const YEAR_1: i32 = -719_162;
const YEAR_10000: i32 = 2_932_897;

/// A text as part of a file's name on any system, in any tool: values are also cut, they may be megabytes long.
fn harmless(text: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    text.chars().take(64).map(keep).collect()
}

fn no_value(e: iceberg::Error) -> Error {
    Error::config("cannot compute the partition value").caused_by(e)
}

fn no_groups(e: ArrowError) -> Error {
    Error::unknown("cannot split rows by partition value").caused_by(e)
}

#[cfg(test)]
#[path = "partition/tests.rs"]
mod tests;
