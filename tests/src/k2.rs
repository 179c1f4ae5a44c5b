//! The `k2` binary as its users run it: a child process with a configuration file, an environment and arguments.
//!
//! [`Deployment`] is a folder with a configuration, a catalog and a warehouse; [`Launch`] is a command line in it;
//! [`Process`] is a running one, killed when it is dropped and when the test process dies.

mod deployment;
mod nursery;

pub use deployment::{Deployment, Pipeline, Silver};

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The lines of a log that a failing test shows.
const LAST_LINES: usize = 40;

/// A signal to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `kill -9`.
    Kill,
    /// Asks it to end.
    Term,
    /// ctrl-C.
    Int,
    /// Freezes it.
    Stop,
    /// Thaws it.
    Cont,
}

/// A command line that is about to run.
#[derive(Debug)]
pub struct Launch {
    command: Command,
    logs: PathBuf,
    name: String,
}

impl Launch {
    /// `k2 ARGS…` in a folder; the output goes to files under `logs` whose names begin with `name`.
    fn new(folder: &Path, logs: &Path, name: String) -> Self {
        let mut command = Command::new(binary());
        command.current_dir(folder).stdin(Stdio::null());
        // the variables of the tests are no settings of K2, and the developer's own must not leak in
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("K2_")) {
            command.env_remove(key);
        }
        Self { command, logs: logs.to_owned(), name }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Process {
        let out = self.logs.join(format!("{}.out", self.name));
        let err = self.logs.join(format!("{}.log", self.name));
        self.command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let child = nursery::spawn(self.command).unwrap_or_else(|e| panic!("cannot run k2: {e}"));
        Process { pid: child.id(), child: Mutex::new(child), out, err, name: self.name, exit: None }
    }

    /// Runs it to its end.
    pub async fn run(self, deadline: Duration) -> Exit {
        self.start().wait(deadline).await
    }
}

/// How a process ended and what it said.
#[derive(Debug, Clone)]
pub struct Exit {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error: the log.
    pub log: String,
}

impl Exit {
    /// Panics unless the exit code is this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "k2 ended with {:?}, not {code}; it said:\n{}\n{}",
            self.code,
            last_lines(&self.log),
            last_lines(&self.stdout)
        );
        self
    }

    /// Panics unless the exit code is 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.expect(0)
    }
}

/// A running `k2`.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    pid: u32,
    out: PathBuf,
    err: PathBuf,
    name: String,
    exit: Option<Exit>,
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal. The process has not been waited for, so the id is still its own.
    pub fn signal(&self, signal: Signal) {
        let number = match signal {
            Signal::Kill => libc::SIGKILL,
            Signal::Term => libc::SIGTERM,
            Signal::Int => libc::SIGINT,
            Signal::Stop => libc::SIGSTOP,
            Signal::Cont => libc::SIGCONT,
        };
        let mut child = self.child.lock().unwrap();
        if matches!(child.try_wait(), Ok(None)) {
            #[allow(unsafe_code, reason = "kill(2) has no safe form in std; the child is alive and not yet reaped")]
            unsafe {
                libc::kill(i32::try_from(self.pid).unwrap(), number);
            }
        }
    }

    /// Whether it still runs (or is frozen).
    pub fn is_running(&self) -> bool {
        matches!(self.child.lock().unwrap().try_wait(), Ok(None))
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(mut self) -> Exit {
        self.signal(Signal::Kill);
        self.end(Duration::from_secs(30)).await
    }

    /// SIGTERM, and waits until it is gone.
    pub async fn terminate(mut self, deadline: Duration) -> Exit {
        self.signal(Signal::Term);
        self.end(deadline).await
    }

    /// Waits until it ends by itself; panics (and kills it) when the deadline passes.
    pub async fn wait(mut self, deadline: Duration) -> Exit {
        self.end(deadline).await
    }

    async fn end(&mut self, deadline: Duration) -> Exit {
        let end = Instant::now() + deadline;
        let status = loop {
            if let Some(status) = self.child.lock().unwrap().try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "{} did not end within {deadline:?}", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let exit = Exit { code: status.code(), stdout: self.stdout(), log: self.log() };
        self.exit = Some(exit.clone());
        exit
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap_or_default()).into_owned()
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).unwrap_or_default()).into_owned()
    }

    /// Its resident memory in bytes; 0 when it is gone.
    pub fn rss(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// The most memory it has had resident, in bytes; 0 when it is gone.
    pub fn peak_rss(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    /// The CPU time it has used, user and system; zero when it is gone.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // fields 14 and 15, counted behind the name, which may hold blanks
        let fields: Vec<u64> =
            stat.rsplit(") ").next().unwrap_or("").split(' ').filter_map(|f| f.trim().parse().ok()).collect();
        // the state letter does not parse, so that utime and stime are numbers 10 and 11
        Duration::from_millis(fields.get(10..12).map_or(0, |t| t.iter().sum::<u64>()) * 10)
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit.is_none() {
            let child = self.child.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            println!("--- the end of {}'s log:\n{}", self.name, last_lines(&self.log()));
        }
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// The binary under test: `K2_TEST_BINARY`, else the one that cargo built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::vars_os().find_map(|(key, value)| (key == "K2_TEST_BINARY").then_some(value)) {
        return path.into();
    }
    // target/<profile>/deps/e2e-…
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("k2");
    assert!(path.is_file(), "{} is not there: `cargo build --workspace` first, or run `make test`", path.display());
    path
}
