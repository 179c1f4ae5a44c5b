//! Questions to the brokers, for those who prepare, check and report. All calls block, within their timeout.

use crate::native::{Client, Failure, Kind, OffsetsAsked, Spec, TopicFacts, Whom, code};
use crate::{ClientSettings, config, fault};
use k2_model::{ClusterId, Error, NextOffset, Partition, Result, TopicId, TopicIdentity};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection for questions.
#[derive(Debug)]
pub struct Admin {
    client: Arc<Client>,
    brokers: String,
    timeout: Duration,
}

/// The ends of a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset Kafka still has.
    pub low: NextOffset,
    /// One past the last offset that a read_committed reader can see.
    pub end: NextOffset,
}

/// What we may do with a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicRights {
    /// How many partitions it has.
    pub partitions: i32,
    /// Whether we may read it; none if the brokers did not say.
    pub readable: Option<bool>,
}

impl Admin {
    /// A client for questions. Connects in the background, so it succeeds with brokers that are down.
    ///
    /// # Errors
    /// A property that librdkafka does not take.
    pub fn connect(settings: &ClientSettings, client_id: &str) -> Result<Self> {
        let properties = config::admin_properties(settings, client_id)?;
        let client = Client::new(Kind::Standalone, &properties)
            .map_err(|failure| fault::error("cannot create the Kafka client", failure))?;
        Ok(Self { client, brokers: settings.brokers.clone(), timeout: Duration::from_secs(10) })
    }

    /// The same with another timeout per question than 10 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Which topic of which cluster this is.
    ///
    /// # Errors
    /// [`Class::Config`](k2_model::Class::Config) for a missing topic or right, `Retry` for brokers that do not answer.
    pub fn identity(&self, topic: &str) -> Result<TopicIdentity> {
        let facts = self.facts(topic)?;
        let cluster = self.client.cluster_id(self.timeout).ok_or_else(|| {
            self.failed("cannot learn the cluster's id", Failure::new(code::TIMED_OUT, "no broker told it"))
        })?;
        Ok(TopicIdentity {
            cluster_id: ClusterId::new(cluster),
            topic: topic.into(),
            topic_id: facts.topic_id.map(TopicId::new),
        })
    }

    /// The partitions of a topic.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn partitions(&self, topic: &str) -> Result<Vec<Partition>> {
        Ok((0..self.facts(topic)?.partitions).map(Partition).collect())
    }

    /// What we may do with a topic.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn topic_rights(&self, topic: &str) -> Result<TopicRights> {
        let facts = self.facts(topic)?;
        Ok(TopicRights { partitions: facts.partitions, readable: facts.readable })
    }

    /// The ends of a partition's log.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn watermarks(&self, topic: &str, partition: Partition) -> Result<Watermarks> {
        self.all_watermarks(topic, &[partition])?.remove(&partition).ok_or_else(|| {
            Error::retry("the brokers told no offsets of a partition").at(format!("topic {topic}/{partition}"))
        })
    }

    /// The ends of several partitions' logs, in two requests.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn all_watermarks(&self, topic: &str, partitions: &[Partition]) -> Result<BTreeMap<Partition, Watermarks>> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let name = name(topic)?;
        let numbers: Vec<i32> = partitions.iter().map(|p| p.0).collect();
        let low = self.client.ask_offsets(&name, &numbers, Spec::Earliest, self.timeout);
        let end = self.client.ask_offsets(&name, &numbers, Spec::Latest, self.timeout);
        let read = |answer: Result<OffsetsAsked, Failure>| -> Result<BTreeMap<Partition, NextOffset>> {
            let one = |(p, offset): (i32, Result<i64, Failure>)| match offset {
                Ok(offset) => Ok((Partition(p), NextOffset(offset))),
                Err(f) => Err(self.failed("cannot learn a partition's offsets", f).at(format!("topic {topic}/{p}"))),
            };
            let all = answer.map_err(|f| self.failed("cannot learn a topic's offsets", f))?;
            all.into_iter().map(one).collect()
        };
        let (low, end) = (read(low.wait(self.timeout))?, read(end.wait(self.timeout))?);
        Ok(low.into_iter().filter_map(|(p, low)| Some((p, Watermarks { low, end: *end.get(&p)? }))).collect())
    }

    /// What a group has committed of a topic; partitions without a commit are left out.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn group_offsets(&self, group: &str, topic: &str) -> Result<BTreeMap<Partition, NextOffset>> {
        let partitions: Vec<i32> = self.partitions(topic)?.iter().map(|p| p.0).collect();
        let asked = self.client.ask_group_offsets(&name(group)?, &name(topic)?, &partitions, self.timeout);
        let at = |e: Error| e.at(format!("group {group}"));
        let all =
            asked.wait(self.timeout).map_err(|f| at(self.failed("cannot learn what the group has committed", f)))?;
        all.into_iter()
            .map(|(p, offset)| match offset {
                Ok(offset) => Ok((Partition(p), NextOffset(offset))),
                Err(f) => Err(at(self.failed("cannot learn what the group has committed", f))),
            })
            .collect()
    }

    /// Checks that we may be a member of a group.
    ///
    /// # Errors
    /// [`Class::Config`](k2_model::Class::Config) if we may not, otherwise as [`identity`](Self::identity).
    pub fn check_group(&self, group: &str) -> Result<()> {
        let answer = self.client.ask_group(&name(group)?, self.timeout).wait(self.timeout);
        let at = |e: Error| e.at(format!("group {group}"));
        match answer {
            Ok(Some(false)) => Err(at(fault::error(
                "this user may not join the consumer group",
                Failure::new(code::GROUP_AUTHORIZATION_FAILED, "the operation READ is missing"),
            ))),
            Ok(_) => Ok(()),
            // brokers too old to tell
            Err(f) if f.code == code::UNSUPPORTED_FEATURE => Ok(()),
            Err(f) => Err(at(self.failed("cannot look at the consumer group", f))),
        }
    }

    /// Whether a topic's log is compacted; none if the brokers don't tell us.
    ///
    /// # Errors
    /// `Retry` for brokers that do not answer.
    pub fn is_compacted(&self, topic: &str) -> Result<Option<bool>> {
        match self.client.ask_cleanup_policy(&name(topic)?, self.timeout).wait(self.timeout) {
            Ok(policy) => Ok(policy.map(|p| p.split(',').any(|word| word.trim() == "compact"))),
            Err(f) if matches!(f.code, code::TIMED_OUT | code::TIMED_OUT_QUEUE | code::TRANSPORT) => {
                Err(self.failed("cannot learn the topic's cleanup policy", f).at(format!("topic {topic}")))
            }
            // not allowed, or not known to these brokers
            Err(_) => Ok(None),
        }
    }

    /// The brokers, by id.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn brokers(&self) -> Result<Vec<(i32, String)>> {
        let answer = self.client.ask_brokers(self.timeout).wait(self.timeout);
        answer.map_err(|f| self.failed("cannot list the brokers", f))
    }

    /// Asks a broker that has shown that it answers. The first that is asked may be down or frozen, a loaded one slow: the
    /// search begins anew twice, with more patience each time. A topic that is not there is no reason to wait.
    fn facts(&self, topic: &str) -> Result<TopicFacts> {
        let at = |e: Error| e.at(format!("topic {topic}"));
        let (name, end) = (name(topic)?, Instant::now() + self.timeout);
        let left = || end.saturating_duration_since(Instant::now());
        let slices = [self.timeout / 10, self.timeout / 3, self.timeout];
        let broker = slices.into_iter().find_map(|slice| self.client.broker_that_answers(&name, slice.min(left())));
        let Some(broker) = broker else {
            let failure = Failure::new(code::TIMED_OUT, "no broker answered in time");
            return Err(at(self.failed("cannot look at the topic", failure)));
        };
        let patience = left().max(self.timeout / 2);
        let answer = self.client.ask_topic(&name, Whom::Broker(broker), patience).wait(patience);
        answer.map_err(|f| match f.code {
            code::UNKNOWN_TOPIC_OR_PART | code::UNKNOWN_TOPIC | code::TOPIC_EXCEPTION => {
                self.failed(&format!("topic {topic} does not exist"), f)
            }
            code::TOPIC_AUTHORIZATION_FAILED => self.failed(&format!("this user may not look at topic {topic}"), f),
            _ => at(self.failed("cannot look at the topic", f)),
        })
    }

    /// Says what is behind a request that nobody answered: the login, if librdkafka has told of one that failed.
    fn failed(&self, what: &str, failure: Failure) -> Error {
        let mut cause = failure;
        self.client.listen();
        while let Some(note) = self.client.next_note() {
            if let crate::native::Note::Error(noted) = note
                && matches!(cause.code, code::TIMED_OUT | code::TIMED_OUT_QUEUE | code::TRANSPORT)
                && noted.code != code::ALL_BROKERS_DOWN
            {
                cause = noted;
            }
        }
        fault::error(what, cause).at(format!("brokers {}", self.brokers))
    }
}

fn name(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::config(format!("{text:?} holds a NUL byte")))
}
