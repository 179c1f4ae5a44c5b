//! A librdkafka handle: configuration, callbacks, and the calls that need nothing but the handle.

use super::list::{List, elements};
use super::{ErrorText, Failure, Seat, code, millis, sys, text_of};
use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a handle is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A member of a consumer group.
    Member,
    /// Anything else: admin requests, reading without a group.
    Standalone,
}

/// The group gives or takes partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rebalance {
    /// These are ours now; [`Client::assign`] is due, also for an empty list.
    Assign(Vec<i32>),
    /// These are to be handed over in order; [`Client::unassign`] is due.
    Revoke(Vec<i32>),
    /// These are gone already; [`Client::unassign`] is due.
    Lost(Vec<i32>),
}

/// What a callback noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// A rebalance that waits for its answer.
    Rebalance(Rebalance),
    /// An error that belongs to no partition; most often a broker that cannot be reached.
    Error(Failure),
}

/// What the callbacks write and the polling thread takes.
#[derive(Default)]
struct Notes {
    queue: Mutex<VecDeque<Note>>,
    /// Set while the consumer closes: a revocation is then answered on the spot.
    closing: AtomicBool,
    /// Answers about topics, counted as they come in and again before librdkafka acts on them (see `incarnation`).
    topic_answers: AtomicU64,
    /// Whether records were ever fetched by the topic's name instead of its id.
    fetched_by_name: AtomicBool,
}

impl Notes {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Note>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A librdkafka handle.
pub(crate) struct Client {
    rk: *mut sys::rd_kafka_t,
    notes: Arc<Notes>,
}

// SAFETY: librdkafka's handle may be used from any thread at the same time; `Notes` is synchronised.
unsafe impl Send for Client {}
// SAFETY: see above.
unsafe impl Sync for Client {}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// A configuration that has not become a client yet.
struct Conf(*mut sys::rd_kafka_conf_t);

impl Conf {
    fn new() -> Self {
        // SAFETY: returns a new configuration, or aborts when memory is out.
        Self(unsafe { sys::rd_kafka_conf_new() })
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        let nul = |_| Failure::new(code::INVALID_ARG, format!("\"{key}\" holds a NUL byte"));
        let (name, value) = (CString::new(key).map_err(nul)?, CString::new(value).map_err(nul)?);
        let mut text = ErrorText::new();
        // SAFETY: all pointers are valid for the call; librdkafka copies the strings.
        let done =
            unsafe { sys::rd_kafka_conf_set(self.0, name.as_ptr(), value.as_ptr(), text.as_mut_ptr(), text.len()) };
        match done {
            sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
            _ => Err(Failure::new(code::INVALID_ARG, text.text())),
        }
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: not handed to a client, so still ours.
            unsafe { sys::rd_kafka_conf_destroy(self.0) }
        }
    }
}

/// Asks librdkafka whether it knows a property and takes the value.
pub(crate) fn check_property(key: &str, value: &str) -> Result<(), Failure> {
    Conf::new().set(key, value)
}

impl Client {
    /// A client with these properties.
    pub(crate) fn new(kind: Kind, properties: &[(String, String)]) -> Result<Arc<Self>, Failure> {
        let mut conf = Conf::new();
        for (key, value) in properties {
            conf.set(key, value)?;
        }
        let notes = Arc::new(Notes::default());
        // SAFETY: the callbacks have the signatures that librdkafka wants; `notes` lives as long as the client, which
        // destroys the handle (and joins its threads) before it drops the notes.
        unsafe {
            sys::rd_kafka_conf_set_opaque(conf.0, Arc::as_ptr(&notes).cast_mut().cast());
            sys::rd_kafka_conf_set_log_cb(conf.0, Some(on_log));
            sys::rd_kafka_conf_set_error_cb(conf.0, Some(on_error));
            if kind == Kind::Member {
                let opaque = Arc::as_ptr(&notes).cast_mut().cast();
                Failure::of(sys::rd_kafka_conf_interceptor_add_on_new(conf.0, NAME.as_ptr(), Some(on_new), opaque))?;
                sys::rd_kafka_conf_set_rebalance_cb(conf.0, Some(on_rebalance));
                sys::rd_kafka_conf_set_offset_commit_cb(conf.0, Some(on_commit));
            }
        }
        let mut text = ErrorText::new();
        // SAFETY: on success librdkafka owns the configuration, on failure we still do.
        let rk = unsafe {
            sys::rd_kafka_new(sys::rd_kafka_type_t::RD_KAFKA_CONSUMER, conf.0, text.as_mut_ptr(), text.len())
        };
        if rk.is_null() {
            return Err(Failure::new(code::INVALID_ARG, text.text()));
        }
        conf.0 = ptr::null_mut();
        let client = Arc::new(Self { rk, notes });
        if kind == Kind::Member {
            // SAFETY: a valid handle. From here on one queue carries records, errors and rebalances.
            Failure::of(unsafe { sys::rd_kafka_poll_set_consumer(rk) })?;
        }
        Ok(client)
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.rk
    }

    /// Takes the oldest note of the callbacks.
    pub(crate) fn next_note(&self) -> Option<Note> {
        self.notes.queue().pop_front()
    }

    /// Counts answers about topics, each twice; a member's only. When librdkafka acts on one, it may change the topic id
    /// that it fetches by; nothing else does.
    pub(crate) fn topic_answers(&self) -> u64 {
        self.notes.topic_answers.load(Ordering::SeqCst)
    }

    /// Whether a broker was so old that records were fetched by the topic's name; a member's only.
    pub(crate) fn fetched_by_name(&self) -> bool {
        self.notes.fetched_by_name.load(Ordering::Relaxed)
    }

    /// Lets librdkafka call back with what it has to tell. For a client that no thread polls: the notes of a group's
    /// member come with its records.
    pub(crate) fn listen(&self) {
        // SAFETY: a valid handle; the callbacks only touch the notes, which outlive it.
        unsafe { sys::rd_kafka_poll(self.rk, 0) };
    }

    /// Joins the group for one topic.
    pub(crate) fn subscribe(&self, topic: &CString) -> Result<(), Failure> {
        let list = List::new(topic, [Seat::of(-1)].into_iter());
        // SAFETY: handle and list are valid; the list is copied.
        Failure::of(unsafe { sys::rd_kafka_subscribe(self.rk, list.0) })
    }

    /// Starts reading partitions at absolute offsets.
    pub(crate) fn assign(&self, topic: &CString, seats: &[Seat]) -> Result<(), Failure> {
        let list = List::new(topic, seats.iter().copied());
        // SAFETY: handle and list are valid; the list is copied; the error is ours.
        unsafe { Failure::take(sys::rd_kafka_incremental_assign(self.rk, list.0)) }
    }

    /// Stops reading partitions.
    pub(crate) fn unassign(&self, topic: &CString, partitions: &[i32]) -> Result<(), Failure> {
        let list = List::new(topic, partitions.iter().map(|p| Seat::of(*p)));
        // SAFETY: as above.
        unsafe { Failure::take(sys::rd_kafka_incremental_unassign(self.rk, list.0)) }
    }

    /// Holds partitions back, or lets them go on. What is prefetched of them is thrown away.
    pub(crate) fn pause(&self, topic: &CString, partitions: &[i32], pause: bool) -> Result<(), Failure> {
        let list = List::new(topic, partitions.iter().map(|p| Seat::of(*p)));
        // SAFETY: handle and list are valid; both calls write results into the list only.
        Failure::of(unsafe {
            if pause {
                sys::rd_kafka_pause_partitions(self.rk, list.0)
            } else {
                sys::rd_kafka_resume_partitions(self.rk, list.0)
            }
        })
    }

    /// Goes on at absolute offsets with partitions that are assigned. What was fetched of them is thrown away, from the
    /// moment of the call.
    pub(crate) fn seek(&self, topic: &CString, seats: &[Seat]) -> Result<(), Failure> {
        let list = List::new(topic, seats.iter().copied());
        // SAFETY: handle and list are valid; without a timeout nothing is waited for; the error is ours.
        unsafe { Failure::take(sys::rd_kafka_seek_partitions(self.rk, list.0, 0)) }
    }

    /// Writes offsets to the group, without waiting for the answer.
    pub(crate) fn commit(&self, topic: &CString, seats: &[Seat]) -> Result<(), Failure> {
        let list = List::new(topic, seats.iter().copied());
        // SAFETY: handle and list are valid; the list is copied.
        Failure::of(unsafe { sys::rd_kafka_commit(self.rk, list.0, 1) })
    }

    /// The cluster's id; none if no broker told it in time.
    pub(crate) fn cluster_id(&self, timeout: Duration) -> Option<String> {
        // SAFETY: a valid handle; the string is ours and freed with librdkafka's allocator.
        unsafe {
            let id = sys::rd_kafka_clusterid(self.rk, millis(timeout));
            if id.is_null() {
                return None;
            }
            let text = text_of(id);
            sys::rd_kafka_mem_free(self.rk, id.cast());
            (!text.is_empty()).then_some(text)
        }
    }

    /// The error that made the handle useless, if there was one.
    pub(crate) fn fatal(&self) -> Option<Failure> {
        let mut text = ErrorText::new();
        // SAFETY: handle and buffer are valid.
        let err = unsafe { sys::rd_kafka_fatal_error(self.rk, text.as_mut_ptr(), text.len()) };
        match Failure::of(err) {
            Ok(()) => None,
            Err(failure) => Some(Failure { text: text.text(), ..failure }),
        }
    }

    /// From now on revocations are answered inside the callback.
    pub(super) fn set_closing(&self) {
        self.notes.closing.store(true, Ordering::Release);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: the last owner; all queues and lists are gone (invariant 1). Without leaving the group: `Consumer`
        // does that, in bounded time. May take a moment to join librdkafka's threads.
        unsafe { sys::rd_kafka_destroy_flags(self.rk, sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) }
    }
}

/// The notes behind an opaque pointer.
///
/// # Safety
/// `opaque` is what [`Client::new`] set, and the client is alive.
unsafe fn notes<'a>(opaque: *mut c_void) -> &'a Notes {
    // SAFETY: as the caller promises.
    unsafe { &*opaque.cast::<Notes>() }
}

unsafe extern "C" fn on_rebalance(
    rk: *mut sys::rd_kafka_t,
    err: sys::rd_kafka_resp_err_t,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: librdkafka passes our opaque and a list that lives during the call.
    let (notes, listed) = unsafe { (notes(opaque), elements(partitions)) };
    let partitions_of = || listed.iter().map(|e| e.partition).collect::<Vec<_>>();
    if notes.closing.load(Ordering::Acquire) {
        // SAFETY: handle and list are valid; the error is ours. Whatever it says, the consumer is closing.
        let _ = unsafe { Failure::take(sys::rd_kafka_incremental_unassign(rk, partitions)) };
        return;
    }
    // SAFETY: a valid handle.
    let lost = unsafe { sys::rd_kafka_assignment_lost(rk) } != 0;
    let rebalance = match err {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(partitions_of()),
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS if !lost => Rebalance::Revoke(partitions_of()),
        _ => Rebalance::Lost(partitions_of()),
    };
    notes.queue().push_back(Note::Rebalance(rebalance));
}

unsafe extern "C" fn on_error(_: *mut sys::rd_kafka_t, err: c_int, reason: *const c_char, opaque: *mut c_void) {
    // SAFETY: librdkafka passes our opaque and a string that lives during the call.
    let (notes, text) = unsafe { (notes(opaque), text_of(reason)) };
    let mut queue = notes.queue();
    // nobody needs to hear the same outage a thousand times while the polling thread is busy
    if queue.len() < 64 {
        queue.push_back(Note::Error(Failure::new(err, text)));
    }
}

/// Under this name librdkafka knows our interceptor.
const NAME: &CStr = c"k2";
/// Kafka's numbers of two kinds of requests, and the version of the first from which it names topics by id.
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const FETCH_BY_ID: i16 = 13;

unsafe extern "C" fn on_new(
    rk: *mut sys::rd_kafka_t,
    _: *const sys::rd_kafka_conf_t,
    opaque: *mut c_void,
    _: *mut c_char,
    _: usize,
) -> sys::rd_kafka_resp_err_t {
    // SAFETY: librdkafka passes the handle that is being made, and our opaque. Should this fail, nothing is ever counted
    // and so nothing is ever sent.
    unsafe { sys::rd_kafka_interceptor_add_on_response_received(rk, NAME.as_ptr(), Some(on_response), opaque) }
}

/// Called on the thread that received the answer, before anything is done with it. An answer that another thread is to act on
/// (Metadata: the main thread) passes here once more, on that thread, right before it does.
#[allow(clippy::too_many_arguments, reason = "the signature is librdkafka's")]
unsafe extern "C" fn on_response(
    _: *mut sys::rd_kafka_t,
    _: c_int,
    _: *const c_char,
    _: i32,
    api: i16,
    version: i16,
    _: i32,
    _: usize,
    _: i64,
    _: sys::rd_kafka_resp_err_t,
    opaque: *mut c_void,
) -> sys::rd_kafka_resp_err_t {
    // SAFETY: librdkafka passes our opaque; its threads end before the notes are dropped.
    let notes = unsafe { notes(opaque) };
    match api {
        METADATA => {
            notes.topic_answers.fetch_add(1, Ordering::SeqCst);
        }
        FETCH if version < FETCH_BY_ID => notes.fetched_by_name.store(true, Ordering::Relaxed),
        _ => {}
    }
    sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
}

unsafe extern "C" fn on_commit(
    _: *mut sys::rd_kafka_t,
    err: sys::rd_kafka_resp_err_t,
    _: *mut sys::rd_kafka_topic_partition_list_t,
    _: *mut c_void,
) {
    if let Err(failure) = Failure::of(err) {
        tracing::debug!(error = %failure, "the group's offsets were not written; lag tools will show too much");
    }
}

unsafe extern "C" fn on_log(_: *const sys::rd_kafka_t, level: c_int, facility: *const c_char, text: *const c_char) {
    // SAFETY: librdkafka passes strings that live during the call.
    let facility = if facility.is_null() { c"" } else { unsafe { CStr::from_ptr(facility) } };
    // SAFETY: as above.
    let text = unsafe { text_of(text) };
    // syslog levels. A broker that is down is logged for each attempt; the poll loop reports outages itself, once.
    let noisy = matches!(facility.to_bytes(), b"FAIL" | b"ERROR" | b"MAXPOLL" | b"SESSTMOUT");
    let facility = facility.to_string_lossy();
    match level {
        0..=4 if !noisy => tracing::warn!(target: "librdkafka", %facility, "{text}"),
        0..=6 => tracing::debug!(target: "librdkafka", %facility, "{text}"),
        _ => tracing::trace!(target: "librdkafka", %facility, "{text}"),
    }
}
