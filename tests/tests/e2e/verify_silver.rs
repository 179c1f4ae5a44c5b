//! Promise: `k2 verify` tells the truth about silver and the dead letters - while they are being written, and when somebody has
//! changed them.

use super::verify::{replaced, rewrite};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, LargeBinaryArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use k2_tests::*;
use serde_json::Value;
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

async fn deployed(prefix: &str) -> (Topic, Pipeline, Deployment) {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create(brokers, prefix, 2).await;
    let (bronze, silver) =
        (Pipeline::bronze_of(&topic, Exchange::Binance), Pipeline::silver(&topic, Exchange::Binance));
    let deployment = Deployment::local(brokers).with_schemas().pipeline(bronze).pipeline(silver.clone());
    (topic, silver, deployment)
}

async fn verify(deployment: &Deployment, arguments: &[&str], code: i32) -> Value {
    let arguments = ["verify", "--format", "json"].iter().chain(arguments);
    let exit = deployment.k2(arguments).run(SOON).await;
    let report: Value =
        serde_json::from_str(&exit.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", exit.stdout, exit.log));
    assert_eq!(exit.code, Some(code), "{report:#}\n{}", exit.log);
    report
}

/// What does not hold: the table or pipeline, and the promise.
fn broken(report: &Value) -> Vec<(String, String)> {
    let of = |list: &str, name: &str| -> Vec<(String, String)> {
        let parts = report[list].as_array().unwrap().iter();
        parts
            .flat_map(|part| {
                let name = part[name].as_str().unwrap().to_owned();
                let checks = part["checks"].as_array().unwrap().iter().filter(|c| c["ok"] == false);
                checks.map(move |c| (name.clone(), c["promise"].as_str().unwrap().to_owned()))
            })
            .collect()
    };
    let mut all = of("tables", "table");
    all.extend(of("balances", "pipeline"));
    all
}

/// The first finding of a table's check.
fn found(report: &Value, table: &str, promise: &str) -> String {
    let table = report["tables"].as_array().unwrap().iter().find(|t| t["table"] == table).unwrap();
    let check = table["checks"].as_array().unwrap().iter().find(|c| c["promise"] == promise).unwrap();
    format!("{} {} {}", check["found"], check["first"][0]["offsets"], check["first"][0]["what"])
}

#[tokio::test]
async fn pipelines_at_work_give_no_false_alarm() {
    let (topic, silver, deployment) = deployed("verify-live").await;
    let load = TradeLoad::on(&topic, Exchange::Binance).rate(3_000).bad(500).start();
    let running = deployment.k2(["run"]).start();
    wait_until("the table", SOON, || async {
        deployment.dlq(&silver).await.is_some_and(|t| t.progress(&topic.name) > 0)
    })
    .await;
    let watched = async {
        let (mut last, mut looks) = (0, 0);
        while looks < 12 {
            let report = verify(&deployment, &[], 0).await;
            let partitions = report["balances"][0]["partitions"].as_array().unwrap();
            let records: u64 = partitions.iter().map(|p| p["bronze"].as_u64().unwrap()).sum();
            if records > last {
                (last, looks) = (records, looks + 1);
            }
        }
    };
    tokio::time::timeout(SOON, watched).await.expect("twelve looks at tables that grow");
    let ledger = load.stop().await;
    deployment.settled(&silver, &ledger, SOON).await;
    running.terminate(Duration::from_secs(10)).await.ok();
    let report = verify(&deployment, &["--kafka"], 0).await;
    let rate = report["balances"][0]["rate"].as_f64().unwrap();
    assert!((0.3..0.7).contains(&rate), "{rate}");
}

#[tokio::test]
async fn changed_dead_letters_and_lost_trades_are_named() {
    let (topic, silver, deployment) = deployed("verify-silver").await;
    let ledger = TradeLoad::on(&topic, Exchange::Binance).count(6_000).bad(300).run().await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    assert_eq!(broken(&verify(&deployment, &["--kafka"], 0).await), []);
    let text = deployment.k2(["verify"]).run(SOON).await.ok().stdout;
    let count = ledger.count;
    let equation = text.lines().find(|l| l.starts_with(&format!("{}: ", silver.name))).unwrap();
    assert!(equation.replace(',', "").contains(&format!("{count} bronze = ")), "{equation}");

    // a byte of a dead letter
    let dlq = deployment.dlq(&silver).await.unwrap();
    let file = dlq.files().await.into_iter().max_by_key(|f| f.rows).unwrap();
    let path = file.location.trim_start_matches("file://").to_owned();
    let whole = std::fs::read(&path).unwrap();
    let changed = Cell::new(-1);
    rewrite(Path::new(&path), |batch| {
        let at = batch.schema().index_of("raw_record").unwrap();
        let offsets =
            batch.column(batch.schema().index_of("kafka_offset").unwrap()).as_primitive::<Int64Type>().clone();
        let values = cast(batch.column(at), &DataType::LargeBinary).unwrap();
        let values = values.as_binary::<i64>();
        let row = (0..values.len()).find(|row| !values.is_null(*row) && !values.value(*row).is_empty()).unwrap();
        changed.set(offsets.value(row));
        let values: LargeBinaryArray = values
            .iter()
            .enumerate()
            .map(|(at, bytes)| {
                let mut bytes = bytes?.to_vec();
                if at == row {
                    *bytes.last_mut()? ^= 1;
                }
                Some(bytes)
            })
            .collect();
        replaced(&batch, at, Arc::new(values))
    });
    let report = verify(&deployment, &["--kafka"], 4).await;
    assert_eq!(broken(&report), [(silver.table.clone(), "kafka".to_owned())]);
    let expected = format!("1 [{},{}] \"value of the row not as in Kafka\"", changed.get(), changed.get() + 1);
    assert_eq!(found(&report, &silver.table, "kafka"), expected);
    std::fs::write(&path, whole).unwrap();

    // a trade becomes another
    let table = deployment.table(&silver).await.unwrap();
    let file = table.files().await.into_iter().max_by_key(|f| f.rows).unwrap();
    rewrite(Path::new(file.location.trim_start_matches("file://")), |batch| {
        let at = batch.schema().index_of("kafka_offset").unwrap();
        let offsets = batch.column(at).as_primitive::<Int64Type>().clone();
        let last = offsets.values().iter().max().copied().unwrap();
        let offsets: ArrayRef = Arc::new(Int64Array::from_iter_values(
            offsets.values().iter().enumerate().map(|(row, o)| if row == 0 { last } else { *o }),
        ));
        replaced(&batch, at, offsets)
    });
    let report = verify(&deployment, &["--kafka"], 4).await;
    let told = broken(&report);
    for promise in ["message-ids", "kafka"] {
        assert!(told.contains(&(silver.table.clone(), promise.to_owned())), "{promise}: {told:?}");
    }
    assert!(told.contains(&(silver.name.clone(), "balance".to_owned())), "{told:?}");
    assert!(found(&report, &silver.table, "kafka").contains("neither in the table nor in the DLQ"), "{report:#}");
}
