#![allow(clippy::unwrap_used)]

use super::*;
use datafusion::prelude::{cast, col, lit};

fn columns() -> Columns {
    use PrimitiveType as P;
    [
        ("flag", P::Boolean),
        ("partition", P::Int),
        ("offset", P::Long),
        ("day", P::Date),
        ("at", P::Timestamptz),
        ("price", P::Decimal { precision: 18, scale: 8 }),
        ("side", P::String),
    ]
    .map(|(name, kind)| (name.to_owned(), (name.to_owned(), kind)))
    .into()
}

fn said(expr: &Expr) -> Option<String> {
    translate(expr, &columns()).map(|predicate| predicate.to_string())
}

fn nanos(value: i64) -> Expr {
    Expr::Literal(ScalarValue::TimestampNanosecond(Some(value), Some("+00:00".into())), None)
}

fn decimal(value: i128, scale: i8) -> Expr {
    Expr::Literal(ScalarValue::Decimal128(Some(value), 20, scale), None)
}

#[test]
fn what_translates() {
    let at_in_nanos = || cast(col("at"), DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into())));
    let day_as_time = || cast(col("day"), DataType::Timestamp(TimeUnit::Nanosecond, None));
    let day = 86_400_000_000_000_i64;
    for (expr, expected) in [
        (col("offset").gt(lit(5_i64)), "offset > 5"),
        (lit(5_i64).gt(col("offset")), "offset < 5"),
        (col("partition").eq(lit(5_i64)), "partition = 5"),
        (col("flag"), "flag = true"),
        (Expr::Not(Box::new(col("offset").lt(lit(5_i64)))), "NOT (offset < 5)"),
        (col("side").eq(lit("BUY")).and(col("offset").is_null()), "(side = \"BUY\") AND (offset IS NULL)"),
        (col("side").eq(lit("BUY")).or(col("offset").is_not_null()), "(side = \"BUY\") OR (offset IS NOT NULL)"),
        (col("offset").between(lit(1_i64), lit(2_i64)), "(offset >= 1) AND (offset <= 2)"),
        (col("price").gt_eq(decimal(15, 1)), "price >= 1.50000000"),
        (col("price").gt_eq(decimal(1_500_000_000, 9)), "price >= 1.50000000"),
        (col("day").eq(Expr::Literal(ScalarValue::Date32(Some(1)), None)), "day = 1970-01-02"),
        // 1.5 µs: the next whole microsecond that keeps the same rows
        (at_in_nanos().gt(nanos(1_500)), "at > 1970-01-01 00:00:00.000001 UTC"),
        (at_in_nanos().gt_eq(nanos(1_500)), "at >= 1970-01-01 00:00:00.000002 UTC"),
        (at_in_nanos().lt(nanos(1_500)), "at < 1970-01-01 00:00:00.000002 UTC"),
        (at_in_nanos().lt_eq(nanos(1_500)), "at <= 1970-01-01 00:00:00.000001 UTC"),
        (at_in_nanos().eq(nanos(2_000)), "at = 1970-01-01 00:00:00.000002 UTC"),
        (day_as_time().gt(nanos(day + 1)), "day > 1970-01-02"),
        (day_as_time().lt(nanos(day + 1)), "day < 1970-01-03"),
    ] {
        assert_eq!(said(&expr).as_deref(), Some(expected), "{expr}");
    }
    let list = col("offset").in_list(vec![lit(1_i64)], true);
    assert_eq!(said(&list).as_deref(), Some("offset NOT IN (1)"));
}

#[test]
fn a_bound_between_two_values_moves_to_the_one_that_keeps_the_same_rows() {
    for nanos in -3_000..3_000_i128 {
        for (op, holds) in [
            (Operator::Gt, (|c, n| c > n) as fn(i128, i128) -> bool),
            (Operator::GtEq, |c, n| c >= n),
            (Operator::Lt, |c, n| c < n),
            (Operator::LtEq, |c, n| c <= n),
        ] {
            let (same, units) = snap(op, nanos, 1_000).unwrap();
            assert_eq!(same, op);
            for c in -4..4_i128 {
                assert_eq!(holds(c * 1_000, nanos), holds(c, units), "{c} {op} {nanos}");
            }
        }
        assert_eq!(snap(Operator::Eq, nanos, 1_000).is_some(), nanos % 1_000 == 0);
    }
}

#[test]
fn what_stays_with_datafusion() {
    let seconds = || cast(col("at"), DataType::Timestamp(TimeUnit::Second, Some("+00:00".into())));
    let vienna = || cast(col("day"), DataType::Timestamp(TimeUnit::Nanosecond, Some("Europe/Vienna".into())));
    for expr in [
        col("unknown").eq(lit(1)),
        col("offset").eq(col("partition")),
        (col("offset") + lit(1_i64)).eq(lit(5_i64)),
        col("offset").eq(lit(ScalarValue::Int64(None))),
        col("partition").eq(lit(5_000_000_000_i64)),
        col("price").eq(decimal(1, 9)),
        col("price").eq(lit(1.5_f64)),
        col("side").eq(lit(1_i64)),
        seconds().gt(nanos(5)),
        vienna().gt(nanos(5)),
        cast(col("at"), DataType::Timestamp(TimeUnit::Nanosecond, None)).eq(nanos(1_500)),
        col("day").eq(nanos(0)),
        // half of a condition under a NOT would be stricter than the whole
        Expr::Not(Box::new(col("offset").lt(lit(5_i64)).and(col("unknown").eq(lit(1))))),
        col("offset").lt(lit(5_i64)).or(col("unknown").eq(lit(1))),
        col("offset").in_list(vec![lit(1_i64), col("partition")], false),
    ] {
        assert_eq!(said(&expr), None, "{expr}");
    }
}

#[test]
fn of_several_conditions_those_that_translate_are_joined() {
    let filters = [col("offset").gt(lit(5_i64)), col("unknown").eq(lit(1)), col("side").eq(lit("BUY"))];
    let pruning = conjunction(&filters, &columns()).unwrap();
    assert_eq!(pruning.predicate.to_string(), "(offset > 5) AND (side = \"BUY\")");
    assert!(!pruning.text.contains("unknown"), "{}", pruning.text);
    assert!(conjunction(&filters[1..2], &columns()).is_none());
}
