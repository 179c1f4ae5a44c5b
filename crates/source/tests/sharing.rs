//! Several members of one group.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod support;

use std::time::{Duration, Instant};
use support::*;

#[test]
fn two_sources_share_the_partitions_and_hand_them_over() {
    for cluster in clusters() {
        let topic = cluster.topic(6);
        let feeder = cluster.producer();
        let mut produced = 0;
        let mut feed = |count: i64| {
            for p in 0..6 {
                feeder.numbers(&topic, p, produced, count);
            }
            produced += count;
            usize::try_from(produced * 6).unwrap()
        };
        let table = Shared::default();
        let mut config = config(&cluster, &topic);
        config.batch_rows = 300;

        let all = feed(2_000);
        let first = start(config.clone(), &table);
        until("the first reads", || lock(&table).total() > 500);
        let second = start(config.clone(), &table);
        until("both have partitions", || first.handle.stats().assigned == 3 && second.handle.stats().assigned == 3);
        until("all rows", || lock(&table).total() == all);
        assert!(!first.seen().revoked.is_empty(), "handed over in order");
        assert!(first.seen().lost.is_empty());

        let all = feed(500);
        until("all rows of two", || lock(&table).total() == all);

        second.stop().unwrap();
        until("the first has all", || first.handle.stats().assigned == 6);
        let all = feed(500);
        until("all rows of one", || lock(&table).total() == all);
        first.stop().unwrap();

        let table = lock(&table);
        table.assert_nothing_twice();
        assert_eq!(table.fenced, 0, "no overlap, so nothing was refused");
    }
}

/// librdkafka pauses all partitions during a rebalance, and after that goes on one record too late where it stood at the
/// end of a partition.
#[test]
fn a_rebalance_at_the_end_of_the_log_skips_nothing() {
    for cluster in clusters() {
        let topic = cluster.topic(4);
        let feeder = cluster.producer();
        let feed = |from: i64| (0..4).for_each(|p| feeder.numbers(&topic, p, from, 10));
        feed(0);
        let table = Shared::default();
        let config = config(&cluster, &topic);
        let first = start(config.clone(), &table);
        until("all rows", || lock(&table).total() == 40);
        // the ends of the partitions are reported a moment later
        let read = Instant::now();
        until("the ends are known", || read.elapsed() > Duration::from_secs(1));

        first.seen().delay_revoke = true;
        let second = start(config, &table);
        until("the rebalance is under way", || first.seen().revoked.len() == 1);
        feed(10);
        first.seen().delay_revoke = false;
        until("all rows", || lock(&table).total() == 80);
        first.stop().unwrap();
        second.stop().unwrap();
        lock(&table).assert_nothing_twice();
    }
}

#[test]
fn a_rebalance_is_served_while_the_sink_is_stuck() {
    for cluster in clusters() {
        let topic = cluster.topic(4);
        let feeder = cluster.producer();
        for p in 0..4 {
            feeder.numbers(&topic, p, 0, 20_000);
        }
        let table = Shared::default();
        let mut config = config(&cluster, &topic);
        (config.batch_rows, config.revoke_bound) = (500, Duration::from_secs(1));
        let first = start_with(config.clone(), &table, k2_model::Budget::new(1 << 20), 1);
        until("the first reads", || lock(&table).total() > 500);
        first.hold(true);
        until("it is stuck", || first.handle.stats().paused);
        let second = start(config.clone(), &table);
        until("the second got its share", || second.handle.stats().assigned == 2);
        assert_eq!(first.handle.stats().assigned, 2);
        first.hold(false);
        // what the first held of the partitions it lost is refused by the table; it asks again
        until("all rows", || lock(&table).total() == 80_000);
        first.stop().unwrap();
        second.stop().unwrap();
        lock(&table).assert_nothing_twice();
    }
}

#[test]
fn a_stop_hands_over_first_and_is_quick() {
    for cluster in clusters() {
        let topic = cluster.topic(2);
        cluster.producer().numbers(&topic, 0, 0, 100);
        let table = Shared::default();
        let running = start(config(&cluster, &topic), &table);
        until("all rows", || lock(&table).total() == 100);
        let seen = std::sync::Arc::clone(&running.seen);
        let began = Instant::now();
        running.stop().unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(lock(&seen).revoked, [vec![0, 1]]);
    }
}

#[test]
fn a_stop_is_bounded_when_the_sink_takes_nothing() {
    let cluster = mock();
    let topic = cluster.topic(1);
    cluster.producer().numbers(&topic, 0, 0, 50_000);
    let table = Shared::default();
    let mut config = config(&cluster, &topic);
    (config.batch_rows, config.revoke_bound) = (500, Duration::from_millis(300));
    let running = start_with(config, &table, k2_model::Budget::new(1 << 20), 1);
    until("it flows", || lock(&table).total() > 500);
    running.hold(true);
    until("it is stuck", || running.handle.stats().paused);
    running.handle.send(k2_model::Command::Stop);
    let began = Instant::now();
    until("the bound passes", || began.elapsed() > Duration::from_secs(4));
    // it has left the group and only waits to say so
    running.hold(false);
    running.ended().unwrap();
}

#[test]
fn a_sink_that_is_gone_ends_the_source() {
    let cluster = mock();
    let topic = cluster.topic(1);
    let (events, received) = tokio::sync::mpsc::channel(1);
    let handle = k2_source::spawn(config(&cluster, &topic), k2_model::Budget::new(1 << 20), events).unwrap();
    drop(received);
    until("the thread ends", || handle.is_finished());
}
