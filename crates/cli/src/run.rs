//! `k2 run`: ingest until told to stop, or until caught up.
//!
//! The first SIGTERM or ctrl-C drains and exits 0. The second one leaves at once: that is as safe, since nothing counts
//! before it is in the table.

use k2_engine::config::Config;
use k2_engine::supervisor::Failure;
use k2_engine::wiring::{self, RunOptions};
use k2_model::{Error, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Runs the pipelines; returns when they have ended.
pub(crate) async fn run(config: &Config, options: &RunOptions) -> Result<()> {
    arm_failpoints();
    let cannot = |e: std::io::Error| Error::unknown("cannot listen for signals").caused_by(e);
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;

    let running = tokio::select! {
        running = wiring::start(config, options) => running?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let stop = running.token();
    let mut running = std::pin::pin!(running.wait());
    let mut asked = false;
    loop {
        tokio::select! {
            result = &mut running => {
                if result.is_ok() {
                    tracing::info!("stopped; every committed record is safe, the next start goes on from there");
                }
                return result.map_err(told);
            }
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if asked {
            tracing::warn!("second signal: leaving at once; what is not committed will be read again");
            std::process::exit(130);
        }
        asked = true;
        tracing::info!("stopping: committing what is pending");
        stop.cancel();
    }
}

/// The error of the task that failed first, with its name and what is safe.
fn told(failure: Failure) -> Error {
    let Failure { task, error, .. } = failure;
    error.at(format!("task {task}; committed records are safe, everything else is read again at the next start"))
}

/// In builds with failpoints (tests only): when the named point is passed for the n-th time, `K2_KILL_AT=name:n` kills this
/// process as kill -9 does, and `K2_PANIC_AT=name:n` makes the task panic that passes it.
#[allow(clippy::disallowed_methods, reason = "a test hook, not configuration")]
fn arm_failpoints() {
    if !fail::has_failpoints() {
        return;
    }
    for (variable, act) in [("K2_KILL_AT", kill as fn()), ("K2_PANIC_AT", panic)] {
        let Ok(wanted) = std::env::var(variable) else { continue };
        let (name, count) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        let left = std::sync::atomic::AtomicI64::new(count.parse().unwrap_or(1));
        let passed = move || {
            if left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 1 {
                act();
            }
        };
        if let Err(error) = fail::cfg_callback(name, passed) {
            tracing::error!(%error, name, "cannot arm the failpoint");
        }
    }
}

/// As sudden as it gets: no destructor, no flush.
fn kill() {
    #[allow(unsafe_code, reason = "kill(2) on ourselves")]
    // SAFETY: plain system calls without memory arguments.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
    }
}

#[allow(clippy::panic, reason = "that is what it is for")]
fn panic() {
    panic!("asked to by K2_PANIC_AT");
}
