//! Reading a topic for the comparison: which offsets there are, and sums of what they hold.

use crate::verify::book::place;
use crate::verify::digest::{Parts, Sums};
use crate::verify::{Phase, Progress, Watch};
use futures::future::try_join_all;
use k2_model::{Class, Error, NextOffset, Partition, Result};
use k2_source::{Admin, ClientSettings, Reader, Record};
use roaring::RoaringTreemap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Partitions that are read at a time: most of the wait for a small one is its beginning.
const READERS: usize = 4;
/// What librdkafka may prefetch for each.
const PREFETCH: u64 = 8 << 20;
/// How often a partition is begun again because retention overtook its first offset.
const OVERTAKEN: usize = 5;
/// How many records between two words on progress.
const STRIDE: u64 = 50_000;

/// Calls of the Kafka client block; they get a thread where that harms nobody.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::unknown("reading Kafka failed").caused_by(e)),
    }
}

/// One partition, as Kafka has it.
pub(super) struct Side {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) seen: RoaringTreemap,
}

/// A range of a partition that is to be read.
#[derive(Clone)]
pub(super) struct Span {
    pub(super) partition: i32,
    pub(super) from: i64,
    pub(super) to: i64,
    /// Offsets that are there.
    pub(super) rows: Arc<RoaringTreemap>,
    /// Those of them whose rows keep the record as it came.
    pub(super) kept: Arc<RoaringTreemap>,
    /// Those of them that have neither key nor headers.
    pub(super) bare: Arc<RoaringTreemap>,
    /// Whether rows keep headers at all.
    pub(super) headers: bool,
}

/// Reads what Kafka has of the spans, some partitions at a time: by partition, and the sums of all.
pub(super) async fn read(
    table: &str,
    settings: &ClientSettings,
    topic: &str,
    spans: &[Span],
    watch: &Watch,
) -> Result<(BTreeMap<i32, Side>, Sums)> {
    let said = Arc::new(Said {
        watch: Arc::clone(watch),
        table: table.to_owned(),
        of: spans.iter().map(|s| s.to.abs_diff(s.from.min(s.to))).sum(),
        offsets: AtomicU64::new(0),
        records: AtomicU64::new(0),
    });
    let reads = (0..READERS.min(spans.len())).map(|reader| {
        let (settings, topic, said) = (settings.clone(), topic.to_owned(), Arc::clone(&said));
        let spans: Vec<Span> = spans.iter().skip(reader).step_by(READERS).cloned().collect();
        blocking(move || read_spans(&settings, &topic, &spans, &said))
    });
    let (mut sides, mut sums) = (BTreeMap::new(), Sums::default());
    for (some, more) in try_join_all(reads).await? {
        sides.extend(some);
        sums.merge(more);
    }
    Ok((sides, sums))
}

/// Reads the records of some spans once more. What retention has taken since is left out.
pub(super) async fn read_again(
    settings: &ClientSettings,
    topic: &str,
    spans: Vec<Span>,
) -> Result<HashMap<(i32, i64), Parts>> {
    let (settings, topic) = (settings.clone(), topic.to_owned());
    blocking(move || {
        let reader = Reader::open(&settings, "k2-verify", &topic, PREFETCH)?;
        let mut records = HashMap::new();
        for span in &spans {
            let mut take = |record: &Record<'_>| {
                records.insert((span.partition, record.offset), parts(record, span));
                Ok(())
            };
            match reader.read(Partition(span.partition), NextOffset(span.from), NextOffset(span.to), &mut take) {
                Err(e) if e.class() == Class::Halt => {}
                other => other?,
            }
        }
        Ok(records)
    })
    .await
}

/// What a record is compared by, as far as its row keeps it.
fn parts(record: &Record<'_>, span: &Span) -> Parts {
    let timestamp = Some(record.timestamp_ms()).filter(|t| *t != -1).map(|t| t.saturating_mul(1000));
    let parts = Parts::of(record.value, record.key, record.headers(), timestamp);
    match span.headers {
        false => parts.without_headers(),
        true if span.bare.contains(place(record.offset)) => parts.without_key_and_headers(),
        true => parts,
    }
}

/// How far the readers are, all together.
struct Said {
    watch: Watch,
    table: String,
    of: u64,
    offsets: AtomicU64,
    records: AtomicU64,
}

impl Said {
    fn more(&self, offsets: u64, records: u64) {
        let done = self.offsets.fetch_add(offsets, Ordering::Relaxed) + offsets;
        let rows = self.records.fetch_add(records, Ordering::Relaxed) + records;
        (self.watch)(Progress { table: &self.table, phase: Phase::Kafka, done: done.min(self.of), of: self.of, rows });
    }
}

fn read_spans(
    settings: &ClientSettings,
    topic: &str,
    spans: &[Span],
    said: &Said,
) -> Result<(BTreeMap<i32, Side>, Sums)> {
    let admin = Admin::connect(settings, "k2-verify")?;
    let reader = Reader::open(settings, "k2-verify", topic, PREFETCH)?;
    let (mut sides, mut sums) = (BTreeMap::new(), Sums::default());
    for span in spans {
        let (side, more) = read_partition(&admin, &reader, topic, span, said)?;
        sums.merge(more);
        sides.insert(span.partition, side);
    }
    Ok((sides, sums))
}

/// Reads one partition to its bound, from where Kafka begins to answer.
fn read_partition(admin: &Admin, reader: &Reader, topic: &str, span: &Span, said: &Said) -> Result<(Side, Sums)> {
    let mut from = span.from;
    for _ in 0..OVERTAKEN {
        let mut side = Side { from, to: span.to, seen: RoaringTreemap::new() };
        let mut sums = Sums::default();
        let (mut told, mut records) = (from, 0);
        let mut take = |record: &Record<'_>| {
            side.seen.insert(place(record.offset));
            // what the table lacks is told by its offset
            if span.kept.contains(place(record.offset)) {
                sums.add(span.partition, record.offset, &parts(record, span));
            }
            records += 1;
            if records == STRIDE {
                said.more(record.offset.abs_diff(told), records);
                (told, records) = (record.offset, 0);
            }
            Ok(())
        };
        match reader.read(Partition(span.partition), NextOffset(from), NextOffset(span.to), &mut take) {
            Ok(()) => {
                said.more(span.to.abs_diff(told.min(span.to)), records);
                return Ok((side, sums));
            }
            Err(e) if e.class() == Class::Halt => {
                let low = admin.watermarks(topic, Partition(span.partition))?.low.0;
                if low <= from {
                    return Err(e);
                }
                from = low;
            }
            Err(e) => return Err(e),
        }
    }
    Err(Error::retry("retention deletes records faster than they can be read")
        .at(format!("topic {topic}/{}", span.partition)))
}
