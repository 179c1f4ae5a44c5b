//! When an id that the registry does not know counts as unknown. Pure: times in, decisions out.
//!
//! | the last clear "no such id" was asked for … | the pipeline may still stall | then |
//! |---|---|---|
//! | not yet, or the registry was no help | – | ask: nothing decides but a clear answer |
//! | within the grace | yes | ask again, until the grace has passed |
//! | within the grace | no | unknown: decided without the rest of the grace |
//! | after the grace | – | unknown |
//!
//! The grace of an id is counted from its first sight, once: a decided id never stalls again. Its verdict lasts for
//! [`Sights::recheck`] (10 s); then it takes a new clear answer, so that a schema that is registered late is found.
//!
//! **The bound.** Ids that come one after the other, each with a grace of its own, would hold a partition up for as long
//! as they come. So a pipeline stalls for graces, in any time of [`WINDOW`] graces, no longer than one grace and a second
//! one of at most [`SECOND`] (1 m: 90 s in 10 m). After that, new unknown ids are asked for once, and their records go to
//! the DLQ at once - until the stalls have left the window. Waiting for a registry that is no help is not counted.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// In so many graces …
const WINDOW: u32 = 10;
/// … the second one may be so long.
const SECOND: Duration = Duration::from_secs(30);

/// So many unknown ids are remembered. Of more, those that were seen first are forgotten: should they come again, they
/// are new.
const MOST: usize = 50_000;

/// An id that the registry does not know, as far as we know.
#[derive(Debug, Clone, Copy)]
struct Sight {
    first: Instant,
    /// When the last question was sent that had a clear "no such id" as its answer.
    clear: Option<Instant>,
    decided: bool,
}

/// The unknown ids of one pipeline.
#[derive(Debug)]
pub(super) struct Sights {
    grace: Duration,
    recheck: Duration,
    most: usize,
    ids: HashMap<i32, Sight>,
    /// When stalls ended, and how long they were.
    stalls: VecDeque<(Instant, Duration)>,
}

impl Sights {
    /// A verdict lasts for `recheck` before it must be confirmed.
    pub(super) fn new(grace: Duration, recheck: Duration) -> Self {
        Self { grace, recheck, most: MOST, ids: HashMap::new(), stalls: VecDeque::new() }
    }

    /// Ids were seen; a clock starts for each that is new.
    pub(super) fn see(&mut self, ids: &BTreeSet<i32>, now: Instant) {
        for id in ids {
            self.ids.entry(*id).or_insert(Sight { first: now, clear: None, decided: false });
        }
        if self.ids.len() > self.most {
            let mut firsts: Vec<Instant> = self.ids.values().map(|sight| sight.first).collect();
            let middle = firsts.len() / 2;
            let (_, median, _) = firsts.select_nth_unstable(middle);
            let median = *median;
            self.ids.retain(|id, sight| sight.first > median || ids.contains(id));
        }
    }

    /// It was found.
    pub(super) fn found(&mut self, id: i32) {
        self.ids.remove(&id);
    }

    /// The registry said clearly, to a question sent at this time, that there is no such id. Returns whether that
    /// decides.
    pub(super) fn not_there(&mut self, id: i32, asked: Instant, may_stall: Duration) -> bool {
        let Some(sight) = self.ids.get_mut(&id) else { return false };
        sight.clear = Some(asked);
        sight.decided |= asked.saturating_duration_since(sight.first) >= self.grace || may_stall.is_zero();
        sight.decided
    }

    /// Whether this id was decided to be unknown.
    pub(super) fn is_unknown(&self, id: i32) -> bool {
        self.ids.get(&id).is_some_and(|sight| sight.decided)
    }

    /// Whether it was, and that needs no confirmation yet.
    pub(super) fn is_fresh(&self, id: i32, now: Instant) -> bool {
        let clear = self.ids.get(&id).filter(|sight| sight.decided).and_then(|sight| sight.clear);
        clear.is_some_and(|clear| now.saturating_duration_since(clear) < self.recheck)
    }

    /// When the next of these ids has had its grace.
    pub(super) fn next_deadline(&self, ids: &BTreeSet<i32>) -> Option<Instant> {
        ids.iter().filter_map(|id| self.ids.get(id)).map(|sight| sight.first + self.grace).min()
    }

    /// The pipeline stalls for graces, until the value is dropped: with the future that waits, too.
    pub(super) fn stall(&mut self) -> Stall<'_> {
        Stall { sights: self, from: Instant::now() }
    }

    fn stalled(&mut self, from: Instant, to: Instant) {
        self.stalls.push_back((to, to.saturating_duration_since(from)));
    }

    /// How long it may still stall.
    pub(super) fn may_stall(&mut self, now: Instant) -> Duration {
        let window = self.grace.saturating_mul(WINDOW);
        while self.stalls.front().is_some_and(|(end, _)| now.saturating_duration_since(*end) > window) {
            self.stalls.pop_front();
        }
        let spent: Duration = self.stalls.iter().map(|(_, long)| *long).sum();
        (self.grace + self.grace.min(SECOND)).saturating_sub(spent)
    }
}

/// A stall that goes on.
pub(super) struct Stall<'a> {
    sights: &'a mut Sights,
    from: Instant,
}

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        self.sights.stalled(self.from, Instant::now());
    }
}

#[cfg(test)]
#[path = "grace/tests.rs"]
mod tests;
