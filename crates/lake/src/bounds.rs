//! The metrics of a data file, from its Parquet footer.
//!
//! iceberg's own writer skips row groups whose statistics were truncated, so a file with several row groups can get
//! bounds that are too narrow, and a filter then prunes rows that are there (reproduced; see docs/adr/0004). Here a bound
//! is the minimum (maximum) over *all* row groups, or absent: Parquet's truncated minimum is still a lower bound and its
//! truncated maximum is rounded up, so both stay true.

use iceberg::spec::{Datum, PrimitiveType, Schema};
use k2_model::{Error, Result};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use std::collections::HashMap;

/// Per field id: what a manifest entry says of a file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Metrics {
    pub(crate) column_sizes: HashMap<i32, u64>,
    pub(crate) value_counts: HashMap<i32, u64>,
    pub(crate) null_counts: HashMap<i32, u64>,
    pub(crate) lower: HashMap<i32, Datum>,
    pub(crate) upper: HashMap<i32, Datum>,
    pub(crate) split_offsets: Vec<i64>,
}

pub(crate) fn metrics(footer: &ParquetMetaData, schema: &Schema) -> Result<Metrics> {
    let mut out = Metrics::default();
    let mut unbounded = Vec::new();
    for group in footer.row_groups() {
        if let Some(first) = group.columns().first() {
            let (start, _) = first.byte_range();
            out.split_offsets.push(i64::try_from(start).unwrap_or(0));
        }
        for column in group.columns() {
            let path = column.column_descr().path();
            let info = column.column_descr().self_type().get_basic_info();
            if !info.has_id() {
                continue;
            }
            let id = info.id();
            *out.column_sizes.entry(id).or_default() += u64::try_from(column.compressed_size()).unwrap_or(0);
            // lists count elements there, and their null statistics mix levels: sizes are all we say of nested columns
            if path.parts().len() != 1 {
                continue;
            }
            let values = u64::try_from(column.num_values()).unwrap_or(0);
            *out.value_counts.entry(id).or_default() += values;
            let Some(PrimitiveKind(kind)) = primitive(schema, id) else { continue };
            let statistics = column.statistics();
            let nulls = statistics.and_then(Statistics::null_count_opt);
            match nulls {
                Some(nulls) => *out.null_counts.entry(id).or_default() += nulls,
                None => unbounded.push((id, true)),
            }
            if nulls == Some(values) {
                continue;
            }
            let range = statistics
                .and_then(|s| Some((datum(s, s.min_bytes_opt()?, &kind)?, datum(s, s.max_bytes_opt()?, &kind)?)));
            match range {
                Some((low, high)) => {
                    widen(&mut out.lower, id, low, |new, old| new < old);
                    widen(&mut out.upper, id, high, |new, old| new > old);
                }
                None => unbounded.push((id, false)),
            }
        }
    }
    for (id, nulls_too) in unbounded {
        out.lower.remove(&id);
        out.upper.remove(&id);
        if nulls_too {
            out.null_counts.remove(&id);
        }
    }
    if out.split_offsets.windows(2).any(|w| w[0] >= w[1]) {
        return Err(Error::unknown("row groups of a Parquet file are out of order"));
    }
    Ok(out)
}

struct PrimitiveKind(PrimitiveType);

fn primitive(schema: &Schema, id: i32) -> Option<PrimitiveKind> {
    schema.field_by_id(id)?.field_type.as_primitive_type().cloned().map(PrimitiveKind)
}

fn widen(bounds: &mut HashMap<i32, Datum>, id: i32, new: Datum, better: impl Fn(&Datum, &Datum) -> bool) {
    match bounds.get(&id) {
        Some(old) if !better(&new, old) => {}
        _ => {
            bounds.insert(id, new);
        }
    }
}

/// Parquet's plain bytes are Iceberg's single-value form but for decimals, which Iceberg keeps big-endian.
fn datum(statistics: &Statistics, bytes: &[u8], kind: &PrimitiveType) -> Option<Datum> {
    let flipped: Vec<u8>;
    let bytes = match (kind, statistics) {
        (PrimitiveType::Decimal { .. }, Statistics::Int32(_) | Statistics::Int64(_)) => {
            flipped = bytes.iter().rev().copied().collect();
            &flipped
        }
        _ => bytes,
    };
    Datum::try_from_bytes(bytes, kind.clone()).ok()
}

#[cfg(test)]
#[path = "bounds/tests.rs"]
mod tests;
