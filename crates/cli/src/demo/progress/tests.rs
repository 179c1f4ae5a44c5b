#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::super::PARTS;
use super::*;

#[test]
fn a_lost_row_is_no_lag_and_a_doubled_one_hides_none() {
    let ledger = Ledger::new("t", 3);
    for (partition, offset) in [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0)] {
        ledger.acknowledged(partition, offset);
    }
    // partition 0 is read to its end, 1 beyond what has been reported, 2 not at all
    let next_offsets = BTreeMap::from([(Partition(0), NextOffset(3)), (Partition(1), NextOffset(9))]);
    for rows in [0, 4, 100] {
        let table = TableState { rows, next_offsets: next_offsets.clone(), ..TableState::default() };
        let seen = Observed::new(&PARTS[0], &ledger, &table, &table, false);
        assert_eq!((seen.delivered, seen.lag, seen.bronze), (5, 1, rows));
        let seen = Observed::new(&PARTS[0], &ledger, &table, &TableState::default(), false);
        assert_eq!((seen.lag, seen.silver), (5, 0), "silver has read nothing");
    }
}
