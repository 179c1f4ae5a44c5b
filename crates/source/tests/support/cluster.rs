//! Clusters to read from, and what feeds them.
#![allow(clippy::disallowed_methods, reason = "tests take their servers from the environment")]

use super::{DEADLINE, logs, until};
use k2_source::ClientSettings;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka_sys as sys;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::Duration;

pub enum Cluster {
    Mock(MockCluster<'static, rdkafka::producer::DefaultProducerContext>),
    Real(String),
}

/// The mock cluster of librdkafka.
pub fn mock() -> Cluster {
    logs();
    Cluster::Mock(MockCluster::new(1).unwrap())
}

/// The real broker that `K2_TEST_KAFKA` names, if it does.
pub fn real() -> Option<Cluster> {
    logs();
    match std::env::var("K2_TEST_KAFKA") {
        Ok(brokers) => Some(Cluster::Real(brokers)),
        Err(_) => {
            println!("skipped: K2_TEST_KAFKA names no broker");
            None
        }
    }
}

/// Both, where there are both.
pub fn clusters() -> Vec<Cluster> {
    std::iter::once(mock()).chain(real()).collect()
}

impl Cluster {
    pub fn brokers(&self) -> String {
        match self {
            Self::Mock(mock) => mock.bootstrap_servers(),
            Self::Real(brokers) => brokers.clone(),
        }
    }

    pub fn settings(&self) -> ClientSettings {
        ClientSettings { brokers: self.brokers(), properties: BTreeMap::new() }
    }

    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers());
        config
    }

    /// The mock itself, to make it misbehave.
    pub fn misbehave(&self) -> &MockCluster<'static, rdkafka::producer::DefaultProducerContext> {
        match self {
            Self::Mock(mock) => mock,
            Self::Real(_) => panic!("a real broker does as it likes"),
        }
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// A new topic with a name of its own.
    pub fn topic(&self, partitions: i32) -> String {
        let name = format!("t-{}", uuid::Uuid::new_v4().simple());
        self.create(&name, partitions, &[]);
        name
    }

    pub fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        match self {
            Self::Mock(mock) => mock.create_topic(name, partitions, 1).unwrap(),
            Self::Real(_) => {
                let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
                for (key, value) in settings {
                    topic = topic.set(key, value);
                }
                for result in wait(self.admin().create_topics([&topic], &AdminOptions::new())).unwrap() {
                    result.unwrap();
                }
                let admin = k2_source::Admin::connect(&self.settings(), "test").unwrap();
                until("the topic is there", || admin.partitions(name).is_ok_and(|p| p.len() == partitions as usize));
            }
        }
    }

    pub fn delete(&self, name: &str) {
        for result in wait(self.admin().delete_topics(&[name], &AdminOptions::new())).unwrap() {
            result.unwrap();
        }
    }

    /// Deletes the records below an offset, as retention does.
    pub fn delete_below(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(offset)).unwrap();
        wait(self.admin().delete_records(&list, &AdminOptions::new())).unwrap();
    }

    pub fn producer(&self) -> Feeder {
        Feeder(self.client().set("linger.ms", "1").set("enable.idempotence", "false").create().unwrap())
    }

    pub fn transactional(&self) -> Feeder {
        let id = uuid::Uuid::new_v4().to_string();
        let producer: BaseProducer = self.client().set("linger.ms", "1").set("transactional.id", id).create().unwrap();
        producer.init_transactions(DEADLINE).unwrap();
        Feeder(producer)
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A header as it goes out, byte for byte.
pub type RawHeader<'a> = (&'a [u8], Option<&'a [u8]>);

pub struct Feeder(pub BaseProducer);

impl Feeder {
    pub fn send(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RawHeader<'_>],
    ) {
        let name = CString::new(topic).unwrap();
        loop {
            // SAFETY: all pointers live during the call; MSG_F_COPY (2) copies key and value. The headers are ours until
            // the call succeeds.
            let err = unsafe {
                let list = sys::rd_kafka_headers_new(headers.len());
                for (key, value) in headers {
                    let (at, len) = value.map_or((std::ptr::null(), 0), |v| (v.as_ptr(), v.len()));
                    sys::rd_kafka_header_add(list, key.as_ptr().cast(), key.len() as isize, at.cast(), len as isize);
                }
                let part = |b: Option<&[u8]>| b.map_or((std::ptr::null(), 0), |b| (b.as_ptr(), b.len()));
                let ((key, key_len), (value, value_len)) = (part(key), part(value));
                use sys::rd_kafka_vtype_t as v;
                let err = sys::rd_kafka_producev(
                    self.0.client().native_ptr(),
                    v::RD_KAFKA_VTYPE_TOPIC,
                    name.as_ptr(),
                    v::RD_KAFKA_VTYPE_PARTITION,
                    partition,
                    v::RD_KAFKA_VTYPE_MSGFLAGS,
                    2,
                    v::RD_KAFKA_VTYPE_KEY,
                    key,
                    key_len,
                    v::RD_KAFKA_VTYPE_VALUE,
                    value,
                    value_len,
                    v::RD_KAFKA_VTYPE_HEADERS,
                    list,
                    v::RD_KAFKA_VTYPE_END,
                );
                if err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    sys::rd_kafka_headers_destroy(list);
                }
                err
            };
            match err {
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => break,
                sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__QUEUE_FULL => {
                    self.0.poll(Duration::from_millis(5));
                }
                other => panic!("cannot produce: {other:?}"),
            }
        }
    }

    /// `count` records with values `<from>..`, and waits for them.
    pub fn numbers(&self, topic: &str, partition: i32, from: i64, count: i64) {
        for i in from..from + count {
            self.send(topic, partition, Some(b"k"), Some(i.to_string().as_bytes()), &[]);
        }
        self.0.flush(DEADLINE).unwrap();
    }
}
