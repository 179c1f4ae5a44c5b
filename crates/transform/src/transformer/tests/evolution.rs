//! Several writers' schemas in one topic.

use super::encode::Body;
use super::fixture::TRADE_MILLIS;
use super::*;

fn in_order(values: Vec<Vec<u8>>) -> Vec<Raw> {
    (0..).zip(values).map(|(offset, value)| Raw { offset, ..Raw::of(Some(value)) }).collect()
}

/// The fields of `BinanceRawTrade` up to the price, as most writers here have them.
fn head() -> Body {
    Body::default().text("trade").long(TRADE_MILLIS).text("ETHBTC")
}

fn tail(body: Body) -> Body {
    body.text("1.5").long(TRADE_MILLIS).boolean(false).long(7)
}

/// Venue first, numbers as int, a list of maps that the reader drops (id 20).
fn second_version() -> Body {
    let fees = |body: Body| {
        let mut body = body.long(1).long(1).text("taker");
        body.0.extend_from_slice(&0.1f64.to_le_bytes());
        body.long(0).long(0)
    };
    let body =
        Body::default().long(1).text("2.25").text("0.06").long(42).text("ETHBTC").text("trade").long(TRADE_MILLIS);
    fees(body.long(TRADE_MILLIS).boolean(false)).long(7)
}

#[test]
fn two_versions_in_one_batch_give_the_same_columns() {
    let first = Binance::default().body().framed(1);
    let outcomes = Routing::of("binance").outcomes(&in_order(vec![
        first.clone(),
        second_version().framed(20),
        Binance::default().nullable().framed(7),
        second_version().framed(20),
        first,
    ]));
    assert!(outcomes.iter().all(|o| o.reason() == "silver"), "{outcomes:?}");
    let second = &outcomes[1];
    for (column, value) in [
        ("trade_id", "BINANCE-42"),
        ("symbol", "ETHBTC"),
        ("price", "0.06000000"),
        ("quantity", "2.25000000"),
        ("currency", "BTC"),
        ("side", "BUY"),
        ("schema_id", "20"),
        (
            "vendor_data",
            r#"{"event_type":"trade","event_time_ms":1700000000123,"is_buyer_maker":false,"is_best_match":null}"#,
        ),
    ] {
        assert_eq!(second.get(column), Some(value), "{column}");
    }
    assert_eq!(outcomes[2].get("schema_id"), Some("7"));
    assert_eq!(outcomes[0].get("trade_id"), outcomes[2].get("trade_id"));
}

#[test]
fn fields_are_promoted() {
    let promoted = |trade_id: i64| {
        let body = Body::default().text("trade").long(5).text("BTCUSDT").long(trade_id).text("1").text("2");
        body.long(TRADE_MILLIS).boolean(true).long(7).framed(21)
    };
    let mut routing = Routing::of("binance");
    let outcome = routing.outcome(promoted(i32::MAX.into()));
    assert_eq!(outcome.get("trade_id"), Some("BINANCE-2147483647"));
    assert_eq!(outcome.get("symbol"), Some("BTCUSDT"));
    // an int is 32 bits, whatever it is promoted to
    assert_eq!(routing.outcome(promoted(i64::from(i32::MAX) + 1)).reason(), "avro_decode_failed");
}

#[test]
fn a_missing_field_takes_the_readers_default() {
    let outcome = Routing::of("binance").outcome(tail(head().long(42)).framed(24));
    assert_eq!(outcome.reason(), "price_is_null");
}

#[test]
fn a_breaking_change_is_told_once_a_record_and_stops_nothing() {
    let mut double = head().long(42);
    double.0.extend_from_slice(&67_123.45f64.to_le_bytes());
    let outcomes = Routing::of("binance").outcomes(&in_order(vec![
        tail(double).framed(22),
        Binance::default().body().framed(1),
        tail(head().text("67123.45")).framed(23),
        Body::default().text("x").framed(25),
    ]));
    let reasons: Vec<_> = outcomes.iter().map(Outcome::reason).collect();
    assert_eq!(reasons, ["avro_decode_failed", "silver", "avro_decode_failed", "avro_decode_failed"]);
    for (place, said) in [(0, "price"), (2, "trade_id"), (3, "25")] {
        let detail = outcomes[place].get("error_detail").unwrap();
        assert!(detail.contains(said), "{detail}");
    }
}

#[test]
fn a_union_is_resolved_by_the_branch_written() {
    let mut double = head().long(42).long(0);
    double.0.extend_from_slice(&67_123.45f64.to_le_bytes());
    let outcomes = Routing::of("binance")
        .outcomes(&in_order(vec![tail(head().long(42).long(1).text("67123.45")).framed(26), tail(double).framed(26)]));
    assert_eq!(outcomes[0].get("price"), Some("67123.45000000"));
    assert_eq!(outcomes[1].reason(), "avro_decode_failed");
}

#[test]
fn hostile_bodies_are_rejected_with_their_cause() {
    let nested = |depth: usize| {
        let mut body = Body::default();
        for _ in 0..depth {
            body = body.long(1);
        }
        body = body.long(0).text("trade").long(5).text("BTCUSDT").long(1).text("1").text("2");
        body.long(TRADE_MILLIS).boolean(true).long(7).framed(28)
    };
    let outcomes = Routing::of("binance").outcomes(&in_order(vec![
        Body::default().long(10_000_000).long(0).framed(27),
        Body::default().long(i64::MAX).framed(27),
        Body::default().long(i64::MIN).framed(27),
        nested(3),
        nested(100_000),
        Binance::default().body().framed(1),
    ]));
    let reasons: Vec<_> = outcomes.iter().map(Outcome::reason).collect();
    let failed = "avro_decode_failed";
    assert_eq!(reasons, [failed, failed, failed, "silver", failed, "silver"]);
}

/// An id that was unknown may be registered later: nothing is kept of that.
#[test]
fn an_unknown_id_may_become_known() {
    let mut routing = Routing::of("binance");
    let value = Binance::default().body().framed(77);
    assert_eq!(routing.outcome(value.clone()).reason(), "unknown_schema_id");
    let schema = crate::asset("config/schemas/1-binance_raw_trade.avsc").unwrap().text;
    std::fs::write(routing.folder.path().join("77.avsc"), schema).unwrap();
    // a resolver asks again after a while; a new one does so at once
    let schemas = crate::Schemas::folder(routing.folder.path().to_str().unwrap()).unwrap();
    routing.transformer.resolver = Resolver::new(schemas, std::time::Duration::ZERO, "silver-binance");
    assert_eq!(routing.outcome(value).reason(), "silver");
}

/// Nobody asks the registry about a record that is too large, and routing without asking is an error, no verdict.
#[test]
fn an_unprepared_batch_is_not_routed() {
    let mut routing = Routing::of("binance");
    let batch = fixture::batch(&[Raw::of(Some(Binance::default().body().framed(1)))]);
    let error = routing.transformer.route(&routing.identity, &batch, 0, 0).unwrap_err();
    assert!(error.to_string().contains("not prepared"), "{error}");
}
