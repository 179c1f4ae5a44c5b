//! Records on their way into Arrow: one set of growing columns for all partitions of a consumer.
//!
//! Nothing is allocated per record. The columns are sized by the batch before, so that they rarely grow, and the header
//! columns are touched only when a record has headers.

use crate::native::Record;
use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, ListArray, NullBufferBuilder, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use k2_model::batch::{RAW_SCHEMA, header_field, header_fields};
use k2_model::position::fingerprint_crc;
use k2_model::{Error, Result};
use std::sync::Arc;

/// What a row takes beside its bytes: offsets, partition, offset, timestamp.
const ROW_BYTES: usize = 4 + 4 + 4 + 8 + 8;
/// No column of bytes may grow beyond what 32-bit offsets can address.
const COLUMN_LIMIT: usize = i32::MAX as usize;

/// A column of byte strings.
struct Bytes {
    ends: Vec<i32>,
    data: Vec<u8>,
    present: NullBufferBuilder,
}

impl Bytes {
    fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self { ends, data: Vec::with_capacity(bytes), present: NullBufferBuilder::new(rows) }
    }

    fn push(&mut self, value: Option<&[u8]>) {
        match value {
            Some(bytes) => {
                self.data.extend_from_slice(bytes);
                self.present.append_non_null();
            }
            None => self.present.append_null(),
        }
        // `Rows::fits` keeps the column below the limit
        self.ends.push(i32::try_from(self.data.len()).unwrap_or(i32::MAX));
    }

    fn get(&self, row: usize) -> Option<&[u8]> {
        if !self.present.is_valid(row) {
            return None;
        }
        let at = |i: usize| self.ends.get(i).and_then(|e| usize::try_from(*e).ok());
        self.data.get(at(row)?..at(row + 1)?)
    }

    fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(ends))
    }

    fn finish(mut self) -> Result<BinaryArray> {
        BinaryArray::try_new(Self::offsets(self.ends), Buffer::from_vec(self.data), self.present.finish())
            .map_err(not_arrow)
    }
}

fn not_arrow(error: arrow::error::ArrowError) -> Error {
    Error::unknown("records did not fit into Arrow columns").caused_by(error)
}

/// The header columns, from the first record on that has headers.
struct HeaderColumns {
    ends: Vec<i32>,
    present: NullBufferBuilder,
    key_ends: Vec<i32>,
    keys: Vec<u8>,
    values: Bytes,
}

impl HeaderColumns {
    /// Columns in which the rows so far have none.
    fn after(rows: usize) -> Self {
        let mut present = NullBufferBuilder::new(rows + 1);
        present.append_n_nulls(rows);
        Self {
            ends: vec![0; rows + 1],
            present,
            key_ends: vec![0],
            keys: Vec::new(),
            values: Bytes::with_capacity(16, 256),
        }
    }

    fn close_row(&mut self, any: bool) {
        self.ends.push(i32::try_from(self.values.ends.len() - 1).unwrap_or(i32::MAX));
        self.present.append(any);
    }

    fn finish(mut self) -> Result<ListArray> {
        let keys = StringArray::try_new(Bytes::offsets(self.key_ends), Buffer::from_vec(self.keys), None);
        let columns: Vec<ArrayRef> = vec![Arc::new(keys.map_err(not_arrow)?), Arc::new(self.values.finish()?)];
        let entries = StructArray::try_new(header_fields(), columns, None).map_err(not_arrow)?;
        ListArray::try_new(header_field(), Bytes::offsets(self.ends), Arc::new(entries), self.present.finish())
            .map_err(not_arrow)
    }
}

/// The rows of the next batch.
pub(crate) struct Rows {
    value: Bytes,
    key: Bytes,
    headers: Option<HeaderColumns>,
    partition: Vec<i32>,
    offset: Vec<i64>,
    timestamp: Vec<i64>,
    timestamp_present: NullBufferBuilder,
    header_bytes: usize,
}

impl Rows {
    /// Empty columns with room for so many rows.
    pub(crate) fn with_capacity(rows: usize, value_bytes: usize, key_bytes: usize) -> Self {
        Self {
            value: Bytes::with_capacity(rows, value_bytes),
            key: Bytes::with_capacity(rows, key_bytes),
            headers: None,
            partition: Vec::with_capacity(rows),
            offset: Vec::with_capacity(rows),
            timestamp: Vec::with_capacity(rows),
            timestamp_present: NullBufferBuilder::new(rows),
            header_bytes: 0,
        }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.offset.len()
    }

    /// What they take.
    pub(crate) fn bytes(&self) -> usize {
        self.value.data.len() + self.key.data.len() + self.header_bytes + self.len() * ROW_BYTES
    }

    /// Whether a record can still be added: below `most` bytes, and in any case within what Arrow's offsets address.
    /// A single record always fits.
    pub(crate) fn fits(&self, record: &Record<'_>, most: usize) -> bool {
        let more = record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len) + ROW_BYTES;
        self.len() == 0 || self.bytes().saturating_add(more) <= most.min(COLUMN_LIMIT)
    }

    /// Adds a record; its row is [`len`](Self::len) − 1 then.
    pub(crate) fn push(&mut self, record: &Record<'_>) {
        self.push_headers(record);
        self.value.push(record.value);
        self.key.push(record.key);
        self.partition.push(record.partition);
        self.offset.push(record.offset);
        let timestamp = record.timestamp_ms();
        // a client may set any 64-bit number; microseconds end at the edge of theirs
        self.timestamp.push(if timestamp == -1 { 0 } else { timestamp.saturating_mul(1000) });
        self.timestamp_present.append(timestamp != -1);
    }

    fn push_headers(&mut self, record: &Record<'_>) {
        let mut headers = record.headers().peekable();
        if headers.peek().is_none() {
            if let Some(columns) = &mut self.headers {
                columns.close_row(false);
            }
            return;
        }
        let columns = self.headers.get_or_insert_with(|| HeaderColumns::after(self.offset.len()));
        for (key, value) in headers {
            columns.keys.extend_from_slice(key.as_bytes());
            columns.key_ends.push(i32::try_from(columns.keys.len()).unwrap_or(i32::MAX));
            columns.values.push(value);
            self.header_bytes += key.len() + value.map_or(0, <[u8]>::len) + 16;
        }
        columns.close_row(true);
    }

    /// The fingerprint's checksum of a row.
    pub(crate) fn crc(&self, row: usize) -> u32 {
        fingerprint_crc(self.key.get(row), self.value.get(row))
    }

    /// The offset of a row.
    pub(crate) fn offset(&self, row: usize) -> Option<i64> {
        self.offset.get(row).copied()
    }

    /// Takes the rows out as one batch and leaves columns of the same size behind.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch> {
        let grown = |n: usize| n + n / 8;
        let next = Self::with_capacity(grown(self.len()), grown(self.value.data.len()), grown(self.key.data.len()));
        let mut done = std::mem::replace(self, next);
        let rows = done.offset.len();
        let headers = match done.headers {
            Some(columns) => columns.finish()?,
            None => ListArray::new_null(header_field(), rows),
        };
        let timestamp = TimestampMicrosecondArray::new(done.timestamp.into(), done.timestamp_present.finish());
        let columns: Vec<ArrayRef> = vec![
            Arc::new(done.value.finish()?),
            Arc::new(done.key.finish()?),
            Arc::new(headers),
            Arc::new(Int32Array::from(done.partition)),
            Arc::new(Int64Array::from(done.offset)),
            Arc::new(timestamp.with_timezone("+00:00")),
        ];
        RecordBatch::try_new(Arc::clone(&RAW_SCHEMA), columns).map_err(not_arrow)
    }
}
