//! Promise: every wrong thing that a new user does gets one clear message - thing, place, way out - and the contract's
//! exit code; nothing is half done.

use k2_tests::*;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// Runs `k2 run --until-caught-up` and expects this code and these words on standard error.
#[track_caller]
fn says(exit: &Exit, code: i32, words: &[&str]) {
    assert_eq!(exit.code, Some(code), "it said: {}", exit.log);
    for word in words {
        assert!(exit.log.contains(word), "«{word}» is not in: {}", exit.log);
    }
}

async fn deployed(prefix: &str) -> (Topic, Pipeline, Deployment) {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create(brokers, prefix, 1).await;
    let pipeline = Pipeline::bronze(&topic);
    let deployment = Deployment::local(brokers).pipeline(pipeline.clone());
    (topic, pipeline, deployment)
}

#[tokio::test]
async fn wrong_configuration() {
    let (_, _, deployment) = deployed("config").await;
    let cases: [(&str, &[&str]); 6] = [
        ("kafka.broker=x", &["kafka.broker", "kafka.brokers"]),
        ("kafka.brokers=", &["kafka.brokers"]),
        ("catalog.uri=mysql://x", &["catalog.uri"]),
        ("catalog.type=hive", &["catalog.type", "sql", "rest"]),
        ("memory.budget=1KiB", &["memory.budget"]),
        ("kafka.properties.group.id=x", &["group.id"]),
    ];
    for (set, words) in cases {
        says(&deployment.k2(["run", "--set", set]).run(SOON).await, 2, words);
    }
    says(&deployment.k2(["run", "no-such-pipeline"]).run(SOON).await, 2, &["no-such-pipeline", "bronze-binance"]);
}

#[tokio::test]
async fn servers_and_topics_that_are_not_there() {
    let (_, pipeline, deployment) = deployed("absent").await;
    let run = |set: &str| deployment.run().arg("--set").arg(set).run(SOON);
    says(&run("kafka.brokers=127.0.0.1:9").await, 2, &["127.0.0.1:9", "kafka.brokers"]);
    let other = format!("pipelines.{}.topic=no.such.topic", pipeline.name);
    says(&run(&other).await, 2, &["no.such.topic", "does not exist"]);
    says(&run("catalog.create_tables=false").await, 2, &["bronze_binance_trades", "k2 tables create"]);
    let file = deployment.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    let exit = run(&format!("catalog.warehouse={}", file.join("below").display())).await;
    assert!(matches!(exit.code, Some(2)), "a warehouse that cannot be written: {:?} {}", exit.code, exit.log);
    assert!(exit.log.contains("a-file"), "{}", exit.log);
}

#[tokio::test]
async fn a_table_of_another_shape() {
    let (_, pipeline, deployment) = deployed("shape").await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    let location = deployment.catalog().metadata_location(&deployment.namespace, &pipeline.table).await.unwrap();
    let file = location.strip_prefix("file://").unwrap_or(&location);
    let mut metadata: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let fields = metadata["schemas"][0]["fields"].as_array_mut().unwrap();
    fields.retain(|f| f["name"] != "key");
    fields.iter_mut().find(|f| f["name"] == "partition").unwrap()["type"] = "string".into();
    std::fs::write(file, serde_json::to_vec(&metadata).unwrap()).unwrap();
    let exit = deployment.run_until_caught_up().run(SOON).await;
    says(
        &exit,
        2,
        &["bronze_binance_trades", "column key (binary) is missing", "column partition is string, must be int"],
    );
}

#[tokio::test]
async fn a_topic_that_was_created_again_halts() {
    let (topic, _, deployment) = deployed("recreated").await;
    Load::on(&topic).count(100).run().await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    topic.recreate().await;
    Load::on(&topic).count(100).run().await;
    says(&deployment.run_until_caught_up().run(SOON).await, 3, &[&topic.name, "created again", "k2 offsets reset"]);
}

#[tokio::test]
async fn records_that_kafka_dropped_before_they_were_read_halt() {
    let (topic, pipeline, deployment) = deployed("retention").await;
    Load::on(&topic).count(100).run().await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    Load::on(&topic).count(100).run().await;
    topic.trim(0, 150).await;
    says(&deployment.run_until_caught_up().run(SOON).await, 3, &[&topic.name, "100", "150", "k2 offsets accept-loss"]);
    // nothing moved
    assert_eq!(deployment.table(&pipeline).await.unwrap().progress(&topic.name), 100);
}

#[tokio::test]
async fn the_same_static_member_id_twice() {
    let (topic, _, deployment) = deployed("static").await;
    Load::on(&topic).count(10).run().await;
    let member = || deployment.run().arg("--set").arg("kafka.properties.group.instance.id=one");
    let first = member().start();
    wait_until("the first to be a member", SOON, || async { first.log().contains("committed") }).await;
    let second = member().start();
    wait_until("one of the two to end", SOON, || async { !first.is_running() || !second.is_running() }).await;
    let (ended, other) = if first.is_running() { (second, first) } else { (first, second) };
    says(&ended.wait(SOON).await, 2, &["group.instance.id"]);
    other.terminate(Duration::from_secs(10)).await.ok();
}

#[tokio::test]
async fn sigterm_drains_and_a_second_signal_leaves_at_once() {
    let (topic, pipeline, deployment) = deployed("signals").await;
    let ledger = Load::on(&topic).count(5_000).run().await;
    let process = deployment.run().start();
    wait_until("rows to be taken in", SOON, || async { process.log().contains("committed") }).await;
    process.terminate(Duration::from_secs(10)).await.ok();
    oracle::compare(&deployment.table(&pipeline).await.unwrap(), &ledger).await.assert_sound();
    deployment.run_until_caught_up().run(SOON).await.ok();
    oracle::compare(&deployment.table(&pipeline).await.unwrap(), &ledger).await.assert_complete();
}
