//! Ways in which a record is bad: its frame, its Avro body, or what its fields say.

use super::avro::{Encoder, framed};
use super::good::seconds;
use super::schemas::{Ids, Version};
use super::{Exchange, Meaning, RawTrade};
use rand::Rng;
use rand::rngs::StdRng;

/// A wrong value in one field of a trade, and the reason that it alone ends with.
pub(super) struct Wrong {
    #[cfg_attr(not(test), allow(dead_code, reason = "what the reference is tested with"))]
    pub(super) reason: &'static str,
    pub(super) set: fn(&mut RawTrade, i64),
}

/// Sets the price, whatever the exchange.
fn price(trade: &mut RawTrade, text: Option<&str>) {
    *(match trade {
        RawTrade::Binance(t) => &mut t.price,
        RawTrade::Kraken(t) => &mut t.price,
    }) = text.map(str::to_owned);
}

/// Sets the quantity or volume.
fn quantity(trade: &mut RawTrade, text: Option<&str>) {
    *(match trade {
        RawTrade::Binance(t) => &mut t.quantity,
        RawTrade::Kraken(t) => &mut t.volume,
    }) = text.map(str::to_owned);
}

/// Sets the symbol or pair.
fn symbol(trade: &mut RawTrade, text: Option<&str>) {
    *(match trade {
        RawTrade::Binance(t) => &mut t.symbol,
        RawTrade::Kraken(t) => &mut t.pair,
    }) = text.map(str::to_owned);
}

/// Sets the trade time, in ms.
fn time_ms(trade: &mut RawTrade, ms: i64) {
    match trade {
        RawTrade::Binance(t) => t.trade_time_ms = Some(ms),
        RawTrade::Kraken(t) => t.timestamp = Some(seconds(ms.saturating_mul(1000), 3)),
    }
}

macro_rules! wrong {
    ($reason:literal, $set:expr) => {
        Wrong { reason: $reason, set: $set }
    };
}
macro_rules! texts {
    ($reason:literal, $set:ident: $($text:literal),+) => { [$(wrong!($reason, |t, _| $set(t, Some($text)))),+] };
}

const NO_PRICE: [Wrong; 19] = texts!("price_not_a_decimal", price: "", " ", " 1", "1 ", "+1", "1e5", "1E-5", ".5", "5.", "1,5",
    "NaN", "Infinity", "0x10", "１", "1.2.3", "-", "--1", "1_000", "1\n");
const NO_QUANTITY: [Wrong; 8] =
    texts!("quantity_not_a_decimal", quantity: "", "1e0", "+0.1", "inf", "1/2", "-.5", "\0", "٣");
const PRICE_RANGE: [Wrong; 5] = texts!("decimal_out_of_range", price: "1.123456789", "12345678901", "0.000000001",
    "99999999999999999999999999999999999999999999999999", "-0.0000000001");
const QUANTITY_RANGE: [Wrong; 3] =
    texts!("decimal_out_of_range", quantity: "10000000000", "1.000000001", "1.0000000000000000000000000000000000001");
const PRICE_SIGN: [Wrong; 4] = texts!("price_must_be_positive", price: "0", "-1", "0.0000000000000", "-0");
const QUANTITY_SIGN: [Wrong; 3] = texts!("quantity_must_be_positive", quantity: "-0.00000001", "0.0", "-9999999999");
const NO_SYMBOL: [Wrong; 2] = texts!("symbol_required", symbol: "", "   ");
const OTHERS: [Wrong; 7] = [
    wrong!("price_is_null", |t, _| price(t, None)),
    wrong!("quantity_is_null", |t, _| quantity(t, None)),
    wrong!("symbol_required", |t, _| symbol(t, None)),
    wrong!("timestamp_in_future", |t, kafka| time_ms(t, kafka + 300_001)),
    wrong!("timestamp_in_future", |t, kafka| time_ms(t, kafka + 9 * 86_400_000)),
    wrong!("timestamp_too_old", |t, kafka| time_ms(t, kafka - 365 * 86_400_000 - 1)),
    wrong!("timestamp_too_old", |t, _| time_ms(t, 0)),
];
const BINANCE: [Wrong; 4] = [
    wrong!("invalid_side", |t, _| if let RawTrade::Binance(t) = t {
        t.is_buyer_maker = None;
    }),
    wrong!("timestamp_not_a_number", |t, _| if let RawTrade::Binance(t) = t {
        t.trade_time_ms = None;
    }),
    wrong!("timestamp_in_future", |t, _| time_ms(t, i64::MAX)),
    wrong!("timestamp_too_old", |t, _| time_ms(t, i64::MIN)),
];
fn side(trade: &mut RawTrade, text: Option<&str>) {
    let RawTrade::Kraken(t) = trade else { return };
    t.side = text.map(str::to_owned);
}
fn timestamp(trade: &mut RawTrade, text: Option<&str>) {
    let RawTrade::Kraken(t) = trade else { return };
    t.timestamp = text.map(str::to_owned);
}
const KRAKEN_SIDES: [Wrong; 5] = texts!("invalid_side", side: "x", "", "B", "buy", "b ");
const KRAKEN_PAIRS: [Wrong; 3] = texts!("symbol_required", symbol: "/USD", "XBT/", "/");
const KRAKEN_NUMBERS: [Wrong; 8] = texts!("timestamp_not_a_number", timestamp: "", "abc", "1.7e9", "1700000000,5", " 1700000000", "1700000000.", ".5", "+1");
const KRAKEN_TIMES: [Wrong; 6] = [
    wrong!("invalid_side", |t, _| side(t, None)),
    wrong!("timestamp_not_a_number", |t, _| timestamp(t, None)),
    wrong!("timestamp_in_future", |t, _| timestamp(t, Some("99999999999999999999999999999999999999999999.9"))),
    wrong!("timestamp_too_old", |t, _| timestamp(t, Some("-99999999999999999999999999999999999999999999.9"))),
    wrong!("timestamp_in_future", |t, kafka| timestamp(
        t,
        Some(&format!("{}1", seconds((kafka + 300_000) * 1000 + 1, 6)))
    )),
    wrong!("timestamp_too_old", |t, _| timestamp(t, Some("-1.5"))),
];

/// Every wrong value there is for an exchange.
pub(super) fn wrongs(exchange: Exchange) -> Vec<&'static Wrong> {
    let both: [&[Wrong]; 8] =
        [&NO_PRICE, &NO_QUANTITY, &PRICE_RANGE, &QUANTITY_RANGE, &PRICE_SIGN, &QUANTITY_SIGN, &NO_SYMBOL, &OTHERS];
    let own: &[&[Wrong]] = match exchange {
        Exchange::Binance => &[&BINANCE],
        Exchange::Kraken => &[&KRAKEN_SIDES, &KRAKEN_PAIRS, &KRAKEN_NUMBERS, &KRAKEN_TIMES],
    };
    both.iter().chain(own).flat_map(|list| list.iter()).collect()
}

/// A value that is bad as bytes: how it is made from a good trade, and what it means.
pub(super) type Break = fn(&RawTrade, &Ids, &mut StdRng) -> (Option<Vec<u8>>, Meaning);

fn cut(trade: &RawTrade, version: Version, ids: &Ids, rng: &mut StdRng) -> Vec<u8> {
    let body = trade.body(version);
    framed(ids.id(version), &body[..rng.random_range(0..body.len())])
}

/// A plain body whose first string (Binance: the event type, Kraken: the price) has these bytes instead.
fn with_first_string(trade: &RawTrade, ids: &Ids, encoded: &[u8]) -> Vec<u8> {
    let body = trade.body(Version::Plain);
    let first = match trade {
        RawTrade::Binance(_) => 0,
        RawTrade::Kraken(_) => body.iter().position(|b| b & 0x80 == 0).unwrap() + 1,
    };
    // a string of less than 64 bytes has its length in one byte
    let length = usize::from(body[first] >> 1);
    let changed = [&body[..first], encoded, &body[first + 1 + length..]].concat();
    framed(ids.plain, &changed)
}

fn ended_with(trade: &RawTrade, ids: &Ids, tail: &[u8]) -> Vec<u8> {
    framed(ids.plain, &[&trade.body(Version::Plain), tail].concat())
}

/// The frame is wrong.
pub(super) const FRAMES: [Break; 10] = [
    |_, _, _| (None, Meaning::NoFrame),
    |_, _, _| (Some(Vec::new()), Meaning::NoFrame),
    |_, _, _| (Some(vec![0]), Meaning::NoFrame),
    |_, _, _| (Some(vec![0; 4]), Meaning::NoFrame),
    |trade, ids, _| {
        let mut value = framed(ids.plain, &trade.body(Version::Plain));
        value[0] = 1;
        (Some(value), Meaning::NoFrame)
    },
    |_, _, _| (Some(br#"{"price":"67123.45","quantity":"1"}"#.to_vec()), Meaning::NoFrame),
    |trade, _, _| (Some(framed(i32::MAX, &trade.body(Version::Plain))), Meaning::UnknownId),
    |trade, _, _| (Some(framed(-1, &trade.body(Version::Plain))), Meaning::UnknownId),
    |_, _, _| (Some(framed(0, b"")), Meaning::UnknownId),
    |_, _, _| (Some(framed(i32::MIN, b"x")), Meaning::UnknownId),
];

/// The body is not to be decoded, or not to be resolved.
pub(super) const BODIES: [Break; 18] = [
    |_, ids, _| (Some(framed(ids.plain, b"")), Meaning::Undecodable),
    |trade, ids, rng| (Some(cut(trade, Version::Plain, ids, rng)), Meaning::Undecodable),
    |trade, ids, rng| (Some(cut(trade, Version::Evolved, ids, rng)), Meaning::Undecodable),
    |trade, ids, _| (Some(ended_with(trade, ids, &[0])), Meaning::Undecodable),
    |trade, ids, _| (Some(ended_with(trade, ids, b"more")), Meaning::Undecodable),
    |trade, ids, _| (Some(framed(ids.breaking, &trade.body(Version::Breaking))), Meaning::Undecodable),
    |trade, ids, _| (Some(framed(ids.broken, &trade.body(Version::Broken))), Meaning::Undecodable),
    // string lengths: the greatest, one that memory would not hold, negative, the smallest
    |trade, ids, _| (Some(with_first_string(trade, ids, &long(i64::MAX))), Meaning::Undecodable),
    |trade, ids, _| (Some(with_first_string(trade, ids, &long(1 << 40))), Meaning::Undecodable),
    |trade, ids, _| (Some(with_first_string(trade, ids, &long(-1))), Meaning::Undecodable),
    |trade, ids, _| (Some(with_first_string(trade, ids, &long(i64::MIN))), Meaning::Undecodable),
    // a varint of eleven bytes, one of ten that has 65 bits
    |trade, ids, _| (Some(with_first_string(trade, ids, &[&[0x80; 10][..], &[0]].concat())), Meaning::Undecodable),
    |trade, ids, _| (Some(with_first_string(trade, ids, &[&[0x80; 9][..], &[2]].concat())), Meaning::Undecodable),
    // no UTF-8: a lone continuation, an overlong slash, a surrogate
    |trade, ids, _| (Some(with_first_string(trade, ids, b"\x02\xbf")), Meaning::Undecodable),
    |trade, ids, _| (Some(with_first_string(trade, ids, b"\x04\xc0\xaf")), Meaning::Undecodable),
    |trade, ids, _| (Some(with_first_string(trade, ids, b"\x06\xed\xa0\x80")), Meaning::Undecodable),
    // the evolved schema's extras, which the reader drops: they are checked all the same
    |trade, ids, _| (Some(evolved_note(trade, ids, b"\x02\xff")), Meaning::Undecodable),
    |trade, ids, _| (Some(evolved_tail(trade, ids)), Meaning::Undecodable),
];

fn long(value: i64) -> Vec<u8> {
    Encoder::new().long(value).finish()
}

/// The evolved body with other bytes for its note.
fn evolved_note(trade: &RawTrade, ids: &Ids, encoded: &[u8]) -> Vec<u8> {
    let body = trade.body(Version::Evolved);
    let changed = match trade {
        RawTrade::Binance(_) => [encoded, &body[1 + usize::from(body[0] >> 1)..]].concat(),
        RawTrade::Kraken(t) => {
            // the note is empty: it stands before the time, which begins with its union's branch
            let time = Encoder::new().long(1).string(t.timestamp.as_deref().unwrap()).finish();
            let at = body.windows(time.len()).rposition(|w| w == time).unwrap();
            [&body[..at - 1], encoded, &body[at..]].concat()
        }
    };
    framed(ids.evolved, &changed)
}

/// The evolved body with a union branch that does not exist in front of its last union.
fn evolved_tail(trade: &RawTrade, ids: &Ids) -> Vec<u8> {
    let body = trade.body(Version::Evolved);
    let mut changed = body;
    match trade {
        // the symbol's branch
        RawTrade::Binance(t) => {
            let symbol = Encoder::new().long(1).string(t.symbol.as_deref().unwrap()).finish();
            let at = changed.windows(symbol.len()).rposition(|w| w == symbol).unwrap();
            changed[at] = 4;
        }
        // the pair's
        RawTrade::Kraken(_) => changed[0] = 1,
    }
    framed(ids.evolved, &changed)
}

/// Breaks that Binance's schemas alone have a place for: a boolean that is neither, a union branch out of range,
/// an enum beyond its symbols, arrays that lie.
pub(super) const BINANCE_BODIES: [Break; 13] = [
    // a frame around another schema's body
    |trade, ids, _| (Some(framed(ids.plain, &trade.body(Version::Evolved))), Meaning::Undecodable),
    |trade, ids, _| (Some(framed(ids.evolved, &trade.body(Version::Plain))), Meaning::Undecodable),
    |trade, ids, _| (Some(binance_end(trade, ids, &[2], &[0])), Meaning::Undecodable),
    |trade, ids, _| (Some(binance_end(trade, ids, &[1], &[4])), Meaning::Undecodable),
    |trade, ids, _| (Some(binance_end(trade, ids, &[1], &[1])), Meaning::Undecodable),
    |trade, ids, _| (Some(binance_end(trade, ids, &[1], &[2, 0xff])), Meaning::Undecodable),
    // text that is no UTF-8 in a field of bytes, a number of 33 bits in an int, an enum beyond its symbols
    |trade, ids, _| {
        let mut value = framed(ids.evolved, &trade.body(Version::Evolved));
        *value.last_mut().unwrap() = 0xff;
        (Some(value), Meaning::Undecodable)
    },
    |trade, ids, _| (Some(binance_changed(trade, ids, |t| t.trade_id = 1 << 31)), Meaning::Undecodable),
    |trade, ids, _| (Some(binance_venue(trade, ids, 2)), Meaning::Undecodable),
    |trade, ids, _| (Some(binance_venue(trade, ids, -1)), Meaning::Undecodable),
    // ten million tags in no bytes, blocks that lie about their size
    |trade, ids, _| (Some(binance_tags(trade, ids, &long(10_000_000))), Meaning::Undecodable),
    |trade, ids, _| {
        let mut tags = Encoder::new();
        tags.long(-1).long(7).string("a").long(0);
        (Some(binance_tags(trade, ids, &tags.finish())), Meaning::Undecodable)
    },
    |trade, ids, _| {
        let mut tags = Encoder::new();
        tags.long(i64::MIN).long(0);
        (Some(binance_tags(trade, ids, &tags.finish())), Meaning::Undecodable)
    },
];

/// An evolved Binance body after a change of the trade.
fn binance_changed(trade: &RawTrade, ids: &Ids, change: fn(&mut super::BinanceTrade)) -> Vec<u8> {
    let RawTrade::Binance(t) = trade else { panic!("a Binance trade") };
    let mut t = t.clone();
    change(&mut t);
    framed(ids.evolved, &RawTrade::Binance(t).body(Version::Evolved))
}

/// An evolved Binance body with another index into its enum.
fn binance_venue(trade: &RawTrade, ids: &Ids, index: i64) -> Vec<u8> {
    let RawTrade::Binance(t) = trade else { panic!("a Binance trade") };
    let mut body = trade.body(Version::Evolved);
    // the quantity stands between the enum and the tags
    let quantity = Encoder::new().long(1).string(t.quantity.as_deref().unwrap()).finish();
    let at = body.windows(quantity.len()).position(|w| w == quantity).unwrap();
    body[at - 1] = long(index)[0];
    framed(ids.evolved, &body)
}

/// A plain Binance body with these bytes for `is_buyer_maker` and `is_best_match`.
fn binance_end(trade: &RawTrade, ids: &Ids, maker: &[u8], best: &[u8]) -> Vec<u8> {
    let RawTrade::Binance(t) = trade else { panic!("a Binance trade") };
    let body = trade.body(Version::Plain);
    let end = long(t.ingestion_timestamp);
    let best_length = if t.is_best_match.is_some() { 2 } else { 1 };
    let head = &body[..body.len() - end.len() - best_length - 1];
    framed(ids.plain, &[head, maker, best, &end].concat())
}

/// An evolved Binance body with these bytes for its tags.
fn binance_tags(trade: &RawTrade, ids: &Ids, encoded: &[u8]) -> Vec<u8> {
    let body = trade.body(Version::Evolved);
    let tags = Encoder::new().long(-2).long(5).string("a").string("bc").long(1).string("d").long(0).finish();
    let at = body.windows(tags.len()).position(|w| w == tags).unwrap();
    framed(ids.evolved, &[&body[..at], encoded, &body[at + tags.len()..]].concat())
}
