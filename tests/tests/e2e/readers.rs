//! Promise: other engines read the tables as `k2 sql` does - PyIceberg and DuckDB, every column of every row, decimals and
//! times to the last digit.

use iceberg::spec::{PrimitiveType, Type};
use k2_tests::*;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test]
async fn pyiceberg_and_duckdb_read_what_k2_sql_reads() {
    let brokers = &services::kafka().brokers;
    let odd = Topic::create(brokers, "readers-odd", 3).await;
    let plain = Topic::create(brokers, "readers-plain", 2).await;
    let ledgers = [
        Load::on(&odd).shape(Shape::Odd).count(2_000).run().await,
        Load::on(&plain).shape(Shape::Trades).count(3_000).run().await,
    ];
    let binance = Pipeline::bronze(&odd);
    let kraken =
        Pipeline { name: "bronze-kraken".into(), table: "bronze_kraken_trades".into(), ..Pipeline::bronze(&plain) };
    let pipelines = [binance, kraken];
    let deployment = pipelines.iter().fold(Deployment::local(brokers), |deployment, p| deployment.pipeline(p.clone()));
    deployment.run_until_caught_up().run(SOON).await.ok();

    let folder = deployment.path().join("read");
    let tables = read_with_python(&deployment, &folder);
    assert_eq!(tables, BTreeSet::from(["bronze_binance_trades".into(), "bronze_kraken_trades".into()]));
    for (pipeline, ledger) in pipelines.iter().zip(&ledgers) {
        let table = deployment.table(pipeline).await.unwrap();
        oracle::compare(&table, ledger).await.assert_complete();
        assert_eq!(same_rows(&deployment, &folder, &pipeline.table, &table).await, ledger.len());
    }
}

#[tokio::test]
async fn silver_and_dead_letters_read_the_same_everywhere() {
    let brokers = &services::kafka().brokers;
    let mut deployment = Deployment::local(brokers).with_schemas();
    let mut silvers = Vec::new();
    for exchange in Exchange::BOTH {
        let topic = Topic::create(brokers, &format!("readers-{}", exchange.name()), 2).await;
        let silver = Pipeline::silver(&topic, exchange);
        deployment = deployment.pipeline(Pipeline::bronze_of(&topic, exchange)).pipeline(silver.clone());
        silvers.push((silver, TradeLoad::on(&topic, exchange).count(1_500).bad(200).run().await));
    }
    deployment.run_until_caught_up().run(SOON).await.ok();

    let folder = deployment.path().join("read");
    let tables = read_with_python(&deployment, &folder);
    assert_eq!(tables.len(), 5, "{tables:?}");
    let mut dead = [0, 0];
    for ((silver, ledger), dead) in silvers.iter().zip(&mut dead) {
        let verdict = deployment.judge(silver, ledger).await.unwrap();
        verdict.assert_complete();
        let table = deployment.table(silver).await.unwrap();
        assert_eq!(same_rows(&deployment, &folder, &silver.table, &table).await, verdict.silver);
        *dead = verdict.dlq;
    }
    let dlq = deployment.dlq(&silvers[0].0).await.unwrap();
    assert_eq!(same_rows(&deployment, &folder, "silver_dlq_trades", &dlq).await, dead[0] + dead[1]);

    // the validation queries of the decision record, as written
    let count = |query: &'static str| one_value(&deployment, query);
    assert!(count("SELECT COUNT(*) FROM iceberg.market_data.bronze_binance_trades.snapshots").await >= 1.0);
    let rejects = "SELECT COUNT(*) FROM silver_dlq_trades WHERE bronze_source='bronze_binance_trades'";
    assert_eq!(count(rejects).await, dead[0] as f64);
    let rates = rows_of_k2(
        &deployment,
        "SELECT bronze_source, COUNT(*) * 100.0 / (SELECT COUNT(*) FROM silver_binance_trades) AS dlq_rate_pct \
         FROM silver_dlq_trades WHERE ingestion_timestamp > NOW() - INTERVAL '1 hour' GROUP BY bronze_source",
    )
    .await;
    let all = (silvers[0].1.count - dead[0]) as f64;
    for (source, dead) in [("bronze_binance_trades", dead[0]), ("bronze_kraken_trades", dead[1])] {
        let row = rates.iter().find(|row| row["bronze_source"] == source).unwrap();
        let rate = row["dlq_rate_pct"].as_f64().unwrap();
        assert!((rate - dead as f64 * 100.0 / all).abs() < 0.01, "{rates:?}");
    }
}

/// The only value of a query's only row.
async fn one_value(deployment: &Deployment, query: &str) -> f64 {
    let rows = rows_of_k2(deployment, query).await;
    let [row] = rows.as_slice() else { panic!("{query}: {rows:?}") };
    row.values().next().unwrap().as_f64().unwrap()
}

/// Compares the rows that both Python readers found in a table with K2's, and counts them.
async fn same_rows(deployment: &Deployment, folder: &Path, name: &str, table: &TableState) -> u64 {
    let ours = read_with_k2(deployment, name, table).await;
    for reader in ["pyiceberg", "duckdb"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.{reader}.jsonl"))).unwrap();
        let theirs = sorted(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect());
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs, "{name} as k2 and as {reader} read it");
        }
        assert_eq!(ours.len(), theirs.len(), "{name} as k2 and as {reader} read it");
    }
    ours.len() as u64
}

/// Reads all tables with both Python readers into `folder`; the names of the tables.
fn read_with_python(deployment: &Deployment, folder: &Path) -> BTreeSet<String> {
    let scripts = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python");
    let said = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let python = said(&mut Command::new(scripts.join("venv")));
    std::fs::create_dir(folder).unwrap();
    let oracle::Catalog::Sqlite { path, name } = deployment.catalog() else { panic!("a local deployment") };
    let mut read = Command::new(python.trim());
    read.arg(scripts.join("readers.py")).arg(path).args([name, &deployment.namespace]).arg(folder);
    said(&mut read).lines().map(str::to_owned).collect()
}

/// All rows as `k2 sql` tells them, in the form that `readers.py` writes.
async fn read_with_k2(deployment: &Deployment, name: &str, table: &TableState) -> Vec<Map<String, Value>> {
    let rows = rows_of_k2(deployment, &format!("SELECT * FROM {name}")).await;
    let schema = table.metadata.current_schema().as_struct();
    let canonical = rows.into_iter().map(|mut row| {
        let fields = schema.fields().iter();
        fields.map(|f| (f.name.clone(), canonical(row.remove(&f.name).unwrap_or_default(), &f.field_type))).collect()
    });
    sorted(canonical.collect())
}

/// The rows of a query.
async fn rows_of_k2(deployment: &Deployment, query: &str) -> Vec<Map<String, Value>> {
    let output = deployment.k2(["sql", "--format", "json", query]).run(SOON).await.ok().stdout;
    // decimals are numbers to the last digit, which a parser to doubles would lose
    let output = ["price", "quantity"].iter().fold(output, |text, column| quoted(&text, column));
    let mut rows = Vec::new();
    for value in serde_json::Deserializer::from_str(&output).into_iter::<Value>() {
        let Value::Array(values) = value.unwrap() else { panic!("rows are an array: {output}") };
        rows.extend(values.into_iter().map(|row| match row {
            Value::Object(row) => row,
            row => panic!("a row is an object: {row}"),
        }));
    }
    rows
}

/// The JSON text with the numbers of a column as strings.
fn quoted(json: &str, column: &str) -> String {
    let name = format!("\"{column}\":");
    let mut parts = json.split(&name);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !matches!(c, '0'..='9' | '.' | '-')).unwrap_or(part.len());
        text += &format!("\"{column}\":\"{}\"{}", &part[..end], &part[end..]);
    }
    text
}

/// A value of `k2 sql`'s JSON: decimals are text to the last digit, bytes are hex already, times become microseconds, null fields may have been left out.
fn canonical(value: Value, kind: &Type) -> Value {
    match (value, kind) {
        (Value::Null, _) => Value::Null,
        (Value::String(time), Type::Primitive(PrimitiveType::Timestamptz)) => {
            let time = chrono::DateTime::parse_from_rfc3339(&time).unwrap_or_else(|e| panic!("{time}: {e}"));
            time.timestamp_micros().into()
        }
        (Value::Array(items), Type::List(list)) => {
            items.into_iter().map(|item| canonical(item, &list.element_field.field_type)).collect()
        }
        (Value::Object(mut fields), Type::Struct(kind)) => {
            let all = kind.fields().iter();
            let all =
                all.map(|f| (f.name.clone(), canonical(fields.remove(&f.name).unwrap_or_default(), &f.field_type)));
            Value::Object(all.collect())
        }
        (value, _) => value,
    }
}

fn sorted(mut rows: Vec<Map<String, Value>>) -> Vec<Map<String, Value>> {
    let at = |row: &Map<String, Value>, name: &str| row.get(name).or(row.get(&format!("kafka_{name}"))).cloned();
    let key = |row: &Map<String, Value>| {
        (
            at(row, "topic").unwrap().to_string(),
            at(row, "partition").unwrap().as_i64(),
            at(row, "offset").unwrap().as_i64(),
        )
    };
    rows.sort_by_key(key);
    rows
}
