#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::super::PARTS;
use super::super::broker::Broker;
use super::*;
use k2_model::NextOffset;
use std::time::Instant;

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_feed_holds_back_before_the_broker_can_drop_anything() {
    let broker = Broker::start(&PARTS).unwrap();
    // fast enough to fill the broker in a moment
    let part = Part { records_per_second: 400_000, ..PARTS[0] };
    let mut feed = Feed::new(part, &broker.address(), 1).unwrap();
    feed.start().unwrap();
    until("it holds back", || feed.is_held_back());
    feed.check().unwrap();
    // what is under way when it holds back: a beat and a little
    let most = feed.shared.most_uncommitted();
    assert!(most < 2 * MOST_UNCOMMITTED, "{most}");

    let next_offsets =
        (0i32..).zip(feed.ledger().partitions()).map(|(n, p)| (Partition(n), NextOffset(p.next_offset()))).collect();
    let table = TableState { next_offsets, ..TableState::default() };
    feed.committed(&table, &TableState::default());
    assert!(feed.is_held_back(), "silver has not read them");
    feed.committed(&table, &table);
    let before = feed.ledger().records();
    until("it goes on once all is committed", || feed.ledger().records() > before);

    feed.finish().unwrap();
    assert_eq!(
        i64::try_from(feed.ledger().records()).unwrap(),
        feed.ledger().partitions().iter().map(|p| p.next_offset()).sum::<i64>()
    );
}
