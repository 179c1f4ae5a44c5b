//! Batches of raw records into silver rows and DLQ rows.
//!
//! A batch is prepared (its schema ids get verdicts; that may wait for the registry) and then routed (pure, on the CPU). A
//! future of [`Transformer::prepare`] may be dropped at any point.
//!
//! Invariants: 1. every raw row ends in exactly one of [`Routed::silver`] and [`Routed::dlq`], whatever its bytes are (ARCHITECTURE.md,
//! invariant 4); 2. in which one, and with what in it, depends on the record and the plan alone - not on its neighbours,
//! not on where a batch begins, not on the time (invariant 3; the wall-clock columns excepted); 3. both keep the order of the batch.
//!
//! A crash leaves nothing behind: nothing here outlives its batch but compiled schemas.

use crate::codec::{Codec, Codecs};
use crate::contract::silver_schema;
use crate::dlq::{self, Reject};
use crate::evaluate::{Decoded, Evaluated, evaluate};
use crate::frame::{Frame, Unframed};
use crate::input::{Records, raw};
use crate::message_id::message_ids;
use crate::plan::{Fill, Need};
use crate::projection::repeated;
use crate::rules::Source;
use crate::{Plan, Resolver};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int32Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
    UInt32Array, new_null_array,
};
use arrow::compute::{concat_batches, filter};
use arrow::datatypes::{Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use k2_avro::Decoder;
use k2_model::batch::RAW_SCHEMA;
use k2_model::{Error, Result, TopicIdentity, clock};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Error type of all reasons that come before the rules.
const DESERIALIZATION: &str = "deserialization";

/// One pipeline's transform.
pub struct Transformer {
    plan: Arc<Plan>,
    resolver: Resolver,
    codecs: Codecs,
    decoder: Decoder,
}

/// What became of a batch: every raw row is in exactly one of the two.
#[derive(Debug)]
pub struct Routed {
    /// Rows of [`crate::silver_schema`], in offset order per partition.
    pub silver: RecordBatch,
    /// Rows of [`crate::dlq_schema`], in offset order per partition.
    pub dlq: RecordBatch,
    /// How many silver rows each notice is true of, e.g. `unknown_currency`; those of none are left out.
    pub notices: BTreeMap<String, u64>,
}

/// What would become of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp, µs.
    pub timestamp: Option<i64>,
    /// The schema id of its frame.
    pub schema_id: Option<i32>,
    /// The id that it gets in either table.
    pub message_id: String,
    /// The silver row, column by column as text (null: `None`), or why there is none.
    pub outcome: std::result::Result<Vec<(String, Option<String>)>, Rejected>,
    /// The notices that are true of it.
    pub notices: Vec<String>,
}

/// Why a record is a DLQ row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// `error_reason`
    pub reason: String,
    /// `error_type`
    pub error_type: String,
    /// `error_detail`
    pub detail: Option<String>,
}

impl fmt::Debug for Transformer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transformer").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl Transformer {
    /// Starts with nothing known about any schema id.
    pub fn new(plan: Arc<Plan>, resolver: Resolver) -> Self {
        let decoder = Decoder::new(&plan.reader);
        Self { plan, resolver, codecs: Codecs::default(), decoder }
    }

    /// What it works by.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Learns the schema ids of a batch ([`RAW_SCHEMA`]). Waits for as long as the registry is no help.
    pub async fn prepare(&mut self, batch: &RecordBatch) -> Result<()> {
        let values = values(batch)?;
        let mut ids = BTreeSet::new();
        let mut last = None;
        for value in values {
            // a record that is too large is rejected before anybody asks for its schema
            if let Frame::Framed { id, .. } = Frame::of(value, self.plan.max_record)
                && last != Some(id)
            {
                last = Some(id);
                if !self.codecs.settled(id) {
                    ids.insert(id);
                }
            }
        }
        if ids.is_empty() { Ok(()) } else { self.resolver.resolve(&ids).await }
    }

    /// Routes a prepared batch. `received_at` and `now` (µs) fill the wall-clock columns and nothing else.
    pub fn route(
        &mut self,
        identity: &TopicIdentity,
        batch: &RecordBatch,
        received_at: i64,
        now: i64,
    ) -> Result<Routed> {
        let broken = |e: ArrowError| Error::unknown("a batch of records cannot be routed").caused_by(e);
        let (decoded, rows, mut rejects, records) =
            self.decode(identity, batch).map_err(|e| e.at(format!("pipeline {}", self.plan.pipeline)))?;
        let plan = &*self.plan;
        let pieces = match rows.len() {
            0 => Vec::new(),
            _ => evaluate(plan, &select(plan, &decoded, &rows, &records).map_err(broken)?),
        };
        let mut silver = Vec::with_capacity(1);
        let mut notices = BTreeMap::new();
        for piece in pieces {
            silver.push(silver_rows(plan, &records, &rows, &piece, received_at, now).map_err(broken)?);
            for (name, count) in piece.notices {
                *notices.entry(name.to_string()).or_default() += count;
            }
            rejects.extend(piece.rejected.into_iter().map(|rejected| Reject {
                row: rows[piece.from + usize::try_from(rejected.row).unwrap_or_default()],
                reason: rejected.name.0,
                error_type: rejected.name.1,
                detail: rejected.detail,
            }));
        }
        let silver = match silver.len() {
            0 => RecordBatch::new_empty(silver_schema()),
            1 => silver.swap_remove(0),
            _ => concat_batches(&silver_schema(), &silver).map_err(broken)?,
        };
        rejects.sort_by_key(|reject| reject.row);
        let dlq = dlq::rows(plan, &records, &rejects, received_at, now).map_err(broken)?;
        if silver.num_rows() + dlq.num_rows() != batch.num_rows() {
            return Err(Error::unknown(format!(
                "{} records were routed into {} rows and {} rejects: none of it is used",
                batch.num_rows(),
                silver.num_rows(),
                dlq.num_rows()
            )));
        }
        Ok(Routed { silver, dlq, notices })
    }

    /// Takes frames apart and decodes: the decoded records, their places in the batch, and the rejects.
    fn decode<'a>(
        &mut self,
        identity: &'a TopicIdentity,
        batch: &'a RecordBatch,
    ) -> Result<(RecordBatch, Vec<u32>, Vec<Reject>, Records<'a>)> {
        let values = values(batch)?;
        let mut rows = Vec::with_capacity(values.len());
        let mut schema_ids = Vec::with_capacity(values.len());
        let mut rejects = Vec::new();
        let mut codec: Option<(i32, Codec)> = None;
        for (row, value) in (0u32..).zip(values) {
            let frame = Frame::of(value, self.plan.max_record);
            let Frame::Framed { id, body } = frame else {
                schema_ids.push(0);
                rejects.push(unframed(row, frame, self.plan.max_record));
                continue;
            };
            schema_ids.push(id);
            let codec = match &codec {
                Some((of, codec)) if *of == id => codec,
                _ => {
                    let found = self.codecs.get(id, &self.resolver, &self.plan.reader).ok_or_else(|| {
                        Error::unknown(format!("schema id {id} has no verdict: the batch was not prepared"))
                    })?;
                    &codec.insert((id, found)).1
                }
            };
            let problem = match codec {
                Codec::Ready(program) => match self.decoder.decode(program, body) {
                    Ok(()) => {
                        rows.push(row);
                        continue;
                    }
                    Err(e) => format!("schema id {id}: {e}"),
                },
                Codec::Broken(why) => format!("schema id {id}: {why}"),
                Codec::Unknown => {
                    let detail = format!("the registry knows no schema id {id}");
                    rejects.push(deserialization(row, "unknown_schema_id", detail));
                    continue;
                }
            };
            rejects.push(deserialization(row, "avro_decode_failed", problem));
        }
        let decoded =
            self.decoder.finish().map_err(|e| Error::unknown("decoded records make no batch").caused_by(e))?;
        if decoded.num_rows() != rows.len() {
            return Err(Error::unknown(format!("{} decoded records made {} rows", rows.len(), decoded.num_rows())));
        }
        let (partitions, offsets) = (column(batch, raw::PARTITION)?, column(batch, raw::OFFSET)?);
        let message_ids =
            message_ids(identity, partitions.as_primitive::<Int32Type>(), offsets.as_primitive::<Int64Type>())?;
        let records = Records { batch, topic: &identity.topic, message_ids, schema_ids: Int32Array::from(schema_ids) };
        Ok((decoded, rows, rejects, records))
    }

    /// What would become of each record of a prepared batch, in the order of the batch.
    pub fn explain(
        &mut self,
        identity: &TopicIdentity,
        batch: &RecordBatch,
        received_at: i64,
        now: i64,
    ) -> Result<Vec<Fate>> {
        (0..batch.num_rows()).map(|row| self.fate(identity, &batch.slice(row, 1), received_at, now)).collect()
    }

    fn fate(&mut self, identity: &TopicIdentity, record: &RecordBatch, received_at: i64, now: i64) -> Result<Fate> {
        let routed = self.route(identity, record, received_at, now)?;
        let texts = |batch: &RecordBatch| -> Result<BTreeMap<String, Option<String>>> {
            let schema = batch.schema();
            let cells = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
                let shown = ArrayFormatter::try_new(column, &FormatOptions::new())?;
                Ok((field.name().clone(), column.is_valid(0).then(|| shown.value(0).to_string())))
            });
            let cells: std::result::Result<_, ArrowError> = cells.collect();
            cells.map_err(|e| Error::unknown("a row cannot be shown").caused_by(e))
        };
        let (message_id, outcome) = if routed.silver.num_rows() == 1 {
            let mut cells = texts(&routed.silver)?;
            let id = cells.get("message_id").cloned().flatten();
            let named =
                |field: &Arc<arrow::datatypes::Field>| (field.name().clone(), cells.remove(field.name()).flatten());
            (id, Ok(silver_schema().fields().iter().map(named).collect()))
        } else {
            let mut cells = texts(&routed.dlq)?;
            let mut take = |name: &str| cells.remove(name).flatten();
            let id = take("message_id");
            let rejected = Rejected {
                reason: take("error_reason").unwrap_or_default(),
                error_type: take("error_type").unwrap_or_default(),
                detail: take("error_detail"),
            };
            (id, Err(rejected))
        };
        let timestamps = column(record, raw::TIMESTAMP)?.as_primitive::<TimestampMicrosecondType>();
        let value = values(record)?.iter().next().flatten();
        Ok(Fate {
            partition: column(record, raw::PARTITION)?.as_primitive::<Int32Type>().value(0),
            offset: column(record, raw::OFFSET)?.as_primitive::<Int64Type>().value(0),
            timestamp: timestamps.is_valid(0).then(|| timestamps.value(0)),
            schema_id: crate::frame::schema_id(value),
            message_id: message_id.unwrap_or_default(),
            outcome,
            notices: routed.notices.into_keys().collect(),
        })
    }
}

/// The Kafka values of a batch.
fn values(batch: &RecordBatch) -> Result<&BinaryArray> {
    Ok(column(batch, raw::VALUE)?.as_binary())
}

/// A column of a raw batch, in the type that [`RAW_SCHEMA`] gives it.
fn column(batch: &RecordBatch, place: usize) -> Result<&ArrayRef> {
    match batch.columns().get(place) {
        Some(column) if column.data_type() == RAW_SCHEMA.field(place).data_type() => Ok(column),
        _ => Err(Error::unknown(format!("the batch is not of raw records: {}", batch.schema()))),
    }
}

fn deserialization(row: u32, reason: &str, detail: String) -> Reject {
    Reject { row, reason: reason.into(), error_type: DESERIALIZATION.into(), detail: Some(detail) }
}

/// The reject of a value whose body is not looked at.
fn unframed(row: u32, frame: Frame<'_>, max: u64) -> Reject {
    match frame {
        Frame::Tombstone | Frame::Framed { .. } => deserialization(row, "tombstone", "the value is null".to_owned()),
        Frame::TooLarge { bytes } => {
            deserialization(row, "record_too_large", format!("the value has {bytes} bytes; rules.max_record is {max}"))
        }
        Frame::Unframed(why) => {
            let detail = match why {
                Unframed::Short(0) => "the value is empty".to_owned(),
                Unframed::Short(bytes) => format!("the value has {bytes} bytes; a frame has at least 5"),
                Unframed::Magic(byte) => format!("the value begins with 0x{byte:02x}; a frame begins with 0x00"),
            };
            deserialization(row, "not_confluent_framed", detail)
        }
    }
}

/// The columns that projection and rules need. `rows` are the places of the decoded records in the batch.
fn select(plan: &Plan, decoded: &RecordBatch, rows: &[u32], records: &Records<'_>) -> Result<Decoded, ArrowError> {
    let some = (rows.len() < records.batch.num_rows()).then(|| UInt32Array::from(rows.to_vec()));
    let columns = plan.needs.iter().map(|need| match need {
        Need::Field(place) => Ok(decoded.column(*place).clone()),
        Need::Known(known) => records.known(*known, some.as_ref()),
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let input = RecordBatch::try_new_with_options(plan.input.clone(), columns, &options)?;
    let known = plan.rule_columns().iter().filter_map(|source| match source {
        Source::Known(known) => Some(records.known(*known, some.as_ref())),
        Source::Projected(_) => None,
    });
    Ok(Decoded { input, known: known.collect::<Result<Vec<_>, ArrowError>>()? })
}

/// The accepted rows of a piece as silver rows.
fn silver_rows(
    plan: &Plan,
    records: &Records<'_>,
    rows: &[u32],
    piece: &Evaluated,
    received_at: i64,
    now: i64,
) -> Result<RecordBatch, ArrowError> {
    let schema = silver_schema();
    let accepted = piece.accepted();
    let count = piece.rows - piece.rejected.len();
    if count == 0 {
        return Ok(RecordBatch::new_empty(schema));
    }
    // places in the raw batch; none: all of it
    let some = (count < records.batch.num_rows()).then(|| {
        let rows = rows[piece.from..piece.from + piece.rows].iter().enumerate();
        UInt32Array::from_iter_values(
            rows.filter(|(place, _)| accepted.as_ref().is_none_or(|mask| mask.value(*place))).map(|(_, row)| *row),
        )
    });
    let instant = |micros| Arc::new(TimestampMicrosecondArray::from(vec![micros; count]).with_timezone("+00:00"));
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(plan.silver.len());
    for (fill, field) in plan.silver.iter().zip(schema.fields()) {
        columns.push(match fill {
            Fill::Projected(place) => match &accepted {
                None => piece.columns[*place].clone(),
                Some(mask) => filter(&piece.columns[*place], mask)?,
            },
            Fill::Constant(output) => match plan.constant(*output) {
                Some(one) => repeated(one, count)?,
                None => new_null_array(field.data_type(), count),
            },
            Fill::Known(known) => records.known(*known, some.as_ref())?,
            Fill::Null => new_null_array(field.data_type(), count),
            Fill::ValidatedAt => instant(now),
            Fill::ReceivedAt => instant(received_at),
            // the contract's order has `timestamp` before the day that follows from it
            Fill::TradeDay => {
                let timestamps = columns[schema.index_of("timestamp")?].as_primitive::<Int64Type>();
                Arc::new(timestamps.unary::<_, Date32Type>(clock::day_of))
            }
        });
    }
    RecordBatch::try_new(schema, columns)
}

#[cfg(test)]
#[path = "transformer/tests/mod.rs"]
mod tests;
