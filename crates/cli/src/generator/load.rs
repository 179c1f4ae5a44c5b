//! `k2 bench-load`: fills a topic with generated trades as fast as the broker takes them, or at a steady rate.
//!
//! For benchmarks, hidden in the help. The markets are shared out among the threads, so ids rise per symbol all the same.

use super::producer::{Ledger, Producer};
use super::{Exchange, TradeGenerator};
use k2_model::{Error, Result, clock};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::types::RDKafkaErrorCode;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What `k2 bench-load` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchLoadArgs {
    /// Bootstrap servers
    #[arg(long, default_value = "localhost:9092")]
    brokers: String,
    /// Topic; by default the exchange's own
    #[arg(long)]
    topic: Option<String>,
    /// Whose trades
    #[arg(long, value_enum, default_value = "binance")]
    exchange: Exchange,
    /// How many records
    #[arg(long)]
    records: u64,
    /// Records per second; without it as fast as possible
    #[arg(long)]
    rate: Option<u64>,
    /// Compression: none, lz4, zstd, snappy or gzip
    #[arg(long, default_value = "lz4")]
    codec: String,
    /// Partitions of the topic, if it has to be made
    #[arg(long, default_value_t = 8)]
    partitions: u16,
    /// Fill all partitions alike, whatever the keys: real symbols leave them uneven
    #[arg(long)]
    even: bool,
    /// Producers at work
    #[arg(long, default_value_t = 2)]
    threads: u8,
    /// One record in so many is bad, in one of many ways; 0: all are good
    #[arg(long, default_value_t = 0)]
    bad_one_in: u64,
    /// The same seed makes the same trades
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the command.
pub(crate) async fn run(args: BenchLoadArgs) -> Result<()> {
    let topic = args.topic.clone().unwrap_or_else(|| format!("market.crypto.trades.{}.raw", args.exchange.name()));
    let partitions = make_topic(&args, &topic).await?;
    let ledger = Ledger::new(&topic, partitions);
    let threads = u64::from(args.threads.max(1));
    let started = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                let share = args.records / threads + u64::from(number < args.records % threads);
                let (args, ledger) = (&args, &ledger);
                scope.spawn(move || produce(args, ledger, number, share))
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| Error::unknown("a producer thread panicked"))??;
        }
        Ok::<(), Error>(())
    })?;
    ledger.check()?;
    let seconds = started.elapsed().as_secs_f64();
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "{} records into {topic} ({partitions} partitions, {}) in {seconds:.2} s: {:.0} records/s",
        ledger.records(),
        args.codec,
        precise(ledger.records()) / seconds,
    );
    Ok(())
}

/// One thread's share.
fn produce(args: &BenchLoadArgs, ledger: &Arc<Ledger>, number: u64, share: u64) -> Result<()> {
    let linger = if args.rate.is_some() { Duration::from_millis(5) } else { Duration::from_millis(50) };
    let producer = Producer::new(&args.brokers, ledger, &args.codec, linger)?;
    let threads = usize::from(args.threads.max(1));
    let shard = usize::try_from(number).unwrap_or_default();
    let mut trades = TradeGenerator::sharded(args.exchange, args.seed, shard, threads);
    trades.spoil(args.bad_one_in);
    let mut pace = args.rate.map(|rate| Pace::new(precise(rate) / f64::from(args.threads.max(1))));
    let mut value = Vec::with_capacity(256);
    // with --even: a burst into each partition in turn, each thread starting at another one
    let mut in_turn = args.even.then(|| (0..ledger.partitions().len()).cycle().skip(shard));
    let mut left = share;
    while left > 0 {
        let burst = pace.as_mut().map_or(1_000, Pace::due).min(left);
        if burst == 0 {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        trades.set_clock(clock::now_micros());
        let partition = in_turn.as_mut().and_then(Iterator::next).and_then(|p| i32::try_from(p).ok());
        for _ in 0..burst {
            value.clear();
            let record = trades.next(&mut value);
            producer.send(partition, record.key, record.value(&value))?;
        }
        left -= burst;
    }
    producer.flush(Duration::from_secs(120))
}

/// An open-loop schedule: how many records are due by now, whatever was slow before.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    from: Instant,
    handed_out: u64,
}

impl Pace {
    /// Starts now.
    pub(crate) fn new(per_second: f64) -> Self {
        Self { per_second, from: Instant::now(), handed_out: 0 }
    }

    /// The records that have become due since the last call.
    pub(crate) fn due(&mut self) -> u64 {
        self.due_after(self.from.elapsed())
    }

    /// Forgets what has become due and goes on from here: for a producer that was held back on purpose.
    pub(crate) fn skip(&mut self) {
        self.due();
    }

    fn due_after(&mut self, elapsed: Duration) -> u64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "float to int saturates")]
        let total = (elapsed.as_secs_f64() * self.per_second) as u64;
        let due = total.saturating_sub(self.handed_out);
        self.handed_out += due;
        due
    }
}

/// Makes the topic if it is missing; says how many partitions it has.
async fn make_topic(args: &BenchLoadArgs, topic: &str) -> Result<usize> {
    let failed = |what: &str, cause: String| {
        Error::unknown(format!("{what}: {cause}")).at(format!("topic {topic}")).at(format!("brokers {}", args.brokers))
    };
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &args.brokers)
        .create()
        .map_err(|e| failed("cannot make a Kafka client", e.to_string()))?;
    let new = NewTopic::new(topic, i32::from(args.partitions), TopicReplication::Fixed(1));
    let made = admin
        .create_topics([&new], &AdminOptions::new().operation_timeout(Some(Duration::from_secs(30))))
        .await
        .map_err(|e| failed("cannot make the topic", e.to_string()))?;
    for result in made {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(failed("cannot make the topic", code.to_string())),
        }
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        // a fresh topic shows up in the metadata a moment later
        let known = admin
            .inner()
            .fetch_metadata(Some(topic), Duration::from_secs(10))
            .map_err(|e| failed("cannot read the topic's metadata", e.to_string()))?;
        match known.topics().first().map(|t| t.partitions().len()) {
            Some(partitions) if partitions > 0 => return Ok(partitions),
            _ if Instant::now() > deadline => return Err(failed("the topic has no partitions", "after 30 s".into())),
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn precise(count: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "for display and pacing; exact below 2^53")]
    let count = count as f64;
    count
}

#[cfg(test)]
#[path = "load/tests.rs"]
mod tests;
