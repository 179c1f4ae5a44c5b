#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;
use crate::generator::producer::{Ledger, Producer};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;

#[test]
fn kills_fall_into_the_time_of_producing() {
    assert_eq!(kill_times(20), [Duration::from_secs(6), Duration::from_secs(12)]);
    assert_eq!(kill_times(5), [Duration::from_secs(2)]);
}

#[test]
fn the_broker_has_the_topics_and_speaks_kafka() {
    let broker = Broker::start(&PARTS).unwrap();
    let ledger = Ledger::new(PARTS[1].topic, usize::from(PARTS[1].partitions));
    let producer = Producer::new(&broker.address(), &ledger, "lz4", Duration::from_millis(1)).unwrap();
    for number in 0..100 {
        producer.send(None, &format!("key-{number}"), Some(b"value")).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    assert_eq!(ledger.records(), 100);

    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", PARTS[1].group)
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    for part in &PARTS {
        let metadata = consumer.fetch_metadata(Some(part.topic), Duration::from_secs(10)).unwrap();
        assert_eq!(metadata.topics()[0].partitions().len(), usize::from(part.partitions), "{}", part.topic);
    }
    consumer.subscribe(&[PARTS[1].topic]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut got = 0;
    while got < 100 {
        assert!(Instant::now() < deadline, "{got} records");
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            assert_eq!(message.payload(), Some(&b"value"[..]));
            got += 1;
        }
    }
}

/// K2 asks for topic ids; librdkafka sends that to the controller unless it is told another broker.
#[tokio::test]
async fn the_broker_has_a_controller() {
    use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
    let broker = Broker::start(&PARTS).unwrap();
    let admin: AdminClient<rdkafka::client::DefaultClientContext> =
        rdkafka::ClientConfig::new().set("bootstrap.servers", broker.address()).create().unwrap();
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(10)));
    // the mock cluster cannot answer this, but without a controller the question would not even be sent
    let answer = admin.describe_configs([&ResourceSpecifier::Topic(PARTS[0].topic)], &options).await;
    let text = format!("{answer:?}");
    assert!(!text.contains("controller") && !text.contains("TimedOut"), "{text}");
}
