//! Promise: each record is in exactly one of silver and the dead letters, once, and as the contract has it.
//!
//! Records of every kind, under four schema ids an exchange, through bronze and silver of both exchanges in one process.
//! `K2_TEST_TRADES` sets how many random ones (4,000 an exchange), `K2_TEST_SEED` their seed.

use iceberg::spec::{FormatVersion, NestedField, TableMetadata, Transform};
use k2_tests::trades::{Ids, Limits, Maker, Meaning, TradeRecord};
use k2_tests::*;
use std::collections::BTreeSet;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);
/// `rules.max_record` of this test.
const MAX_RECORD: usize = 64 << 10;

/// Every reason that a record can have under the projections that come with K2.
const REASONS: [&str; 17] = [
    "tombstone",
    "not_confluent_framed",
    "record_too_large",
    "unknown_schema_id",
    "avro_decode_failed",
    "price_not_a_decimal",
    "quantity_not_a_decimal",
    "timestamp_not_a_number",
    "decimal_out_of_range",
    "price_is_null",
    "price_must_be_positive",
    "quantity_is_null",
    "quantity_must_be_positive",
    "symbol_required",
    "invalid_side",
    "timestamp_in_future",
    "timestamp_too_old",
];

#[tokio::test]
async fn every_record_is_in_exactly_one_table_as_the_contract_has_it() {
    let brokers = &services::kafka().brokers;
    let mut deployment = Deployment::local(brokers).with_schemas().set("rules.max_record", &MAX_RECORD.to_string());
    let (count, seed) = (setting("K2_TEST_TRADES").unwrap_or(4_000), setting("K2_TEST_SEED").unwrap_or(1));
    let mut pairs = Vec::new();
    for exchange in Exchange::BOTH {
        let topic = Topic::create(brokers, &format!("silver-{}", exchange.name()), 3).await;
        let (bronze, silver) = (Pipeline::bronze_of(&topic, exchange), Pipeline::silver(&topic, exchange));
        deployment = deployment.pipeline(bronze.clone()).pipeline(silver.clone());
        let mut ledger = TradeLoad::on(&topic, exchange).count(count).bad(150).seed(seed).run().await;
        let load = TradeLoad::on(&topic, exchange).seed(2);
        ledger.merge(load.send(one_of_each(exchange, &ledger)).await);
        pairs.push((bronze, silver, ledger));
    }
    deployment.run_until_caught_up().run(SOON).await.ok();

    let limits = Limits { max_record: MAX_RECORD, ..Limits::default() };
    for (bronze, silver, ledger) in &pairs {
        let verdict = deployment.judge_with(silver, ledger, |_, _| limits).await.unwrap();
        println!("{}: {verdict}; {:?}", silver.name, verdict.reasons);
        verdict.assert_complete();
        let reasons: BTreeSet<&str> = verdict.reasons.keys().map(String::as_str).collect();
        assert_eq!(reasons, BTreeSet::from(REASONS));
        assert_eq!(verdict.rules.len(), 1, "one version of the rules: {:?}", verdict.rules);
        assert_eq!(verdict.silver + verdict.dlq, ledger.count);
        assert_eq!(deployment.table(bronze).await.unwrap().row_count().await, ledger.count);
    }
    // and K2 comes to the same conclusion from the tables alone, and against Kafka
    deployment.k2(["verify", "--kafka"]).run(SOON).await.ok();
    let silver = &pairs[0].1;
    the_tables_are_the_contracts(
        &deployment.table(silver).await.unwrap().metadata,
        &deployment.dlq(silver).await.unwrap().metadata,
    );
    // a second run finds nothing to do
    deployment.run_until_caught_up().run(SOON).await.ok();
    for (_, silver, ledger) in &pairs {
        deployment.judge_with(silver, ledger, |_, _| limits).await.unwrap().assert_complete();
    }
}

/// A record of each kind, and some about the largest size: of those that are larger, one has no frame and one an id that
/// nobody knows, and the contract's order decides.
fn one_of_each(exchange: Exchange, like: &TradeLedger) -> Vec<TradeRecord> {
    let now = like.records.values().map(|record| record.timestamp_ms).max().unwrap();
    let mut maker = Maker::new(exchange, Ids::of(exchange), 2);
    let mut records = maker.one_of_each(now);
    let (small, large) = (maker.large(MAX_RECORD - 1_000, now), maker.large(MAX_RECORD + 1_000, now));
    let with = |first: &[u8], meaning: Meaning| {
        let value = large.value.as_deref().unwrap();
        let value = Some([first, &value[first.len()..]].concat());
        TradeRecord { value, meaning, ..large.clone() }
    };
    let others = [with(&[1], Meaning::NoFrame), with(&[0, 0x7f], Meaning::UnknownId)];
    records.extend(others);
    records.extend([small, large]);
    records
}

/// Columns as the contract lists them: a `?` behind what may be null.
fn the_tables_are_the_contracts(silver: &TableMetadata, dlq: &TableMetadata) {
    let columns = |table: &TableMetadata| -> Vec<String> {
        let fields = table.current_schema().as_struct().fields().iter();
        fields.map(|f| format!("{} {}{}", f.name, kind(f), if f.required { "" } else { "?" })).collect()
    };
    assert_eq!(
        columns(silver),
        [
            "message_id string",
            "trade_id string",
            "symbol string",
            "exchange string",
            "asset_class string",
            "timestamp long",
            "price decimal(18, 8)",
            "quantity decimal(18, 8)",
            "currency string",
            "side string",
            "trade_conditions list<string>",
            "source_sequence long?",
            "ingestion_timestamp long",
            "platform_sequence long?",
            "vendor_data string?",
            "validation_timestamp timestamptz",
            "bronze_ingestion_timestamp timestamptz",
            "schema_id int",
            "exchange_date date",
            "kafka_topic string",
            "kafka_partition int",
            "kafka_offset long",
        ]
    );
    assert_eq!(
        columns(dlq),
        [
            "raw_record binary?",
            "error_reason string",
            "error_type string",
            "error_timestamp timestamptz",
            "bronze_source string",
            "kafka_offset long",
            "schema_id int?",
            "dlq_date date",
            "message_id string",
            "kafka_topic string",
            "kafka_partition int",
            "kafka_timestamp timestamptz?",
            "key binary?",
            "error_detail string?",
            "rules_version string",
            "status string",
            "ingestion_timestamp timestamptz",
        ]
    );
    for (table, column, transform) in
        [(silver, "exchange_date", Transform::Identity), (dlq, "dlq_date", Transform::Day)]
    {
        assert_eq!(table.format_version(), FormatVersion::V2);
        let [partition] = table.default_partition_spec().fields() else { panic!("one partition field") };
        let source = table.current_schema().field_by_id(partition.source_id).unwrap();
        assert_eq!((source.name.as_str(), partition.transform), (column, transform));
    }
    for (table, bytes) in [(silver, 128 << 20), (dlq, 32 << 20)] {
        let properties = table.properties();
        assert_eq!(properties["write.target-file-size-bytes"], bytes.to_string());
        assert_eq!(properties["write.parquet.compression-codec"], "zstd");
        assert_eq!(properties["write.metadata.delete-after-commit.enabled"], "true");
        assert_eq!(properties["write.metadata.previous-versions-max"], "5");
    }
}

fn kind(field: &NestedField) -> String {
    match field.field_type.as_ref() {
        iceberg::spec::Type::List(list) => format!("list<{}>", list.element_field.field_type),
        other => other.to_string(),
    }
}
