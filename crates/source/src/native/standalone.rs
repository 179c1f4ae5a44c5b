//! Reading partitions without a group: no assignment, no offsets written.

use super::consume::{Batcher, Queue};
use super::{Client, Failure, Polled, sys};
use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

/// One partition that is being read.
pub(crate) struct Standalone {
    topic: *mut sys::rd_kafka_topic_t,
    partition: i32,
    queue: Queue,
    batcher: Batcher,
}

// SAFETY: librdkafka's topic handles may be used from any thread.
unsafe impl Send for Standalone {}

impl Standalone {
    /// Starts at an absolute offset.
    pub(crate) fn start(client: &Arc<Client>, topic: &CString, partition: i32, offset: i64) -> Result<Self, Failure> {
        let queue = Queue::new(client);
        // SAFETY: a valid handle; the name is copied; no configuration means the client's defaults for topics.
        let topic = unsafe { sys::rd_kafka_topic_new(client.ptr(), topic.as_ptr(), std::ptr::null_mut()) };
        if topic.is_null() {
            // SAFETY: no arguments; the last error of this thread.
            return Err(Failure::of(unsafe { sys::rd_kafka_last_error() }).err().unwrap_or_else(unnamed));
        }
        // SAFETY: topic and queue are valid.
        if unsafe { sys::rd_kafka_consume_start_queue(topic, partition, offset, queue.raw) } != 0 {
            // SAFETY: as above; then the topic handle that is ours.
            let failure = unsafe {
                let failure = Failure::of(sys::rd_kafka_last_error());
                sys::rd_kafka_topic_destroy(topic);
                failure
            };
            return Err(failure.err().unwrap_or_else(unnamed));
        }
        Ok(Self { topic, partition, queue, batcher: Batcher::new(1024) })
    }

    /// Takes what there is; waits until the timeout for the first message.
    pub(crate) fn take(&mut self, timeout: Duration, mut on: impl FnMut(Polled<'_>)) -> usize {
        match self.batcher.take(&self.queue, usize::MAX, Duration::ZERO, &mut on) {
            0 => self.batcher.take(&self.queue, 1, timeout, on),
            came => came,
        }
    }
}

fn unnamed() -> Failure {
    Failure::new(super::code::STATE, "librdkafka gave no reason")
}

impl Drop for Standalone {
    fn drop(&mut self) {
        // SAFETY: started in `start` and stopped once; then our reference to the topic goes.
        unsafe {
            sys::rd_kafka_consume_stop(self.topic, self.partition);
            sys::rd_kafka_topic_destroy(self.topic);
        }
    }
}
