//! Rejected records as rows of the DLQ table.

use crate::contract::dlq_schema;
use crate::frame;
use crate::input::{Known, Records, raw};
use crate::plan::Plan;
use crate::projection::repeated;
use arrow::array::{
    ArrayRef, AsArray, Date32Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take;
use arrow::error::ArrowError;
use k2_model::clock;
use std::sync::Arc;

/// Why a record is rejected.
#[derive(Debug, Clone)]
pub(crate) struct Reject {
    /// Its place in the raw batch.
    pub(crate) row: u32,
    /// `error_reason`
    pub(crate) reason: Arc<str>,
    /// `error_type`
    pub(crate) error_type: Arc<str>,
    /// `error_detail`
    pub(crate) detail: Option<String>,
}

/// The rows of rejected records, in the order given.
pub(crate) fn rows(
    plan: &Plan,
    records: &Records<'_>,
    rejects: &[Reject],
    received_at: i64,
    now: i64,
) -> Result<RecordBatch, ArrowError> {
    let schema = dlq_schema();
    let count = rejects.len();
    let rows = UInt32Array::from_iter_values(rejects.iter().map(|reject| reject.row));
    let values = take(records.batch.column(raw::VALUE), &rows, None)?;
    let schema_ids: Int32Array = values.as_binary::<i32>().iter().map(frame::schema_id).collect();
    let instant = |micros| Arc::new(TimestampMicrosecondArray::from(vec![micros; count]).with_timezone("+00:00"));
    let text = |text: &str| repeated(&StringArray::from(vec![text]), count);
    let columns: Vec<ArrayRef> = vec![
        values,
        Arc::new(rejects.iter().map(|reject| Some(&*reject.reason)).collect::<StringArray>()),
        Arc::new(rejects.iter().map(|reject| Some(&*reject.error_type)).collect::<StringArray>()),
        instant(now),
        text(&plan.bronze_source)?,
        records.known(Known::Offset, Some(&rows))?,
        Arc::new(schema_ids),
        Arc::new(Date32Array::from(vec![clock::day_of(now); count])),
        records.known(Known::MessageId, Some(&rows))?,
        records.known(Known::Topic, Some(&rows))?,
        records.known(Known::Partition, Some(&rows))?,
        records.known(Known::Timestamp, Some(&rows))?,
        records.known(Known::Key, Some(&rows))?,
        Arc::new(rejects.iter().map(|reject| reject.detail.as_deref()).collect::<StringArray>()),
        text(plan.rules_version())?,
        text("open")?,
        instant(received_at),
    ];
    RecordBatch::try_new(schema, columns)
}
