//! A topic's id, partitions and our rights.

use super::{Answer, Asked, Options, all, empty, may_read, op};
use crate::native::consume::Queue;
use crate::native::{Client, Failure, millis, sys};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::ffi::CString;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

/// What the brokers say about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicFacts {
    /// In the form Kafka prints; none where the brokers know none.
    pub(crate) topic_id: Option<String>,
    /// How many partitions it has.
    pub(crate) partitions: i32,
    /// Whether this user may read it; none if the brokers did not say.
    pub(crate) readable: Option<bool>,
}

/// Which broker is asked. Any one can describe a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whom {
    /// This one.
    Broker(i32),
    /// The controller, as librdkafka does by itself; it may be away.
    Controller,
    /// One that is up; the call looks for it so long, and asks the controller if it finds none. The search is a question too:
    /// what a slow broker answers to it later counts as an answer of its own.
    Anyone(Duration),
}

/// A question for a topic under way.
pub(crate) struct AskedTopic {
    asked: Asked<TopicFacts>,
    /// Who was asked; none: the controller.
    pub(crate) broker: Option<i32>,
    /// The answers about topics that had been counted before (see `incarnation`).
    pub(crate) before: u64,
}

impl AskedTopic {
    /// See [`Asked::within`].
    pub(crate) fn within(&self, wait: Duration) -> Option<Result<TopicFacts, Failure>> {
        self.asked.within(wait)
    }

    /// See [`Asked::wait`].
    pub(crate) fn wait(self, timeout: Duration) -> Result<TopicFacts, Failure> {
        self.asked.wait(timeout)
    }
}

impl Client {
    /// A broker that answers, looked for so long.
    ///
    /// Asks about the topic only: asking about all that is known locally would let the brokers create what is missing.
    pub(crate) fn broker_that_answers(&self, topic: &CString, wait: Duration) -> Option<i32> {
        let mut found: *const sys::rd_kafka_metadata = ptr::null();
        // SAFETY: a valid handle, and a topic handle that is ours for the call; on success the metadata is ours until
        // destroyed, its arrays live as long as it.
        unsafe {
            let local = sys::rd_kafka_topic_new(self.ptr(), topic.as_ptr(), ptr::null_mut());
            if local.is_null() {
                return None;
            }
            let err = sys::rd_kafka_metadata(self.ptr(), 0, local, &mut found, millis(wait));
            sys::rd_kafka_topic_destroy(local);
            Failure::of(err).ok()?;
            let metadata = &*found;
            let first = (metadata.broker_cnt > 0 && !metadata.brokers.is_null()).then(|| (*metadata.brokers).id);
            let answered = Some(metadata.orig_broker_id).filter(|id| *id >= 0).or(first);
            sys::rd_kafka_metadata_destroy(found);
            answered
        }
    }

    /// Asks for a topic's id, partitions and our rights.
    pub(crate) fn ask_topic(self: &Arc<Self>, topic: &CString, whom: Whom, timeout: Duration) -> AskedTopic {
        let queue = Queue::new(self);
        let options = Options::new(self, op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout);
        let broker = match whom {
            Whom::Broker(id) => Some(id),
            Whom::Controller => None,
            Whom::Anyone(wait) => self.broker_that_answers(topic, wait),
        };
        if let Some(id) = broker {
            options.to_broker(id);
        }
        let before = self.topic_answers();
        let mut names = [topic.as_ptr()];
        // SAFETY: all pointers are valid for the calls; librdkafka copies names and options.
        unsafe {
            let _ = Failure::take(sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1));
            let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            sys::rd_kafka_DescribeTopics(self.ptr(), topics, options.0, queue.raw);
            sys::rd_kafka_TopicCollection_destroy(topics);
        }
        AskedTopic { asked: Asked { queue, read: read_topic }, broker, before }
    }
}

fn read_topic(answer: &Answer) -> Result<TopicFacts, Failure> {
    let mut count = 0;
    // SAFETY: `answer` is an event of this kind or the result is null; all that is reached lives as long as it.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(answer.0);
        if result.is_null() {
            return empty();
        }
        let Some(topic) = all(sys::rd_kafka_DescribeTopics_result_topics(result, &mut count), count).first().copied()
        else {
            return empty();
        };
        Failure::peek(sys::rd_kafka_TopicDescription_error(topic))?;
        let uuid = sys::rd_kafka_TopicDescription_topic_id(topic);
        let bits = if uuid.is_null() {
            (0, 0)
        } else {
            (sys::rd_kafka_Uuid_most_significant_bits(uuid), sys::rd_kafka_Uuid_least_significant_bits(uuid))
        };
        let mut partitions = 0;
        sys::rd_kafka_TopicDescription_partitions(topic, &mut partitions);
        let mut rights = 0;
        let first = sys::rd_kafka_TopicDescription_authorized_operations(topic, &mut rights);
        Ok(TopicFacts {
            topic_id: topic_id(bits),
            partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
            readable: may_read(first, rights),
        })
    }
}

/// The form Kafka prints; librdkafka's own uses the other base64 alphabet.
fn topic_id((high, low): (i64, i64)) -> Option<String> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&low.to_be_bytes());
    (bytes != [0; 16]).then(|| URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_reads_as_kafka_prints_it() {
        assert_eq!(topic_id((0, 0)), None);
        // URL-safe alphabet, no padding
        assert_eq!(topic_id((-1, -1)).as_deref(), Some("_____________________w"));
        assert_eq!(topic_id((0x0102_0304_0506_0708, 0x090a_0b0c_0d0e_0f10)).as_deref(), Some("AQIDBAUGBwgJCgsMDQ4PEA"));
    }
}
