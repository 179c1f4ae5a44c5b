//! Small builders that every metadata table needs.

use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::arrow::array::{
    ArrayRef, Int32Builder, Int64Array, Int64Builder, MapBuilder, MapFieldNames, StringBuilder,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, Decimal128Type, DecimalType};
use iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType};
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

/// A bound as text. Iceberg's own text panics on times that chrono can't hold and on times before 1970; what is in a
/// file's statistics comes from outside, so a number stands in for those.
pub(super) fn readable(datum: &Datum) -> String {
    let utc = |time: Option<DateTime<Utc>>| time.map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
    let text = match (datum.data_type(), datum.literal()) {
        (PrimitiveType::Date, PrimitiveLiteral::Int(days)) => {
            let day = DateTime::from_timestamp(i64::from(*days) * 86_400, 0);
            day.map(|day| day.date_naive().to_string()).or_else(|| Some(days.to_string()))
        }
        (PrimitiveType::Timestamptz, PrimitiveLiteral::Long(v)) => utc(DateTime::from_timestamp_micros(*v)),
        (PrimitiveType::Timestamp, PrimitiveLiteral::Long(v)) => {
            utc(DateTime::from_timestamp_micros(*v)).map(|text| text.trim_end_matches('Z').to_owned())
        }
        (PrimitiveType::TimestamptzNs, PrimitiveLiteral::Long(v)) => utc(Some(DateTime::from_timestamp_nanos(*v))),
        (PrimitiveType::TimestampNs, PrimitiveLiteral::Long(v)) => {
            utc(Some(DateTime::from_timestamp_nanos(*v))).map(|text| text.trim_end_matches('Z').to_owned())
        }
        (PrimitiveType::Decimal { scale, .. }, PrimitiveLiteral::Int128(v)) => {
            i8::try_from(*scale).ok().map(|scale| Decimal128Type::format_decimal(*v, DECIMAL128_MAX_PRECISION, scale))
        }
        (_, PrimitiveLiteral::Binary(bytes)) => Some(hex(bytes)),
        (PrimitiveType::Time, PrimitiveLiteral::Long(v)) if !(0..86_400_000_000).contains(v) => None,
        _ => Some(datum.to_human_string()),
    };
    match (text, datum.literal()) {
        (Some(text), _) => text,
        (None, PrimitiveLiteral::Long(v)) => v.to_string(),
        (None, other) => format!("{other:?}"),
    }
}

/// Bytes as text.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bound_is_unreadable() {
        for (datum, text) in [
            (Datum::timestamptz_micros(0), "1970-01-01T00:00:00Z"),
            (Datum::timestamptz_micros(-1), "1969-12-31T23:59:59.999999Z"),
            (Datum::timestamptz_micros(i64::MAX), "9223372036854775807"),
            (Datum::timestamp_micros(1_500_000), "1970-01-01T00:00:01.500"),
            (Datum::timestamp_nanos(-1), "1969-12-31T23:59:59.999999999"),
            (Datum::date(20_454), "2026-01-01"),
            (Datum::date(i32::MAX), "2147483647"),
            (Datum::string("a"), "a"),
            (Datum::binary([0xab, 1]), "ab01"),
            (Datum::long(-5), "-5"),
            (Datum::bool(true), "true"),
        ] {
            assert_eq!(readable(&datum), text);
        }
        let kind = PrimitiveType::Decimal { precision: 18, scale: 8 };
        let price = Datum::try_from_bytes(&(-150_000_000_i128).to_be_bytes(), kind).ok();
        assert_eq!(price.as_ref().map(readable).as_deref(), Some("-1.50000000"));
    }
}
