#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;

const GRACE: Duration = Duration::from_secs(60);
const RECHECK: Duration = Duration::from_secs(10);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn set(ids: &[i32]) -> BTreeSet<i32> {
    ids.iter().copied().collect()
}

#[test]
fn a_clear_answer_after_the_grace_decides_and_nothing_else() {
    let start = Instant::now();
    // seconds after the first sight at which the question was sent, what may be stalled, whether it decides
    for (asked, may_stall, decides) in [
        (0, GRACE, false),
        (59, GRACE, false),
        (60, GRACE, true),
        (61, GRACE, true),
        (0, s(0), true),
        (1, Duration::from_nanos(1), false),
    ] {
        let mut sights = Sights::new(GRACE, RECHECK);
        sights.see(&set(&[7]), start);
        assert!(!sights.is_unknown(7), "no answer, no verdict");
        assert_eq!(sights.not_there(7, start + s(asked), may_stall), decides, "{asked} {may_stall:?}");
        assert_eq!(sights.is_unknown(7), decides);
    }
    let mut none = Sights::new(Duration::ZERO, RECHECK);
    none.see(&set(&[7]), start);
    let left = none.may_stall(start);
    assert!(none.not_there(7, start, left), "without a grace the first clear answer decides");
}

#[test]
fn the_grace_is_counted_once_from_the_first_sight() {
    let start = Instant::now();
    let mut sights = Sights::new(GRACE, RECHECK);
    sights.see(&set(&[7]), start);
    sights.see(&set(&[7, 8]), start + s(40));
    assert_eq!(sights.next_deadline(&set(&[7, 8])), Some(start + GRACE));
    assert_eq!(sights.next_deadline(&set(&[8])), Some(start + s(100)), "a later id has its own clock");
    assert!(sights.not_there(7, start + s(60), GRACE));
    assert!(!sights.not_there(8, start + s(60), GRACE));
    assert!(sights.not_there(7, start + s(5000), GRACE), "a decided id stays decided");
}

#[test]
fn a_verdict_lasts_until_it_must_be_confirmed() {
    let start = Instant::now();
    let mut sights = Sights::new(Duration::ZERO, RECHECK);
    sights.see(&set(&[7]), start);
    assert!(!sights.is_fresh(7, start), "not asked yet");
    sights.not_there(7, start, s(0));
    assert!(sights.is_fresh(7, start + RECHECK - s(1)));
    assert!(!sights.is_fresh(7, start + RECHECK));
    assert!(sights.is_unknown(7), "but decided it is");
    sights.not_there(7, start + RECHECK, s(0));
    assert!(sights.is_fresh(7, start + RECHECK + s(9)));
    sights.found(7);
    assert!(!sights.is_unknown(7) && !sights.is_fresh(7, start + RECHECK));
}

#[test]
fn a_flood_stalls_no_longer_than_the_bound() {
    for (grace, most) in [(60, 90), (10, 20), (3600, 3630), (0, 0)] {
        let (grace, most) = (s(grace), s(most));
        let mut sights = Sights::new(grace, RECHECK);
        let mut now = Instant::now();
        // a new unknown id at all times, for three windows
        let (begin, mut stalls) = (now, Vec::new());
        while now < begin + grace * 3 * WINDOW + s(1) {
            let left = sights.may_stall(now);
            let stall = left.min(grace / 4);
            sights.stalled(now, now + stall);
            stalls.push((now, stall));
            now += stall + grace / 50 + s(1);
        }
        for (from, _) in &stalls {
            let within = |at: &Instant| *at >= *from && *at < *from + grace * WINDOW;
            let sum: Duration = stalls.iter().filter(|(at, _)| within(at)).map(|(_, long)| *long).sum();
            assert!(sum <= most, "{sum:?} of stalls in one window, grace {grace:?}");
        }
        let all: Duration = stalls.iter().map(|(_, long)| *long).sum();
        assert!(all >= most * 2, "what has left the window may be stalled again: {all:?}");
    }
}

#[test]
fn a_flood_is_forgotten_from_its_old_end() {
    let start = Instant::now();
    let mut sights = Sights { most: 100, ..Sights::new(GRACE, RECHECK) };
    for id in 0..1_000 {
        let at = start + Duration::from_millis(u64::try_from(id).unwrap());
        sights.see(&set(&[id, -1]), at);
        sights.not_there(-1, at, s(0));
        sights.not_there(id, at, s(0));
        assert!(sights.is_unknown(id), "an id of this batch is never forgotten");
        assert!(sights.is_unknown(-1), "nor is one that stays in use");
        assert!(sights.ids.len() <= 101);
    }
    assert!(sights.is_unknown(998) && !sights.is_unknown(1));
}
