#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;

fn record(partition: i32, offset: i64, timestamp: Option<i64>) -> Raw {
    Raw { partition, offset, timestamp, key: None, value: None }
}

#[test]
fn the_last_are_the_youngest_of_all_partitions() {
    let mut records = vec![
        record(0, 5, Some(10)),
        record(1, 9, Some(30)),
        record(0, 6, Some(20)),
        record(2, 0, None),
        record(1, 8, Some(20)),
    ];
    keep_last(&mut records, 3);
    let kept: Vec<(i32, i64)> = records.iter().map(|r| (r.partition, r.offset)).collect();
    assert_eq!(kept, [(0, 6), (1, 8), (1, 9)]);
    keep_last(&mut records, 10);
    assert_eq!(records.len(), 3);
}

/// A window that turns out to hold too few records is widened, down to the log's start and no further.
#[test]
fn gaps_are_bridged() {
    let log = Watermarks { low: NextOffset(100), end: NextOffset(200) };
    let mut asked = Vec::new();
    let got = tail(log, 3, |from, to, _| {
        asked.push((from.0, to.0));
        Ok(())
    });
    assert_eq!(got.unwrap().len(), 0);
    assert_eq!(asked.first(), Some(&(197, 200)));
    assert_eq!(asked.last(), Some(&(100, 200)));
    assert!(asked.len() < 10, "{asked:?}");

    let mut asked = 0;
    let empty = Watermarks { low: NextOffset(7), end: NextOffset(7) };
    tail(empty, 3, |_, _, _| {
        asked += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(asked, 1);
}

#[test]
fn what_retention_has_taken_is_no_error() {
    let log = Watermarks { low: NextOffset(0), end: NextOffset(10) };
    assert!(tail(log, 3, |_, _, _| Err(Error::halt("gone"))).unwrap().is_empty());
    assert!(tail(log, 3, |_, _, _| Err(Error::retry("silent"))).is_err());
}
