//! Promise: other engines read the tables as `k2 sql` does - PyIceberg and DuckDB, every column of every row.

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
        let ours = read_with_k2(&deployment, pipeline, &table).await;
        assert_eq!(ours.len() as u64, ledger.len());
        for reader in ["pyiceberg", "duckdb"] {
            let text = std::fs::read_to_string(folder.join(format!("{}.{reader}.jsonl", pipeline.table))).unwrap();
            let theirs = sorted(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!(ours, theirs, "{} as k2 and as {reader} read it", pipeline.table);
            }
            assert_eq!(ours.len(), theirs.len(), "{} as k2 and as {reader} read it", pipeline.table);
        }
    }
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
async fn read_with_k2(deployment: &Deployment, pipeline: &Pipeline, table: &BronzeTable) -> Vec<Map<String, Value>> {
    let query = format!("SELECT * FROM {}", pipeline.table);
    let output = deployment.k2(["sql", "--format", "json", &query]).run(SOON).await.ok().stdout;
    let mut rows = Vec::new();
    for value in serde_json::Deserializer::from_str(&output).into_iter::<Value>() {
        match value.unwrap() {
            Value::Array(values) => rows.extend(values),
            row => rows.push(row),
        }
    }
    let schema = table.metadata.current_schema().as_struct();
    let canonical = rows.into_iter().map(|row| {
        let Value::Object(mut row) = row else { panic!("a row is an object: {row}") };
        let fields = schema.fields().iter();
        fields.map(|f| (f.name.clone(), canonical(row.remove(&f.name).unwrap_or_default(), &f.field_type))).collect()
    });
    sorted(canonical.collect())
}

/// A value of `k2 sql`'s JSON: bytes are hex already, times become microseconds, null fields may have been left out.
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
    let key = |row: &Map<String, Value>| (row["partition"].as_i64(), row["offset"].as_i64());
    rows.sort_by_key(key);
    rows
}
