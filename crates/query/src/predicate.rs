//! Which of a query's conditions the files can be asked about: DataFusion's expressions as Iceberg's predicates.
//!
//! A predicate prunes manifests, files and row groups and filters rows in the reader, so it must never be stricter than
//! the condition it comes from (invariant 2). Hence an expression is translated wholly or not at all - half an `AND`
//! under a `NOT` would be stricter - and literals are taken only where they fit the column's type exactly. Times may be
//! finer than the column's unit: then the bound moves to the next value of the column that keeps the same rows.
//! Floats, binaries, UUIDs and nested columns stay with DataFusion.

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::logical_expr::{Between, BinaryExpr, Cast, Expr, Operator};
use datafusion::scalar::ScalarValue;
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{Datum, PrimitiveType};
use std::collections::HashMap;

/// More values than this in an `IN` cost more to push down than they save.
const MOST_VALUES: usize = 1000;

/// The columns that a predicate may name: what the query calls them → what the snapshot calls them, and their type.
pub(crate) type Columns = HashMap<String, (String, PrimitiveType)>;

/// What a scan prunes by.
#[derive(Debug, Clone)]
pub(crate) struct Pruning {
    pub(crate) predicate: Predicate,
    /// The same for people. (Iceberg's own text panics on times before 1970.)
    pub(crate) text: String,
}

/// All conditions that translate, joined.
pub(crate) fn conjunction(filters: &[Expr], columns: &Columns) -> Option<Pruning> {
    let translated = |filter| Some(Pruning { predicate: translate(filter, columns)?, text: filter.to_string() });
    filters.iter().filter_map(translated).reduce(|all, next| Pruning {
        predicate: all.predicate.and(next.predicate),
        text: format!("{} AND {}", all.text, next.text),
    })
}

/// The same condition for Iceberg, or nothing.
pub(crate) fn translate(expr: &Expr, columns: &Columns) -> Option<Predicate> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            Some(translate(left, columns)?.and(translate(right, columns)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(translate(left, columns)?.or(translate(right, columns)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (literal(left), literal(right)) {
            (None, Some(value)) => comparison(&column(left, columns)?, *op, value),
            (Some(value), None) => comparison(&column(right, columns)?, op.swap()?, value),
            _ => None,
        },
        Expr::Not(inner) => Some(!translate(inner, columns)?),
        Expr::IsNull(inner) => Some(plain(inner, columns)?.0.is_null()),
        Expr::IsNotNull(inner) => Some(plain(inner, columns)?.0.is_not_null()),
        Expr::Column(_) => match plain(expr, columns)? {
            (reference, PrimitiveType::Boolean) => Some(reference.equal_to(Datum::bool(true))),
            _ => None,
        },
        Expr::InList(list) if list.list.len() <= MOST_VALUES => {
            let (reference, kind) = plain(&list.expr, columns)?;
            let values = list.list.iter().map(|value| datum(literal(value)?, &kind)).collect::<Option<Vec<_>>>()?;
            Some(if list.negated { reference.is_not_in(values) } else { reference.is_in(values) })
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            let column = column(expr, columns)?;
            let low = comparison(&column, Operator::GtEq, literal(low)?)?;
            Some(low.and(comparison(&column, Operator::LtEq, literal(high)?)?))
        }
        _ => None,
    }
}

/// A column, as it is or widened to a finer unit of time.
struct Column {
    reference: Reference,
    kind: PrimitiveType,
    /// A cast makes a time in nanoseconds or microseconds of it.
    as_time: bool,
}

fn column(expr: &Expr, columns: &Columns) -> Option<Column> {
    let (inner, as_time) = match expr {
        Expr::Cast(Cast { expr, data_type: DataType::Timestamp(unit, zone) }) => {
            // a coarser unit cuts digits off, another zone moves a day's begin
            let fine = matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond);
            let utc = zone.as_deref().is_none_or(|zone| matches!(zone, "+00:00" | "UTC" | "Z"));
            (fine && utc).then_some((expr.as_ref(), true))?
        }
        other => (other, false),
    };
    let (reference, kind) = plain(inner, columns)?;
    Some(Column { reference, kind, as_time })
}

fn plain(expr: &Expr, columns: &Columns) -> Option<(Reference, PrimitiveType)> {
    let Expr::Column(column) = expr else { return None };
    let (name, kind) = columns.get(&column.name)?;
    Some((Reference::new(name.clone()), kind.clone()))
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) if !value.is_null() => Some(value),
        _ => None,
    }
}

fn comparison(column: &Column, op: Operator, value: &ScalarValue) -> Option<Predicate> {
    let (op, datum) = match (unit_nanos(&column.kind), time_nanos(value)) {
        // a day is compared with a time only through a cast
        (Some(unit), Some(nanos)) if column.as_time || column.kind != PrimitiveType::Date => {
            let (op, units) = snap(op, nanos, unit)?;
            (op, time_datum(units, &column.kind)?)
        }
        _ if column.as_time => return None,
        _ => (op, datum(value, &column.kind)?),
    };
    let reference = column.reference.clone();
    match op {
        Operator::Eq => Some(reference.equal_to(datum)),
        Operator::NotEq => Some(reference.not_equal_to(datum)),
        Operator::Lt => Some(reference.less_than(datum)),
        Operator::LtEq => Some(reference.less_than_or_equal_to(datum)),
        Operator::Gt => Some(reference.greater_than(datum)),
        Operator::GtEq => Some(reference.greater_than_or_equal_to(datum)),
        _ => None,
    }
}

/// For whole `c`: `c * unit op nanos` ⇔ `c op' units`.
fn snap(op: Operator, nanos: i128, unit: i128) -> Option<(Operator, i128)> {
    let below = nanos.div_euclid(unit);
    let exact = nanos.rem_euclid(unit) == 0;
    let above = if exact { below } else { below + 1 };
    match op {
        Operator::Gt | Operator::LtEq => Some((op, below)),
        Operator::GtEq | Operator::Lt => Some((op, above)),
        Operator::Eq | Operator::NotEq if exact => Some((op, below)),
        _ => None,
    }
}

fn unit_nanos(kind: &PrimitiveType) -> Option<i128> {
    match kind {
        PrimitiveType::Date => Some(86_400_000_000_000),
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => Some(1_000),
        _ => None,
    }
}

fn time_nanos(value: &ScalarValue) -> Option<i128> {
    match value {
        ScalarValue::TimestampSecond(Some(v), _) => Some(i128::from(*v) * 1_000_000_000),
        ScalarValue::TimestampMillisecond(Some(v), _) => Some(i128::from(*v) * 1_000_000),
        ScalarValue::TimestampMicrosecond(Some(v), _) => Some(i128::from(*v) * 1_000),
        ScalarValue::TimestampNanosecond(Some(v), _) => Some(i128::from(*v)),
        _ => None,
    }
}

fn time_datum(units: i128, kind: &PrimitiveType) -> Option<Datum> {
    match kind {
        PrimitiveType::Date => i32::try_from(units).ok().map(Datum::date),
        PrimitiveType::Timestamp => i64::try_from(units).ok().map(Datum::timestamp_micros),
        PrimitiveType::Timestamptz => i64::try_from(units).ok().map(Datum::timestamptz_micros),
        _ => None,
    }
}

/// The value in the column's type, if it is exactly that value there.
fn datum(value: &ScalarValue, kind: &PrimitiveType) -> Option<Datum> {
    if let (Some(unit), Some(nanos)) = (unit_nanos(kind), time_nanos(value)) {
        let (_, units) = snap(Operator::Eq, nanos, unit)?;
        return if *kind == PrimitiveType::Date { None } else { time_datum(units, kind) };
    }
    match (kind, value) {
        (PrimitiveType::Boolean, ScalarValue::Boolean(Some(v))) => Some(Datum::bool(*v)),
        (PrimitiveType::Int, _) => i32::try_from(whole(value)?).ok().map(Datum::int),
        (PrimitiveType::Long, _) => i64::try_from(whole(value)?).ok().map(Datum::long),
        (PrimitiveType::Date, ScalarValue::Date32(Some(days))) => Some(Datum::date(*days)),
        (
            PrimitiveType::String,
            ScalarValue::Utf8(Some(v)) | ScalarValue::LargeUtf8(Some(v)) | ScalarValue::Utf8View(Some(v)),
        ) => Some(Datum::string(v)),
        (PrimitiveType::Decimal { scale, .. }, ScalarValue::Decimal128(Some(v), _, from)) => {
            let unscaled = rescale(*v, i64::from(*from), i64::from(*scale))?;
            // the way from an unscaled number: big-endian, as Iceberg stores it
            Datum::try_from_bytes(&unscaled.to_be_bytes(), kind.clone()).ok()
        }
        _ => None,
    }
}

fn whole(value: &ScalarValue) -> Option<i128> {
    match value {
        ScalarValue::Int8(Some(v)) => Some(i128::from(*v)),
        ScalarValue::Int16(Some(v)) => Some(i128::from(*v)),
        ScalarValue::Int32(Some(v)) => Some(i128::from(*v)),
        ScalarValue::Int64(Some(v)) => Some(i128::from(*v)),
        ScalarValue::UInt8(Some(v)) => Some(i128::from(*v)),
        ScalarValue::UInt16(Some(v)) => Some(i128::from(*v)),
        ScalarValue::UInt32(Some(v)) => Some(i128::from(*v)),
        ScalarValue::UInt64(Some(v)) => Some(i128::from(*v)),
        _ => None,
    }
}

/// The same number with another scale, if no digit is lost.
fn rescale(unscaled: i128, from: i64, to: i64) -> Option<i128> {
    let power = 10_i128.checked_pow(u32::try_from((to - from).abs()).ok()?)?;
    if to >= from { unscaled.checked_mul(power) } else { (unscaled % power == 0).then_some(unscaled / power) }
}

#[cfg(test)]
#[path = "predicate/tests.rs"]
mod tests;
