#![allow(clippy::unwrap_used)]
use super::*;

fn span(partition: i32, epoch: u64, from: i64, to: i64) -> PartitionSpan {
    PartitionSpan {
        partition: Partition(partition),
        epoch: Epoch(epoch),
        from: NextOffset(from),
        to: NextOffset(to),
        last: None,
        leader_epoch: None,
    }
}

#[test]
fn spans_must_abut() {
    let mut cursors = Cursors::default();
    cursors.assign(Partition(0), Epoch(1), Some(NextOffset(10)), None, None);
    assert_eq!(cursors.advance(&span(0, 1, 10, 15)).unwrap().expected, Some(NextOffset(10)));
    assert_eq!(cursors.advance(&span(0, 1, 15, 15)).unwrap().from, NextOffset(15));
    assert!(cursors.advance(&span(0, 1, 16, 20)).is_err(), "a hole");
    assert!(cursors.advance(&span(0, 1, 14, 20)).is_err(), "an overlap");
    assert!(cursors.advance(&span(1, 1, 0, 5)).is_err(), "not assigned");
}

#[test]
fn without_a_position_the_first_span_says_where_it_begins() {
    let mut cursors = Cursors::default();
    cursors.assign(Partition(0), Epoch(1), None, None, None);
    let m = cursors.advance(&span(0, 1, 7, 9)).unwrap();
    assert_eq!((m.expected, m.from), (None, NextOffset(7)));
    assert!(cursors.advance(&span(0, 1, 10, 11)).is_err());
}

#[test]
fn an_old_epoch_is_dead() {
    let mut cursors = Cursors::default();
    cursors.assign(Partition(0), Epoch(2), None, None, None);
    assert!(!cursors.is_live(&span(0, 1, 0, 1)));
    assert!(cursors.is_live(&span(0, 2, 0, 1)));
    cursors.clear();
    assert!(!cursors.is_live(&span(0, 2, 0, 1)));
}

#[test]
fn after_a_commit_the_next_move_expects_its_end() {
    let mut cursors = Cursors::default();
    cursors.assign(Partition(0), Epoch(1), None, None, None);
    let m = cursors.advance(&span(0, 1, 3, 5)).unwrap();
    cursors.committed(&BTreeMap::from([(Partition(0), m)]));
    assert_eq!(cursors.advance(&span(0, 1, 5, 6)).unwrap().expected, Some(NextOffset(5)));
}
