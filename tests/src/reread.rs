//! An independent reading of a topic: a plain rdkafka consumer, `read_committed`, from the log's start to its end.

use crate::ledger::Ledger;
use crate::record::{content_crc, record_crc};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// Reads all of `topic` that is committed.
pub async fn committed(brokers: &str, topic: &str) -> Ledger {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read(&brokers, &topic)).await.unwrap()
}

fn read(brokers: &str, topic: &str) -> Ledger {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "k2-test-reread")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(20)).unwrap();
    let partitions: Vec<i32> = metadata.topics()[0].partitions().iter().map(|p| p.id()).collect();
    let mut start = TopicPartitionList::new();
    for &partition in &partitions {
        start.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&start).unwrap();

    let mut ledger = Ledger::new(topic);
    let mut open: std::collections::BTreeSet<i32> = partitions.into_iter().collect();
    let mut last_heard = Instant::now();
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(200)) {
            None => assert!(last_heard.elapsed() < Duration::from_secs(30), "topic {topic} cannot be re-read"),
            Some(Ok(message)) => {
                last_heard = Instant::now();
                ledger.records.entry(message.partition()).or_default().push((message.offset(), crc(&message)));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(e)) => println!("re-reading {topic}: {e}"),
        }
    }
    ledger.sort();
    ledger
}

fn crc(message: &BorrowedMessage<'_>) -> u32 {
    let content = match message.headers() {
        None => content_crc(message.key(), message.payload(), std::iter::empty()),
        Some(headers) => content_crc(message.key(), message.payload(), headers.iter().map(|h| (h.key, h.value))),
    };
    record_crc(content, message.timestamp().to_millis())
}
