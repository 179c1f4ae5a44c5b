//! Rows of a dead letter table, from Arrow.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use k2_model::{Error, Result};

/// A dead letter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) message_id: Option<String>,
    pub(super) bronze_source: Option<String>,
    pub(super) kafka_topic: Option<String>,
    pub(super) kafka_partition: Option<i64>,
    pub(super) kafka_offset: Option<i64>,
    /// µs, as all times here.
    pub(super) kafka_timestamp: Option<i64>,
    pub(super) ingestion_timestamp: Option<i64>,
    pub(super) error_timestamp: Option<i64>,
    pub(super) error_reason: Option<String>,
    pub(super) error_type: Option<String>,
    pub(super) error_detail: Option<String>,
    pub(super) schema_id: Option<i64>,
    pub(super) rules_version: Option<String>,
    pub(super) status: Option<String>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) raw_record: Option<Vec<u8>>,
}

/// What [`letters`] needs of a table.
pub(super) const COLUMNS: [&str; 16] = [
    "message_id",
    "bronze_source",
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
    "kafka_timestamp",
    "ingestion_timestamp",
    "error_timestamp",
    "error_reason",
    "error_type",
    "error_detail",
    "schema_id",
    "rules_version",
    "status",
    "key",
    "raw_record",
];

/// The rows of a batch.
pub(super) fn letters(batch: &RecordBatch) -> Result<Vec<Letter>> {
    let text = |name| Column::text(batch, name);
    let number = |name| Column::number(batch, name);
    let time = |name| Column::time(batch, name);
    let bytes = |name| Column::bytes(batch, name);
    let (message_id, bronze_source, kafka_topic) = (text("message_id")?, text("bronze_source")?, text("kafka_topic")?);
    let (kafka_partition, kafka_offset) = (number("kafka_partition")?, number("kafka_offset")?);
    let (kafka_timestamp, ingestion_timestamp) = (time("kafka_timestamp")?, time("ingestion_timestamp")?);
    let (error_timestamp, schema_id) = (time("error_timestamp")?, number("schema_id")?);
    let (error_reason, error_type, error_detail) = (text("error_reason")?, text("error_type")?, text("error_detail")?);
    let (rules_version, status) = (text("rules_version")?, text("status")?);
    let (key, raw_record) = (bytes("key")?, bytes("raw_record")?);
    let letter = |row| Letter {
        message_id: message_id.at(row),
        bronze_source: bronze_source.at(row),
        kafka_topic: kafka_topic.at(row),
        kafka_partition: kafka_partition.at(row),
        kafka_offset: kafka_offset.at(row),
        kafka_timestamp: kafka_timestamp.at(row),
        ingestion_timestamp: ingestion_timestamp.at(row),
        error_timestamp: error_timestamp.at(row),
        error_reason: error_reason.at(row),
        error_type: error_type.at(row),
        error_detail: error_detail.at(row),
        schema_id: schema_id.at(row),
        rules_version: rules_version.at(row),
        status: status.at(row),
        key: key.at(row),
        raw_record: raw_record.at(row),
    };
    Ok((0..batch.num_rows()).map(letter).collect())
}

/// A column in a known type, whatever form of it the query gave.
pub(super) struct Column<A>(A);

impl Column<StringArray> {
    pub(super) fn text(batch: &RecordBatch, name: &str) -> Result<Self> {
        Ok(Self(column(batch, name, &DataType::Utf8)?.as_string::<i32>().clone()))
    }
    pub(super) fn at(&self, row: usize) -> Option<String> {
        self.0.is_valid(row).then(|| self.0.value(row).to_owned())
    }
}

impl Column<Int64Array> {
    pub(super) fn number(batch: &RecordBatch, name: &str) -> Result<Self> {
        Ok(Self(column(batch, name, &DataType::Int64)?.as_primitive::<Int64Type>().clone()))
    }
    pub(super) fn time(batch: &RecordBatch, name: &str) -> Result<Self> {
        let micros = column(batch, name, &DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())))?;
        Ok(Self(converted(&micros, name, &DataType::Int64)?.as_primitive::<Int64Type>().clone()))
    }
    pub(super) fn at(&self, row: usize) -> Option<i64> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }
}

impl Column<BinaryArray> {
    pub(super) fn bytes(batch: &RecordBatch, name: &str) -> Result<Self> {
        Ok(Self(column(batch, name, &DataType::Binary)?.as_binary::<i32>().clone()))
    }
    pub(super) fn at(&self, row: usize) -> Option<Vec<u8>> {
        self.0.is_valid(row).then(|| self.0.value(row).to_vec())
    }
}

fn column(batch: &RecordBatch, name: &str, wanted: &DataType) -> Result<ArrayRef> {
    let there = batch.column_by_name(name);
    converted(there.ok_or_else(|| Error::unknown(format!("the query gave no column {name}")))?, name, wanted)
}

fn converted(column: &ArrayRef, name: &str, wanted: &DataType) -> Result<ArrayRef> {
    cast(column, wanted).map_err(|e| Error::unknown(format!("column {name} cannot be read")).caused_by(e))
}
