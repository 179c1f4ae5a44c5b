//! The bronze sink: raw Kafka records into a bronze table, exactly once.
//!
//! ## Overview
//! One task per pipeline owns its table's writer. It takes [`Event`]s in order, encodes batches into the open file, and
//! commits files and positions together: at most every commit interval, sooner when a file is full, on a revocation, at
//! the end.
//!
//! ## Consistency
//! 1. Rows of an assignment that has ended are dropped ([`Cursors::is_live`]).
//! 2. Spans of a partition abut ([`Cursors::advance`]); a commit starts at the table's position.
//! 3. When in doubt - fenced, table changed, store failing - everything uncommitted is dropped, and the source is told to
//!    ask for positions again. Nothing is kept that could overlap with what is in the table.
//!
//! ## Retries, cancellation, crash leftovers
//! A failing store or catalog is waited for without limit while the channel fills up and the source pauses. When asked
//! to stop, the sink flushes and commits within [`crate::supervisor::DRAIN`]; what does not make it is read again.
//! A crash leaves files that no snapshot refers to.

use crate::pending::{Cursors, Pending};
use crate::supervisor::DRAIN;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::array::{Int32Array, TimestampMicrosecondArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use iceberg::spec::TableMetadataRef;
use k2_lake::contract;
use k2_lake::decision::TableForm;
use k2_lake::files::{TableWriter, partition_of};
use k2_lake::gate::{Gate, Outcome};
use k2_model::patience::Patience;
use k2_lake::store::Stores;
use k2_model::{
    BatchId, Class, Command, Epoch, Error, Event, NextOffset, Partition, RawBatch, Result, SourceState, StartAt,
    StartPosition, TopicIdentity, clock,
};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// The columns that the sink fills, in the order of the contract.
const COLUMNS: [&str; 10] = [
    "raw_bytes",
    "topic",
    "partition",
    "offset",
    "kafka_timestamp",
    "ingestion_timestamp",
    "ingestion_date",
    "topic_id",
    "key",
    "headers",
];

/// Tells the source something; never blocks.
pub type Commands = Arc<dyn Fn(Command) + Send + Sync>;

/// What a bronze sink works with.
pub struct Bronze {
    /// The pipeline's name, for logs.
    pub pipeline: String,
    /// The topic it reads.
    pub topic: Arc<str>,
    /// The gate to its table.
    pub gate: Gate,
    /// Where files go.
    pub stores: Stores,
    /// The table as loaded and checked.
    pub table: TableMetadataRef,
    /// At most one commit in this time, unless a file is full.
    pub commit_interval: Duration,
    /// End when the source has caught up.
    pub until_caught_up: bool,
    /// From the source.
    pub events: Receiver<Event>,
    /// To the source.
    pub commands: Commands,
}

/// The running sink.
struct Sink {
    b: Bronze,
    cursors: Cursors,
    pending: Option<Pending>,
    /// The store or catalog failed, and the batch was dropped for it.
    trouble: Patience,
    /// Nothing has been committed yet by this process.
    first: bool,
}

/// The first commit of a process does not wait for the interval: a restart shows that it works, and readers see fresh
/// rows, within a second.
const FIRST_COMMIT: Duration = Duration::from_millis(200);

/// What to do after an event.
enum Flow {
    Continue,
    Done,
}

impl Bronze {
    /// Runs until stopped, caught up (if asked to), or failed.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        let trouble = Patience::new(format!("write to table {}", self.gate.ident()));
        let commands = Arc::clone(&self.commands);
        let mut sink = Sink { b: self, cursors: Cursors::default(), pending: None, trouble, first: true };
        let result = sink.work(&stop).await;
        // also on an error: records that come in now would only be dropped
        commands(Command::Stop);
        result
    }
}

impl Sink {
    async fn work(&mut self, stop: &CancellationToken) -> Result<()> {
        loop {
            let interval = if self.first { FIRST_COMMIT.min(self.b.commit_interval) } else { self.b.commit_interval };
            let due = self.pending.as_ref().map(|p| p.since + interval);
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.drain().await,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    if bounded(stop, self.commit()).await?.is_none() {
                        return Ok(());
                    }
                }
                event = self.b.events.recv() => {
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
    async fn drain(&mut self) -> Result<()> {
        (self.b.commands)(Command::Stop);
        match timeout(DRAIN.mul_f32(0.9), self.commit()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(pipeline = %self.b.pipeline, %error, "last commit failed; its records will be read again")
            }
            Err(_) => {
                tracing::warn!(pipeline = %self.b.pipeline, "last commit took too long; its records will be read again")
            }
        }
        Ok(())
    }

    async fn handle(&mut self, event: Event) -> Result<Flow> {
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
                tracing::info!(pipeline = %self.b.pipeline, partitions = ?numbers(&partitions), "revoked");
                let _ = reply.send(());
            }
            Event::Lost { partitions } => {
                tracing::warn!(pipeline = %self.b.pipeline, partitions = ?numbers(&partitions), "lost");
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
                if self.b.until_caught_up && self.commit().await? {
                    tracing::info!(pipeline = %self.b.pipeline, "caught up");
                    return Ok(Flow::Done);
                }
            }
            Event::Ended(Ok(())) => return Err(Error::unknown("the source ended although nobody asked it to")),
            Event::Ended(Err(error)) => return Err(error),
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
        let (table, state) = self.b.gate.head().await?;
        if table.metadata().uuid() != self.b.table.uuid() {
            return Err(Error::halt("the table was dropped and created again while K2 was running")
                .at(format!("table {}", self.b.gate.ident()))
                .fix("restart K2 if the new table is meant to start over"));
        }
        if self.pending.is_none() {
            self.b.table = table.metadata_ref();
        }
        tracing::info!(pipeline = %self.b.pipeline, partitions = ?numbers(partitions), epoch = epoch.0, "assigned");
        Ok(partitions.iter().map(|p| self.position(*p, epoch, state.as_ref())).collect())
    }

    fn position(&mut self, partition: Partition, epoch: Epoch, state: Option<&SourceState>) -> StartPosition {
        let found = state.and_then(|s| Some((s, s.topics.get(self.b.topic.as_ref())?)));
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

    /// Encodes a batch into the open file. A store that fails costs the open batch, nothing else.
    async fn take(&mut self, batch: RawBatch) -> Result<()> {
        let live: Vec<_> = batch.spans.iter().filter(|s| self.cursors.is_live(s)).cloned().collect();
        if live.is_empty() {
            return Ok(());
        }
        let dead = live.len() < batch.spans.len();
        let RawBatch { identity, records, received_at, permit, .. } = batch;
        let records = if dead { only(&records, live.iter().map(|s| s.partition))? } else { records };

        let pending = match &mut self.pending {
            Some(pending) => pending,
            none => none.insert(open(&self.b, &identity)?),
        };
        for span in &live {
            let m = self.cursors.advance(span).map_err(|e| e.at(format!("topic {}", identity.topic)))?;
            pending.extend(span.partition, m);
        }
        pending.rows += records.num_rows() as u64;
        pending.permit.merge(permit);
        let rows = bronze_rows(&records, &identity, received_at, pending.writer.schema())?;
        drop(records);
        let partition = partition_of(&self.b.table, received_at)?;
        fail::fail_point!("before_write");
        let written = pending.writer.write(&rows, &partition).await;
        drop(rows);
        match written {
            Ok(()) => {
                pending.permit.shrink_to(pending.writer.pending_bytes());
                if pending.writer.has_full_file() {
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
        let proposal = pending.proposal(self.b.gate.source());
        let Pending { writer, rows, permit, .. } = pending;
        let bytes = writer.written_bytes();
        fail::fail_point!("before_finish");
        let files = match writer.finish().await {
            Ok(files) => files,
            Err(error) => return self.store_failed(error).await.map(|()| false),
        };
        drop(permit);
        fail::fail_point!("after_files");
        match self.b.gate.commit(&proposal, &files, staged_at).await? {
            Outcome::Committed(table) => {
                self.trouble.over();
                self.first = false;
                self.b.table = table.metadata_ref();
                self.cursors.committed(&proposal.moves);
                let safe: BTreeMap<Partition, NextOffset> = proposal.moves.iter().map(|(p, m)| (*p, m.to)).collect();
                fail::fail_point!("before_group_commit");
                (self.b.commands)(Command::Committed(safe));
                tracing::info!(
                    pipeline = %self.b.pipeline, table = %self.b.gate.ident(), rows, bytes, files = files.len(),
                    partitions = proposal.moves.len(), batch = %proposal.batch, ms = begun.elapsed().as_millis(), "committed"
                );
                Ok(true)
            }
            Outcome::Fenced(error) => {
                tracing::warn!(pipeline = %self.b.pipeline, rows, %error, "fenced; reading again from the table's position");
                self.start_over().await;
                Ok(false)
            }
            Outcome::Rebuild(error) => {
                tracing::warn!(pipeline = %self.b.pipeline, rows, %error, "the batch has to be written again");
                self.reload().await?;
                self.start_over().await;
                Ok(false)
            }
        }
    }

    /// The table's form has changed under us: it must still follow the contract.
    async fn reload(&mut self) -> Result<()> {
        let (table, _) = self.b.gate.head().await?;
        let departures = contract::bronze().departures(table.metadata());
        if !departures.is_empty() {
            return Err(Error::halt(format!("the table no longer follows its contract: {}", departures.join("; ")))
                .at(format!("table {}", self.b.gate.ident()))
                .fix("change it back, then start K2 again"));
        }
        self.b.table = table.metadata_ref();
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
        (self.b.commands)(Command::Reassign);
    }

    async fn abort_pending(&mut self) {
        if let Some(pending) = self.pending.take() {
            pending.writer.abort().await;
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

fn open(b: &Bronze, identity: &Arc<TopicIdentity>) -> Result<Pending> {
    Ok(Pending {
        batch: BatchId::fresh(),
        identity: Arc::clone(identity),
        form: TableForm::of(&b.table),
        writer: TableWriter::new(&b.table, &b.stores, &COLUMNS)?,
        moves: BTreeMap::new(),
        permit: k2_model::Permit::default(),
        rows: 0,
        since: Instant::now(),
    })
}

fn numbers(partitions: &[Partition]) -> Vec<i32> {
    partitions.iter().map(|p| p.0).collect()
}

/// The rows of some partitions.
fn only(records: &RecordBatch, partitions: impl Iterator<Item = Partition>) -> Result<RecordBatch> {
    let wanted: HashSet<i32> = partitions.map(|p| p.0).collect();
    let column = records.column(3).as_primitive::<Int32Type>();
    let mask: BooleanArray = column.iter().map(|p| p.map(|p| wanted.contains(&p))).collect();
    filter_record_batch(records, &mask).map_err(columns_error)
}

fn columns_error(e: arrow::error::ArrowError) -> Error {
    Error::unknown("a batch does not fit the bronze columns").caused_by(e)
}

/// Raw records as rows of the bronze table: the source's columns as they are, and what is the same for all rows.
fn bronze_rows(
    records: &RecordBatch,
    identity: &TopicIdentity,
    received_at: i64,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let n = records.num_rows();
    let topic_id: ArrayRef = match &identity.topic_id {
        Some(id) => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(id.as_str(), n))),
        None => new_null_array(&DataType::Utf8, n),
    };
    let headers = headers_as(records.column(2), schema.field(9).data_type())?;
    let columns: Vec<ArrayRef> = vec![
        Arc::clone(records.column(0)),
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(identity.topic.as_ref(), n))),
        Arc::new(records.column(3).as_primitive::<Int32Type>().clone()) as Arc<Int32Array>,
        Arc::clone(records.column(4)),
        Arc::clone(records.column(5)),
        Arc::new(TimestampMicrosecondArray::from_value(received_at, n).with_timezone("+00:00")),
        Arc::new(Date32Array::from_value(clock::day_of(received_at), n)),
        topic_id,
        Arc::clone(records.column(1)),
        headers,
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(columns_error)
}

/// The headers with the table's field ids.
fn headers_as(headers: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if headers.null_count() == headers.len() {
        return Ok(new_null_array(wanted, headers.len()));
    }
    let DataType::List(element) = wanted else { return Err(Error::unknown("headers is not a list")) };
    let DataType::Struct(fields) = element.data_type() else { return Err(Error::unknown("a header is not a struct")) };
    let list = headers.as_list::<i32>();
    let (_, columns, nulls) = list.values().as_struct().clone().into_parts();
    let values = StructArray::try_new(fields.clone(), columns, nulls).map_err(columns_error)?;
    let list = ListArray::try_new(Arc::clone(element), list.offsets().clone(), Arc::new(values), list.nulls().cloned());
    Ok(Arc::new(list.map_err(columns_error)?))
}
