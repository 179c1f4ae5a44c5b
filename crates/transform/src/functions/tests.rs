#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use crate::sql::{Snippet, Sql};
use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ToDFSchema;
use std::sync::Arc;

/// What an expression gives over some columns: a line a row, NULL as `∅`.
fn over(columns: Vec<(&str, ArrayRef)>, text: &str) -> Vec<String> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let schema: SchemaRef = batch.schema();
    let (planner, sql) = (Sql::over(schema.clone()), Snippet::file("test", text));
    let expr = planner.expression(&sql, &schema).unwrap();
    // not folded: the columns' way through a function is what is tested
    let bound = schema.clone().to_dfschema().unwrap();
    let coerced = planner.simplified(&sql, expr, &schema).unwrap().0;
    let values = planner.physical(&sql, &coerced, &bound).unwrap().evaluate(&batch).unwrap();
    let values = values.into_array(batch.num_rows()).unwrap();
    let options = FormatOptions::new().with_null("∅");
    let shown = ArrayFormatter::try_new(&values, &options).unwrap();
    (0..values.len()).map(|row| shown.value(row).to_string()).collect()
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn longs(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

#[test]
fn numbers() {
    let t = || vec![("t", texts(&[Some("1.5"), Some("1e5"), None, Some("10000000000"), Some("")]))];
    assert_eq!(over(t(), "is_decimal(t)"), ["true", "false", "∅", "true", "false"]);
    assert_eq!(over(t(), "parse_decimal(t)"), ["1.50000000", "∅", "∅", "∅", "∅"]);
    assert_eq!(over(t(), "seconds_to_micros(t)"), ["1500000", "∅", "∅", "10000000000000000", "∅"]);
    assert_eq!(
        over(vec![("t", texts(&[Some("1970-01-01T00:00:01Z"), Some("x")]))], "rfc3339_to_micros(t)"),
        ["1000000", "∅"]
    );
    assert_eq!(
        over(vec![("n", longs(&[Some(1), None, Some(i64::MAX), Some(i64::MIN)]))], "millis_to_micros(n)"),
        ["1000", "∅", "9223372036854775807", "-9223372036854775808"]
    );
    // narrower integers are widened
    assert_eq!(over(vec![("n", Arc::new(Int32Array::from(vec![7])))], "millis_to_micros(n)"), ["7000"]);
}

#[test]
fn comparisons_do_not_wrap() {
    let columns = || {
        let kafka = TimestampMicrosecondArray::from(vec![Some(100), Some(100), None, Some(i64::MAX), Some(i64::MIN)]);
        vec![
            ("n", longs(&[Some(110), Some(111), Some(5), Some(i64::MIN), Some(i64::MAX)])),
            ("kafka", Arc::new(kafka.with_timezone("+00:00")) as ArrayRef),
        ]
    };
    assert_eq!(over(columns(), "later_than(n, kafka, 10)"), ["false", "true", "∅", "false", "true"]);
    assert_eq!(over(columns(), "earlier_than(n, kafka, 10)"), ["false", "false", "∅", "true", "false"]);
    assert_eq!(over(columns(), "earlier_than(n, kafka, -12)"), ["true", "true", "∅", "true", "false"]);
    assert_eq!(over(columns(), "earlier_than(n, kafka, NULL)"), ["∅"; 5]);
}

#[test]
fn parts_of_text() {
    let t = || vec![("t", texts(&[Some("XBT/USD"), Some("A/B/C"), Some("/"), Some("none"), Some(""), None]))];
    assert_eq!(over(t(), "text_before(t, '/')"), ["XBT", "A", "", "none", "", "∅"]);
    assert_eq!(over(t(), "text_after(t, '/')"), ["USD", "B/C", "", "∅", "∅", "∅"]);
    let t = || vec![("t", texts(&[Some(""), Some(" \t\n"), Some("\u{a0}\u{2003}"), Some(" x"), None]))];
    assert_eq!(over(t(), "is_blank(t)"), ["true", "true", "true", "false", "∅"]);
    let t = || vec![("t", texts(&[Some("BTCFDUSD"), Some("BTCUSD"), Some("USD"), Some("btcusd"), Some(""), None]))];
    assert_eq!(over(t(), "quote_asset(t, 'USD', 'FDUSD')"), ["FDUSD", "USD", "USD", "∅", "∅", "∅"]);
}

#[test]
fn joining_text() {
    let columns = || {
        vec![
            ("n", longs(&[Some(-5), None, Some(i64::MIN)])),
            ("t", texts(&[Some("é"), Some("x"), Some("")])),
            ("b", Arc::new(BooleanArray::from(vec![true, true, false])) as ArrayRef),
            ("i", Arc::new(Int32Array::from(vec![1, 2, 3])) as ArrayRef),
        ]
    };
    assert_eq!(over(columns(), "join_text('A-', n, t, i, b)"), ["A--5é1true", "∅", "A--92233720368547758083false"]);
    assert_eq!(over(columns(), "join_text('a', 'b')"), ["ab"; 3]);
    assert_eq!(over(columns(), "text_list(t, 'y')"), ["[é, y]", "[x, y]", "[, y]"]);
    assert_eq!(over(columns(), "text_list(CAST(n AS VARCHAR))"), ["[-5]", "∅", "[-9223372036854775808]"]);
    assert_eq!(over(columns(), "text_list()"), ["[]"; 3]);
}

#[test]
fn json() {
    let columns = || {
        vec![
            ("n", longs(&[Some(9_007_199_254_740_993), None])),
            ("t", texts(&[Some("a\"b\\c/d\n\r\t\u{1}é\u{1F600}"), None])),
            ("b", Arc::new(BooleanArray::from(vec![Some(true), None])) as ArrayRef),
            ("i", Arc::new(Int32Array::from(vec![Some(-1), None])) as ArrayRef),
        ]
    };
    let rows = over(columns(), "json_object('n', n, 't', t, 'b', b, 'i', i, 'd', CAST(1.5 AS DOUBLE), 'x\"', NULL)");
    assert_eq!(
        rows,
        [
            "{\"n\":9007199254740993,\"t\":\"a\\\"b\\\\c/d\\n\\r\\t\\u0001é\u{1F600}\",\"b\":true,\"i\":-1,\"d\":1.5,\"x\\\"\":null}",
            r#"{"n":null,"t":null,"b":null,"i":null,"d":1.5,"x\"":null}"#,
        ]
    );
    let parsed: serde_json::Value = serde_json::from_str(&rows[0]).unwrap();
    assert_eq!(parsed["t"], "a\"b\\c/d\n\r\t\u{1}é\u{1F600}");
    assert_eq!(parsed["n"], 9_007_199_254_740_993i64);
    // whatever arrow knows
    let rows = over(
        columns(),
        "json_object('list', [i, i], 'day', DATE '2023-11-14', 'dec', CAST(i AS DECIMAL(18,8)), 'nan', CAST('NaN' AS DOUBLE))",
    );
    assert_eq!(rows[0], r#"{"list":[-1,-1],"day":"2023-11-14","dec":-1.00000000,"nan":null}"#);
    for row in rows {
        serde_json::from_str::<serde_json::Value>(&row).unwrap();
    }
}

#[test]
fn ids_and_messages() {
    let t = || vec![("t", texts(&[Some("k2:record"), None]))];
    assert_eq!(
        over(t(), "uuid5('6ba7b811-9dad-11d1-80b4-00c04fd430c8', t)"),
        ["4aa63622-8c4a-56f0-9c65-d4ee721720cb", "∅"]
    );
    assert_eq!(over(t(), "uuid5('x', t)"), ["∅", "∅"]);
    let long = "é".repeat(150);
    let t = || vec![("t", texts(&[Some("a\"\\\n\u{7f}"), None, Some(&long)]))];
    assert_eq!(
        over(t(), "shown(t)"),
        [r#""a\"\\\n\u{7f}""#.to_owned(), "null".to_owned(), format!("\"{}…\" (300 bytes)", "é".repeat(100))]
    );
    let n = || vec![("n", longs(&[Some(0), None, Some(300_000_000)]))];
    assert_eq!(over(n(), "shown(n)"), ["0", "null", "300000000"]);
    assert_eq!(over(n(), "shown_time(n)"), ["1970-01-01T00:00:00Z", "∅", "1970-01-01T00:05:00Z"]);
    assert_eq!(over(n(), "shown_span(n)"), ["0s", "∅", "5m"]);
}

#[test]
fn all_of_them_are_documented() {
    let readme = include_str!("../../../../config/transforms/README.md");
    for function in super::all() {
        assert!(
            readme.contains(&format!("`{}(", function.name())),
            "{} is not in config/transforms/README.md",
            function.name()
        );
    }
}
