//! Reading a table's files, in several partitions so that every core decodes.
//!
//! Files are planned when the first partition is polled, once, and dealt out by size; a large file is cut at its row
//! groups. Each partition reads one file at a time (small ones: a few, because opening them is all there is to wait for),
//! so what is held is about one row group's selected columns per partition.

use crate::error::{iceberg_to_datafusion, to_datafusion};
use crate::predicate::Pruning;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::scan::FileScanTask;
use iceberg::spec::{PrimitiveType, SchemaRef as IcebergSchemaRef, Type};
use iceberg::table::Table;
use k2_model::Error;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Fewer rows than this are not worth a second partition.
const SMALL_TABLE_ROWS: u64 = 50_000;
/// Pieces of a file are not smaller than this.
const SMALLEST_PIECE: u64 = 8 << 20;
/// Files under this size are read several at a time.
const SMALL_FILE: u64 = 4 << 20;
/// So many.
const SMALL_FILES_AT_ONCE: usize = 4;

/// What is to be read.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// None: there is nothing.
    pub(crate) snapshot_id: Option<i64>,
    /// The schema in which rows are wanted; the files may have been written in an older one.
    pub(crate) schema: IcebergSchemaRef,
    /// The columns, in order. None at all is fine: only the rows count.
    pub(crate) field_ids: Vec<i32>,
    /// Rows that don't fulfil it may be left out.
    pub(crate) pruning: Option<Pruning>,
    /// More rows than this are not needed.
    pub(crate) limit: Option<usize>,
    /// How many rows the snapshot has, if that is known for sure.
    pub(crate) rows: Option<u64>,
}

/// The plan node.
#[derive(Debug)]
pub(crate) struct IcebergScan {
    table: Table,
    request: Request,
    properties: Arc<PlanProperties>,
    /// Each partition's share; the same however often the plan is executed.
    shares: Arc<OnceCell<Vec<Vec<FileScanTask>>>>,
    metrics: ExecutionPlanMetricsSet,
}

impl IcebergScan {
    pub(crate) fn new(table: Table, request: Request, output: SchemaRef, partitions: usize) -> Self {
        let small = request.rows.is_some_and(|rows| rows < SMALL_TABLE_ROWS);
        let partitions = if small { 1 } else { partitions.max(1) };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(output),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            table,
            request,
            properties: Arc::new(properties),
            shares: Arc::default(),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    fn partitions(&self) -> usize {
        self.properties.partitioning.partition_count()
    }

    /// The columns to read from the files: when none is wanted, the cheapest one, for its length.
    fn columns_to_read(&self) -> Vec<i32> {
        if !self.request.field_ids.is_empty() {
            return self.request.field_ids.clone();
        }
        let fields = self.request.schema.as_struct().fields();
        let cheapest = fields.iter().min_by_key(|field| match field.field_type.as_ref() {
            Type::Primitive(PrimitiveType::Boolean | PrimitiveType::Int | PrimitiveType::Date) => 0,
            Type::Primitive(PrimitiveType::String | PrimitiveType::Binary) => 2,
            Type::Primitive(_) => 1,
            _ => 3,
        });
        cheapest.map(|field| field.id).into_iter().collect()
    }
}

/// Finds the files and deals them out.
async fn plan(table: Table, request: Request, columns: Vec<i32>, partitions: usize) -> Result<Vec<Vec<FileScanTask>>> {
    let wrong = |e| iceberg_to_datafusion(table.identifier().name(), e);
    let Some(snapshot_id) = request.snapshot_id else { return Ok(vec![Vec::new(); partitions]) };
    let mut scan = table.scan().snapshot_id(snapshot_id).select_empty();
    if let Some(pruning) = &request.pruning {
        scan = scan.with_filter(pruning.predicate.clone());
    }
    let scan = scan.build().map_err(wrong)?;
    let mut found = scan.plan_files().await.map_err(wrong)?;
    let mut tasks = Vec::new();
    let mut rows = 0_u64;
    while let Some(mut task) = found.try_next().await.map_err(wrong)? {
        task.schema = Arc::clone(&request.schema);
        task.project_field_ids.clone_from(&columns);
        // with nothing filtered and nothing deleted, the first files are enough for a limit
        let certain = task.predicate.is_none() && task.deletes.is_empty();
        rows = rows.saturating_add(if certain { task.record_count.unwrap_or(0) } else { 0 });
        tasks.push(task);
        if request.limit.is_some_and(|limit| rows >= u64::try_from(limit).unwrap_or(u64::MAX)) {
            break;
        }
    }
    Ok(deal(tasks, partitions))
}

/// Cuts large files and gives each piece, largest first, to the partition that has least so far.
fn deal(tasks: Vec<FileScanTask>, partitions: usize) -> Vec<Vec<FileScanTask>> {
    let total: u64 = tasks.iter().map(|task| task.file_size_in_bytes).sum();
    let fair = total.div_ceil(u64::try_from(partitions).unwrap_or(1)).max(SMALLEST_PIECE);
    let mut pieces: Vec<FileScanTask> = tasks.into_iter().flat_map(|task| cut(task, fair)).collect();
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.length));
    let mut shares = vec![(0_u64, Vec::new()); partitions];
    for piece in pieces {
        if let Some((bytes, share)) = shares.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            // opening a file costs as well
            *bytes += piece.length + (64 << 10);
            share.push(piece);
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

/// The reader takes the row groups whose middle lies in `start..start + length`: each belongs to exactly one piece.
fn cut(task: FileScanTask, most: u64) -> Vec<FileScanTask> {
    let size = task.file_size_in_bytes;
    let pieces = size.div_ceil(most).max(1);
    let length = size.div_ceil(pieces);
    (0..pieces)
        .map(|i| {
            let mut piece = task.clone();
            piece.start = i * length;
            piece.length = length.min(size.saturating_sub(piece.start));
            piece.record_count = task.record_count.filter(|_| pieces == 1);
            piece
        })
        .collect()
}

/// The reader's batch in exactly the columns that were announced.
fn adapt(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    if schema.fields().is_empty() {
        return Ok(RecordBatch::try_new_with_options(Arc::clone(schema), Vec::new(), &rows)?);
    }
    if batch.num_columns() != schema.fields().len() {
        let said = format!("the files gave {} columns for {}", batch.num_columns(), schema.fields().len());
        return Err(to_datafusion(Error::unknown(said)));
    }
    // values that are constant in a file (identity partitions) come run-length encoded
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            cast(column, field.data_type()).map_err(DataFusionError::from)
        }
    });
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_>>()?, &rows)?)
}

impl ExecutionPlan for IcebergScan {
    fn name(&self) -> &'static str {
        "IcebergScan"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (table, request) = (self.table.clone(), self.request.clone());
        let (columns, partitions) = (self.columns_to_read(), self.partitions());
        let shares = Arc::clone(&self.shares);
        let name = table.identifier().name().to_owned();
        let batch_size = context.session_config().batch_size();
        let opened = async move {
            let reader = table.reader_builder().with_batch_size(batch_size);
            let shares = shares.get_or_try_init(|| plan(table.clone(), request, columns, partitions)).await?;
            let share = shares.get(partition).cloned().unwrap_or_default();
            let small = share.iter().all(|task| task.length < SMALL_FILE);
            let reader = reader.with_data_file_concurrency_limit(if small { SMALL_FILES_AT_ONCE } else { 1 });
            let tasks = stream::iter(share.into_iter().map(Ok)).boxed();
            let wrong = |e| iceberg_to_datafusion(table.identifier().name(), e);
            Ok::<_, DataFusionError>(reader.build().read(tasks).map_err(wrong)?.stream())
        };
        let schema = self.schema();
        let output = Arc::clone(&schema);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let mut left = self.request.limit.unwrap_or(usize::MAX);
        let batches = stream::once(opened)
            .map_ok(move |batches| {
                let name = name.clone();
                batches.map_err(move |e| iceberg_to_datafusion(&name, e))
            })
            .try_flatten()
            .and_then(move |batch| std::future::ready(adapt(&batch, &output)))
            .try_take_while({
                let mut left = left;
                move |batch| {
                    let go_on = left > 0;
                    left = left.saturating_sub(batch.num_rows());
                    std::future::ready(Ok(go_on))
                }
            })
            .map_ok(move |batch| {
                let batch = batch.slice(0, batch.num_rows().min(left));
                left -= batch.num_rows();
                metrics.record_output(batch.num_rows());
                batch
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        let rows = self.request.rows.and_then(|rows| usize::try_from(rows).ok());
        let (None, Some(rows)) = (partition, rows) else { return Ok(statistics) };
        // a limit is per partition and pruning is not exact: then it is an estimate
        let exact = self.request.pruning.is_none() && self.request.limit.is_none();
        statistics.num_rows = if exact { Precision::Exact(rows) } else { Precision::Inexact(rows) };
        Ok(statistics)
    }
}

impl DisplayAs for IcebergScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IcebergScan: table={}", self.table.identifier().name())?;
        if let Some(id) = self.request.snapshot_id {
            write!(f, ", snapshot={id}")?;
        }
        let schema = self.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, ", columns=[{}]", columns.join(", "))?;
        if let Some(pruning) = &self.request.pruning {
            write!(f, ", pruned by {}", pruning.text)?;
        }
        if let Some(limit) = self.request.limit {
            write!(f, ", limit={limit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "scan/tests.rs"]
mod tests;
