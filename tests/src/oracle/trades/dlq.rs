//! Dead letters as they are stored.

use super::{DAY, TradeVerdict, batches, is_now};
use crate::oracle::TableState;
use crate::trades::{Reject, TradeRecord};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the columns'")]
pub struct DlqRow {
    pub raw_record: Option<Vec<u8>>,
    pub error_reason: String,
    pub error_type: String,
    pub error_timestamp: i64,
    pub bronze_source: String,
    pub kafka_offset: i64,
    pub schema_id: Option<i32>,
    pub dlq_date: i32,
    pub message_id: String,
    pub kafka_topic: String,
    pub kafka_partition: i32,
    pub kafka_timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub error_detail: Option<String>,
    pub rules_version: String,
    pub status: String,
    pub ingestion_timestamp: i64,
}

pub(super) async fn read(table: &TableState, verdict: &mut TradeVerdict) -> Vec<DlqRow> {
    let mut rows = Vec::new();
    for (day, batch) in batches(table, verdict).await {
        let from = rows.len();
        read_batch(&batch, &mut rows);
        for row in &rows[from..] {
            if day != Some(row.dlq_date) {
                verdict.find(|| format!("a file of dlq_date {day:?} holds {row:?}"));
            }
        }
    }
    rows
}

pub(super) fn compare(
    letter: &DlqRow,
    record: &TradeRecord,
    expected: Reject,
    source: &str,
    message_id: &str,
    verdict: &mut TradeVerdict,
) {
    let should_be = DlqRow {
        raw_record: record.value.clone(),
        error_reason: expected.reason.into(),
        error_type: expected.error_type.into(),
        bronze_source: source.into(),
        schema_id: expected.schema_id,
        message_id: message_id.into(),
        kafka_timestamp: Some(record.timestamp_ms * 1000),
        key: record.key.clone(),
        status: "open".into(),
        // the wall clock, and what only K2 knows
        error_timestamp: letter.error_timestamp,
        ingestion_timestamp: letter.ingestion_timestamp,
        dlq_date: i32::try_from(letter.error_timestamp.div_euclid(DAY)).unwrap(),
        error_detail: letter.error_detail.clone(),
        rules_version: letter.rules_version.clone(),
        // these have found it
        kafka_topic: letter.kafka_topic.clone(),
        kafka_partition: letter.kafka_partition,
        kafka_offset: letter.kafka_offset,
    };
    if *letter != should_be {
        verdict.find(|| format!("the DLQ has\n    {letter:?}, not\n    {should_be:?}, for\n    {record:?}"));
    }
    if !is_now(letter.error_timestamp)
        || !is_now(letter.ingestion_timestamp)
        || letter.ingestion_timestamp > letter.error_timestamp
    {
        verdict.find(|| format!("not the wall clock: {letter:?}"));
    }
    if letter.rules_version.is_empty() {
        verdict.find(|| format!("no version of the rules: {letter:?}"));
    }
    // what exactly: the field at least, where a field is to blame
    let field: &[&str] = match expected.reason {
        reason if reason.starts_with("price") => &["price"],
        reason if reason.starts_with("quantity") => &["quantity", "volume"],
        reason if reason.starts_with("timestamp") => &["time"],
        reason if reason.starts_with("symbol") => &["symbol", "pair"],
        "invalid_side" => &["side", "is_buyer_maker"],
        "decimal_out_of_range" => &["price", "quantity", "volume"],
        "tombstone" => return,
        _ => &[""],
    };
    let told = letter.error_detail.as_deref().unwrap_or("");
    if told.is_empty() || !field.iter().any(|name| told.contains(name)) {
        verdict.find(|| format!("error_detail must name the field {field:?}: {letter:?}"));
    }
}

fn read_batch(batch: &RecordBatch, rows: &mut Vec<DlqRow>) {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let column = |name: &str, kind: &DataType| -> ArrayRef {
        let column = batch.column_by_name(name).unwrap_or_else(|| panic!("the DLQ has a column {name}"));
        cast(column, kind).unwrap()
    };
    let texts = ["error_reason", "error_type", "bronze_source", "message_id", "kafka_topic", "rules_version", "status"]
        .map(|name| column(name, &DataType::Utf8));
    let [reason, kind, source, message_id, topic, rules, status] =
        texts.each_ref().map(|array| array.as_string::<i32>());
    for array in [reason, kind, source, message_id, topic, rules, status] {
        assert_eq!(array.null_count(), 0, "a required column has nulls");
    }
    let detail = column("error_detail", &DataType::Utf8);
    let detail = detail.as_string::<i32>();
    let bytes = ["raw_record", "key"].map(|name| column(name, &DataType::Binary));
    let [raw, key] = bytes.each_ref().map(|array| array.as_binary::<i32>());
    let times = ["error_timestamp", "kafka_timestamp", "ingestion_timestamp"].map(|name| column(name, &time));
    let [error_time, kafka_time, ingestion] =
        times.each_ref().map(|array| array.as_primitive::<TimestampMicrosecondType>());
    let ints = ["schema_id", "kafka_partition"].map(|name| column(name, &DataType::Int32));
    let [schema_id, partition] = ints.each_ref().map(|array| array.as_primitive::<Int32Type>());
    let offset = column("kafka_offset", &DataType::Int64);
    let offset = offset.as_primitive::<Int64Type>();
    let dates = column("dlq_date", &DataType::Date32);
    let dates = dates.as_primitive::<Date32Type>();

    for row in 0..batch.num_rows() {
        rows.push(DlqRow {
            raw_record: raw.is_valid(row).then(|| raw.value(row).to_vec()),
            error_reason: reason.value(row).into(),
            error_type: kind.value(row).into(),
            error_timestamp: error_time.value(row),
            bronze_source: source.value(row).into(),
            kafka_offset: offset.value(row),
            schema_id: schema_id.is_valid(row).then(|| schema_id.value(row)),
            dlq_date: dates.value(row),
            message_id: message_id.value(row).into(),
            kafka_topic: topic.value(row).into(),
            kafka_partition: partition.value(row),
            kafka_timestamp: kafka_time.is_valid(row).then(|| kafka_time.value(row)),
            key: key.is_valid(row).then(|| key.value(row).to_vec()),
            error_detail: detail.is_valid(row).then(|| detail.value(row).to_owned()),
            rules_version: rules.value(row).into(),
            status: status.value(row).into(),
            ingestion_timestamp: ingestion.value(row),
        });
    }
}
