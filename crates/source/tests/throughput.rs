//! How fast a source is on its own: drains a backlog into a sink that only counts. A measurement, not a promise:
//! `K2_TEST_KAFKA=… K2_BENCH_RECORDS=3000000 cargo test -p k2-source --test throughput -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]
#![allow(
    clippy::disallowed_methods,
    unsafe_code,
    reason = "a measurement reads the environment and the process's usage"
)]

mod support;

use k2_model::{Budget, Command, Event, Partition, StartAt, StartPosition};
use rdkafka::producer::Producer;
use std::time::{Duration, Instant};
use support::*;

fn cpu_seconds() -> f64 {
    // SAFETY: `getrusage` fills the struct; all zero is a valid one.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |t: libc::timeval| Duration::new(t.tv_sec.unsigned_abs(), 0).as_secs_f64() + t.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// The most memory that the process has had, in MiB.
fn peak_memory() -> i64 {
    // SAFETY: as above.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage.ru_maxrss / 1024
    }
}

/// A topic with a backlog.
fn fill(cluster: &Cluster) -> String {
    let records: i64 = std::env::var("K2_BENCH_RECORDS").ok().and_then(|v| v.parse().ok()).unwrap_or(1_000_000);
    let topic = cluster.topic(8);
    let feeder = Feeder(
        cluster
            .client()
            .set("linger.ms", "20")
            .set("compression.type", "lz4")
            .set("batch.size", "500000")
            .create()
            .unwrap(),
    );
    let value = [b'v'; 118];
    for i in 0..records {
        let partition = i32::try_from(i % 8).unwrap();
        feeder.send(&topic, partition, Some(b"BTCUSDT"), Some(&value[..110 + usize::try_from(i % 9).unwrap()]), &[]);
        if i % 10_000 == 0 {
            feeder.0.poll(Duration::ZERO);
        }
    }
    feeder.0.flush(DEADLINE).unwrap();
    println!("filled {topic}");
    topic
}

#[test]
#[ignore = "a measurement"]
fn drain() {
    let Some(cluster) = real() else { return };
    let topic = std::env::var("K2_BENCH_TOPIC").unwrap_or_else(|_| fill(&cluster));
    let mut config = config(&cluster, &topic);
    (config.until_caught_up, config.prefetch_bytes) = (true, 32 << 20);
    if let Ok(wait) = std::env::var("K2_BENCH_WAIT") {
        config.client.properties.insert("fetch.wait.max.ms".into(), wait);
    }
    let (events, mut received) = tokio::sync::mpsc::channel(8);
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let handle = k2_source::spawn(config, Budget::new(128 << 20), events).unwrap();
    let (mut rows, mut batches, mut first) = (0, 0, None);
    while let Some(event) = received.blocking_recv() {
        match event {
            Event::Batch(batch) => {
                first.get_or_insert_with(Instant::now);
                rows += batch.records.num_rows();
                batches += 1;
            }
            Event::Assign { partitions, reply, .. } => {
                let unset = |p: &Partition| StartPosition { partition: *p, at: StartAt::Unset };
                reply.send(Ok(partitions.iter().map(unset).collect())).unwrap();
            }
            Event::CaughtUp => break,
            _ => {}
        }
    }
    let (all, flowing) = (began.elapsed().as_secs_f64(), first.unwrap().elapsed().as_secs_f64());
    println!(
        "{rows} records in {batches} batches, {all:.2} s from start, {flowing:.2} s from the first batch: {:.0} records/s; \
         {:.2} s of CPU: {:.0} records per CPU-second; peak memory {} MiB",
        rows as f64 / flowing,
        cpu_seconds() - cpu,
        rows as f64 / (cpu_seconds() - cpu),
        peak_memory(),
    );
    handle.send(Command::Stop);
    while let Some(event) = received.blocking_recv() {
        if let Event::Revoke { reply, .. } = event {
            let _ = reply.send(());
        }
    }
}

/// What a source costs that has nothing to do.
#[test]
#[ignore = "a measurement"]
fn idle() {
    let Some(cluster) = real() else { return };
    let topic = cluster.topic(8);
    let table = Shared::default();
    let mut config = config(&cluster, &topic);
    if let Ok(wait) = std::env::var("K2_BENCH_WAIT") {
        config.client.properties.insert("fetch.wait.max.ms".into(), wait);
    }
    let running = start(config, &table);
    until("assigned", || running.handle.stats().assigned == 8);
    let (began, cpu) = (Instant::now(), cpu_seconds());
    while began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("idle: {:.2} % of a core", (cpu_seconds() - cpu) * 10.0);
    running.stop().unwrap();
}
