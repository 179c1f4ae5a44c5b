//! Promise: `k2 verify --kafka` says yes to what is right and names what is wrong, and `k2 offsets` tells where a pipeline
//! stands and moves it by a person's decision.

use arrow::array::{ArrayRef, AsArray, Int64Array, LargeBinaryArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Int64Type};
use k2_tests::*;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);

async fn deployed(prefix: &str, partitions: i32, configs: &[(&str, &str)]) -> (Topic, Pipeline, Deployment) {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create_with(brokers, prefix, partitions, configs).await;
    let pipeline = Pipeline::bronze(&topic);
    let deployment = Deployment::local(brokers).pipeline(pipeline.clone());
    (topic, pipeline, deployment)
}

/// `k2 verify --kafka --format json`: the report, with the expected code.
async fn verify(deployment: &Deployment, code: i32) -> Value {
    let exit = deployment.k2(["verify", "--kafka", "--format", "json"]).run(SOON).await;
    let report: Value =
        serde_json::from_str(&exit.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", exit.stdout, exit.log));
    assert_eq!(exit.code, Some(code), "{report:#}\n{}", exit.log);
    report["tables"][0].clone()
}

fn check<'a>(table: &'a Value, promise: &str) -> &'a Value {
    table["checks"].as_array().unwrap().iter().find(|c| c["promise"] == promise).unwrap()
}

fn broken(table: &Value) -> Vec<&str> {
    let checks = table["checks"].as_array().unwrap().iter();
    checks.filter(|c| c["ok"] == false).map(|c| c["promise"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn odd_records_and_aborted_transactions_are_as_in_kafka() {
    let (topic, _, deployment) = deployed("verify", 3, &[]).await;
    let odd = Load::on(&topic).shape(Shape::Odd).count(2_000).run().await;
    let transactions = Load::on(&topic).count(3_000).transactions(50, 3).seed(2).run().await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    let table = verify(&deployment, 0).await;
    assert_eq!(table["rows"], odd.len() + transactions.len());
    let compared = check(&table, "kafka")["summary"].as_str().unwrap().replace(',', "");
    assert_eq!(compared, format!("{} records of 3 partitions compared", odd.len() + transactions.len()));
    let text = deployment.k2(["verify", "--kafka"]).run(SOON).await.ok().stdout;
    assert!(text.ends_with("all promises hold\n"), "{text}");

    // retention takes nothing away from the table
    topic.trim(0, 500).await;
    verify(&deployment, 0).await;
}

/// Rewrites a Parquet file at the same length, so that only its content has changed.
pub(super) fn rewrite(path: &Path, change: impl Fn(RecordBatch) -> RecordBatch) {
    let before = std::fs::read(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(before.clone())).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let changed = change(concat_batches(&batches[0].schema(), &batches).unwrap());
    let write = |padding: usize| {
        let padding = KeyValue::new("padding".to_owned(), "x".repeat(padding));
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(19).unwrap()))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_offset_index_disabled(true)
            .set_key_value_metadata(Some(vec![padding]));
        for field in changed.schema().fields() {
            let column = ColumnPath::from(field.name().as_str());
            properties = match field.data_type() {
                DataType::Int64 | DataType::Timestamp(..) => properties
                    .set_column_dictionary_enabled(column.clone(), false)
                    .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED),
                // no two are alike
                _ if ["raw_bytes", "raw_record", "message_id", "trade_id"].contains(&field.name().as_str()) => {
                    properties.set_column_dictionary_enabled(column, false)
                }
                _ => properties,
            };
        }
        let properties = properties.build();
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let mut writer = ArrowWriter::try_new_with_options(Vec::new(), changed.schema(), options).unwrap();
        writer.write(&changed).unwrap();
        writer.into_inner().unwrap()
    };
    // the length of the padding's length takes some bytes too
    let short = write(1_000).len();
    assert!(short < before.len(), "the file cannot be rewritten at its length: {short} of {}", before.len());
    let padding = (0..8).map(|less| 1_000 + before.len() - short - less).find(|p| write(*p).len() == before.len());
    std::fs::write(path, write(padding.unwrap())).unwrap();
}

pub(super) fn replaced(batch: &RecordBatch, column: usize, values: ArrayRef) -> RecordBatch {
    let mut columns = batch.columns().to_vec();
    columns[column] = cast(&values, columns[column].data_type()).unwrap();
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// The file with the most rows: its path and their number.
async fn a_file(deployment: &Deployment, pipeline: &Pipeline) -> String {
    let files = deployment.table(pipeline).await.unwrap().files().await;
    let largest = files.into_iter().max_by_key(|f| f.rows).unwrap();
    largest.location.trim_start_matches("file://").to_owned()
}

#[tokio::test]
async fn a_changed_byte_is_named_with_its_offset_and_part() {
    let (topic, pipeline, deployment) = deployed("altered", 1, &[]).await;
    Load::on(&topic).shape(Shape::Trades).count(6_000).run().await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    let file = a_file(&deployment, &pipeline).await;
    // offset 4711: the last byte of its value is another
    rewrite(Path::new(&file), |batch| {
        let at = batch.schema().index_of("offset").unwrap();
        let offsets = batch.column(at).as_primitive::<Int64Type>().clone();
        let value = batch.schema().index_of("raw_bytes").unwrap();
        let values = cast(batch.column(value), &DataType::LargeBinary).unwrap();
        let values = values.as_binary::<i64>().iter().zip(offsets.iter()).map(|(bytes, offset)| {
            let mut bytes = bytes?.to_vec();
            if offset == Some(4711) {
                *bytes.last_mut()? ^= 1;
            }
            Some(bytes)
        });
        let values: LargeBinaryArray = values.collect();
        replaced(&batch, value, Arc::new(values))
    });
    let table = verify(&deployment, 4).await;
    assert_eq!(broken(&table), ["kafka"], "{table:#}");
    let found = check(&table, "kafka");
    assert_eq!((&found["found"], &found["first"][0]["offsets"]), (&Value::from(1), &Value::from(vec![4711, 4712])));
    assert_eq!(found["first"][0]["what"], "value of the row not as in Kafka");
    assert!(found["first"][0]["file"].as_str().unwrap().ends_with(&file), "{found}");
    let text = deployment.k2(["verify", "--kafka"]).run(SOON).await.expect(4).stdout;
    assert!(text.contains(&format!("{}/0 offset 4711: value of the row not as in Kafka", topic.name)), "{text}");
}

#[tokio::test]
async fn a_lost_and_an_invented_row_are_named() {
    let (topic, pipeline, deployment) = deployed("lost", 1, &[]).await;
    Load::on(&topic).shape(Shape::Trades).count(3_000).run().await;
    // an aborted transaction leaves offsets without a record
    let aborted = Load::on(&topic).count(10).transactions(10, 1).run().await;
    assert_eq!(aborted.len(), 0);
    Load::on(&topic).shape(Shape::Trades).count(1_000).seed(2).run().await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    let file = a_file(&deployment, &pipeline).await;
    // the row of offset 17 becomes one of offset 3005, which was aborted
    rewrite(Path::new(&file), |batch| {
        let at = batch.schema().index_of("offset").unwrap();
        let offsets = batch.column(at).as_primitive::<Int64Type>();
        let offsets: Int64Array = offsets.iter().map(|o| if o == Some(17) { Some(3005) } else { o }).collect();
        replaced(&batch, at, Arc::new(offsets))
    });
    let table = verify(&deployment, 4).await;
    assert_eq!(broken(&table), ["kafka"], "{table:#}");
    let first = check(&table, "kafka")["first"].as_array().unwrap();
    let said: Vec<_> = first.iter().map(|f| (f["what"].as_str().unwrap(), f["offsets"][0].as_i64().unwrap())).collect();
    assert_eq!(said, [("in Kafka, but not in the table", 17), ("in the table, but Kafka has no such record", 3005)]);
}

#[tokio::test]
async fn what_compaction_took_is_no_surplus() {
    let compacting = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("min.compaction.lag.ms", "0"),
        ("max.compaction.lag.ms", "100"),
    ];
    let (topic, _, deployment) = deployed("compacted", 1, &compacting).await;
    let ledger = Load::on(&topic).shape(Shape::Trades).count(2_000).run().await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    assert_eq!(verify(&deployment, 0).await["rows"], ledger.len());
    // the active segment is not compacted: another record closes it
    let mut seed = 3;
    wait_until("the log to be compacted", SOON, || {
        seed += 1;
        let load = Load::on(&topic).shape(Shape::Trades).count(1).seed(seed);
        let topic = topic.clone();
        async move {
            load.run().await;
            reread::committed(&topic.brokers, &topic.name).await.len() < 1_500
        }
    })
    .await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    verify(&deployment, 0).await;
}

async fn offsets(deployment: &Deployment) -> Vec<Value> {
    let exit = deployment.k2(["offsets", "--format", "json"]).run(SOON).await.ok();
    serde_json::from_str(&exit.stdout).unwrap()
}

fn column<'a>(rows: &'a [Value], name: &str) -> Vec<&'a Value> {
    rows.iter().map(|r| &r[name]).collect()
}

#[tokio::test]
async fn offsets_tell_position_and_lag() {
    let (topic, pipeline, deployment) = deployed("offsets", 2, &[]).await;
    Load::on(&topic).shape(Shape::Trades).count(1_000).run().await;
    let rows = offsets(&deployment).await;
    assert_eq!(column(&rows, "status"), ["no-position", "no-position"]);
    assert_eq!(rows.iter().map(|r| r["lag"].as_i64().unwrap()).sum::<i64>(), 1_000);

    deployment.run_until_caught_up().run(SOON).await.ok();
    Load::on(&topic).shape(Shape::Trades).count(300).seed(2).run().await;
    let rows = offsets(&deployment).await;
    assert_eq!(column(&rows, "status"), ["ok", "ok"]);
    assert_eq!(rows.iter().map(|r| r["next"].as_i64().unwrap()).sum::<i64>(), 1_000);
    assert_eq!(rows.iter().map(|r| r["lag"].as_i64().unwrap()).sum::<i64>(), 300);
    assert!(
        rows.iter().all(|r| r["group_offset"] == r["next"] && r["commit_age_s"].as_i64().unwrap() < 60),
        "{rows:?}"
    );
    let text = deployment.k2(["offsets", "show", &pipeline.name]).run(SOON).await.ok().stdout;
    assert!(text.contains(&format!("{}: 2 partitions, lag 300, last commit ", pipeline.name)), "{text}");

    // without Kafka the table's part is still told, and that it is not all
    let down =
        deployment.k2(["offsets", "--format", "json", "--set", "kafka.brokers=127.0.0.1:1"]).run(SOON).await.expect(1);
    let rows: Vec<Value> = serde_json::from_str(&down.stdout).unwrap();
    assert_eq!(column(&rows, "status"), ["unknown", "unknown"]);
    assert!(rows.iter().all(|r| r["lag"].is_null() && r["next"].is_i64()), "{rows:?}");
    assert!(down.log.contains("127.0.0.1:1"), "{}", down.log);
}

#[tokio::test]
async fn a_loss_is_accepted_by_a_person_only() {
    let (topic, pipeline, deployment) = deployed("loss", 1, &[]).await;
    Load::on(&topic).shape(Shape::Trades).count(100).run().await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    Load::on(&topic).shape(Shape::Trades).count(100).seed(2).run().await;
    topic.trim(0, 150).await;
    let halted = deployment.run_until_caught_up().run(SOON).await.expect(3);
    assert!(halted.log.contains("k2 offsets accept-loss"), "{}", halted.log);
    assert_eq!(column(&offsets(&deployment).await, "status"), ["behind-log-start"]);

    let accept = ["offsets", "accept-loss", &pipeline.name];
    let dry = deployment.k2(accept).run(SOON).await.ok();
    assert!(
        dry.stdout.contains("50 offsets lost: 100..150") && dry.log.contains("dry run"),
        "{} {}",
        dry.stdout,
        dry.log
    );
    assert_eq!(column(&offsets(&deployment).await, "status"), ["behind-log-start"]);
    deployment.k2(accept).arg("--execute").run(SOON).await.ok();
    assert_eq!(column(&offsets(&deployment).await, "status"), ["ok"]);
    deployment.run_until_caught_up().run(SOON).await.ok();
    assert_eq!(verify(&deployment, 0).await["rows"], 150);
}

#[tokio::test]
async fn a_recreated_topic_is_read_after_a_reset() {
    let (topic, pipeline, deployment) = deployed("again", 2, &[]).await;
    Load::on(&topic).shape(Shape::Trades).count(500).run().await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    topic.recreate().await;
    Load::on(&topic).shape(Shape::Trades).count(200).seed(2).run().await;
    let halted = deployment.run_until_caught_up().run(SOON).await.expect(3);
    assert!(halted.log.contains("k2 offsets reset"), "{}", halted.log);
    assert_eq!(column(&offsets(&deployment).await, "status"), ["other-topic", "other-topic"]);
    assert_eq!(broken(&verify(&deployment, 4).await), ["kafka"], "what cannot be compared is not called right");

    deployment.k2(["offsets", "reset", &pipeline.name, "--execute"]).run(SOON).await.ok();
    deployment.run_until_caught_up().run(SOON).await.ok();
    assert_eq!(verify(&deployment, 0).await["rows"], 700);
}

#[tokio::test]
async fn a_position_is_set_within_the_log_only() {
    let (topic, pipeline, deployment) = deployed("set", 1, &[]).await;
    Load::on(&topic).shape(Shape::Trades).count(100).run().await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    for beyond in [["0", "101"], ["1", "0"], ["0", "-1"]] {
        let exit = deployment.k2(["offsets", "set", &pipeline.name, "--execute", "--"]).args(beyond).run(SOON).await;
        exit.expect(2);
    }
    let set = ["offsets", "set", &pipeline.name, "0", "90"];
    let dry = deployment.k2(set).run(SOON).await.ok();
    assert!(
        dry.stdout.contains("10 offsets read again: 90..100") && dry.log.contains("twice"),
        "{} {}",
        dry.stdout,
        dry.log
    );
    deployment.k2(set).arg("--execute").run(SOON).await.ok();
    deployment.run_until_caught_up().run(SOON).await.ok();
    // the person was warned
    let table = verify(&deployment, 4).await;
    assert_eq!(broken(&table), ["once"], "{table:#}");
    assert_eq!(check(&table, "once")["found"], 10);
}

#[tokio::test]
async fn a_pipeline_that_starts_at_the_end_owes_nothing_before() {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create(brokers, "latest", 1).await;
    let pipeline = Pipeline { start: "latest".into(), ..Pipeline::bronze(&topic) };
    let deployment = Deployment::local(brokers).pipeline(pipeline.clone());
    Load::on(&topic).shape(Shape::Trades).count(100).run().await;
    let process = deployment.run().start();
    wait_until("the pipeline to read the end", SOON, || async {
        Load::on(&topic).shape(Shape::Trades).count(10).seed(2).run().await;
        deployment.table(&pipeline).await.is_some_and(|t| t.progress(&topic.name) > 0)
    })
    .await;
    process.terminate(Duration::from_secs(10)).await.ok();
    let table = verify(&deployment, 0).await;
    assert!(table["rows"].as_u64().unwrap() > 0, "{table:#}");
    // the same table under a pipeline that was to begin at the beginning has lost something
    let exit = deployment.k2(["verify", "--kafka", "--format", "json", "--set"]);
    let exit = exit.arg(format!("pipelines.{}.start=earliest", pipeline.name)).run(SOON).await.expect(4);
    let report: Value = serde_json::from_str(&exit.stdout).unwrap();
    let found = check(&report["tables"][0], "kafka");
    assert_eq!(found["first"][0]["what"], "in Kafka, but not in the table");
    assert_eq!(found["first"][0]["offsets"][0], 0);
}
