//! The bronze lane: raw Kafka records, byte for byte, into a bronze table. Nothing is decoded and nothing is rejected.

use crate::sink::{Arrival, Lane};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow::array::{Int32Array, TimestampMicrosecondArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use iceberg::spec::{DataFile, TableMetadataRef};
use iceberg::table::Table;
use k2_lake::contract::{self, TableContract};
use k2_lake::decision::Proposal;
use k2_lake::files::{TableWriter, partition_of};
use k2_lake::gate::Gate;
use k2_lake::store::Stores;
use k2_model::{Error, Partition, Result, SourceState, TopicIdentity, clock};
use std::collections::HashSet;
use std::sync::Arc;

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

/// See the module.
#[derive(Debug)]
pub(crate) struct Bronze;

impl Lane for Bronze {
    type Rows = RecordBatch;
    type Files = TableWriter;

    fn contract(&self) -> TableContract {
        contract::bronze()
    }

    fn open(&self, table: &TableMetadataRef, stores: &Stores) -> Result<TableWriter> {
        TableWriter::new(table, stores, &COLUMNS)
    }

    fn only(rows: RecordBatch, partitions: &HashSet<i32>) -> Result<RecordBatch> {
        only(&rows, partitions)
    }

    async fn write(
        &mut self,
        files: &mut TableWriter,
        table: &TableMetadataRef,
        arrival: Arrival<RecordBatch>,
    ) -> Result<()> {
        let Arrival { rows: records, identity, received_at } = arrival;
        let rows = bronze_rows(&records, &identity, received_at, files.schema())?;
        drop(records);
        files.write(&rows, &partition_of(table, received_at)?).await
    }

    fn pending_bytes(files: &TableWriter) -> u64 {
        files.pending_bytes()
    }

    fn is_full(files: &TableWriter) -> bool {
        files.has_full_file()
    }

    async fn finish(&mut self, files: TableWriter, _: &mut Proposal) -> Result<Vec<DataFile>> {
        files.finish().await
    }

    async fn abort(files: TableWriter) {
        files.abort().await;
    }

    async fn head(&mut self, gate: &Gate, _: &[Partition]) -> Result<(Table, Option<SourceState>)> {
        gate.head().await
    }

    async fn committed(&mut self, _: &Proposal, _: u64) -> Result<()> {
        Ok(())
    }
}

/// The rows of some partitions.
fn only(records: &RecordBatch, wanted: &HashSet<i32>) -> Result<RecordBatch> {
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
