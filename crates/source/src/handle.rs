//! What the rest of the process holds of a source: its handle, its figures, and the thread behind them.

use crate::fault;
use crate::native::Waker;
use crate::outbox::Outbox;
use crate::poll::Poller;
use crate::{SourceConfig, config};
use k2_model::{Budget, Class, Command, Error, Event, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The figures of a source, counted by its thread.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) paused: AtomicBool,
    pub(crate) assigned: AtomicUsize,
    pub(crate) queued: AtomicUsize,
    /// Set when the source has ended, before anybody has taken notice: why, with the error's class; none: it was asked to.
    pub(crate) ended: OnceLock<Option<(Class, String)>>,
}

/// What a source has done so far and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceStats {
    /// Records put into batches.
    pub records: u64,
    /// Bytes of these records.
    pub bytes: u64,
    /// Whether all partitions are paused because the sink or the budget takes nothing.
    pub paused: bool,
    /// Partitions that are being read.
    pub assigned: usize,
    /// Events that wait for the channel.
    pub queued: usize,
}

/// A running source. Dropping it neither stops the source nor waits for it.
pub struct SourceHandle {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
    stats: Arc<Counters>,
    thread: JoinHandle<()>,
}

impl std::fmt::Debug for SourceHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceHandle").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl SourceHandle {
    /// How the source has ended, as soon as it has: [`Event::Ended`] waits in the channel behind what came before it, and whoever
    /// reads there may be waiting for something else.
    pub fn ended(&self) -> Option<Result<()>> {
        let why = self.stats.ended.get()?;
        Some(why.as_ref().map_or(Ok(()), |(class, text)| Err(Error::new(*class, text.clone()))))
    }

    /// Tells the source something. Never blocks. Nobody hears it once the source ended.
    pub fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.waker.wake();
        }
    }

    /// The figures at this moment.
    pub fn stats(&self) -> SourceStats {
        SourceStats {
            records: self.stats.records.load(Ordering::Relaxed),
            bytes: self.stats.bytes.load(Ordering::Relaxed),
            paused: self.stats.paused.load(Ordering::Relaxed),
            assigned: self.stats.assigned.load(Ordering::Relaxed),
            queued: self.stats.queued.load(Ordering::Relaxed),
        }
    }

    /// Whether the thread is over, the connection closed.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread, until the deadline. Returns whether it was over by then; if not, it is left alone, which
    /// is safe: it holds nothing that the process needs to end.
    pub fn join(self, deadline: Instant) -> bool {
        while !self.thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.thread.join().is_ok()
    }
}

/// Starts a source on a thread of its own, `k2-source-<topic>`. Events go into `events`, in order; when the channel or
/// the budget is full the partitions are paused, and polling goes on. [`Event::Ended`] is always the last one.
///
/// # Errors
/// A property that librdkafka does not take, or no thread to be had.
pub fn spawn(config: SourceConfig, budget: Budget, events: tokio::sync::mpsc::Sender<Event>) -> Result<SourceHandle> {
    let properties = config::member_properties(&config)?;
    let stats = Arc::new(Counters::default());
    let (commands, received) = mpsc::channel();
    let outbox = Outbox::new(events.clone(), budget);
    let poller = Poller::connect(config.clone(), &properties, received, Arc::clone(&stats), outbox)
        .map_err(|failure| fault::error("cannot create the Kafka consumer", failure))?;
    let waker = poller.waker();
    let thread = std::thread::Builder::new()
        .name(format!("k2-source-{}", config.topic))
        .spawn({
            let stats = Arc::clone(&stats);
            move || run(poller, &events, &stats)
        })
        .map_err(|e| Error::retry("cannot start the thread of a source").caused_by(e))?;
    Ok(SourceHandle { commands, waker, stats, thread })
}

/// The life of the thread. The end is told in any case, a panic included.
fn run(mut poller: Poller, events: &tokio::sync::mpsc::Sender<Event>, stats: &Counters) {
    let result = catch_unwind(AssertUnwindSafe(|| poller.run()))
        .unwrap_or_else(|_| Err(Error::unknown("the thread of the source panicked")));
    let left = catch_unwind(AssertUnwindSafe(|| poller.leave())).unwrap_or(false);
    tracing::debug!(left_group = left, "the source ended");
    let _ = stats.ended.set(result.as_ref().err().map(|e| (e.class(), e.to_string())));
    // the sink drains until it sees this; if it is gone, nobody has to know
    let _ = events.blocking_send(Event::Ended(result));
    // joins librdkafka's threads, which may take a moment; nobody waits for that
    drop(poller);
}
