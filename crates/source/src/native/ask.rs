//! Questions to the brokers. Each is sent at once and answered on a queue of its own, so one can wait or come back later.

mod policy;
mod topic;

pub(crate) use topic::{AskedTopic, TopicFacts, Whom};

use super::consume::Queue;
use super::list::{List, elements};
use super::{Client, ErrorText, Failure, Seat, code, millis, sys, text_of};
use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use sys::rd_kafka_admin_op_t as op;

/// Which end of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spec {
    /// The first offset.
    Earliest,
    /// One past the last offset that a read_committed reader can see.
    Latest,
}

/// A question under way.
pub(crate) struct Asked<T> {
    queue: Queue,
    read: fn(&Answer) -> Result<T, Failure>,
}

/// Offsets by partition, each with its own error.
pub(crate) type OffsetsAsked = Vec<(i32, Result<i64, Failure>)>;

impl<T> Asked<T> {
    /// The answer, if it comes within the time. Once it came, there is no second one.
    pub(crate) fn within(&self, wait: Duration) -> Option<Result<T, Failure>> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // SAFETY: a valid queue; the event is ours.
            let event = unsafe { sys::rd_kafka_queue_poll(self.queue.raw, millis(left)) };
            if !event.is_null() {
                return Some(Answer(event).read(self.read));
            }
            if left.is_zero() {
                return None;
            }
        }
    }

    /// Waits for the answer. librdkafka keeps the request's timeout; a little is added for it to speak up itself.
    pub(crate) fn wait(self, timeout: Duration) -> Result<T, Failure> {
        self.within(timeout + Duration::from_millis(500))
            .unwrap_or_else(|| Err(Failure::new(code::TIMED_OUT, "no broker answered in time")))
    }
}

/// An event that is destroyed when dropped.
struct Answer(*mut sys::rd_kafka_event_t);

impl Answer {
    fn read<T>(self, read: fn(&Answer) -> Result<T, Failure>) -> Result<T, Failure> {
        // SAFETY: a valid event; the text lives as long as it.
        let (err, text) = unsafe {
            let err = sys::rd_kafka_event_error(self.0);
            (err, text_of(sys::rd_kafka_event_error_string(self.0)))
        };
        Failure::of(err).map_err(|f| Failure { text, ..f })?;
        read(&self)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0) }
    }
}

/// Options of a request.
struct Options(*mut sys::rd_kafka_AdminOptions_t);

impl Options {
    fn new(client: &Client, api: op, timeout: Duration) -> Self {
        let mut text = ErrorText::new();
        // SAFETY: a valid handle. A timeout out of range leaves librdkafka's default, which is bounded too.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(client.ptr(), api);
            sys::rd_kafka_AdminOptions_set_request_timeout(options, millis(timeout), text.as_mut_ptr(), text.len());
            Self(options)
        }
    }

    /// Sends the request to this broker instead of the controller.
    fn to_broker(&self, id: i32) {
        let mut text = ErrorText::new();
        // SAFETY: valid options; an id out of range leaves them as they are.
        unsafe { sys::rd_kafka_AdminOptions_set_broker(self.0, id, text.as_mut_ptr(), text.len()) };
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once; requests copy it.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

impl Client {
    /// Asks for one end of several partitions.
    pub(crate) fn ask_offsets(
        self: &Arc<Self>,
        topic: &CString,
        partitions: &[i32],
        spec: Spec,
        timeout: Duration,
    ) -> Asked<OffsetsAsked> {
        let queue = Queue::new(self);
        let options = Options::new(self, op::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout);
        let offset = match spec {
            Spec::Earliest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST,
            Spec::Latest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST,
        };
        let seat = |p: &i32| Seat { partition: *p, offset: offset as i64, leader_epoch: None };
        let list = List::new(topic, partitions.iter().map(seat));
        // SAFETY: all pointers are valid for the calls; librdkafka copies list and options.
        unsafe {
            let _ = Failure::take(sys::rd_kafka_AdminOptions_set_isolation_level(
                options.0,
                sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
            ));
            sys::rd_kafka_ListOffsets(self.ptr(), list.0, options.0, queue.raw);
        }
        Asked { queue, read: read_offsets }
    }

    /// Asks for what a group committed of a topic. Partitions without a commit are left out.
    pub(crate) fn ask_group_offsets(
        self: &Arc<Self>,
        group: &CString,
        topic: &CString,
        partitions: &[i32],
        timeout: Duration,
    ) -> Asked<OffsetsAsked> {
        let queue = Queue::new(self);
        let options = Options::new(self, op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, timeout);
        let list = List::new(topic, partitions.iter().map(|p| Seat::of(*p)));
        // SAFETY: all pointers are valid for the calls; librdkafka copies group, list and options.
        unsafe {
            let mut groups = [sys::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), list.0)];
            sys::rd_kafka_ListConsumerGroupOffsets(self.ptr(), groups.as_mut_ptr(), 1, options.0, queue.raw);
            sys::rd_kafka_ListConsumerGroupOffsets_destroy(groups[0]);
        }
        Asked { queue, read: read_group_offsets }
    }

    /// Asks about a group, which tells whether we may.
    pub(crate) fn ask_group(self: &Arc<Self>, group: &CString, timeout: Duration) -> Asked<Option<bool>> {
        let queue = Queue::new(self);
        let options = Options::new(self, op::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, timeout);
        let mut names = [group.as_ptr()];
        // SAFETY: all pointers are valid for the calls; librdkafka copies names and options.
        unsafe {
            let _ = Failure::take(sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1));
            sys::rd_kafka_DescribeConsumerGroups(self.ptr(), names.as_mut_ptr(), 1, options.0, queue.raw);
        }
        Asked { queue, read: read_group }
    }

    /// Asks for the brokers.
    pub(crate) fn ask_brokers(self: &Arc<Self>, timeout: Duration) -> Asked<Vec<(i32, String)>> {
        let queue = Queue::new(self);
        let options = Options::new(self, op::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER, timeout);
        // SAFETY: all pointers are valid for the call; librdkafka copies the options.
        unsafe { sys::rd_kafka_DescribeCluster(self.ptr(), options.0, queue.raw) }
        Asked { queue, read: read_brokers }
    }
}

/// The things behind an array of pointers that an answer owns.
///
/// # Safety
/// `first` points to `count` pointers that are valid as long as the answer.
unsafe fn all<'a, T>(first: *mut *const T, count: usize) -> &'a [*const T] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(first, count) }
}

fn empty<T>() -> Result<T, Failure> {
    Err(Failure::new(code::STATE, "the answer of the brokers is empty"))
}

/// Whether "read" is among some rights; none if the brokers told none.
///
/// # Safety
/// `first` is null or points to `count` operations.
unsafe fn may_read(first: *const sys::rd_kafka_AclOperation_t, count: usize) -> Option<bool> {
    use sys::rd_kafka_AclOperation_t as acl;
    if first.is_null() || count == 0 {
        return None;
    }
    // SAFETY: as the caller promises.
    let rights = unsafe { std::slice::from_raw_parts(first, count) };
    Some(rights.iter().any(|r| matches!(r, acl::RD_KAFKA_ACL_OPERATION_READ | acl::RD_KAFKA_ACL_OPERATION_ALL)))
}

fn read_offsets(answer: &Answer) -> Result<OffsetsAsked, Failure> {
    let mut count = 0;
    // SAFETY: `answer` is an event of this kind or the result is null; all that is reached lives as long as it.
    unsafe {
        let result = sys::rd_kafka_event_ListOffsets_result(answer.0);
        if result.is_null() {
            return empty();
        }
        let infos = all(sys::rd_kafka_ListOffsets_result_infos(result, &mut count), count);
        Ok(infos.iter().map(|info| offset_of(&*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(*info))).collect())
    }
}

fn offset_of(element: &sys::rd_kafka_topic_partition_t) -> (i32, Result<i64, Failure>) {
    (element.partition, Failure::of(element.err).map(|()| element.offset))
}

fn read_group_offsets(answer: &Answer) -> Result<OffsetsAsked, Failure> {
    let mut count = 0;
    // SAFETY: as in `read_offsets`.
    unsafe {
        let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(answer.0);
        if result.is_null() {
            return empty();
        }
        let groups = all(sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, ptr::addr_of_mut!(count)), count);
        let Some(group) = groups.first().copied() else { return empty() };
        Failure::peek(sys::rd_kafka_group_result_error(group))?;
        let listed = elements(sys::rd_kafka_group_result_partitions(group));
        Ok(listed.iter().map(offset_of).filter(|(_, offset)| !matches!(offset, Ok(o) if *o < 0)).collect())
    }
}

fn read_group(answer: &Answer) -> Result<Option<bool>, Failure> {
    let mut count = 0;
    // SAFETY: as in `read_offsets`.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(answer.0);
        if result.is_null() {
            return empty();
        }
        let groups = all(sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count), count);
        let Some(group) = groups.first().copied() else { return empty() };
        match Failure::peek(sys::rd_kafka_ConsumerGroupDescription_error(group)) {
            // a group that nobody has joined yet
            Err(failure) if failure.code == code::GROUP_ID_NOT_FOUND => return Ok(None),
            other => other?,
        }
        let mut rights = 0;
        let first = sys::rd_kafka_ConsumerGroupDescription_authorized_operations(group, &mut rights);
        Ok(may_read(first, rights))
    }
}

fn read_brokers(answer: &Answer) -> Result<Vec<(i32, String)>, Failure> {
    let mut count = 0;
    // SAFETY: as in `read_offsets`.
    unsafe {
        let result = sys::rd_kafka_event_DescribeCluster_result(answer.0);
        if result.is_null() {
            return empty();
        }
        let nodes = all(sys::rd_kafka_DescribeCluster_result_nodes(result, &mut count), count);
        let broker = |node: &*const sys::rd_kafka_Node_t| {
            let host = CStr::from_ptr(sys::rd_kafka_Node_host(*node)).to_string_lossy();
            (sys::rd_kafka_Node_id(*node), format!("{host}:{}", sys::rd_kafka_Node_port(*node)))
        };
        Ok(nodes.iter().map(broker).collect())
    }
}
