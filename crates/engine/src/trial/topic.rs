//! The last records of a topic, over all partitions, without a group.
//!
//! "Last" is by the records' own timestamps, then partition and offset. Offsets may have gaps (compaction, transactions),
//! so of each partition a window before the end is read, twice as wide each time until it holds enough or all there is.

use super::{MOST_RECORDS, Raw, batch};
use arrow::array::RecordBatch;
use futures::future::try_join_all;
use k2_model::{Class, Error, NextOffset, Partition, Result, TopicIdentity};
use k2_source::{Admin, ClientSettings, Reader, Record, Watermarks};
use std::collections::VecDeque;

const CLIENT: &str = "k2-try";
/// Partitions that are read at a time: most of the wait for one is its beginning.
const READERS: usize = 4;
/// What librdkafka may prefetch for each reader, in bytes.
const PREFETCH: u64 = 4 << 20;

/// The last `count` records and the topic they are of, in the order of partition and offset.
pub(super) async fn last(settings: ClientSettings, topic: &str, count: usize) -> Result<(TopicIdentity, RecordBatch)> {
    let count = count.min(MOST_RECORDS);
    let (with, name) = (settings.clone(), topic.to_owned());
    let (identity, logs) = blocking(move || {
        let admin = Admin::connect(&with, CLIENT)?;
        let identity = admin.identity(&name)?;
        let partitions = admin.partitions(&name)?;
        let logs: Vec<(Partition, Watermarks)> = admin.all_watermarks(&name, &partitions)?.into_iter().collect();
        Ok((identity, logs))
    })
    .await?;
    let readers = (0..READERS.min(logs.len())).map(|reader| {
        let logs: Vec<_> = logs.iter().skip(reader).step_by(READERS).copied().collect();
        let (settings, topic) = (settings.clone(), topic.to_owned());
        blocking(move || {
            let reader = Reader::open(&settings, CLIENT, &topic, PREFETCH)?;
            let mut records = Vec::new();
            for (partition, log) in logs {
                records.extend(tail(log, count, |from, to, take| reader.read(partition, from, to, take))?);
                keep_last(&mut records, count);
            }
            Ok(records)
        })
    });
    let mut records: Vec<Raw> = try_join_all(readers).await?.into_iter().flatten().collect();
    keep_last(&mut records, count);
    records.sort_by_key(|r| (r.partition, r.offset));
    Ok((identity, batch(&records)?))
}

/// Who gets the records of a range, one by one.
type Take<'a> = &'a mut dyn FnMut(&Record<'_>) -> Result<()>;

/// The last `count` records of a partition. `read` hands over those of a range.
fn tail(
    log: Watermarks,
    count: usize,
    mut read: impl FnMut(NextOffset, NextOffset, Take<'_>) -> Result<()>,
) -> Result<VecDeque<Raw>> {
    let (low, end) = (log.low.0, log.end.0);
    let mut width = i64::try_from(count).unwrap_or(i64::MAX);
    loop {
        let from = end.saturating_sub(width).max(low);
        let mut records = VecDeque::new();
        let mut take = |record: &Record<'_>| {
            if records.len() == count {
                records.pop_front();
            }
            records.push_back(raw(record));
            Ok(())
        };
        match read(NextOffset(from), NextOffset(end), &mut take) {
            // retention has overtaken us: what it left is what there is
            Err(e) if e.class() == Class::Halt => return Ok(records),
            other => other?,
        }
        if records.len() == count || from <= low {
            return Ok(records);
        }
        width = width.saturating_mul(2);
    }
}

fn raw(record: &Record<'_>) -> Raw {
    Raw {
        partition: record.partition,
        offset: record.offset,
        timestamp: Some(record.timestamp_ms()).filter(|t| *t != -1).map(|t| t.saturating_mul(1000)),
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
    }
}

fn keep_last(records: &mut Vec<Raw>, count: usize) {
    records.sort_by_key(|r| (r.timestamp, r.partition, r.offset));
    records.drain(..records.len().saturating_sub(count));
}

/// Calls of the Kafka client block; they get a thread where that harms nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::unknown("reading Kafka failed").caused_by(e)),
    }
}

#[cfg(test)]
#[path = "topic/tests.rs"]
mod tests;
