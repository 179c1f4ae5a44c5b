//! Realistic trades, as the two exchanges' feed handlers write them to Kafka. Feeds `k2 demo`, `k2 bench-load` and tests.
//!
//! Owns the shape of a generated record: Confluent frame (0x00, schema id as 4 big-endian bytes) and an Avro body with the
//! fields, order and types of `config/schemas/{1,2}-*_raw_trade.avsc` (a test decodes it with apache-avro). If asked to, one
//! record in so many is bad, in one of the ways of [`Flaw`]. Prices walk at
//! random in the market's own tick size, quantities are many small ones and a few large ones, trade ids rise per symbol.
//!
//! 1. The same seed, the same calls of [`TradeGenerator::set_clock`]: the same bytes, on every machine.
//! 2. Nothing is allocated per record: the caller's buffer is used again, keys are static text.

mod encode;
mod flaw;
pub(crate) mod load;
mod market;
pub(crate) mod producer;

use encode::Body;
pub(crate) use flaw::Flaw;
use market::{Listing, Market};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// The exchanges whose trades can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Exchange {
    /// Trades of the record type `BinanceRawTrade`.
    Binance,
    /// Trades of the record type `KrakenRawTrade`.
    Kraken,
}

impl Exchange {
    /// The name, as in topics and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Binance => "binance",
            Self::Kraken => "kraken",
        }
    }

    fn listings(self) -> &'static [Listing] {
        match self {
            Self::Binance => market::BINANCE,
            Self::Kraken => market::KRAKEN,
        }
    }

    /// The id under which a registry would hold the writer schema.
    fn schema_id(self) -> u32 {
        match self {
            Self::Binance => 1,
            Self::Kraken => 2,
        }
    }
}

/// Symbols are drawn by eight random bits and more: the table holds each market in proportion to its trades.
const DRAWS: usize = 1024;

/// An id that the schema folder does not have.
const UNKNOWN_SCHEMA: u32 = 999;

/// How far ahead a trade of the future is, in microseconds.
const FAR_AHEAD: i64 = 3_600_000_000;

/// Where the clock of a generator starts that nobody sets: 2023-11-14T22:13:20Z, in microseconds.
const CLOCK_START: i64 = 1_700_000_000_000_000;

/// An endless, reproducible stream of trades of one exchange.
#[derive(Debug)]
pub(crate) struct TradeGenerator {
    exchange: Exchange,
    random: SplitMix64,
    markets: Vec<Market>,
    draws: Vec<u16>,
    now_micros: i64,
    /// One record in so many is bad; none: all are good.
    bad_one_in: Option<NonZeroU64>,
}

/// A generated record, besides its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generated {
    /// Its key.
    pub(crate) key: &'static str,
    /// What is wrong with it.
    pub(crate) flaw: Option<Flaw>,
}

impl Generated {
    /// The value to send: none at all for a tombstone.
    pub(crate) fn value(self, bytes: &[u8]) -> Option<&[u8]> {
        (self.flaw != Some(Flaw::Tombstone)).then_some(bytes)
    }
}

impl TradeGenerator {
    /// Trades of an exchange, in all of its markets.
    pub(crate) fn new(exchange: Exchange, seed: u64) -> Self {
        Self::sharded(exchange, seed, 0, 1)
    }

    /// Trades of Binance.
    #[cfg(test)]
    pub(crate) fn binance(seed: u64) -> Self {
        Self::new(Exchange::Binance, seed)
    }

    /// Trades of Kraken.
    #[cfg(test)]
    pub(crate) fn kraken(seed: u64) -> Self {
        Self::new(Exchange::Kraken, seed)
    }

    /// Every `of`-th market, so that several threads can share an exchange and ids still rise per symbol.
    pub(crate) fn sharded(exchange: Exchange, seed: u64, shard: usize, of: usize) -> Self {
        let of = of.clamp(1, exchange.listings().len());
        let listed: Vec<&Listing> = exchange.listings().iter().skip(shard % of).step_by(of).collect();
        let total: usize = listed.iter().map(|l| usize::from(l.weight)).sum();
        let mut draws = Vec::with_capacity(DRAWS);
        let mut upto = 0;
        for (index, listing) in (0u16..).zip(&listed) {
            upto += usize::from(listing.weight);
            draws.resize((upto * DRAWS).div_ceil(total).min(DRAWS), index);
        }
        // each shard draws from a stream of its own
        let mut random = SplitMix64(seed ^ (shard as u64).wrapping_mul(0xD1B5_4A32_D192_ED03));
        let markets = listed.into_iter().map(|l| Market::open(l, &mut random)).collect();
        Self { exchange, random, markets, draws, now_micros: CLOCK_START, bad_one_in: None }
    }

    /// Sets the time that the next trades are made at; from there on it advances by itself, 100 µs a trade on average.
    pub(crate) fn set_clock(&mut self, micros: i64) {
        self.now_micros = micros;
    }

    /// From here on one record in so many is bad, at random; 0: none.
    pub(crate) fn spoil(&mut self, one_in: u64) {
        self.bad_one_in = NonZeroU64::new(one_in);
    }

    /// Appends the next record's value to `value`.
    pub(crate) fn next(&mut self, value: &mut Vec<u8>) -> Generated {
        let dice = Dice(self.random.next());
        self.now_micros += i64::from(dice.byte(0)) * 100 / 128;
        let market = &mut self.markets[usize::from(self.draws[dice.below_1024()])];
        market.trade(&dice, self.random.next());
        let key = market.symbol;
        let flaw = self.bad_one_in.and_then(|one_in| flaw(self.random.next(), one_in));

        let mut body = Body::new();
        body.frame(if flaw == Some(Flaw::UnknownSchema) { UNKNOWN_SCHEMA } else { self.exchange.schema_id() });
        match self.exchange {
            Exchange::Binance => binance_body(&mut body, market, &dice, self.now_micros, flaw),
            Exchange::Kraken => kraken_body(&mut body, market, &dice, self.now_micros, flaw),
        }
        match flaw {
            Some(Flaw::NotFramed) => value.extend_from_slice(format!("{{\"symbol\":\"{key}\"}}").as_bytes()),
            Some(Flaw::CutOff) => value.extend_from_slice(&body.as_bytes()[..body.as_bytes().len() / 2]),
            _ => value.extend_from_slice(body.as_bytes()),
        }
        Generated { key, flaw }
    }
}

/// Whether a record is bad, and how.
fn flaw(drawn: u64, one_in: NonZeroU64) -> Option<Flaw> {
    let kinds = Flaw::ALL.len() as u64;
    let kind = usize::try_from(drawn / one_in % kinds).unwrap_or_default();
    (drawn % one_in == 0).then(|| Flaw::ALL[kind])
}

fn price(body: &mut Body, market: &Market, decimals: u8, flaw: Option<Flaw>) {
    match flaw {
        Some(Flaw::PriceText) => body.text(b"67,123.45"),
        Some(Flaw::PriceZero) => body.text(b"0.00000000"),
        _ => body.decimal(market.price(), decimals),
    }
}

fn quantity(body: &mut Body, market: &Market, flaw: Option<Flaw>) {
    match flaw {
        Some(Flaw::QuantityTooFine) => body.text(b"0.123456789"),
        _ => body.decimal(market.quantity(), 8),
    }
}

fn binance_body(body: &mut Body, market: &mut Market, dice: &Dice, now_micros: i64, flaw: Option<Flaw>) {
    // the exchange's clock, a network's way back in time
    let event_ms = now_micros / 1000 - 2 - i64::from(dice.byte(3) & 15);
    let trade_ms = (event_ms - i64::from(dice.byte(3) >> 6)).max(market.last_ms);
    market.last_ms = trade_ms;
    body.text(b"trade");
    body.long(event_ms.max(trade_ms));
    body.text(if flaw == Some(Flaw::NoSymbol) { b"" } else { market.symbol.as_bytes() });
    body.long(market.trade_id);
    price(body, market, 8, flaw);
    quantity(body, market, flaw);
    body.long(if flaw == Some(Flaw::Future) { trade_ms + FAR_AHEAD / 1000 } else { trade_ms });
    body.boolean(market.aggressor_sells);
    // the field is Binance's «ignore»: old feed handlers left it out
    body.optional_boolean(if dice.byte(4) < 2 { None } else { Some(true) });
    body.long(now_micros);
}

fn kraken_body(body: &mut Body, market: &Market, dice: &Dice, now_micros: i64, flaw: Option<Flaw>) {
    body.long(market.channel_id);
    price(body, market, market.shown_decimals, flaw);
    quantity(body, market, flaw);
    let ahead = if flaw == Some(Flaw::Future) { FAR_AHEAD } else { 0 };
    body.seconds(now_micros - 2_000 - i64::from(dice.byte(3)) * 60 + ahead);
    body.text(if market.aggressor_sells { b"s" } else { b"b" });
    body.text(if dice.byte(4) < 160 { b"l" } else { b"m" });
    body.text(b"");
    body.text(if flaw == Some(Flaw::NoSymbol) { b"XBT/" } else { market.symbol.as_bytes() });
    body.long(now_micros);
}

/// 64 random bits, to be used in parts.
struct Dice(u64);

impl Dice {
    /// One of the upper six bytes, by number; none of them takes part in [`Self::below_1024`].
    fn byte(&self, index: usize) -> u8 {
        self.0.to_le_bytes()[2 + index]
    }

    fn below_1024(&self) -> usize {
        let [low, high, ..] = self.0.to_le_bytes();
        usize::from(u16::from_le_bytes([low, high]) & 1023)
    }
}

/// Sebastiano Vigna's SplitMix64: three multiplications, the same numbers in every version of every library.
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// A seed that differs from run to run.
pub(crate) fn fresh_seed() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    k2_model::clock::now_micros().cast_unsigned() ^ (CALLS.fetch_add(1, Ordering::Relaxed) << 56)
}

#[cfg(test)]
#[path = "generator/tests.rs"]
mod tests;
