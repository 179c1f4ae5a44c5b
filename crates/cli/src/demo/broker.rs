//! The broker of the demo: librdkafka's mock cluster. It speaks Kafka's protocol on a port of 127.0.0.1, with consumer
//! groups, idempotent producers and topic ids; it keeps everything in memory, at most 5 MiB a partition.

use super::{Part, failed};
use k2_model::{Error, Result};
use rdkafka::bindings::{rd_kafka_handle_mock_cluster, rd_kafka_mock_group_initial_rebalance_delay_ms};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer as _};

/// A running broker; it ends when this is dropped.
pub(super) struct Broker {
    // the mock cluster belongs to this client
    client: BaseProducer,
}

/// How long the group waits for more members when the first one joins. Kafka's default is 3 s; one engine is all there is.
const INITIAL_REBALANCE_DELAY_MS: i32 = 200;

impl Broker {
    /// Starts a broker with the topics of the demo.
    pub(super) fn start(parts: &[Part]) -> Result<Self> {
        let client: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .set("client.id", "k2-demo-broker")
            .create()
            .map_err(|e| failed("cannot start the demo's broker", e))?;
        let broker = Self { client };
        broker.shorten_the_first_rebalance();
        for part in parts {
            broker
                .client
                .client()
                .mock_cluster()
                .ok_or_else(no_cluster)?
                .create_topic(part.topic, i32::from(part.partitions), 1)
                .map_err(|e| failed("cannot make a topic in the demo's broker", e).at(part.topic))?;
        }
        if broker.address().is_empty() {
            return Err(no_cluster());
        }
        Ok(broker)
    }

    /// Its bootstrap server; empty if it is not there.
    pub(super) fn address(&self) -> String {
        self.client.client().mock_cluster().map(|cluster| cluster.bootstrap_servers()).unwrap_or_default()
    }

    #[allow(unsafe_code, reason = "rdkafka's safe wrapper lacks this one setting of the mock cluster")]
    fn shorten_the_first_rebalance(&self) {
        // SAFETY: the client lives as long as `self`, and its mock cluster as long as the client; both calls only look at
        // a pointer that librdkafka itself made. The setting is stored under the cluster's own lock.
        unsafe {
            let cluster = rd_kafka_handle_mock_cluster(self.client.client().native_ptr());
            if !cluster.is_null() {
                rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, INITIAL_REBALANCE_DELAY_MS);
            }
        }
    }
}

fn no_cluster() -> Error {
    Error::unknown("librdkafka made no mock cluster for the demo")
}
