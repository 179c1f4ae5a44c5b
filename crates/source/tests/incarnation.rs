//! A topic that is deleted and created again while it is read: no record of the new one is handed over, ever. Needs a real
//! broker; the moments are random, `K2_TEST_LIVES` sets how many lives are tried (6).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "tests take their settings from the environment")]

mod support;

use k2_model::Class;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::*;

/// Values of the new topic begin here.
const NEW: i64 = 1_000_000;

#[test]
fn no_record_of_the_new_topic_is_handed_over() {
    let Some(cluster) = real() else { return };
    let lives: i64 = std::env::var("K2_TEST_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    for life in 0..lives {
        // in turn: a new topic that is shorter, as long, and longer
        let length = |old: i64| [old / 3, old, old * 2 + 10_000][usize::try_from(life % 3).unwrap()];
        one(&cluster, length, life % 2 == 0);
    }
}

/// Each answer about the topic makes the source drop what it holds, ask, and go back to its own positions.
#[test]
fn a_flood_of_answers_about_the_topic_loses_and_doubles_nothing() {
    for cluster in clusters() {
        let topic = cluster.topic(3);
        let mut config = config(&cluster, &topic);
        config.client.properties.insert("topic.metadata.refresh.interval.ms".into(), "500".into());
        let table = Shared::default();
        let running = start(config, &table);
        let feeder = cluster.producer();
        // for ten of these answers
        let (began, mut fed) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(5) {
            for partition in 0..3 {
                feeder.numbers(&topic, partition, fed, 50);
            }
            fed += 50;
        }
        until("all rows", || i64::try_from(lock(&table).total()).unwrap() == 3 * fed);
        running.stop().unwrap();
        let table = lock(&table);
        table.assert_nothing_twice();
        for partition in 0..3 {
            let mine = table.rows.iter().filter(|r| r.partition == partition);
            assert!(mine.map(|r| r.offset).eq(0..fed));
        }
    }
}

/// One life of a topic and the beginning of the next. `backlog`: the source is behind when the topic goes.
fn one(cluster: &Cluster, length: impl Fn(i64) -> i64, backlog: bool) {
    let topic = cluster.topic(1);
    let feeder = cluster.producer();
    let table = Shared::default();
    let running = start(config(cluster, &topic), &table);
    let mut old = 0;
    let moment = Duration::from_millis(u64::from(uuid::Uuid::new_v4().as_bytes()[0]) * 4);
    let mut first = None;
    while first.is_none_or(|at: Instant| at.elapsed() < moment) {
        feeder.numbers(&topic, 0, old, 50);
        old += 50;
        if lock(&table).total() > 0 {
            first.get_or_insert_with(Instant::now);
        }
    }
    if backlog {
        running.hold(true);
        feeder.numbers(&topic, 0, old, 30_000);
        old += 30_000;
    }
    cluster.delete(&topic);
    cluster.create(&topic, 1, &[]);
    let new = length(old);
    let feeder = cluster.producer();
    let fed = AtomicBool::new(false);
    let read = std::thread::scope(|threads| {
        // the new topic lives on, past the old position
        threads.spawn(|| {
            feeder.numbers(&topic, 0, NEW, new);
            let mut next = NEW + new;
            let deadline = Instant::now() + DEADLINE;
            while !fed.load(Ordering::Relaxed) && Instant::now() < deadline {
                feeder.numbers(&topic, 0, next, 50);
                next += 50;
            }
        });
        running.hold(false);
        until("the source ends", || running.seen().ended.is_some());
        fed.store(true, Ordering::Relaxed);
        lock(&table).total()
    });
    let error = running.ended().unwrap_err();
    println!("{old} records, {read} read, then {new} new ones after {moment:?}: {error}");
    assert_eq!(error.class(), Class::Halt, "{error}");
    let table = lock(&table);
    table.assert_nothing_twice();
    for row in &table.rows {
        let value: i64 = String::from_utf8(row.value.clone().unwrap()).unwrap().parse().unwrap();
        assert!(value < NEW, "offset {} is a record of the new topic", row.offset);
        assert_eq!(value, row.offset);
    }
}
