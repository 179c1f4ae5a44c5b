//! What Kafka says about a topic and some of its partitions, asked without waiting.
//!
//! The topic is asked for last. Asking for offsets may make librdkafka ask for the topic as well, and an answer of its own
//! between our question and our answer would leave open which id it reads by now (`incarnation`).

use super::watch::Watch;
use crate::native::{Asked, AskedTopic, Client, Failure, OffsetsAsked, Spec, TopicFacts, code};
use crate::start::Log;
use k2_model::{ClusterId, TopicId, TopicIdentity};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A question that is answered in parts.
enum Part<T> {
    Open(Asked<T>),
    Done(Result<T, Failure>),
}

impl<T> Part<T> {
    fn poll(&mut self) -> bool {
        if let Self::Open(asked) = self
            && let Some(answer) = asked.within(Duration::ZERO)
        {
            *self = Self::Done(answer);
        }
        matches!(self, Self::Done(_))
    }

    fn take(self) -> Result<T, Failure> {
        match self {
            Self::Done(answer) => answer,
            Self::Open(_) => Err(Failure::new(code::TIMED_OUT, "no answer yet")),
        }
    }
}

/// Questions under way.
pub(super) struct Survey {
    low: Part<OffsetsAsked>,
    end: Part<OffsetsAsked>,
    topic: Option<AskedTopic>,
    facts: Option<Result<TopicFacts, Failure>>,
}

/// The answers.
pub(super) struct Surveyed {
    pub(super) identity: TopicIdentity,
    pub(super) logs: BTreeMap<i32, Log>,
    /// The answers about topics that had been counted before the topic was asked for.
    pub(super) before: u64,
}

impl Survey {
    pub(super) fn ask(client: &Arc<Client>, topic: &CString, partitions: &[i32]) -> Self {
        Self {
            low: Part::Open(client.ask_offsets(topic, partitions, Spec::Earliest, TIMEOUT)),
            end: Part::Open(client.ask_offsets(topic, partitions, Spec::Latest, TIMEOUT)),
            topic: None,
            facts: None,
        }
    }

    /// Whether all answers are there.
    pub(super) fn poll(&mut self, client: &Arc<Client>, topic: &CString, watch: &mut Watch) -> bool {
        let (low, end) = (self.low.poll(), self.end.poll());
        if !low || !end {
            return false;
        }
        let asked = self.topic.get_or_insert_with(|| client.ask_topic(topic, watch.whom(), TIMEOUT));
        if self.facts.is_none() {
            self.facts = asked.within(Duration::ZERO);
            if let Some(facts) = &self.facts {
                watch.answered(asked.broker, facts.is_ok());
            }
        }
        self.facts.is_some()
    }

    /// The answers, once all are there.
    pub(super) fn read(self, client: &Client, topic: &str) -> Result<Surveyed, Failure> {
        let unasked = || Failure::new(code::TIMED_OUT, "no answer yet");
        let before = self.topic.ok_or_else(unasked)?.before;
        let facts = self.facts.ok_or_else(unasked)??;
        // any answer of a broker told it to librdkafka
        let cluster = client
            .cluster_id(Duration::ZERO)
            .ok_or_else(|| Failure::new(code::TRANSPORT, "the brokers have not told the id of their cluster"))?;
        let ends: BTreeMap<_, _> = self.end.take()?.into_iter().collect();
        let mut logs = BTreeMap::new();
        for (partition, low) in self.low.take()? {
            let missing = || Failure::new(code::UNKNOWN_PARTITION, "the brokers do not know the partition");
            let end = ends.get(&partition).cloned().ok_or_else(missing)?;
            logs.insert(partition, Log { low: low?, end: end? });
        }
        let identity = TopicIdentity {
            cluster_id: ClusterId::new(cluster),
            topic: topic.into(),
            topic_id: facts.topic_id.map(TopicId::new),
        };
        Ok(Surveyed { identity, logs, before })
    }
}
