#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use k2_engine::dead_letters;

fn letter() -> Letter {
    Letter {
        message_id: Some("5b1b0a3e-5a0c-5b0e-8f5f-0d9f3f2f6c11".into()),
        bronze_source: Some("bronze_kraken_trades".into()),
        kafka_topic: Some("t".into()),
        kafka_partition: Some(3),
        kafka_offset: Some(1234),
        kafka_timestamp: None,
        ingestion_timestamp: Some(1_767_225_600_000_000),
        error_timestamp: Some(1_767_225_601_000_000),
        error_reason: Some("price_not_a_decimal".into()),
        error_type: Some("parse".into()),
        error_detail: Some("price \"1\u{7}\"".into()),
        schema_id: Some(2),
        rules_version: Some("r1".into()),
        status: Some("open".into()),
        key: Some(b"XBT/USD".to_vec()),
        raw_record: Some(b"\0\0\0\0\x02\x041\x07".to_vec()),
    }
}

fn reading() -> Reading {
    Reading {
        schema: Some("2, an Avro record".into()),
        values: vec![dead_letters::Value { path: "price".into(), value: "\"1\\u{7}\"".into(), bytes: 5..8 }],
        mark: Some(Mark { bytes: 5..8, field: "price".into(), problem: None }),
    }
}

#[test]
fn a_page_says_where_what_and_shows_the_bytes() {
    let expected = "\
price_not_a_decimal (parse), open: t partition 3 offset 1234
  detail           price \"1\\u{7}\"
  message id       5b1b0a3e-5a0c-5b0e-8f5f-0d9f3f2f6c11
  bronze source    bronze_kraken_trades
  Kafka timestamp  none
  received         2026-01-01T00:00:00Z
  rejected         2026-01-01T00:00:01Z, by rules version r1
  key              \"XBT/USD\"
  schema id        2, an Avro record
  record           8 bytes
    price       5..8  \"1\\u{7}\"
  [ ] byte 5, field price: what the rule refused
  > 00000000  00 00 00 00 02[04 31 07]                         |......1.|
";
    assert_eq!(page(&letter(), &reading(), false), expected);
}

#[test]
fn a_tombstone_has_no_bytes_to_show() {
    let letter = Letter { raw_record: None, key: None, schema_id: None, ..letter() };
    let page = page(&letter, &Reading::default(), false);
    assert!(page.ends_with("  schema id        null\n  record           null, a tombstone\n"), "{page}");
}

#[test]
fn a_program_gets_the_bytes_in_hexadecimal_and_the_places() {
    let fields = object(&letter(), &reading());
    let all: Value = serde_json::from_str(&grid::objects(std::iter::once(fields))).unwrap();
    assert_eq!(all[0]["raw_record"], "0000000002043107");
    assert_eq!(all[0]["key"], "5842542f555344");
    assert_eq!(all[0]["kafka_timestamp"], Value::Null);
    assert_eq!(all[0]["decoded"][0], json!({"path": "price", "value": "\"1\\u{7}\"", "from": 5, "to": 8}));
    assert_eq!(all[0]["marked"]["from"], 5);
}

#[test]
fn long_lists_are_cut() {
    let value = dead_letters::Value { path: "a".into(), value: "1".into(), bytes: 0..1 };
    let reading = Reading { values: vec![value; 150], ..Reading::default() };
    let text = decoded(&reading, MOST_VALUES);
    assert_eq!(text.lines().count(), 101);
    assert!(text.ends_with("    … 50 more values, all with --full\n"), "{text}");
}

#[test]
fn a_key_is_text_where_it_is() {
    assert_eq!(key(b"BTCUSDT"), "\"BTCUSDT\"");
    assert_eq!(key(b"\xff\x00"), "0xff00");
    assert_eq!(key(b"a\x1b"), "0x611b");
}
