//! The reference against the contract's own examples, the maker against the reference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::good::EXACT;
use super::*;
use std::collections::BTreeSet;

const KAFKA_MS: i64 = 1_750_000_000_123;
const PLACE: Place<'_> = Place {
    cluster_id: "4L6g3nShT-eMCtK--X86sw",
    topic: "t",
    topic_id: "2jL3SXXhQAa3Xz0Yb2UbVg",
    partition: 3,
    offset: 42,
};

fn binance() -> BinanceTrade {
    BinanceTrade {
        event_type: "trade".into(),
        event_time_ms: KAFKA_MS,
        symbol: Some("BTCUSDT".into()),
        trade_id: 7,
        price: Some("67123.45000000".into()),
        quantity: Some("0.5".into()),
        trade_time_ms: Some(KAFKA_MS),
        is_buyer_maker: Some(true),
        is_best_match: None,
        ingestion_timestamp: 9,
    }
}

fn kraken() -> KrakenTrade {
    KrakenTrade {
        channel_id: 119_930_881,
        price: Some("67123.4".into()),
        volume: Some("1".into()),
        timestamp: Some("1750000000.123456789".into()),
        side: Some("s".into()),
        order_type: "l".into(),
        misc: String::new(),
        pair: Some("XBT/USD".into()),
        ingestion_timestamp: 9,
    }
}

fn fate(trade: RawTrade) -> Fate {
    let value = Some(avro::framed(1, b"stands for it"));
    let record = TradeRecord { key: None, value, timestamp_ms: KAFKA_MS, meaning: Meaning::Trade(trade) };
    reference::fate(&record, &PLACE, &Limits::default())
}

fn silver(trade: RawTrade) -> SilverRow {
    match fate(trade) {
        Fate::Silver(row) => *row,
        Fate::Dlq(reject) => panic!("rejected: {reject:?}"),
    }
}

fn reason(trade: RawTrade) -> &'static str {
    match fate(trade) {
        Fate::Silver(row) => panic!("not rejected: {row:?}"),
        Fate::Dlq(reject) => reject.reason,
    }
}

#[test]
fn quote_assets_of_binance() {
    for (symbol, quote) in [
        ("BTCUSDT", "USDT"),
        ("BTCFDUSD", "FDUSD"),
        ("BTCUSD", "USD"),
        ("ETHBTC", "BTC"),
        ("BTC", "BTC"),
        ("BNBETH", "ETH"),
        ("btcusdt", "UNKNOWN"),
        ("DOGEJPY", "UNKNOWN"),
        (" BTCUSDT ", "UNKNOWN"),
    ] {
        let row = silver(RawTrade::Binance(BinanceTrade { symbol: Some(symbol.into()), ..binance() }));
        assert_eq!((row.symbol.as_str(), row.currency.as_str()), (symbol, quote));
    }
}

#[test]
fn pairs_of_kraken() {
    for (pair, symbol, currency) in [
        ("XBT/USD", "BTCUSD", "USD"),
        ("ETH/XBT", "ETHBTC", "BTC"),
        ("XXBTZUSD", "XXBTZUSD", "USD"),
        ("XBT", "BTC", "USD"),
        ("A/B/C", "ABC", "BC"),
        ("XBTC/USD", "XBTCUSD", "USD"),
        ("eth/usd", "ethusd", "usd"),
    ] {
        let row = silver(RawTrade::Kraken(KrakenTrade { pair: Some(pair.into()), ..kraken() }));
        assert_eq!((row.symbol.as_str(), row.currency.as_str()), (symbol, currency), "{pair}");
    }
    for pair in ["/USD", "XBT/", "/", "", "  "] {
        assert_eq!(reason(RawTrade::Kraken(KrakenTrade { pair: Some(pair.into()), ..kraken() })), "symbol_required");
    }
}

#[test]
fn a_whole_row_of_each() {
    let row = silver(RawTrade::Binance(binance()));
    assert_eq!((row.timestamp, row.price, row.quantity), (1_750_000_000_123_000, 6_712_345_000_000, 50_000_000));
    assert_eq!((row.side.as_str(), row.trade_id.as_str(), row.trade_conditions.len()), ("SELL", "BINANCE-7", 0));
    assert_eq!(
        row.vendor_data.unwrap(),
        r#"{"event_type":"trade","event_time_ms":1750000000123,"is_buyer_maker":true,"is_best_match":null}"#
    );
    let row = silver(RawTrade::Kraken(kraken()));
    assert_eq!((row.timestamp, row.side.as_str()), (1_750_000_000_123_456, "SELL"), "cut off, not rounded");
    assert_eq!(row.trade_conditions, ["limit"]);
    assert_eq!(row.vendor_data.unwrap(), r#"{"channel_id":119930881,"order_type":"l","misc":"","pair":"XBT/USD"}"#);
    assert_eq!(row.trade_id, format!("KRAKEN-1750000000.123456789-{}", &row.message_id[..8]));
    assert_eq!(row.exchange_date, 20_254);
}

#[test]
fn message_ids_are_uuids_of_version_5() {
    // python3: uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, "k2:record"), "4L6g3nShT-eMCtK--X86sw/2jL3SXXhQAa3Xz0Yb2UbVg/3/42")
    assert_eq!(PLACE.message_id(), "30afcfea-9b33-528b-8df6-e0e8c0b45fc6");
}

#[test]
fn numbers_are_taken_by_value() {
    for (text, units) in EXACT {
        let row = silver(RawTrade::Binance(BinanceTrade { price: Some(text.into()), ..binance() }));
        assert_eq!(row.price, units, "{text}");
    }
}

#[test]
fn the_limits_themselves_pass() {
    let at = |ms: i64| RawTrade::Binance(BinanceTrade { trade_time_ms: Some(KAFKA_MS + ms), ..binance() });
    silver(at(300_000));
    silver(at(-365 * 86_400_000));
    assert_eq!(reason(at(300_001)), "timestamp_in_future");
    assert_eq!(reason(at(-365 * 86_400_000 - 1)), "timestamp_too_old");
    assert_eq!(reason(at(i64::MAX - KAFKA_MS)), "timestamp_in_future");
    assert_eq!(reason(at(i64::MIN)), "timestamp_too_old");
}

#[test]
fn the_first_reason_by_the_contracts_order_wins() {
    let trade = binance();
    let bad = |price: Option<&str>, quantity: Option<&str>, time: Option<i64>| {
        let text = |t: Option<&str>| t.map(str::to_owned);
        let (price, quantity) = (text(price), text(quantity));
        reason(RawTrade::Binance(BinanceTrade { price, quantity, trade_time_ms: time, symbol: None, ..trade.clone() }))
    };
    assert_eq!(bad(None, Some(""), Some(0)), "quantity_not_a_decimal", "all of parse before all of value");
    assert_eq!(bad(Some("1.123456789"), Some(""), Some(0)), "quantity_not_a_decimal");
    assert_eq!(bad(Some("1.123456789"), Some("1"), None), "timestamp_not_a_number");
    assert_eq!(bad(Some("-1.123456789"), Some("1"), Some(0)), "decimal_out_of_range");
    assert_eq!(bad(None, Some("0"), Some(0)), "price_is_null");
    assert_eq!(bad(Some("0"), None, Some(0)), "price_must_be_positive");
    assert_eq!(bad(Some("1"), None, Some(0)), "quantity_is_null");
    assert_eq!(bad(Some("1"), Some("1"), Some(0)), "symbol_required");
}

#[test]
fn every_wrong_value_has_the_reason_that_it_is_listed_with() {
    for exchange in Exchange::BOTH {
        for wrong in spoil::wrongs(exchange) {
            let mut trade = match exchange {
                Exchange::Binance => RawTrade::Binance(binance()),
                Exchange::Kraken => RawTrade::Kraken(kraken()),
            };
            (wrong.set)(&mut trade, KAFKA_MS);
            assert_eq!(reason(trade.clone()), wrong.reason, "{trade:?}");
        }
    }
}

#[test]
fn the_maker_knows_good_from_bad_and_makes_every_reason() {
    const ALL: [&str; 17] = [
        "avro_decode_failed",
        "decimal_out_of_range",
        "invalid_side",
        "not_confluent_framed",
        "price_is_null",
        "price_must_be_positive",
        "price_not_a_decimal",
        "quantity_is_null",
        "quantity_must_be_positive",
        "quantity_not_a_decimal",
        "symbol_required",
        "timestamp_in_future",
        "timestamp_not_a_number",
        "timestamp_too_old",
        "tombstone",
        "unknown_schema_id",
        "record_too_large",
    ];
    for exchange in Exchange::BOTH {
        let mut maker = Maker::new(exchange, Ids::of(exchange), 5);
        let limits = Limits { max_record: 60_000, ..Limits::default() };
        let fate = |record: &TradeRecord| reference::fate(record, &PLACE, &limits);
        for _ in 0..2_000 {
            let record = maker.good(KAFKA_MS);
            assert!(matches!(fate(&record), Fate::Silver(_)), "{record:?} is {:?}", fate(&record));
        }
        let mut reasons = BTreeSet::new();
        let large = maker.large(70_000, KAFKA_MS);
        for record in (0..2_000).map(|_| maker.bad(KAFKA_MS)).chain([large]) {
            match fate(&record) {
                Fate::Dlq(reject) => reasons.insert(reject.reason),
                Fate::Silver(row) => panic!("{record:?} is good: {row:?}"),
            };
        }
        assert_eq!(reasons, BTreeSet::from(ALL));
        assert!(maker.one_of_each(KAFKA_MS).len() > 400);
    }
}

#[test]
fn the_encoder_writes_what_the_specification_shows() {
    for (value, bytes) in [(0, &[0][..]), (-1, &[1]), (1, &[2]), (-64, &[0x7f]), (64, &[0x80, 1])] {
        assert_eq!(avro::Encoder::new().long(value).finish(), bytes);
    }
    assert_eq!(avro::Encoder::new().long(i64::MIN).finish(), [&[0xff; 9][..], &[1]].concat());
    assert_eq!(avro::Encoder::new().long_padded(1).finish(), [&[0x82][..], &[0x80; 8], &[0]].concat());
    assert_eq!(avro::Encoder::new().string("foo").finish(), b"\x06foo");
    assert_eq!(avro::framed(0x0102_0304, b"x"), [0, 1, 2, 3, 4, b'x']);
    assert_eq!(avro::frame_id(&[0, 0xff, 0xff, 0xff, 0xff]), Some(-1));
}
