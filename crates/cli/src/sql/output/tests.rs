#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;
use iceberg::table::Table;
use iceberg::{TableCreation, TableIdent, TableUpdate};
use k2_lake::catalog::{Catalog, CommitFailure};
use k2_lake::store::Stores;
use k2_query::Queries;
use std::sync::Arc;

/// A catalog without tables: the rows come from literals.
#[derive(Debug)]
struct Nothing;

#[async_trait::async_trait]
impl Catalog for Nothing {
    async fn ensure_namespace(&self, _: &str) -> Result<()> {
        unreachable!("queries only read")
    }
    async fn namespace_exists(&self, _: &str) -> Result<bool> {
        Ok(false)
    }
    async fn tables(&self, _: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    async fn load(&self, _: &TableIdent) -> Result<Option<Table>> {
        Ok(None)
    }
    async fn create(&self, _: &str, _: TableCreation) -> Result<Table> {
        unreachable!("queries only read")
    }
    async fn commit(&self, _: &Table, _: Vec<TableUpdate>) -> Result<Table, CommitFailure> {
        unreachable!("queries only read")
    }
    fn stores(&self, _: &TableIdent) -> Stores {
        unreachable!("queries only read")
    }
    fn describe(&self) -> String {
        "nothing".to_owned()
    }
}

async fn printed(sql: &str, format: Format) -> String {
    let queries = Queries::open(Arc::new(Nothing), "iceberg", "market_data", 64 << 20).unwrap();
    let mut out = Vec::new();
    print(queries.run(sql).await.unwrap(), format, &mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

const VALUES: &str = "SELECT * FROM (VALUES \
    (1, CAST('10.50' AS DECIMAL(18,8)), X'00ff', 'a,\"b\"', to_timestamp_micros(1767225600000001) AT TIME ZONE '+00:00', [1, 2], DATE '2026-01-01'), \
    (20, NULL, NULL, '', NULL, NULL, NULL)) \
    AS t (id, price, raw, text, at, list, day)";

#[tokio::test]
async fn a_table_for_people() {
    let expected = "\
id        price  raw   text   at                           list    day
--  -----------  ----  -----  ---------------------------  ------  ----------
 1  10.50000000  00ff  a,\"b\"  2026-01-01T00:00:00.000001Z  [1, 2]  2026-01-01
20
(2 rows)
";
    assert_eq!(printed(VALUES, Format::Table).await, expected);
    assert_eq!(printed("SELECT 1 AS a WHERE false", Format::Table).await, "a\n-\n(0 rows)\n");
}

#[tokio::test]
async fn csv_keeps_null_and_empty_apart() {
    let expected = "\
id,price,raw,text,at,list,day
1,10.50000000,00ff,\"a,\"\"b\"\"\",2026-01-01T00:00:00.000001Z,\"[1,2]\",2026-01-01
20,,,\"\",,,
";
    assert_eq!(printed(VALUES, Format::Csv).await, expected);
    assert_eq!(printed("SELECT 1 AS a WHERE false", Format::Csv).await, "a\n");
}

#[tokio::test]
async fn json_is_an_array_with_an_object_a_line() {
    let text = printed(VALUES, Format::Json).await;
    let first = "  {\"id\":1,\"price\":10.50000000,\"raw\":\"00ff\",\"text\":\"a,\\\"b\\\"\",\
                 \"at\":\"2026-01-01T00:00:00.000001Z\",\"list\":[1,2],\"day\":\"2026-01-01\"},";
    let second = "  {\"id\":20,\"price\":null,\"raw\":null,\"text\":\"\",\"at\":null,\"list\":null,\"day\":null}";
    assert_eq!(text, format!("[\n{first}\n{second}\n]\n"));
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(parsed.as_array().unwrap().len(), 2);
    assert_eq!(printed("SELECT 1 AS a WHERE false", Format::Json).await, "[]\n");
}

#[tokio::test]
async fn a_table_says_where_it_is_cut_and_the_others_are_whole() {
    let sql = "SELECT value FROM generate_series(1, 20000)";
    let text = printed(sql, Format::Table).await;
    assert_eq!(text.lines().count(), MOST_ROWS + 3);
    assert!(text.ends_with("(the first 1000 rows; --format csv or json prints all)\n"), "{text}");
    assert!(printed("SELECT value FROM generate_series(1, 1000)", Format::Table).await.ends_with("(1000 rows)\n"));
    assert_eq!(printed(sql, Format::Csv).await.lines().count(), 20_001);
    assert_eq!(printed(sql, Format::Json).await.lines().count(), 20_002);
}

#[tokio::test]
async fn a_value_can_not_drive_the_terminal() {
    let text = printed("SELECT chr(27) || '[2J' || chr(13) AS a", Format::Table).await;
    assert!(!text.contains(['\u{1b}', '\r']), "{text:?}");
    assert!(text.contains("\\u{1b}[2J\\r"), "{text:?}");
    // plans keep their lines
    assert!(printed("EXPLAIN SELECT 1", Format::Table).await.contains("PlaceholderRowExec"));
}

/// A pipe whose reader has gone.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_error() {
    let queries = Queries::open(Arc::new(Nothing), "iceberg", "market_data", 64 << 20).unwrap();
    for format in [Format::Table, Format::Csv, Format::Json] {
        let rows = queries.run("SELECT value FROM generate_series(1, 100000)").await.unwrap();
        print(rows, format, &mut Closed).await.unwrap();
    }
}
