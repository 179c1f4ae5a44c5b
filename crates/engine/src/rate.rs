//! How many of the last hour's records were rejects. Owns a count a minute, no more; a restart begins anew.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Above this share somebody has to look.
const LIMIT_PERCENT: f64 = 1.0;
/// The log is told at most this often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Rejects among records, over a sliding hour.
#[derive(Debug, Default)]
pub(crate) struct RejectRate {
    minutes: VecDeque<Minute>,
    told: Option<Instant>,
}

#[derive(Debug)]
struct Minute {
    begun: Instant,
    records: u64,
    rejects: u64,
}

impl RejectRate {
    /// Counts a batch. The rate in percent if it is above the limit and the log has not been told of late.
    pub(crate) fn add(&mut self, valid: u64, rejects: u64) -> Option<f64> {
        self.add_at(Instant::now(), valid, rejects)
    }

    #[allow(clippy::cast_precision_loss, reason = "a percentage for people")]
    fn add_at(&mut self, now: Instant, valid: u64, rejects: u64) -> Option<f64> {
        match self.minutes.back_mut().filter(|m| now.duration_since(m.begun) < MINUTE) {
            Some(minute) => {
                minute.records += valid + rejects;
                minute.rejects += rejects;
            }
            None => self.minutes.push_back(Minute { begun: now, records: valid + rejects, rejects }),
        }
        while self.minutes.front().is_some_and(|m| now.duration_since(m.begun) >= HOUR) {
            self.minutes.pop_front();
        }
        let records: u64 = self.minutes.iter().map(|m| m.records).sum();
        let rejects: u64 = self.minutes.iter().map(|m| m.rejects).sum();
        if records == 0 {
            return None;
        }
        let percent = rejects as f64 * 100.0 / records as f64;
        let silent = self.told.is_some_and(|told| now.duration_since(told) < TOLD_EVERY);
        if percent <= LIMIT_PERCENT || silent {
            return None;
        }
        self.told = Some(now);
        Some(percent)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tells_once_a_minute_and_forgets_after_an_hour() {
        let start = Instant::now();
        let mut rate = RejectRate::default();
        assert_eq!(rate.add_at(start, 990, 10), None, "exactly the limit");
        let told = rate.add_at(start, 0, 10).unwrap();
        assert!((told - 2000.0 / 1010.0).abs() < 1e-9);
        assert_eq!(rate.add_at(start + MINUTE / 2, 0, 10), None, "told a moment ago");
        assert!(rate.add_at(start + MINUTE, 0, 10).is_some());
        assert_eq!(rate.add_at(start + HOUR + MINUTE * 2, 999, 1), None, "only this batch counts now");
    }
}
