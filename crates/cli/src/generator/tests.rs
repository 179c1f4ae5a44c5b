#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::producer::{Ledger, Producer};
use super::*;
use apache_avro::types::Value;
use apache_avro::{Schema, from_avro_datum};
use rdkafka::mocking::MockCluster;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

const BINANCE_SCHEMA: &str = include_str!("../../../../config/schemas/1-binance_raw_trade.avsc");
const KRAKEN_SCHEMA: &str = include_str!("../../../../config/schemas/2-kraken_raw_trade.avsc");

/// Decodes by the writer schema, with a library that is not ours; the body must be consumed to its end.
fn decode(schema: &Schema, id: u32, record: &[u8]) -> HashMap<String, Value> {
    assert_eq!(record[0], 0, "magic byte");
    assert_eq!(record[1..5], id.to_be_bytes(), "schema id");
    let mut body = &record[5..];
    let Value::Record(fields) = from_avro_datum(schema, &mut body, None).unwrap() else { panic!("no record") };
    assert!(body.is_empty(), "bytes left over");
    fields.into_iter().collect()
}

fn text(value: &Value) -> &str {
    match value {
        Value::String(text) => text,
        other => panic!("no string: {other:?}"),
    }
}

fn long(value: &Value) -> i64 {
    match value {
        Value::Long(number) => *number,
        other => panic!("no long: {other:?}"),
    }
}

/// The contract's form of a number: digits, a point, digits.
fn decimal(value: &Value, decimals: usize) -> f64 {
    let (whole, fraction) = text(value).split_once('.').expect("a point");
    assert!(!whole.is_empty() && whole.len() <= 10 && whole.bytes().all(|b| b.is_ascii_digit()));
    assert!(whole == "0" || !whole.starts_with('0'));
    assert!(fraction.len() == decimals && fraction.bytes().all(|b| b.is_ascii_digit()), "{}", text(value));
    text(value).parse().unwrap()
}

#[test]
fn schemas_list_the_fields_of_the_contract() {
    let fields = |text: &str| match Schema::parse_str(text).unwrap() {
        Schema::Record(record) => {
            (record.name.fullname(None), record.fields.iter().map(|f| f.name.clone()).collect::<Vec<_>>().join(" "))
        }
        other => panic!("no record: {other:?}"),
    };
    let (name, list) = fields(BINANCE_SCHEMA);
    assert_eq!(name, "com.k2.marketdata.raw.BinanceRawTrade");
    assert_eq!(
        list,
        "event_type event_time_ms symbol trade_id price quantity trade_time_ms is_buyer_maker is_best_match \
         ingestion_timestamp"
    );
    let (name, list) = fields(KRAKEN_SCHEMA);
    assert_eq!(name, "com.k2.marketdata.raw.KrakenRawTrade");
    assert_eq!(list, "channel_id price volume timestamp side order_type misc pair ingestion_timestamp");
}

#[test]
fn binance_trades_decode_and_are_realistic() {
    let schema = Schema::parse_str(BINANCE_SCHEMA).unwrap();
    let mut trades = TradeGenerator::binance(7);
    let mut last_id: HashMap<String, i64> = HashMap::new();
    let (mut nulls, mut sells, mut ingested) = (0, 0, 0);
    let mut record = Vec::new();
    for _ in 0..50_000 {
        record.clear();
        let key = trades.next(&mut record).key;
        let trade = decode(&schema, 1, &record);
        assert_eq!(text(&trade["event_type"]), "trade");
        assert_eq!(text(&trade["symbol"]), key);
        assert!(decimal(&trade["price"], 8) > 0.0);
        assert!(decimal(&trade["quantity"], 8) > 0.0);
        let id = long(&trade["trade_id"]);
        let before = last_id.insert(key.to_owned(), id).unwrap_or(0);
        assert!(id > before, "{key}: {id} after {before}");
        let (event, traded) = (long(&trade["event_time_ms"]), long(&trade["trade_time_ms"]));
        let received = long(&trade["ingestion_timestamp"]);
        assert!(traded <= event && event * 1000 < received, "{traded} {event} {received}");
        assert!(received >= ingested && received - event * 1000 < 60_000);
        ingested = received;
        match &trade["is_best_match"] {
            Value::Union(0, null) => {
                assert_eq!(**null, Value::Null);
                nulls += 1;
            }
            Value::Union(1, value) => assert_eq!(**value, Value::Boolean(true)),
            other => panic!("no union: {other:?}"),
        }
        sells += u32::from(trade["is_buyer_maker"] == Value::Boolean(true));
    }
    assert_eq!(last_id.len(), market::BINANCE.len(), "every symbol trades");
    assert!((20_000..30_000).contains(&sells) && (100..1_000).contains(&nulls), "{sells} {nulls}");
}

#[test]
fn kraken_trades_decode_and_are_realistic() {
    let schema = Schema::parse_str(KRAKEN_SCHEMA).unwrap();
    let mut trades = TradeGenerator::kraken(7);
    trades.set_clock(1_700_000_000_000_007);
    let mut seen: HashSet<(String, String, String)> = HashSet::new();
    let mut record = Vec::new();
    for _ in 0..50_000 {
        record.clear();
        let key = trades.next(&mut record).key;
        let trade = decode(&schema, 2, &record);
        assert_eq!(text(&trade["pair"]), key);
        let shown = text(&trade["price"]).split_once('.').unwrap().1.len();
        assert!((5..=8).contains(&shown) && decimal(&trade["price"], shown) > 0.0);
        assert!(decimal(&trade["volume"], 8) > 0.0);
        let (seconds, micros) = text(&trade["timestamp"]).split_once('.').unwrap();
        assert_eq!((seconds.len(), micros.len()), (10, 6));
        let made = seconds.parse::<i64>().unwrap() * 1_000_000 + micros.parse::<i64>().unwrap();
        assert!((1..60_000).contains(&(long(&trade["ingestion_timestamp"]) - made)));
        assert_eq!(text(&trade["misc"]), "");
        seen.insert((key.to_owned(), text(&trade["side"]).to_owned(), text(&trade["order_type"]).to_owned()));
    }
    assert_eq!(seen.len(), market::KRAKEN.len() * 4, "every pair, bought and sold, by limit and by market order");
    assert!(seen.iter().all(|(_, side, order)| ["b", "s"].contains(&&**side) && ["l", "m"].contains(&&**order)));
}

#[test]
fn prices_walk_but_stay_in_sight() {
    let mut trades = TradeGenerator::binance(3);
    let schema = Schema::parse_str(BINANCE_SCHEMA).unwrap();
    let (mut prices, mut record) = (Vec::new(), Vec::new());
    for n in 0..2_000_000 {
        record.clear();
        if trades.next(&mut record).key == "BTCUSDT" && n % 10 == 0 {
            prices.push(decimal(&decode(&schema, 1, &record)["price"], 8));
        }
    }
    assert!(prices.iter().all(|p| (33_000.0..135_000.0).contains(p)));
    assert!(prices.iter().map(|p| p.to_bits()).collect::<HashSet<_>>().len() > 100, "it moves");
}

#[test]
fn a_seed_is_a_stream() {
    let bytes = |seed| {
        let (mut out, mut trades) = (Vec::new(), TradeGenerator::binance(seed));
        (0..1_000).for_each(|_| {
            trades.next(&mut out);
        });
        out
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
    // pinned: a benchmark of last year must have run on the same bytes
    assert_eq!(crc32(&bytes(1)), PINNED_STREAM);
}

/// CRC-32 (as zlib has it) of the first thousand Binance records of seed 1.
const PINNED_STREAM: u32 = 2_098_256_195;

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { c >> 1 ^ 0xEDB8_8320 } else { c >> 1 })
    })
}

#[test]
fn shards_have_no_symbol_in_common_and_all_together() {
    let symbols = |shard| {
        let (mut value, mut trades) = (Vec::new(), TradeGenerator::sharded(Exchange::Binance, 1, shard, 3));
        (0..20_000).map(|_| trades.next(&mut value).key).collect::<HashSet<_>>()
    };
    let shards = [symbols(0), symbols(1), symbols(2)];
    assert_eq!(shards.iter().flatten().collect::<HashSet<_>>().len(), market::BINANCE.len());
    assert_eq!(shards.iter().map(HashSet::len).sum::<usize>(), market::BINANCE.len());
}

/// Not a promise of a rate on every machine; run it with `--nocapture` to see this one's.
#[test]
fn it_is_fast() {
    for exchange in [Exchange::Binance, Exchange::Kraken] {
        let mut trades = TradeGenerator::new(exchange, 1);
        let mut value = Vec::with_capacity(256);
        let (started, mut bytes) = (Instant::now(), 0);
        for _ in 0..1_000_000 {
            value.clear();
            trades.next(&mut value);
            bytes += value.len();
        }
        assert_eq!(value.capacity(), 256, "the buffer is used again");
        let seconds = started.elapsed().as_secs_f64();
        println!("{}: 1 M records of {} bytes in {seconds:.3} s", exchange.name(), bytes / 1_000_000);
    }
}

#[test]
fn the_ledger_agrees_with_the_broker() {
    let broker = MockCluster::new(1).unwrap();
    broker.create_topic("trades", 4, 1).unwrap();
    let ledger = Ledger::new("trades", 4);
    let producer = Producer::new(&broker.bootstrap_servers(), &ledger, "lz4", Duration::from_millis(5)).unwrap();
    let (mut trades, mut value) = (TradeGenerator::binance(1), Vec::new());
    for _ in 0..20_000 {
        value.clear();
        let key = trades.next(&mut value).key;
        producer.send(None, key, Some(&value)).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    ledger.check().unwrap();
    assert_eq!(ledger.records(), 20_000);
    let total: i64 = ledger.partitions().iter().map(|p| p.next_offset()).sum();
    assert_eq!(total, 20_000, "offsets are dense");
}

#[test]
fn a_refused_record_is_in_the_ledger() {
    let ledger = Ledger::new("trades", 1);
    ledger.acknowledged(0, 0);
    ledger.check().unwrap();
    ledger.acknowledged(1, 0);
    let message = ledger.check().unwrap_err().to_string();
    assert!(message.contains("1 records were not acknowledged") && message.contains("partition 1"), "{message}");
}

#[test]
fn one_record_in_so_many_is_bad_in_every_way_and_the_rest_stay_good() {
    let schema = Schema::parse_str(BINANCE_SCHEMA).unwrap();
    let mut trades = TradeGenerator::binance(3);
    trades.spoil(100);
    let (mut bad, mut record) = (HashMap::new(), Vec::new());
    for _ in 0..50_000 {
        record.clear();
        let generated = trades.next(&mut record);
        match generated.flaw {
            Some(flaw) => *bad.entry(flaw.reason()).or_insert(0) += 1,
            None => assert_eq!(text(&decode(&schema, 1, &record)["symbol"]), generated.key),
        }
        assert_eq!(generated.value(&record).is_none(), generated.flaw == Some(Flaw::Tombstone));
    }
    assert_eq!(bad.len(), Flaw::ALL.len(), "{bad:?}");
    assert!((400..600).contains(&bad.values().sum::<i32>()), "{bad:?}");
}
