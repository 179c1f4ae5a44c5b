//! What a source is told: topic, group, sizes, and the user's librdkafka properties.
//!
//! The user may set any property but those that correctness rests on; these are refused with the reason.

use crate::native;
use k2_model::{Error, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// Where a partition starts that the table has no position for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the first record that Kafka still has.
    #[default]
    Earliest,
    /// At the end, as it is when the partition is assigned.
    Latest,
}

/// How to reach a cluster.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ClientSettings {
    /// Bootstrap servers, `host:port,…`.
    pub brokers: String,
    /// The user's librdkafka properties. May hold secrets, so `Debug` shows the keys only.
    pub properties: BTreeMap<String, String>,
}

impl std::fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self.properties.keys().collect();
        f.debug_struct("ClientSettings").field("brokers", &self.brokers).field("properties", &keys).finish()
    }
}

/// What a source reads, and how.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// The topic.
    pub topic: String,
    /// The consumer group; fixed, it names the position in the table too.
    pub group: String,
    /// The cluster.
    pub client: ClientSettings,
    /// Where a partition starts that the table has no position for.
    pub start: Start,
    /// A batch is sent when it has so many rows, …
    pub batch_rows: usize,
    /// … or so many bytes of records, …
    pub batch_bytes: u64,
    /// … or its oldest row has waited so long. Sooner when nothing more has arrived and the sink is idle.
    pub linger: Duration,
    /// What a batch takes from the budget, in percent of its raw bytes; at least 100. More where a later stage makes more
    /// of the records before they are encoded, since only the source takes from the budget.
    pub budget_percent: u32,
    /// What librdkafka may prefetch for this consumer. The engine reserves it from the budget.
    pub prefetch_bytes: u64,
    /// At most so many records per second and partition.
    pub rate_limit: Option<u32>,
    /// Report [`CaughtUp`](k2_model::Event::CaughtUp) at the end offsets that the partitions had when first assigned.
    pub until_caught_up: bool,
    /// How long a revocation waits for the sink.
    pub revoke_bound: Duration,
}

impl SourceConfig {
    /// A topic, read by a group, with the defaults for everything else.
    pub fn new(topic: impl Into<String>, group: impl Into<String>, client: ClientSettings) -> Self {
        Self {
            topic: topic.into(),
            group: group.into(),
            client,
            start: Start::Earliest,
            batch_rows: 16_384,
            batch_bytes: 4 << 20,
            budget_percent: 100,
            linger: Duration::from_millis(50),
            prefetch_bytes: 32 << 20,
            rate_limit: None,
            until_caught_up: false,
            revoke_bound: Duration::from_secs(10),
        }
    }
}

/// Properties that K2 sets itself, because a promise rests on them, and why.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "set `kafka.brokers` instead"),
    ("metadata.broker.list", "set `kafka.brokers` instead"),
    ("group.id", "each pipeline has its own fixed `group`"),
    ("group.protocol", "librdkafka is not ready for the new protocol; a rebalance could lose its order"),
    ("group.remote.assignor", "it belongs to the new group protocol, which K2 does not use"),
    (
        "partition.assignment.strategy",
        "partitions move cooperatively; another strategy stops all of them at each rebalance",
    ),
    ("enable.auto.commit", "the table holds the position; an offset that Kafka commits by itself could be ahead of it"),
    ("auto.commit.enable", "the table holds the position; an offset that Kafka commits by itself could be ahead of it"),
    ("auto.commit.interval.ms", "the table holds the position; Kafka commits nothing by itself"),
    ("enable.auto.offset.store", "the table holds the position; Kafka stores nothing by itself"),
    ("offset.store.method", "the table holds the position; Kafka stores nothing by itself"),
    ("offset.store.path", "the table holds the position; Kafka stores nothing by itself"),
    ("auto.offset.reset", "a position outside of the log must halt, never skip records; see `start` of the pipeline"),
    ("isolation.level", "records of aborted transactions must not reach a table"),
    ("check.crcs", "a record that was damaged on the way must not reach a table"),
    ("enable.partition.eof", "the position moves past control records by it"),
    ("allow.auto.create.topics", "a mistyped topic must be an error, not a new topic"),
    ("queued.max.messages.kbytes", "memory has one budget: set `memory.budget`"),
    ("api.version.request", "topics are read by their id, so that one that is created again is noticed; it takes this"),
    ("broker.version.fallback", "topics are read by their id, which none of the versions it can name knows"),
    ("log.queue", "K2 logs what librdkafka says"),
    ("log_level", "K2 logs what librdkafka says; choose what to see with the log filter"),
    ("test.mock.num.brokers", "it would replace the cluster by a mock"),
    ("plugin.library.paths", "foreign code in the process could break every promise"),
];

/// Why K2 does not let the user set this property; none if it does.
pub fn refused_property(key: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(name, _)| *name == key).map(|(_, why)| *why)
}

/// Checks one of the user's properties: not refused, known to librdkafka, and with a value that it takes.
pub fn validate_property(key: &str, value: &str) -> Result<()> {
    if let Some(why) = refused_property(key) {
        return Err(Error::config(format!("the Kafka property {key} cannot be set"))
            .fix(format!("remove it: {why}"))
            .at("kafka.properties"));
    }
    native::check_property(key, value).map_err(|failure| {
        Error::config(format!("librdkafka does not take the property {key}"))
            .caused_by(failure)
            .fix("see librdkafka's CONFIGURATION.md for its properties and their values")
            .at("kafka.properties")
    })?;
    if key == REFRESH && value.trim().parse().is_ok_and(|ms: i64| (0..REFRESH_LEAST).contains(&ms)) {
        return Err(Error::config(format!("the Kafka property {key} = {value} would starve reading"))
            .fix(format!(
                "set it to {REFRESH_LEAST} or more: after each such answer K2 makes sure that the topic is still the same, and \
                 reads on from its own position"
            ))
            .at("kafka.properties"));
    }
    Ok(())
}

/// Each of these answers costs what has been fetched ahead (docs/adr/0008).
const REFRESH: &str = "topic.metadata.refresh.interval.ms";
/// Milliseconds; at a tenth of it nothing is read any more.
const REFRESH_LEAST: i64 = 500;

fn pairs(list: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>().into_iter()
}

/// What every client of ours has in common: defaults, the user's properties, and what cannot be changed.
fn common(settings: &ClientSettings, client_id: &str, defaults: &[(&str, String)]) -> Result<Vec<(String, String)>> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    all.insert("client.id".into(), client_id.to_owned());
    all.extend(pairs(&[
        ("socket.timeout.ms", "40000"),
        ("socket.keepalive.enable", "true"),
        ("socket.nagle.disable", "true"),
        ("broker.address.ttl", "10000"),
        ("reconnect.backoff.ms", "50"),
        ("reconnect.backoff.max.ms", "2000"),
    ]));
    all.extend(defaults.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
    for (key, value) in &settings.properties {
        validate_property(key, value)?;
        all.insert(key.clone(), value.clone());
    }
    all.insert("bootstrap.servers".into(), settings.brokers.clone());
    all.insert("log_level".into(), "6".into());
    all.insert("allow.auto.create.topics".into(), "false".into());
    Ok(all.into_iter().collect())
}

/// What makes reading safe, for members and standalone readers alike.
const SAFE_READING: &[(&str, &str)] = &[
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    ("enable.partition.eof", "true"),
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
];

/// How much is fetched, so that `prefetch` bounds the memory it takes. librdkafka counts payloads only, and keeps some
/// 300 bytes of its own per queued record, so small records (trades have about 100 bytes) take four times what it counts;
/// a response comes on top, compressed and unpacked.
fn fetching(prefetch: u64, rate_limit: Option<u32>) -> Vec<(&'static str, String)> {
    let prefetch = prefetch.max(1 << 20);
    let response = (prefetch / 8).clamp(1 << 20, 50 << 20);
    let queued = (prefetch / 6).max(1 << 20) / 1024;
    // a partition that is held back loses its prefetch, so a slow one should not prefetch much
    let (messages, partition) = match rate_limit {
        Some(rate) => (u64::from(rate).clamp(100, 1_000_000), 64 << 10),
        None => (1_000_000, 1 << 20),
    };
    vec![
        ("queued.max.messages.kbytes", queued.to_string()),
        ("queued.min.messages", messages.to_string()),
        ("fetch.max.bytes", response.to_string()),
        ("fetch.message.max.bytes", partition.min(response).to_string()),
        // at a steady trickle a few answers a second, not one per record: that is most of the CPU there
        ("fetch.min.bytes", "65536".to_owned()),
        // librdkafka has one fetch under way per broker: a long wait at the end of one partition holds up the others
        ("fetch.wait.max.ms", "100".to_owned()),
        ("fetch.queue.backoff.ms", "5".to_owned()),
        ("fetch.error.backoff.ms", "100".to_owned()),
    ]
}

/// The properties of a group member.
pub(crate) fn member_properties(config: &SourceConfig) -> Result<Vec<(String, String)>> {
    let mut defaults = fetching(config.prefetch_bytes, config.rate_limit);
    defaults.extend([
        ("session.timeout.ms", "30000".to_owned()),
        ("heartbeat.interval.ms", "3000".to_owned()),
        ("statistics.interval.ms", "0".to_owned()),
        ("topic.metadata.refresh.interval.ms", "60000".to_owned()),
    ]);
    let mut all = common(&config.client, &format!("k2-{}", config.group), &defaults)?;
    all.extend(pairs(SAFE_READING));
    all.extend(pairs(&[("group.protocol", "classic"), ("partition.assignment.strategy", "cooperative-sticky")]));
    all.push(("group.id".into(), config.group.clone()));
    Ok(all)
}

/// The properties of a client that only asks.
pub(crate) fn admin_properties(settings: &ClientSettings, client_id: &str) -> Result<Vec<(String, String)>> {
    let mut all = common(settings, client_id, &[])?;
    // a static member id belongs to the pipeline's consumer
    all.retain(|(key, _)| key != "group.instance.id");
    Ok(all)
}

/// The properties of a reader without a group.
pub(crate) fn reader_properties(
    settings: &ClientSettings,
    client_id: &str,
    prefetch: u64,
) -> Result<Vec<(String, String)>> {
    let mut all = common(settings, client_id, &fetching(prefetch, None))?;
    all.retain(|(key, _)| key != "group.instance.id");
    all.extend(pairs(SAFE_READING));
    Ok(all)
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
