//! A checker that has never failed proves nothing: every kind of finding, found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;

fn ledger(records: &[(i64, u32)]) -> Ledger {
    Ledger { topic: "t".into(), records: BTreeMap::from([(0, records.to_vec())]), ..Ledger::default() }
}

fn verdict(rows: &[(i64, u32)], next: i64) -> Verdict {
    // offset 2 is a hole: an aborted record
    judge(
        BTreeMap::from([(0, rows.to_vec())]),
        Vec::new(),
        &BTreeMap::from([(0, next)]),
        &ledger(&[(0, 10), (1, 11), (3, 13)]),
    )
}

#[test]
fn all_records_once_is_complete() {
    verdict(&[(3, 13), (0, 10), (1, 11)], 4).assert_complete();
}

#[test]
fn what_is_not_read_yet_is_outstanding_and_no_loss() {
    let v = verdict(&[(0, 10)], 1);
    v.assert_sound();
    assert_eq!(v.outstanding, 2);
}

#[test]
fn each_kind_of_damage_is_found() {
    assert_eq!(verdict(&[(0, 10), (3, 13)], 4).missing.first, [(0, 1)]);
    assert_eq!(verdict(&[(0, 10), (1, 11)], 4).missing.first, [(0, 3)]);
    assert_eq!(verdict(&[(0, 10), (1, 11), (1, 11), (3, 13)], 4).doubled.first, [(0, 1)]);
    assert_eq!(verdict(&[(0, 10), (1, 99), (3, 13)], 4).differing.first, [(0, 1)]);
    assert_eq!(verdict(&[(0, 10), (1, 11), (2, 12), (3, 13)], 4).invented.first, [(0, 2)]);
    assert_eq!(verdict(&[(0, 10), (1, 11), (3, 13)], 3).beyond.first, [(0, 3)]);
    let no_position = judge(BTreeMap::from([(0, vec![(0, 10)])]), Vec::new(), &BTreeMap::new(), &ledger(&[(0, 10)]));
    assert_eq!(no_position.beyond.first, [(0, 0)]);
}
