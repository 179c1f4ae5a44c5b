#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use k2_engine::config::Sources;

fn conditions(filter: Filter) -> Result<String> {
    let config = Config::load(&Sources::default()).unwrap();
    Ok(clause(&filter.conditions(&config)?))
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn filters_add_up_and_their_values_are_alternatives() {
    assert_eq!(conditions(Filter::default()).unwrap(), "");
    let filter = Filter {
        source: texts(&["silver-kraken", "bronze_binance_trades"]),
        reason: texts(&["it's"]),
        schema_id: texts(&["-1", "none"]),
        day: texts(&["2026-01-31"]),
        partition: vec![3],
        ..Filter::default()
    };
    assert_eq!(
        conditions(filter).unwrap(),
        " WHERE (kafka_topic = 'market.crypto.trades.kraken.raw' OR bronze_source = 'bronze_binance_trades') \
         AND error_reason = 'it''s' AND (schema_id = -1 OR schema_id IS NULL) AND dlq_date = DATE '2026-01-31' \
         AND kafka_partition = 3"
    );
}

#[test]
fn a_moment_is_ago_or_written() {
    let now = 1_767_225_600_000_000;
    for (text, expected) in [
        ("2h", "2025-12-31T22:00:00.000000Z"),
        ("2026-01-31", "2026-01-31T00:00:00.000000Z"),
        ("2026-01-31 12:00:00", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000000Z"),
    ] {
        assert_eq!(moment(text, now).unwrap(), expected, "{text}");
    }
}

#[test]
fn what_is_none_is_told() {
    for filter in [
        Filter { day: texts(&["2026-02-30"]), ..Filter::default() },
        Filter { day: texts(&["2026-01-01' OR 1=1 --"]), ..Filter::default() },
        Filter { schema_id: texts(&["x"]), ..Filter::default() },
        Filter { since: Some("yesterday".into()), ..Filter::default() },
    ] {
        assert_eq!(conditions(filter.clone()).unwrap_err().class(), k2_model::Class::Config, "{filter:?}");
    }
}
