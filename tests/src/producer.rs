//! A producer that writes a ledger from its delivery reports.
//!
//! The checksum of a record is taken from what was *meant* to be sent; partition and offset come from the broker's
//! report. So does the timestamp on a topic with `LogAppendTime`, and on no other: after a lost answer the broker
//! reports the retried batch with the batch's largest timestamp. Runs on a thread of its own, beside whatever a test
//! kills meanwhile.

use crate::ledger::Ledger;
use crate::record::{content_crc, record_crc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the records look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A symbol as key, some 100 opaque bytes as value, no headers.
    Trades,
    /// Every shape that Kafka allows: null and empty keys and values, headers that are duplicate, null and empty,
    /// values up to 100 KB.
    Odd,
    /// One odd record in ten.
    Mixed,
}

/// Transactions of a load.
#[derive(Debug, Clone, Copy)]
pub struct Transactions {
    /// Records in each.
    pub every: u64,
    /// Each so many-th transaction is aborted; 0: none.
    pub abort_each: u64,
}

/// What is to be produced.
#[derive(Debug, Clone)]
pub struct Load {
    /// The brokers.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// Its partitions; the records go to them at random.
    pub partitions: i32,
    /// How many records; none: until stopped.
    pub count: Option<u64>,
    /// Records per second; none: as fast as it goes.
    pub rate: Option<u64>,
    /// What they look like.
    pub shape: Shape,
    /// Whether the broker sets the timestamps.
    pub append_time: bool,
    /// In transactions, or not.
    pub transactions: Option<Transactions>,
    /// The seed: the same load with the same seed sends the same records.
    pub seed: u64,
}

impl Load {
    /// Mixed records to a topic, until stopped, as fast as it goes.
    pub fn on(topic: &crate::Topic) -> Self {
        Self {
            brokers: topic.brokers.clone(),
            topic: topic.name.clone(),
            partitions: topic.partitions(),
            count: None,
            rate: None,
            shape: Shape::Mixed,
            append_time: topic.config("message.timestamp.type") == Some("LogAppendTime"),
            transactions: None,
            seed: 1,
        }
    }
    /// So many records in all.
    #[must_use]
    pub fn count(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }
    /// So many a second.
    #[must_use]
    pub fn rate(mut self, per_second: u64) -> Self {
        self.rate = Some(per_second);
        self
    }
    /// What they look like.
    #[must_use]
    pub fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }
    /// In transactions of `every` records, of which each `abort_each`-th is aborted (0: none).
    #[must_use]
    pub fn transactions(mut self, every: u64, abort_each: u64) -> Self {
        self.transactions = Some(Transactions { every, abort_each });
        self
    }
    /// Another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Begins, in the background.
    pub fn start(self) -> Producing {
        let stop = Arc::new(AtomicBool::new(false));
        let delivered = Arc::new(AtomicU64::new(0));
        let thread = {
            let (stop, delivered) = (Arc::clone(&stop), Arc::clone(&delivered));
            std::thread::Builder::new()
                .name(format!("produce {}", self.topic))
                .spawn(move || produce(&self, &stop, delivered))
                .unwrap()
        };
        Producing { stop, delivered, thread: Some(thread) }
    }

    /// Produces all of a counted load and hands out the ledger.
    pub async fn run(self) -> Ledger {
        assert!(self.count.is_some(), "a load without a count never ends: start and stop it");
        self.start().finish().await
    }
}

/// A load that is being produced.
#[derive(Debug)]
pub struct Producing {
    stop: Arc<AtomicBool>,
    delivered: Arc<AtomicU64>,
    thread: Option<JoinHandle<Ledger>>,
}

impl Producing {
    /// Records delivered so far (those of aborted transactions too).
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Sends no more, waits for the outstanding reports and hands out the ledger.
    pub async fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Waits for the end of a counted load.
    pub async fn finish(mut self) -> Ledger {
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join().expect("the producer failed")).await.unwrap()
    }
}

impl Drop for Producing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Delivery reports end here. `open` holds the records of the running transaction, `kept` what is final.
struct Reports {
    kept: Mutex<Ledger>,
    open: Mutex<Vec<(i32, i64, u32)>>,
    transactional: bool,
    append_time: bool,
    delivered: Arc<AtomicU64>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    /// The checksum: of the whole record, or of its content where the broker sets the timestamp.
    type DeliveryOpaque = usize;

    fn delivery(&self, report: &DeliveryResult<'_>, crc: usize) {
        let crc = u32::try_from(crc).unwrap();
        match report {
            Ok(message) => {
                let crc = if self.append_time { record_crc(crc, message.timestamp().to_millis()) } else { crc };
                if self.transactional {
                    self.open.lock().unwrap().push((message.partition(), message.offset(), crc));
                } else {
                    let mut kept = self.kept.lock().unwrap();
                    kept.records.entry(message.partition()).or_default().push((message.offset(), crc));
                }
                self.delivered.fetch_add(1, Ordering::Relaxed);
            }
            Err((e, _)) => {
                println!("a delivery failed: {e}");
                self.kept.lock().unwrap().unsure += 1;
            }
        }
    }
}

impl Reports {
    fn end_transaction(&self, committed: bool) {
        let open = std::mem::take(&mut *self.open.lock().unwrap());
        let mut kept = self.kept.lock().unwrap();
        if committed {
            for (partition, offset, crc) in open {
                kept.records.entry(partition).or_default().push((offset, crc));
            }
        } else {
            kept.aborted += open.len() as u64;
        }
    }
}

fn produce(load: &Load, stop: &AtomicBool, delivered: Arc<AtomicU64>) -> Ledger {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &load.brokers)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "200000")
        .set("message.timeout.ms", "120000");
    if load.transactions.is_some() {
        config.set("transactional.id", format!("{}-{}", load.topic, load.seed)).set("transaction.timeout.ms", "180000");
    }
    let reports = Reports {
        kept: Mutex::new(Ledger::new(&load.topic)),
        open: Mutex::default(),
        transactional: load.transactions.is_some(),
        append_time: load.append_time,
        delivered,
    };
    let producer: ThreadedProducer<Reports> = config.create_with_context(reports).unwrap();
    let patience = Duration::from_secs(120);
    if load.transactions.is_some() {
        producer.init_transactions(patience).unwrap();
        producer.begin_transaction().unwrap();
    }

    let mut records = Records { rng: StdRng::seed_from_u64(load.seed), value: Vec::new() };
    let begin = Instant::now();
    let mut sent = 0;
    while load.count.is_none_or(|count| sent < count) && !stop.load(Ordering::Relaxed) {
        if let Some(rate) = load.rate {
            // the schedule is kept, not the pause: a stall is made up for
            let due = begin + Duration::from_secs_f64(sent as f64 / rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        records.send(&producer, load);
        sent += 1;
        if let Some(t) = load.transactions.filter(|t| sent % t.every == 0) {
            end_transaction(&producer, t.abort_each == 0 || (sent / t.every) % t.abort_each != 0, patience);
            producer.begin_transaction().unwrap();
        }
    }
    if load.transactions.is_some() {
        end_transaction(&producer, true, patience);
    }
    producer.flush(patience).expect("all delivery reports");
    let mut ledger = std::mem::take(&mut *producer.context().kept.lock().unwrap());
    ledger.sort();
    ledger
}

fn end_transaction(producer: &ThreadedProducer<Reports>, commit: bool, patience: Duration) {
    producer.flush(patience).expect("all delivery reports of a transaction");
    loop {
        let ended = if commit { producer.commit_transaction(patience) } else { producer.abort_transaction(patience) };
        match ended {
            Ok(()) => return producer.context().end_transaction(commit),
            Err(KafkaError::Transaction(e)) if e.is_retriable() => {}
            Err(e) => panic!("a transaction cannot be ended: {e}"),
        }
    }
}

/// Makes records, from a seed.
struct Records {
    rng: StdRng,
    value: Vec<u8>,
}

const SYMBOLS: [&str; 6] = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT", "ADAEUR"];

impl Records {
    fn send(&mut self, producer: &ThreadedProducer<Reports>, load: &Load) {
        let odd = match load.shape {
            Shape::Trades => false,
            Shape::Odd => true,
            Shape::Mixed => self.rng.random_ratio(1, 10),
        };
        let partition = self.rng.random_range(0..load.partitions);
        let mut headers = Vec::new();
        let key: Option<&str> = if odd {
            headers = self.odd_headers();
            [None, Some(""), Some("k"), Some(SYMBOLS[0])][self.rng.random_range(0..4)]
        } else {
            Some(SYMBOLS[self.rng.random_range(0..SYMBOLS.len())])
        };
        let length = match (odd, self.rng.random_range(0..8)) {
            (false, _) => self.rng.random_range(90..130),
            (true, 0..4) => self.rng.random_range(1..40),
            (true, 4) => self.rng.random_range(1_000..100_000),
            (true, _) => 0,
        };
        // half random, half of one byte: it compresses about as well as trades do
        self.value.resize(length, b'0');
        self.rng.fill(&mut self.value[..length / 2]);
        let value = if odd && self.rng.random_ratio(1, 4) { None } else { Some(self.value.as_slice()) };

        let headers_given = || headers.iter().map(|(k, v)| (k.as_str(), v.as_deref()));
        let content = content_crc(key.map(str::as_bytes), value, headers_given());
        // half of the odd ones have an event time of their own, in the years 2001 to 2023: brokers refuse the future
        let timestamp = if odd && self.rng.random_ratio(1, 2) {
            self.rng.random_range(1_000_000_000_000..1_700_000_000_000)
        } else {
            now_ms()
        };
        let crc = if load.append_time { content } else { record_crc(content, Some(timestamp)) };
        let mut record: BaseRecord<'_, str, [u8], usize> =
            BaseRecord::with_opaque_to(&load.topic, usize::try_from(crc).unwrap()).partition(partition);
        record.timestamp = Some(timestamp);
        record.key = key;
        record.payload = value;
        if !headers.is_empty() {
            record.headers =
                Some(headers_given().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value })));
        }
        loop {
            match producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(1)); // back-pressure of the local queue
                }
                Err((e, _)) => panic!("cannot send to {}: {e}", load.topic),
            }
        }
    }

    fn odd_headers(&mut self) -> Vec<(String, Option<Vec<u8>>)> {
        let count = self.rng.random_range(0..5);
        (0..count)
            .map(|_| {
                let name = ["trace", "trace", "", "käse"][self.rng.random_range(0..4)].to_owned();
                let value = match self.rng.random_range(0..3) {
                    0 => None,
                    1 => Some(Vec::new()),
                    _ => Some(self.rng.random::<[u8; 12]>().to_vec()),
                };
                (name, value)
            })
            .collect()
    }
}

fn now_ms() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "a producer's event time is the wall clock")]
    chrono::Utc::now().timestamp_millis()
}
