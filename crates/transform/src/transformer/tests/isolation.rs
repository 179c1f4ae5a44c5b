//! Expressions that fail for one record: it is rejected, its neighbours are not, nothing stops.

use super::*;
use crate::plan::tests::definition;
use crate::{Definition, Text};

fn edited(from: &str, to: &str) -> Definition {
    let mut definition = definition("binance");
    assert!(definition.projection.text.contains(from), "{from}");
    definition.projection.text = definition.projection.text.replacen(from, to, 1);
    definition
}

fn trades(changes: &[fn(&mut Binance)]) -> Vec<Raw> {
    let value = |change: &fn(&mut Binance)| {
        let mut trade = Binance::default();
        change(&mut trade);
        trade.nullable().framed(7)
    };
    (0..).zip(changes).map(|(offset, change)| Raw { offset, ..Raw::of(Some(value(change))) }).collect()
}

#[test]
fn a_cast_that_fails_costs_its_record_alone() {
    let definition = edited("ingestion_timestamp,", "CAST(event_type AS BIGINT) AS ingestion_timestamp,");
    let mut changes: Vec<fn(&mut Binance)> = vec![|t| t.event_type = "12".to_owned(); 100];
    changes[17] = |t| t.event_type = "trade".to_owned();
    changes[18] = |t| t.event_type = String::new();
    changes[99] = |t| t.event_type = "9223372036854775808".to_owned();
    let outcomes = Routing::with(&definition).outcomes(&trades(&changes));
    for (place, outcome) in outcomes.iter().enumerate() {
        let expected = if [17, 18, 99].contains(&place) { "projection_failed" } else { "silver" };
        assert_eq!(outcome.reason(), expected, "{place}: {outcome:?}");
    }
    assert_eq!(outcomes[17].get("error_type"), Some("projection"));
    assert!(outcomes[17].get("error_detail").unwrap().contains("trade"), "{outcomes:?}");
    assert_eq!(outcomes[0].get("ingestion_timestamp"), Some("12"));
}

#[test]
fn a_condition_that_fails_costs_its_record_alone_and_only_if_no_rule_came_before() {
    let mut definition = definition("binance");
    let rule =
        "[[rule]]\nname = \"odd\"\nerror_type = \"own\"\nwhen = \"CAST(_price_text AS BIGINT) % 2 = 1\"\n\n[[notice]]";
    definition.rules.text = definition.rules.text.replacen("[[notice]]", rule, 1);
    let outcomes = Routing::with(&definition).outcomes(&trades(&[
        |t| t.price = Some("2".to_owned()),
        |t| t.price = Some("3".to_owned()),
        |t| t.price = Some("2.5".to_owned()),
        |t| t.price = Some("x".to_owned()),
    ]));
    let reasons: Vec<_> = outcomes.iter().map(Outcome::reason).collect();
    // "x" is no decimal: that rule comes first, and what a later one would have made of it does not matter
    assert_eq!(reasons, ["silver", "odd", "projection_failed", "price_not_a_decimal"]);
}

#[test]
fn a_null_that_no_rule_minds_is_rejected_where_a_value_must_be() {
    let definition = edited(
        "join_text('BINANCE-', trade_id) AS trade_id",
        "CASE WHEN symbol <> 'ETHBTC' THEN join_text('BINANCE-', trade_id) END AS trade_id",
    );
    let outcomes = Routing::with(&definition).outcomes(&trades(&[
        |_| {},
        |t| t.symbol = Some("ETHBTC".to_owned()),
        |t| (t.symbol, t.price) = (Some("ETHBTC".to_owned()), None),
        |_| {},
    ]));
    let reasons: Vec<_> = outcomes.iter().map(Outcome::reason).collect();
    assert_eq!(reasons, ["silver", "projection_failed", "price_is_null", "silver"]);
    assert!(outcomes[1].get("error_detail").unwrap().contains("trade_id"));

    let definition = edited("'BINANCE' AS exchange", "CAST(NULL AS VARCHAR) AS exchange");
    let outcomes = Routing::with(&definition).outcomes(&trades(&[|_| {}, |t| t.price = None]));
    let reasons: Vec<_> = outcomes.iter().map(Outcome::reason).collect();
    assert_eq!(reasons, ["projection_failed", "price_is_null"]);
}

#[test]
fn a_projection_may_fill_what_k2_fills_otherwise() {
    let definition = edited(
        "FROM record",
        ", uuid5('6ba7b811-9dad-11d1-80b4-00c04fd430c8', 'k2:record') AS message_id, _schema_id + 1 AS source_sequence, \
         _topic AS kafka_topic, DATE '2001-02-03' AS exchange_date FROM record",
    );
    let outcome = Routing::with(&definition).outcomes(&trades(&[|_| {}])).remove(0);
    assert_eq!(outcome.get("message_id"), Some("4aa63622-8c4a-56f0-9c65-d4ee721720cb"));
    assert_eq!(outcome.get("source_sequence"), Some("8"));
    assert_eq!(outcome.get("exchange_date"), Some("2001-02-03"));
    // the DLQ's id is ours in any case
    let definition = edited("FROM record", ", '' AS message_id FROM record");
    let outcome = Routing::with(&definition).outcomes(&trades(&[|_| {}])).remove(0);
    assert_eq!(outcome.reason(), "message_id_required");
    assert_eq!(outcome.get("message_id").unwrap().len(), 36);
    let definition = edited("'crypto' AS asset_class", "'equity' AS asset_class");
    let outcome = Routing::with(&definition).outcomes(&trades(&[|_| {}])).remove(0);
    assert_eq!(outcome.reason(), "invalid_asset_class");
    assert_eq!(outcome.get("error_type"), Some("asset_class_validation"));
}

#[test]
fn sql_arrays_and_narrower_types_are_taken_where_nothing_can_get_lost() {
    let definition = edited("text_list() AS", "[event_type, 'x'] AS");
    let outcomes = Routing::with(&definition).outcomes(&trades(&[|_| {}]));
    assert_eq!(outcomes[0].get("trade_conditions"), Some("[trade, x]"));
    let definition = edited("text_list() AS", "[CASE WHEN is_best_match THEN 'best' END] AS");
    let outcomes = Routing::with(&definition).outcomes(&trades(&[|_| {}, |t| t.is_best_match = None]));
    assert_eq!(outcomes[0].get("trade_conditions"), Some("[best]"));
    assert_eq!(outcomes[1].reason(), "projection_failed");
}

#[test]
fn rules_that_cannot_explain_themselves_still_reject() {
    let mut definition = definition("binance");
    definition.rules = Text {
        label: "my.toml".to_owned(),
        text: definition.rules.text.replacen(
            "detail = \"'price is null'\"",
            "detail = \"CAST(_symbol_given AS BIGINT)\"",
            1,
        ),
    };
    let outcomes = Routing::with(&definition).outcomes(&trades(&[|t| t.price = None]));
    assert_eq!(outcomes[0].reason(), "price_is_null");
    assert!(outcomes[0].get("error_detail").unwrap().contains("cannot be computed"), "{outcomes:?}");
}

#[test]
fn explain_tells_record_by_record_what_route_does() {
    let raws = trades(&[|_| {}, |t| t.price = None, |t| t.symbol = Some("AGBP".to_owned())]);
    let mut routing = Routing::of("binance");
    let batch = fixture::batch(&raws);
    let routed = routing.route(&batch);
    assert_eq!((routed.silver.num_rows(), routed.dlq.num_rows()), (2, 1));
    let fates = routing.transformer.explain(&routing.identity, &batch, fixture::RECEIVED, fixture::NOW).unwrap();
    assert_eq!(fates.len(), 3);
    assert_eq!(
        (fates[2].partition, fates[2].offset, fates[2].timestamp, fates[2].schema_id),
        (0, 2, Some(KAFKA_MICROS), Some(7))
    );
    assert_eq!(fates[2].notices, ["unknown_currency"]);
    let row = fates[0].outcome.as_ref().unwrap();
    assert_eq!(row[1], ("trade_id".to_owned(), Some("BINANCE-3301234567".to_owned())));
    assert_eq!(row[11], ("source_sequence".to_owned(), None));
    let rejected = fates[1].outcome.as_ref().unwrap_err();
    assert_eq!((rejected.reason.as_str(), rejected.error_type.as_str()), ("price_is_null", "price_validation"));
    assert_eq!(fates[1].message_id.len(), 36);
}
