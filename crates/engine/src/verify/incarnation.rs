//! Which incarnation of a topic a row of silver or of the DLQ belongs to: the one that its `message_id` recomputes for.
//!
//! `message_id` is UUIDv5 of `{cluster id}/{topic id}/{partition}/{offset}` (contracts.md). The rows do not tell the topic
//! id, so all that the tables know of are tried, the current one first; a row that fits none is a finding. This is written
//! apart from the code that makes the ids, and on purpose: a checker that shares the mistake sees nothing.
//!
//! 100 million rows cost some seconds of CPU: what comes before the offset is hashed once per partition.

use k2_model::{ClusterId, SourceState};
use sha1::{Digest, Sha1};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::{Uuid, uuid};

/// The namespace of all message ids: UUIDv5 of the URL namespace and "k2:record".
const NAMESPACE: Uuid = uuid!("4aa63622-8c4a-56f0-9c65-d4ee721720cb");

/// One life of a topic, from its creation to its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Incarnation {
    pub(super) cluster: ClusterId,
    pub(super) topic: Arc<str>,
    /// None: the brokers know no topic ids, the name stands in.
    pub(super) topic_id: Option<Arc<str>>,
}

/// All that are known, the likeliest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Incarnations(Vec<Incarnation>);

impl Incarnations {
    pub(super) fn learn(&mut self, cluster: &ClusterId, topic: &str, topic_id: Option<&str>) {
        let one = Incarnation { cluster: cluster.clone(), topic: topic.into(), topic_id: topic_id.map(Into::into) };
        if !self.0.contains(&one) {
            self.0.push(one);
        }
    }

    /// Those that a position speaks of.
    pub(super) fn learn_state(&mut self, state: &SourceState) {
        for (topic, position) in &state.topics {
            self.learn(&state.cluster_id, topic, position.topic_id.as_ref().map(|id| id.as_str()));
        }
    }

    /// An id that rows tell, in any of the clusters that the topic was read from.
    pub(super) fn learn_id(&mut self, topic: &str, topic_id: &str) {
        let mut clusters: Vec<ClusterId> = self.0.iter().map(|i| i.cluster.clone()).collect();
        clusters.dedup();
        for cluster in clusters {
            self.learn(&cluster, topic, Some(topic_id));
        }
    }

    pub(super) fn get(&self, at: usize) -> Option<&Incarnation> {
        self.0.get(at)
    }

    /// How many are known of a topic.
    pub(super) fn of_topic(&self, topic: &str) -> usize {
        self.0.iter().filter(|i| *i.topic == *topic).count()
    }
}

/// Finds the incarnation of row after row.
#[derive(Debug)]
pub(super) struct Matcher {
    known: Incarnations,
    /// By incarnation and partition: the hash of everything before the offset.
    begun: HashMap<(usize, i32), Sha1>,
    /// What fitted the last row.
    last: Option<(usize, i32, Sha1)>,
}

impl Matcher {
    pub(super) fn new(known: Incarnations) -> Self {
        Self { known, begun: HashMap::new(), last: None }
    }

    /// Which incarnation this is a record of, as a place in [`Incarnations`]; none fits: none.
    pub(super) fn find(&mut self, topic: &str, partition: i32, offset: u64, message_id: &str) -> Option<usize> {
        let mut digits = [0; 20];
        let digits = decimal(offset, &mut digits);
        let fits = |begun: &Sha1| is_id(begun, digits, message_id);
        if let Some((at, same, begun)) = &self.last
            && *same == partition
            && self.known.get(*at).is_some_and(|i| *i.topic == *topic)
            && fits(begun)
        {
            return Some(*at);
        }
        for (at, incarnation) in self.known.0.iter().enumerate().filter(|(_, i)| *i.topic == *topic) {
            let begun = self.begun.entry((at, partition)).or_insert_with(|| begin(incarnation, partition));
            if fits(begun) {
                self.last = Some((at, partition, begun.clone()));
                return Some(at);
            }
        }
        None
    }
}

fn begin(incarnation: &Incarnation, partition: i32) -> Sha1 {
    let topic = incarnation.topic_id.as_deref().unwrap_or(&incarnation.topic);
    Sha1::new().chain_update(NAMESPACE.as_bytes()).chain_update(format!("{}/{topic}/{partition}/", incarnation.cluster))
}

fn is_id(begun: &Sha1, digits: &[u8], message_id: &str) -> bool {
    let hash = begun.clone().chain_update(digits).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    let id = uuid::Builder::from_sha1_bytes(bytes).into_uuid();
    *id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == *message_id
}

/// The digits of a number.
fn decimal(mut number: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            return &buffer[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
    use super::*;

    fn id_of(name: &str) -> String {
        Uuid::new_v5(&NAMESPACE, name.as_bytes()).to_string()
    }

    #[test]
    fn ids_are_those_of_the_contract() {
        assert_eq!(NAMESPACE, Uuid::new_v5(&Uuid::NAMESPACE_URL, b"k2:record"));
        let mut known = Incarnations::default();
        let cluster = ClusterId::new("MkU3OEVBNTcwNTJENDM2Qk");
        known.learn(&cluster, "t", Some("AQIDBAUGBwgJCgsMDQ4PEA"));
        known.learn(&cluster, "t", Some("BBBBBBBBBBBBBBBBBBBBBB"));
        known.learn(&cluster, "old.brokers", None);
        assert_eq!(known.of_topic("t"), 2);
        let mut matcher = Matcher::new(known);
        for offset in [0, 9, 10, 12_345_678_901, i64::MAX.unsigned_abs()] {
            let now = id_of(&format!("{cluster}/AQIDBAUGBwgJCgsMDQ4PEA/17/{offset}"));
            let before = id_of(&format!("{cluster}/BBBBBBBBBBBBBBBBBBBBBB/17/{offset}"));
            let named = id_of(&format!("{cluster}/old.brokers/17/{offset}"));
            assert_eq!(matcher.find("t", 17, offset, &now), Some(0));
            assert_eq!(matcher.find("t", 17, offset, &before), Some(1));
            assert_eq!(matcher.find("old.brokers", 17, offset, &named), Some(2));
            // of another record, topic, or in another spelling
            assert_eq!(matcher.find("t", 16, offset, &now), None);
            assert_eq!(matcher.find("t", 17, offset + 1, &now), None);
            assert_eq!(matcher.find("u", 17, offset, &now), None);
            assert_eq!(matcher.find("t", 17, offset, &now.to_uppercase()), None);
            assert_eq!(matcher.find("t", 17, offset, ""), None);
        }
    }

    #[test]
    fn ids_that_rows_tell_are_tried_in_every_cluster() {
        let mut known = Incarnations::default();
        known.learn(&ClusterId::new("a"), "t", Some("now"));
        known.learn(&ClusterId::new("b"), "t", Some("now"));
        known.learn_id("t", "before");
        known.learn_id("t", "now");
        assert_eq!(known.of_topic("t"), 4);
    }
}
