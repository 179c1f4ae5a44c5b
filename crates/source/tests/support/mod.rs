//! A table and a sink that behave as the engine's do, as far as a source can tell, and clusters to read from.
#![allow(
    dead_code,
    unsafe_code,
    unreachable_pub,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs
)]
#![allow(clippy::disallowed_methods, reason = "tests take their servers from the environment")]

mod cluster;

pub use cluster::*;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use k2_model::{
    Budget, Command, Epoch, Error, Event, Fingerprint, NextOffset, Partition, RawBatch, StartAt, StartPosition,
};
use k2_source::{SourceConfig, SourceHandle};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for a condition, and fails with `what` at the deadline.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "deadline passed: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn logs() {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(std::env::var("K2_TEST_LOG").unwrap_or("k2_source=info".into()))
        .with_test_writer()
        .try_init();
}

/// A row as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub partition: i32,
    pub offset: i64,
    pub value: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    pub headers: Option<Vec<(String, Option<Vec<u8>>)>>,
    pub timestamp: Option<i64>,
}

pub fn rows(batch: &RawBatch) -> Vec<Row> {
    let records = &batch.records;
    let bytes = |column: usize, row: usize| {
        let column = records.column(column).as_binary::<i32>();
        column.is_valid(row).then(|| column.value(row).to_vec())
    };
    let headers = |row: usize| {
        let list = records.column(2).as_list::<i32>();
        list.is_valid(row).then(|| {
            let entries = list.value(row);
            let entries = entries.as_struct();
            let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_binary::<i32>());
            (0..entries.len())
                .map(|i| (keys.value(i).to_owned(), values.is_valid(i).then(|| values.value(i).to_vec())))
                .collect()
        })
    };
    let timestamps = records.column(5).as_primitive::<TimestampMicrosecondType>();
    (0..records.num_rows())
        .map(|row| Row {
            partition: records.column(3).as_primitive::<Int32Type>().value(row),
            offset: records.column(4).as_primitive::<Int64Type>().value(row),
            value: bytes(0, row),
            key: bytes(1, row),
            headers: headers(row),
            timestamp: timestamps.is_valid(row).then(|| timestamps.value(row)),
        })
        .collect()
}

/// The table: what is committed, fenced as the gate fences it.
#[derive(Default)]
pub struct Table {
    pub positions: BTreeMap<i32, StartAt>,
    pub rows: Vec<Row>,
    /// Batches that were refused because another writer was faster.
    pub fenced: usize,
}

impl Table {
    pub fn next(&self, partition: i32) -> i64 {
        match self.positions.get(&partition) {
            Some(StartAt::Table { next, .. }) => next.0,
            _ => 0,
        }
    }

    pub fn values(&self) -> Vec<String> {
        self.rows
            .iter()
            .map(|r| String::from_utf8_lossy(r.value.as_deref().unwrap_or(b"(null)")).into_owned())
            .collect()
    }

    pub fn total(&self) -> usize {
        self.rows.len()
    }

    /// Fails if a record is there twice.
    pub fn assert_nothing_twice(&self) {
        let mut seen = BTreeSet::new();
        for row in &self.rows {
            assert!(seen.insert((row.partition, row.offset)), "twice: {}/{}", row.partition, row.offset);
        }
    }
}

pub type Shared = Arc<Mutex<Table>>;

/// What a sink saw, and how it is told to behave.
#[derive(Default)]
pub struct Seen {
    pub assigned: Vec<(Epoch, Vec<i32>)>,
    pub revoked: Vec<Vec<i32>>,
    pub lost: Vec<Vec<i32>>,
    pub caught_up: usize,
    pub batches: usize,
    pub largest: usize,
    /// Bytes of all batches, and what they took from the budget.
    pub bytes: (u64, u64),
    pub ended: Option<Result<(), Error>>,
    /// What the next assignments are answered with, instead of the table's positions.
    pub refuse: Option<Error>,
    /// Revocations are answered when this is unset again.
    pub delay_revoke: bool,
}

/// A source with a sink behind it that commits each batch at once.
pub struct Running {
    pub handle: SourceHandle,
    pub seen: Arc<Mutex<Seen>>,
    pub budget: Budget,
    hold: Arc<AtomicBool>,
    sink: std::thread::JoinHandle<()>,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

pub fn start(config: SourceConfig, table: &Shared) -> Running {
    start_with(config, table, Budget::new(64 << 20), 4)
}

pub fn start_with(config: SourceConfig, table: &Shared, budget: Budget, channel: usize) -> Running {
    let (events, received) = tokio::sync::mpsc::channel(channel);
    let handle = k2_source::spawn(config, budget.clone(), events).unwrap();
    let (seen, hold) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
    let sink = {
        let (seen, hold, table) = (Arc::clone(&seen), Arc::clone(&hold), Arc::clone(table));
        std::thread::spawn(move || sink(received, &seen, &hold, &table))
    };
    Running { handle, seen, budget, hold, sink }
}

fn sink(mut received: tokio::sync::mpsc::Receiver<Event>, seen: &Mutex<Seen>, hold: &AtomicBool, table: &Mutex<Table>) {
    // per partition: the epoch, and where the next span has to begin
    let mut current: BTreeMap<i32, (Epoch, Option<NextOffset>)> = BTreeMap::new();
    loop {
        let Some(event) = received.blocking_recv() else { return };
        match event {
            Event::Batch(batch) => {
                while hold.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                assert!(batch.permit.bytes() > 0, "a batch took nothing from the budget");
                let mut seen = lock(seen);
                seen.batches += 1;
                seen.largest = seen.largest.max(batch.records.num_rows());
                seen.bytes.0 += batch.records.get_array_memory_size() as u64;
                seen.bytes.1 += batch.permit.bytes();
                drop(seen);
                commit(&batch, &mut current, &mut lock(table));
            }
            Event::Assign { epoch, partitions, reply } => {
                let mut seen = lock(seen);
                let listed: Vec<i32> = partitions.iter().map(|p| p.0).collect();
                seen.assigned.push((epoch, listed.clone()));
                let answer = match seen.refuse.take() {
                    Some(error) => Err(error),
                    None => {
                        let table = lock(table);
                        let at = |p: &i32| table.positions.get(p).cloned().unwrap_or(StartAt::Unset);
                        Ok(listed.iter().map(|p| StartPosition { partition: Partition(*p), at: at(p) }).collect())
                    }
                };
                current.extend(listed.iter().map(|p| (*p, (epoch, None))));
                let _ = reply.send(answer);
            }
            Event::Revoke { partitions, reply } => {
                let listed: Vec<i32> = partitions.iter().map(|p| p.0).collect();
                current.retain(|p, _| !listed.contains(p));
                lock(seen).revoked.push(listed);
                until("revocations may be answered", || !lock(seen).delay_revoke);
                let _ = reply.send(());
            }
            Event::Lost { partitions } => {
                let listed: Vec<i32> = partitions.iter().map(|p| p.0).collect();
                current.retain(|p, _| !listed.contains(p));
                lock(seen).lost.push(listed);
            }
            Event::CaughtUp => lock(seen).caught_up += 1,
            Event::Ended(result) => {
                lock(seen).ended = Some(result);
                return;
            }
        }
    }
}

/// Commits a batch, checking what a source promises of it.
fn commit(batch: &RawBatch, current: &mut BTreeMap<i32, (Epoch, Option<NextOffset>)>, table: &mut Table) {
    let all = rows(batch);
    let spanned: BTreeSet<i32> = batch.spans.iter().map(|s| s.partition.0).collect();
    assert!(all.iter().all(|r| spanned.contains(&r.partition)), "a row without a span");
    for span in &batch.spans {
        let p = span.partition.0;
        assert!(span.from < span.to, "an empty span: {span:?}");
        let mine: Vec<_> = all.iter().filter(|r| r.partition == p).collect();
        assert!(mine.windows(2).all(|w| w[0].offset < w[1].offset), "offsets out of order");
        assert!(mine.iter().all(|r| r.offset >= span.from.0 && r.offset < span.to.0), "a row outside of its span");
        let last = mine.last().map(|r| Fingerprint {
            offset: r.offset,
            timestamp_ms: r.timestamp.map_or(-1, |t| t / 1000),
            crc: k2_model::position::fingerprint_crc(r.key.as_deref(), r.value.as_deref()),
        });
        assert_eq!(span.last, last, "the fingerprint is the last row's");
        let Some((epoch, expected)) = current.get_mut(&p) else { continue };
        if span.epoch != *epoch {
            continue;
        }
        if let Some(expected) = expected {
            assert_eq!(*expected, span.from, "spans abut: {span:?}");
        }
        *expected = Some(span.to);
        // the gate
        let position = table.positions.get(&p).cloned().unwrap_or(StartAt::Unset);
        let keep = match position {
            StartAt::Unset => None,
            StartAt::Table { next, .. } if next != span.from => {
                table.fenced += 1;
                continue;
            }
            StartAt::Table { last, .. } => last,
        };
        table.rows.extend(mine.into_iter().cloned());
        table.positions.insert(
            p,
            StartAt::Table {
                topic_id: batch.identity.topic_id.clone(),
                cluster_id: batch.identity.cluster_id.clone(),
                next: span.to,
                leader_epoch: span.leader_epoch,
                last: span.last.or(keep),
            },
        );
    }
}

impl Running {
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// The sink is stuck with a batch while this is set.
    pub fn hold(&self, hold: bool) {
        self.hold.store(hold, Ordering::Relaxed);
    }

    /// Waits until the source ended by itself.
    pub fn ended(self) -> Result<(), Error> {
        until("the source ends", || self.seen().ended.is_some());
        self.sink.join().unwrap();
        assert!(self.handle.join(Instant::now() + DEADLINE), "the thread is over");
        self.seen.lock().unwrap().ended.take().unwrap()
    }

    /// Stops the source in order.
    pub fn stop(self) -> Result<(), Error> {
        self.handle.send(Command::Stop);
        self.ended()
    }
}

pub fn config(cluster: &Cluster, topic: &str) -> SourceConfig {
    let mut config = SourceConfig::new(topic, format!("g-{topic}"), cluster.settings());
    config.linger = Duration::from_millis(20);
    config.prefetch_bytes = 8 << 20;
    if let Ok(debug) = std::env::var("K2_TEST_RDKAFKA_DEBUG") {
        config.client.properties.insert("debug".into(), debug);
    }
    if matches!(cluster, Cluster::Mock(_)) {
        // a mock group that has become empty takes nobody in before this is over
        config.client.properties.insert("session.timeout.ms".into(), "4000".into());
        config.client.properties.insert("heartbeat.interval.ms".into(), "500".into());
    }
    config
}
