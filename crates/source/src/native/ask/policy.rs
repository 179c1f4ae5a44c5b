//! A topic's cleanup policy.

use super::{Answer, Asked, Options, all, empty, op};
use crate::native::consume::Queue;
use crate::native::{Client, Failure, sys, text_of};
use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

impl Client {
    /// Asks for a topic's `cleanup.policy`.
    pub(crate) fn ask_cleanup_policy(self: &Arc<Self>, topic: &CString, timeout: Duration) -> Asked<Option<String>> {
        let queue = Queue::new(self);
        let options = Options::new(self, op::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout);
        // SAFETY: all pointers are valid for the calls; librdkafka copies resource and options.
        unsafe {
            let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
            let mut resources = [sys::rd_kafka_ConfigResource_new(kind, topic.as_ptr())];
            sys::rd_kafka_DescribeConfigs(self.ptr(), resources.as_mut_ptr(), 1, options.0, queue.raw);
            sys::rd_kafka_ConfigResource_destroy(resources[0]);
        }
        Asked { queue, read: read_policy }
    }
}

fn read_policy(answer: &Answer) -> Result<Option<String>, Failure> {
    let mut count = 0;
    // SAFETY: `answer` is an event of this kind or the result is null; all that is reached lives as long as it.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConfigs_result(answer.0);
        if result.is_null() {
            return empty();
        }
        let resources = all(sys::rd_kafka_DescribeConfigs_result_resources(result, &mut count), count);
        let Some(topic) = resources.first().copied() else { return empty() };
        Failure::of(sys::rd_kafka_ConfigResource_error(topic))?;
        let entries = all(sys::rd_kafka_ConfigResource_configs(topic, &mut count), count);
        let policy = entries.iter().find(|e| text_of(sys::rd_kafka_ConfigEntry_name(**e)) == "cleanup.policy");
        Ok(policy.map(|e| text_of(sys::rd_kafka_ConfigEntry_value(*e))))
    }
}
