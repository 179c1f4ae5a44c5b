//! The columns of the silver and DLQ tables: names, types and order by contract (`docs` of the tables: crates/lake, contract).
//!
//! These are the plain Arrow types in which rows leave this room; the lake matches them to a table's columns by name.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};

/// Total digits of a price or quantity.
pub const PRECISION: u8 = 18;
/// Decimals of a price or quantity.
pub const SCALE: i8 = 8;

/// An instant, in microseconds, UTC.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

/// A list of texts, none of them null.
pub(crate) fn texts() -> DataType {
    DataType::List(Arc::new(Field::new("element", DataType::Utf8, false)))
}

/// A price or a quantity.
pub(crate) fn amount() -> DataType {
    DataType::Decimal128(PRECISION, SCALE)
}

static SILVER: LazyLock<SchemaRef> = LazyLock::new(|| {
    let required = |name: &str, data_type: DataType| Field::new(name, data_type, false);
    let optional = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        required("message_id", DataType::Utf8),
        required("trade_id", DataType::Utf8),
        required("symbol", DataType::Utf8),
        required("exchange", DataType::Utf8),
        required("asset_class", DataType::Utf8),
        required("timestamp", DataType::Int64),
        required("price", amount()),
        required("quantity", amount()),
        required("currency", DataType::Utf8),
        required("side", DataType::Utf8),
        required("trade_conditions", texts()),
        optional("source_sequence", DataType::Int64),
        required("ingestion_timestamp", DataType::Int64),
        optional("platform_sequence", DataType::Int64),
        optional("vendor_data", DataType::Utf8),
        required("validation_timestamp", instant()),
        required("bronze_ingestion_timestamp", instant()),
        required("schema_id", DataType::Int32),
        required("exchange_date", DataType::Date32),
        required("kafka_topic", DataType::Utf8),
        required("kafka_partition", DataType::Int32),
        required("kafka_offset", DataType::Int64),
    ]))
});

static DLQ: LazyLock<SchemaRef> = LazyLock::new(|| {
    let required = |name: &str, data_type: DataType| Field::new(name, data_type, false);
    let optional = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        optional("raw_record", DataType::Binary),
        required("error_reason", DataType::Utf8),
        required("error_type", DataType::Utf8),
        required("error_timestamp", instant()),
        required("bronze_source", DataType::Utf8),
        required("kafka_offset", DataType::Int64),
        optional("schema_id", DataType::Int32),
        required("dlq_date", DataType::Date32),
        required("message_id", DataType::Utf8),
        required("kafka_topic", DataType::Utf8),
        required("kafka_partition", DataType::Int32),
        optional("kafka_timestamp", instant()),
        optional("key", DataType::Binary),
        optional("error_detail", DataType::Utf8),
        required("rules_version", DataType::Utf8),
        required("status", DataType::Utf8),
        required("ingestion_timestamp", instant()),
    ]))
});

/// The columns of a silver table.
pub fn silver_schema() -> SchemaRef {
    SILVER.clone()
}

/// The columns of the DLQ table.
pub fn dlq_schema() -> SchemaRef {
    DLQ.clone()
}
