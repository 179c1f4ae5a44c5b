//! Fail-fast supervision: the only place that spawns tasks (ARCHITECTURE.md, invariant 6).
//!
//! Every task has a name. The first one that fails, panics or ends before it was asked to cancels all others; they drain
//! within [`DRAIN`], and the process ends with the name of the task and the cause. Nothing dies unnoticed and nothing
//! goes on alone.

use k2_model::{Error, Result};
use std::collections::HashMap;
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long tasks may take to drain: flush ≤ 3 s, commit ≤ 5 s.
pub const DRAIN: Duration = Duration::from_secs(8);

/// Why the process must end.
#[derive(Debug)]
pub struct Failure {
    /// The task that ended first.
    pub task: String,
    /// Its error, with its class.
    pub error: Error,
    /// Tasks that had not drained when the time was up.
    pub hanging: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task {} failed: {}", self.task, self.error)?;
        if !self.hanging.is_empty() {
            write!(f, " (not drained in time: {})", self.hanging.join(", "))?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// A set of named tasks that live and end together.
#[derive(Debug)]
pub struct Supervisor {
    tasks: JoinSet<Result<()>>,
    names: HashMap<Id, String>,
    stop: CancellationToken,
    drain: Duration,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new(), stop: CancellationToken::new(), drain: DRAIN }
    }
}

impl Supervisor {
    /// The token that tells all tasks to drain and end.
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Starts a task. It may end with `Ok` when its work is done or after the token was cancelled.
    pub fn spawn(&mut self, name: impl Into<String>, task: impl Future<Output = Result<()>> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.names.insert(handle.id(), name.into());
    }

    /// Waits until all tasks have ended well, or the first has failed and the others have drained.
    /// `finite`: tasks are expected to end by themselves (`--until-caught-up`).
    pub async fn run(mut self, finite: bool) -> Result<(), Failure> {
        let mut first: Option<(String, Error)> = None;
        let mut deadline = None;
        loop {
            let ended = tokio::select! {
                ended = self.tasks.join_next_with_id() => ended,
                () = self.stop.cancelled(), if deadline.is_none() => {
                    deadline = Some(tokio::time::Instant::now() + self.drain);
                    continue;
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(tokio::time::Instant::now)), if deadline.is_some() => break,
            };
            let Some(ended) = ended else { break };
            let (name, result) = self.unwrap(ended);
            let error = match result {
                Ok(()) if finite || self.stop.is_cancelled() => {
                    tracing::debug!(task = %name, "ended");
                    continue;
                }
                Ok(()) => Error::unknown("the task ended although nobody asked it to"),
                Err(error) => error,
            };
            if first.is_none() {
                tracing::error!(task = %name, %error, "failed; stopping everything");
                first = Some((name, error));
                self.stop.cancel();
            } else {
                tracing::warn!(task = %name, %error, "failed while stopping");
            }
        }
        let hanging: Vec<String> = self.names.into_values().collect();
        if !hanging.is_empty() {
            tracing::warn!(tasks = %hanging.join(", "), "not drained in time; what they held will be read again");
        }
        match first {
            None => Ok(()),
            Some((task, error)) => Err(Failure { task, error, hanging }),
        }
    }

    fn unwrap(&mut self, ended: Result<(Id, Result<()>), JoinError>) -> (String, Result<()>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(e) => {
                let id = e.id();
                let what = match e.try_into_panic() {
                    Ok(panic) => format!("panicked: {}", panic_text(panic.as_ref())),
                    Err(_) => "was aborted".to_owned(),
                };
                (id, Err(Error::unknown(format!("the task {what}"))))
            }
        };
        (self.names.remove(&id).unwrap_or_else(|| "unnamed".to_owned()), result)
    }
}

/// What a panic said.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "(no text)".to_owned())
}

#[cfg(test)]
#[path = "supervisor/tests.rs"]
mod tests;
