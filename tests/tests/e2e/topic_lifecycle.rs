//! Promise: a topic that is deleted and created again while K2 reads it ends the pipeline with exit code 3, and no row of the
//! new incarnation gets into the table - whether it is shorter than the old one, as long, or longer.
//!
//! Longer is the dangerous one: the old offsets exist in it, so that nothing is out of range. The oracle knows the old
//! records only; a row of the new topic is one that differs, or one too many. `K2_TEST_SEED` sets the moments.

use k2_tests::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const ROUNDS: u64 = 4;

#[tokio::test]
async fn created_again_with_fewer_records() {
    rounds(1, |old| old / 3).await;
}

#[tokio::test]
async fn created_again_with_as_many_records() {
    rounds(2, |old| old).await;
}

#[tokio::test]
async fn created_again_with_more_records() {
    rounds(3, |old| old * 2 + 20_000).await;
}

async fn rounds(salt: u64, new: impl Fn(u64) -> u64) {
    let seed: u64 = setting("K2_TEST_SEED").unwrap_or(20_261_123);
    let mut rng = StdRng::seed_from_u64(seed ^ salt);
    for round in 0..ROUNDS {
        // in turn: a steady flow, and a backlog that K2 is in the middle of
        let moment = Duration::from_millis(rng.random_range(0..1_500));
        one(moment, round % 2 == 1, &new).await;
    }
}

/// One life of a topic, until `moment` after K2's first commit, and the beginning of the next.
async fn one(moment: Duration, backlog: bool, new: impl Fn(u64) -> u64) {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create(brokers, "lives", 1).await;
    let pipeline = Pipeline::bronze(&topic);
    let deployment = Deployment::local(brokers).pipeline(pipeline.clone());
    let k2 = deployment.run().start();

    let load = Load::on(&topic).shape(Shape::Trades).rate(2_000).start();
    wait_until("a first commit", SOON, || async {
        deployment.table(&pipeline).await.is_some_and(|t| t.progress(&topic.name) > 0)
    })
    .await;
    tokio::time::sleep(moment).await;
    let mut ledger = load.stop().await;
    if backlog {
        let burst = Load::on(&topic).shape(Shape::Trades).seed(2).count(60_000).run().await;
        ledger.records.get_mut(&0).unwrap().extend(burst.records[&0].iter().copied());
    }
    let old = ledger.records[&0].len() as u64;

    create_again(&topic).await;
    let new = new(old);
    Load::on(&topic).shape(Shape::Trades).seed(3).count(new).run().await;
    // and it lives on: an end that is the old position's is passed
    let on = Load::on(&topic).shape(Shape::Trades).seed(4).rate(1_000).start();
    let exit = k2.wait(SOON).await;
    on.stop().await;

    let table = deployment.table(&pipeline).await.unwrap();
    let verdict = oracle::compare(&table, &ledger).await;
    println!("{old} records, then {new}, after {moment:?}: {verdict}");
    verdict.assert_sound();
    assert_eq!(exit.code, Some(3), "it said: {}", exit.log);
    assert!(exit.log.contains("created again") || exit.log.contains("deleted"), "it said: {}", exit.log);

    // nor does a restart go on in the new topic by itself
    let exit = deployment.run().run(SOON).await;
    assert_eq!(exit.code, Some(3), "it said: {}", exit.log);
    assert!(exit.log.contains("created again") && exit.log.contains("k2 offsets reset"), "it said: {}", exit.log);
    let again = deployment.table(&pipeline).await.unwrap();
    assert_eq!(again.next_offsets(&topic.name), table.next_offsets(&topic.name));
}

/// Deletes and creates as fast as the broker lets us: a client sees as little as possible of what was in between.
async fn create_again(topic: &Topic) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &topic.brokers).create().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(SOON));
    admin.delete_topics(&[&topic.name], &options).await.unwrap().pop().unwrap().unwrap();
    let wanted = NewTopic::new(&topic.name, topic.partitions(), TopicReplication::Fixed(1));
    wait_until("the topic to be created again", SOON, || async {
        admin.create_topics([&wanted], &options).await.unwrap().iter().all(Result::is_ok)
    })
    .await;
}
