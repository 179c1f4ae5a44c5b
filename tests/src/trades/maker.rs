//! Makes records of every kind, from a seed.

use super::avro::framed;
use super::schemas::{Ids, Version};
use super::spoil::{self, Break};
use super::{Exchange, Meaning, RawTrade, TradeRecord, good};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// One in so many good trades is a strange one.
const STRANGE: u32 = 5;
/// One in so many records is a day or more old.
const OLD: u32 = 25;

/// A maker of records of one exchange.
#[derive(Debug, Clone)]
pub struct Maker {
    exchange: Exchange,
    ids: Ids,
    rng: StdRng,
    /// Bad records in a thousand.
    pub bad: u32,
    /// How many days back some of the records reach; 0: all are of now.
    pub days: i64,
}

impl Maker {
    /// Records of an exchange, one in twenty of them bad.
    pub fn new(exchange: Exchange, ids: Ids, seed: u64) -> Self {
        Self { exchange, ids, rng: StdRng::seed_from_u64(seed), bad: 50, days: 20 }
    }

    /// The next record.
    pub fn next(&mut self, now_ms: i64) -> TradeRecord {
        let back = if self.days > 0 && self.rng.random_ratio(1, OLD) { self.rng.random_range(0..self.days) } else { 0 };
        let timestamp_ms = now_ms - back * 86_400_000;
        if self.rng.random_range(0..1000) < self.bad { self.bad(timestamp_ms) } else { self.good(timestamp_ms) }
    }

    /// A good record: a row of silver is to come of it.
    pub fn good(&mut self, timestamp_ms: i64) -> TradeRecord {
        let mut trade = good::ordinary(self.exchange, &mut self.rng, timestamp_ms);
        if self.rng.random_ratio(1, STRANGE) {
            good::strange(&mut trade, &mut self.rng, timestamp_ms);
        }
        self.of_trade(trade, timestamp_ms)
    }

    /// A bad record of any kind.
    pub fn bad(&mut self, timestamp_ms: i64) -> TradeRecord {
        let wrongs = spoil::wrongs(self.exchange);
        let breaks = self.breaks();
        match self.rng.random_range(0..10) {
            // one field is wrong
            0..5 => {
                let which = self.pick(wrongs.len());
                self.spoilt(&[wrongs[which]], timestamp_ms)
            }
            // several are, and the first by the contract's order is the reason
            5..7 => {
                let picked = [0; 3].map(|_| wrongs[self.pick(wrongs.len())]);
                let count = self.rng.random_range(2..4);
                self.spoilt(&picked[..count], timestamp_ms)
            }
            _ => {
                let which = self.pick(breaks.len());
                self.broken(breaks[which], timestamp_ms)
            }
        }
    }

    /// A record of each kind there is, each wrong value and each broken form once, and frames cut at every byte.
    pub fn one_of_each(&mut self, timestamp_ms: i64) -> Vec<TradeRecord> {
        let mut records = Vec::new();
        for wrong in spoil::wrongs(self.exchange) {
            records.push(self.spoilt(&[wrong], timestamp_ms));
        }
        for broken in self.breaks() {
            records.push(self.broken(broken, timestamp_ms));
        }
        for version in [Version::Plain, Version::Evolved] {
            let whole = self.in_version(version, timestamp_ms);
            let value = whole.value.clone().unwrap();
            for length in 0..value.len() {
                let meaning = if length < 5 { Meaning::NoFrame } else { Meaning::Undecodable };
                records.push(TradeRecord { value: Some(value[..length].to_vec()), meaning, ..whole.clone() });
            }
            records.push(whole);
        }
        for _ in 0..40 * STRANGE {
            records.push(self.good(timestamp_ms));
        }
        records
    }

    /// A good record whose value is about so many bytes long.
    pub fn large(&mut self, bytes: usize, timestamp_ms: i64) -> TradeRecord {
        let mut trade = self.ordinary(timestamp_ms);
        match &mut trade {
            RawTrade::Binance(t) => t.event_type = "x".repeat(bytes),
            RawTrade::Kraken(t) => t.misc = "x".repeat(bytes),
        }
        self.framed(trade, Version::Plain, timestamp_ms)
    }

    /// An ordinary record under a version.
    pub fn in_version(&mut self, version: Version, timestamp_ms: i64) -> TradeRecord {
        let trade = self.ordinary(timestamp_ms);
        self.framed(trade, version, timestamp_ms)
    }

    fn breaks(&self) -> Vec<Break> {
        let own: &[Break] = match self.exchange {
            Exchange::Binance => &spoil::BINANCE_BODIES,
            Exchange::Kraken => &[],
        };
        [&spoil::FRAMES[..], &spoil::BODIES, own].concat()
    }

    fn pick(&mut self, of: usize) -> usize {
        self.rng.random_range(0..of)
    }

    /// An ordinary trade that each version of the schema can tell.
    fn ordinary(&mut self, timestamp_ms: i64) -> RawTrade {
        let mut trade = good::ordinary(self.exchange, &mut self.rng, timestamp_ms);
        if let RawTrade::Binance(t) = &mut trade {
            t.is_best_match = None;
        }
        trade
    }

    fn spoilt(&mut self, wrongs: &[&spoil::Wrong], timestamp_ms: i64) -> TradeRecord {
        let mut trade = self.ordinary(timestamp_ms);
        for wrong in wrongs {
            (wrong.set)(&mut trade, timestamp_ms);
        }
        self.of_trade(trade, timestamp_ms)
    }

    fn broken(&mut self, broken: Break, timestamp_ms: i64) -> TradeRecord {
        let trade = self.ordinary(timestamp_ms);
        let (value, meaning) = broken(&trade, &self.ids, &mut self.rng);
        TradeRecord { key: self.key(&trade), value, timestamp_ms, meaning }
    }

    /// A trade under whichever version can tell it.
    fn of_trade(&mut self, trade: RawTrade, timestamp_ms: i64) -> TradeRecord {
        let plain = trade.fits_plain();
        let evolved = trade.fits_evolved();
        assert!(plain || evolved, "no schema can tell {trade:?}");
        let version =
            if plain && (!evolved || self.rng.random_ratio(2, 3)) { Version::Plain } else { Version::Evolved };
        self.framed(trade, version, timestamp_ms)
    }

    fn framed(&mut self, trade: RawTrade, version: Version, timestamp_ms: i64) -> TradeRecord {
        let value = framed(self.ids.id(version), &trade.body(version));
        let meaning = match version {
            Version::Plain | Version::Evolved => Meaning::Trade(trade.clone()),
            Version::Breaking | Version::Broken => Meaning::Undecodable,
        };
        TradeRecord { key: self.key(&trade), value: Some(value), timestamp_ms, meaning }
    }

    /// The symbol or pair, as the contract has it; now and then none, an empty one, or one that is no UTF-8.
    fn key(&mut self, trade: &RawTrade) -> Option<Vec<u8>> {
        match self.rng.random_range(0..40) {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(vec![0xff, 0x00]),
            _ => match trade {
                RawTrade::Binance(t) => t.symbol.clone(),
                RawTrade::Kraken(t) => t.pair.clone(),
            }
            .map(String::into_bytes),
        }
    }
}
