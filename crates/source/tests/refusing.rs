//! What ends a source, and how it says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod support;

use k2_model::{Class, ClusterId, Error, Fingerprint, NextOffset, StartAt, TopicId};
use k2_source::{Admin, ClientSettings};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::*;

/// Reads a topic of 20 records and gives the table that results.
fn filled(cluster: &Cluster, topic: &str) -> Shared {
    cluster.producer().numbers(topic, 0, 0, 20);
    let table = Shared::default();
    let running = start(config(cluster, topic), &table);
    until("all rows", || lock(&table).total() == 20);
    running.stop().unwrap();
    table
}

fn change(
    table: &Shared,
    change: impl Fn(&mut Option<TopicId>, &mut ClusterId, &mut NextOffset, &mut Option<Fingerprint>),
) {
    for position in lock(table).positions.values_mut() {
        let StartAt::Table { topic_id, cluster_id, next, last, .. } = position else { continue };
        change(topic_id, cluster_id, next, last);
    }
}

fn assert_halts(error: &Error, words: &[&str]) {
    assert_eq!(error.class(), Class::Halt, "{error}");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} in {text}");
    }
}

#[test]
fn a_record_that_changed_halts() {
    for cluster in clusters() {
        let topic = cluster.topic(1);
        let table = filled(&cluster, &topic);
        change(&table, |_, _, _, last| last.as_mut().unwrap().crc ^= 1);
        let error = start(config(&cluster, &topic), &table).ended().unwrap_err();
        assert_halts(&error, &["offset 19", &format!("topic {topic}/0")]);
        assert_eq!(lock(&table).total(), 20);
    }
}

#[test]
fn a_record_where_none_was_halts() {
    for cluster in clusters() {
        let topic = cluster.topic(1);
        let table = filled(&cluster, &topic);
        // as if the last record had been 17, and 18 and 19 control records
        let first = lock(&table).rows[17].clone();
        change(&table, |_, _, _, last| {
            *last = Some(Fingerprint {
                offset: 17,
                timestamp_ms: first.timestamp.unwrap() / 1000,
                crc: k2_model::position::fingerprint_crc(first.key.as_deref(), first.value.as_deref()),
            });
        });
        assert_halts(&start(config(&cluster, &topic), &table).ended().unwrap_err(), &["offset 18"]);
    }
}

#[test]
fn another_cluster_or_topic_id_halts() {
    for cluster in clusters() {
        let topic = cluster.topic(1);
        let table = filled(&cluster, &topic);
        change(&table, |_, cluster_id, _, _| *cluster_id = ClusterId::new("elsewhere"));
        assert_halts(&start(config(&cluster, &topic), &table).ended().unwrap_err(), &["elsewhere"]);

        let table = filled(&cluster, &cluster.topic(1));
        change(&table, |topic_id, _, _, _| *topic_id = Some(TopicId::new("AAAAAAAAAAAAAAAAAAAAAA")));
        assert_halts(
            &start(config(&cluster, &topic), &table).ended().unwrap_err(),
            &["created again", "k2 offsets reset"],
        );
    }
}

#[test]
fn a_log_that_is_shorter_than_the_table_halts() {
    for cluster in clusters() {
        let topic = cluster.topic(1);
        let table = filled(&cluster, &topic);
        change(&table, |_, _, next, _| *next = NextOffset(25));
        assert_halts(&start(config(&cluster, &topic), &table).ended().unwrap_err(), &["20", "25"]);
    }
}

#[test]
fn retention_that_passed_the_position_halts_and_names_the_range() {
    let Some(cluster) = real() else { return };
    let topic = cluster.topic(1);
    let table = filled(&cluster, &topic);
    cluster.producer().numbers(&topic, 0, 20, 20);

    // up to the position is fine, though the fingerprint's record is gone
    cluster.delete_below(&topic, 0, 20);
    let running = start(config(&cluster, &topic), &table);
    until("it goes on", || lock(&table).total() == 40);
    running.stop().unwrap();

    cluster.producer().numbers(&topic, 0, 40, 20);
    cluster.delete_below(&topic, 0, 45);
    let error = start(config(&cluster, &topic), &table).ended().unwrap_err();
    assert_halts(&error, &["offsets 40..45", "k2 offsets accept-loss", &format!("topic {topic}/0")]);
}

#[test]
fn retention_that_passes_a_reading_source_halts_it() {
    let Some(cluster) = real() else { return };
    let topic = cluster.topic(1);
    cluster.producer().numbers(&topic, 0, 0, 100_000);
    let table = Shared::default();
    let mut config = config(&cluster, &topic);
    (config.batch_rows, config.prefetch_bytes) = (1_000, 1 << 20);
    let running = start_with(config, &table, k2_model::Budget::new(256 << 10), 1);
    until("it flows", || lock(&table).total() > 1_000);
    running.hold(true);
    until("it is paused", || running.handle.stats().paused);
    cluster.delete_below(&topic, 0, 99_000);
    running.hold(false);
    let error = running.ended().unwrap_err();
    assert_halts(&error, &["..99000 are lost", "k2 offsets accept-loss"]);
    lock(&table).assert_nothing_twice();
}

#[test]
fn a_topic_created_again_halts_at_the_start_and_while_it_is_read() {
    let Some(cluster) = real() else { return };
    let topic = cluster.topic(1);
    let table = filled(&cluster, &topic);
    let again = || {
        cluster.delete(&topic);
        let admin = Admin::connect(&cluster.settings(), "test").unwrap();
        until("the topic is gone", || admin.partitions(&topic).is_err());
        cluster.create(&topic, 1, &[]);
        // more records than before, so that the old offsets exist
        cluster.producer().numbers(&topic, 0, 0, 100);
    };
    again();
    let error = start(config(&cluster, &topic), &table).ended().unwrap_err();
    assert_halts(&error, &["created again"]);

    let table = Shared::default();
    let running = start(config(&cluster, &topic), &table);
    until("all rows", || lock(&table).total() == 100);
    again();
    assert_eq!(running.ended().unwrap_err().class(), Class::Halt);
}

#[test]
fn a_topic_that_is_deleted_halts() {
    let Some(cluster) = real() else { return };
    let topic = cluster.topic(1);
    cluster.producer().numbers(&topic, 0, 0, 10);
    let table = Shared::default();
    let running = start(config(&cluster, &topic), &table);
    until("all rows", || lock(&table).total() == 10);
    cluster.delete(&topic);
    assert_halts(&running.ended().unwrap_err(), &["deleted"]);
}

#[test]
fn a_missing_topic_is_a_matter_of_configuration() {
    let Some(cluster) = real() else { return };
    let table = Shared::default();
    let error = start(config(&cluster, "no-such-topic"), &table).ended().unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error}");
    let admin = Admin::connect(&cluster.settings(), "test").unwrap();
    let began = Instant::now();
    let error = admin.identity("no-such-topic").unwrap_err();
    assert_eq!(error.class(), Class::Config);
    assert!(began.elapsed() < Duration::from_secs(2), "there is nothing to wait for: {:?}", began.elapsed());
    assert!(error.to_string().contains("no-such-topic") && error.way_out().is_some(), "{error}");
}

#[test]
fn the_refusal_of_the_sink_ends_the_source() {
    let cluster = mock();
    let topic = cluster.topic(1);
    let table = Shared::default();
    let running = start(config(&cluster, &topic), &table);
    running.seen().refuse = Some(Error::halt("the table was rolled back"));
    if running.seen().assigned.is_empty() {
        assert_halts(&running.ended().unwrap_err(), &["rolled back"]);
    }
}

#[test]
fn brokers_that_cannot_be_reached_are_tried_until_the_stop() {
    logs();
    let settings = ClientSettings { brokers: "127.0.0.1:1".into(), properties: BTreeMap::new() };
    let admin = Admin::connect(&settings, "test").unwrap().with_timeout(Duration::from_millis(500));
    let error = admin.identity("t").unwrap_err();
    assert_eq!(error.class(), Class::Retry, "{error}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");

    let table = Shared::default();
    let running = start(k2_source::SourceConfig::new("t", "g", settings), &table);
    let began = Instant::now();
    until("it has tried", || began.elapsed() > Duration::from_millis(300));
    assert!(running.seen().ended.is_none());
    running.stop().unwrap();
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn a_property_that_librdkafka_does_not_take_is_named() {
    let settings = |key: &str| ClientSettings {
        brokers: "127.0.0.1:1".into(),
        properties: BTreeMap::from([(key.to_owned(), "x".to_owned())]),
    };
    for key in ["isolation.level", "no.such.property"] {
        let error = Admin::connect(&settings(key), "test").unwrap_err();
        assert_eq!(error.class(), Class::Config);
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[test]
fn a_static_member_id_that_is_used_twice_ends_one() {
    let Some(cluster) = real() else { return };
    let topic = cluster.topic(2);
    cluster.producer().numbers(&topic, 0, 0, 10);
    let table = Shared::default();
    let mut config = config(&cluster, &topic);
    config.client.properties.insert("group.instance.id".into(), "one".into());
    let first = start(config.clone(), &table);
    until("all rows", || lock(&table).total() == 10);
    let second = start(config, &table);
    let error = first.ended().unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error}");
    assert!(error.to_string().contains("group.instance.id"), "{error}");
    second.stop().unwrap();
}
