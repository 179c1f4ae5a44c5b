//! Waiting for something outside to come back, visibly: one WARN when it starts, one line a minute, one INFO when it
//! is over. Without a limit in number; whoever waits is cancelled from outside.

use crate::Error;
use crate::retry::Backoff;
use std::time::{Duration, Instant};

/// The state of one wait.
#[derive(Debug)]
pub struct Patience {
    what: String,
    backoff: Backoff,
    since: Option<Instant>,
    said: Instant,
    attempts: u64,
}

impl Patience {
    /// Patience for an operation, named as the log shall name it.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), backoff: Backoff::default(), since: None, said: Instant::now(), attempts: 0 }
    }

    /// It failed: says so where due, then waits.
    pub async fn wait(&mut self, error: &Error) {
        self.attempts += 1;
        match self.since {
            None => {
                self.since = Some(Instant::now());
                self.said = Instant::now();
                tracing::warn!(what = %self.what, %error, "failed; trying again");
            }
            Some(since) if self.said.elapsed() >= Duration::from_secs(60) => {
                self.said = Instant::now();
                tracing::warn!(what = %self.what, seconds = since.elapsed().as_secs(), attempts = self.attempts, %error, "still failing");
            }
            Some(_) => {}
        }
        tokio::time::sleep(self.backoff.pause()).await;
    }

    /// It worked: says so if it had failed before.
    pub fn over(&mut self) {
        if let Some(since) = self.since.take() {
            tracing::info!(what = %self.what, seconds = since.elapsed().as_secs(), attempts = self.attempts, "recovered");
        }
        self.attempts = 0;
        self.backoff = Backoff::default();
    }
}
