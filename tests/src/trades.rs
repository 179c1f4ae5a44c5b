//! Trades as the feed handlers send them, and what must become of each: the truth for silver and the dead letters.
//!
//! [`Maker`] makes records of every kind, good and bad, as bytes in Confluent's frame; [`mod@reference`] says from the
//! contract alone, which row or which reason each must end as; [`TradeLoad`] sends them and keeps a [`TradeLedger`] of
//! what the broker took. Written from the contract's text word by word and sharing nothing with `k2-transform`, so that
//! a disagreement shows.

pub mod avro;
mod good;
mod load;
mod maker;
pub mod reference;
mod row;
mod schemas;
mod spoil;

pub use load::{ProducingTrades, TradeLedger, TradeLoad};
pub use maker::Maker;
pub use reference::{Limits, Place};
pub use row::{Fate, Reject, SilverRow};
pub use schemas::{Ids, Version};

/// The two exchanges that come with K2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exchange {
    /// `binance`
    Binance,
    /// `kraken`
    Kraken,
}

impl Exchange {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Binance, Self::Kraken];

    /// As in the names of pipelines, tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Kraken => "kraken",
        }
    }
}

/// A trade as an exchange tells it, before any normalisation. What the reader schemas make nullable is an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawTrade {
    /// `BinanceRawTrade`
    Binance(BinanceTrade),
    /// `KrakenRawTrade`
    Kraken(KrakenTrade),
}

/// `BinanceRawTrade`, fields as in the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Avro's")]
pub struct BinanceTrade {
    pub event_type: String,
    pub event_time_ms: i64,
    pub symbol: Option<String>,
    pub trade_id: i64,
    pub price: Option<String>,
    pub quantity: Option<String>,
    pub trade_time_ms: Option<i64>,
    pub is_buyer_maker: Option<bool>,
    pub is_best_match: Option<bool>,
    pub ingestion_timestamp: i64,
}

/// `KrakenRawTrade`, fields as in the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Avro's")]
pub struct KrakenTrade {
    pub channel_id: i64,
    pub price: Option<String>,
    pub volume: Option<String>,
    pub timestamp: Option<String>,
    pub side: Option<String>,
    pub order_type: String,
    pub misc: String,
    pub pair: Option<String>,
    pub ingestion_timestamp: i64,
}

/// A record that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradeRecord {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its create time.
    pub timestamp_ms: i64,
    /// What its bytes mean.
    pub meaning: Meaning,
}

/// What the bytes of a record mean to who decodes them faultlessly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing is to be said: there is no value or no frame around it.
    NoFrame,
    /// A frame around anything, of a schema id that the registry does not know.
    UnknownId,
    /// A frame around bytes that cannot be resolved to a trade.
    Undecodable,
    /// A trade.
    Trade(RawTrade),
}

#[cfg(test)]
#[path = "trades/tests.rs"]
mod tests;
