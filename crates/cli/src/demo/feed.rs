//! A feed handler: generated trades of one exchange into its topic, at a steady rate, on a thread of its own.
//!
//! It holds back when a partition has more records that are in no table yet than the broker can keep: the mock cluster
//! drops the oldest beyond 5 MiB, and a record that is dropped before it is read would be lost - by the broker, not by K2,
//! but the demo would be no proof.

use super::Part;
use super::progress::TableState;
use crate::generator::load::Pace;
use crate::generator::producer::{Ledger, Producer};
use crate::generator::{Flaw, TradeGenerator};
use k2_model::{Error, Partition, Result, clock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Records of a partition that may be in no table yet: 2.5 MB as generated (frame, key and all), half of what the broker
/// keeps, before any compression.
const MOST_UNCOMMITTED: i64 = 25_000;

/// A record waits this long for company.
const LINGER: Duration = Duration::from_millis(20);

/// One record in so many is bad.
pub(super) const BAD_ONE_IN: u64 = 2_000;

/// How often a burst is produced.
const BEAT: Duration = Duration::from_millis(10);

/// One exchange's feed.
pub(super) struct Feed {
    part: Part,
    shared: Arc<Shared>,
    work: Option<Work>,
    thread: Option<JoinHandle<Result<()>>>,
}

struct Work {
    producer: Producer,
    trades: TradeGenerator,
}

struct Shared {
    ledger: Arc<Ledger>,
    /// Per partition: the lower of the two tables' next offsets.
    committed: Vec<AtomicI64>,
    stop: AtomicBool,
    held_back: AtomicBool,
    /// Bad records sent, by [`Flaw`].
    spoiled: [AtomicU64; Flaw::ALL.len()],
}

impl Feed {
    /// A feed that is not started yet.
    pub(super) fn new(part: Part, brokers: &str, seed: u64) -> Result<Self> {
        let partitions = usize::from(part.partitions);
        let shared = Arc::new(Shared {
            ledger: Ledger::new(part.topic, partitions),
            committed: (0..partitions).map(|_| AtomicI64::new(0)).collect(),
            stop: AtomicBool::new(false),
            held_back: AtomicBool::new(false),
            spoiled: Default::default(),
        });
        let producer = Producer::new(brokers, &shared.ledger, "lz4", LINGER)?;
        let mut trades = TradeGenerator::new(part.exchange, seed);
        trades.spoil(BAD_ONE_IN);
        Ok(Self { part, shared, work: Some(Work { producer, trades }), thread: None })
    }

    /// Starts to produce.
    pub(super) fn start(&mut self) -> Result<()> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let (shared, rate) = (Arc::clone(&self.shared), f64::from(self.part.records_per_second));
        let thread = std::thread::Builder::new()
            .name(format!("feed-{}", self.part.exchange.name()))
            .spawn(move || work.produce(&shared, rate))
            .map_err(|e| super::failed("cannot start the feed's thread", e))?;
        self.thread = Some(thread);
        Ok(())
    }

    /// What the broker acknowledged.
    pub(super) fn ledger(&self) -> &Arc<Ledger> {
        &self.shared.ledger
    }

    /// Bad records sent, by the reason that silver has to name.
    pub(super) fn spoiled(&self) -> BTreeMap<&'static str, u64> {
        Flaw::ALL.iter().map(|f| (f.reason(), self.shared.spoiled[*f as usize].load(Ordering::Relaxed))).collect()
    }

    /// Whether it waits for the engine at the moment.
    pub(super) fn is_held_back(&self) -> bool {
        self.shared.held_back.load(Ordering::Relaxed)
    }

    /// Takes note of what is in both tables.
    pub(super) fn committed(&self, bronze: &TableState, silver: &TableState) {
        for (Partition(number), next) in &bronze.next_offsets {
            let next = silver.next_offsets.get(&Partition(*number)).map_or(0, |silver| silver.0.min(next.0));
            if let Some(slot) = usize::try_from(*number).ok().and_then(|n| self.shared.committed.get(n)) {
                slot.fetch_max(next, Ordering::Relaxed);
            }
        }
    }

    /// Fails if the broker refused a record or the thread has ended with an error.
    pub(super) fn check(&self) -> Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) && !self.shared.stop.load(Ordering::Relaxed) {
            return Err(Error::unknown("a feed has stopped by itself").at(self.part.topic));
        }
        self.shared.ledger.check()
    }

    /// Asks the thread to stop, without waiting.
    pub(super) fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Stops producing and waits until everything sent is acknowledged.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().map_err(|_| Error::unknown("a feed panicked").at(self.part.topic))??;
        }
        self.shared.held_back.store(false, Ordering::Relaxed);
        self.shared.ledger.check()
    }
}

impl Work {
    fn produce(mut self, shared: &Shared, rate: f64) -> Result<()> {
        let mut pace = Pace::new(rate);
        let mut value = Vec::with_capacity(256);
        while !shared.stop.load(Ordering::Relaxed) {
            std::thread::sleep(BEAT);
            let held_back = shared.most_uncommitted() > MOST_UNCOMMITTED;
            shared.held_back.store(held_back, Ordering::Relaxed);
            if held_back {
                pace.skip();
                continue;
            }
            self.trades.set_clock(clock::now_micros());
            for _ in 0..pace.due() {
                value.clear();
                let record = self.trades.next(&mut value);
                self.producer.send(None, record.key, record.value(&value))?;
                if let Some(flaw) = record.flaw {
                    shared.spoiled[flaw as usize].fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        self.producer.flush(Duration::from_secs(30))
    }
}

impl Shared {
    /// The largest number of records of a partition that are in the broker, but in no table.
    fn most_uncommitted(&self) -> i64 {
        let delivered = self.ledger.partitions().iter().map(|p| p.next_offset());
        let committed = self.committed.iter().map(|next| next.load(Ordering::Relaxed));
        delivered.zip(committed).map(|(delivered, committed)| delivered - committed).max().unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "feed/tests.rs"]
mod tests;
