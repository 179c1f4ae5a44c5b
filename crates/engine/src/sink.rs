//! A sink: the records of one source into its table, exactly once. What is written where is the business of a
//! [`Lane`]: bronze writes raw records into one table, silver writes rows into one and rejects into another.
//!
//! ## Overview
//! One task per pipeline owns its table's writer. It takes [`Event`]s in order, hands batches to its lane, and commits
//! files and positions together: at most every commit interval, sooner when a file is full, on a revocation, at the end.
//!
//! ## Consistency
//! 1. Rows of an assignment that has ended are dropped ([`Cursors::is_live`]).
//! 2. Spans of a partition abut ([`Cursors::advance`]); a commit starts at the table's position.
//! 3. When in doubt - fenced, table changed, store failing - everything uncommitted is dropped, and the source is told to
//!    ask for positions again. Nothing is kept that could overlap with what is in the table.
//! 4. What a lane decides with a commit and carries out after it ([`Lane::committed`]) is carried out before anything else is
//!    committed, and before positions are handed out.
//!
//! ## Retries, cancellation, crash leftovers
//! A failing store or catalog is waited for without limit while the channel fills up and the source pauses. When asked
//! to stop, the sink flushes and commits within [`crate::supervisor::DRAIN`]; what does not make it is read again.
//! A crash leaves files that no snapshot refers to.

use crate::pending::{Cursors, Pending};
use crate::supervisor::DRAIN;
use iceberg::spec::{DataFile, TableMetadataRef};
use iceberg::table::Table;
use k2_lake::contract::TableContract;
use k2_lake::decision::{Proposal, TableForm};
use k2_lake::gate::{Gate, Outcome};
use k2_lake::store::Stores;
use k2_model::patience::Patience;
use k2_model::{
    Batch, BatchId, Class, Command, Epoch, Error, Event, NextOffset, Partition, Permit, Result, SourceState, StartAt,
    StartPosition, TopicIdentity, clock,
};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Tells the source something; never blocks.
pub(crate) type Commands = Arc<dyn Fn(Command) + Send + Sync>;

/// What a sink works with, whatever its kind.
pub(crate) struct Desk<R> {
    /// The pipeline's name, for logs.
    pub(crate) pipeline: String,
    /// The topic it reads.
    pub(crate) topic: Arc<str>,
    /// The gate to its table.
    pub(crate) gate: Gate,
    /// Where files go.
    pub(crate) stores: Stores,
    /// The table as loaded and checked.
    pub(crate) table: TableMetadataRef,
    /// At most one commit in this time, unless a file is full.
    pub(crate) commit_interval: Duration,
    /// End when the source has caught up.
    pub(crate) until_caught_up: bool,
    /// From the source.
    pub(crate) events: Receiver<Event<R>>,
    /// To the source.
    pub(crate) commands: Commands,
}

/// What differs between the kinds of sinks.
pub(crate) trait Lane: Send {
    /// The records as they arrive.
    type Rows: Send;
    /// The open files of a batch.
    type Files: Send;

    /// The contract that the table follows.
    fn contract(&self) -> TableContract;

    /// Opens the files of a new batch.
    fn open(&self, table: &TableMetadataRef, stores: &Stores) -> Result<Self::Files>;

    /// Only the rows of these partitions.
    fn only(rows: Self::Rows, partitions: &HashSet<i32>) -> Result<Self::Rows>;

    /// Encodes rows into the open files.
    fn write(
        &mut self,
        files: &mut Self::Files,
        table: &TableMetadataRef,
        arrival: Arrival<Self::Rows>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Bytes that the open files hold in memory.
    fn pending_bytes(files: &Self::Files) -> u64;

    /// Whether a file is full, so that it is time to commit.
    fn is_full(files: &Self::Files) -> bool;

    /// Completes the files: those of the table, with whatever else the commit has to carry put into the proposal.
    fn finish(
        &mut self,
        files: Self::Files,
        proposal: &mut Proposal,
    ) -> impl Future<Output = Result<Vec<DataFile>>> + Send;

    /// Drops open files.
    fn abort(files: Self::Files) -> impl Future<Output = ()> + Send;

    /// The table and its position, for partitions that are being assigned: read afresh, after carrying out what the position
    /// says is decided about them and may not be done yet.
    fn head(
        &mut self,
        gate: &Gate,
        partitions: &[Partition],
    ) -> impl Future<Output = Result<(Table, Option<SourceState>)>> + Send;

    /// A batch of so many rows is in the table: carries out what was decided with it.
    fn committed(&mut self, proposal: &Proposal, rows: u64) -> impl Future<Output = Result<()>> + Send;
}

/// The records of a batch, with what is the same for all of them.
pub(crate) struct Arrival<R> {
    /// The records.
    pub(crate) rows: R,
    /// Where they come from.
    pub(crate) identity: Arc<TopicIdentity>,
    /// When the process received them (µs, UTC).
    pub(crate) received_at: i64,
}

/// A running sink.
struct Sink<L: Lane> {
    desk: Desk<L::Rows>,
    lane: L,
    cursors: Cursors,
    pending: Option<Pending<L::Files>>,
    /// The store or catalog failed, and the batch was dropped for it.
    trouble: Patience,
    /// Nothing has been committed yet by this process.
    first: bool,
}

/// The first commit of a process does not wait for the interval: a restart shows that it works, and readers see fresh
/// rows, within a second.
const FIRST_COMMIT: Duration = Duration::from_millis(200);

/// For the last commit after the source has failed, before the failure is told: others still have to drain, and all of it
/// has to end within 10 s.
const LAST_WORD: Duration = Duration::from_secs(2);

/// What to do after an event.
enum Flow {
    Continue,
    Done,
}

/// Runs a sink until stopped, caught up (if asked to), or failed.
pub(crate) async fn run<L: Lane>(desk: Desk<L::Rows>, lane: L, stop: CancellationToken) -> Result<()> {
    let trouble = Patience::new(format!("write to table {}", desk.gate.ident()));
    let commands = Arc::clone(&desk.commands);
    let mut sink = Sink { desk, lane, cursors: Cursors::default(), pending: None, trouble, first: true };
    let result = sink.work(&stop).await;
    // also on an error: records that come in now would only be dropped
    commands(Command::Stop);
    result
}

impl<L: Lane> Sink<L> {
    async fn work(&mut self, stop: &CancellationToken) -> Result<()> {
        loop {
            let interval =
                if self.first { FIRST_COMMIT.min(self.desk.commit_interval) } else { self.desk.commit_interval };
            let due = self.pending.as_ref().map(|p| p.since + interval);
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.drain(DRAIN.mul_f32(0.9)).await,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if bounded(stop, self.commit()).await?.is_none() {
                        return Ok(());
                    }
                }
                event = self.desk.events.recv() => {
                    let event = event.unwrap_or_else(|| Event::Ended(Err(Error::unknown("the source is gone without a word"))));
                    match bounded(stop, self.handle(event)).await? {
                        Some(Flow::Continue) => {}
                        Some(Flow::Done) | None => return Ok(()),
                    }
                }
            }
        }
    }

    /// Stops intake and commits what is pending, within the bound. What is in the channel will be read again.
    async fn drain(&mut self, bound: Duration) -> Result<()> {
        (self.desk.commands)(Command::Stop);
        match timeout(bound, self.commit()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(pipeline = %self.desk.pipeline, %error, "last commit failed; its records will be read again")
            }
            Err(_) => {
                tracing::warn!(pipeline = %self.desk.pipeline, "last commit took too long; its records will be read again")
            }
        }
        Ok(())
    }

    async fn handle(&mut self, event: Event<L::Rows>) -> Result<Flow> {
        match event {
            Event::Batch(batch) => self.take(batch).await?,
            Event::Assign { epoch, partitions, reply } => {
                // a source that no longer waits is ending; its own event tells why
                match self.positions(epoch, &partitions).await {
                    Ok(positions) => drop(reply.send(Ok(positions))),
                    Err(error) => {
                        drop(reply.send(Err(Error::new(error.class(), error.what()))));
                        return Err(error);
                    }
                }
            }
            Event::Revoke { partitions, reply } => {
                if self.pending_touches(&partitions) {
                    self.commit().await?;
                }
                for partition in &partitions {
                    self.cursors.remove(*partition);
                }
                tracing::info!(pipeline = %self.desk.pipeline, partitions = ?numbers(&partitions), "revoked");
                let _ = reply.send(());
            }
            Event::Lost { partitions } => {
                tracing::warn!(pipeline = %self.desk.pipeline, partitions = ?numbers(&partitions), "lost");
                let touched = self.pending_touches(&partitions);
                for partition in &partitions {
                    self.cursors.remove(*partition);
                }
                if touched {
                    // rows of other partitions are in the same file
                    self.start_over().await;
                }
            }
            Event::CaughtUp => {
                if self.desk.until_caught_up && self.commit().await? {
                    tracing::info!(pipeline = %self.desk.pipeline, "caught up");
                    return Ok(Flow::Done);
                }
            }
            Event::Ended(Ok(())) => return Err(Error::unknown("the source ended although nobody asked it to")),
            Event::Ended(Err(error)) => {
                // what was handed over is sound, and of a topic that was deleted it is the last copy
                self.drain(LAST_WORD).await?;
                return Err(error);
            }
        }
        Ok(Flow::Continue)
    }

    fn pending_touches(&self, partitions: &[Partition]) -> bool {
        self.pending.as_ref().is_some_and(|p| partitions.iter().any(|x| p.moves.contains_key(x)))
    }

    /// The table's positions, read afresh, for partitions that are being assigned.
    async fn positions(&mut self, epoch: Epoch, partitions: &[Partition]) -> Result<Vec<StartPosition>> {
        if self.pending_touches(partitions) {
            // assigned again without a revocation: what we hold of them has no owner any more
            self.abort_pending().await;
        }
        let (table, state) = self.lane.head(&self.desk.gate, partitions).await?;
        if table.metadata().uuid() != self.desk.table.uuid() {
            return Err(Error::halt("the table was dropped and created again while K2 was running")
                .at(format!("table {}", self.desk.gate.ident()))
                .fix("restart K2 if the new table is meant to start over"));
        }
        if self.pending.is_none() {
            self.desk.table = table.metadata_ref();
        }
        tracing::info!(pipeline = %self.desk.pipeline, partitions = ?numbers(partitions), epoch = epoch.0, "assigned");
        Ok(partitions.iter().map(|p| self.position(*p, epoch, state.as_ref())).collect())
    }

    fn position(&mut self, partition: Partition, epoch: Epoch, state: Option<&SourceState>) -> StartPosition {
        let found = state.and_then(|s| Some((s, s.topics.get(self.desk.topic.as_ref())?)));
        let found = found.and_then(|(s, t)| Some((s, t, t.partitions.get(&partition)?)));
        let Some((state, topic, position)) = found else {
            self.cursors.assign(partition, epoch, None, None, None);
            return StartPosition { partition, at: StartAt::Unset };
        };
        self.cursors.assign(partition, epoch, Some(position.next), position.last, position.leader_epoch);
        let at = StartAt::Table {
            topic_id: topic.topic_id.clone(),
            cluster_id: state.cluster_id.clone(),
            next: position.next,
            leader_epoch: position.leader_epoch,
            last: position.last,
        };
        StartPosition { partition, at }
    }

    /// Encodes a batch into the open files. A store that fails costs the open batch, nothing else.
    async fn take(&mut self, batch: Batch<L::Rows>) -> Result<()> {
        let live: Vec<_> = batch.spans.iter().filter(|s| self.cursors.is_live(s)).cloned().collect();
        if live.is_empty() {
            return Ok(());
        }
        let dead = live.len() < batch.spans.len();
        let Batch { identity, records: rows, received_at, permit, .. } = batch;
        let rows = if dead { L::only(rows, &live.iter().map(|s| s.partition.0).collect())? } else { rows };

        let pending = match &mut self.pending {
            Some(pending) => pending,
            none => none.insert(Pending {
                batch: BatchId::fresh(),
                identity: Arc::clone(&identity),
                form: TableForm::of(&self.desk.table),
                files: self.lane.open(&self.desk.table, &self.desk.stores)?,
                moves: BTreeMap::new(),
                permit: Permit::default(),
                since: Instant::now(),
            }),
        };
        for span in &live {
            let m = self.cursors.advance(span).map_err(|e| e.at(format!("topic {}", identity.topic)))?;
            pending.extend(span.partition, m);
        }
        pending.permit.merge(permit);
        fail::fail_point!("before_write");
        let arrival = Arrival { rows, identity, received_at };
        match self.lane.write(&mut pending.files, &self.desk.table, arrival).await {
            Ok(()) => {
                pending.permit.shrink_to(L::pending_bytes(&pending.files));
                if L::is_full(&pending.files) {
                    self.commit().await?;
                }
                Ok(())
            }
            Err(error) => self.store_failed(error).await,
        }
    }

    /// Commits what is pending. True if nothing is pending any more because it is in the table.
    async fn commit(&mut self) -> Result<bool> {
        let Some(pending) = self.pending.take() else { return Ok(true) };
        if !pending.advances() {
            return Ok(true);
        }
        let begun = Instant::now();
        let staged_at = clock::now_micros();
        let mut proposal = pending.proposal(self.desk.gate.source());
        let Pending { files, permit, .. } = pending;
        fail::fail_point!("before_finish");
        let files = match self.lane.finish(files, &mut proposal).await {
            Ok(files) => files,
            Err(error) => return self.store_failed(error).await.map(|()| false),
        };
        drop(permit);
        let rows: u64 = files.iter().map(DataFile::record_count).sum();
        fail::fail_point!("after_files");
        match self.desk.gate.commit(&proposal, &files, staged_at).await? {
            Outcome::Committed(table) => {
                self.trouble.over();
                self.first = false;
                self.desk.table = table.metadata_ref();
                self.cursors.committed(&proposal.moves);
                let rejects = proposal.intent.as_ref().map_or(0, |i| i.rows);
                let bytes: u64 = files.iter().map(DataFile::file_size_in_bytes).sum();
                tracing::info!(
                    pipeline = %self.desk.pipeline, table = %self.desk.gate.ident(), rows, rejects, bytes,
                    files = files.len(), partitions = proposal.moves.len(), batch = %proposal.batch,
                    ms = begun.elapsed().as_millis(), "committed"
                );
                self.lane.committed(&proposal, rows).await?;
                let safe: BTreeMap<Partition, NextOffset> = proposal.moves.iter().map(|(p, m)| (*p, m.to)).collect();
                fail::fail_point!("before_group_commit");
                (self.desk.commands)(Command::Committed(safe));
                Ok(true)
            }
            Outcome::Fenced(error) => {
                tracing::warn!(pipeline = %self.desk.pipeline, rows, %error, "fenced; reading again from the table's position");
                self.start_over().await;
                Ok(false)
            }
            Outcome::Rebuild(error) => {
                tracing::warn!(pipeline = %self.desk.pipeline, rows, %error, "the batch has to be written again");
                self.reload().await?;
                self.start_over().await;
                Ok(false)
            }
        }
    }

    /// The table's form has changed under us: it must still follow the contract.
    async fn reload(&mut self) -> Result<()> {
        let (table, _) = self.desk.gate.head().await?;
        let departures = self.lane.contract().departures(table.metadata());
        if !departures.is_empty() {
            return Err(Error::halt(format!("the table no longer follows its contract: {}", departures.join("; ")))
                .at(format!("table {}", self.desk.gate.ident()))
                .fix("change it back, then start K2 again"));
        }
        self.desk.table = table.metadata_ref();
        Ok(())
    }

    /// The store failed for longer than its own retries last: drop the open batch, wait, read it again.
    async fn store_failed(&mut self, error: Error) -> Result<()> {
        if !matches!(error.class(), Class::Retry | Class::Unknown) {
            return Err(error);
        }
        self.trouble.wait(&error).await;
        self.start_over().await;
        Ok(())
    }

    /// Drops everything uncommitted; the source asks for positions again.
    async fn start_over(&mut self) {
        self.abort_pending().await;
        self.cursors.clear();
        (self.desk.commands)(Command::Reassign);
    }

    async fn abort_pending(&mut self) {
        if let Some(pending) = self.pending.take() {
            L::abort(pending.files).await;
        }
    }
}

/// Runs a future to its end; once asked to stop, for a bounded time only. `None`: not ended in time.
async fn bounded<T>(stop: &CancellationToken, future: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    tokio::select! {
        result = future => result.map(Some),
        () = async { stop.cancelled().await; tokio::time::sleep(DRAIN.mul_f32(0.6)).await } => {
            tracing::warn!("what was under way did not end in time; records that are not committed will be read again");
            Ok(None)
        }
    }
}

fn numbers(partitions: &[Partition]) -> Vec<i32> {
    partitions.iter().map(|p| p.0).collect()
}
