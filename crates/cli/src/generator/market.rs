//! The markets of the two exchanges and how their prices move.

use super::{Dice, SplitMix64};

/// One traded symbol, as the exchange lists it.
#[derive(Debug)]
pub(super) struct Listing {
    symbol: &'static str,
    /// In ticks.
    price: u32,
    /// A tick is 10^-this.
    price_decimals: u8,
    /// A lot is 10^-this.
    lot_decimals: u8,
    /// Its share of the exchange's trades, against the others'.
    pub(super) weight: u8,
}

const fn listing(symbol: &'static str, price: u32, price_decimals: u8, lot_decimals: u8, weight: u8) -> Listing {
    Listing { symbol, price, price_decimals, lot_decimals, weight }
}

pub(super) const BINANCE: &[Listing] = &[
    listing("BTCUSDT", 6_712_345, 2, 5, 24),
    listing("ETHUSDT", 352_418, 2, 4, 20),
    listing("SOLUSDT", 17_246, 2, 3, 14),
    listing("BNBUSDT", 58_970, 1, 3, 10),
    listing("XRPUSDT", 5_234, 4, 0, 12),
    listing("DOGEUSDT", 16_123, 5, 0, 12),
    listing("PEPEUSDT", 1_424, 8, 0, 10),
    listing("ADAUSDT", 4_587, 4, 1, 7),
    listing("AVAXUSDT", 3_621, 2, 2, 6),
    listing("SHIBUSDT", 2_481, 8, 0, 6),
    listing("LINKUSDT", 1_783, 2, 2, 6),
    listing("TRXUSDT", 1_124, 4, 1, 5),
    listing("DOTUSDT", 7_145, 3, 2, 5),
    listing("LTCUSDT", 8_432, 2, 3, 5),
    listing("BCHUSDT", 4_796, 1, 3, 4),
    listing("NEARUSDT", 7_562, 3, 1, 5),
    listing("UNIUSDT", 10_853, 3, 2, 4),
    listing("APTUSDT", 9_174, 3, 2, 4),
    listing("ARBUSDT", 11_342, 4, 1, 5),
    listing("OPUSDT", 24_870, 4, 2, 4),
    listing("SUIUSDT", 10_982, 4, 1, 6),
    listing("TONUSDT", 7_213, 3, 2, 4),
    listing("INJUSDT", 2_571, 2, 2, 3),
    listing("FILUSDT", 5_903, 3, 2, 3),
    listing("ATOMUSDT", 8_364, 3, 2, 3),
    listing("ICPUSDT", 12_470, 3, 2, 3),
    listing("ETCUSDT", 2_846, 2, 2, 3),
    listing("RNDRUSDT", 10_214, 3, 2, 3),
    listing("WIFUSDT", 28_930, 4, 2, 4),
    listing("FTMUSDT", 8_127, 4, 0, 3),
    listing("AAVEUSDT", 9_485, 2, 3, 2),
    listing("MKRUSDT", 27_640, 1, 4, 2),
    listing("BTCFDUSD", 6_712_500, 2, 5, 14),
    listing("ETHFDUSD", 352_431, 2, 4, 8),
    listing("SOLFDUSD", 17_248, 2, 3, 4),
    listing("BTCUSDC", 6_711_900, 2, 5, 8),
    listing("ETHUSDC", 352_402, 2, 4, 6),
    listing("BTCEUR", 6_189_214, 2, 5, 3),
    listing("ETHEUR", 324_917, 2, 4, 2),
    listing("BTCTRY", 2_164_730, 0, 5, 3),
    listing("USDTTRY", 3_224, 2, 0, 4),
    listing("ETHBTC", 5_251, 5, 4, 4),
    listing("SOLBTC", 25_691, 7, 3, 2),
    listing("BNBBTC", 8_785, 6, 3, 2),
    listing("XRPBTC", 780, 8, 0, 1),
    listing("BNBETH", 16_730, 5, 3, 1),
    listing("SOLETH", 48_930, 6, 3, 1),
    listing("SOLBNB", 29_241, 5, 3, 1),
];

pub(super) const KRAKEN: &[Listing] = &[
    listing("XBT/USD", 671_234, 1, 8, 24),
    listing("ETH/USD", 352_431, 2, 8, 18),
    listing("SOL/USD", 17_251, 2, 8, 12),
    listing("XRP/USD", 52_341, 5, 8, 10),
    listing("USDT/USD", 99_985, 5, 8, 8),
    listing("XBT/EUR", 618_921, 1, 8, 14),
    listing("ETH/EUR", 324_922, 2, 8, 10),
    listing("SOL/EUR", 15_903, 2, 8, 6),
    listing("XRP/EUR", 48_251, 5, 8, 6),
    listing("XBT/USDT", 671_290, 1, 8, 6),
    listing("ETH/USDT", 352_460, 2, 8, 5),
    listing("ETH/XBT", 5_251, 5, 8, 5),
    listing("ADA/USD", 458_713, 6, 8, 5),
    listing("DOT/USD", 71_450, 4, 8, 4),
    listing("XDG/USD", 1_612_300, 7, 8, 6),
    listing("LTC/USD", 8_433, 2, 8, 4),
    listing("LINK/USD", 1_783_120, 5, 8, 4),
    listing("AVAX/USD", 3_622, 2, 8, 4),
    listing("ATOM/USD", 83_641, 4, 8, 3),
    listing("BCH/USD", 47_961, 2, 8, 3),
    listing("MATIC/USD", 7_210, 4, 8, 3),
    listing("TRX/USD", 112_430, 6, 8, 2),
    listing("PEPE/USD", 14_240, 8, 8, 3),
    listing("XBT/GBP", 528_402, 1, 8, 2),
];

/// A market that trades.
#[derive(Debug)]
pub(super) struct Market {
    pub(super) symbol: &'static str,
    pub(super) trade_id: i64,
    pub(super) channel_id: i64,
    pub(super) last_ms: i64,
    pub(super) aggressor_sells: bool,
    /// Kraken shows five decimals, or as many as the tick has.
    pub(super) shown_decimals: u8,
    price_ticks: u64,
    floor_ticks: u64,
    ceiling_ticks: u64,
    tick: u64,
    lots: u64,
    usual_lots: u64,
    lot: u64,
}

impl Market {
    /// Opens near the listed price.
    pub(super) fn open(listing: &Listing, random: &mut SplitMix64) -> Self {
        let listed = u64::from(listing.price);
        let tick = 10u64.pow(8 - u32::from(listing.price_decimals));
        let lot = 10u64.pow(8 - u32::from(listing.lot_decimals));
        let drawn = random.next();
        // within 1 % of the listed price
        let price_ticks = (listed * (9_900 + drawn % 200) / 10_000).max(1);
        // a usual trade is worth this much of the quote asset, in 1e-8 units
        let worth = usual_worth(listing.symbol) * u128::from(100_000_000 / lot);
        let usual_lots = (worth / u128::from(price_ticks * tick)).clamp(1, 10_000_000_000_000);
        Self {
            symbol: listing.symbol,
            trade_id: 90_000_000 + i64::from(listing.weight) * 150_000_000 + (drawn >> 40).cast_signed(),
            channel_id: 119_930_000 + (drawn >> 8 & 0x3ff).cast_signed(),
            last_ms: 0,
            aggressor_sells: false,
            shown_decimals: listing.price_decimals.max(5),
            price_ticks,
            floor_ticks: listed / 2 + 1,
            ceiling_ticks: listed * 2,
            tick,
            lots: 1,
            usual_lots: u64::try_from(usual_lots).unwrap_or(u64::MAX),
            lot,
        }
    }

    /// Makes the next trade: half of them at the last price, the rest up to seven ticks away.
    #[inline(always)]
    pub(super) fn trade(&mut self, dice: &Dice, drawn: u64) {
        let [low, high, large, step, ..] = drawn.to_le_bytes();
        self.trade_id += 1 + i64::from(dice.byte(5) == 0);
        self.aggressor_sells = dice.byte(1) & 1 == 1;
        if step & 1 == 1 {
            let ticks = 1 + u64::from(step >> 1 & dice.byte(2) & 7);
            // the aggressor moves the price his way, a little drift pulls it back
            let down = self.aggressor_sells != (step > 240);
            self.price_ticks =
                if down { self.price_ticks - ticks.min(self.price_ticks) } else { self.price_ticks + ticks };
            self.price_ticks = self.price_ticks.clamp(self.floor_ticks, self.ceiling_ticks);
        }
        // many small trades, few large: the square of a uniform draw, and one in 64 is ten times that
        let uniform = u64::from(u16::from_le_bytes([low, high]));
        let usual = (self.usual_lots * ((uniform * uniform) >> 12)) >> 19;
        self.lots = (if large < 4 { usual * 10 } else { usual }).max(1);
    }

    /// The price of the last trade, in 1e-8 units.
    #[inline(always)]
    pub(super) fn price(&self) -> u64 {
        self.price_ticks * self.tick
    }

    /// The quantity of the last trade, in 1e-8 units.
    #[inline(always)]
    pub(super) fn quantity(&self) -> u64 {
        self.lots * self.lot
    }
}

/// What a usual trade is worth, in 1e-8 units of the quote asset.
fn usual_worth(symbol: &str) -> u128 {
    match symbol {
        s if s.ends_with("BTC") || s.ends_with("XBT") => 600_000,
        s if s.ends_with("ETH") => 12_000_000,
        s if s.ends_with("BNB") => 80_000_000,
        s if s.ends_with("TRY") => 1_200_000_000_000,
        _ => 40_000_000_000,
    }
}
