#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::native::Seat;

fn print(offset: i64) -> Fingerprint {
    Fingerprint { offset, timestamp_ms: 5, crc: 6 }
}

fn reading(next: i64, verify: Option<Fingerprint>) -> Reading {
    let offset = verify.map_or(next, |v| v.offset);
    let seat = Seat { partition: 0, offset, leader_epoch: Some(1) };
    Reading::new(Epoch(1), &Plan { seat, next: NextOffset(next), verify }, Instant::now())
}

const SAME: fn() -> (i64, u32) = || (5, 6);
const OTHER: fn() -> (i64, u32) = || (5, 7);

#[test]
fn the_first_record_must_be_the_one_that_was_read_last() {
    let mut r = reading(10, Some(print(9)));
    assert_eq!(r.meet(9, SAME), Step::Skip);
    assert_eq!(r.meet(10, SAME), Step::Take);

    assert_eq!(reading(10, Some(print(9))).meet(9, OTHER), Step::Changed);
    assert_eq!(reading(10, Some(print(9))).meet(9, || (4, 6)), Step::Changed);

    // gone by compaction: go on
    assert_eq!(reading(10, Some(print(9))).meet(12, OTHER), Step::Take);
    // a record where there was none
    assert_eq!(reading(12, Some(print(9))).meet(10, SAME), Step::Changed);
    let mut r = reading(12, Some(print(9)));
    assert_eq!(r.meet(9, SAME), Step::Skip);
    assert_eq!(r.meet(11, SAME), Step::Changed);
    // nothing to verify
    assert_eq!(reading(10, None).meet(10, OTHER), Step::Take);
}

#[test]
fn the_end_of_the_partition_settles_the_question_too() {
    let mut r = reading(10, Some(print(9)));
    assert!(!r.reached(10), "the position does not move");
    assert_eq!(r.meet(10, OTHER), Step::Take);

    let mut r = reading(10, Some(print(9)));
    assert!(!r.reached(9), "the end is before the record: it says nothing");
    assert_eq!(r.meet(9, OTHER), Step::Changed);
}

#[test]
fn a_record_below_the_position_is_dropped() {
    let mut r = reading(10, None);
    assert_eq!(r.meet(10, SAME), Step::Take);
    r.took(10, 0, 5, None);
    assert_eq!(r.meet(10, SAME), Step::Skip);
    assert_eq!(r.meet(3, SAME), Step::Skip);
    assert_eq!(r.meet(11, SAME), Step::Take);
}

#[test]
fn spans_abut_over_holes_and_control_records() {
    let rows = Rows::with_capacity(0, 0, 0);
    let mut all = Readings::default();
    all.insert(2, reading(10, None));
    assert!(!all.is_open());
    assert!(all.take_spans(&rows).is_empty());

    all.get_mut(2).unwrap().took(14, 0, 5, Some(4));
    assert!(all.is_open());
    let spans = all.take_spans(&rows);
    assert_eq!((spans[0].from, spans[0].to), (NextOffset(10), NextOffset(15)));
    assert_eq!((spans[0].partition, spans[0].leader_epoch), (Partition(2), Some(4)));
    assert!(!all.is_open());

    assert!(all.get_mut(2).unwrap().reached(16));
    let spans = all.take_spans(&rows);
    assert_eq!((spans[0].from, spans[0].to, spans[0].last), (NextOffset(15), NextOffset(16), None));
    assert!(!all.get_mut(2).unwrap().reached(16));
}

#[test]
fn a_discarded_span_is_read_again() {
    let mut r = reading(10, None);
    r.took(10, 0, 5, None);
    r.discard();
    assert_eq!(r.next(), NextOffset(10));
    assert_eq!(r.meet(10, SAME), Step::Take);
}

#[test]
fn nothing_is_taken_while_closed_or_failed() {
    let mut r = reading(10, None);
    r.fail("crc".into(), Instant::now());
    assert_eq!(r.meet(11, SAME), Step::Skip, "what comes after a damaged batch would hide it");
    assert!(!r.reached(12));
    let plan = Plan { seat: Seat::of(0), next: NextOffset(10), verify: None };
    r.replaced(&plan);
    assert_eq!(r.meet(10, SAME), Step::Take);
    r.close();
    assert_eq!(r.meet(10, SAME), Step::Skip);
}

#[test]
fn faults_back_off_and_count_until_there_is_progress() {
    let (mut r, now) = (reading(10, None), Instant::now());
    r.fail("a".into(), now);
    assert!(r.due_fault(now).is_none());
    let due = r.due_fault(now + Duration::from_secs(1)).unwrap();
    assert_eq!((due.attempts, due.since), (1, now));
    r.fail("b".into(), now + Duration::from_secs(1));
    let due = r.due_fault(now + Duration::from_secs(9)).unwrap();
    assert_eq!((due.attempts, due.since), (2, now));
    let later = now + Duration::from_secs(120);
    r.fail("c".into(), later);
    let due = r.due_fault(later + Duration::from_secs(1)).unwrap();
    assert_eq!((due.attempts, due.since), (1, later));
    r.took(10, 0, 0, None);
    assert!(r.due_fault(later + Duration::from_secs(99)).is_none());
}

#[test]
fn the_rate_limit_holds_on_average() {
    let now = Instant::now();
    let mut r = reading(0, None);
    assert!(!r.throttled(None, now));
    for offset in 0..250 {
        r.took(offset, 0, 0, None);
    }
    // 250 records at 100 a second: held for 2.5 s
    assert!(r.throttled(Some(100), now + Duration::from_millis(10)));
    assert!(r.throttled(Some(100), now + Duration::from_millis(2400)));
    assert!(!r.throttled(Some(100), now + Duration::from_millis(2600)));
    assert!(!r.throttled(Some(100), now + Duration::from_millis(2700)));
}
