//! Rebalances and re-assignments, one at a time, without blocking.
//!
//! ```text
//!  Idle ──assign, Reassign──► ask the sink ──► ask Kafka ──► decide ──► incremental_assign ──► Idle
//!   └────revoke────► flush, tell the sink, wait (bounded) ──► incremental_unassign ──► Idle
//!   └────lost──────► flush, tell the sink ──► incremental_unassign ──► Idle
//! ```
//!
//! librdkafka keeps everything paused between its rebalance and our answer; then all other partitions are taken up at our
//! own positions. A re-assignment that a rebalance overtakes is given up and begun again afterwards.

use super::survey::{Survey, Surveyed};
use super::{Flow, Poller};
use crate::fault::{self, Verdict};
use crate::native::{Rebalance, Seat};
use crate::reading::Reading;
use crate::start::{self, Plan, Refusal};
use k2_model::retry::Backoff;
use k2_model::{Class, Epoch, Error, Event, Partition, Result, StartPosition};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// How long a log may seem shorter than what was read, before that is believed: after an election the new leader learns
/// its own end a little later.
pub(super) const SHORTER_FOR: Duration = Duration::from_secs(5);

/// What is under way.
pub(super) enum Turn {
    Idle,
    Assign(Box<Assign>),
    Revoke(Revoke),
}

impl Turn {
    /// Gives a re-assignment up; an assignment of the group goes on.
    pub(super) fn forget_reassignment(&mut self) {
        if matches!(self, Self::Assign(assign) if !assign.fresh) {
            *self = Self::Idle;
        }
    }
}

/// Partitions on their way to a start.
pub(super) struct Assign {
    /// Whether the group just gave them; otherwise they are being read, and are asked for anew.
    fresh: bool,
    epoch: Epoch,
    partitions: Vec<i32>,
    reply: Option<oneshot::Receiver<Result<Vec<StartPosition>>>>,
    positions: Vec<StartPosition>,
    survey: Option<Survey>,
    retry: Backoff,
    retry_at: Option<Instant>,
    shorter_since: Option<Instant>,
}

/// Partitions on their way out.
pub(super) struct Revoke {
    partitions: Vec<i32>,
    reply: oneshot::Receiver<()>,
    deadline: Instant,
}

/// Why partitions could not start.
enum Unplaced {
    /// For now.
    Later(Error),
    /// For good.
    Never(Error),
}

impl Poller {
    /// Moves the turn on as far as it goes.
    pub(super) fn settle(&mut self, now: Instant) -> Result<Flow> {
        loop {
            match std::mem::replace(&mut self.turn, Turn::Idle) {
                Turn::Idle if self.stopping.is_some() => {
                    if self.intake.readings.is_empty() {
                        return Ok(Flow::End);
                    }
                    let deadline = self.stopping.unwrap_or(now);
                    self.revoke(self.intake.readings.partitions(), deadline)?;
                }
                Turn::Idle => match self.rebalances.pop_front() {
                    Some(rebalance) => self.begin(rebalance, now)?,
                    None if self.reassign && !self.intake.readings.is_empty() => {
                        self.reassign = false;
                        self.ask(self.intake.readings.partitions(), false)?;
                    }
                    None => {
                        self.reassign = false;
                        return Ok(Flow::On);
                    }
                },
                // librdkafka gets its answer when the consumer closes
                Turn::Assign(_) if self.stopping.is_some() => {}
                Turn::Assign(assign) if !assign.fresh && !self.rebalances.is_empty() => self.reassign = true,
                Turn::Assign(mut assign) => {
                    if !self.advance(&mut assign, now)? {
                        self.turn = Turn::Assign(assign);
                        return Ok(Flow::On);
                    }
                }
                Turn::Revoke(mut revoke) => {
                    let waits = matches!(revoke.reply.try_recv(), Err(TryRecvError::Empty));
                    if waits && now < revoke.deadline {
                        self.turn = Turn::Revoke(revoke);
                        return Ok(Flow::On);
                    }
                    if waits {
                        tracing::warn!(
                            topic = self.config.topic, partitions = ?revoke.partitions,
                            "the sink was not done in time with partitions that are taken away; \
                             what it commits later is refused by the table"
                        );
                    }
                    self.release(&revoke.partitions)?;
                }
            }
        }
    }

    fn begin(&mut self, rebalance: Rebalance, now: Instant) -> Result<()> {
        let topic = &self.config.topic;
        match rebalance {
            Rebalance::Assign(partitions) => {
                tracing::info!(topic, ?partitions, "partitions assigned");
                (self.joined, self.caught_up) = (true, false);
                if partitions.is_empty() {
                    self.unanswered = false;
                    self.client.assign(&self.topic, &[]).map_err(|f| self.error("cannot join the group", f))?;
                    return self.take_up(|_| true);
                }
                self.ask(partitions, true)
            }
            Rebalance::Revoke(partitions) => {
                tracing::info!(topic, ?partitions, "partitions revoked");
                self.revoke(partitions, now + self.config.revoke_bound)
            }
            Rebalance::Lost(partitions) => {
                tracing::warn!(topic, ?partitions, "partitions lost: the group has given up on this member");
                let listed = partitions.iter().copied().map(Partition).collect();
                self.intake.announce(Event::Lost { partitions: listed })?;
                self.release(&partitions)
            }
        }
    }

    /// Asks the sink for positions.
    fn ask(&mut self, partitions: Vec<i32>, fresh: bool) -> Result<()> {
        self.epoch += 1;
        let epoch = Epoch(self.epoch);
        let (reply, answer) = oneshot::channel();
        let listed = partitions.iter().copied().map(Partition).collect();
        self.intake.announce(Event::Assign { epoch, partitions: listed, reply })?;
        self.turn = Turn::Assign(Box::new(Assign {
            fresh,
            epoch,
            partitions,
            reply: Some(answer),
            positions: Vec::new(),
            survey: None,
            retry: Backoff::default(),
            retry_at: None,
            shorter_since: None,
        }));
        Ok(())
    }

    /// Tells the sink that partitions go, behind everything that was read of them.
    fn revoke(&mut self, partitions: Vec<i32>, deadline: Instant) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        let listed = partitions.iter().copied().map(Partition).collect();
        self.intake.announce(Event::Revoke { partitions: listed, reply })?;
        for partition in &partitions {
            if let Some(reading) = self.intake.readings.get_mut(*partition) {
                reading.close();
            }
        }
        self.turn = Turn::Revoke(Revoke { partitions, reply: answer, deadline });
        Ok(())
    }

    /// Gives partitions back to librdkafka.
    fn release(&mut self, partitions: &[i32]) -> Result<()> {
        let mut paused = Vec::new();
        for partition in partitions {
            if self.intake.readings.remove(*partition).is_some_and(|r| r.paused) {
                paused.push(*partition);
            }
        }
        self.stats.assigned.store(self.intake.readings.partitions().len(), Ordering::Relaxed);
        // the flag would outlive the assignment
        let resumed = if paused.is_empty() { Ok(()) } else { self.client.pause(&self.topic, &paused, false) };
        self.unanswered = false;
        let done = resumed.and_then(|()| self.client.unassign(&self.topic, partitions));
        done.map_err(|f| self.error("cannot give partitions back", f))?;
        self.take_up(|_| true)
    }

    /// One step of an assignment. Returns whether it is done.
    fn advance(&mut self, assign: &mut Assign, now: Instant) -> Result<bool> {
        if let Some(reply) = &mut assign.reply {
            match reply.try_recv() {
                Ok(positions) => assign.positions = positions?,
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Closed) => {
                    return Err(Error::unknown("the sink gave no positions for the partitions assigned"));
                }
            }
            assign.reply = None;
        }
        if assign.retry_at.is_some_and(|at| now < at) {
            return Ok(false);
        }
        let survey = assign.survey.get_or_insert_with(|| Survey::ask(&self.client, &self.topic, &assign.partitions));
        if !survey.poll(&self.client, &self.topic, &mut self.watch) {
            return Ok(false);
        }
        match self.place_all(assign, now) {
            Ok((surveyed, plans)) => {
                self.install(assign, surveyed, &plans, now)?;
                Ok(true)
            }
            Err(Unplaced::Never(error)) => Err(error),
            Err(Unplaced::Later(error)) => {
                if assign.retry_at.is_none() {
                    tracing::warn!(%error, partitions = ?assign.partitions, "cannot start yet, trying again");
                }
                assign.retry_at = Some(now + assign.retry.pause());
                Ok(false)
            }
        }
    }

    /// Decides where the partitions start.
    fn place_all(&mut self, assign: &mut Assign, now: Instant) -> Result<(Surveyed, Vec<Plan>), Unplaced> {
        let Some(survey) = assign.survey.take() else {
            return Err(Unplaced::Later(Error::retry("Kafka was not asked yet")));
        };
        let surveyed = survey.read(&self.client, &self.config.topic).map_err(|failure| {
            let never = matches!(fault::judge(&failure, false, self.connected), Verdict::Config | Verdict::Fatal);
            let error = self.error("cannot learn where partitions begin and end", failure);
            if never { Unplaced::Never(error) } else { Unplaced::Later(error) }
        })?;
        // the partitions that go on would go on in another topic
        if self.intake.readings.partitions().iter().any(|p| !assign.partitions.contains(p)) {
            self.same_topic(surveyed.identity.topic_id.clone()).map_err(Unplaced::Never)?;
        }
        let mut plans = Vec::with_capacity(assign.partitions.len());
        for partition in &assign.partitions {
            let position = assign.positions.iter().find(|p| p.partition.0 == *partition).ok_or_else(|| {
                let what = "the sink gave no position for a partition";
                Unplaced::Never(Error::unknown(what).at(self.place(*partition)))
            })?;
            let log = *surveyed.logs.get(partition).ok_or_else(|| {
                Unplaced::Later(Error::retry("the brokers told no offsets of a partition").at(self.place(*partition)))
            })?;
            self.bounds.entry(*partition).or_insert(log.end);
            let plan = start::decide(self.config.start, &surveyed.identity, log, position).map_err(|refusal| {
                let shorter = matches!(refusal, Refusal::Truncated { .. });
                let error = refusal.into_error(&surveyed.identity, Partition(*partition));
                let since = *assign.shorter_since.get_or_insert(now);
                if shorter && now.duration_since(since) < SHORTER_FOR {
                    Unplaced::Later(error.with_class(Class::Retry))
                } else {
                    Unplaced::Never(error)
                }
            })?;
            plans.push(plan);
        }
        Ok((surveyed, plans))
    }

    /// Hands the start offsets to librdkafka, in one call.
    fn install(&mut self, assign: &Assign, surveyed: Surveyed, plans: &[Plan], now: Instant) -> Result<()> {
        let seats: Vec<Seat> = plans.iter().map(|plan| plan.seat).collect();
        let Surveyed { identity, before, .. } = surveyed;
        self.intake.identify(identity);
        self.anchor(before)?;
        let cannot = |f| self.error("cannot start reading partitions", f);
        if !assign.fresh {
            self.client.unassign(&self.topic, &assign.partitions).map_err(cannot)?;
        }
        self.client.assign(&self.topic, &seats).map_err(cannot)?;
        if assign.fresh {
            self.unanswered = false;
        }
        for plan in plans {
            let mut reading = Reading::new(assign.epoch, plan, now);
            tracing::debug!(
                place = self.place(plan.seat.partition),
                next = plan.next.0,
                at = plan.seat.offset,
                "reading begins"
            );
            // librdkafka's flag outlives the assignment
            let old = self.intake.readings.remove(plan.seat.partition);
            reading.paused = old.is_some_and(|r| r.paused);
            self.intake.readings.insert(plan.seat.partition, reading);
        }
        // librdkafka had paused the others
        self.take_up(|partition| !assign.partitions.contains(&partition))?;
        self.connected = true;
        self.caught_up = false;
        self.stats.assigned.store(self.intake.readings.partitions().len(), Ordering::Relaxed);
        Ok(())
    }
}
