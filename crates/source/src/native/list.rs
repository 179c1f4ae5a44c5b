//! Lists of partitions for C calls.

use rdkafka_sys as sys;
use std::ffi::CString;

/// A partition and where it is to be read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    /// The partition's number.
    pub(crate) partition: i32,
    /// The offset of the first record wanted.
    pub(crate) offset: i64,
    /// The leader epoch of the record before or at it, for librdkafka's truncation check (KIP-320).
    pub(crate) leader_epoch: Option<i32>,
}

impl Seat {
    /// A partition, where the offset does not matter.
    pub(crate) fn of(partition: i32) -> Self {
        Self { partition, offset: i64::from(sys::RD_KAFKA_OFFSET_INVALID), leader_epoch: None }
    }
}

/// An owned `rd_kafka_topic_partition_list_t`.
pub(super) struct List(pub(super) *mut sys::rd_kafka_topic_partition_list_t);

impl List {
    pub(super) fn new(topic: &CString, seats: impl ExactSizeIterator<Item = Seat>) -> Self {
        let size = i32::try_from(seats.len()).unwrap_or(i32::MAX);
        // SAFETY: returns a new list, or aborts when memory is out.
        let list = unsafe { sys::rd_kafka_topic_partition_list_new(size) };
        for seat in seats {
            // SAFETY: the list is ours; the topic is copied; the returned element lives until the next add.
            unsafe {
                let element = sys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), seat.partition);
                (*element).offset = seat.offset;
                if let Some(epoch) = seat.leader_epoch {
                    sys::rd_kafka_topic_partition_set_leader_epoch(element, epoch);
                }
            }
        }
        Self(list)
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: owned, and dropped once.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) }
    }
}

/// The elements of a list that librdkafka owns.
///
/// # Safety
/// `list` is null or a valid list that outlives the returned slice.
pub(super) unsafe fn elements<'a>(
    list: *const sys::rd_kafka_topic_partition_list_t,
) -> &'a [sys::rd_kafka_topic_partition_t] {
    if list.is_null() {
        return &[];
    }
    // SAFETY: a valid list has `cnt` initialised elements; an empty one may have a null array.
    unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        if count == 0 { &[] } else { std::slice::from_raw_parts((*list).elems, count) }
    }
}
