//! Keeps an eye on the topic and on the connection.
//!
//! The topic's id is asked for every [`EVERY`], and at once when librdkafka may have taken up another one: until the answer,
//! nothing is sent (`incarnation`). Another id halts. The question doubles as a probe: an outage is one WARN when it
//! starts, one a minute, and one INFO when it is over.

use super::Poller;
use super::turn::Turn;
use crate::fault::{self, Verdict};
use crate::native::{AskedTopic, Failure, Whom, code};
use crate::start::Refusal;
use k2_model::{Error, Partition, Result, TopicId, TopicIdentity};
use std::time::{Duration, Instant};

/// How often the topic's id is asked for.
const EVERY: Duration = Duration::from_secs(10);
/// How soon after an answer that was not good.
const SOON: Duration = Duration::from_secs(1);
/// How soon after that, while nothing can be sent.
const URGENT: Duration = Duration::from_millis(200);
/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long to look for a broker that is up. The thread that polls waits for it.
const LOOK: Duration = Duration::from_millis(300);
/// How long at most, after searches in vain: the broker may be slow rather than away, and the controller out of reach.
const LONG_LOOK: Duration = Duration::from_secs(3);
/// So often in a row, and [`SOON`] apart, the topic has to be missing before that is believed: brokers that start say so too.
const MISSING: u32 = 4;

/// See the module.
pub(super) struct Watch {
    asked: Option<AskedTopic>,
    /// When that was.
    since: Instant,
    next: Instant,
    /// When it may be asked for although it is not time.
    urgent: Option<Instant>,
    /// Who answered last, or is to be looked for.
    whom: Whom,
    /// How long the next search may take.
    look: Duration,
    missing: u32,
    missed: Option<Instant>,
    warned: bool,
    outage: Option<Outage>,
}

struct Outage {
    since: Instant,
    said: Instant,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            asked: None,
            since: now,
            next: now + SOON,
            urgent: None,
            whom: Whom::Anyone(LOOK),
            look: LOOK,
            missing: 0,
            missed: None,
            warned: false,
            outage: None,
        }
    }

    /// Asks sooner.
    pub(super) fn hasten(&mut self, now: Instant) {
        self.next = self.next.min(now + SOON);
    }

    /// Whether an answer is due, and nothing can be sent before it.
    pub(super) fn is_urgent(&self, now: Instant) -> bool {
        self.urgent.is_some() && self.asked.is_some() && now.duration_since(self.since) < SOON
    }

    /// Whom to ask: who answered last, if anybody did.
    pub(super) fn whom(&self) -> Whom {
        self.whom
    }

    /// Whether the one who was asked for the topic answered; none: the controller.
    pub(super) fn answered(&mut self, broker: Option<i32>, well: bool) {
        self.look = if well { LOOK } else { (self.look * 3).min(LONG_LOOK) };
        self.whom = if well { broker.map_or(Whom::Controller, Whom::Broker) } else { Whom::Anyone(self.look) };
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
        // an assignment under way asks by itself
        let unsure = matches!(self.turn, Turn::Idle) && self.intake.identity.is_some() && !self.intake.is_sure();
        self.watch.urgent = unsure.then(|| self.watch.urgent.unwrap_or(now));
        let Some(asked) = &self.watch.asked else {
            if now >= self.watch.next || self.watch.urgent.is_some_and(|at| now >= at) {
                self.watch.since = now;
                self.watch.asked = Some(self.client.ask_topic(&self.topic, self.watch.whom(), TIMEOUT));
            }
            return Ok(());
        };
        let Some(answer) = asked.within(Duration::ZERO) else { return Ok(()) };
        let (before, broker) = (asked.before, asked.broker);
        self.watch.asked = None;
        self.watch.answered(broker, answer.is_ok());
        match answer {
            Ok(facts) => {
                self.watch.next = now + EVERY;
                (self.watch.missing, self.watch.missed) = (0, None);
                self.watch.sign_of_life();
                self.same_topic(facts.topic_id.map(TopicId::new))?;
                self.warn_of_old_brokers();
                self.anchor(before)
            }
            Err(failure) => {
                self.watch.next = now + SOON;
                self.watch.urgent = self.watch.urgent.map(|_| now + URGENT);
                match fault::judge(&failure, false, self.connected) {
                    Verdict::Missing => self.missing(failure, now),
                    Verdict::Config => Err(self.error("cannot look at the topic", failure)),
                    _ => {
                        self.watch.trouble(&failure, now);
                        Ok(())
                    }
                }
            }
        }
    }

    /// A broker told the id that the identity has. Reading goes on at our own positions, if it was not certain any more
    /// what is read.
    pub(super) fn anchor(&mut self, before: u64) -> Result<()> {
        if !self.intake.told(before) {
            return Ok(());
        }
        tracing::debug!(topic = self.config.topic, "the topic is still the same, reading on");
        self.take_up(|_| true)
    }

    fn warn_of_old_brokers(&mut self) {
        let by_name =
            || self.client.fetched_by_name() && self.intake.identity.as_ref().is_some_and(|i| i.topic_id.is_some());
        if !self.watch.warned && by_name() {
            self.watch.warned = true;
            tracing::warn!(
                topic = self.config.topic,
                "these brokers are older than Kafka 3.1: records of a topic that is created again while it is read may be \
                 taken for the old topic's for {} s",
                EVERY.as_secs()
            );
        }
    }

    /// Another id than the one that is read halts.
    pub(super) fn same_topic(&self, topic_id: Option<TopicId>) -> Result<()> {
        let Some(known) = self.intake.identity.as_deref() else { return Ok(()) };
        let Some(was) = &known.topic_id else { return Ok(()) };
        let now = TopicIdentity { topic_id, ..known.clone() };
        if now.topic_id.as_ref() == Some(was) {
            return Ok(());
        }
        let partition = self.intake.readings.partitions().first().copied().unwrap_or_default();
        Err(Refusal::OtherTopic { was: was.to_string() }.into_error(&now, Partition(partition)))
    }

    fn missing(&mut self, failure: Failure, now: Instant) -> Result<()> {
        if self.watch.missed.is_some_and(|last| now.duration_since(last) < SOON.mul_f32(0.9)) {
            return Ok(());
        }
        (self.watch.missing, self.watch.missed) = (self.watch.missing + 1, Some(now));
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
