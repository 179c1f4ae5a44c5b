//! Taking records from the consumer queue, many at a time.

use super::{Client, Failure, code, millis, sys};
use crate::Record;
use std::ffi::CString;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a poll hands out.
#[derive(Debug)]
pub(crate) enum Polled<'a> {
    /// A record.
    Record(Record<'a>),
    /// The reader stands at the end of the partition; the offset is its position, past control records too.
    End { partition: i32, next: i64 },
    /// Something is wrong, with a partition or (below 0) with the consumer.
    Failed { partition: i32, offset: i64, failure: Failure },
}

/// A message that is destroyed when dropped.
struct Message(*mut sys::rd_kafka_message_t);

impl Message {
    /// Calls `on` with what the message says.
    fn open(&self, on: &mut impl FnMut(Polled<'_>)) {
        // SAFETY: the message is ours and alive. The code is read as a number: a broker newer than the binding may send
        // one that the enum does not have.
        let (message, err) = unsafe { (&*self.0, ptr::addr_of!((*self.0).err).cast::<i32>().read()) };
        match err {
            0 => {
                // SAFETY: a record that lives until `self` drops, after `on` returned.
                let record = unsafe { Record::of(self.0) };
                on(Polled::Record(record));
            }
            code::PARTITION_EOF => on(Polled::End { partition: message.partition, next: message.offset }),
            err => {
                // SAFETY: of an error the payload is its text, `len` bytes.
                let text = unsafe { bytes(message.payload.cast(), message.len) }.unwrap_or_default();
                let failure = Failure::new(err, String::from_utf8_lossy(text));
                let partition = if message.rkt.is_null() { -1 } else { message.partition };
                on(Polled::Failed { partition, offset: message.offset, failure });
            }
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: owned, and destroyed once (invariant 3).
        unsafe { sys::rd_kafka_message_destroy(self.0) }
    }
}

/// A null pointer is null, anything else a slice, also an empty one.
///
/// # Safety
/// `data` is null or points to `len` bytes that outlive `'a`.
pub(super) unsafe fn bytes<'a>(data: *const u8, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data, len) })
}

/// A queue to take records from. Dropped before its client (invariant 1).
pub(super) struct Queue {
    pub(super) raw: *mut sys::rd_kafka_queue_t,
    pub(super) client: Arc<Client>,
}

// SAFETY: librdkafka's queues are synchronised.
unsafe impl Send for Queue {}

impl Queue {
    /// A new, private queue.
    pub(super) fn new(client: &Arc<Client>) -> Self {
        // SAFETY: a valid handle; returns a new queue.
        Self { raw: unsafe { sys::rd_kafka_queue_new(client.ptr()) }, client: Arc::clone(client) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: owned, dropped once, and the client is still alive.
        unsafe { sys::rd_kafka_queue_destroy(self.raw) }
    }
}

/// Takes messages off a queue, `room` at most.
pub(super) struct Batcher {
    slots: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: between calls the slots are null.
unsafe impl Send for Batcher {}

impl Batcher {
    pub(super) fn new(room: usize) -> Self {
        Self { slots: vec![ptr::null_mut(); room.max(1)] }
    }

    /// Waits until `timeout` for *all* of `most`; rebalances and errors are served meanwhile. Returns how many came.
    pub(super) fn take(
        &mut self,
        queue: &Queue,
        most: usize,
        timeout: Duration,
        mut on: impl FnMut(Polled<'_>),
    ) -> usize {
        let most = most.clamp(1, self.slots.len());
        // SAFETY: the queue is valid and the array has room for `most` pointers.
        let came =
            unsafe { sys::rd_kafka_consume_batch_queue(queue.raw, millis(timeout), self.slots.as_mut_ptr(), most) };
        let came = usize::try_from(came).unwrap_or(0).min(most);
        // each is owned from here on, so a panic in `on` frees the rest
        let messages = Owned(&mut self.slots[..came]);
        for at in 0..came {
            let message = Message(std::mem::replace(&mut messages.0[at], ptr::null_mut()));
            message.open(&mut on);
        }
        came
    }
}

/// Messages that have not had their turn.
struct Owned<'a>(&'a mut [*mut sys::rd_kafka_message_t]);

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        for slot in self.0.iter_mut().filter(|s| !s.is_null()) {
            drop(Message(std::mem::replace(slot, ptr::null_mut())));
        }
    }
}

/// The consumer queue of a group member: records, errors and rebalances in one.
pub(crate) struct Consumer {
    queue: Queue,
    batcher: Batcher,
    waker: Arc<Waker>,
}

impl Consumer {
    /// Takes up to `room` messages a call.
    pub(crate) fn new(client: &Arc<Client>, room: usize) -> Self {
        let get = || Queue {
            // SAFETY: a valid handle with a group; returns a new reference to its queue.
            raw: unsafe { sys::rd_kafka_queue_get_consumer(client.ptr()) },
            client: Arc::clone(client),
        };
        Self { queue: get(), batcher: Batcher::new(room), waker: Arc::new(Waker(Mutex::new(Some(get())))) }
    }

    /// Ends a wait in [`consume`](Self::consume) from another thread.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Takes up to `most` messages. librdkafka waits for all of them until the timeout, so: with a timeout ask for one.
    pub(crate) fn consume(&mut self, most: usize, timeout: Duration, on: impl FnMut(Polled<'_>)) -> usize {
        self.batcher.take(&self.queue, most, timeout, on)
    }

    /// Leaves the group and waits for it until the deadline. Returns whether it was done by then.
    /// `unanswered`: whether librdkafka still waits for the answer to a rebalance; it gets it here.
    pub(crate) fn close(&mut self, topic: &CString, unanswered: bool, deadline: Instant) -> bool {
        self.queue.client.set_closing();
        let rk = self.queue.client.ptr();
        // SAFETY: handle and queue are valid; the error is ours. What remains is served through our queue.
        let started = unsafe { Failure::take(sys::rd_kafka_consumer_close_queue(rk, self.queue.raw)) };
        if let Err(failure) = started {
            tracing::debug!(error = %failure, "could not begin to leave the group");
            return false;
        }
        if unanswered {
            // whatever is said now, librdkafka takes it for "unassign all", since it is closing
            let _ = self.queue.client.unassign(topic, &[]);
        }
        loop {
            // SAFETY: a valid handle.
            if unsafe { sys::rd_kafka_consumer_closed(rk) } != 0 {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.batcher.take(&self.queue, 1, left.min(Duration::from_millis(20)), |_| {});
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.waker.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Wakes the polling thread. Harmless once the consumer is gone.
pub(crate) struct Waker(Mutex<Option<Queue>>);

impl Waker {
    /// Makes the current or next wait end at once.
    pub(crate) fn wake(&self) {
        if let Some(queue) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // SAFETY: the queue is alive while the lock is held.
            unsafe { sys::rd_kafka_queue_yield(queue.raw) }
        }
    }
}
