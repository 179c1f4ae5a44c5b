//! Small builders that every metadata table needs.

use datafusion::arrow::array::{
    ArrayRef, Int32Builder, Int64Array, Int64Builder, MapBuilder, MapFieldNames, StringBuilder,
    TimestampMicrosecondArray,
};
use std::collections::HashMap;
use std::sync::Arc;

/// A column: name, values, may be null.
pub(super) type Column = (&'static str, ArrayRef, bool);

/// Counts and sizes are signed in Iceberg's tables.
pub(super) fn long(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count that a manifest list may leave out.
pub(super) fn int(value: Option<u32>) -> i32 {
    i32::try_from(value.unwrap_or(0)).unwrap_or(i32::MAX)
}

/// Moments, from milliseconds since 1970.
pub(super) fn times(millis: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let micros = millis.map(|millis| millis.map(|millis| millis.saturating_mul(1000)));
    Arc::new(TimestampMicrosecondArray::from_iter(micros).with_timezone("+00:00"))
}

/// Longs.
pub(super) fn longs(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.map(long)))
}

fn field_names() -> Option<MapFieldNames> {
    Some(MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() })
}

/// One map of texts per row, in the order of their keys.
pub(super) fn text_maps<'a>(rows: impl Iterator<Item = &'a HashMap<String, String>>) -> ArrayRef {
    let mut builder = MapBuilder::new(field_names(), StringBuilder::new(), StringBuilder::new());
    for row in rows {
        let mut entries: Vec<_> = row.iter().collect();
        entries.sort();
        for (key, value) in entries {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        close(&mut builder);
    }
    Arc::new(builder.finish())
}

/// One map from field id to a count per row.
pub(super) fn count_maps<'a>(rows: impl Iterator<Item = &'a HashMap<i32, u64>>) -> ArrayRef {
    let mut builder = MapBuilder::new(field_names(), Int32Builder::new(), Int64Builder::new());
    for row in rows {
        let mut entries: Vec<_> = row.iter().collect();
        entries.sort();
        for (key, value) in entries {
            builder.keys().append_value(*key);
            builder.values().append_value(long(*value));
        }
        close(&mut builder);
    }
    Arc::new(builder.finish())
}

/// One map from field id to a text per row.
pub(super) fn id_text_maps(rows: impl Iterator<Item = Vec<(i32, String)>>) -> ArrayRef {
    let mut builder = MapBuilder::new(field_names(), Int32Builder::new(), StringBuilder::new());
    for mut row in rows {
        row.sort();
        for (key, value) in row {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        close(&mut builder);
    }
    Arc::new(builder.finish())
}

/// Ends a row of a map. It fails only where keys and values differ in number, and they are appended in pairs.
fn close<K, V>(builder: &mut MapBuilder<K, V>)
where
    K: datafusion::arrow::array::ArrayBuilder,
    V: datafusion::arrow::array::ArrayBuilder,
{
    let closed = builder.append(true);
    debug_assert!(closed.is_ok());
}
