#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;
use crate::fixture::{FIRST_DAY, Lake, Rows, arrow, schema, trades, trades_schema};
use arrow::array::{Date32Array, StringArray, TimestampMicrosecondArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use iceberg::spec::{PrimitiveType, Transform, Type};
use iceberg::transaction::{AddColumn, ApplyTransactionAction, Transaction};
use k2_model::{Class, clock};
use std::sync::atomic::Ordering;

const MEMORY: u64 = 64 << 20;

fn open(lake: &Arc<Lake>, memory: u64) -> Queries {
    let catalog: Arc<dyn Catalog> = Arc::clone(lake) as _;
    Queries::open(catalog, "iceberg", "market_data", memory).unwrap()
}

/// The rows as text, a line each.
async fn lines(queries: &Queries, sql: &str) -> Result<Vec<String>> {
    let stream = queries.run(sql).await?;
    let announced = stream.schema();
    let mut lines = Vec::new();
    let options = FormatOptions::default().with_null("-");
    for batch in stream.collect().await? {
        assert_eq!(batch.schema(), announced, "{sql}");
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        for row in 0..batch.num_rows() {
            lines.push(columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join(" | "));
        }
    }
    Ok(lines)
}

/// The lake that golden.txt asks: see there.
async fn golden_lake() -> (Arc<Lake>, Vec<i64>) {
    let lake = Lake::new().await;
    let snapshots = lake.with_trades().await;
    lake.create("empty", trades_schema(), Some(("ingestion_date", Transform::Day))).await;
    // a real table that has the name of a metadata table
    lake.create("history", schema(&[("really", PrimitiveType::Long)]), None).await;
    // partitioned by a column itself: its values come from the partition, run-length encoded
    let by_day = schema(&[("exchange_date", PrimitiveType::Date), ("symbol", PrimitiveType::String)]);
    let by_day = lake.create("by_day", by_day, Some(("exchange_date", Transform::Identity))).await;
    let days: Arc<dyn Array> = Arc::new(Date32Array::from(vec![FIRST_DAY; 2]));
    let symbols: Arc<dyn Array> = Arc::new(StringArray::from(vec!["BTCUSDT", "ETHUSDT"]));
    let batch = RecordBatch::try_new(arrow(&by_day), vec![days, symbols]).unwrap();
    let files = lake.write(&by_day, Some(FIRST_DAY), batch).await;
    lake.commit("by_day", files).await;
    // a column that came after the only file
    lake.create("grown", trades_schema(), None).await;
    lake.append("grown", &[Rows { partition: 0, offsets: 0..5, day: 0 }]).await;
    let table = lake.table("grown").await;
    let transaction = Transaction::new(&table);
    let venue = AddColumn::optional("venue", Type::Primitive(PrimitiveType::String));
    let added = transaction.update_schema().add_column(venue);
    added.apply(transaction).unwrap().commit(&lake.iceberg).await.unwrap();
    (Arc::new(lake), snapshots)
}

/// `golden.txt`: queries, each with its answer or the beginning of its error.
#[tokio::test]
async fn golden() {
    let (lake, snapshots) = golden_lake().await;
    let queries = open(&lake, MEMORY);
    let table = lake.table("trades").await;
    let mut names: Vec<(String, String)> = Vec::new();
    for (number, id) in snapshots.iter().enumerate() {
        let millis = table.metadata().snapshot_by_id(*id).unwrap().timestamp_ms();
        let time = chrono::DateTime::from_timestamp_millis(millis).unwrap();
        names.push((id.to_string(), format!("<id {number}>")));
        names.push((time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true), format!("<time {number}>")));
        names.push((time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true), format!("<time {number}>")));
    }
    let golden = include_str!("golden.txt");
    let mut actual = String::new();
    for block in golden.split("\n\n") {
        let (comment, rest): (Vec<&str>, Vec<&str>) = block.lines().partition(|line| line.starts_with('#'));
        let question: Vec<&str> = rest.iter().filter_map(|line| line.strip_prefix("> ")).collect();
        comment.iter().for_each(|line| actual += &format!("{line}\n"));
        if question.is_empty() {
            actual.push('\n');
            continue;
        }
        question.iter().for_each(|line| actual += &format!("> {line}\n"));
        let sql = names.iter().fold(question.join("\n"), |sql, (value, name)| sql.replace(name, value));
        let answer = match lines(&queries, &sql).await {
            Ok(lines) => lines,
            Err(error) => vec![format!("! {:?}: {error}", error.class())],
        };
        for line in answer {
            actual += &names.iter().fold(line, |line, (value, name)| line.replace(value, name));
            actual.push('\n');
        }
        actual.push('\n');
    }
    if actual.trim_end() != golden.trim_end() {
        let path = std::env::temp_dir().join("k2-query-golden.txt");
        std::fs::write(&path, format!("{}\n", actual.trim_end())).unwrap();
        let differs = golden.lines().zip(actual.lines()).position(|(a, b)| a != b).unwrap_or(0);
        panic!(
            "line {}:\n  golden {:?}\n  actual {:?}\nall of it is in {}",
            differs + 1,
            golden.lines().nth(differs),
            actual.lines().nth(differs),
            path.display()
        );
    }
}

/// Conditions on every column, pushed down and not: the same rows.
#[tokio::test]
async fn pushed_down_or_not_the_answer_is_the_same() {
    let lake = Lake::new().await;
    lake.with_trades().await;
    let queries = open(&Arc::new(lake), MEMORY);
    let mut conditions: Vec<String> = Vec::new();
    for op in ["=", "<>", "<", "<=", ">", ">="] {
        for (column, value) in [
            ("\"offset\"", "7"),
            ("partition", "1"),
            ("ingestion_date", "DATE '2026-01-02'"),
            ("ingestion_date", "TIMESTAMP '2026-01-02 00:00:01'"),
            ("ingestion_timestamp", "TIMESTAMP '2026-01-02T12:00:07Z'"),
            ("ingestion_timestamp", "'2026-01-02T12:00:07'"),
            ("kafka_timestamp", "TIMESTAMP '2026-01-02T12:00:06.999999Z'"),
            ("kafka_timestamp", "TIMESTAMP '2026-01-02T12:00:06.999999500Z'"),
            ("price", "15.0"),
            ("price", "15.000000001"),
            ("side", "'BUY'"),
            ("topic", "'trades'"),
            ("raw_bytes", "X'0107'"),
        ] {
            conditions.push(format!("{column} {op} {value}"));
        }
    }
    let simple = conditions.len();
    for extra in [
        "\"offset\" IN (3, 8, 14)",
        "\"offset\" NOT IN (3, 8, 14)",
        "side IN ('BUY', 'HOLD')",
        "price NOT IN (1.5, 3)",
        "price BETWEEN 3 AND 9.5",
        "price IS NULL",
        "price IS NOT NULL",
        "raw_bytes IS NULL",
        "headers IS NULL",
        "side LIKE 'B%'",
        "NOT (price > 6)",
        "NOT (price > 6 AND partition = 1)",
        "NOT (price > 6 OR kafka_timestamp IS NULL)",
        "price IS NULL OR \"offset\" < 3",
        "ingestion_date > '2026-01-01' AND (price < 5 OR side = 'SELL')",
        "\"offset\" = 5 AND length(side) = 4",
    ] {
        conditions.push(extra.to_owned());
    }
    let mut pushed = 0;
    for condition in &conditions {
        let direct = format!("SELECT partition, \"offset\" FROM trades WHERE {condition} ORDER BY 1, 2");
        let hidden = format!(
            "SELECT partition, \"offset\" FROM (SELECT * FROM trades LIMIT 1000) WHERE {condition} ORDER BY 1, 2"
        );
        let expected = lines(&queries, &hidden).await.unwrap();
        assert_eq!(lines(&queries, &direct).await.unwrap(), expected, "{condition}");
        let plan = lines(&queries, &format!("EXPLAIN {direct}")).await.unwrap().join("\n");
        pushed += usize::from(plan.contains("pruned by"));
        let plan = lines(&queries, &format!("EXPLAIN {hidden}")).await.unwrap().join("\n");
        assert!(!plan.contains("pruned by"), "{plan}");
    }
    println!("{pushed} of {} pushed down", conditions.len());
    assert!(pushed > simple * 2 / 3, "{pushed} of {}", conditions.len());
}

/// contracts.md: «The decision record's own validation queries must run as written».
#[tokio::test]
async fn the_validation_queries_run_as_written() {
    let lake = Lake::new().await;
    lake.create("bronze_binance_trades", trades_schema(), None).await;
    lake.append("bronze_binance_trades", &[Rows { partition: 0, offsets: 0..3, day: 0 }]).await;
    lake.append("bronze_binance_trades", &[Rows { partition: 0, offsets: 3..5, day: 0 }]).await;
    lake.create("silver_binance_trades", schema(&[("message_id", PrimitiveType::String)]), None).await;
    let silver = lake.table("silver_binance_trades").await;
    let ids: Arc<dyn Array> = Arc::new(StringArray::from(vec!["a", "b", "c", "d", "e", "f", "g", "h"]));
    let files = lake.write(&silver, None, RecordBatch::try_new(arrow(&silver), vec![ids]).unwrap()).await;
    lake.commit("silver_binance_trades", files).await;
    let dlq = schema(&[("bronze_source", PrimitiveType::String), ("ingestion_timestamp", PrimitiveType::Timestamptz)]);
    lake.create("silver_dlq_trades", dlq, None).await;
    let table = lake.table("silver_dlq_trades").await;
    let sources: Arc<dyn Array> = Arc::new(StringArray::from(vec![
        "bronze_binance_trades",
        "bronze_binance_trades",
        "bronze_kraken_trades",
        "bronze_binance_trades",
    ]));
    // the last one is older than an hour
    let ages = [1, 60, 3_000, 3_700].map(|seconds| clock::now_micros() - seconds * 1_000_000);
    let times: Arc<dyn Array> = Arc::new(TimestampMicrosecondArray::from_iter_values(ages).with_timezone("+00:00"));
    let batch = RecordBatch::try_new(arrow(&table), vec![sources, times]).unwrap();
    let files = lake.write(&table, None, batch).await;
    lake.commit("silver_dlq_trades", files).await;

    let queries = open(&Arc::new(lake), MEMORY);
    let snapshots = "SELECT COUNT(*) FROM iceberg.market_data.bronze_binance_trades.snapshots";
    assert_eq!(lines(&queries, snapshots).await.unwrap(), ["2"]);
    let rejects = "SELECT COUNT(*) FROM silver_dlq_trades WHERE bronze_source='bronze_binance_trades'";
    assert_eq!(lines(&queries, rejects).await.unwrap(), ["3"]);
    let rate = "SELECT bronze_source, COUNT(*) * 100.0 / (SELECT COUNT(*) FROM silver_binance_trades) AS dlq_rate_pct \
                FROM silver_dlq_trades WHERE ingestion_timestamp > NOW() - INTERVAL '1 hour' GROUP BY bronze_source";
    let mut rates = lines(&queries, rate).await.unwrap();
    rates.sort();
    assert_eq!(rates, ["bronze_binance_trades | 25.00000", "bronze_kraken_trades | 12.50000"]);
    let plan = lines(&queries, &format!("EXPLAIN {rate}")).await.unwrap().join("\n");
    assert!(
        plan.contains("pruned by ingestion_timestamp > ")
            || plan.contains("pruned by silver_dlq_trades.ingestion_timestamp > "),
        "{plan}"
    );
}

#[tokio::test]
async fn a_query_loads_each_table_once_and_the_next_query_sees_the_next_snapshot() {
    let lake = Lake::new().await;
    lake.with_trades().await;
    let lake = Arc::new(lake);
    let queries = open(&lake, MEMORY);
    let sql = "SELECT (SELECT COUNT(*) FROM trades) a, (SELECT COUNT(*) FROM iceberg.market_data.trades.snapshots) b, \
               (SELECT COUNT(*) FROM trades x JOIN market_data.trades y USING (partition, \"offset\")) c";
    let before = lake.loads.load(Ordering::Relaxed);
    assert_eq!(lines(&queries, sql).await.unwrap(), ["35 | 3 | 35"]);
    assert_eq!(lake.loads.load(Ordering::Relaxed) - before, 1);
    let mut stream = queries.run("SELECT \"offset\" FROM trades").await.unwrap();
    lake.append("trades", &[Rows { partition: 0, offsets: 20..30, day: 1 }]).await;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        rows += batch.unwrap().num_rows();
    }
    assert_eq!(rows, 35, "a query that has started keeps its snapshot");
    assert_eq!(lines(&queries, "SELECT COUNT(*) FROM trades").await.unwrap(), ["45"]);
}

#[tokio::test]
async fn count_reads_no_data_file() {
    let lake = Lake::new().await;
    lake.with_trades().await;
    let queries = open(&Arc::new(lake), MEMORY);
    let plan = lines(&queries, "EXPLAIN SELECT COUNT(*) FROM trades").await.unwrap().join("\n");
    assert!(!plan.contains("IcebergScan"), "{plan}");
    let plan = lines(&queries, "EXPLAIN SELECT COUNT(*) FROM trades WHERE partition = 0").await.unwrap().join("\n");
    assert!(plan.contains("IcebergScan"), "{plan}");
}

#[tokio::test]
async fn memory_is_bounded_and_a_query_that_fails_leaves_no_trace() {
    let queries = open(&Arc::new(Lake::new().await), 16 << 20);
    let hungry = "SELECT COUNT(DISTINCT value), array_length(array_agg(value)) FROM generate_series(1, 5000000)";
    let error = lines(&queries, hungry).await.unwrap_err();
    assert_eq!(error.class(), Class::Config);
    assert!(error.to_string().contains("memory.budget"), "{error}");
    // three million numbers are 24 MB: the sort spills
    let sorted = "SELECT MAX(r) FROM (SELECT row_number() OVER (ORDER BY value % 1000, value) AS r \
                  FROM generate_series(1, 3000000))";
    assert_eq!(lines(&queries, sorted).await.unwrap(), ["3000000"]);
    assert_eq!(lines(&queries, "SELECT 1 + 1").await.unwrap(), ["2"]);
}

/// Enough rows for several partitions, in files of several row groups.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_table_is_read_in_several_partitions() {
    let lake = Lake::new().await;
    let table = lake.create("trades", trades_schema(), None).await;
    let mut files = Vec::new();
    for partition in 0..3 {
        let spans: Vec<_> =
            (0..100).map(|_| trades(&arrow(&table), &Rows { partition, offsets: 0..200, day: partition })).collect();
        let batch = arrow::compute::concat_batches(&arrow(&table), &spans).unwrap();
        files.extend(lake.write(&table, None, batch).await);
    }
    lake.commit("trades", files).await;
    let queries = open(&Arc::new(lake), MEMORY);
    let grouped = "SELECT partition, COUNT(*), SUM(\"offset\"), COUNT(price) FROM trades GROUP BY 1 ORDER BY 1";
    let one = "20000 | 1990000 | 17200";
    let expected: Vec<String> = (0..3).map(|partition| format!("{partition} | {one}")).collect();
    assert_eq!(lines(&queries, grouped).await.unwrap(), expected);
    assert_eq!(lines(&queries, "SELECT \"offset\" FROM trades LIMIT 7").await.unwrap().len(), 7);
    assert_eq!(lines(&queries, "SELECT \"offset\" FROM trades LIMIT 50001").await.unwrap().len(), 50_001);
}

#[tokio::test]
async fn tables_and_columns_for_the_prompt() {
    let lake = Lake::new().await;
    lake.with_trades().await;
    lake.create("empty", trades_schema(), None).await;
    let queries = open(&Arc::new(lake), MEMORY);
    assert_eq!(queries.tables().await.unwrap(), ["empty", "trades"]);
    let columns = queries.columns("trades").await.unwrap();
    let price = columns.iter().find(|column| column.name == "price").unwrap();
    assert_eq!((price.data_type.as_str(), price.required), ("decimal(18, 8)", false));
    let headers = columns.iter().find(|column| column.name == "headers").unwrap();
    assert_eq!(headers.data_type, "list<struct<key string, value binary?>>");
    let error = queries.columns("tradez").await.unwrap_err();
    assert!(error.to_string().contains("trades"), "{error}");
}
