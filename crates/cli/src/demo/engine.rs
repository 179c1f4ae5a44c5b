//! The child process `k2 run`, and the other commands of this binary that the demo calls.
//!
//! A crash here leaves no child behind: on Linux the kernel sends SIGKILL to every child when this process' main thread
//! ends, and tokio kills what is dropped. Children have a process group of their own, so that ctrl-C in the terminal
//! reaches the demo alone, which then stops them in order.

use super::failed;
use super::folder::Folder;
use k2_model::{Error, Result};
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};

/// How long `k2 run` may take to drain and stop. It promises 10 s.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// How long any other command may take.
const TOOL_WITHIN: Duration = Duration::from_secs(120);

/// So much of the log is shown when the engine has failed.
const LOG_LINES_SHOWN: usize = 12;

/// The engine of a demo: at most one process at a time.
#[derive(Debug)]
pub(super) struct Engine {
    binary: PathBuf,
    config: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

/// Resident memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    /// Now.
    pub(super) now: u64,
    /// The most since it started.
    pub(super) peak: u64,
}

impl Engine {
    /// An engine that is not started yet.
    pub(super) fn new(folder: &Folder) -> Result<Self> {
        let binary = std::env::current_exe().map_err(|e| failed("cannot find this program's own file", e))?;
        Ok(Self { binary, config: folder.config(), log: folder.log(), child: None })
    }

    /// Starts `k2 run`; its log is appended to the folder's.
    pub(super) fn start(&mut self) -> Result<u32> {
        let log = self.open_log()?;
        let errors = log.try_clone().map_err(|e| failed("cannot write the engine's log", e))?;
        let mut command = self.command(&["run"]);
        command.stdout(log).stderr(errors);
        let child = command.spawn().map_err(|e| failed("cannot start k2 run", e))?;
        let pid = child.id().unwrap_or_default();
        self.child = Some(child);
        Ok(pid)
    }

    fn open_log(&self) -> Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(|e| failed("cannot write the engine's log", e).at(self.log.display().to_string()))
    }

    /// Its process id, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// What it holds, while it runs and where the system tells.
    pub(super) fn memory(&self) -> Option<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        parse_memory(&status)
    }

    /// Fails if it has ended although nobody stopped it.
    pub(super) fn check(&mut self) -> Result<()> {
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        match child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                self.child = None;
                Err(self.failure(&format!("k2 run has stopped by itself ({status})")))
            }
            Err(e) => Err(failed("cannot watch k2 run", e)),
        }
    }

    /// Kills it with SIGKILL. Says which process it was; 0 if there was none.
    pub(super) async fn kill(&mut self) -> Result<u32> {
        let Some(mut child) = self.child.take() else { return Ok(0) };
        let pid = child.id().unwrap_or_default();
        child.kill().await.map_err(|e| failed("cannot kill k2 run", e))?;
        Ok(pid)
    }

    /// Stops it with SIGTERM and waits; it must leave with exit code 0.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = child.id() {
            terminate(pid);
        }
        match tokio::time::timeout(STOP_WITHIN, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.failure(&format!("k2 run did not end well after SIGTERM ({status})"))),
            Ok(Err(e)) => Err(failed("cannot wait for k2 run", e)),
            Err(_) => {
                let _ = child.kill().await;
                Err(self.failure(&format!("k2 run was still there {} s after SIGTERM", STOP_WITHIN.as_secs())))
            }
        }
    }

    /// Runs another command of this binary to its end, with the demo's configuration.
    pub(super) async fn tool(&self, args: &[&str]) -> Result<Output> {
        let name = args.first().copied().unwrap_or_default();
        let running = self.command(args).output();
        match tokio::time::timeout(TOOL_WITHIN, running).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(e)) => Err(failed(&format!("cannot run k2 {name}"), e)),
            Err(_) => Err(Error::unknown(format!("k2 {name} took longer than {} s", TOOL_WITHIN.as_secs()))),
        }
    }

    /// An error that shows the end of the engine's log.
    pub(super) fn failure(&self, what: &str) -> Error {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        let error = Error::unknown(what).fix(format!("Its whole log: {}", self.log.display()));
        if tail.is_empty() { error } else { error.caused_by(format!("it logged\n    {}\n", tail.join("\n    "))) }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("-c").arg(&self.config).args(["--log-format", "text"]).args(args);
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        // what the user has set for his own K2 must not reach the demo's: the environment outranks the file
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("K2_")) {
            command.env_remove(name);
        }
        die_with_this_process(&mut command);
        command
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "there is no safe way to ask the kernel for it")]
fn die_with_this_process(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: the closure runs between fork and exec and makes two system calls, which are async-signal-safe and touch no
    // memory.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // killed in between: the signal will never come
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_this_process(_: &mut Command) {}

#[allow(unsafe_code, reason = "the standard library can only send SIGKILL")]
fn terminate(pid: u32) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: kill(2) touches no memory. The process is our child and not waited for yet, so its id is still its own.
        unsafe {
            libc::kill(pid, libc::SIGTERM);
        }
    }
}

fn parse_memory(status: &str) -> Option<Memory> {
    let bytes = |field: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(field))?;
        Some(rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
    };
    Some(Memory { now: bytes("VmRSS:")?, peak: bytes("VmHWM:")? })
}

#[cfg(test)]
#[path = "engine/tests.rs"]
mod tests;
