//! A Kafka producer that keeps a ledger of its delivery reports: what the broker acknowledged, per partition.
//!
//! The ledger is the oracle of `k2 demo`: it knows nothing of tables and of K2's offsets.

use k2_model::{Error, Result};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What the broker acknowledged of one topic.
#[derive(Debug)]
pub(crate) struct Ledger {
    topic: String,
    partitions: Vec<Delivered>,
    lost: AtomicU64,
    first_error: OnceLock<String>,
}

/// What the broker acknowledged of one partition.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    records: AtomicU64,
    next: AtomicI64,
}

impl Delivered {
    /// The number of records.
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// One past the highest offset.
    pub(crate) fn next_offset(&self) -> i64 {
        self.next.load(Ordering::Relaxed)
    }
}

impl Ledger {
    /// An empty ledger for a topic of so many partitions.
    pub(crate) fn new(topic: &str, partitions: usize) -> Arc<Self> {
        Arc::new(Self {
            topic: topic.to_owned(),
            partitions: (0..partitions).map(|_| Delivered::default()).collect(),
            lost: AtomicU64::new(0),
            first_error: OnceLock::new(),
        })
    }

    /// The topic.
    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    /// Per partition, by number.
    pub(crate) fn partitions(&self) -> &[Delivered] {
        &self.partitions
    }

    /// All records acknowledged.
    pub(crate) fn records(&self) -> u64 {
        self.partitions.iter().map(Delivered::records).sum()
    }

    /// Fails if the broker refused a record, or if a report named a partition that the topic should not have.
    pub(crate) fn check(&self) -> Result<()> {
        match (self.lost.load(Ordering::Relaxed), self.first_error.get()) {
            (0, _) => Ok(()),
            (lost, cause) => Err(Error::unknown(format!(
                "{lost} records were not acknowledged by the broker: {}",
                cause.map_or("cause unknown", String::as_str)
            ))
            .at(format!("topic {}", self.topic))),
        }
    }

    pub(crate) fn acknowledged(&self, partition: i32, offset: i64) {
        match usize::try_from(partition).ok().and_then(|p| self.partitions.get(p)) {
            Some(delivered) => {
                delivered.records.fetch_add(1, Ordering::Relaxed);
                delivered.next.fetch_max(offset + 1, Ordering::Relaxed);
            }
            None => self.failed(format!("a report for partition {partition}, which the topic should not have")),
        }
    }

    fn failed(&self, cause: String) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        let _ = self.first_error.set(cause);
    }
}

/// Writes delivery reports into the ledger. librdkafka calls it on the producer's own poll thread.
struct Reports(Arc<Ledger>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        match report {
            Ok(message) => self.0.acknowledged(message.partition(), message.offset()),
            Err((cause, _)) => self.0.failed(cause.to_string()),
        }
    }
}

/// An idempotent producer into one topic.
pub(crate) struct Producer {
    topic: String,
    client: ThreadedProducer<Reports>,
}

impl Producer {
    /// Connects in the background; `linger` is how long a batch may wait to fill.
    pub(crate) fn new(brokers: &str, ledger: &Arc<Ledger>, codec: &str, linger: Duration) -> Result<Self> {
        let client = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", "k2-generator")
            .set("enable.idempotence", "true")
            .set("compression.type", codec)
            .set("linger.ms", linger.as_millis().to_string())
            .set("batch.size", "1000000")
            .set("batch.num.messages", "50000")
            .set("queue.buffering.max.messages", "500000")
            .set("queue.buffering.max.kbytes", "131072")
            // the hash of the Java client, so that keys land where a Java feed handler would put them
            .set("partitioner", "murmur2_random")
            .create_with_context(Reports(Arc::clone(ledger)))
            .map_err(|e| Error::config("cannot make a Kafka producer").at(brokers).caused_by(e))?;
        Ok(Self { topic: ledger.topic().to_owned(), client })
    }

    /// Hands a record to librdkafka, which copies it; waits while its queue is full. No partition: the key decides.
    /// No value: a tombstone.
    pub(crate) fn send(&self, partition: Option<i32>, key: &str, value: Option<&[u8]>) -> Result<()> {
        let mut record: BaseRecord<'_, str, [u8]> = BaseRecord::to(&self.topic).key(key);
        record.payload = value;
        record.partition = partition;
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                    record = refused;
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err((cause, _)) => {
                    return Err(Error::unknown("cannot produce").at(format!("topic {}", self.topic)).caused_by(cause));
                }
            }
        }
    }

    /// Waits until everything sent is reported.
    pub(crate) fn flush(&self, deadline: Duration) -> Result<()> {
        self.client.flush(deadline).map_err(|e| {
            Error::unknown("records sent were not acknowledged in time")
                .at(format!("topic {}", self.topic))
                .caused_by(e)
        })
    }
}
