//! The partitions that are being read: positions, open spans, and what holds a partition back.
//!
//! Invariants
//! 1. Per epoch, spans of a partition abut: each begins where the one before ended.
//! 2. A record below the position is dropped; librdkafka may hand one out twice around a pause.
//! 3. Until the record of the fingerprint was seen, or is known to be gone, no record is taken.

use crate::native::Seat;
use crate::rows::Rows;
use crate::start::Plan;
use k2_model::{Epoch, Fingerprint, NextOffset, Partition, PartitionSpan};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Faults of a partition that are no further apart are one.
const SAME_FAULT: Duration = Duration::from_secs(60);

/// What becomes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is the next one: append it.
    Take,
    /// It was read before, or belongs to nobody any more.
    Skip,
    /// The log is not the one that was read before.
    Changed,
}

/// A partition that is being read.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The assignment.
    pub(crate) epoch: Epoch,
    /// Where the open span begins.
    from: i64,
    /// The position: one past the last offset read or known to be empty.
    next: i64,
    /// The record before the start, until it was seen again.
    verify: Option<Fingerprint>,
    /// Between that record and the start there was none, and there must be none now.
    hole: Range<i64>,
    /// The last row of the open span.
    last_row: Option<(usize, i64)>,
    /// The last record of the spans that are closed.
    last: Option<Fingerprint>,
    leader_epoch: Option<i32>,
    /// The leader epoch of the last record before the open span.
    epoch_before: Option<i32>,
    /// Nothing is taken: its position is being asked for anew, or it is being revoked.
    closed: bool,
    /// librdkafka's pause flag, as we set it. It outlives an assignment.
    pub(crate) paused: bool,
    fault: Option<Fault>,
    window: Window,
}

/// Something went wrong with a partition; it has to be placed anew.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// Since when, without progress.
    pub(crate) since: Instant,
    /// When it happened last.
    last: Instant,
    /// When to try next; none while an attempt is running.
    pub(crate) retry: Option<Instant>,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// The last error's text.
    pub(crate) text: String,
}

/// Counts records against the rate limit.
#[derive(Debug)]
struct Window {
    opened: Instant,
    records: u32,
    held_until: Option<Instant>,
}

impl Reading {
    /// A partition that starts by a plan.
    pub(crate) fn new(epoch: Epoch, plan: &Plan, now: Instant) -> Self {
        Self {
            epoch,
            from: plan.next.0,
            next: plan.next.0,
            verify: plan.verify,
            hole: hole(plan),
            last_row: None,
            last: plan.verify,
            leader_epoch: plan.seat.leader_epoch,
            epoch_before: plan.seat.leader_epoch,
            closed: false,
            paused: false,
            fault: None,
            window: Window { opened: now, records: 0, held_until: None },
        }
    }

    /// Where librdkafka has to go on.
    pub(crate) fn seat(&self, partition: i32) -> Seat {
        let offset = self.verify.map_or(self.next, |last| last.offset);
        Seat { partition, offset, leader_epoch: self.leader_epoch }
    }

    /// The position.
    pub(crate) fn next(&self) -> NextOffset {
        NextOffset(self.next)
    }

    /// The last record before the open span.
    pub(crate) fn last(&self) -> Option<Fingerprint> {
        self.last
    }

    /// The leader epoch of the last record.
    pub(crate) fn leader_epoch(&self) -> Option<i32> {
        self.leader_epoch
    }

    /// Whether there is something to send.
    fn is_open(&self) -> bool {
        self.next > self.from
    }

    /// Decides about a record that librdkafka hands out. `print` gives its timestamp and checksum.
    pub(crate) fn meet(&mut self, offset: i64, print: impl FnOnce() -> (i64, u32)) -> Step {
        if self.closed || self.fault.as_ref().is_some_and(|f| f.retry.is_some()) {
            return Step::Skip;
        }
        if self.hole.contains(&offset) {
            return Step::Changed;
        }
        if let Some(last) = self.verify {
            if offset < last.offset {
                return Step::Skip;
            }
            if offset == last.offset {
                if print() != (last.timestamp_ms, last.crc) {
                    return Step::Changed;
                }
                self.verify = None;
                return Step::Skip;
            }
            // compaction or retention has taken it
            self.verify = None;
        }
        if offset < self.next { Step::Skip } else { Step::Take }
    }

    /// Notes a record that was appended.
    pub(crate) fn took(&mut self, offset: i64, row: usize, timestamp_ms: i64, leader_epoch: Option<i32>) {
        self.next = offset + 1;
        self.last_row = Some((row, timestamp_ms));
        self.leader_epoch = leader_epoch.or(self.leader_epoch);
        self.fault = None;
        self.window.records = self.window.records.saturating_add(1);
    }

    /// Notes that everything below an offset has been read. Returns whether that moved the position.
    pub(crate) fn reached(&mut self, next: i64) -> bool {
        if self.closed || self.fault.as_ref().is_some_and(|f| f.retry.is_some()) {
            return false;
        }
        if self.verify.is_some_and(|last| next > last.offset) && next >= self.next {
            self.verify = None;
        }
        if self.verify.is_none() && next > self.next {
            self.next = next;
            self.fault = None;
            return true;
        }
        false
    }

    /// Takes nothing any more under this epoch.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Forgets the open span, whose rows are dropped.
    pub(crate) fn discard(&mut self) {
        self.next = self.from;
        self.last_row = None;
        self.leader_epoch = self.epoch_before;
    }

    fn take_span(&mut self, partition: i32, rows: &Rows) -> Option<PartitionSpan> {
        if !self.is_open() {
            return None;
        }
        let last = self.last_row.take().and_then(|(row, timestamp_ms)| {
            Some(Fingerprint { offset: rows.offset(row)?, timestamp_ms, crc: rows.crc(row) })
        });
        self.last = last.or(self.last);
        self.epoch_before = self.leader_epoch;
        let from = std::mem::replace(&mut self.from, self.next);
        Some(PartitionSpan {
            partition: Partition(partition),
            epoch: self.epoch,
            from: NextOffset(from),
            to: NextOffset(self.next),
            last,
            leader_epoch: self.leader_epoch,
        })
    }

    /// Something is wrong: nothing is taken until it was placed anew.
    pub(crate) fn fail(&mut self, text: String, now: Instant) {
        // one that was mended and stayed quiet is another one, though no record came in between
        let same = self.fault.as_ref().filter(|f| now.duration_since(f.last) < SAME_FAULT);
        let (since, attempts) = same.map_or((now, 0), |f| (f.since, f.attempts));
        let pause = Duration::from_millis(100 << attempts.min(6));
        self.fault = Some(Fault { since, last: now, retry: Some(now + pause), attempts: attempts + 1, text });
    }

    /// The fault that is due for another attempt.
    pub(crate) fn due_fault(&self, now: Instant) -> Option<&Fault> {
        self.fault.as_ref().filter(|f| f.retry.is_some_and(|at| at <= now))
    }

    /// It was placed anew, and must see its last record again.
    pub(crate) fn replaced(&mut self, plan: &Plan) {
        self.verify = plan.verify;
        self.hole = hole(plan);
        if let Some(fault) = &mut self.fault {
            fault.retry = None;
        }
    }

    /// Applies the rate limit; whether the partition is to be held back now.
    pub(crate) fn throttled(&mut self, limit: Option<u32>, now: Instant) -> bool {
        let Some(limit) = limit.filter(|l| *l > 0) else { return false };
        let window = &mut self.window;
        if let Some(until) = window.held_until {
            if now < until {
                return true;
            }
            *window = Window { opened: now, records: 0, held_until: None };
        }
        if window.records >= limit {
            // what went over the limit is paid for with a longer pause
            let paid = Duration::from_secs_f64(f64::from(window.records) / f64::from(limit));
            window.held_until = Some(window.opened + paid);
            return now < window.opened + paid;
        }
        if now >= window.opened + Duration::from_secs(1) {
            *window = Window { opened: now, records: 0, held_until: None };
        }
        false
    }

    /// Whether nothing may be delivered for now.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed || self.fault.as_ref().is_some_and(|f| f.retry.is_some())
    }
}

/// The offsets between the last record and the position: control records, or nothing.
fn hole(plan: &Plan) -> Range<i64> {
    plan.verify.map_or(0..0, |last| last.offset + 1..plan.next.0)
}

/// All partitions that are being read, by number.
#[derive(Debug, Default)]
pub(crate) struct Readings(Vec<Option<Reading>>);

impl Readings {
    /// The partition's state, if it is being read.
    pub(crate) fn get_mut(&mut self, partition: i32) -> Option<&mut Reading> {
        self.0.get_mut(usize::try_from(partition).ok()?)?.as_mut()
    }

    /// Begins to read a partition; returns what was there before.
    pub(crate) fn insert(&mut self, partition: i32, reading: Reading) -> Option<Reading> {
        let at = usize::try_from(partition).ok()?;
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at].replace(reading)
    }

    /// Ends reading a partition.
    pub(crate) fn remove(&mut self, partition: i32) -> Option<Reading> {
        self.0.get_mut(usize::try_from(partition).ok()?)?.take()
    }

    /// All of them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (i32, &mut Reading)> {
        (0..).zip(&mut self.0).filter_map(|(p, r)| Some((p, r.as_mut()?)))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, &Reading)> {
        (0..).zip(&self.0).filter_map(|(p, r)| Some((p, r.as_ref()?)))
    }

    /// Their numbers.
    pub(crate) fn partitions(&self) -> Vec<i32> {
        self.iter().map(|(p, _)| p).collect()
    }

    /// Whether none is being read.
    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Whether a position has moved that no batch has told yet.
    pub(crate) fn is_open(&self) -> bool {
        self.iter().any(|(_, r)| r.is_open())
    }

    /// Closes the open spans; `rows` are the rows of all of them.
    pub(crate) fn take_spans(&mut self, rows: &Rows) -> Vec<PartitionSpan> {
        self.iter_mut().filter_map(|(p, r)| r.take_span(p, rows)).collect()
    }
}

#[cfg(test)]
#[path = "reading/tests.rs"]
mod tests;
