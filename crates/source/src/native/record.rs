//! One record as librdkafka hands it out, borrowed.

use super::consume::bytes;
use super::sys;
use std::borrow::Cow;
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr;

/// A record of a Kafka topic. Null and empty are different, in key, value and header values.
pub struct Record<'a> {
    /// The partition it was read from.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    raw: *const sys::rd_kafka_message_t,
    alive: PhantomData<&'a ()>,
}

impl std::fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Record({}/{})", self.partition, self.offset)
    }
}

impl<'a> Record<'a> {
    /// Wraps a message that is a record.
    ///
    /// # Safety
    /// `raw` is a consumed message without error that lives for `'a`, and is used by one thread at a time.
    pub(super) unsafe fn of(raw: *const sys::rd_kafka_message_t) -> Self {
        // SAFETY: as the caller promises; payload and key live as long as the message.
        unsafe {
            let message = &*raw;
            Self {
                partition: message.partition,
                offset: message.offset,
                key: bytes(message.key.cast(), message.key_len),
                value: bytes(message.payload.cast(), message.len),
                raw,
                alive: PhantomData,
            }
        }
    }

    /// Its timestamp in milliseconds, create or append time; −1 where it has none.
    pub fn timestamp_ms(&self) -> i64 {
        // SAFETY: the message lives for `'a`; the type of the timestamp does not matter here, −1 says "none".
        unsafe { sys::rd_kafka_message_timestamp(self.raw, ptr::null_mut()) }
    }

    /// The leader epoch it was written in, where the broker told it.
    pub fn leader_epoch(&self) -> Option<i32> {
        // SAFETY: the message lives for `'a`.
        let epoch = unsafe { sys::rd_kafka_message_leader_epoch(self.raw) };
        (epoch >= 0).then_some(epoch)
    }

    /// Its headers, duplicates included, in order. A key that is not UTF-8 comes with U+FFFD; one that holds a NUL byte
    /// ends there (librdkafka hands out C strings).
    pub fn headers(&self) -> Headers<'a> {
        let mut raw = ptr::null_mut();
        // SAFETY: the message lives for `'a`. The headers are parsed once and owned by the message.
        let err = unsafe { sys::rd_kafka_message_headers(self.raw, &mut raw) };
        let found = err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        Headers { raw: if found { raw } else { ptr::null_mut() }, next: 0, alive: PhantomData }
    }
}

/// Iterates over a record's headers.
pub struct Headers<'a> {
    raw: *const sys::rd_kafka_headers_t,
    next: usize,
    alive: PhantomData<&'a ()>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (Cow<'a, str>, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.raw.is_null() {
            return None;
        }
        let (mut name, mut value, mut size) = (ptr::null(), ptr::null::<c_void>(), 0);
        // SAFETY: the headers live as long as the message, for `'a`; name and value point into them.
        unsafe {
            let err = sys::rd_kafka_header_get_all(self.raw, self.next, &mut name, &mut value, &mut size);
            if err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            self.next += 1;
            Some((CStr::from_ptr(name).to_string_lossy(), bytes(value.cast(), size)))
        }
    }
}
