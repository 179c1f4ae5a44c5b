//! The writer schemas of the test's producers, and how a trade is encoded under each.
//!
//! Four an exchange: the one of today; an evolved one, that uses all of Avro's resolution that a compatible change may; one
//! that breaks compatibility; and one that is no schema at all.

use super::avro::Encoder;
use super::{BinanceTrade, Exchange, KrakenTrade, RawTrade};

/// A version of a writer schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// The fields of the contract.
    Plain,
    /// Fields in another order, promoted, nullable, left out and added.
    Evolved,
    /// The price is a double: not to be resolved to text.
    Breaking,
    /// Not Avro.
    Broken,
}

/// The schema ids under which the registry knows the versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "as the versions")]
pub struct Ids {
    pub plain: i32,
    pub evolved: i32,
    pub breaking: i32,
    pub broken: i32,
}

impl Ids {
    /// Those of a folder of schemas that [`crate::Deployment::with_schemas`] writes.
    pub fn of(exchange: Exchange) -> Self {
        let base = match exchange {
            Exchange::Binance => 101,
            Exchange::Kraken => 66_051, // 0x010203: every byte of the id counts
        };
        Self { plain: base, evolved: base + 1, breaking: base + 2, broken: base + 3 }
    }

    /// The id of a version.
    pub fn id(&self, version: Version) -> i32 {
        match version {
            Version::Plain => self.plain,
            Version::Evolved => self.evolved,
            Version::Breaking => self.breaking,
            Version::Broken => self.broken,
        }
    }
}

impl Version {
    /// All versions.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Evolved, Self::Breaking, Self::Broken];

    /// The schema's text.
    pub fn schema(self, exchange: Exchange) -> &'static str {
        match (exchange, self) {
            (_, Self::Broken) => r#"syntax = "proto3"; message Trade { string price = 1; }"#,
            (Exchange::Binance, Self::Plain) => BINANCE,
            (Exchange::Binance, Self::Evolved) => BINANCE_EVOLVED,
            (Exchange::Binance, Self::Breaking) => BINANCE_BREAKING,
            (Exchange::Kraken, Self::Plain) => KRAKEN,
            (Exchange::Kraken, Self::Evolved) => KRAKEN_EVOLVED,
            (Exchange::Kraken, Self::Breaking) => KRAKEN_BREAKING,
        }
    }
}

const BINANCE: &str = r#"{"type":"record","name":"BinanceRawTrade","namespace":"com.k2.marketdata.raw","fields":[
{"name":"event_type","type":"string"},{"name":"event_time_ms","type":"long"},{"name":"symbol","type":"string"},
{"name":"trade_id","type":"long"},{"name":"price","type":"string"},{"name":"quantity","type":"string"},
{"name":"trade_time_ms","type":"long"},{"name":"is_buyer_maker","type":"boolean"},
{"name":"is_best_match","type":["null","boolean"],"default":null},{"name":"ingestion_timestamp","type":"long"}]}"#;

const BINANCE_EVOLVED: &str = r#"{"type":"record","name":"TradeOfTomorrow","namespace":"elsewhere","fields":[
{"name":"note","type":"string"},
{"name":"ingestion_timestamp","type":"long"},
{"name":"is_buyer_maker","type":["null","boolean"]},
{"name":"trade_time_ms","type":["long","null"]},
{"name":"venue","type":{"type":"enum","name":"Venue","symbols":["SPOT","MARGIN"]}},
{"name":"quantity","type":["null","bytes"]},
{"name":"tags","type":{"type":"array","items":"string"}},
{"name":"price","type":["string","null"]},
{"name":"fees","type":{"type":"map","values":{"type":"record","name":"Fee","fields":[
  {"name":"rate","type":"double"},{"name":"next","type":["null","Fee"]}]}}},
{"name":"trade_id","type":"int"},
{"name":"symbol","type":["null","string"]},
{"name":"event_time_ms","type":"long"},
{"name":"checksum","type":{"type":"fixed","name":"Checksum","size":4}},
{"name":"event_type","type":"bytes"}]}"#;

const BINANCE_BREAKING: &str = r#"{"type":"record","name":"BinanceRawTrade","namespace":"com.k2.marketdata.raw","fields":[
{"name":"event_type","type":"string"},{"name":"event_time_ms","type":"long"},{"name":"symbol","type":"string"},
{"name":"trade_id","type":"long"},{"name":"price","type":"double"},{"name":"quantity","type":"string"},
{"name":"trade_time_ms","type":"long"},{"name":"is_buyer_maker","type":"boolean"},
{"name":"is_best_match","type":["null","boolean"],"default":null},{"name":"ingestion_timestamp","type":"long"}]}"#;

const KRAKEN: &str = r#"{"type":"record","name":"KrakenRawTrade","namespace":"com.k2.marketdata.raw","fields":[
{"name":"channel_id","type":"long"},{"name":"price","type":"string"},{"name":"volume","type":"string"},
{"name":"timestamp","type":"string"},{"name":"side","type":"string"},{"name":"order_type","type":"string"},
{"name":"misc","type":"string"},{"name":"pair","type":"string"},{"name":"ingestion_timestamp","type":"long"}]}"#;

const KRAKEN_EVOLVED: &str = r#"{"type":"record","name":"KrakenRawTrade","namespace":"com.k2.marketdata.raw","fields":[
{"name":"pair","type":["null","string"]},
{"name":"side","type":["string","null"]},
{"name":"tags","type":{"type":"array","items":"string"}},
{"name":"price","type":["null","bytes"]},
{"name":"channel_id","type":"int"},
{"name":"venue","type":{"type":"enum","name":"Venue","symbols":["SPOT","MARGIN"]}},
{"name":"volume","type":["string","null"]},
{"name":"note","type":"string"},
{"name":"timestamp","type":["null","string"]},
{"name":"misc","type":"string"},
{"name":"order_type","type":"string"},
{"name":"ingestion_timestamp","type":"long"}]}"#;

const KRAKEN_BREAKING: &str = r#"{"type":"record","name":"KrakenRawTrade","namespace":"com.k2.marketdata.raw","fields":[
{"name":"channel_id","type":"long"},{"name":"price","type":"double"},{"name":"volume","type":"string"},
{"name":"timestamp","type":"string"},{"name":"side","type":"string"},{"name":"order_type","type":"string"},
{"name":"misc","type":"string"},{"name":"pair","type":"string"},{"name":"ingestion_timestamp","type":"long"}]}"#;

impl RawTrade {
    /// Whether every field that the plain schema cannot leave out is there.
    pub fn fits_plain(&self) -> bool {
        match self {
            Self::Binance(t) => {
                t.symbol.is_some()
                    && t.price.is_some()
                    && t.quantity.is_some()
                    && t.trade_time_ms.is_some()
                    && t.is_buyer_maker.is_some()
            }
            Self::Kraken(t) => {
                t.pair.is_some() && t.price.is_some() && t.volume.is_some() && t.timestamp.is_some() && t.side.is_some()
            }
        }
    }

    /// Whether the evolved schema can tell it.
    pub fn fits_evolved(&self) -> bool {
        match self {
            Self::Binance(t) => t.is_best_match.is_none() && i32::try_from(t.trade_id).is_ok(),
            Self::Kraken(t) => i32::try_from(t.channel_id).is_ok(),
        }
    }

    /// The Avro body under a version. What the version lacks must be its default already, and numbers must fit.
    pub fn body(&self, version: Version) -> Vec<u8> {
        match (self, version) {
            (Self::Binance(t), Version::Plain) => binance_plain(t),
            (Self::Binance(t), Version::Evolved) => binance_evolved(t),
            (Self::Binance(t), Version::Breaking) => binance_breaking(t),
            (Self::Kraken(t), Version::Plain) => kraken_plain(t),
            (Self::Kraken(t), Version::Evolved) => kraken_evolved(t),
            (Self::Kraken(t), Version::Breaking) => kraken_breaking(t),
            (_, Version::Broken) => b"\n\x0567123.4".to_vec(),
        }
    }
}

fn text(field: &Option<String>) -> &str {
    field.as_deref().expect("the plain schemas have no nulls here")
}

fn binance_plain(t: &BinanceTrade) -> Vec<u8> {
    let mut e = Encoder::new();
    e.string(&t.event_type).long(t.event_time_ms).string(text(&t.symbol)).long(t.trade_id);
    e.string(text(&t.price)).string(text(&t.quantity)).long(t.trade_time_ms.unwrap());
    e.boolean(t.is_buyer_maker.unwrap());
    match t.is_best_match {
        None => e.long(0),
        Some(best) => e.long(1).boolean(best),
    };
    e.long(t.ingestion_timestamp).finish()
}

fn binance_breaking(t: &BinanceTrade) -> Vec<u8> {
    let mut e = Encoder::new();
    e.string(&t.event_type).long(t.event_time_ms).string(text(&t.symbol)).long(t.trade_id);
    e.double(67_123.4).string(text(&t.quantity)).long(t.trade_time_ms.unwrap());
    e.boolean(t.is_buyer_maker.unwrap()).long(0).long(t.ingestion_timestamp).finish()
}

fn binance_evolved(t: &BinanceTrade) -> Vec<u8> {
    assert_eq!(t.is_best_match, None, "the evolved schema has no such field");
    let mut e = Encoder::new();
    e.string("a field that nobody reads").long_padded(t.ingestion_timestamp);
    match t.is_buyer_maker {
        None => e.long(0),
        Some(maker) => e.long(1).boolean(maker),
    };
    match t.trade_time_ms {
        Some(time) => e.long(0).long(time),
        None => e.long_padded(1),
    };
    e.long(1); // MARGIN
    match &t.quantity {
        None => e.long(0),
        Some(quantity) => e.long(1).bytes(quantity.as_bytes()),
    };
    // two blocks: one with its size in bytes, one without
    e.long(-2).long(5).string("a").string("bc").long(1).string("d").long(0);
    match &t.price {
        Some(price) => e.long(0).string(price),
        None => e.long(1),
    };
    // one entry: a fee with a next fee without one
    e.long(1).string("taker").double(0.001).long(1).double(f64::NAN).long(0).long(0);
    e.long(t.trade_id);
    match &t.symbol {
        None => e.long(0),
        Some(symbol) => e.long(1).string(symbol),
    };
    e.long(t.event_time_ms).raw(&[0xff, 0, 0xfe, 0x80]).string(&t.event_type).finish()
}

fn kraken_plain(t: &KrakenTrade) -> Vec<u8> {
    let mut e = Encoder::new();
    e.long(t.channel_id).string(text(&t.price)).string(text(&t.volume)).string(text(&t.timestamp));
    e.string(text(&t.side)).string(&t.order_type).string(&t.misc).string(text(&t.pair));
    e.long(t.ingestion_timestamp).finish()
}

fn kraken_breaking(t: &KrakenTrade) -> Vec<u8> {
    let mut e = Encoder::new();
    e.long(t.channel_id).double(67_123.4).string(text(&t.volume)).string(text(&t.timestamp));
    e.string(text(&t.side)).string(&t.order_type).string(&t.misc).string(text(&t.pair));
    e.long(t.ingestion_timestamp).finish()
}

fn kraken_evolved(t: &KrakenTrade) -> Vec<u8> {
    let mut e = Encoder::new();
    match &t.pair {
        None => e.long(0),
        Some(pair) => e.long(1).string(pair),
    };
    match &t.side {
        Some(side) => e.long(0).string(side),
        None => e.long(1),
    };
    e.long(0); // no tags
    match &t.price {
        None => e.long(0),
        Some(price) => e.long(1).bytes(price.as_bytes()),
    };
    e.long(t.channel_id).long(0); // SPOT
    match &t.volume {
        Some(volume) => e.long(0).string(volume),
        None => e.long(1),
    };
    e.string("");
    match &t.timestamp {
        None => e.long(0),
        Some(time) => e.long(1).string(time),
    };
    e.string(&t.misc).string(&t.order_type).long(t.ingestion_timestamp).finish()
}
