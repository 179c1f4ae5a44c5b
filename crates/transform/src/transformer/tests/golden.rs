//! Per pipeline: raw bytes in, rows out. What each record must come to stands here, beside it, by the letter of the
//! contract; the whole rows stand in `tests/golden/*.json`. `K2_BLESS=1` writes these files anew - then read the difference.

use super::encode::Body;
use super::fixture::TRADE_MILLIS;
use super::*;
use std::collections::BTreeMap;

/// A record, what it shows, and what must become of it: `silver` or a reason.
struct Case {
    name: String,
    raw: Raw,
    expected: &'static str,
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: impl Into<String>, value: Option<Vec<u8>>, expected: &'static str) {
        self.raw(name, Raw::of(value), expected);
    }
    fn raw(&mut self, name: impl Into<String>, raw: Raw, expected: &'static str) {
        let offset = i64::try_from(self.0.len()).unwrap();
        self.0.push(Case { name: name.into(), raw: Raw { offset, ..raw }, expected });
    }
    fn binance(&mut self, name: impl Into<String>, change: impl FnOnce(&mut Binance), expected: &'static str) {
        let mut trade = Binance::default();
        change(&mut trade);
        self.add(name, Some(trade.body().framed(1)), expected);
    }
    fn binance_null(&mut self, name: impl Into<String>, change: impl FnOnce(&mut Binance), expected: &'static str) {
        let mut trade = Binance::default();
        change(&mut trade);
        self.add(name, Some(trade.nullable().framed(7)), expected);
    }
    fn kraken(&mut self, name: impl Into<String>, change: impl FnOnce(&mut Kraken), expected: &'static str) {
        let mut trade = Kraken::default();
        change(&mut trade);
        self.add(name, Some(trade.body().framed(2)), expected);
    }
    fn kraken_null(&mut self, name: impl Into<String>, change: impl FnOnce(&mut Kraken), expected: &'static str) {
        let mut trade = Kraken::default();
        change(&mut trade);
        self.add(name, Some(trade.nullable().framed(8)), expected);
    }
}

const NOT: &str = "not a decimal";
const RANGE: &str = "decimal_out_of_range";
const POSITIVE: &str = "must be positive";

/// Amounts, and what becomes of a trade with one of them.
const AMOUNTS: [(&str, &str); 62] = [
    ("1", "silver"),
    ("0.00000001", "silver"),
    ("9999999999.99999999", "silver"),
    ("9999999999", "silver"),
    ("007", "silver"),
    ("00000000000000000001.5", "silver"),
    ("1.500000000000000000000000000000000000000000000", "silver"),
    ("9999999999.999999990", "silver"),
    ("67123.45000000", "silver"),
    // nine decimals, eleven digits, and the like
    ("1.123456789", RANGE),
    ("0.000000001", RANGE),
    ("1.000000000000000000000000000000000000000000001", RANGE),
    ("10000000000", RANGE),
    ("-10000000000", RANGE),
    ("9999999999.999999999", RANGE),
    ("00010000000000", RANGE),
    ("340282366920938463463374607431768211456", RANGE),
    ("99999999999999999999999999999999999999999999999999999999999999999999999999999999", RANGE),
    ("-0.000000001", RANGE),
    // not above zero
    ("0", POSITIVE),
    ("-0", POSITIVE),
    ("0.00000000", POSITIVE),
    ("0.000000000000", POSITIVE),
    ("-1", POSITIVE),
    ("-0.00000001", POSITIVE),
    ("-9999999999.99999999", POSITIVE),
    // no numbers
    ("", NOT),
    (" ", NOT),
    (" 1", NOT),
    ("1 ", NOT),
    ("1\n", NOT),
    ("\t1", NOT),
    ("+1", NOT),
    ("--1", NOT),
    ("-", NOT),
    (".", NOT),
    (".5", NOT),
    ("5.", NOT),
    ("-.5", NOT),
    ("1e5", NOT),
    ("1E5", NOT),
    ("1e-8", NOT),
    ("1.5e3", NOT),
    ("NaN", NOT),
    ("nan", NOT),
    ("Infinity", NOT),
    ("-Infinity", NOT),
    ("inf", NOT),
    ("null", NOT),
    ("0x10", NOT),
    ("1_000", NOT),
    ("1,000", NOT),
    ("1.000,5", NOT),
    ("1.2.3", NOT),
    ("1..2", NOT),
    ("1-2", NOT),
    ("12a", NOT),
    ("$1", NOT),
    ("１", NOT),
    ("٣", NOT),
    ("1\u{a0}", NOT),
    ("1\0", NOT),
];

fn reason(of: &'static str, field: &str) -> &'static str {
    match (of, field) {
        (NOT, "price") => "price_not_a_decimal",
        (NOT, _) => "quantity_not_a_decimal",
        (POSITIVE, "price") => "price_must_be_positive",
        (POSITIVE, _) => "quantity_must_be_positive",
        (other, _) => other,
    }
}

/// What is the same for all exchanges: everything before the first field is looked at.
fn frames(cases: &mut Cases, good: &[u8], id: u8) {
    cases.add("a tombstone", None, "tombstone");
    for length in 0..good.len() {
        let expected = if length < 5 { "not_confluent_framed" } else { "avro_decode_failed" };
        cases.add(format!("cut after {length} bytes"), Some(good[..length].to_vec()), expected);
    }
    cases.add("whole", Some(good.to_vec()), "silver");
    cases.add("one byte more", Some([good, b"\0"].concat()), "avro_decode_failed");
    cases.add("twice", Some([good, good].concat()), "avro_decode_failed");
    cases.add("JSON", Some(br#"{"symbol":"BTCUSDT"}"#.to_vec()), "not_confluent_framed");
    cases.add("another magic byte", Some([b"\x01", &good[1..]].concat()), "not_confluent_framed");
    cases.add("an id nobody knows", Some([b"\0\0\0\x03\xe7", &good[5..]].concat()), "unknown_schema_id");
    cases.add("a negative id", Some([b"\0\xff\xff\xff\xff", &good[5..]].concat()), "unknown_schema_id");
    cases.add("little-endian id", Some([&[0, id, 0, 0, 0], &good[5..]].concat()), "unknown_schema_id");
    cases.add("an id whose schema is no record", Some([b"\0\0\0\0\x19", &good[5..]].concat()), "avro_decode_failed");
    let mut large = good[..5].to_vec();
    large.resize(8 << 20, b'x');
    let at_most = Raw { key: None, ..Raw::of(Some(large.clone())) };
    cases.raw("8 MiB: not too large, but no trade", at_most, "avro_decode_failed");
    large.push(b'x');
    cases.raw("8 MiB and a byte", Raw { key: None, ..Raw::of(Some(large.clone())) }, "record_too_large");
    large[0] = b'x';
    cases.raw("8 MiB and a byte, no frame", Raw { key: None, ..Raw::of(Some(large.clone())) }, "not_confluent_framed");
    large[..5].copy_from_slice(b"\0\0\0\x03\xe7");
    cases.raw("8 MiB and a byte, unknown id", Raw { key: None, ..Raw::of(Some(large)) }, "record_too_large");
}

/// Trade times against a Kafka timestamp, in µs, and what becomes of them.
const FIVE_MINUTES: i64 = 300_000_000;
const YEAR: i64 = 365 * 86_400_000_000;

fn binance() -> Vec<Case> {
    let mut cases = Cases::default();
    frames(&mut cases, &Binance::default().body().framed(1), 1);

    for (text, outcome) in AMOUNTS {
        cases.binance(format!("price {text:?}"), |t| t.price = Some(text.to_owned()), reason(outcome, "price"));
        cases.binance(
            format!("quantity {text:?}"),
            |t| t.quantity = Some(text.to_owned()),
            reason(outcome, "quantity"),
        );
    }

    // nulls, where Avro allows them
    cases.binance_null("all there, nullable", |_| {}, "silver");
    cases.binance_null("price null", |t| t.price = None, "price_is_null");
    cases.binance_null("quantity null", |t| t.quantity = None, "quantity_is_null");
    cases.binance_null("symbol null", |t| t.symbol = None, "symbol_required");
    cases.binance_null("side null", |t| t.is_buyer_maker = None, "invalid_side");
    cases.binance_null("time null", |t| t.trade_time_ms = None, "timestamp_not_a_number");
    cases.binance_null("empty price is no null", |t| t.price = Some(String::new()), "price_not_a_decimal");

    // parse before value, and each in order
    cases.binance_null(
        "price null, quantity no number",
        |t| (t.price, t.quantity) = (None, Some("x".to_owned())),
        "quantity_not_a_decimal",
    );
    cases.binance_null(
        "price null, time null",
        |t| (t.price, t.trade_time_ms) = (None, None),
        "timestamp_not_a_number",
    );
    cases.binance_null(
        "price null, quantity out of range",
        |t| (t.price, t.quantity) = (None, Some("10000000000".to_owned())),
        RANGE,
    );
    cases.binance_null(
        "time null, price out of range",
        |t| (t.trade_time_ms, t.price) = (None, Some("10000000000".to_owned())),
        "timestamp_not_a_number",
    );
    cases.binance(
        "both no number",
        |t| (t.price, t.quantity) = (Some("x".to_owned()), Some("y".to_owned())),
        "price_not_a_decimal",
    );
    cases.binance(
        "price out of range, quantity no number",
        |t| (t.price, t.quantity) = (Some("10000000000".to_owned()), Some("y".to_owned())),
        "quantity_not_a_decimal",
    );
    cases.binance(
        "both out of range",
        |t| (t.price, t.quantity) = (Some("10000000000".to_owned()), Some("0.000000001".to_owned())),
        RANGE,
    );
    cases.binance(
        "price 0, quantity 0",
        |t| (t.price, t.quantity) = (Some("0".to_owned()), Some("0".to_owned())),
        "price_must_be_positive",
    );
    cases.binance(
        "quantity 0, symbol blank",
        |t| (t.quantity, t.symbol) = (Some("0".to_owned()), Some(" ".to_owned())),
        "quantity_must_be_positive",
    );
    cases.binance_null(
        "price 0, quantity null",
        |t| (t.price, t.quantity) = (Some("0".to_owned()), None),
        "price_must_be_positive",
    );
    cases.binance_null(
        "all null",
        |t| (t.price, t.quantity, t.symbol, t.is_buyer_maker, t.trade_time_ms) = (None, None, None, None, None),
        "timestamp_not_a_number",
    );
    cases.binance_null("symbol null, side null", |t| (t.symbol, t.is_buyer_maker) = (None, None), "symbol_required");
    cases.binance_null("side null, old", |t| (t.is_buyer_maker, t.trade_time_ms) = (None, Some(0)), "invalid_side");

    // symbols
    for symbol in ["", " ", "   ", "\t", "\r\n"] {
        cases.binance(format!("symbol {symbol:?}"), |t| t.symbol = Some(symbol.to_owned()), "symbol_required");
    }
    for symbol in [
        "BTCUSDT",
        "ETHUSDC",
        "BTCFDUSD",
        "BTCBUSD",
        "BTCTUSD",
        "BTCUSD",
        "BTCEUR",
        "BTCTRY",
        "ETHBTC",
        "BNBETH",
        "SOLBNB",
        "BTC",
        "USD",
        "FDUSD",
        "btcusdt",
        "BTCusdt",
        " BTCUSDT",
        "BTCUSDT ",
        "BTC-USDT",
        "DOGEGBP",
        "XUSDX",
        "ÄUSDT",
        "日本",
        "\u{1F600}USDT",
        "A\"B\\C\u{1}USDT",
    ] {
        cases.binance(format!("symbol {symbol:?}"), |t| t.symbol = Some(symbol.to_owned()), "silver");
    }

    cases.binance("the buyer was the taker", |t| t.is_buyer_maker = Some(false), "silver");
    cases.binance("no best match", |t| t.is_best_match = None, "silver");
    cases.binance("best match false", |t| t.is_best_match = Some(false), "silver");
    cases.binance(
        "largest integers",
        |t| (t.trade_id, t.event_time_ms, t.ingestion_timestamp) = (i64::MAX, i64::MAX, i64::MAX),
        "silver",
    );
    cases.binance(
        "smallest integers",
        |t| (t.trade_id, t.event_time_ms, t.ingestion_timestamp) = (i64::MIN, i64::MIN, i64::MIN),
        "silver",
    );
    cases.binance(
        "2^53 + 1",
        |t| (t.trade_id, t.event_time_ms) = (9_007_199_254_740_993, 9_007_199_254_740_993),
        "silver",
    );
    cases.binance(
        "an event type to escape",
        |t| t.event_type = "\"\\/\u{8}\u{c}\n\r\t\u{1f}\u{7f}é\u{1F600}\u{2028}".to_owned(),
        "silver",
    );
    cases.binance("an empty event type", |t| t.event_type = String::new(), "silver");

    // time; the Kafka timestamp is whole milliseconds, like Binance's
    let kafka_ms = KAFKA_MICROS / 1000;
    for (name, millis, expected) in [
        ("5 min ahead", kafka_ms + FIVE_MINUTES / 1000, "silver"),
        ("5 min and 1 ms ahead", kafka_ms + FIVE_MINUTES / 1000 + 1, "timestamp_in_future"),
        ("365 d ago", kafka_ms - YEAR / 1000, "silver"),
        ("365 d and 1 ms ago", kafka_ms - YEAR / 1000 - 1, "timestamp_too_old"),
        ("in 1970", 0, "timestamp_too_old"),
        ("before 1970", -1, "timestamp_too_old"),
        ("as microseconds", TRADE_MILLIS * 1000, "timestamp_in_future"),
        ("as seconds", TRADE_MILLIS / 1000, "timestamp_too_old"),
        ("beyond 64 bits", i64::MAX / 1000 + 1, "timestamp_in_future"),
        ("far beyond 64 bits", i64::MAX, "timestamp_in_future"),
        ("below 64 bits", i64::MIN / 1000 - 1, "timestamp_too_old"),
        ("far below 64 bits", i64::MIN, "timestamp_too_old"),
    ] {
        cases.binance(format!("time {name}"), |t| t.trade_time_ms = Some(millis), expected);
    }
    times(&mut cases, |micros| {
        Binance { trade_time_ms: Some(micros.div_euclid(1000)), ..Binance::default() }.body().framed(1)
    });

    // Avro by its letter
    let prefix = Body::default().text("trade").long(1);
    cases.add("a string of negative length", Some(Body::default().long(-1).framed(1)), "avro_decode_failed");
    cases.add("a string of 2^62 bytes", Some(Body::default().long(1 << 62).framed(1)), "avro_decode_failed");
    cases.add("a string of i64::MIN bytes", Some(Body::default().long(i64::MIN).framed(1)), "avro_decode_failed");
    cases.add(
        "a varint of 11 bytes",
        Some(Body([&prefix.0[..6], &[0xff; 10], &[1]].concat()).framed(1)),
        "avro_decode_failed",
    );
    cases.add(
        "a varint of 65 bits",
        Some(Body([&prefix.0[..6], &[0xff; 9], &[3]].concat()).framed(1)),
        "avro_decode_failed",
    );
    cases.add(
        "text that is no UTF-8",
        Some(Body(Binance::default().body().0.iter().map(|b| if *b == b'B' { 0xff } else { *b }).collect()).framed(1)),
        "avro_decode_failed",
    );
    let mut boolean = Binance::default().body().0;
    let place = boolean.len() - 11;
    assert_eq!(boolean[place], 1, "is_buyer_maker");
    boolean[place] = 2;
    cases.add("a boolean that is 2", Some(Body(boolean.clone()).framed(1)), "avro_decode_failed");
    boolean[place] = 1;
    boolean[place + 1] = 4;
    cases.add("a union's third branch", Some(Body(boolean.clone()).framed(1)), "avro_decode_failed");
    boolean[place + 1] = 1;
    cases.add("a union's branch -1", Some(Body(boolean).framed(1)), "avro_decode_failed");
    cases.0
}

/// Times against other Kafka timestamps than the usual, or none.
fn times(cases: &mut Cases, value: impl Fn(i64) -> Vec<u8>) {
    const LAST_DAY: i64 = 253_402_300_799_999_000;
    const FIRST_DAY: i64 = -62_135_596_800_000_000;
    for (name, kafka, trade, expected) in [
        ("no Kafka timestamp", None, 0, "silver"),
        ("no Kafka timestamp, far ahead", None, 4_102_444_800_000_000, "silver"),
        ("no Kafka timestamp, the last day of all", None, LAST_DAY, "silver"),
        ("no Kafka timestamp, the day after", None, LAST_DAY + 1_000, "timestamp_in_future"),
        ("no Kafka timestamp, beyond 64 bits", None, i64::MAX, "timestamp_in_future"),
        ("no Kafka timestamp, the first day of all", None, FIRST_DAY, "silver"),
        ("no Kafka timestamp, the day before", None, FIRST_DAY - 1_000, "timestamp_too_old"),
        ("no Kafka timestamp, below 64 bits", None, i64::MIN, "timestamp_too_old"),
        ("Kafka timestamp 1970", Some(0), 0, "silver"),
        ("Kafka timestamp 1970, a year before", Some(0), -YEAR, "silver"),
        ("Kafka timestamp 1970, today's trade", Some(0), KAFKA_MICROS, "timestamp_in_future"),
        ("Kafka timestamp at the end of 64 bits", Some(i64::MAX), KAFKA_MICROS, "timestamp_too_old"),
        ("Kafka timestamp at the other end", Some(i64::MIN), KAFKA_MICROS, "timestamp_in_future"),
        ("both at the end", Some(i64::MAX), i64::MAX, "timestamp_in_future"),
        ("both at the other end", Some(i64::MIN), i64::MIN, "timestamp_too_old"),
    ] {
        let raw = Raw { timestamp: kafka, ..Raw::of(Some(value(trade))) };
        cases.raw(name, raw, expected);
    }
    let raw = Raw { key: None, ..Raw::of(Some(value(KAFKA_MICROS))) };
    cases.raw("no key", raw.clone(), "silver");
    cases.raw("an empty key", Raw { key: Some(Vec::new()), ..raw }, "silver");
}

fn kraken() -> Vec<Case> {
    let mut cases = Cases::default();
    frames(&mut cases, &Kraken::default().body().framed(2), 2);

    for (text, outcome) in AMOUNTS {
        cases.kraken(format!("price {text:?}"), |t| t.price = Some(text.to_owned()), reason(outcome, "price"));
        cases.kraken(format!("volume {text:?}"), |t| t.volume = Some(text.to_owned()), reason(outcome, "volume"));
    }

    cases.kraken_null("all there, nullable", |_| {}, "silver");
    cases.kraken_null("price null", |t| t.price = None, "price_is_null");
    cases.kraken_null("volume null", |t| t.volume = None, "quantity_is_null");
    cases.kraken_null("pair null", |t| t.pair = None, "symbol_required");
    cases.kraken_null("side null", |t| t.side = None, "invalid_side");
    cases.kraken_null("timestamp null", |t| t.timestamp = None, "timestamp_not_a_number");
    cases.kraken_null(
        "price null, timestamp no number",
        |t| (t.price, t.timestamp) = (None, Some("x".to_owned())),
        "timestamp_not_a_number",
    );
    cases.kraken_null(
        "timestamp null, volume out of range",
        |t| (t.timestamp, t.volume) = (None, Some("10000000000".to_owned())),
        "timestamp_not_a_number",
    );
    cases.kraken_null(
        "all null",
        |t| (t.price, t.volume, t.pair, t.side, t.timestamp) = (None, None, None, None, None),
        "timestamp_not_a_number",
    );
    cases.kraken(
        "pair empty, side x",
        |t| (t.pair, t.side) = (Some(String::new()), Some("x".to_owned())),
        "symbol_required",
    );
    cases.kraken(
        "side x, old",
        |t| (t.side, t.timestamp) = (Some("x".to_owned()), Some("1".to_owned())),
        "invalid_side",
    );

    for pair in [
        "XBT/USD",
        "ETH/XBT",
        "XBT/XBT",
        "XBT",
        "XXBTZUSD",
        "xbt/usd",
        "XBT/usd",
        "XBTX/USD",
        "AXBT/USD",
        "A/B/C",
        "A/XBT/C",
        "A/X/BT",
        "A/XBT/",
        "A//B",
        "ETHUSD",
        "ETH.M/USD",
        " XBT/USD",
        "XBT /USD",
        "XBT/ USD",
        " /USD",
        "XBT/EUR",
        "Ä/Ö",
        "A/\"",
    ] {
        cases.kraken(format!("pair {pair:?}"), |t| t.pair = Some(pair.to_owned()), "silver");
    }
    for pair in ["", " ", "\t \n", "/", "//", "/USD", "XBT/", "//USD", "A//"] {
        cases.kraken(format!("pair {pair:?}"), |t| t.pair = Some(pair.to_owned()), "symbol_required");
    }
    cases.kraken("a seller", |t| t.side = Some("s".to_owned()), "silver");
    for side in ["x", "", "B", "S", "buy", "sell", " b", "b ", "BUY", "bs", "null"] {
        cases.kraken(format!("side {side:?}"), |t| t.side = Some(side.to_owned()), "invalid_side");
    }
    for order_type in ["l", "m", "", "L", "stop-loss", " l", "\"", "limit"] {
        cases.kraken(format!("order type {order_type:?}"), |t| t.order_type = order_type.to_owned(), "silver");
    }
    cases.kraken("misc to escape", |t| t.misc = "a\"b\\c\u{0}\n".to_owned(), "silver");
    cases.kraken("largest integers", |t| (t.channel_id, t.ingestion_timestamp) = (i64::MAX, i64::MAX), "silver");
    cases.kraken("smallest integers", |t| (t.channel_id, t.ingestion_timestamp) = (i64::MIN, i64::MIN), "silver");

    for timestamp in [
        "1700000000",
        "1700000000.1",
        "1700000000.123456",
        "1700000000.1234567",
        "1700000000.1234569999",
        "1700000000.999999999",
        "1700000000.0",
        "00001700000000.5",
        "1700000000.12345600000000000000000000000000000000000000000000000000000001",
    ] {
        cases.kraken(format!("timestamp {timestamp}"), |t| t.timestamp = Some(timestamp.to_owned()), "silver");
    }
    for timestamp in [
        "",
        " ",
        "x",
        "1.7e9",
        "+1700000000",
        " 1700000000",
        "1700000000 ",
        "1700000000.",
        ".5",
        "NaN",
        "Infinity",
        "-",
        "1700000000,5",
        "2023-11-14T22:13:20Z",
        "１７",
    ] {
        cases.kraken(
            format!("timestamp {timestamp:?}"),
            |t| t.timestamp = Some(timestamp.to_owned()),
            "timestamp_not_a_number",
        );
    }
    for (timestamp, expected) in [
        // the limits are 1700000000.125 + 300 s and - 365 d
        ("1700000300.125", "silver"),
        ("1700000300.1250009", "silver"),
        ("1700000300.125001", "timestamp_in_future"),
        ("1668464000.125", "silver"),
        ("1668464000.124999", "timestamp_too_old"),
        ("1668464000.1249999", "timestamp_too_old"),
        ("0", "timestamp_too_old"),
        ("-1", "timestamp_too_old"),
        ("-0.5", "timestamp_too_old"),
        ("1700000000123", "timestamp_in_future"),
        ("9223372036854.775807", "timestamp_in_future"),
        ("9223372036854.775808", "timestamp_in_future"),
        ("-9223372036854.775809", "timestamp_too_old"),
        ("999999999999999999999999999999999999999999", "timestamp_in_future"),
        ("-999999999999999999999999999999999999999999", "timestamp_too_old"),
    ] {
        cases.kraken(format!("timestamp {timestamp}"), |t| t.timestamp = Some(timestamp.to_owned()), expected);
    }
    times(&mut cases, |micros| {
        let (sign, plain) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
        let timestamp = Some(format!("{sign}{}.{:06}", plain / 1_000_000, plain % 1_000_000));
        Kraken { timestamp, ..Kraken::default() }.body().framed(2)
    });
    // no side is empty, but what is left of the pair is blank
    for pair in [" / ", "/ /"] {
        cases.kraken(format!("pair {pair:?}"), |t| t.pair = Some(pair.to_owned()), "symbol_required");
    }
    cases.0
}

/// A row as it stands in the golden file. Long values are cut: their length tells them apart.
fn shown(name: &str, outcome: &Outcome) -> serde_json::Value {
    let (table, row) = match outcome {
        Outcome::Silver(row) => ("silver", row),
        Outcome::Dlq(row) => ("dlq", row),
    };
    let cut = |text: &String| match text.len() {
        0..=2000 => text.clone(),
        length => format!("{}… ({length})", &text[..40]),
    };
    let row: BTreeMap<_, _> = row.iter().map(|(column, value)| (column, value.as_ref().map(cut))).collect();
    serde_json::json!({ "case": name, table: row })
}

fn check(exchange: &str, cases: &[Case]) {
    let raws: Vec<Raw> = cases.iter().map(|case| case.raw.clone()).collect();
    let outcomes = Routing::of(exchange).outcomes(&raws);
    let mut wrong = Vec::new();
    for (case, outcome) in cases.iter().zip(&outcomes) {
        if outcome.reason() != case.expected {
            wrong.push(format!("{}: {} and not {}: {outcome:?}", case.name, outcome.reason(), case.expected));
        }
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));

    let rows: Vec<_> =
        cases.iter().zip(&outcomes).map(|(case, outcome)| shown(&case.name, outcome).to_string()).collect();
    let text = format!("[\n{}\n]\n", rows.join(",\n"));
    let path = format!("{}/tests/golden/{exchange}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("K2_BLESS").is_some() {
        std::fs::create_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (line, (now, then)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(now, then, "{path}:{}", line + 1);
    }
    assert_eq!(text.len(), golden.len(), "{path}");
}

#[test]
fn binance_records() {
    let cases = binance();
    assert!(cases.len() > 300, "{}", cases.len());
    check("binance", &cases);
}

#[test]
fn kraken_records() {
    let cases = kraken();
    assert!(cases.len() > 300, "{}", cases.len());
    check("kraken", &cases);
}

/// Some rows in full, against the contract rather than against what we wrote last time.
#[test]
fn a_binance_trade_in_every_column() {
    let outcome = Routing::of("binance").outcome(Binance::default().body().framed(1));
    for (column, value) in [
        ("message_id", Some(id("0/0").as_str())),
        ("trade_id", Some("BINANCE-3301234567")),
        ("symbol", Some("BTCUSDT")),
        ("exchange", Some("BINANCE")),
        ("asset_class", Some("crypto")),
        ("timestamp", Some("1700000000123000")),
        ("price", Some("67123.45000000")),
        ("quantity", Some("0.00150000")),
        ("currency", Some("USDT")),
        ("side", Some("SELL")),
        ("trade_conditions", Some("[]")),
        ("source_sequence", None),
        ("ingestion_timestamp", Some("1700000000130042")),
        ("platform_sequence", None),
        (
            "vendor_data",
            Some(r#"{"event_type":"trade","event_time_ms":1700000000126,"is_buyer_maker":true,"is_best_match":true}"#),
        ),
        ("validation_timestamp", Some("2023-11-14T22:13:22Z")),
        ("bronze_ingestion_timestamp", Some("2023-11-14T22:13:21Z")),
        ("schema_id", Some("1")),
        ("exchange_date", Some("2023-11-14")),
        ("kafka_topic", Some("market.crypto.trades.binance.raw")),
        ("kafka_partition", Some("0")),
        ("kafka_offset", Some("0")),
    ] {
        assert_eq!(outcome.get(column), value, "{column}");
    }
}

#[test]
fn a_kraken_trade_in_every_column() {
    let outcome = Routing::of("kraken").outcome(Kraken::default().body().framed(2));
    let message_id = id("0/0");
    for (column, value) in [
        ("message_id", Some(message_id.as_str())),
        ("trade_id", Some(format!("KRAKEN-1700000000.123456-{}", &message_id[..8]).as_str())),
        ("symbol", Some("BTCUSD")),
        ("exchange", Some("KRAKEN")),
        ("timestamp", Some("1700000000123456")),
        ("price", Some("67123.40000000")),
        ("quantity", Some("0.00150000")),
        ("currency", Some("USD")),
        ("side", Some("BUY")),
        ("trade_conditions", Some("[limit]")),
        ("vendor_data", Some(r#"{"channel_id":119930881,"order_type":"l","misc":"","pair":"XBT/USD"}"#)),
        ("schema_id", Some("2")),
        ("exchange_date", Some("2023-11-14")),
    ] {
        assert_eq!(outcome.get(column), value, "{column}");
    }
}

#[test]
fn a_reject_in_every_column() {
    let value = Binance { price: Some("1e5".to_owned()), ..Binance::default() }.body().framed(1);
    let raw = Raw { partition: 39, offset: 1 << 40, ..Raw::of(Some(value.clone())) };
    let outcome = Routing::of("binance").outcomes(&[raw]).remove(0);
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    let version = Plan::compile(&crate::plan::tests::definition("binance")).unwrap().rules_version().to_owned();
    for (column, value) in [
        ("raw_record", Some(hex.as_str())),
        ("error_reason", Some("price_not_a_decimal")),
        ("error_type", Some("parse")),
        ("error_timestamp", Some("2023-11-14T22:13:22Z")),
        ("bronze_source", Some("bronze_binance_trades")),
        ("kafka_offset", Some("1099511627776")),
        ("schema_id", Some("1")),
        ("dlq_date", Some("2023-11-14")),
        ("message_id", Some(id("39/1099511627776").as_str())),
        ("kafka_topic", Some("market.crypto.trades.binance.raw")),
        ("kafka_partition", Some("39")),
        ("kafka_timestamp", Some("2023-11-14T22:13:20.125Z")),
        ("key", Some("6b6579")),
        ("error_detail", Some(r#"price is "1e5"; a number is -?[0-9]+(\.[0-9]+)?"#)),
        ("rules_version", Some(version.as_str())),
        ("status", Some("open")),
        ("ingestion_timestamp", Some("2023-11-14T22:13:21Z")),
    ] {
        assert_eq!(outcome.get(column), value, "{column}");
    }
}

/// The id that the contract gives a record, by the uuid library.
fn id(place: &str) -> String {
    let name = format!("MkU3OEVBNTcwNTJENDM2Qk/vNn1IX_vRrWBb1yP2aaSaw/{place}");
    uuid::Uuid::new_v5(&crate::message_id::NAMESPACE, name.as_bytes()).to_string()
}

/// What the contract's table says of symbols and currencies, written down once more.
#[test]
fn symbols_and_currencies() {
    let mut routing = Routing::of("kraken");
    for (pair, symbol, currency) in [
        ("XBT/USD", "BTCUSD", "USD"),
        ("ETH/XBT", "ETHBTC", "BTC"),
        ("XBT", "BTC", "USD"),
        ("XXBTZUSD", "XXBTZUSD", "USD"),
        ("xbt/usd", "xbtusd", "usd"),
        ("XBTX/USD", "XBTXUSD", "USD"),
        ("A/B/C", "ABC", "BC"),
        ("A/XBT/C", "AXBTC", "XBTC"),
        ("A/X/BT", "AXBT", "BTC"),
    ] {
        let trade = Kraken { pair: Some(pair.to_owned()), ..Kraken::default() };
        let outcome = routing.outcome(trade.body().framed(2));
        assert_eq!((outcome.get("symbol"), outcome.get("currency")), (Some(symbol), Some(currency)), "{pair}");
    }
    let mut routing = Routing::of("binance");
    for (symbol, currency) in [
        ("BTCUSDT", "USDT"),
        ("BTCFDUSD", "FDUSD"),
        ("BTCTUSD", "TUSD"),
        ("BTCBUSD", "BUSD"),
        ("BTCUSD", "USD"),
        ("BTC", "BTC"),
        ("ETHBTC", "BTC"),
        ("btcusdt", "UNKNOWN"),
        ("DOGEGBP", "UNKNOWN"),
    ] {
        let trade = Binance { symbol: Some(symbol.to_owned()), ..Binance::default() };
        let outcome = routing.outcome(trade.body().framed(1));
        assert_eq!((outcome.get("symbol"), outcome.get("currency")), (Some(symbol), Some(currency)), "{symbol}");
    }
}

/// As text, an empty list and a list of one empty text look alike.
#[test]
fn trade_conditions_of_an_empty_order_type_are_one_empty_text() {
    let mut routing = Routing::of("kraken");
    let value = Kraken { order_type: String::new(), ..Kraken::default() }.body().framed(2);
    let routed = routing.route(&fixture::batch(&[Raw::of(Some(value))]));
    let conditions = routed.silver.column_by_name("trade_conditions").unwrap().as_list::<i32>().value(0);
    assert_eq!((conditions.len(), conditions.as_string::<i32>().value(0)), (1, ""));
    let routed = Routing::of("binance").route(&fixture::batch(&[Raw::of(Some(Binance::default().body().framed(1)))]));
    assert_eq!(routed.silver.column_by_name("trade_conditions").unwrap().as_list::<i32>().value(0).len(), 0);
}

#[test]
fn notices_count_silver_rows() {
    let of = |symbol: &str, price: &str| {
        let trade = Binance { symbol: Some(symbol.to_owned()), price: Some(price.to_owned()), ..Binance::default() };
        Raw::of(Some(trade.body().framed(1)))
    };
    let raws = [of("AGBP", "1"), of("BTCUSDT", "1"), of("BGBP", "1"), of("CGBP", "0")];
    let raws: Vec<_> = (0..).zip(raws).map(|(offset, raw)| Raw { offset, ..raw }).collect();
    let mut routing = Routing::of("binance");
    let routed = routing.route(&fixture::batch(&raws));
    assert_eq!(routed.notices, BTreeMap::from([("unknown_currency".to_owned(), 2)]));
    assert_eq!(routing.route(&fixture::batch(&raws[1..2])).notices, BTreeMap::new());
}
