//! What comes from librdkafka becomes batches: records into rows, rows into the outbox.
//!
//! A batch is made only while it is certain that all of it is of the incarnation that its identity names (`incarnation`).
//! Otherwise the rows are dropped and the intake is *adrift*: it takes nothing until the poll loop is sure again and has
//! sent librdkafka back to our own positions.

use crate::SourceConfig;
use crate::handle::Counters;
use crate::incarnation::{Incarnation, Told};
use crate::native::{Client, Failure, Polled, Record};
use crate::outbox::Outbox;
use crate::reading::{Readings, Step};
use crate::rows::Rows;
use crate::start;
use k2_model::position::fingerprint_crc;
use k2_model::{Error, Event, Partition, Permit, RawBatch, Result, TopicIdentity, clock};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The receiving side of a source.
pub(crate) struct Intake {
    topic: Arc<str>,
    client: Arc<Client>,
    batch_rows: usize,
    batch_bytes: usize,
    linger: Duration,
    /// How much more than its raw bytes a batch takes from the budget, in percent.
    headroom: u64,
    stats: Arc<Counters>,
    /// Known since the first assignment; there are no records before it.
    pub(crate) identity: Option<Arc<TopicIdentity>>,
    incarnation: Incarnation,
    /// Nothing is taken, because it may be of another incarnation.
    adrift: bool,
    pub(crate) readings: Readings,
    rows: Rows,
    /// When the oldest thing arrived that no batch has told yet.
    oldest: Option<Instant>,
    pub(crate) outbox: Outbox,
    /// Errors that came in between, to be judged after the poll.
    pub(crate) failures: Vec<(i32, Failure)>,
    /// What ends the source, found in between.
    broken: Option<Error>,
    /// How many bytes the average record takes, to ask for a fitting number of them.
    record_bytes: usize,
}

impl Intake {
    pub(crate) fn new(config: &SourceConfig, client: &Arc<Client>, stats: Arc<Counters>, outbox: Outbox) -> Self {
        Self {
            topic: config.topic.as_str().into(),
            client: Arc::clone(client),
            batch_rows: config.batch_rows.max(1),
            batch_bytes: usize::try_from(config.batch_bytes).unwrap_or(usize::MAX).max(1),
            linger: config.linger,
            headroom: config.budget_percent.max(100).into(),
            stats,
            identity: None,
            incarnation: Incarnation::default(),
            adrift: false,
            readings: Readings::default(),
            rows: Rows::with_capacity(0, 0, 0),
            oldest: None,
            outbox,
            failures: Vec::new(),
            broken: None,
            record_bytes: 0,
        }
    }

    /// How many records to ask for, so that what one poll brings is about one batch.
    pub(crate) fn appetite(&self, most: usize) -> usize {
        let left = self.batch_bytes.saturating_sub(self.rows.bytes());
        (left / self.record_bytes.max(1)).clamp(16, most)
    }

    /// Takes what a poll hands out.
    pub(crate) fn take(&mut self, polled: Polled<'_>, now: Instant) {
        match polled {
            Polled::Record(_) | Polled::End { .. } if self.adrift => {}
            Polled::Record(record) => {
                if let Err(error) = self.record(&record, now) {
                    self.broken.get_or_insert(error);
                }
            }
            Polled::End { partition, next } => {
                if self.readings.get_mut(partition).is_some_and(|r| r.reached(next)) {
                    self.oldest.get_or_insert(now);
                }
            }
            Polled::Failed { partition, offset, failure } => {
                tracing::debug!(partition, offset, error = %failure, "librdkafka reports an error");
                if let Some(reading) = self.readings.get_mut(partition)
                    && crate::fault::of_partition(&failure)
                {
                    // at once: the records behind the error must not be taken
                    reading.fail(failure.text.clone(), now);
                }
                self.failures.push((partition, failure));
            }
        }
    }

    fn record(&mut self, record: &Record<'_>, now: Instant) -> Result<()> {
        let Some(reading) = self.readings.get_mut(record.partition) else { return Ok(()) };
        let print = || (record.timestamp_ms(), fingerprint_crc(record.key, record.value));
        match reading.meet(record.offset, print) {
            Step::Skip => return Ok(()),
            Step::Changed => {
                return Err(start::changed(&self.topic, Partition(record.partition), record.offset));
            }
            Step::Take => {}
        }
        if !self.rows.fits(record, self.batch_bytes) || self.rows.len() >= self.batch_rows {
            self.flush()?;
            if self.adrift {
                return Ok(());
            }
        }
        self.rows.push(record);
        self.oldest.get_or_insert(now);
        let row = self.rows.len() - 1;
        if let Some(reading) = self.readings.get_mut(record.partition) {
            reading.took(record.offset, row, record.timestamp_ms(), record.leader_epoch());
        }
        Ok(())
    }

    /// The error that ends the source, if taking records met one.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.broken.take().map_or(Ok(()), Err)
    }

    /// Whether there is something that no batch has told yet.
    pub(crate) fn is_open(&self) -> bool {
        self.oldest.is_some()
    }

    /// Whether a batch is due.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.rows.len() >= self.batch_rows
            || self.rows.bytes() >= self.batch_bytes
            || self.due_at().is_some_and(|at| at <= now)
    }

    /// When the oldest row has waited long enough.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.oldest.map(|at| at + self.linger)
    }

    /// Makes a batch of what there is.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.oldest = None;
        if !self.readings.is_open() {
            return Ok(());
        }
        // looked at after the last record was taken: what came before it is counted
        if !self.is_sure() {
            self.drop_rows();
            self.adrift = true;
            return Ok(());
        }
        let Some(identity) = &self.identity else { return Ok(()) };
        let spans = self.readings.take_spans(&self.rows);
        let (rows, bytes) = (self.rows.len(), self.rows.bytes());
        self.record_bytes = bytes.checked_div(rows).unwrap_or(self.record_bytes);
        let records = self.rows.finish()?;
        self.stats.records.fetch_add(rows as u64, Ordering::Relaxed);
        self.stats.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let takes = (records.get_array_memory_size() as u64).saturating_mul(self.headroom) / 100;
        let batch = RawBatch {
            identity: Arc::clone(identity),
            records,
            received_at: clock::now_micros(),
            spans,
            permit: Permit::default(),
        };
        self.outbox.push_batch(batch, takes);
        Ok(())
    }

    /// Whether all that was taken is of the incarnation that the identity names. Brokers without topic ids leave it open.
    pub(crate) fn is_sure(&self) -> bool {
        self.identity.as_deref().is_some_and(|identity| identity.topic_id.is_none())
            || self.incarnation.is_sure(self.client.topic_answers())
    }

    /// From now on the records are of this topic.
    pub(crate) fn identify(&mut self, identity: TopicIdentity) {
        if self.identity.as_deref() != Some(&identity) {
            self.identity = Some(Arc::new(identity));
            self.incarnation = Incarnation::default();
        }
    }

    /// A broker told the id that the identity has; `before` is the count of answers from before the question. Returns
    /// whether librdkafka has to be sent to our own positions now, because what it holds is not to be trusted.
    pub(crate) fn told(&mut self, before: u64) -> bool {
        let told = self.incarnation.told(before, self.client.topic_answers());
        let back = told == Told::Anew || (told == Told::Unbroken && self.adrift);
        if back {
            self.drop_rows();
            self.adrift = false;
        }
        back
    }

    /// Drops the rows that are in no batch yet.
    fn drop_rows(&mut self) {
        self.rows = Rows::with_capacity(0, 0, 0);
        self.oldest = None;
        self.readings.iter_mut().for_each(|(_, reading)| reading.discard());
    }

    /// Drops everything that was not handed over, for it will be read again.
    pub(crate) fn discard(&mut self) {
        self.drop_rows();
        self.outbox.drop_batches();
        self.readings.iter_mut().for_each(|(_, reading)| reading.close());
    }

    /// Puts an event behind what was read before it.
    pub(crate) fn announce(&mut self, event: Event) -> Result<()> {
        self.flush()?;
        self.outbox.push(event);
        Ok(())
    }
}
