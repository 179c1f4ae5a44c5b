//! Good trades: ordinary ones, and those that look bad and are not.

use super::{BinanceTrade, Exchange, KrakenTrade, RawTrade};
use rand::Rng;
use rand::rngs::StdRng;

/// Symbols with every quote asset of the contract's list, and some that a shorter suffix would mislead.
const SYMBOLS: [&str; 16] = [
    "BTCUSDT", "ETHUSDT", "SOLUSDC", "BTCFDUSD", "ETHBUSD", "BNBTUSD", "BTCUSD", "ETHEUR", "BTCTRY", "ETHBTC",
    "BNBETH", "XRPBNB", "BTC", "btcusdt", " BTCUSDT", "DOGEJPY",
];
const PAIRS: [&str; 12] = [
    "XBT/USD",
    "ETH/XBT",
    "ETH/USD",
    "XBT/EUR",
    "XXBTZUSD",
    "A/B/C",
    "XBT",
    "eth/usd",
    "XBTC/USD",
    "XBT/USDT",
    "SOL/XBT",
    "1INCH/USD",
];
/// Texts of prices and quantities with the value they stand for, in units of 10⁻⁸, that must come out exactly.
pub(super) const EXACT: [(&str, i128); 12] = [
    ("67123.45000000", 6_712_345_000_000),
    ("0.00000001", 1),
    ("1", 100_000_000),
    ("1.0", 100_000_000),
    ("0001.5", 150_000_000),
    ("9999999999.99999999", 999_999_999_999_999_999),
    ("00000000009999999999.99999999", 999_999_999_999_999_999),
    ("0.10000000000000000000000000000000000000000", 10_000_000),
    ("123.456789010000", 12_345_678_901),
    ("0.3", 30_000_000),
    ("8.12345678", 812_345_678),
    ("0000000000000000000000000000000000000000000000001", 100_000_000),
];
/// How far the limits are, in ms, as [`super::Limits::default`] has them.
const FUTURE_MS: i64 = 300_000;
const AGE_MS: i64 = 365 * 86_400_000;

/// An ordinary trade of a moment, as a feed handler would send it.
pub(super) fn ordinary(exchange: Exchange, rng: &mut StdRng, kafka_ms: i64) -> RawTrade {
    let price = format!("{}.{:08}", rng.random_range(1..90_000), rng.random_range(0..100_000_000));
    let amount = format!("{}.{:08}", rng.random_range(0..40), rng.random_range(1..100_000_000));
    let ingestion_timestamp = kafka_ms * 1000 + rng.random_range(-5_000..5_000);
    let lag = rng.random_range(0..900);
    match exchange {
        Exchange::Binance => RawTrade::Binance(BinanceTrade {
            event_type: "trade".into(),
            event_time_ms: kafka_ms - lag + 1,
            symbol: Some(SYMBOLS[rng.random_range(0..8)].into()),
            trade_id: rng.random_range(0..i64::from(i32::MAX)),
            price: Some(price),
            quantity: Some(amount),
            trade_time_ms: Some(kafka_ms - lag),
            is_buyer_maker: Some(rng.random()),
            is_best_match: Some(true),
            ingestion_timestamp,
        }),
        Exchange::Kraken => RawTrade::Kraken(KrakenTrade {
            channel_id: rng.random_range(0..100_000),
            price: Some(price),
            volume: Some(amount),
            timestamp: Some(seconds((kafka_ms - lag) * 1000 + rng.random_range(0..1000), 6)),
            side: Some(["b", "s"][rng.random_range(0..2)].into()),
            order_type: ["l", "m"][rng.random_range(0..2)].into(),
            misc: String::new(),
            pair: Some(PAIRS[rng.random_range(0..4)].into()),
            ingestion_timestamp,
        }),
    }
}

/// Makes an ordinary trade a strange one that is good all the same.
pub(super) fn strange(trade: &mut RawTrade, rng: &mut StdRng, kafka_ms: i64) {
    let exact = EXACT[rng.random_range(0..EXACT.len())].0.to_owned();
    let odd_text = || ["\"quoted\" \\ / back", "tab\there\nand\u{1}", "käse 鱼 \u{1f980}", "\u{7f}\0"];
    match trade {
        RawTrade::Binance(t) => match rng.random_range(0..10) {
            0..3 => t.symbol = Some(SYMBOLS[rng.random_range(0..SYMBOLS.len())].into()),
            3 => t.price = Some(exact),
            4 => t.quantity = Some(exact),
            5 => t.trade_time_ms = Some(kafka_ms + FUTURE_MS),
            6 => t.trade_time_ms = Some(kafka_ms - AGE_MS),
            7 => {
                (t.trade_id, t.event_time_ms, t.ingestion_timestamp) = (i64::MAX, i64::MIN, i64::MIN);
                t.is_best_match = None;
            }
            8 => {
                (t.trade_id, t.event_time_ms, t.ingestion_timestamp) = (-9_007_199_254_740_993, i64::MAX, 0);
                t.is_best_match = Some(false);
            }
            _ => t.event_type = odd_text()[rng.random_range(0..4)].into(),
        },
        RawTrade::Kraken(t) => match rng.random_range(0..12) {
            0..3 => t.pair = Some(PAIRS[rng.random_range(0..PAIRS.len())].into()),
            3 => t.price = Some(exact),
            4 => t.volume = Some(exact),
            5 => t.timestamp = Some(format!("{}999999", seconds((kafka_ms + FUTURE_MS) * 1000, 6))),
            6 => t.timestamp = Some(seconds((kafka_ms - AGE_MS) * 1000, 3)),
            7 => t.timestamp = Some((kafka_ms / 1000).to_string()),
            8 => t.timestamp = Some(format!("000{}.9", kafka_ms / 1000 - 1)),
            9 => t.order_type = ["", "x", "limit", "\"l\""][rng.random_range(0..4)].into(),
            10 => (t.channel_id, t.ingestion_timestamp) = (i64::MIN, i64::MAX),
            _ => t.misc = odd_text()[rng.random_range(0..4)].into(),
        },
    }
}

/// Kraken's form of a time.
pub(super) fn seconds(micros: i64, decimals: usize) -> String {
    let fraction = format!("{:06}", micros.rem_euclid(1_000_000));
    format!("{}.{}", micros.div_euclid(1_000_000), &fraction[..decimals])
}
