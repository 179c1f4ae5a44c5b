//! Functions about numbers and times; [`crate::number`] does the reading.

use super::Arguments;
use crate::contract::{PRECISION, SCALE};
use crate::number::{self, Decimal};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, NullBufferBuilder, StringArray,
};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::{Result, exec_err};
use std::sync::Arc;

pub(super) fn is_decimal(args: &Arguments<'_>) -> Result<ArrayRef> {
    let texts = args.text(0)?;
    let is = texts.iter().map(|text| text.map(|text| number::is_number(text.as_bytes())));
    Ok(Arc::new(is.collect::<BooleanArray>()))
}

pub(super) fn parse_decimal(args: &Arguments<'_>) -> Result<ArrayRef> {
    let texts = args.text(0)?;
    let mut values = Vec::with_capacity(texts.len());
    let mut present = NullBufferBuilder::new(texts.len());
    for text in &texts {
        match text.map(|text| number::decimal(text.as_bytes())) {
            Some(Decimal::Unscaled(value)) => {
                values.push(i128::from(value));
                present.append_non_null();
            }
            _ => {
                values.push(0);
                present.append_null();
            }
        }
    }
    let decimals = Decimal128Array::new(values.into(), present.finish());
    Ok(Arc::new(decimals.with_precision_and_scale(PRECISION, SCALE)?))
}

fn longs_of(texts: &StringArray, read: impl Fn(&[u8]) -> Option<i64>) -> ArrayRef {
    let mut values = Vec::with_capacity(texts.len());
    let mut present = NullBufferBuilder::new(texts.len());
    for text in texts {
        let value = text.and_then(|text| read(text.as_bytes()));
        values.push(value.unwrap_or_default());
        present.append(value.is_some());
    }
    Arc::new(Int64Array::new(values.into(), present.finish()))
}

pub(super) fn seconds_to_micros(args: &Arguments<'_>) -> Result<ArrayRef> {
    Ok(longs_of(&args.text(0)?, number::seconds))
}

pub(super) fn rfc3339_to_micros(args: &Arguments<'_>) -> Result<ArrayRef> {
    Ok(longs_of(&args.text(0)?, number::rfc3339))
}

pub(super) fn millis_to_micros(args: &Arguments<'_>) -> Result<ArrayRef> {
    Ok(Arc::new(args.long(0)?.unary::<_, arrow::datatypes::Int64Type>(|millis| millis.saturating_mul(1000))))
}

/// `a > b + by`, in 128 bits.
pub(super) fn later_than(args: &Arguments<'_>) -> Result<ArrayRef> {
    compare(args, |a, b, by| a > b + by)
}

/// `a < b − by`, in 128 bits.
pub(super) fn earlier_than(args: &Arguments<'_>) -> Result<ArrayRef> {
    compare(args, |a, b, by| a < b - by)
}

fn compare(args: &Arguments<'_>, holds: impl Fn(i128, i128, i128) -> bool) -> Result<ArrayRef> {
    let (times, limits) = (args.long(0)?, args.long(2)?);
    let origins = args.column(1)?;
    let Some(origins) = origins.as_primitive_opt::<TimestampMicrosecondType>() else {
        return exec_err!("argument 2 of {} must be a TIMESTAMP, not {}", args.function, origins.data_type());
    };
    let nulls = arrow::buffer::NullBuffer::union(times.nulls(), origins.nulls());
    let nulls = arrow::buffer::NullBuffer::union(nulls.as_ref(), limits.nulls());
    let (times, origins, limits) = (times.values(), origins.values(), limits.values());
    let results = arrow::buffer::BooleanBuffer::collect_bool(args.rows, |row| {
        holds(times[row].into(), origins[row].into(), limits[row].into())
    });
    Ok(Arc::new(BooleanArray::new(results, nulls)))
}

pub(super) fn shown_time(args: &Arguments<'_>) -> Result<ArrayRef> {
    let shown = args.long(0)?.iter().map(|micros| micros.map(number::shown_instant)).collect::<StringArray>();
    Ok(Arc::new(shown))
}

pub(super) fn shown_span(args: &Arguments<'_>) -> Result<ArrayRef> {
    let shown = args.long(0)?.iter().map(|micros| micros.map(number::shown_span)).collect::<StringArray>();
    Ok(Arc::new(shown))
}
