//! One data file: is it there as its manifest says, which offsets does it hold, do its message ids recompute, and are its
//! bounds true?

use super::incarnation::{Incarnations, Matcher};
use super::report::Finding;
use super::rows::{Unread, column, footer, length, rows};
use super::sets::{OffsetSets, Offsets};
use super::subject::{Entry, Subject};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use futures::TryStreamExt;
use iceberg::spec::{Datum, Literal, PrimitiveLiteral, PrimitiveType, Transform};
use iceberg::transform::create_transform_function;
use k2_model::{Error, Result};

/// Rows in a batch of key columns.
const BATCH_ROWS: usize = 16_384;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) rows: u64,
    pub(super) offsets: Offsets,
    /// Offsets that the file has more than once.
    pub(super) twice: Offsets,
    /// The rows could not be read, or not all of them.
    pub(super) unread: bool,
    pub(super) wrong_file: Vec<Finding>,
    pub(super) wrong_bounds: Vec<Finding>,
    /// Rows with a null or negative offset or partition: how many, and the lowest offset.
    pub(super) impossible: Option<(u64, i64)>,
    /// Offsets of rows whose message id recomputes for no incarnation that is known.
    pub(super) strangers: Offsets,
    /// Rows without any place in Kafka, as Spark wrote silver.
    pub(super) placeless: u64,
}

impl Facts {
    fn bad(&mut self, entry: &Entry, what: impl Into<String>) {
        self.wrong_file.push(Finding::new(what).file(&entry.path));
    }
}

/// Looks at a file. `Err`: the store did not answer.
pub(super) async fn inspect(subject: &Subject, entry: &Entry, known: &Incarnations) -> Result<Facts> {
    let mut facts = Facts::default();
    match look(subject, entry, known, &mut facts).await {
        Ok(()) => Ok(facts),
        Err(Unread::Bad(what)) => {
            facts.unread = true;
            facts.bad(entry, what);
            Ok(facts)
        }
        Err(Unread::Store(e)) => Err(e),
    }
}

async fn look(subject: &Subject, entry: &Entry, known: &Incarnations, facts: &mut Facts) -> Result<(), Unread> {
    if !entry.parquet {
        return Err(Unread::Bad("not a Parquet file: K2 cannot read it".to_owned()));
    }
    let size = length(subject, &entry.path).await?;
    if size != entry.size {
        return Err(Unread::Bad(format!("the file has {size} bytes, its manifest says {}", entry.size)));
    }
    let footer = footer(subject, &entry.path, size).await?;
    let in_footer = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
    if in_footer != entry.rows {
        facts.bad(entry, format!("the file has {in_footer} rows, its manifest says {}", entry.rows));
    }
    read_keys(subject, entry, known, facts).await
}

async fn read_keys(subject: &Subject, entry: &Entry, known: &Incarnations, facts: &mut Facts) -> Result<(), Unread> {
    let ids = &subject.keys;
    let mut fields = vec![ids.topic, ids.partition, ids.offset];
    fields.extend(ids.topic_id.or(ids.message_id));
    let mut matcher = ids.message_id.map(|_| Matcher::new(known.clone()));
    let mut day = Day::of(subject, entry);
    let day_at = day.as_ref().map(|day| {
        fields.iter().position(|f| *f == day.source).unwrap_or_else(|| {
            fields.push(day.source);
            fields.len() - 1
        })
    });
    let (mut sets, mut strangers) = (OffsetSets::default(), OffsetSets::default());
    let (mut of_offset, mut of_partition) = (Seen::default(), Seen::default());
    let mut batches = rows(subject, entry, &fields, BATCH_ROWS)?;
    while let Some(batch) = batches.try_next().await? {
        facts.rows += u64::try_from(batch.num_rows()).unwrap_or(0);
        let topics = column(&batch, 0, &DataType::Utf8)?;
        let partitions = column(&batch, 1, &DataType::Int32)?;
        let offsets = column(&batch, 2, &DataType::Int64)?;
        let topic_ids = ids.topic_id.map(|_| column(&batch, 3, &DataType::Utf8)).transpose()?;
        let (topics, partitions, offsets) =
            (topics.as_string::<i32>(), partitions.as_primitive::<Int32Type>(), offsets.as_primitive::<Int64Type>());
        let topic_ids = topic_ids.as_ref().map(|ids| ids.as_string::<i32>());
        let found = match matcher.take() {
            None => None,
            Some(idle) => {
                let (back, found) = recompute(idle, &batch).await?;
                matcher = Some(back);
                Some(found)
            }
        };
        of_offset.see(min(offsets), max(offsets));
        of_partition.see(min(partitions).map(i64::from), max(partitions).map(i64::from));
        for row in 0..batch.num_rows() {
            let (partition, offset) = (partitions.value(row), offsets.value(row));
            let whole = !topics.is_null(row) && !partitions.is_null(row) && !offsets.is_null(row) && partition >= 0;
            let Some(place) = u64::try_from(offset).ok().filter(|_| whole) else {
                if ids.optional && topics.is_null(row) && partitions.is_null(row) && offsets.is_null(row) {
                    facts.placeless += 1;
                    continue;
                }
                let (count, lowest) = facts.impossible.get_or_insert((0, offset));
                (*count, *lowest) = (*count + 1, (*lowest).min(offset));
                continue;
            };
            let topic_id = match &found {
                None => topic_ids.filter(|ids| !ids.is_null(row)).map(|ids| ids.value(row)),
                Some(found) => match found.get(row).copied().flatten().and_then(|at| known.get(at)) {
                    Some(incarnation) => incarnation.topic_id.as_deref(),
                    None => {
                        strangers.add(topics.value(row), None, partition, place);
                        None
                    }
                },
            };
            sets.add(topics.value(row), topic_id, partition, place);
        }
        if let (Some(day), Some(at)) = (&mut day, day_at) {
            day.see(batch.column(at))?;
        }
    }
    (facts.offsets, facts.twice) = sets.finish();
    facts.strangers = strangers.finish().0;
    let named = |id| subject.schema().name_by_field_id(id).unwrap_or("a key column").to_owned();
    let bounds = [(ids.offset, entry.offsets, of_offset), (ids.partition, entry.partitions, of_partition)];
    for (id, (lower, upper), seen) in bounds {
        if let Some(what) = seen.outside(&named(id), lower, upper) {
            facts.wrong_bounds.push(Finding::new(what).file(&entry.path));
        }
    }
    if let Some(what) = day.and_then(|day| day.wrong(entry)) {
        facts.wrong_bounds.push(Finding::new(what).file(&entry.path));
    }
    Ok(())
}

/// The incarnation of every row, by its message id. Hashing is the dearest part of reading silver: it gets a thread, so that
/// the files that are read at a time take all the cores there are.
async fn recompute(mut matcher: Matcher, batch: &RecordBatch) -> Result<(Matcher, Vec<Option<usize>>), Unread> {
    let (topics, partitions) = (column(batch, 0, &DataType::Utf8)?, column(batch, 1, &DataType::Int32)?);
    let (offsets, ids) = (column(batch, 2, &DataType::Int64)?, column(batch, 3, &DataType::Utf8)?);
    let work = move || {
        let (topics, ids) = (topics.as_string::<i32>(), ids.as_string::<i32>());
        let (partitions, offsets) = (partitions.as_primitive::<Int32Type>(), offsets.as_primitive::<Int64Type>());
        let find = |row: usize| {
            let whole = !topics.is_null(row) && !partitions.is_null(row) && !offsets.is_null(row) && !ids.is_null(row);
            let offset = u64::try_from(offsets.value(row)).ok().filter(|_| whole)?;
            matcher.find(topics.value(row), partitions.value(row), offset, ids.value(row))
        };
        let found = (0..ids.len()).map(find).collect();
        (matcher, found)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Unread::Store(Error::unknown("recomputing message ids failed").caused_by(e)))
}

/// The least and the greatest value of a column.
#[derive(Debug, Default, Clone, Copy)]
struct Seen(Option<(i64, i64)>);

impl Seen {
    fn see(&mut self, least: Option<i64>, most: Option<i64>) {
        if let (Some(least), Some(most)) = (least, most) {
            let (a, b) = self.0.get_or_insert((least, most));
            (*a, *b) = ((*a).min(least), (*b).max(most));
        }
    }

    fn outside(self, name: &str, lower: Option<i64>, upper: Option<i64>) -> Option<String> {
        let (least, most) = self.0?;
        let wrong = lower.is_some_and(|l| l > least) || upper.is_some_and(|u| u < most);
        let shown = |bound: Option<i64>| bound.map_or_else(|| "none".to_owned(), |b| b.to_string());
        wrong.then(|| {
            format!(
                "{name} runs from {least} to {most}, the manifest's bounds are {} to {}",
                shown(lower),
                shown(upper)
            )
        })
    }
}

/// The partition field of the file's spec that follows from a date or time, if its transform keeps the order: its value
/// then has to be that of the least and of the greatest row.
struct Day {
    source: i32,
    field: usize,
    name: String,
    kind: PrimitiveType,
    transform: Transform,
    seen: Seen,
}

impl Day {
    fn of(subject: &Subject, entry: &Entry) -> Option<Self> {
        let spec = subject.table.metadata().partition_spec_by_id(entry.spec)?;
        spec.fields().iter().enumerate().find_map(|(at, field)| {
            let kind = subject.schema().field_by_id(field.source_id)?.field_type.as_primitive_type()?.clone();
            let dated = matches!(kind, PrimitiveType::Date | PrimitiveType::Timestamptz);
            let ordered = matches!(
                field.transform,
                Transform::Identity | Transform::Day | Transform::Hour | Transform::Month | Transform::Year
            );
            (dated && ordered).then(|| Self {
                source: field.source_id,
                field: at,
                name: field.name.clone(),
                kind,
                transform: field.transform,
                seen: Seen::default(),
            })
        })
    }

    fn see(&mut self, values: &ArrayRef) -> Result<(), Unread> {
        let bad = |e: arrow::error::ArrowError| Unread::Bad(e.to_string());
        if self.kind == PrimitiveType::Date {
            let values = arrow::compute::cast(values, &DataType::Date32).map_err(bad)?;
            let values = values.as_primitive::<Date32Type>();
            self.seen.see(min(values).map(i64::from), max(values).map(i64::from));
        } else {
            let wanted = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
            let values = arrow::compute::cast(values, &wanted).map_err(bad)?;
            let values = values.as_primitive::<TimestampMicrosecondType>();
            self.seen.see(min(values), max(values));
        }
        Ok(())
    }

    fn wrong(&self, entry: &Entry) -> Option<String> {
        let (least, most) = self.seen.0?;
        let told = entry.partition.fields().get(self.field)?.clone();
        let value = |of: i64| self.transformed(of).ok();
        let (least, most) = (value(least)?, value(most)?);
        if least == told && most == told {
            return None;
        }
        let shown = |literal: &Option<Literal>| match literal {
            Some(Literal::Primitive(PrimitiveLiteral::Int(n))) => n.to_string(),
            Some(Literal::Primitive(PrimitiveLiteral::Long(n))) => n.to_string(),
            Some(other) => format!("{other:?}"),
            None => "null".to_owned(),
        };
        Some(format!(
            "the partition value {} is {}, but the rows have {} to {}",
            self.name,
            shown(&told),
            shown(&least),
            shown(&most)
        ))
    }

    fn transformed(&self, value: i64) -> Result<Option<Literal>> {
        let broken = |e: iceberg::Error| Error::unknown("cannot compute a partition value").caused_by(e);
        let datum = match self.kind {
            PrimitiveType::Date => Datum::date(i32::try_from(value).unwrap_or(i32::MAX)),
            _ => Datum::timestamptz_micros(value),
        };
        let function = create_transform_function(&self.transform).map_err(broken)?;
        Ok(function.transform_literal(&datum).map_err(broken)?.map(Literal::from))
    }
}
