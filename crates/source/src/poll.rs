//! The loop of the thread that polls. It never blocks but in librdkafka's own wait, for a tenth of a second, and
//! in `ask_topic` while no broker can be reached, for a third.
//!
//! Each round: commands, what librdkafka noted, the turn (a rebalance or re-assignment under way), faults, events out,
//! partitions held back or let go, records in.
//!
//! Back-pressure: when an event cannot leave, nothing is taken in. For [`PATIENCE`] the loop just waits; pausing throws
//! away what librdkafka prefetched, so it is not done for a hiccup. Then all partitions are paused and polling goes on,
//! so that rebalances are served and the group keeps us, however long a commit takes.

mod mend;
mod survey;
mod turn;
mod watch;

use crate::fault::{self, Verdict};
use crate::handle::Counters;
use crate::intake::Intake;
use crate::native::{Client, Consumer, Failure, Kind, Note, Rebalance, Seat, Waker, code};
use crate::outbox::{Outbox, SinkGone};
use crate::{SourceConfig, start};
use k2_model::{Command, Error, Event, NextOffset, Partition, Result};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};
use turn::Turn;
use watch::Watch;

/// Records taken from librdkafka in one call, at most.
const ROOM: usize = 4096;
/// How long a full channel is waited for before the partitions are paused.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long an idle round waits. Records and commands end the wait at once.
const IDLE: Duration = Duration::from_millis(100);
/// How long a round waits while an answer of the sink or of a broker is due; nothing wakes us for these.
const ATTENTIVE: Duration = Duration::from_millis(3);
/// How long a stop waits for the sink to commit, so that the process can be gone in 10 s.
const STOP_BOUND: Duration = Duration::from_secs(6);
/// How long leaving the group may take.
const LEAVE_BOUND: Duration = Duration::from_secs(2);

/// Whether the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    End,
}

impl From<SinkGone> for Flow {
    /// Whoever stops listening has its own reason, and tells it to whom it concerns.
    fn from(_: SinkGone) -> Self {
        Self::End
    }
}

/// The state of the thread.
pub(crate) struct Poller {
    config: SourceConfig,
    topic: CString,
    consumer: Consumer,
    client: Arc<Client>,
    commands: Receiver<Command>,
    stats: Arc<Counters>,
    intake: Intake,
    epoch: u64,
    turn: Turn,
    /// Rebalances that wait for their turn; librdkafka raises one at a time.
    rebalances: VecDeque<Rebalance>,
    /// Whether librdkafka waits for the answer to one.
    unanswered: bool,
    /// Whether the positions of all partitions are to be asked for anew.
    reassign: bool,
    mending: Option<mend::Mending>,
    watch: Watch,
    /// When a stop stops waiting.
    stopping: Option<Instant>,
    blocked_since: Option<Instant>,
    /// All partitions are paused, because events cannot leave.
    choked: bool,
    /// Whether there was an assignment yet, an empty one included.
    joined: bool,
    /// Whether there ever were partitions, so the brokers let us in.
    connected: bool,
    /// The end offsets when the partitions were first assigned, for `until_caught_up`.
    bounds: BTreeMap<i32, i64>,
    caught_up: bool,
}

impl Poller {
    /// Creates the consumer. It joins its group in [`run`](Self::run).
    pub(crate) fn connect(
        config: SourceConfig,
        properties: &[(String, String)],
        commands: Receiver<Command>,
        stats: Arc<Counters>,
        outbox: Outbox,
    ) -> Result<Self, Failure> {
        let topic = CString::new(config.topic.as_str())
            .map_err(|_| Failure::new(code::INVALID_ARG, "the topic's name holds a NUL byte"))?;
        let client = Client::new(Kind::Member, properties)?;
        let intake = Intake::new(&config, &client, Arc::clone(&stats), outbox);
        Ok(Self {
            consumer: Consumer::new(&client, ROOM),
            client,
            topic,
            commands,
            stats,
            intake,
            epoch: 0,
            turn: Turn::Idle,
            rebalances: VecDeque::new(),
            unanswered: false,
            reassign: false,
            mending: None,
            watch: Watch::new(Instant::now()),
            stopping: None,
            blocked_since: None,
            choked: false,
            joined: false,
            connected: false,
            bounds: BTreeMap::new(),
            caught_up: false,
            config,
        })
    }

    /// Ends a wait of the loop.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        self.consumer.waker()
    }

    /// Reads until told to stop, until the sink is gone, or until something is wrong.
    pub(crate) fn run(&mut self) -> Result<()> {
        self.client.subscribe(&self.topic).map_err(|f| self.error("cannot subscribe", f))?;
        while self.round()? == Flow::On {}
        Ok(())
    }

    /// Leaves the group, in bounded time.
    pub(crate) fn leave(&mut self) -> bool {
        let unanswered = self.unanswered || !self.rebalances.is_empty();
        self.consumer.close(&self.topic, unanswered, Instant::now() + LEAVE_BOUND)
    }

    fn round(&mut self) -> Result<Flow> {
        let now = Instant::now();
        if self.obey()? == Flow::End || self.stopping.is_some_and(|deadline| now >= deadline) {
            return Ok(Flow::End);
        }
        self.listen(now)?;
        if self.settle(now)? == Flow::End {
            return Ok(Flow::End);
        }
        self.mend(now)?;
        self.watch(now)?;
        if self.intake.is_due(now) {
            self.intake.flush()?;
        }
        self.report_caught_up()?;
        match self.intake.outbox.deliver() {
            Ok(true) => (self.blocked_since, self.choked) = (None, false),
            Ok(false) => {
                let since = *self.blocked_since.get_or_insert(now);
                self.choked |= now.duration_since(since) >= PATIENCE;
            }
            Err(gone) => return Ok(gone.into()),
        }
        self.hold_back(now)?;
        self.stats.paused.store(self.choked, Ordering::Relaxed);
        self.stats.queued.store(self.intake.outbox.len(), Ordering::Relaxed);
        self.poll(now)
    }

    /// Takes the commands that have arrived.
    fn obey(&mut self) -> Result<Flow> {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.command(command),
                Err(TryRecvError::Empty) => return Ok(Flow::On),
                // nobody can stop us any more, so nobody wants us; the sink's end tells
                Err(TryRecvError::Disconnected) => return Ok(Flow::On),
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Reassign => {
                self.intake.discard();
                self.reassign = true;
                self.caught_up = false;
                // what was asked before may be out of date
                self.turn.forget_reassignment();
            }
            Command::Committed(offsets) => self.commit(&offsets),
            Command::Stop => {
                let bound = self.config.revoke_bound.min(STOP_BOUND);
                self.stopping.get_or_insert(Instant::now() + bound);
            }
        }
    }

    /// Tells the group how far the table is, for lag tools. Whether it works does not matter.
    fn commit(&self, offsets: &BTreeMap<Partition, NextOffset>) {
        let ours = self.intake.readings.partitions();
        let seats: Vec<_> = offsets
            .iter()
            .filter(|(p, _)| ours.contains(&p.0))
            .map(|(p, next)| Seat { partition: p.0, offset: next.0, leader_epoch: None })
            .collect();
        if seats.is_empty() {
            return;
        }
        if let Err(failure) = self.client.commit(&self.topic, &seats) {
            tracing::debug!(error = %failure, "the group's offsets were not written");
        }
    }

    /// Takes what the callbacks noted and what came with the records.
    fn listen(&mut self, now: Instant) -> Result<()> {
        while let Some(note) = self.client.next_note() {
            match note {
                Note::Rebalance(rebalance) => {
                    self.unanswered = true;
                    self.rebalances.push_back(rebalance);
                }
                Note::Error(failure) => self.judge(-1, failure, now)?,
            }
        }
        for (partition, failure) in std::mem::take(&mut self.intake.failures) {
            self.judge(partition, failure, now)?;
        }
        self.intake.check()
    }

    fn judge(&mut self, partition: i32, failure: Failure, now: Instant) -> Result<()> {
        match fault::judge(&failure, partition >= 0, self.connected) {
            Verdict::Transient => {
                self.watch.trouble(&failure, now);
                Ok(())
            }
            Verdict::Missing => {
                self.watch.hasten(now);
                Ok(())
            }
            // its reading notes the fault already, and `mend` acts on it
            Verdict::Replace => Ok(()),
            Verdict::Config => Err(self.error("Kafka refuses the consumer", failure)),
            Verdict::Fatal => {
                let failure = self.client.fatal().unwrap_or(failure);
                Err(self.error("Kafka has shut the consumer out", failure))
            }
        }
    }

    fn error(&self, what: &str, failure: Failure) -> Error {
        fault::error(what, failure)
            .at(format!("topic {}", self.config.topic))
            .at(format!("group {}", self.config.group))
    }

    /// Reports, once per change, that everything assigned was read to its bound and handed over.
    fn report_caught_up(&mut self) -> Result<()> {
        let quiet = self.config.until_caught_up
            && !self.caught_up
            && self.joined
            && self.stopping.is_none()
            && matches!(self.turn, Turn::Idle)
            && self.rebalances.is_empty()
            && !self.reassign
            && !self.intake.is_open()
            && self.intake.outbox.is_empty();
        if !quiet {
            return Ok(());
        }
        let bound = |p: &i32| self.bounds.get(p).copied().unwrap_or(i64::MAX);
        if self.intake.readings.iter().all(|(p, r)| r.next().0 >= bound(&p)) {
            self.caught_up = true;
            self.intake.announce(Event::CaughtUp)?;
        }
        Ok(())
    }

    /// Pauses and resumes partitions, where that has changed.
    fn hold_back(&mut self, now: Instant) -> Result<()> {
        let (limit, choked) = (self.config.rate_limit, self.choked);
        let (mut hold, mut go) = (Vec::new(), Vec::new());
        for (partition, reading) in self.intake.readings.iter_mut() {
            let held = reading.throttled(limit, now) || choked || reading.is_closed();
            if held != reading.paused {
                reading.paused = held;
                if held { hold.push(partition) } else { go.push(partition) }
            }
        }
        for (partitions, pause) in [(hold, true), (go, false)] {
            if !partitions.is_empty() {
                self.client
                    .pause(&self.topic, &partitions, pause)
                    .map_err(|f| self.error("cannot pause or resume partitions", f))?;
            }
            if !pause {
                self.take_up(|partition| partitions.contains(&partition))?;
            }
        }
        Ok(())
    }

    /// Sends librdkafka to our own positions, after partitions were paused: by itself it may go on one record too late
    /// (see `native`).
    fn take_up(&self, which: impl Fn(i32) -> bool) -> Result<()> {
        let running = self.intake.readings.iter().filter(|(p, r)| which(*p) && !r.is_closed());
        let seats: Vec<Seat> = running.map(|(p, r)| r.seat(p)).collect();
        if seats.is_empty() {
            return Ok(());
        }
        self.client.seek(&self.topic, &seats).map_err(|f| self.error("cannot take partitions up again", f))
    }

    /// Takes records in, or waits.
    fn poll(&mut self, now: Instant) -> Result<Flow> {
        if self.blocked_since.is_some() && !self.choked {
            return match self.commands.recv_timeout(Duration::from_millis(1)) {
                Ok(command) => {
                    self.command(command);
                    Ok(Flow::On)
                }
                Err(RecvTimeoutError::Timeout) => Ok(Flow::On),
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(Duration::from_millis(1));
                    Ok(Flow::On)
                }
            };
        }
        // one poll must not bring many seconds' worth of a limited partition
        let limit = self.config.rate_limit.and_then(|l| usize::try_from(l).ok()).unwrap_or(ROOM).clamp(1, ROOM);
        let most = self.intake.appetite(ROOM).min(limit);
        if self.consume(most, Duration::ZERO, now) > 0 {
            return Ok(Flow::On);
        }
        if self.intake.is_open() && self.intake.outbox.sink_is_idle() {
            // nothing more has arrived and the sink has nothing to do: no reason to keep rows back
            self.intake.flush()?;
            return Ok(Flow::On);
        }
        let wait = self.tick(now);
        self.consume(1, wait, now);
        Ok(Flow::On)
    }

    fn consume(&mut self, most: usize, wait: Duration, now: Instant) -> usize {
        let Self { consumer, intake, .. } = self;
        let came = consumer.consume(most, wait, |polled| intake.take(polled, now));
        if came > 0 {
            self.watch.sign_of_life();
        }
        came
    }

    /// How long to wait for the next record.
    fn tick(&self, now: Instant) -> Duration {
        if !matches!(self.turn, Turn::Idle) || self.mending.is_some() || self.watch.is_urgent(now) {
            return ATTENTIVE;
        }
        let until_due = self.intake.due_at().map_or(IDLE, |at| at.saturating_duration_since(now));
        let most = if self.choked || self.config.rate_limit.is_some() { Duration::from_millis(10) } else { IDLE };
        until_due.min(most).max(Duration::from_millis(1))
    }

    /// A place of ours, for messages.
    fn place(&self, partition: i32) -> String {
        start::place(&self.config.topic, Partition(partition))
    }
}
