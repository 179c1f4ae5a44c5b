//! Jittered exponential back-off, without a limit in number.

use rand::Rng;
use std::time::Duration;

/// The next pause of a retry loop. Doubles from `first` up to `most`; each pause is drawn from the upper half.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// A back-off between two bounds.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// How long to wait now.
    pub fn pause(&mut self) -> Duration {
        let now = self.next.min(self.most);
        self.next = (now * 2).min(self.most);
        now.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

impl Default for Backoff {
    /// 50 ms to 10 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(10))
    }
}
