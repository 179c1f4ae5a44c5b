//! What flows from the source to a sink, and what a sink tells its source.
//!
//! One bounded channel carries [`Event`]s in order, so a revocation is seen after every batch that came before it.
//! [`Command`]s flow back on a channel of their own.

use crate::budget::Permit;
use crate::ids::{ClusterId, Epoch, NextOffset, Partition, TopicId};
use crate::position::Fingerprint;
use crate::{Error, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use tokio::sync::oneshot;

/// The Arrow shape of raw Kafka records, one row a record.
///
/// `value` and `key` are null where Kafka's are null and empty where they are empty. `headers` is null where there are
/// none; duplicates and null values are kept, in order. `timestamp` is the record's own (µs, UTC), null where Kafka
/// has none. `partition` and `offset` are Kafka's.
pub static RAW_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("value", DataType::Binary, true),
        Field::new("key", DataType::Binary, true),
        Field::new("headers", DataType::List(header_field()), true),
        Field::new("partition", DataType::Int32, false),
        Field::new("offset", DataType::Int64, false),
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
    ]))
});

/// The element of the `headers` list.
pub fn header_field() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(header_fields()), false))
}

/// The fields of one header.
pub fn header_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Binary, true)])
}

/// Which topic of which cluster, in which incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicIdentity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The topic's name.
    pub topic: Arc<str>,
    /// The topic's id; none where the brokers know none.
    pub topic_id: Option<TopicId>,
}

/// Records of one topic with the ranges they cover.
#[derive(Debug)]
pub struct Batch<R> {
    /// Where the records come from.
    pub identity: Arc<TopicIdentity>,
    /// The records, in the form that the stage before made of them; per partition in the order of offsets.
    pub records: R,
    /// When the process received them (µs, UTC); the same for all rows.
    pub received_at: i64,
    /// One entry per partition that the batch moves on. May cover offsets that have no row (compaction, transactions).
    pub spans: Vec<PartitionSpan>,
    /// The bytes that this batch takes from the budget.
    pub permit: Permit,
}

/// A batch as the source makes it: rows in [`RAW_SCHEMA`].
pub type RawBatch = Batch<RecordBatch>;

/// What a batch covers of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSpan {
    /// The partition.
    pub partition: Partition,
    /// The assignment under which it was read.
    pub epoch: Epoch,
    /// The first offset covered; abuts on the `to` before it.
    pub from: NextOffset,
    /// One past the last offset covered.
    pub to: NextOffset,
    /// The last record in it; none if the span has no row.
    pub last: Option<Fingerprint>,
    /// The leader epoch of the last record.
    pub leader_epoch: Option<i32>,
}

/// Where to start reading a partition, as the table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartPosition {
    /// The partition.
    pub partition: Partition,
    /// From where.
    pub at: StartAt,
}

/// See [`StartPosition`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartAt {
    /// The table has no position: begin at the pipeline's `start`.
    Unset,
    /// The table's position.
    Table {
        /// The topic's incarnation when the position was written.
        topic_id: Option<TopicId>,
        /// The cluster of the position.
        cluster_id: ClusterId,
        /// The next offset to read.
        next: NextOffset,
        /// The leader epoch of the last record.
        leader_epoch: Option<i32>,
        /// The last record, to be found again just before `next`.
        last: Option<Fingerprint>,
    },
}

/// What the source tells its sink, in order. A stage between the two changes the form of the records and passes all else on.
#[derive(Debug)]
pub enum Event<R = RecordBatch> {
    /// Records.
    Batch(Batch<R>),
    /// Partitions are being assigned: answer with the table's positions, read afresh. The source checks them against
    /// Kafka and starts there, under `epoch`. Batches of an earlier epoch of these partitions are dead from now on.
    Assign {
        /// The new epoch of these partitions.
        epoch: Epoch,
        /// Which ones.
        partitions: Vec<Partition>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Vec<StartPosition>>>,
    },
    /// Partitions are being taken away in order: commit what is pending, then answer. No answer within the source's
    /// bound means that it goes on; the commit gate then refuses what comes late.
    Revoke {
        /// Which ones.
        partitions: Vec<Partition>,
        /// Answered when nothing of them is pending any more.
        reply: oneshot::Sender<()>,
    },
    /// Partitions are gone (a session timed out): drop what is pending.
    Lost {
        /// Which ones.
        partitions: Vec<Partition>,
    },
    /// Every assigned partition has been read to the bound that `--until-caught-up` set, or further.
    CaughtUp,
    /// The source ended; nothing follows.
    Ended(Result<(), Error>),
}

/// What a sink (or the supervisor) tells the source.
#[derive(Debug)]
pub enum Command {
    /// The table has moved under the sink, or the sink dropped what it held: ask for positions again ([`Event::Assign`]
    /// with a new epoch) and read all assigned partitions from there.
    Reassign,
    /// The table is safe up to here: write it to the group, for lag tools only.
    Committed(BTreeMap<Partition, NextOffset>),
    /// Stop taking records in, and end.
    Stop,
}
