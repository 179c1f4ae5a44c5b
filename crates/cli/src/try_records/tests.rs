#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use k2_model::{ClusterId, TopicIdentity};

fn fate(offset: i64, outcome: Result<Vec<(String, Option<String>)>, Rejected>) -> Fate {
    Fate {
        partition: 3,
        offset,
        timestamp: Some(1_767_225_600_000_000),
        schema_id: Some(7),
        message_id: format!("id-{offset}"),
        outcome,
        notices: Vec::new(),
    }
}

fn trial(fates: Vec<Fate>) -> Trial {
    let identity = TopicIdentity { cluster_id: ClusterId::new("c"), topic: "t".into(), topic_id: None };
    Trial { identity, rules_version: "r1".into(), fates }
}

fn both() -> Vec<Fate> {
    let row = [("message_id", Some("id-1")), ("symbol", Some("BTC\u{1b}[31mUSDT")), ("source_sequence", None)];
    let row = row.map(|(name, value)| (name.to_owned(), value.map(str::to_owned))).to_vec();
    let rejected = Rejected {
        reason: "price_not_a_decimal".into(),
        error_type: "parse".into(),
        detail: Some("price \"1,5\"".into()),
    };
    vec![Fate { notices: vec!["unknown_currency".into()], ..fate(1, Ok(row)) }, fate(2, Err(rejected))]
}

#[test]
fn a_person_reads_a_line_a_column() {
    let expected = "\
partition 3 offset 1, 2026-01-01T00:00:00Z, schema id 7: silver
  message_id       id-1
  symbol           BTC\\u{1b}[31mUSDT
  source_sequence  null
  noticed          unknown_currency

partition 3 offset 2, 2026-01-01T00:00:00Z, schema id 7: dead letter, price_not_a_decimal
  error_type    parse
  error_detail  price \"1,5\"
  message_id    id-2

";
    assert_eq!(blocks(&both()), expected);
}

#[test]
fn totals_are_by_reason() {
    assert_eq!(
        summary(&trial(both())),
        "2 records: 1 silver row, 1 dead letter (price_not_a_decimal 1); rules version r1; nothing was written\n"
    );
    assert_eq!(summary(&trial(vec![])), "there is no record; rules version r1; nothing was written\n");
}

#[test]
fn a_program_reads_all_of_it() {
    let text = grid::objects(both().iter().map(object));
    let all: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(all[0]["becomes"], "silver");
    assert_eq!(all[0]["row"], json!({"message_id": "id-1", "symbol": "BTC\u{1b}[31mUSDT", "source_sequence": null}));
    assert_eq!(all[1]["row"], Value::Null);
    assert_eq!((&all[1]["error_reason"], &all[1]["offset"]), (&json!("price_not_a_decimal"), &json!(2)));
    assert_eq!(all[0]["notices"], json!(["unknown_currency"]));
}

#[test]
fn the_number_of_records_is_bounded() {
    assert!(count(0).is_err() && count(MOST_RECORDS + 1).is_err());
    assert_eq!(count(1).unwrap(), 1);
}
