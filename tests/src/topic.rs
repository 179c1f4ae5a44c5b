//! Topics of a test's own on the real broker.

mod identity;

use crate::wait::wait_for;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the broker may take for an administrative request to show.
const PATIENCE: Duration = Duration::from_secs(30);

/// A topic with a name that no other test has.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// The brokers.
    pub brokers: String,
    partitions: i32,
    configs: BTreeMap<String, String>,
}

impl Topic {
    /// Creates `{prefix}-{unique}` and waits until it can be written to.
    pub async fn create(brokers: &str, prefix: &str, partitions: i32) -> Self {
        Self::create_with(brokers, prefix, partitions, &[]).await
    }

    /// The same with topic configs, such as `("cleanup.policy", "compact")`.
    pub async fn create_with(brokers: &str, prefix: &str, partitions: i32, configs: &[(&str, &str)]) -> Self {
        let topic = Self {
            name: format!("{prefix}-{}", uuid::Uuid::new_v4().simple()),
            brokers: brokers.to_owned(),
            partitions,
            // old event times must not make the broker drop what a test is about to read
            configs: [("retention.ms", "-1")]
                .iter()
                .chain(configs)
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        };
        topic.make().await;
        topic
    }

    /// The number of partitions.
    pub fn partitions(&self) -> i32 {
        self.partitions
    }

    /// A config that the topic was created with.
    pub fn config(&self, key: &str) -> Option<&str> {
        self.configs.get(key).map(String::as_str)
    }

    /// The cluster's id and the topic's, as Kafka prints them.
    pub fn identity(&self) -> (String, String) {
        identity::ask(self.brokers.split(',').next().unwrap(), &self.name)
    }

    /// Deletes the topic and waits until it is gone.
    pub async fn delete(&self) {
        let results = self.admin().delete_topics(&[&self.name], &options()).await.unwrap();
        results.into_iter().for_each(|r| drop(r.unwrap()));
        wait_for(&format!("topic {} to be gone", self.name), PATIENCE, || async {
            (self.visible_partitions() == 0).then_some(())
        })
        .await;
    }

    /// Deletes it and creates it again under the same name: a new topic id, offsets from 0.
    pub async fn recreate(&self) {
        self.delete().await;
        self.make().await;
    }

    /// Adds partitions, up to `total`.
    pub async fn grow(&mut self, total: i32) {
        let wanted = NewPartitions::new(&self.name, usize::try_from(total).unwrap());
        let results = self.admin().create_partitions(&[wanted], &options()).await.unwrap();
        results.into_iter().for_each(|r| drop(r.unwrap()));
        self.partitions = total;
        self.settle().await;
    }

    /// Deletes the records below an offset of a partition, as retention would.
    pub async fn trim(&self, partition: i32, below: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.name, partition, Offset::Offset(below)).unwrap();
        self.admin().delete_records(&offsets, &options()).await.unwrap();
    }

    /// The end offsets as a `read_uncommitted` client sees them, per partition.
    pub fn ends(&self) -> BTreeMap<i32, i64> {
        let client = self.client("k2-test-look");
        (0..self.partitions)
            .map(|p| (p, client.fetch_watermarks(&self.name, p, Duration::from_secs(20)).unwrap().1))
            .collect()
    }

    /// What a group has committed, per partition; nothing where it has committed nothing.
    pub fn committed(&self, group: &str) -> BTreeMap<i32, i64> {
        let mut wanted = TopicPartitionList::new();
        for partition in 0..self.partitions {
            wanted.add_partition(&self.name, partition);
        }
        let found = self.client(group).committed_offsets(wanted, Duration::from_secs(20)).unwrap();
        found
            .elements()
            .iter()
            .filter_map(|e| match e.offset() {
                Offset::Offset(offset) => Some((e.partition(), offset)),
                _ => None,
            })
            .collect()
    }

    async fn make(&self) {
        let mut wanted = NewTopic::new(&self.name, self.partitions, TopicReplication::Fixed(1));
        for (key, value) in &self.configs {
            wanted = wanted.set(key, value);
        }
        let admin = self.admin();
        // a topic of this name may still be on its way out
        wait_for(&format!("topic {} to be made", self.name), PATIENCE, || async {
            admin.create_topics([&wanted], &options()).await.unwrap().into_iter().all(|r| r.is_ok()).then_some(())
        })
        .await;
        self.settle().await;
    }

    async fn settle(&self) {
        let partitions = usize::try_from(self.partitions).unwrap();
        wait_for(&format!("leaders of topic {}", self.name), PATIENCE, || async {
            (self.visible_partitions() == partitions).then_some(())
        })
        .await;
    }

    /// How many partitions of the topic have a leader.
    fn visible_partitions(&self) -> usize {
        let client = self.client("k2-test-look");
        let Ok(metadata) = client.fetch_metadata(Some(&self.name), Duration::from_secs(10)) else { return 0 };
        metadata.topics().iter().flat_map(|t| t.partitions()).filter(|p| p.error().is_none() && p.leader() >= 0).count()
    }

    fn client(&self, group: &str) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .create()
            .unwrap()
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.brokers).create().unwrap()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)))
}
