//! What is read: every byte, every position, on the mock cluster and, where there is one, on a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod support;

use k2_model::{Budget, Command, NextOffset, Partition, StartAt};
use k2_source::{Admin, Reader, Start};
use rdkafka::producer::Producer;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::*;

#[test]
fn every_byte_is_kept() {
    for cluster in clusters() {
        let topic = cluster.topic(1);
        let feeder = cluster.producer();
        feeder.send(&topic, 0, None, None, &[]);
        feeder.send(&topic, 0, Some(b""), Some(b""), &[]);
        let odd: &[RawHeader<'_>] =
            &[(b"a", Some(b"1")), (b"a", Some(b"1")), (b"a", None), (b"b\xff", Some(b"")), (b"", Some(&[0, 255]))];
        feeder.send(&topic, 0, Some(&[0, 159, 146]), Some(&[0xff; 300]), odd);
        feeder.send(&topic, 0, Some(b"k"), Some(b"v"), &[]);
        feeder.0.flush(DEADLINE).unwrap();

        let table = Shared::default();
        let running = start(config(&cluster, &topic), &table);
        until("all rows", || lock(&table).total() == 4);
        running.stop().unwrap();

        let table = lock(&table);
        let rows = &table.rows;
        let value = |i: usize| (rows[i].key.clone(), rows[i].value.clone());
        assert_eq!(value(0), (None, None));
        assert_eq!(value(1), (Some(vec![]), Some(vec![])));
        assert_eq!(value(2), (Some(vec![0, 159, 146]), Some(vec![0xff; 300])));
        assert_eq!(value(3), (Some(b"k".to_vec()), Some(b"v".to_vec())));
        assert_eq!([&rows[0].headers, &rows[1].headers, &rows[3].headers], [&None, &None, &None]);
        let header = |k: &str, v: Option<&[u8]>| (k.to_owned(), v.map(<[u8]>::to_vec));
        let expected = vec![
            header("a", Some(b"1")),
            header("a", Some(b"1")),
            header("a", None),
            header("b\u{fffd}", Some(b"")),
            header("", Some(&[0, 255])),
        ];
        assert_eq!(rows[2].headers, Some(expected));
        assert!(rows.iter().all(|r| r.timestamp.is_some_and(|t| t > 1_500_000_000_000_000)));
    }
}

#[test]
fn many_records_of_many_partitions_arrive_once_and_in_large_batches() {
    for cluster in clusters() {
        let topic = cluster.topic(5);
        let feeder = cluster.producer();
        for p in 0..5 {
            feeder.numbers(&topic, p, 0, 20_000);
        }
        let table = Shared::default();
        let mut config = config(&cluster, &topic);
        config.until_caught_up = true;
        config.batch_rows = 8_000;
        let running = start(config, &table);
        until("caught up", || running.seen().caught_up == 1);
        assert_eq!(lock(&table).total(), 100_000);
        assert_eq!(running.handle.stats().records, 100_000);
        assert_eq!(running.handle.stats().assigned, 5);
        assert!(running.seen().largest <= 8_000);
        let budget = running.budget.clone();
        running.stop().unwrap();
        let table = lock(&table);
        table.assert_nothing_twice();
        for p in 0..5 {
            assert_eq!(table.next(p), 20_000);
        }
        assert_eq!(budget.used(), 0, "every permit came back");
    }
}

#[test]
fn a_restart_goes_on_where_the_table_is() {
    for cluster in clusters() {
        let topic = cluster.topic(2);
        let feeder = cluster.producer();
        let table = Shared::default();
        for round in 0..3_i64 {
            for p in 0..2 {
                feeder.numbers(&topic, p, round * 100, 100);
            }
            let running = start(config(&cluster, &topic), &table);
            let all = usize::try_from((round + 1) * 200).unwrap();
            until("the rows of this round", || lock(&table).total() == all);
            running.stop().unwrap();
        }
        lock(&table).assert_nothing_twice();
        assert_eq!(lock(&table).fenced, 0);
    }
}

#[test]
fn latest_starts_at_the_end() {
    for cluster in clusters() {
        let topic = cluster.topic(1);
        let feeder = cluster.producer();
        feeder.numbers(&topic, 0, 0, 10);
        let table = Shared::default();
        let mut config = config(&cluster, &topic);
        (config.start, config.until_caught_up) = (Start::Latest, true);
        let running = start(config, &table);
        until("at the end", || running.seen().caught_up == 1);
        feeder.numbers(&topic, 0, 10, 1);
        until("the new row", || lock(&table).total() == 1);
        running.stop().unwrap();
        assert_eq!(lock(&table).values(), ["10"]);
    }
}

#[test]
fn caught_up_is_reported_for_an_empty_topic_and_not_before_the_end() {
    for cluster in clusters() {
        let topic = cluster.topic(3);
        let table = Shared::default();
        let mut config = config(&cluster, &topic);
        config.until_caught_up = true;
        let running = start(config.clone(), &table);
        until("caught up with nothing", || running.seen().caught_up == 1);
        running.stop().unwrap();

        cluster.producer().numbers(&topic, 1, 0, 5_000);
        // the sink takes nothing: not caught up, though all is read
        let running = start_with(config, &table, Budget::new(64 << 20), 1);
        running.hold(true);
        until("all is read", || running.handle.stats().queued > 0 || running.handle.stats().records == 5_000);
        assert_eq!(running.seen().caught_up, 0);
        running.hold(false);
        until("caught up", || running.seen().caught_up == 1);
        assert_eq!(lock(&table).total(), 5_000);
        running.stop().unwrap();
    }
}

#[test]
fn back_pressure_pauses_the_partitions_and_holds_the_budget() {
    for cluster in clusters() {
        let topic = cluster.topic(3);
        let feeder = cluster.producer();
        for p in 0..3 {
            feeder.numbers(&topic, p, 0, 50_000);
        }
        let table = Shared::default();
        let mut config = config(&cluster, &topic);
        (config.batch_rows, config.batch_bytes) = (1_000, 64 << 10);
        let running = start_with(config, &table, Budget::new(512 << 10), 2);
        until("it flows", || lock(&table).total() > 2_000);
        running.hold(true);
        until("it is paused", || running.handle.stats().paused);
        let records = running.handle.stats().records;
        assert!(running.budget.used() <= 512 << 10);
        // polling goes on, but nothing more is taken in
        let wait = Instant::now();
        until("half a second passes", || wait.elapsed() > Duration::from_millis(500));
        assert!(running.handle.stats().records <= records + 8_192);
        running.hold(false);
        until("all rows", || lock(&table).total() == 150_000);
        assert!(!running.handle.stats().paused);
        running.stop().unwrap();
        lock(&table).assert_nothing_twice();
        assert_eq!(lock(&table).fenced, 0);
    }
}

#[test]
fn a_record_larger_than_the_budget_passes() {
    for cluster in clusters() {
        let topic = cluster.topic(1);
        let feeder = cluster.producer();
        feeder.send(&topic, 0, None, Some(&vec![7; 900_000]), &[]);
        feeder.numbers(&topic, 0, 0, 10);
        let table = Shared::default();
        let mut config = config(&cluster, &topic);
        config.batch_bytes = 32 << 10;
        let running = start_with(config, &table, Budget::new(128 << 10), 2);
        until("all rows", || lock(&table).total() == 11);
        running.stop().unwrap();
        assert_eq!(lock(&table).rows[0].value.as_ref().map(Vec::len), Some(900_000));
    }
}

#[test]
fn the_rate_limit_is_kept() {
    for cluster in clusters() {
        let topic = cluster.topic(1);
        cluster.producer().numbers(&topic, 0, 0, 4_000);
        let table = Shared::default();
        let mut config = config(&cluster, &topic);
        config.rate_limit = Some(1_000);
        let running = start(config, &table);
        until("the first row", || lock(&table).total() > 0);
        let began = Instant::now();
        until("all rows", || lock(&table).total() == 4_000);
        // the last thousand need not wait for the end of its second
        assert!(began.elapsed() > Duration::from_millis(1_800), "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        running.stop().unwrap();
        lock(&table).assert_nothing_twice();
    }
}

#[test]
fn a_reassignment_reads_again_from_the_table() {
    for cluster in clusters() {
        let topic = cluster.topic(2);
        let feeder = cluster.producer();
        for p in 0..2 {
            feeder.numbers(&topic, p, 0, 30_000);
        }
        let table = Shared::default();
        let mut config = config(&cluster, &topic);
        config.batch_rows = 500;
        let running = start(config, &table);
        for step in 1..=5 {
            until("it flows", || lock(&table).total() > step * 2_000);
            // another writer has taken the table back a bit
            {
                let mut table = lock(&table);
                for p in 0..2 {
                    let Some(StartAt::Table { next, last, .. }) = table.positions.get_mut(&p) else { continue };
                    let back = NextOffset((next.0 - 700).max(0));
                    (*next, *last) = (back, None);
                    table.rows.retain(|r| r.partition != p || r.offset < back.0);
                }
            }
            running.handle.send(Command::Reassign);
            let epochs = running.seen().assigned.len();
            until("the positions are asked for", || running.seen().assigned.len() > epochs.min(step));
        }
        until("all rows", || lock(&table).total() == 60_000);
        running.stop().unwrap();
        let table = lock(&table);
        table.assert_nothing_twice();
        for p in 0..2 {
            let mut offsets: Vec<_> = table.rows.iter().filter(|r| r.partition == p).map(|r| r.offset).collect();
            offsets.sort_unstable();
            assert!(offsets.iter().copied().eq(0..30_000), "partition {p} has all of its records");
        }
    }
}

#[test]
fn the_group_learns_how_far_the_table_is() {
    for cluster in clusters() {
        let topic = cluster.topic(1);
        cluster.producer().numbers(&topic, 0, 0, 10);
        let table = Shared::default();
        let config = config(&cluster, &topic);
        let running = start(config.clone(), &table);
        until("all rows", || lock(&table).total() == 10);
        running
            .handle
            .send(Command::Committed(BTreeMap::from([(Partition(0), NextOffset(10)), (Partition(9), NextOffset(99))])));
        if let Cluster::Real(_) = cluster {
            let admin = Admin::connect(&cluster.settings(), "test").unwrap();
            until("the group's offset", || {
                admin.group_offsets(&config.group, &topic).unwrap() == BTreeMap::from([(Partition(0), NextOffset(10))])
            });
        }
        running.stop().unwrap();
    }
}

#[test]
fn transactions_show_what_was_committed_and_positions_pass_their_ends() {
    let Some(cluster) = real() else { return };
    let topic = cluster.topic(1);
    let feeder = cluster.transactional();
    for round in 0..6_i64 {
        feeder.0.begin_transaction().unwrap();
        feeder.numbers(&topic, 0, round * 10, 10);
        match round % 2 {
            0 => feeder.0.commit_transaction(DEADLINE).unwrap(),
            _ => feeder.0.abort_transaction(DEADLINE).unwrap(),
        }
    }
    let table = Shared::default();
    let mut config = config(&cluster, &topic);
    config.until_caught_up = true;
    let running = start(config.clone(), &table);
    until("caught up", || running.seen().caught_up == 1);
    // 6 x (10 records and a marker)
    assert_eq!(lock(&table).next(0), 66);
    let expected: Vec<String> = [0, 20, 40].iter().flat_map(|b| (*b..b + 10).map(|i| i.to_string())).collect();
    assert_eq!(lock(&table).values(), expected);
    running.stop().unwrap();

    // a transaction that is open is not seen, and not passed
    feeder.0.begin_transaction().unwrap();
    feeder.numbers(&topic, 0, 60, 10);
    let running = start(config, &table);
    until("caught up again", || running.seen().caught_up == 1);
    assert_eq!(lock(&table).next(0), 66);
    feeder.0.commit_transaction(DEADLINE).unwrap();
    until("the records", || lock(&table).total() == 40 && lock(&table).next(0) == 77);
    running.stop().unwrap();
    lock(&table).assert_nothing_twice();
}

#[test]
fn a_reader_sees_a_range_without_joining_anything() {
    for cluster in clusters() {
        let topic = cluster.topic(2);
        cluster.producer().numbers(&topic, 1, 0, 5_000);
        let reader = Reader::open(&cluster.settings(), "test", &topic, 4 << 20).unwrap();
        for (from, to) in [(0, 5_000), (100, 200), (4_999, 5_000), (7, 7)] {
            let mut offsets = Vec::new();
            reader
                .read(Partition(1), NextOffset(from), NextOffset(to), |record| {
                    assert_eq!(record.value, Some(record.offset.to_string().as_bytes()));
                    assert_eq!((record.key, record.headers().count()), (Some(&b"k"[..]), 0));
                    offsets.push(record.offset);
                    Ok(())
                })
                .unwrap();
            assert!(offsets.iter().copied().eq(from..to));
        }
        let stopped =
            reader.read(Partition(1), NextOffset(0), NextOffset(5_000), |_| Err(k2_model::Error::halt("enough")));
        assert_eq!(stopped.unwrap_err().what(), "enough");
    }
}

#[test]
fn the_admin_side_answers() {
    for cluster in clusters() {
        let topic = cluster.topic(3);
        cluster.producer().numbers(&topic, 2, 0, 7);
        let admin = Admin::connect(&cluster.settings(), "test").unwrap();
        let identity = admin.identity(&topic).unwrap();
        assert_eq!(&*identity.topic, topic);
        assert!(!identity.cluster_id.as_str().is_empty());
        if matches!(cluster, Cluster::Real(_)) {
            assert_eq!(identity.topic_id.as_ref().map(|id| id.as_str().len()), Some(22));
            assert_eq!(admin.brokers().unwrap().len(), 1);
            admin.check_group("a-group-nobody-joined").unwrap();
            assert_eq!(admin.topic_rights(&topic).unwrap().readable, Some(true));
        }
        assert_eq!(admin.partitions(&topic).unwrap(), (0..3).map(Partition).collect::<Vec<_>>());
        let watermarks = admin.watermarks(&topic, Partition(2)).unwrap();
        assert_eq!((watermarks.low, watermarks.end), (NextOffset(0), NextOffset(7)));
    }
}

#[test]
fn a_batch_takes_the_share_of_the_budget_that_later_stages_need() {
    let cluster = mock();
    let topic = cluster.topic(1);
    cluster.producer().numbers(&topic, 0, 0, 20_000);
    for percent in [100, 350] {
        let table = Shared::default();
        let mut config = config(&cluster, &topic);
        config.group = format!("{topic}-{percent}");
        config.budget_percent = percent;
        let running = start(config, &table);
        until("all rows", || lock(&table).total() == 20_000);
        let (bytes, taken) = running.seen().bytes;
        let wanted = bytes * u64::from(percent) / 100;
        // permits are counted in KiB
        let most = wanted + 1024 * running.seen().batches as u64;
        assert!((wanted..=most).contains(&taken), "{percent} % of {bytes} are {wanted}, not {taken}");
        running.stop().unwrap();
    }
}
