#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;

/// A ledger of three partitions with 2, 1 and 0 records.
fn ledger() -> Arc<Ledger> {
    let ledger = Ledger::new("t", 3);
    for (partition, offset) in [(0, 0), (0, 1), (1, 0)] {
        ledger.acknowledged(partition, offset);
    }
    ledger
}

fn counted(partition: u16, row_count: u64, different: u64, first_offset: i64, last_offset: i64) -> (u16, Counted) {
    (partition, Counted { kafka_partition: partition, row_count, different, first_offset, last_offset })
}

#[test]
fn equal_is_equal() {
    assert!(differences(&ledger(), &[counted(0, 2, 2, 0, 1), counted(1, 1, 1, 0, 0)].into()).is_empty());
}

#[test]
fn every_difference_is_found() {
    let cases = [
        ("a row is missing", vec![counted(0, 1, 1, 0, 0), counted(1, 1, 1, 0, 0)]),
        ("a row is there twice", vec![counted(0, 3, 2, 0, 1), counted(1, 1, 1, 0, 0)]),
        ("one doubled and one missing", vec![counted(0, 2, 1, 0, 0), counted(1, 1, 1, 0, 0)]),
        ("other offsets", vec![counted(0, 2, 2, 1, 2), counted(1, 1, 1, 0, 0)]),
        ("a partition is missing", vec![counted(0, 2, 2, 0, 1)]),
        ("rows of nobody", vec![counted(0, 2, 2, 0, 1), counted(1, 1, 1, 0, 0), counted(2, 1, 1, 0, 0)]),
        ("no such partition", vec![counted(0, 2, 2, 0, 1), counted(1, 1, 1, 0, 0), counted(3, 1, 1, 0, 0)]),
    ];
    for (case, table) in cases {
        assert_eq!(differences(&ledger(), &table.into_iter().collect()).len(), 1, "{case}");
    }
}

#[test]
fn the_answer_of_sql_is_understood() {
    let json = br#"[{"kafka_partition":1,"row_count":5,"different":5,"first_offset":0,"last_offset":4}]"#;
    assert_eq!(parse_counted(json).unwrap(), [counted(1, 5, 5, 0, 4)].into());
    assert!(parse_counted(b"not json").is_err());
}
