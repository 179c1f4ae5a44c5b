//! A pipeline without Kafka and without tables: raw values in, rows out.

use super::*;
use crate::plan::tests::definition;
use crate::{Definition, Schemas};
use arrow::array::{BinaryBuilder, Int64Array, ListBuilder, StructBuilder};
use k2_model::{ClusterId, TopicId};
use std::time::Duration;

/// When the trades are made.
pub(crate) const TRADE_MILLIS: i64 = 1_700_000_000_123;
/// When Kafka got them.
pub(crate) const KAFKA_MICROS: i64 = 1_700_000_000_125_000;
/// When K2 got them.
pub(crate) const RECEIVED: i64 = 1_700_000_001_000_000;
/// When they are routed.
pub(crate) const NOW: i64 = 1_700_000_002_000_000;

/// Other writers' schemas, by id: what a registry may hold beside the contract's two.
const OTHER_WRITERS: [(i32, &str); 12] = [
    (7, include_str!("schemas/7-binance_nullable.avsc")),
    (8, include_str!("schemas/8-kraken_nullable.avsc")),
    // a new field, the others in another order, numbers in smaller types
    (
        20,
        r#"{"type":"record","name":"BinanceTradeV2","fields":[
        {"name":"venue","type":{"type":"enum","name":"Venue","symbols":["SPOT","MARGIN"]}},
        {"name":"quantity","type":"string"},{"name":"price","type":"string"},
        {"name":"trade_id","type":"int"},{"name":"symbol","type":"string"},
        {"name":"event_type","type":"string"},{"name":"event_time_ms","type":"long"},{"name":"trade_time_ms","type":"long"},
        {"name":"is_buyer_maker","type":"boolean"},
        {"name":"fees","type":{"type":"array","items":{"type":"map","values":"double"}}},
        {"name":"ingestion_timestamp","type":"long"}]}"#,
    ),
    // bytes where the reader has text
    (
        21,
        r#"{"type":"record","name":"BinanceRawTrade","fields":[
        {"name":"event_type","type":"bytes"},{"name":"event_time_ms","type":"int"},{"name":"symbol","type":"bytes"},
        {"name":"trade_id","type":"int"},{"name":"price","type":"bytes"},{"name":"quantity","type":"bytes"},
        {"name":"trade_time_ms","type":"long"},{"name":"is_buyer_maker","type":"boolean"},
        {"name":"ingestion_timestamp","type":"long"}]}"#,
    ),
    // breaking: a price that is a number, no text
    (
        22,
        r#"{"type":"record","name":"BinanceRawTrade","fields":[
        {"name":"event_type","type":"string"},{"name":"event_time_ms","type":"long"},{"name":"symbol","type":"string"},
        {"name":"trade_id","type":"long"},{"name":"price","type":"double"},{"name":"quantity","type":"string"},
        {"name":"trade_time_ms","type":"long"},{"name":"is_buyer_maker","type":"boolean"},
        {"name":"ingestion_timestamp","type":"long"}]}"#,
    ),
    // breaking: no trade_id
    (
        23,
        r#"{"type":"record","name":"BinanceRawTrade","fields":[
        {"name":"event_type","type":"string"},{"name":"event_time_ms","type":"long"},{"name":"symbol","type":"string"},
        {"name":"price","type":"string"},{"name":"quantity","type":"string"},
        {"name":"trade_time_ms","type":"long"},{"name":"is_buyer_maker","type":"boolean"},
        {"name":"ingestion_timestamp","type":"long"}]}"#,
    ),
    // no price at all: the reader's default
    (
        24,
        r#"{"type":"record","name":"BinanceRawTrade","fields":[
        {"name":"event_type","type":"string"},{"name":"event_time_ms","type":"long"},{"name":"symbol","type":"string"},
        {"name":"trade_id","type":"long"},{"name":"quantity","type":"string"},
        {"name":"trade_time_ms","type":"long"},{"name":"is_buyer_maker","type":"boolean"},
        {"name":"ingestion_timestamp","type":"long"}]}"#,
    ),
    // no record
    (25, r#""string""#),
    // a price of several types, only one of which the reader can take
    (
        26,
        r#"{"type":"record","name":"BinanceRawTrade","fields":[
        {"name":"event_type","type":"string"},{"name":"event_time_ms","type":"long"},{"name":"symbol","type":"string"},
        {"name":"trade_id","type":"long"},{"name":"price","type":["double","string"]},{"name":"quantity","type":"string"},
        {"name":"trade_time_ms","type":"long"},{"name":"is_buyer_maker","type":"boolean"},
        {"name":"ingestion_timestamp","type":"long"}]}"#,
    ),
    // a list that has nothing in its items: how many there are costs no bytes
    (27, r#"{"type":"record","name":"Bomb","fields":[{"name":"items","type":{"type":"array","items":"null"}}]}"#),
    // a list of itself
    (
        28,
        r#"{"type":"record","name":"BinanceRawTrade","fields":[
        {"name":"nested","type":["null",{"type":"record","name":"Node","fields":[{"name":"next","type":["null","Node"]}]}]},
        {"name":"event_type","type":"string"},{"name":"event_time_ms","type":"long"},{"name":"symbol","type":"string"},
        {"name":"trade_id","type":"long"},{"name":"price","type":"string"},{"name":"quantity","type":"string"},
        {"name":"trade_time_ms","type":"long"},{"name":"is_buyer_maker","type":"boolean"},
        {"name":"ingestion_timestamp","type":"long"}]}"#,
    ),
    (3, include_str!("../../../../../config/examples/coinbase/3-coinbase_raw_trade.avsc")),
];

/// One raw record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Raw {
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl Raw {
    pub(crate) fn of(value: Option<Vec<u8>>) -> Self {
        Self { value, key: Some(b"key".to_vec()), timestamp: Some(KAFKA_MICROS), partition: 0, offset: 0 }
    }
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Silver(BTreeMap<String, Option<String>>),
    Dlq(BTreeMap<String, Option<String>>),
}

impl Outcome {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Silver(_) => "silver",
            Self::Dlq(row) => row["error_reason"].as_deref().unwrap(),
        }
    }
    pub(crate) fn get(&self, column: &str) -> Option<&str> {
        match self {
            Self::Silver(row) | Self::Dlq(row) => row[column].as_deref(),
        }
    }
}

/// A pipeline.
pub(crate) struct Routing {
    pub(crate) transformer: Transformer,
    pub(crate) identity: TopicIdentity,
    pub(crate) folder: tempfile::TempDir,
}

impl Routing {
    pub(crate) fn of(exchange: &str) -> Self {
        Self::with(&definition(exchange))
    }

    pub(crate) fn with(definition: &Definition) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (id, schema) in OTHER_WRITERS {
            std::fs::write(folder.path().join(format!("{id}-x.avsc")), schema).unwrap();
        }
        for name in ["1-binance_raw_trade.avsc", "2-kraken_raw_trade.avsc"] {
            let text = crate::asset(&format!("config/schemas/{name}")).unwrap().text;
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let schemas = Schemas::folder(folder.path().to_str().unwrap()).unwrap();
        let resolver = Resolver::new(schemas, Duration::ZERO, &definition.pipeline);
        let identity = TopicIdentity {
            cluster_id: ClusterId::new("MkU3OEVBNTcwNTJENDM2Qk"),
            topic: format!("market.crypto.trades.{}.raw", definition.pipeline.trim_start_matches("silver-")).into(),
            topic_id: Some(TopicId::new("vNn1IX_vRrWBb1yP2aaSaw")),
        };
        let plan = Arc::new(Plan::compile(definition).unwrap());
        Self { transformer: Transformer::new(plan, resolver), identity, folder }
    }

    pub(crate) fn route(&mut self, batch: &RecordBatch) -> Routed {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.transformer.prepare(batch)).unwrap();
        self.transformer.route(&self.identity, batch, RECEIVED, NOW).unwrap()
    }

    /// What becomes of each record, in their order, told by partition and offset.
    pub(crate) fn outcomes(&mut self, records: &[Raw]) -> Vec<Outcome> {
        let routed = self.route(&batch(records));
        assert_eq!(routed.silver.schema(), silver_schema());
        assert_eq!(routed.dlq.schema(), crate::dlq_schema());
        let mut found = BTreeMap::new();
        for (rows, outcome) in [(&routed.silver, Outcome::Silver as fn(_) -> _), (&routed.dlq, Outcome::Dlq)] {
            for row in texts(rows) {
                let place = (row["kafka_partition"].clone().unwrap(), row["kafka_offset"].clone().unwrap());
                assert!(found.insert(place, outcome(row)).is_none(), "a record is in both, or twice in one");
            }
        }
        assert_eq!(found.len(), records.len());
        records.iter().map(|r| found[&(r.partition.to_string(), r.offset.to_string())].clone()).collect()
    }

    /// What becomes of one value that is alone in its batch.
    pub(crate) fn outcome(&mut self, value: Vec<u8>) -> Outcome {
        self.outcomes(&[Raw::of(Some(value))]).remove(0)
    }
}

/// A raw batch.
pub(crate) fn batch(records: &[Raw]) -> RecordBatch {
    let mut values = BinaryBuilder::new();
    let mut keys = BinaryBuilder::new();
    let entry = StructBuilder::from_fields(k2_model::batch::header_fields(), 0);
    let mut headers = ListBuilder::new(entry).with_field(k2_model::batch::header_field());
    for record in records {
        values.append_option(record.value.as_deref());
        keys.append_option(record.key.as_deref());
        headers.append_null();
    }
    let timestamps: TimestampMicrosecondArray = records.iter().map(|r| r.timestamp).collect();
    RecordBatch::try_new(
        RAW_SCHEMA.clone(),
        vec![
            Arc::new(values.finish()),
            Arc::new(keys.finish()),
            Arc::new(headers.finish()),
            Arc::new(records.iter().map(|r| r.partition).collect::<Int32Array>()),
            Arc::new(records.iter().map(|r| r.offset).collect::<Int64Array>()),
            Arc::new(timestamps.with_timezone("+00:00")),
        ],
    )
    .unwrap()
}

/// The rows of a batch as text, column by column.
pub(crate) fn texts(rows: &RecordBatch) -> Vec<BTreeMap<String, Option<String>>> {
    let options = FormatOptions::new();
    let schema = rows.schema();
    let columns: Vec<_> = rows.columns().iter().map(|c| (c, ArrayFormatter::try_new(c, &options).unwrap())).collect();
    let cell = |row: usize, (column, shown): &(&ArrayRef, ArrayFormatter<'_>)| {
        column.is_valid(row).then(|| shown.value(row).to_string())
    };
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().clone()).collect();
    (0..rows.num_rows())
        .map(|row| names.iter().cloned().zip(columns.iter().map(|column| cell(row, column))).collect())
        .collect()
}
