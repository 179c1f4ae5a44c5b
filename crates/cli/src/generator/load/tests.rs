#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;

#[test]
fn the_pace_hands_out_every_record_once() {
    let mut pace = Pace::new(1_000.0);
    assert_eq!(pace.due_after(Duration::from_millis(10)), 10);
    assert_eq!(pace.due_after(Duration::from_millis(10)), 0);
    assert_eq!(pace.due_after(Duration::from_millis(12)), 2);
    assert_eq!(pace.due_after(Duration::from_secs(1)), 988, "what was slow is made up for");
}

#[test]
fn a_skip_forgets_what_was_due() {
    let mut pace = Pace::new(1e9);
    pace.skip();
    let skipped = pace.handed_out;
    assert!(skipped > 0);
    assert_eq!(pace.due_after(Duration::from_secs(1)), 1_000_000_000 - skipped);
}
