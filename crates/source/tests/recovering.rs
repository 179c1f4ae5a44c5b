//! What a source gets over by itself; the mock cluster misbehaves on demand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod support;

use k2_model::Class;
use k2_source::Admin;
use rdkafka_sys::{RDKafkaApiKey, RDKafkaRespErr as e};
use support::*;

/// All records of one partition, in order and once.
fn assert_complete(table: &Shared, count: i64) {
    let table = lock(table);
    table.assert_nothing_twice();
    assert!(table.rows.iter().map(|r| r.offset).eq(0..count));
    assert_eq!(table.fenced, 0);
}

#[test]
fn a_partition_that_librdkafka_gave_up_is_read_on_from_our_position() {
    let cluster = mock();
    let topic = cluster.topic(1);
    let feeder = cluster.producer();
    feeder.numbers(&topic, 0, 0, 100);
    let table = Shared::default();
    let running = start(config(&cluster, &topic), &table);
    for round in 1..=4 {
        until("all rows so far", || lock(&table).total() == round * 100);
        // in range, says the log; so the position is checked and taken up again
        cluster.misbehave().request_errors(RDKafkaApiKey::Fetch, &[e::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE; 2]);
        feeder.numbers(&topic, 0, i64::try_from(round).unwrap() * 100, 100);
    }
    until("all rows", || lock(&table).total() == 500);
    assert_eq!(running.seen().assigned.len(), 1, "the epoch stays");
    running.stop().unwrap();
    assert_complete(&table, 500);
}

#[test]
fn a_partition_that_never_comes_back_halts() {
    let cluster = mock();
    let topic = cluster.topic(1);
    cluster.producer().numbers(&topic, 0, 0, 100);
    let table = Shared::default();
    let running = start(config(&cluster, &topic), &table);
    until("all rows", || lock(&table).total() == 100);
    cluster.misbehave().request_errors(RDKafkaApiKey::Fetch, &[e::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE; 1000]);
    let error = running.ended().unwrap_err();
    assert_eq!(error.class(), Class::Halt, "{error}");
    assert!(error.to_string().contains(&format!("topic {topic}/0")), "{error}");
}

#[test]
fn a_broker_that_comes_back_is_read_on() {
    let cluster = mock();
    let topic = cluster.topic(1);
    let feeder = cluster.producer();
    feeder.numbers(&topic, 0, 0, 100);
    let table = Shared::default();
    let running = start(config(&cluster, &topic), &table);
    until("the first rows", || lock(&table).total() == 100);
    cluster.misbehave().broker_down(1).unwrap();
    let began = std::time::Instant::now();
    until("it is down for a while", || began.elapsed() > std::time::Duration::from_secs(2));
    assert!(running.seen().ended.is_none());
    cluster.misbehave().broker_up(1).unwrap();
    feeder.numbers(&topic, 0, 100, 100);
    until("all rows", || lock(&table).total() == 200);
    running.stop().unwrap();
    assert_complete(&table, 200);
}

#[test]
fn a_member_that_the_group_forgot_joins_again_and_loses_nothing() {
    let cluster = mock();
    let topic = cluster.topic(1);
    let feeder = cluster.producer();
    feeder.numbers(&topic, 0, 0, 100);
    let table = Shared::default();
    let running = start(config(&cluster, &topic), &table);
    until("the first rows", || lock(&table).total() == 100);
    cluster.misbehave().request_errors(RDKafkaApiKey::Heartbeat, &[e::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]);
    until("the partitions are lost", || running.seen().lost.len() == 1);
    feeder.numbers(&topic, 0, 100, 100);
    until("all rows", || lock(&table).total() == 200);
    let epochs: Vec<_> = running.seen().assigned.iter().map(|(epoch, _)| *epoch).collect();
    assert!(epochs.len() == 2 && epochs[0] < epochs[1], "{epochs:?}");
    running.stop().unwrap();
    assert_complete(&table, 200);
}

#[test]
fn a_topic_without_rights_is_a_matter_of_configuration() {
    let cluster = mock();
    let topic = cluster.topic(1);
    cluster.misbehave().topic_error(&topic, e::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
    let error = Admin::connect(&cluster.settings(), "test").unwrap().identity(&topic).unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error}");
    assert!(error.to_string().contains(&topic) && error.way_out().is_some_and(|f| f.contains("READ")), "{error}");

    let table = Shared::default();
    let error = start(config(&cluster, &topic), &table).ended().unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error}");
}

#[test]
fn a_group_without_rights_is_a_matter_of_configuration() {
    let cluster = mock();
    let topic = cluster.topic(1);
    let refused = [e::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED; 20];
    cluster.misbehave().request_errors(RDKafkaApiKey::FindCoordinator, &refused);
    cluster.misbehave().request_errors(RDKafkaApiKey::JoinGroup, &refused);
    let table = Shared::default();
    let error = start(config(&cluster, &topic), &table).ended().unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error}");
    assert!(error.to_string().contains("consumer group"), "{error}");
}

#[test]
fn a_broker_that_answers_slowly_is_waited_for() {
    let cluster = mock();
    let topic = cluster.topic(1);
    cluster.producer().numbers(&topic, 0, 0, 100);
    cluster.misbehave().broker_round_trip_time(1, std::time::Duration::from_millis(700)).unwrap();
    let admin = Admin::connect(&cluster.settings(), "test").unwrap();
    let began = std::time::Instant::now();
    assert_eq!(&*admin.identity(&topic).unwrap().topic, topic);
    let took = began.elapsed();
    assert!((1..10).contains(&took.as_secs()), "a connection and two questions: {took:?}");

    let table = Shared::default();
    let mut config = config(&cluster, &topic);
    config.client.properties.insert("session.timeout.ms".into(), "30000".into());
    let running = start(config, &table);
    until("all rows", || lock(&table).total() == 100);
    cluster.misbehave().broker_round_trip_time(1, std::time::Duration::ZERO).unwrap();
    running.stop().unwrap();
    assert_complete(&table, 100);
}
