//! Promise: a third exchange needs no Rust. The Coinbase example of `config/examples`, end to end: a block, a reader
//! schema, a projection, and the rules that the other two have.

use k2_tests::oracle::trades::{Tables, rows};
use k2_tests::trades::avro::{Encoder, framed};
use k2_tests::trades::{Meaning, SilverRow, TradeRecord};
use k2_tests::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
/// The id that the example's folder knows the writer schema by.
const ID: i32 = 3;
/// 2025-06-15T15:06:40Z
const KAFKA_MS: i64 = 1_750_000_000_000;

/// A trade of Coinbase's matches channel.
#[derive(Clone, Copy)]
struct Match {
    trade_id: i64,
    sequence: i64,
    time: &'static str,
    product_id: &'static str,
    size: &'static str,
    price: &'static str,
    side: &'static str,
}

const GOOD: Match = Match {
    trade_id: 1_234_567,
    sequence: 9_007_199_254_740_993,
    time: "2025-06-15T15:06:39.123456Z",
    product_id: "BTC-USD",
    size: "0.00012345",
    price: "67123.45",
    side: "sell",
};

impl Match {
    fn record(self) -> TradeRecord {
        let mut body = Encoder::new();
        body.long(self.trade_id).long(self.sequence).string("maker").string("taker").string(self.time);
        body.string(self.product_id).string(self.size).string(self.price).string(self.side).long(7);
        record(Some(framed(ID, &body.finish())))
    }
}

fn record(value: Option<Vec<u8>>) -> TradeRecord {
    // what becomes of it is told by this test, not by the reference
    TradeRecord { key: Some(b"BTC-USD".to_vec()), value, timestamp_ms: KAFKA_MS, meaning: Meaning::NoFrame }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test]
async fn the_coinbase_example_end_to_end() {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create(brokers, "coinbase", 1).await;
    let example = "config/examples/coinbase";
    let silver = Pipeline {
        name: "silver-coinbase".into(),
        table: "silver_coinbase_trades".into(),
        silver: Some(Silver {
            dlq: "silver_dlq_trades".into(),
            bronze: "bronze_coinbase_trades".into(),
            reader_schema: format!("{example}/coinbase_raw_trade.avsc"),
            projection: format!("{example}/coinbase.sql"),
            rules_file: "config/rules/trades.toml".into(),
        }),
        ..Pipeline::silver(&topic, Exchange::Binance)
    };
    let bronze = Pipeline {
        name: "bronze-coinbase".into(),
        table: "bronze_coinbase_trades".into(),
        ..Pipeline::bronze_of(&topic, Exchange::Binance)
    };
    let deployment = Deployment::local(brokers)
        .pipeline(bronze.clone())
        .pipeline(silver.clone())
        .set("registry.folder", example)
        .set("registry.unknown_id_grace", "1s");
    let shipped = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(example);
    copy(&shipped, &deployment.path().join(example));

    let good = [
        GOOD,
        Match { side: "buy", product_id: "ETH-BTC", trade_id: 2, ..GOOD },
        Match { time: "2025-06-15T16:06:39.5+01:00", price: "9999999999.99999999", ..GOOD },
        Match { time: "2025-06-15T15:06:39Z", size: "1.000000000", ..GOOD },
    ];
    let bad = [
        (Match { price: "6.7e4", ..GOOD }.record(), "price_not_a_decimal"),
        (Match { size: "", price: "0", ..GOOD }.record(), "quantity_not_a_decimal"),
        (Match { size: "0.000000001", ..GOOD }.record(), "decimal_out_of_range"),
        (Match { time: "yesterday", ..GOOD }.record(), "timestamp_not_a_number"),
        (Match { price: "-1", ..GOOD }.record(), "price_must_be_positive"),
        (Match { product_id: "", ..GOOD }.record(), "symbol_required"),
        (Match { side: "x", ..GOOD }.record(), "invalid_side"),
        (Match { time: "2025-06-15T15:11:40.000001Z", ..GOOD }.record(), "timestamp_in_future"),
        (Match { time: "2024-01-01T00:00:00Z", ..GOOD }.record(), "timestamp_too_old"),
        (record(None), "tombstone"),
        (record(Some(b"{}".to_vec())), "not_confluent_framed"),
        (record(Some(framed(4, b"x"))), "unknown_schema_id"),
        (record(Some(framed(ID, b"x"))), "avro_decode_failed"),
    ];
    let records: Vec<_> = good.map(Match::record).into_iter().chain(bad.iter().map(|(r, _)| r.clone())).collect();
    let ledger = TradeLoad::on(&topic, Exchange::Binance).send(records).await;
    deployment.run_until_caught_up().run(SOON).await.ok();

    let (table, dlq) = (deployment.table(&silver).await.unwrap(), deployment.dlq(&silver).await);
    let (mut stored, letters) = rows(Tables { silver: &table, dlq: dlq.as_ref() }).await;
    stored.sort_by_key(|row| row.row.kafka_offset);
    assert_eq!(stored.len(), good.len());
    let id = |offset: i64| ledger.place(0, offset).message_id();
    let first = SilverRow {
        message_id: id(0),
        trade_id: "COINBASE-BTC-USD-1234567".into(),
        symbol: "BTCUSD".into(),
        exchange: "COINBASE".into(),
        asset_class: "crypto".into(),
        timestamp: 1_749_999_999_123_456,
        price: 6_712_345_000_000,
        quantity: 12_345,
        currency: "USD".into(),
        side: "BUY".into(),
        trade_conditions: Vec::new(),
        source_sequence: Some(9_007_199_254_740_993),
        ingestion_timestamp: 7,
        platform_sequence: None,
        vendor_data: Some(
            r#"{"sequence":9007199254740993,"time":"2025-06-15T15:06:39.123456Z","product_id":"BTC-USD","side":"sell"}"#
                .into(),
        ),
        schema_id: ID,
        exchange_date: 20_254,
        kafka_topic: topic.name.clone(),
        kafka_partition: 0,
        kafka_offset: 0,
    };
    assert_eq!(stored[0].row, first);
    let second = &stored[1].row;
    assert_eq!((second.symbol.as_str(), second.currency.as_str(), second.side.as_str()), ("ETHBTC", "BTC", "SELL"));
    assert_eq!((stored[2].row.timestamp, stored[2].row.price), (1_749_999_999_500_000, 999_999_999_999_999_999));
    assert_eq!((stored[3].row.timestamp, stored[3].row.quantity), (1_749_999_999_000_000, 100_000_000));

    let reasons: BTreeMap<i64, &str> = letters.iter().map(|l| (l.kafka_offset, l.error_reason.as_str())).collect();
    let expected: BTreeMap<i64, &str> = (4..).zip(bad.iter().map(|(_, reason)| *reason)).collect();
    assert_eq!(reasons, expected, "{letters:#?}");
    assert_eq!(letters.len(), bad.len());
    assert!(letters.iter().all(|l| l.bronze_source == "bronze_coinbase_trades" && l.message_id == id(l.kafka_offset)));
    deployment.k2(["verify", "--kafka"]).run(SOON).await.ok();
}
