//! Records of the exchanges as bytes, written by hand so that anything can be wrong with them. A test holds the hand to
//! apache-avro.

use super::fixture::TRADE_MILLIS;

/// An Avro body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body(pub(crate) Vec<u8>);

impl Body {
    pub(crate) fn long(mut self, value: i64) -> Self {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest >= 0x80 {
            self.0.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        self.0.push(u8::try_from(rest).unwrap());
        self
    }
    pub(crate) fn bytes(self, value: &[u8]) -> Self {
        let mut this = self.long(i64::try_from(value.len()).unwrap());
        this.0.extend_from_slice(value);
        this
    }
    pub(crate) fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }
    pub(crate) fn boolean(mut self, value: bool) -> Self {
        self.0.push(u8::from(value));
        self
    }
    /// A union [null, T].
    pub(crate) fn optional<T>(self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            None => self.long(0),
            Some(value) => write(self.long(1), value),
        }
    }
    pub(crate) fn framed(self, id: i32) -> Vec<u8> {
        let mut value = vec![0];
        value.extend_from_slice(&id.to_be_bytes());
        value.extend(self.0);
        value
    }
}

/// A Binance trade; each field may be what it likes.
#[derive(Debug, Clone)]
pub(crate) struct Binance {
    pub(crate) event_type: String,
    pub(crate) event_time_ms: i64,
    pub(crate) symbol: Option<String>,
    pub(crate) trade_id: i64,
    pub(crate) price: Option<String>,
    pub(crate) quantity: Option<String>,
    pub(crate) trade_time_ms: Option<i64>,
    pub(crate) is_buyer_maker: Option<bool>,
    pub(crate) is_best_match: Option<bool>,
    pub(crate) ingestion_timestamp: i64,
}

impl Default for Binance {
    fn default() -> Self {
        Self {
            event_type: "trade".to_owned(),
            event_time_ms: TRADE_MILLIS + 3,
            symbol: Some("BTCUSDT".to_owned()),
            trade_id: 3_301_234_567,
            price: Some("67123.45000000".to_owned()),
            quantity: Some("0.00150000".to_owned()),
            trade_time_ms: Some(TRADE_MILLIS),
            is_buyer_maker: Some(true),
            is_best_match: Some(true),
            ingestion_timestamp: 1_700_000_000_130_042,
        }
    }
}

impl Binance {
    /// As the contract's writer schema (id 1) has it; it knows no nulls.
    pub(crate) fn body(&self) -> Body {
        Body::default()
            .text(&self.event_type)
            .long(self.event_time_ms)
            .text(self.symbol.as_deref().unwrap())
            .long(self.trade_id)
            .text(self.price.as_deref().unwrap())
            .text(self.quantity.as_deref().unwrap())
            .long(self.trade_time_ms.unwrap())
            .boolean(self.is_buyer_maker.unwrap())
            .optional(self.is_best_match, Body::boolean)
            .long(self.ingestion_timestamp)
    }

    /// With all that can be null as a union (id 7).
    pub(crate) fn nullable(&self) -> Body {
        Body::default()
            .text(&self.event_type)
            .long(self.event_time_ms)
            .optional(self.symbol.as_deref(), Body::text)
            .long(self.trade_id)
            .optional(self.price.as_deref(), Body::text)
            .optional(self.quantity.as_deref(), Body::text)
            .optional(self.trade_time_ms, Body::long)
            .optional(self.is_buyer_maker, Body::boolean)
            .optional(self.is_best_match, Body::boolean)
            .long(self.ingestion_timestamp)
    }
}

/// A Kraken trade.
#[derive(Debug, Clone)]
pub(crate) struct Kraken {
    pub(crate) channel_id: i64,
    pub(crate) price: Option<String>,
    pub(crate) volume: Option<String>,
    pub(crate) timestamp: Option<String>,
    pub(crate) side: Option<String>,
    pub(crate) order_type: String,
    pub(crate) misc: String,
    pub(crate) pair: Option<String>,
    pub(crate) ingestion_timestamp: i64,
}

impl Default for Kraken {
    fn default() -> Self {
        Self {
            channel_id: 119_930_881,
            price: Some("67123.40000".to_owned()),
            volume: Some("0.00150000".to_owned()),
            timestamp: Some("1700000000.123456".to_owned()),
            side: Some("b".to_owned()),
            order_type: "l".to_owned(),
            misc: String::new(),
            pair: Some("XBT/USD".to_owned()),
            ingestion_timestamp: 1_700_000_000_130_042,
        }
    }
}

impl Kraken {
    /// As the contract's writer schema (id 2) has it.
    pub(crate) fn body(&self) -> Body {
        Body::default()
            .long(self.channel_id)
            .text(self.price.as_deref().unwrap())
            .text(self.volume.as_deref().unwrap())
            .text(self.timestamp.as_deref().unwrap())
            .text(self.side.as_deref().unwrap())
            .text(&self.order_type)
            .text(&self.misc)
            .text(self.pair.as_deref().unwrap())
            .long(self.ingestion_timestamp)
    }

    /// With all that can be null as a union (id 8).
    pub(crate) fn nullable(&self) -> Body {
        Body::default()
            .long(self.channel_id)
            .optional(self.price.as_deref(), Body::text)
            .optional(self.volume.as_deref(), Body::text)
            .optional(self.timestamp.as_deref(), Body::text)
            .optional(self.side.as_deref(), Body::text)
            .text(&self.order_type)
            .text(&self.misc)
            .optional(self.pair.as_deref(), Body::text)
            .long(self.ingestion_timestamp)
    }
}

/// A Coinbase trade, as the example's writer schema (id 3) has it.
#[derive(Debug, Clone)]
pub(crate) struct Coinbase {
    pub(crate) time: String,
    pub(crate) product_id: String,
    pub(crate) size: String,
    pub(crate) price: String,
    pub(crate) side: String,
}

impl Default for Coinbase {
    fn default() -> Self {
        Self {
            time: "2023-11-14T22:13:20.123456Z".to_owned(),
            product_id: "BTC-USD".to_owned(),
            size: "5.23512".to_owned(),
            price: "36400.23".to_owned(),
            side: "sell".to_owned(),
        }
    }
}

impl Coinbase {
    pub(crate) fn body(&self) -> Body {
        Body::default()
            .long(10)
            .long(50)
            .text("ac928c66-ca53-498f-9c13-a110027a60e8")
            .text("132fb6ae-456b-4654-b4e0-d681ac05cea1")
            .text(&self.time)
            .text(&self.product_id)
            .text(&self.size)
            .text(&self.price)
            .text(&self.side)
            .long(1_700_000_000_130_042)
    }
}

#[test]
fn the_hand_writes_what_apache_avro_writes() {
    use apache_avro::{Schema, to_avro_datum, types::Value};
    let schema = Schema::parse_str(&crate::asset("config/schemas/1-binance_raw_trade.avsc").unwrap().text).unwrap();
    let trade = Binance { trade_id: -7, is_best_match: None, ..Binance::default() };
    let text = |text: &Option<String>| Value::String(text.clone().unwrap());
    let record = Value::Record(vec![
        ("event_type".into(), Value::String(trade.event_type.clone())),
        ("event_time_ms".into(), Value::Long(trade.event_time_ms)),
        ("symbol".into(), text(&trade.symbol)),
        ("trade_id".into(), Value::Long(trade.trade_id)),
        ("price".into(), text(&trade.price)),
        ("quantity".into(), text(&trade.quantity)),
        ("trade_time_ms".into(), Value::Long(trade.trade_time_ms.unwrap())),
        ("is_buyer_maker".into(), Value::Boolean(true)),
        ("is_best_match".into(), Value::Union(0, Box::new(Value::Null))),
        ("ingestion_timestamp".into(), Value::Long(trade.ingestion_timestamp)),
    ]);
    assert_eq!(to_avro_datum(&schema, record).unwrap(), trade.body().0);

    let schema = Schema::parse_str(&crate::asset("config/schemas/2-kraken_raw_trade.avsc").unwrap().text).unwrap();
    let trade = Kraken::default();
    let record = Value::Record(vec![
        ("channel_id".into(), Value::Long(trade.channel_id)),
        ("price".into(), text(&trade.price)),
        ("volume".into(), text(&trade.volume)),
        ("timestamp".into(), text(&trade.timestamp)),
        ("side".into(), text(&trade.side)),
        ("order_type".into(), Value::String(trade.order_type.clone())),
        ("misc".into(), Value::String(trade.misc.clone())),
        ("pair".into(), text(&trade.pair)),
        ("ingestion_timestamp".into(), Value::Long(trade.ingestion_timestamp)),
    ]);
    assert_eq!(to_avro_datum(&schema, record).unwrap(), trade.body().0);
}
