//! The only module of the house that calls librdkafka's C interface, and the only `unsafe` code of this crate.
//!
//! Why not the safe wrapper: it returns one record per call (a third of the throughput of
//! `rd_kafka_consume_batch_queue`), panics on a header key that is not UTF-8, and blocks inside its rebalance callback.
//!
//! Invariants
//! 1. A [`Client`] outlives every queue, list and message taken from it: all of them hold an `Arc` of it or borrow it.
//! 2. Callbacks only note what happened (`Notes`); the thread that polls acts on it later. A callback never calls
//!    into Rust code that can panic, and never `rd_kafka_yield`: librdkafka drops the next record when it does
//!    (`rd_kafka_q_serve_rkmessages` leaves its loop after it dequeued the record).
//! 3. A message is destroyed exactly once, when its turn in [`Consumer::consume`] is over, also on a panic.
//!
//! What was read in librdkafka 2.12.1 and is relied upon:
//! - A rebalance operation is served inside `rd_kafka_consume_batch_queue` on the polling thread. From then on librdkafka
//!   keeps all partitions paused and raises no second rebalance until `incremental_assign` or `incremental_unassign`
//!   is called, which may happen after the callback (the event interface works that way too).
//! - Both bump the operation version of the partitions before they return; records of the old version that are still
//!   queued are filtered out when dequeued. So no record from before an assign is delivered after it.
//! - Pausing purges what is prefetched and notes where to go on: after the last thing handed out. **The end of a
//!   partition counts as a thing there**: `rd_kafka_q_serve_rkmessages` sets the position to its offset + 1, so a
//!   partition that is paused at its end goes on one record too late, and that record is lost. A rebalance pauses all
//!   partitions by itself. So after whatever may have paused a partition, [`Client::seek`] to our own position.
//! - When a pause races with a poll, a few records are handed out twice; `reading` drops what is below the position.
//! - A record batch that fails its CRC is reported as an error and then *skipped*: whoever polls must go back.
//! - Records are fetched by topic id (Fetch 13 to 16). The id in use changes only in `rd_kafka_topic_metadata_update`, only
//!   by an answer to a Metadata request, on the main thread, and then silently. `rd_kafka_buf_callback` calls the
//!   `on_response_received` interceptors as the answer comes in and again on the main thread, right before that. A
//!   DescribeTopics request is a Metadata request: its answer is taken over before its result is queued. See `incarnation`.

#![allow(unsafe_code, reason = "the audited boundary to librdkafka; every block says why it is sound")]

mod ask;
mod client;
mod consume;
mod list;
mod record;
mod standalone;

pub(crate) use ask::{Asked, AskedTopic, OffsetsAsked, Spec, TopicFacts, Whom};
pub(crate) use client::{Client, Kind, Note, Rebalance, check_property};
pub(crate) use consume::{Consumer, Polled, Waker};
pub(crate) use list::Seat;
pub use record::{Headers, Record};
pub(crate) use standalone::Standalone;

use rdkafka_sys as sys;
use std::ffi::{CStr, c_char};

/// What librdkafka says went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The code, as in `rd_kafka_resp_err_t`; see [`code`].
    pub(crate) code: i32,
    /// Its text.
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(code: i32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// From a code that librdkafka returned.
    fn of(err: sys::rd_kafka_resp_err_t) -> Result<(), Self> {
        if err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        // SAFETY: any value of the enum is accepted; the text is static.
        let text = unsafe { text_of(sys::rd_kafka_err2str(err)) };
        Err(Self { code: err as i32, text })
    }

    /// From an error object, which is freed. Null is success.
    ///
    /// # Safety
    /// `error` is null or an error object that the caller owns.
    unsafe fn take(error: *mut sys::rd_kafka_error_t) -> Result<(), Self> {
        // SAFETY: as the caller promises.
        let seen = unsafe { Self::peek(error) };
        if !error.is_null() {
            // SAFETY: owned by us, and not used after.
            unsafe { sys::rd_kafka_error_destroy(error) };
        }
        seen
    }

    /// From an error object that somebody else owns. Null is success.
    ///
    /// # Safety
    /// `error` is null or a valid error object.
    unsafe fn peek(error: *const sys::rd_kafka_error_t) -> Result<(), Self> {
        if error.is_null() {
            return Ok(());
        }
        // SAFETY: not null, valid as the caller promises.
        let (err, text) = unsafe { (sys::rd_kafka_error_code(error), text_of(sys::rd_kafka_error_string(error))) };
        if err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(());
        }
        Err(Self { code: err as i32, text })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// Copies a C string; null is empty.
///
/// # Safety
/// `text` is null or points to a string that ends with NUL.
unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// A buffer for librdkafka's error texts.
struct ErrorText([c_char; 512]);

impl ErrorText {
    fn new() -> Self {
        Self([0; 512])
    }
    fn as_mut_ptr(&mut self) -> *mut c_char {
        self.0.as_mut_ptr()
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn text(&self) -> String {
        // SAFETY: the buffer starts zeroed and librdkafka ends what it writes with NUL.
        unsafe { text_of(self.0.as_ptr()) }
    }
}

/// Milliseconds for a C call.
fn millis(duration: std::time::Duration) -> std::ffi::c_int {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// The codes that somebody here decides by.
pub(crate) mod code {
    use rdkafka_sys::rd_kafka_resp_err_t as e;

    macro_rules! codes {
        ($($name:ident = $native:ident;)*) => { $(pub(crate) const $name: i32 = e::$native as i32;)* };
    }
    codes! {
        PARTITION_EOF = RD_KAFKA_RESP_ERR__PARTITION_EOF;
        FATAL = RD_KAFKA_RESP_ERR__FATAL;
        STATE = RD_KAFKA_RESP_ERR__STATE;
        TRANSPORT = RD_KAFKA_RESP_ERR__TRANSPORT;
        ALL_BROKERS_DOWN = RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
        RESOLVE = RD_KAFKA_RESP_ERR__RESOLVE;
        TIMED_OUT = RD_KAFKA_RESP_ERR__TIMED_OUT;
        TIMED_OUT_QUEUE = RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE;
        WAIT_COORD = RD_KAFKA_RESP_ERR__WAIT_COORD;
        LEADER_UNKNOWN = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
        NOT_LEADER = RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION;
        REQUEST_TIMED_OUT = RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT;
        BROKER_NOT_AVAILABLE = RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE;
        REPLICA_NOT_AVAILABLE = RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE;
        NETWORK_EXCEPTION = RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION;
        COORDINATOR_LOADING = RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
        COORDINATOR_NOT_AVAILABLE = RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE;
        NOT_COORDINATOR = RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
        OFFSET_NOT_AVAILABLE = RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE;
        UNKNOWN_LEADER_EPOCH = RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH;
        FENCED_LEADER_EPOCH = RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH;
        REBALANCE_IN_PROGRESS = RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS;
        ILLEGAL_GENERATION = RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION;
        UNKNOWN_MEMBER_ID = RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
        MAX_POLL_EXCEEDED = RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED;
        AUTO_OFFSET_RESET = RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET;
        LOG_TRUNCATION = RD_KAFKA_RESP_ERR__LOG_TRUNCATION;
        OFFSET_OUT_OF_RANGE = RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
        UNKNOWN_TOPIC_OR_PART = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        UNKNOWN_TOPIC = RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
        UNKNOWN_PARTITION = RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
        TOPIC_EXCEPTION = RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
        TOPIC_AUTHORIZATION_FAILED = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        GROUP_AUTHORIZATION_FAILED = RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
        CLUSTER_AUTHORIZATION_FAILED = RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
        AUTHENTICATION = RD_KAFKA_RESP_ERR__AUTHENTICATION;
        SASL_AUTHENTICATION_FAILED = RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED;
        SSL = RD_KAFKA_RESP_ERR__SSL;
        FENCED_INSTANCE_ID = RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
        INCONSISTENT_GROUP_PROTOCOL = RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL;
        INVALID_SESSION_TIMEOUT = RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT;
        INVALID_GROUP_ID = RD_KAFKA_RESP_ERR_INVALID_GROUP_ID;
        GROUP_MAX_SIZE_REACHED = RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED;
        GROUP_ID_NOT_FOUND = RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND;
        INVALID_ARG = RD_KAFKA_RESP_ERR__INVALID_ARG;
        UNSUPPORTED_FEATURE = RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE;
    }
}
