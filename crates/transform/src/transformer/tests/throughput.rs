//! How fast it is: `cargo test --release -p k2-transform throughput -- --ignored --nocapture`.

use super::*;
use std::time::Instant;

/// Trades as they come, every `bad`-th with a price that is none.
fn trades(exchange: &str, rows: usize, bad: usize) -> RecordBatch {
    let raw = |row: usize| {
        let text = |n: usize| format!("{}.{:08}", n % 70_000 + 1, n * 7919 % 100_000_000);
        let price = Some(if row % bad == bad - 1 { "1e5".to_owned() } else { text(row) });
        let quantity = Some(text(row % 13 * 1009));
        let value = match exchange {
            "binance" => {
                let symbol = Some(["BTCUSDT", "ETHUSDC", "SOLBTC", "1000PEPEUSDT"][row % 4].to_owned());
                let trade_id = 3_301_234_567 + i64::try_from(row).unwrap();
                Binance { price, quantity, symbol, trade_id, ..Binance::default() }.body().framed(1)
            }
            _ => {
                let pair = Some(["XBT/USD", "ETH/XBT", "SOL/EUR", "DOGE/USD"][row % 4].to_owned());
                Kraken { price, volume: quantity, pair, ..Kraken::default() }.body().framed(2)
            }
        };
        Raw { partition: 3, offset: 1_000_000_000 + i64::try_from(row).unwrap(), ..Raw::of(Some(value)) }
    };
    fixture::batch(&(0..rows).map(raw).collect::<Vec<_>>())
}

#[test]
#[ignore = "measures"]
fn throughput() {
    for exchange in ["binance", "kraken"] {
        let mut routing = Routing::of(exchange);
        for (rows, bad) in [(1_000, 2_000), (8_192, 2_000), (32_768, 2_000), (8_192, 10)] {
            let batch = trades(exchange, rows, bad);
            routing.route(&batch);
            let mut best = f64::MAX;
            for _ in 0..5 {
                let rounds = 200_000 / rows;
                let start = Instant::now();
                for _ in 0..rounds {
                    let routed = routing.transformer.route(&routing.identity, &batch, 0, 0).unwrap();
                    assert_eq!(routed.dlq.num_rows(), rows / bad);
                }
                let records = f64::from(u32::try_from(rounds * rows).unwrap());
                best = best.min(start.elapsed().as_secs_f64() * 1e9 / records);
            }
            println!("{exchange}: {rows} rows, 1 in {bad} bad: {best:.0} ns a record, {:.2} M/s", 1e3 / best);
        }
    }
}
