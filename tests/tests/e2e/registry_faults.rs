//! Promise: whatever becomes of the schema registry - away, failing, talking nonsense, silent, slow -, no record becomes a
//! dead letter for it; the pipeline waits, says so, and catches up. Only a clear "no such id" is a record's own fault.

use k2_tests::trades::avro::{frame_id, framed};
use k2_tests::trades::{Ids, Maker, Meaning, TradeRecord, Version};
use k2_tests::*;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(120);
const EXCHANGE: Exchange = Exchange::Binance;
const UNKNOWN: &str = r#"{"error_code":40403,"message":"Schema not found"}"#;

/// A schema of its own for every question: one field more, that takes no bytes.
fn schema(version: Version, number: usize) -> String {
    let text = version.schema(EXCHANGE).trim_end().strip_suffix("]}").unwrap();
    format!(r#"{text},{{"name":"extra_{number}","type":"null"}}]}}"#)
}

/// Fresh ids of the registry for the two versions that good records have.
async fn fresh_ids(topic: &Topic, number: usize) -> Ids {
    let mut ids = Ids::of(EXCHANGE);
    for (id, version) in [(&mut ids.plain, Version::Plain), (&mut ids.evolved, Version::Evolved)] {
        let subject = format!("{}-{version:?}-{number}", topic.name);
        *id = services::registry().register(&subject, &schema(version, number)).await;
    }
    ids
}

struct World {
    topic: Topic,
    silver: Pipeline,
    proxy: WebProxy,
    deployment: Deployment,
}

impl World {
    async fn deployed(prefix: &str, grace: &str) -> Self {
        let brokers = &services::kafka().brokers;
        let topic = Topic::create(brokers, prefix, 2).await;
        let silver = Pipeline::silver(&topic, EXCHANGE);
        let proxy = WebProxy::start(&services::registry().url).await;
        let deployment = Deployment::local(brokers)
            .pipeline(silver.clone())
            .set("registry.url", &proxy.url())
            .set("registry.request_timeout", "2s")
            .set("registry.unknown_id_grace", grace);
        Self { topic, silver, proxy, deployment }
    }

    async fn dead_letters(&self) -> u64 {
        match self.deployment.dlq(&self.silver).await {
            Some(table) => table.row_count().await,
            None => 0,
        }
    }
}

#[tokio::test]
async fn no_fault_of_the_registry_makes_a_dead_letter() {
    let world = World::deployed("registry-faults", "60s").await;
    let World { topic, silver, proxy, deployment } = &world;
    let mut ledger = TradeLoad::on(topic, EXCHANGE).ids(fresh_ids(topic, 0).await).count(500).bad(0).run().await;
    let process = deployment.run().start();
    deployment.settled(silver, &ledger, SOON).await;

    let weathers = [
        Weather::Cut,
        Weather::Answer(500, r#"{"error_code":50001,"message":"Error in the backend data store"}"#),
        Weather::Answer(503, "<html>maintenance</html>"),
        Weather::Answer(200, "<html>a proxy's page</html>"),
        Weather::Answer(200, "{}"),
        Weather::Answer(401, r#"{"error_code":401,"message":"Unauthorized"}"#),
        Weather::Answer(403, r#"{"error_code":403,"message":"Forbidden"}"#),
        Weather::Answer(404, "<html>no such page</html>"),
        Weather::Answer(404, r#"{"error_code":40401,"message":"Subject not found"}"#),
        Weather::Hang,
        // the id is registered while its grace lasts
        Weather::Answer(404, UNKNOWN),
    ];
    for (number, weather) in (1..).zip(weathers) {
        let ids = fresh_ids(topic, number).await;
        let asked = proxy.requests().len();
        proxy.set(weather.clone());
        let load = TradeLoad::on(topic, EXCHANGE).ids(ids).count(300).bad(0).seed(number as u64);
        ledger.merge(load.run().await);
        wait_until("it to ask again and again", SOON, || async { proxy.requests().len() >= asked + 3 }).await;
        assert!(process.is_running(), "{weather:?}: it ended: {}", process.log());
        assert_eq!(world.dead_letters().await, 0, "{weather:?}");
        let verdict = deployment.judge(silver, &ledger).await.unwrap();
        verdict.assert_sound();
        assert!(verdict.outstanding > 0, "{weather:?}: the records were routed without their schema: {verdict}");
        proxy.set(Weather::Fair);
        let begun = Instant::now();
        let verdict = deployment.settled(silver, &ledger, SOON).await;
        println!("{weather:?}: {verdict}, caught up in {:?}", begun.elapsed());
    }
    let log = process.log();
    assert!(log.contains("WARN") && log.contains(&proxy.url()), "it says what it waits for: {log}");

    // slow, but an answer
    proxy.set(Weather::Slow(Duration::from_millis(1_500)));
    let ids = fresh_ids(topic, 100).await;
    ledger.merge(TradeLoad::on(topic, EXCHANGE).ids(ids).count(300).bad(0).seed(100).run().await);
    deployment.settled(silver, &ledger, SOON).await;
    assert_eq!(world.dead_letters().await, 0);

    // each id was asked for, and none again once it was known
    let known = proxy.requests().len();
    ledger.merge(TradeLoad::on(topic, EXCHANGE).ids(ids).count(300).bad(0).seed(101).run().await);
    deployment.settled(silver, &ledger, SOON).await;
    assert_eq!(proxy.requests().len(), known);
    process.terminate(Duration::from_secs(10)).await.ok();
}

#[tokio::test]
async fn a_registry_that_is_away_at_the_start_is_waited_for_and_the_end_is_in_time() {
    let world = World::deployed("registry-start", "60s").await;
    let World { topic, silver, proxy, deployment } = &world;
    let ledger = TradeLoad::on(topic, EXCHANGE).ids(fresh_ids(topic, 0).await).count(500).bad(0).run().await;
    proxy.set(Weather::Cut);
    let process = deployment.run().start();
    wait_until("it to ask again and again", SOON, || async { proxy.requests().len() >= 3 }).await;
    assert_eq!(world.dead_letters().await, 0);
    // asked to end while it waits, it ends in time
    process.terminate(Duration::from_secs(10)).await.ok();
    assert_eq!(world.dead_letters().await, 0);
    proxy.set(Weather::Fair);
    deployment.run_until_caught_up().run(SOON).await.ok();
    deployment.settled(silver, &ledger, SOON).await;
}

#[tokio::test]
async fn partitions_change_hands_while_the_registry_is_away() {
    let world = World::deployed("registry-rebalance", "60s").await;
    let World { topic, silver, proxy, deployment } = &world;
    let mut ledger = TradeLoad::on(topic, EXCHANGE).ids(fresh_ids(topic, 0).await).count(500).bad(0).run().await;
    let first = deployment.run().start();
    deployment.settled(silver, &ledger, SOON).await;
    proxy.set(Weather::Cut);
    let load = TradeLoad::on(topic, EXCHANGE).ids(fresh_ids(topic, 1).await).count(2_000).bad(0).seed(2);
    ledger.merge(load.run().await);
    let asked = proxy.requests().len();
    wait_until("the first to ask", SOON, || async { proxy.requests().len() >= asked + 2 }).await;

    // what the first holds and cannot route must not keep the second from its partitions
    let second = deployment.run().start();
    wait_until("the second to get a partition", SOON, || async {
        second.log().lines().any(|line| line.contains("partitions assigned") && !line.contains("\"[]\""))
    })
    .await;
    assert_eq!(world.dead_letters().await, 0);
    proxy.set(Weather::Fair);
    let verdict = deployment.settled(silver, &ledger, SOON).await;
    assert_eq!(verdict.dlq, 0);
    for process in [first, second] {
        process.terminate(Duration::from_secs(10)).await.ok();
    }
    deployment.settled(silver, &ledger, SOON).await;
}

/// The end of the source waits in the channel behind the batch that waits for the registry; nothing may die unnoticed.
#[tokio::test]
async fn a_topic_that_is_deleted_while_the_registry_is_away_ends_the_process() {
    let world = World::deployed("registry-deleted", "60s").await;
    let World { topic, silver, proxy, deployment } = &world;
    let ledger = TradeLoad::on(topic, EXCHANGE).ids(fresh_ids(topic, 0).await).count(500).bad(0).run().await;
    let process = deployment.run().start();
    deployment.settled(silver, &ledger, SOON).await;
    proxy.set(Weather::Cut);
    TradeLoad::on(topic, EXCHANGE).ids(fresh_ids(topic, 1).await).count(2_000).bad(0).seed(2).run().await;
    let asked = proxy.requests().len();
    wait_until("the registry to be asked", SOON, || async { proxy.requests().len() >= asked + 2 }).await;

    topic.delete().await;
    let exit = process.wait(Duration::from_secs(60)).await;
    assert_eq!(exit.code, Some(3), "it said: {}", exit.log);
    assert!(exit.log.contains("source silver-binance") && exit.log.contains("deleted"), "it said: {}", exit.log);
}

#[tokio::test]
async fn a_flood_of_unknown_ids_costs_one_grace() {
    let world = World::deployed("registry-unknown", "3s").await;
    let World { topic, silver, deployment, .. } = &world;
    let ids = fresh_ids(topic, 0).await;
    let mut ledger = TradeLoad::on(topic, EXCHANGE).ids(ids).count(500).bad(0).run().await;
    // 300 ids that nobody knows, and one of a schema that is no Avro
    let protobuf =
        register(&topic.name, "syntax = \"proto3\";\nmessage Trade { string price = 1; }\n", "PROTOBUF").await;
    let now = ledger.records.values().map(|r| r.timestamp_ms).max().unwrap();
    let mut maker = Maker::new(EXCHANGE, ids, 3);
    let mut records: Vec<TradeRecord> =
        (0..300).map(|n| reframed(&maker.good(now), 1_900_000_000 + n, false)).collect();
    records.extend((0..20).map(|_| reframed(&maker.good(now), protobuf, true)));
    records.extend((0..300).map(|_| maker.good(now)));
    ledger.merge(TradeLoad::on(topic, EXCHANGE).ids(ids).seed(4).send(records).await);

    let begun = Instant::now();
    deployment.run_until_caught_up().run(Duration::from_secs(60)).await.ok();
    let verdict = deployment.settled(silver, &ledger, SOON).await;
    println!("{verdict}; {:?} in {:?}", verdict.reasons, begun.elapsed());
    assert_eq!((verdict.reasons["unknown_schema_id"], verdict.reasons["avro_decode_failed"]), (300, 20));
}

/// The same body in a frame of another id.
fn reframed(record: &TradeRecord, id: i32, known: bool) -> TradeRecord {
    let value = record.value.as_deref().unwrap();
    assert!(frame_id(value).is_some());
    let meaning = if known { Meaning::Undecodable } else { Meaning::UnknownId };
    TradeRecord { value: Some(framed(id, &value[5..])), meaning, ..record.clone() }
}

/// Registers a schema of another kind than Avro.
async fn register(subject: &str, schema: &str, kind: &str) -> i32 {
    let url = format!("{}/subjects/{subject}/versions", services::registry().url);
    let body = serde_json::json!({"schema": schema, "schemaType": kind});
    let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    let status = answer.status();
    let told: serde_json::Value = answer.json().await.unwrap();
    i32::try_from(told["id"].as_i64().unwrap_or_else(|| panic!("{status}: {told}"))).unwrap()
}

/// The ids of one registry differ, or a fault would meet nobody.
#[tokio::test]
async fn every_schema_of_this_test_has_its_own_id() {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create(brokers, "registry-ids", 1).await;
    let mut seen = BTreeSet::new();
    for number in 0..3 {
        let ids = fresh_ids(&topic, number).await;
        assert!(seen.insert(ids.plain) && seen.insert(ids.evolved), "{seen:?} has {ids:?}");
    }
}
