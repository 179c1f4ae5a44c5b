//! The example under config/examples/coinbase: configuration only.

use super::*;

fn outcome(change: impl FnOnce(&mut Coinbase)) -> Outcome {
    let mut trade = Coinbase::default();
    change(&mut trade);
    Routing::of("coinbase").outcome(trade.body().framed(3))
}

#[test]
fn a_trade_in_every_column() {
    let outcome = outcome(|_| {});
    for (column, value) in [
        ("trade_id", Some("COINBASE-BTC-USD-10")),
        ("symbol", Some("BTCUSD")),
        ("exchange", Some("COINBASE")),
        ("asset_class", Some("crypto")),
        ("timestamp", Some("1700000000123456")),
        ("price", Some("36400.23000000")),
        ("quantity", Some("5.23512000")),
        ("currency", Some("USD")),
        ("side", Some("BUY")),
        ("trade_conditions", Some("[]")),
        ("source_sequence", Some("50")),
        ("platform_sequence", None),
        (
            "vendor_data",
            Some(r#"{"sequence":50,"time":"2023-11-14T22:13:20.123456Z","product_id":"BTC-USD","side":"sell"}"#),
        ),
        ("schema_id", Some("3")),
        ("exchange_date", Some("2023-11-14")),
    ] {
        assert_eq!(outcome.get(column), value, "{column}");
    }
}

#[test]
fn the_shared_rules_hold() {
    for (change, reason) in [
        ((|t| t.price = "1e5".to_owned()) as fn(&mut Coinbase), "price_not_a_decimal"),
        (|t| t.size = "0".to_owned(), "quantity_must_be_positive"),
        (|t| t.time = "yesterday".to_owned(), "timestamp_not_a_number"),
        (|t| t.time = "2024-11-14T22:13:20Z".to_owned(), "timestamp_in_future"),
        (|t| t.product_id = "-".to_owned(), "symbol_required"),
        (|t| t.side = "hold".to_owned(), "invalid_side"),
    ] {
        assert_eq!(outcome(change).reason(), reason);
    }
}
