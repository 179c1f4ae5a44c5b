//! The table's rows by content: sums of all rows in the compared ranges, and single rows where the sums differ.

use super::book::Book;
use super::digest::{Parts, Sums};
use super::incarnation::{Incarnations, Matcher};
use super::rows::{Unread, column, footer, rows};
use super::subject::Entry;
use super::{Phase, Progress, Watch};
use arrow::array::{Array, ArrayRef, AsArray, LargeBinaryArray, ListArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use futures::{StreamExt, TryStreamExt, stream};
use k2_model::{ClusterId, Error, Result, TopicIdentity};
use roaring::RoaringTreemap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Bytes of rows in one batch, about.
const BATCH_BYTES: u64 = 4 << 20;
/// Bytes of files read at a time, about.
const FILES_BYTES: u64 = 64 << 20;
/// Differences that are named.
const NAMED: usize = 10;

/// By partition: the offsets whose rows have neither key nor headers.
pub(super) type Bare = BTreeMap<i32, Arc<RoaringTreemap>>;

/// The columns that keep a record as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    topic: &'static str,
    /// The incarnation of the topic, by its id ...
    topic_id: Option<&'static str>,
    /// ... or by the message id.
    message_id: Option<&'static str>,
    partition: &'static str,
    offset: &'static str,
    value: &'static str,
    key: &'static str,
    timestamp: &'static str,
    headers: Option<&'static str>,
}

impl Columns {
    /// Bronze keeps all of it.
    pub(super) const BRONZE: Self = Self {
        topic: "topic",
        topic_id: Some("topic_id"),
        message_id: None,
        partition: "partition",
        offset: "offset",
        value: "raw_bytes",
        key: "key",
        timestamp: "kafka_timestamp",
        headers: Some("headers"),
    };
    /// The DLQ keeps all but the headers.
    pub(super) const DLQ: Self = Self {
        topic: "kafka_topic",
        topic_id: None,
        message_id: Some("message_id"),
        partition: "kafka_partition",
        offset: "kafka_offset",
        value: "raw_record",
        key: "key",
        timestamp: "kafka_timestamp",
        headers: None,
    };

    fn names(&self) -> Vec<&'static str> {
        let always = [self.topic, self.partition, self.offset, self.value, self.key, self.timestamp];
        always.into_iter().chain(self.topic_id.or(self.message_id)).chain(self.headers).collect()
    }
}

/// What is compared of a partition: from, to, the offsets whose rows keep the record, and those that Kafka showed.
type Part<'a> = (i64, i64, &'a RoaringTreemap, &'a RoaringTreemap);

/// Which rows are compared: those whose record Kafka showed.
pub(super) struct Wanted<'a> {
    cluster: &'a ClusterId,
    topic: &'a str,
    topic_id: Option<&'a str>,
    partitions: HashMap<i32, Part<'a>>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(identity: &'a TopicIdentity, partitions: HashMap<i32, Part<'a>>) -> Self {
        let topic_id = identity.topic_id.as_ref().map(|id| id.as_str());
        Self { cluster: &identity.cluster_id, topic: &identity.topic, topic_id, partitions }
    }

    fn has(&self, partition: i32, offset: i64) -> bool {
        let Some((from, to, kept, seen)) = self.partitions.get(&partition) else { return false };
        (*from..*to).contains(&offset) && u64::try_from(offset).is_ok_and(|o| kept.contains(o) && seen.contains(o))
    }

    /// Tells rows of this incarnation by their message ids.
    fn matcher(&self) -> Matcher {
        let mut this = Incarnations::default();
        this.learn(self.cluster, self.topic, self.topic_id);
        Matcher::new(this)
    }

    /// Whether the bounds of a file leave room for such rows, and for such of these blocks if some are given.
    fn may_be_in(&self, entry: &Entry, blocks: Option<&[(i32, i64, i64)]>) -> bool {
        let overlaps = |from: i64, to: i64| {
            entry.offsets.0.is_none_or(|lower| lower < to) && entry.offsets.1.is_none_or(|upper| upper >= from)
        };
        match blocks {
            Some(blocks) => blocks.iter().any(|(_, from, to)| overlaps(*from, *to)),
            None => self.partitions.values().any(|(from, to, ..)| overlaps(*from, *to)),
        }
    }
}

/// A row that does not hold what its record holds.
pub(super) struct Difference {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) parts: Vec<&'static str>,
    pub(super) file: String,
}

/// Reads a table's rows whole.
pub(super) struct Content<'a> {
    pub(super) book: &'a Book<'a>,
    pub(super) columns: Columns,
    pub(super) watch: &'a Watch,
}

impl Content<'_> {
    /// The sums of all wanted rows.
    pub(super) async fn sums(&self, wanted: &Wanted<'_>, bare: &Bare) -> Result<Sums> {
        let entries: Vec<&Entry> = self.book.subject.entries.iter().filter(|e| wanted.may_be_in(e, None)).collect();
        let largest = entries.iter().map(|e| e.size).max().unwrap_or(1).max(1);
        let at_once = usize::try_from((FILES_BYTES / largest).clamp(1, 6)).unwrap_or(1);
        let of = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        let reads = entries.into_iter().map(|entry| async move {
            let (mut sums, mut rows) = (Sums::default(), 0);
            self.each(entry, wanted, bare, |partition, offset, parts| {
                rows += 1;
                sums.add(partition, offset, &parts);
            })
            .await?;
            Ok::<_, Error>((sums, rows))
        });
        let mut reads = stream::iter(reads).buffer_unordered(at_once);
        let (mut all, mut done, mut rows) = (Sums::default(), 0, 0_u64);
        while let Some((sums, more)) = reads.try_next().await? {
            all.merge(sums);
            (done, rows) = (done + 1, rows + more);
            (self.watch)(Progress { table: self.book.name, phase: Phase::Content, done, of, rows });
        }
        Ok(all)
    }

    /// The first rows in these blocks that differ from the records.
    pub(super) async fn differences(
        &self,
        wanted: &Wanted<'_>,
        bare: &Bare,
        records: &HashMap<(i32, i64), Parts>,
        blocks: &[(i32, i64, i64)],
    ) -> Result<Vec<Difference>> {
        let mut found = Vec::new();
        for entry in self.book.subject.entries.iter().filter(|e| wanted.may_be_in(e, Some(blocks))) {
            self.each(entry, wanted, bare, |partition, offset, parts| {
                let Some(record) = records.get(&(partition, offset)) else { return };
                let differing = record.differing(&parts);
                if !differing.is_empty() && found.len() < NAMED {
                    found.push(Difference { partition, offset, parts: differing, file: entry.path.clone() });
                }
            })
            .await?;
            if found.len() == NAMED {
                break;
            }
        }
        found.sort_by_key(|d| (d.partition, d.offset));
        Ok(found)
    }

    /// Hands out the wanted rows of a file. A file that cannot be read is a finding elsewhere; its rows are left out.
    async fn each(
        &self,
        entry: &Entry,
        wanted: &Wanted<'_>,
        bare: &Bare,
        mut on: impl FnMut(i32, i64, Parts),
    ) -> Result<()> {
        match self.read(entry, wanted, bare, &mut on).await {
            Ok(()) | Err(Unread::Bad(_)) => Ok(()),
            Err(Unread::Store(e)) => Err(e),
        }
    }

    async fn read(
        &self,
        entry: &Entry,
        wanted: &Wanted<'_>,
        bare: &Bare,
        on: &mut impl FnMut(i32, i64, Parts),
    ) -> Result<(), Unread> {
        let footer = footer(self.book.subject, &entry.path, entry.size).await?;
        let bytes: i64 = footer.row_groups().iter().map(|g| g.total_byte_size()).sum();
        let a_row = (u64::try_from(bytes).unwrap_or(0) / entry.rows.max(1)).max(1);
        drop(footer);
        let batch_rows = usize::try_from((BATCH_BYTES / a_row).clamp(16, 8192)).unwrap_or(16);
        let schema = self.book.subject.schema();
        let names = self.columns.names();
        let ids: Vec<i32> = names.iter().filter_map(|name| schema.field_id_by_name(name)).collect();
        if ids.len() < names.len() {
            return Err(Unread::Bad(format!("one of the columns {} is missing", names.join(", "))));
        }
        let mut matcher = wanted.matcher();
        let mut batches = rows(self.book.subject, entry, &ids, batch_rows)?;
        while let Some(batch) = batches.try_next().await? {
            let rows = Rows::of(&batch, &self.columns)?;
            for row in 0..batch.num_rows() {
                let (partition, offset) = rows.place(row);
                if rows.topic.value(row) != wanted.topic || !wanted.has(partition, offset) {
                    continue;
                }
                if self.columns.message_id.is_some() {
                    let offset = u64::try_from(offset).unwrap_or(u64::MAX);
                    let same =
                        rows.id(row).is_some_and(|id| matcher.find(wanted.topic, partition, offset, id).is_some());
                    // of an earlier topic, or a finding of its own
                    if same {
                        on(partition, i64::try_from(offset).unwrap_or(i64::MAX), rows.parts(row));
                    }
                    continue;
                }
                let topic_id = rows.id(row);
                if topic_id.is_some() && topic_id != wanted.topic_id {
                    continue;
                }
                let is_bare = bare.get(&partition).is_some_and(|b| u64::try_from(offset).is_ok_and(|o| b.contains(o)));
                // beside a row with the id, one without it is Spark's: a twin, not to be compared
                if wanted.topic_id.is_some() && topic_id.is_none() && !is_bare {
                    continue;
                }
                let parts = rows.parts(row);
                on(partition, offset, if is_bare { parts.without_key_and_headers() } else { parts });
            }
        }
        Ok(())
    }
}

/// The rows of a batch, the columns in the types that they are compared in.
struct Rows {
    topic: StringArray,
    /// The topic id, or the message id.
    id: StringArray,
    partition: ArrayRef,
    offset: ArrayRef,
    value: LargeBinaryArray,
    key: LargeBinaryArray,
    headers: Option<Headers>,
    timestamp: ArrayRef,
}

struct Headers {
    list: ListArray,
    keys: StringArray,
    values: LargeBinaryArray,
}

impl Rows {
    /// Of a batch with the columns of [`Columns::names`].
    fn of(batch: &RecordBatch, columns: &Columns) -> Result<Self, Unread> {
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        Ok(Self {
            topic: column(batch, 0, &DataType::Utf8)?.as_string().clone(),
            partition: column(batch, 1, &DataType::Int32)?,
            offset: column(batch, 2, &DataType::Int64)?,
            value: column(batch, 3, &DataType::LargeBinary)?.as_binary().clone(),
            key: column(batch, 4, &DataType::LargeBinary)?.as_binary().clone(),
            timestamp: column(batch, 5, &timestamp)?,
            id: column(batch, 6, &DataType::Utf8)?.as_string().clone(),
            headers: match columns.headers {
                Some(_) => Headers::of(batch.column(7))?,
                None => None,
            },
        })
    }

    fn place(&self, row: usize) -> (i32, i64) {
        (self.partition.as_primitive::<Int32Type>().value(row), self.offset.as_primitive::<Int64Type>().value(row))
    }

    fn id(&self, row: usize) -> Option<&str> {
        (!self.id.is_null(row)).then(|| self.id.value(row))
    }

    fn parts(&self, row: usize) -> Parts {
        let (value, key) = (bytes(&self.value, row), bytes(&self.key, row));
        let timestamp = self.timestamp.as_primitive::<TimestampMicrosecondType>();
        let timestamp = (!timestamp.is_null(row)).then(|| timestamp.value(row));
        let headers = self.headers.iter().flat_map(|h| h.of_row(row));
        Parts::of(value, key, headers, timestamp)
    }
}

fn bytes(column: &LargeBinaryArray, row: usize) -> Option<&[u8]> {
    (!column.is_null(row)).then(|| column.value(row))
}

impl Headers {
    fn of(column: &ArrayRef) -> Result<Option<Self>, Unread> {
        let bad = |e: arrow::error::ArrowError| Unread::Bad(e.to_string());
        if column.null_count() == column.len() {
            return Ok(None);
        }
        let list = match column.data_type() {
            DataType::List(_) => Arc::clone(column),
            DataType::LargeList(element) => {
                let element = Field::clone(element);
                cast(column, &DataType::List(Arc::new(element))).map_err(bad)?
            }
            other => return Err(Unread::Bad(format!("headers is {other}, not a list"))),
        };
        let list = list.as_list::<i32>().clone();
        let Some(entries) = list.values().as_struct_opt() else {
            return Err(Unread::Bad("a header is not a struct".to_owned()));
        };
        let keys = cast(entries.column(0), &DataType::Utf8).map_err(bad)?.as_string().clone();
        let values = cast(entries.column(1), &DataType::LargeBinary).map_err(bad)?.as_binary().clone();
        Ok(Some(Self { list, keys, values }))
    }

    fn of_row(&self, row: usize) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let offsets = self.list.value_offsets();
        let at = |i: usize| offsets.get(i).and_then(|o| usize::try_from(*o).ok()).unwrap_or(0);
        let range = if self.list.is_null(row) { 0..0 } else { at(row)..at(row + 1) };
        range.map(|i| (self.keys.value(i), (!self.values.is_null(i)).then(|| self.values.value(i))))
    }
}
