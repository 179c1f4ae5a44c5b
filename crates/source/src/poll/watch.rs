//! Keeps an eye on the topic and on the connection.
//!
//! librdkafka 2.12 follows a topic that was deleted and created again without a word, at the old offsets
//! (`rd_kafka_topic_metadata_update` has a FIXME there). So the topic's id is asked for every [`EVERY`]; another id halts.
//! The question doubles as a probe: an outage is one WARN when it starts, one a minute, and one INFO when it is over.

use super::Poller;
use crate::fault::{self, Verdict};
use crate::native::{Asked, Failure, TopicFacts, code};
use crate::start::Refusal;
use k2_model::{Error, Partition, Result, TopicId, TopicIdentity};
use std::time::{Duration, Instant};

/// How often the topic's id is asked for.
const EVERY: Duration = Duration::from_secs(10);
/// How soon after an answer that was not good.
const SOON: Duration = Duration::from_secs(1);
/// So often in a row the topic has to be missing before that is believed: brokers that start say so too.
const MISSING: u32 = 4;

/// See the module.
pub(super) struct Watch {
    asked: Option<Asked<TopicFacts>>,
    next: Instant,
    missing: u32,
    outage: Option<Outage>,
}

struct Outage {
    since: Instant,
    said: Instant,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: None, next: now + SOON, missing: 0, outage: None }
    }

    /// Asks sooner.
    pub(super) fn hasten(&mut self, now: Instant) {
        self.next = self.next.min(now + SOON);
    }

    /// An error that librdkafka goes on from by itself.
    pub(super) fn trouble(&mut self, failure: &Failure, now: Instant) {
        let cut_off = matches!(failure.code, code::ALL_BROKERS_DOWN | code::TIMED_OUT | code::TIMED_OUT_QUEUE);
        match &mut self.outage {
            Some(outage) if now.duration_since(outage.said) >= Duration::from_secs(60) => {
                outage.said = now;
                let seconds = now.duration_since(outage.since).as_secs();
                tracing::warn!(error = %failure, seconds, "still no connection to the Kafka brokers");
            }
            Some(_) => {}
            None if cut_off => {
                self.outage = Some(Outage { since: now, said: now });
                tracing::warn!(error = %failure, "no connection to the Kafka brokers, trying again");
            }
            None => tracing::debug!(error = %failure, "librdkafka tries again"),
        }
    }

    /// Something arrived.
    pub(super) fn sign_of_life(&mut self) {
        if let Some(outage) = self.outage.take() {
            tracing::info!(seconds = outage.since.elapsed().as_secs(), "connected to the Kafka brokers again");
        }
    }
}

impl Poller {
    /// Asks and judges; see the module.
    pub(super) fn watch(&mut self, now: Instant) -> Result<()> {
        let Some(asked) = &self.watch.asked else {
            if now >= self.watch.next {
                self.watch.asked = Some(self.client.ask_topic(&self.topic, EVERY));
            }
            return Ok(());
        };
        let Some(answer) = asked.within(Duration::ZERO) else { return Ok(()) };
        self.watch.asked = None;
        match answer {
            Ok(facts) => {
                self.watch.next = now + EVERY;
                self.watch.missing = 0;
                self.watch.sign_of_life();
                self.same_topic(facts.topic_id)
            }
            Err(failure) => {
                self.watch.next = now + SOON;
                match fault::judge(&failure, false, self.connected) {
                    Verdict::Missing => self.missing(failure),
                    Verdict::Config => Err(self.error("cannot look at the topic", failure)),
                    _ => {
                        self.watch.trouble(&failure, now);
                        Ok(())
                    }
                }
            }
        }
    }

    fn same_topic(&self, topic_id: Option<String>) -> Result<()> {
        let Some(known) = self.intake.identity.as_deref() else { return Ok(()) };
        let Some(was) = &known.topic_id else { return Ok(()) };
        let now = TopicIdentity { topic_id: topic_id.map(TopicId::new), ..known.clone() };
        if now.topic_id.as_ref() == Some(was) {
            return Ok(());
        }
        let partition = self.intake.readings.partitions().first().copied().unwrap_or_default();
        Err(Refusal::OtherTopic { was: was.to_string() }.into_error(&now, Partition(partition)))
    }

    fn missing(&mut self, failure: Failure) -> Result<()> {
        self.watch.missing += 1;
        if self.watch.missing < MISSING {
            return Ok(());
        }
        if self.connected {
            return Err(Error::halt("the topic was deleted while it was being read")
                .caused_by(failure)
                .at(format!("topic {}", self.config.topic))
                .fix("what was read is safe in the table; disable the pipeline, or restore the topic"));
        }
        Err(self.error("the topic does not exist", failure))
    }
}
