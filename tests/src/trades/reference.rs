//! The contract's normalisation and rules, word by word: slow, plain, exact.
//!
//! Works on text and 128-bit integers. The order of the checks is the contract's: frame, then all of parse, then value.

use super::avro::frame_id;
use super::{BinanceTrade, Exchange, Fate, KrakenTrade, Meaning, RawTrade, Reject, SilverRow, TradeRecord};
use uuid::Uuid;

/// The quote assets of a Binance symbol, as the contract lists them.
const QUOTES: [&str; 11] = ["USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD", "EUR", "TRY", "BTC", "ETH", "BNB"];
/// The namespace of `message_id`.
const NAMESPACE: &str = "4aa63622-8c4a-56f0-9c65-d4ee721720cb";
/// Decimals of price and quantity.
const SCALE: usize = 8;
/// The most digits before the point.
const INTEGER_DIGITS: usize = 10;
/// Stands for a time that no 64-bit number can hold: 38 digits of microseconds are enough for anything.
const BEYOND: i128 = i128::MAX / 4;

/// The settings that decide about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `rules.max_future` in microseconds.
    pub max_future: i128,
    /// `rules.max_age` in microseconds.
    pub max_age: i128,
    /// `rules.max_record` in bytes.
    pub max_record: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_future: 5 * 60 * 1_000_000, max_age: 365 * 86_400 * 1_000_000, max_record: 8 << 20 }
    }
}

/// Where a record is in Kafka.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Place<'a> {
    pub cluster_id: &'a str,
    pub topic: &'a str,
    /// In Kafka's base64.
    pub topic_id: &'a str,
    pub partition: i32,
    pub offset: i64,
}

impl Place<'_> {
    /// `message_id` of the record here.
    pub fn message_id(&self) -> String {
        let name = format!("{}/{}/{}/{}", self.cluster_id, self.topic_id, self.partition, self.offset);
        Uuid::new_v5(&NAMESPACE.parse().unwrap(), name.as_bytes()).to_string()
    }
}

/// What must become of a record.
pub fn fate(record: &TradeRecord, place: &Place<'_>, limits: &Limits) -> Fate {
    let schema_id = record.value.as_deref().and_then(frame_id);
    match route(record, place, limits) {
        Ok(row) => Fate::Silver(Box::new(row)),
        Err(reason) => Fate::Dlq(Reject { reason, error_type: error_type(reason), schema_id }),
    }
}

fn route(record: &TradeRecord, place: &Place<'_>, limits: &Limits) -> Result<SilverRow, &'static str> {
    // frame
    let Some(value) = &record.value else { return Err("tombstone") };
    let Some(schema_id) = frame_id(value) else { return Err("not_confluent_framed") };
    if value.len() > limits.max_record {
        return Err("record_too_large");
    }
    let trade = match &record.meaning {
        Meaning::NoFrame => panic!("a frame was made that its maker does not know of: {record:?}"),
        Meaning::UnknownId => return Err("unknown_schema_id"),
        Meaning::Undecodable => return Err("avro_decode_failed"),
        Meaning::Trade(trade) => trade,
    };
    let kafka = i128::from(record.timestamp_ms) * 1000;
    match trade {
        RawTrade::Binance(trade) => binance(trade, kafka, schema_id, place, limits),
        RawTrade::Kraken(trade) => kraken(trade, kafka, schema_id, place, limits),
    }
}

fn binance(
    trade: &BinanceTrade,
    kafka: i128,
    schema_id: i32,
    place: &Place<'_>,
    limits: &Limits,
) -> Result<SilverRow, &'static str> {
    // parse
    let price = trade.price.as_deref().map(number).transpose().map_err(|()| "price_not_a_decimal")?;
    let quantity = trade.quantity.as_deref().map(number).transpose().map_err(|()| "quantity_not_a_decimal")?;
    let timestamp = i128::from(trade.trade_time_ms.ok_or("timestamp_not_a_number")?) * 1000;
    let (price, quantity) = (in_range(price)?, in_range(quantity)?);
    // value
    let (price, quantity) = positive(price, quantity)?;
    let symbol = trade.symbol.as_deref().filter(|s| !is_blank(s)).ok_or("symbol_required")?;
    let side = if trade.is_buyer_maker.ok_or("invalid_side")? { "SELL" } else { "BUY" };
    let timestamp = in_time(timestamp, kafka, limits)?;

    let quote = QUOTES.iter().filter(|quote| symbol.ends_with(*quote)).max_by_key(|quote| quote.len());
    let best = trade.is_best_match.map_or("null".to_owned(), |b| b.to_string());
    let vendor_data = format!(
        r#"{{"event_type":{},"event_time_ms":{},"is_buyer_maker":{},"is_best_match":{best}}}"#,
        json(&trade.event_type),
        trade.event_time_ms,
        trade.is_buyer_maker == Some(true),
    );
    Ok(SilverRow {
        message_id: place.message_id(),
        trade_id: format!("BINANCE-{}", trade.trade_id),
        symbol: symbol.to_owned(),
        exchange: "BINANCE".into(),
        asset_class: "crypto".into(),
        timestamp,
        price,
        quantity,
        currency: quote.copied().unwrap_or("UNKNOWN").into(),
        side: side.into(),
        trade_conditions: Vec::new(),
        source_sequence: None,
        ingestion_timestamp: trade.ingestion_timestamp,
        platform_sequence: None,
        vendor_data: Some(vendor_data),
        schema_id,
        exchange_date: day(timestamp),
        kafka_topic: place.topic.into(),
        kafka_partition: place.partition,
        kafka_offset: place.offset,
    })
}

fn kraken(
    trade: &KrakenTrade,
    kafka: i128,
    schema_id: i32,
    place: &Place<'_>,
    limits: &Limits,
) -> Result<SilverRow, &'static str> {
    // parse
    let price = trade.price.as_deref().map(number).transpose().map_err(|()| "price_not_a_decimal")?;
    let volume = trade.volume.as_deref().map(number).transpose().map_err(|()| "quantity_not_a_decimal")?;
    let text = trade.timestamp.as_deref().ok_or("timestamp_not_a_number")?;
    let timestamp = number(text).map_err(|()| "timestamp_not_a_number")?.cut_to_micros();
    let (price, volume) = (in_range(price)?, in_range(volume)?);
    // value
    let (price, quantity) = positive(price, volume)?;
    let pair = trade.pair.as_deref().filter(|p| !is_blank(p)).ok_or("symbol_required")?;
    let (base, quote) = match pair.split_once('/') {
        Some((base, quote)) if base.is_empty() || quote.is_empty() => return Err("symbol_required"),
        Some((base, quote)) => (base, Some(quote)),
        None => (pair, None),
    };
    let side = match trade.side.as_deref() {
        Some("b") => "BUY",
        Some("s") => "SELL",
        _ => return Err("invalid_side"),
    };
    let timestamp = in_time(timestamp, kafka, limits)?;

    let message_id = place.message_id();
    let condition = match trade.order_type.as_str() {
        "l" => "limit",
        "m" => "market",
        other => other,
    };
    let vendor_data = format!(
        r#"{{"channel_id":{},"order_type":{},"misc":{},"pair":{}}}"#,
        trade.channel_id,
        json(&trade.order_type),
        json(&trade.misc),
        json(pair),
    );
    Ok(SilverRow {
        trade_id: format!("KRAKEN-{text}-{}", &message_id[..8]),
        message_id,
        symbol: format!("{}{}", bitcoin(base), quote.map_or(String::new(), |q| bitcoin(q).replace('/', ""))),
        exchange: "KRAKEN".into(),
        asset_class: "crypto".into(),
        timestamp,
        price,
        quantity,
        currency: quote.map_or("USD".to_owned(), |quote| bitcoin(&quote.replace('/', "")).to_owned()),
        side: side.into(),
        trade_conditions: vec![condition.to_owned()],
        source_sequence: None,
        ingestion_timestamp: trade.ingestion_timestamp,
        platform_sequence: None,
        vendor_data: Some(vendor_data),
        schema_id,
        exchange_date: day(timestamp),
        kafka_topic: place.topic.into(),
        kafka_partition: place.partition,
        kafka_offset: place.offset,
    })
}

/// Kraken's code for bitcoin, where it is the whole code.
fn bitcoin(code: &str) -> &str {
    if code == "XBT" { "BTC" } else { code }
}

/// A number of the contract: `-?[0-9]+(\.[0-9]+)?`.
#[derive(Debug, Clone, Copy)]
struct Number<'a> {
    negative: bool,
    integer: &'a str,
    fraction: &'a str,
}

fn number(text: &str) -> Result<Number<'_>, ()> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (integer, fraction) = rest.split_once('.').map_or((rest, None), |(i, f)| (i, Some(f)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if digits(integer) && fraction.is_none_or(digits) {
        Ok(Number { negative, integer: integer.trim_start_matches('0'), fraction: fraction.unwrap_or("") })
    } else {
        Err(())
    }
}

impl Number<'_> {
    /// In units of 10^−`decimals`, the digits beyond cut off.
    fn cut(&self, decimals: usize) -> i128 {
        if self.integer.len() > 24 {
            return if self.negative { -BEYOND } else { BEYOND };
        }
        let fraction: String = self.fraction.chars().chain(std::iter::repeat('0')).take(decimals).collect();
        let units: i128 = format!("0{}{fraction}", self.integer).parse().unwrap();
        if self.negative { -units } else { units }
    }

    fn cut_to_micros(&self) -> i128 {
        self.cut(6)
    }

    /// In units of 10⁻⁸, where it is exactly that.
    fn exact(&self) -> Option<i128> {
        let beyond = self.fraction.get(SCALE..).unwrap_or("");
        let fits = self.integer.len() <= INTEGER_DIGITS && beyond.bytes().all(|b| b == b'0');
        fits.then(|| self.cut(SCALE))
    }
}

fn in_range(number: Option<Number<'_>>) -> Result<Option<i128>, &'static str> {
    number.map(|n| n.exact().ok_or("decimal_out_of_range")).transpose()
}

fn positive(price: Option<i128>, quantity: Option<i128>) -> Result<(i128, i128), &'static str> {
    let price = price.ok_or("price_is_null")?;
    if price <= 0 {
        return Err("price_must_be_positive");
    }
    let quantity = quantity.ok_or("quantity_is_null")?;
    if quantity <= 0 {
        return Err("quantity_must_be_positive");
    }
    Ok((price, quantity))
}

fn in_time(timestamp: i128, kafka: i128, limits: &Limits) -> Result<i64, &'static str> {
    if timestamp > kafka + limits.max_future {
        return Err("timestamp_in_future");
    }
    if timestamp < kafka - limits.max_age {
        return Err("timestamp_too_old");
    }
    Ok(i64::try_from(timestamp).expect("a time between the limits"))
}

fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

fn day(micros: i64) -> i32 {
    i32::try_from(micros.div_euclid(86_400_000_000)).unwrap()
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// The error type of a reason.
pub fn error_type(reason: &str) -> &'static str {
    match reason {
        "tombstone" | "not_confluent_framed" | "record_too_large" | "unknown_schema_id" | "avro_decode_failed" => {
            "deserialization"
        }
        "price_not_a_decimal" | "quantity_not_a_decimal" | "timestamp_not_a_number" | "decimal_out_of_range" => "parse",
        "price_is_null" | "price_must_be_positive" => "price_validation",
        "quantity_is_null" | "quantity_must_be_positive" => "quantity_validation",
        "symbol_required" => "symbol_validation",
        "invalid_side" => "side_validation",
        "timestamp_in_future" | "timestamp_too_old" => "timestamp_validation",
        other => panic!("{other} is no reason of the contract"),
    }
}

/// `bronze_source` of an exchange's rejects.
pub fn bronze_table(exchange: Exchange) -> String {
    format!("bronze_{}_trades", exchange.name())
}
