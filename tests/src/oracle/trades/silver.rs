//! Rows of silver as they are stored.

use super::{TradeVerdict, batches, is_now};
use crate::oracle::TableState;
use crate::trades::SilverRow;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};

/// A row, with the columns that tell the wall clock.
#[derive(Debug)]
pub struct StoredSilver {
    /// All other columns.
    pub row: SilverRow,
    /// `validation_timestamp`
    pub validated: i64,
    /// `bronze_ingestion_timestamp`
    pub ingested: i64,
}

pub(super) async fn read(table: &TableState, verdict: &mut TradeVerdict) -> Vec<StoredSilver> {
    let mut rows = Vec::new();
    for (day, batch) in batches(table, verdict).await {
        let from = rows.len();
        read_batch(&batch, &mut rows);
        for row in &rows[from..] {
            if day != Some(row.row.exchange_date) {
                verdict.find(|| format!("a file of exchange_date {day:?} holds {:?}", row.row));
            }
        }
    }
    rows
}

pub(super) fn compare(stored: &StoredSilver, expected: &SilverRow, verdict: &mut TradeVerdict) {
    if stored.row != *expected {
        verdict.find(|| format!("silver has\n    {:?}, not\n    {expected:?}", stored.row));
    }
    if !is_now(stored.validated) || !is_now(stored.ingested) || stored.ingested > stored.validated {
        verdict.find(|| format!("not the wall clock: {stored:?}"));
    }
}

fn read_batch(batch: &RecordBatch, rows: &mut Vec<StoredSilver>) {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let column = |name: &str, kind: &DataType| -> ArrayRef {
        let column = batch.column_by_name(name).unwrap_or_else(|| panic!("silver has a column {name}"));
        cast(column, kind).unwrap()
    };
    let texts = ["message_id", "trade_id", "symbol", "exchange", "asset_class", "currency", "side", "kafka_topic"]
        .map(|name| column(name, &DataType::Utf8));
    let [message_id, trade_id, symbol, exchange, asset_class, currency, side, kafka_topic] =
        texts.each_ref().map(|array| array.as_string::<i32>());
    let vendor_data = column("vendor_data", &DataType::Utf8);
    let vendor_data = vendor_data.as_string::<i32>();
    let longs = ["timestamp", "source_sequence", "ingestion_timestamp", "platform_sequence", "kafka_offset"]
        .map(|name| column(name, &DataType::Int64));
    let [timestamp, source_sequence, ingestion, platform_sequence, kafka_offset] =
        longs.each_ref().map(|array| array.as_primitive::<Int64Type>());
    let ints = ["schema_id", "kafka_partition"].map(|name| column(name, &DataType::Int32));
    let [schema_id, kafka_partition] = ints.each_ref().map(|array| array.as_primitive::<Int32Type>());
    let decimals = ["price", "quantity"].map(|name| {
        let column = batch.column_by_name(name).unwrap();
        assert_eq!(column.data_type(), &DataType::Decimal128(18, 8), "{name}");
        column.as_primitive::<Decimal128Type>()
    });
    let times = ["validation_timestamp", "bronze_ingestion_timestamp"].map(|name| column(name, &time));
    let [validated, ingested] = times.each_ref().map(|array| array.as_primitive::<TimestampMicrosecondType>());
    let dates = column("exchange_date", &DataType::Date32);
    let dates = dates.as_primitive::<Date32Type>();
    let conditions = batch.column_by_name("trade_conditions").unwrap().as_list::<i32>();
    for array in [message_id, trade_id, symbol, exchange, asset_class, currency, side, kafka_topic] {
        assert_eq!(array.null_count(), 0, "a required column has nulls");
    }

    for row in 0..batch.num_rows() {
        assert!(conditions.is_valid(row), "trade_conditions is never null");
        let items = cast(&conditions.value(row), &DataType::Utf8).unwrap();
        let nullable = |array: &arrow::array::Int64Array| array.is_valid(row).then(|| array.value(row));
        rows.push(StoredSilver {
            row: SilverRow {
                message_id: message_id.value(row).into(),
                trade_id: trade_id.value(row).into(),
                symbol: symbol.value(row).into(),
                exchange: exchange.value(row).into(),
                asset_class: asset_class.value(row).into(),
                timestamp: timestamp.value(row),
                price: decimals[0].value(row),
                quantity: decimals[1].value(row),
                currency: currency.value(row).into(),
                side: side.value(row).into(),
                trade_conditions: items.as_string::<i32>().iter().map(|item| item.unwrap().to_owned()).collect(),
                source_sequence: nullable(source_sequence),
                ingestion_timestamp: ingestion.value(row),
                platform_sequence: nullable(platform_sequence),
                vendor_data: vendor_data.is_valid(row).then(|| vendor_data.value(row).to_owned()),
                schema_id: schema_id.value(row),
                exchange_date: dates.value(row),
                kafka_topic: kafka_topic.value(row).into(),
                kafka_partition: kafka_partition.value(row),
                kafka_offset: kafka_offset.value(row),
            },
            validated: validated.value(row),
            ingested: ingested.value(row),
        });
    }
}
