//! The broker of the demo: librdkafka's mock cluster. It speaks Kafka's protocol on a port of 127.0.0.1, with consumer
//! groups, idempotent producers and topic ids; it keeps everything in memory, at most 5 MiB a partition.

use super::{Part, failed};
use k2_model::{Error, Result};
use rdkafka::bindings::{
    rd_kafka_handle_mock_cluster, rd_kafka_mock_broker_add, rd_kafka_mock_group_initial_rebalance_delay_ms,
};
use rdkafka::config::ClientConfig;
use rdkafka::error::IsError as _;
use rdkafka::producer::{BaseProducer, Producer as _};

/// A running broker; it ends when this is dropped.
pub(super) struct Broker {
    // the mock cluster belongs to this client
    client: BaseProducer,
}

/// How long the group waits for more members when the first one joins. Kafka's default is 3 s; one engine is all there is.
const INITIAL_REBALANCE_DELAY_MS: i32 = 200;

/// The mock cluster numbers its brokers from 1, but names broker 0 as its controller. Clients that ask the controller
/// would wait for it in vain, so there is a broker 0 as well.
const CONTROLLER: i32 = 0;

impl Broker {
    /// Starts a broker with the topics of the demo.
    pub(super) fn start(parts: &[Part]) -> Result<Self> {
        let client: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .set("client.id", "k2-demo-broker")
            .create()
            .map_err(|e| failed("cannot start the demo's broker", e))?;
        let broker = Self { client };
        broker.settle()?;
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

    /// What rdkafka's safe wrapper has no call for: a controller, and a quick start of the group.
    #[allow(unsafe_code, reason = "rdkafka's safe wrapper lacks two settings of the mock cluster")]
    fn settle(&self) -> Result<()> {
        // SAFETY: the client lives as long as `self`, and its mock cluster as long as the client; the calls only look at a
        // pointer that librdkafka itself made. The first is served by the cluster's own thread, the second under its lock.
        let added = unsafe {
            let cluster = rd_kafka_handle_mock_cluster(self.client.client().native_ptr());
            if cluster.is_null() {
                return Err(no_cluster());
            }
            rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, INITIAL_REBALANCE_DELAY_MS);
            rd_kafka_mock_broker_add(cluster, CONTROLLER)
        };
        if added.is_error() {
            return Err(failed("the demo's broker has no controller", format!("{added:?}")));
        }
        Ok(())
    }
}

fn no_cluster() -> Error {
    Error::unknown("librdkafka made no mock cluster for the demo")
}
