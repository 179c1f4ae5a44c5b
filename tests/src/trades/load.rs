//! Sends trades and keeps the ledger of what the broker took.
//!
//! Partition and offset come from the broker's delivery report; the rest of a ledger's entry is what was meant to be sent.

use super::reference::{self, Limits, Place};
use super::schemas::Ids;
use super::{Exchange, Fate, Maker, TradeRecord};
use crate::Topic;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the broker may take for the last reports.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a topic holds, and who it belongs to.
#[derive(Debug, Clone)]
pub struct TradeLedger {
    /// The exchange.
    pub exchange: Exchange,
    /// The topic's name.
    pub topic: String,
    /// Its id, in Kafka's base64.
    pub topic_id: String,
    /// The cluster's id.
    pub cluster_id: String,
    /// Every record that was delivered, by partition and offset.
    pub records: BTreeMap<(i32, i64), TradeRecord>,
    /// The number of records, told or forgotten.
    pub count: u64,
}

impl TradeLedger {
    /// What must become of the record at a place, under these limits.
    pub fn fate(&self, partition: i32, offset: i64, limits: &Limits) -> Option<Fate> {
        let record = self.records.get(&(partition, offset))?;
        Some(reference::fate(record, &self.place(partition, offset), limits))
    }

    /// Where a record is in Kafka.
    pub fn place(&self, partition: i32, offset: i64) -> Place<'_> {
        let (cluster_id, topic, topic_id) = (&self.cluster_id, &self.topic, &self.topic_id);
        Place { cluster_id, topic, topic_id, partition, offset }
    }

    /// The last offset per partition.
    pub fn last_offsets(&self) -> BTreeMap<i32, i64> {
        self.records.keys().copied().collect()
    }

    /// Adds another ledger of the same topic.
    pub fn merge(&mut self, other: TradeLedger) {
        assert_eq!(self.topic_id, other.topic_id);
        self.records.extend(other.records);
        self.count += other.count;
    }
}

/// What is to be sent.
#[derive(Debug, Clone)]
pub struct TradeLoad {
    topic: Topic,
    exchange: Exchange,
    ids: Ids,
    count: Option<u64>,
    rate: Option<u64>,
    bad: u32,
    days: i64,
    seed: u64,
    forget: bool,
}

impl TradeLoad {
    /// Trades of an exchange to random partitions of a topic, one in twenty bad, until stopped, as fast as it goes.
    pub fn on(topic: &Topic, exchange: Exchange) -> Self {
        Self {
            topic: topic.clone(),
            exchange,
            ids: Ids::of(exchange),
            count: None,
            rate: None,
            bad: 50,
            days: 20,
            seed: 1,
            forget: false,
        }
    }
    /// Under these schema ids.
    #[must_use]
    pub fn ids(mut self, ids: Ids) -> Self {
        self.ids = ids;
        self
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
    /// So many bad ones in a thousand.
    #[must_use]
    pub fn bad(mut self, per_mille: u32) -> Self {
        self.bad = per_mille;
        self
    }
    /// Some of them up to so many days old.
    #[must_use]
    pub fn days(mut self, days: i64) -> Self {
        self.days = days;
        self
    }
    /// Another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
    /// Counts the records only: the ledger of millions would not fit.
    #[must_use]
    pub fn forget(mut self) -> Self {
        self.forget = true;
        self
    }

    /// Sends these records and no others.
    pub async fn send(self, records: Vec<TradeRecord>) -> TradeLedger {
        let count = records.len() as u64;
        let mut records = records.into_iter();
        Self { count: Some(count), ..self }.begin(move |_| records.next().unwrap()).finish().await
    }

    /// Sends all of a counted load.
    pub async fn run(self) -> TradeLedger {
        assert!(self.count.is_some(), "a load without a count never ends: start and stop it");
        self.start().finish().await
    }

    /// Begins, in the background.
    pub fn start(self) -> ProducingTrades {
        let mut maker = Maker::new(self.exchange, self.ids, self.seed);
        (maker.bad, maker.days) = (self.bad, self.days);
        self.begin(move |now_ms| maker.next(now_ms))
    }

    fn begin(self, next: impl FnMut(i64) -> TradeRecord + Send + 'static) -> ProducingTrades {
        let stop = Arc::new(AtomicBool::new(false));
        let delivered = Arc::new(AtomicU64::new(0));
        let thread = {
            let (stop, delivered) = (Arc::clone(&stop), Arc::clone(&delivered));
            std::thread::Builder::new()
                .name(format!("trades {}", self.topic.name))
                .spawn(move || produce(&self, next, &stop, delivered))
                .unwrap()
        };
        ProducingTrades { stop, delivered, thread: Some(thread) }
    }
}

/// A load that is being sent.
#[derive(Debug)]
pub struct ProducingTrades {
    stop: Arc<AtomicBool>,
    delivered: Arc<AtomicU64>,
    thread: Option<JoinHandle<TradeLedger>>,
}

impl ProducingTrades {
    /// Records delivered so far.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Sends no more, waits for the outstanding reports and hands out the ledger.
    pub async fn stop(self) -> TradeLedger {
        self.stop.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Waits for the end of a counted load.
    pub async fn finish(mut self) -> TradeLedger {
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(move || thread.join().expect("the producer failed")).await.unwrap()
    }
}

impl Drop for ProducingTrades {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Reports {
    kept: Mutex<BTreeMap<(i32, i64), TradeRecord>>,
    delivered: Arc<AtomicU64>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    /// The record, where it is to be kept.
    type DeliveryOpaque = Box<Option<TradeRecord>>;

    fn delivery(&self, report: &DeliveryResult<'_>, record: Box<Option<TradeRecord>>) {
        let message = report.as_ref().unwrap_or_else(|(e, _)| panic!("a delivery failed: {e}"));
        if let Some(record) = *record {
            self.kept.lock().unwrap().insert((message.partition(), message.offset()), record);
        }
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }
}

fn produce(
    load: &TradeLoad,
    mut next: impl FnMut(i64) -> TradeRecord,
    stop: &AtomicBool,
    delivered: Arc<AtomicU64>,
) -> TradeLedger {
    let (cluster_id, topic_id) = load.topic.identity();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &load.topic.brokers)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("queue.buffering.max.messages", "200000")
        .set("message.timeout.ms", "120000");
    let producer: ThreadedProducer<Reports> =
        config.create_with_context(Reports { kept: Mutex::default(), delivered }).unwrap();
    let mut partitions = StdRng::seed_from_u64(load.seed);
    let begin = Instant::now();
    let mut count = 0;
    while load.count.is_none_or(|wanted| count < wanted) && !stop.load(Ordering::Relaxed) {
        if let Some(rate) = load.rate {
            // the schedule is kept, not the pause: a stall is made up for
            let due = begin + Duration::from_secs_f64(count as f64 / rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let record = next(now_ms());
        let opaque = Box::new((!load.forget).then(|| record.clone()));
        let partition = partitions.random_range(0..load.topic.partitions());
        let mut sent: BaseRecord<'_, [u8], [u8], Box<Option<TradeRecord>>> =
            BaseRecord::with_opaque_to(&load.topic.name, opaque).partition(partition).timestamp(record.timestamp_ms);
        (sent.key, sent.payload) = (record.key.as_deref(), record.value.as_deref());
        while let Err((e, back)) = producer.send(sent) {
            let full = matches!(e, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
            assert!(full, "cannot send to {}: {e}", load.topic.name);
            sent = back;
            std::thread::sleep(Duration::from_millis(1)); // back-pressure of the local queue
        }
        count += 1;
    }
    producer.flush(PATIENCE).expect("all delivery reports");
    let records = std::mem::take(&mut *producer.context().kept.lock().unwrap());
    TradeLedger { exchange: load.exchange, topic: load.topic.name.clone(), topic_id, cluster_id, records, count }
}

fn now_ms() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "a producer's event time is the wall clock")]
    chrono::Utc::now().timestamp_millis()
}
