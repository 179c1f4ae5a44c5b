//! The silver lane: valid rows into the silver table, rejects into the DLQ table, as one unit.
//!
//! ## Consistency
//! 1. The files of both tables are complete before anything is committed.
//! 2. The silver commit is the decision: it carries the rows, the position, and the intent to add the DLQ files. A batch
//!    without a valid row commits an empty snapshot for it; a batch without rejects has no intent and costs no DLQ commit.
//! 3. No record is routed twice: after a crash the intent is carried out as it was decided, whatever the rules say by then.
//! 4. Intents of others (another process of the group, the one before us) are carried out before positions are handed out.
//!
//! A crash between the two commits leaves the intent in the silver table; before the first one, files that nobody refers to.

use crate::dlq::DlqClient;
use crate::offsets::check_agreement;
use crate::rate::RejectRate;
use crate::sink::{Arrival, Lane};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use iceberg::TableIdent;
use iceberg::spec::{DataFile, TableMetadataRef};
use iceberg::table::Table;
use k2_lake::contract::{self, TableContract};
use k2_lake::decision::Proposal;
use k2_lake::files::{TableWriter, split};
use k2_lake::gate::{self, Gate};
use k2_lake::store::Stores;
use k2_model::{BatchId, Error, Intent, Partition, Result, SourceId, SourceState};
use k2_transform::Routed;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// See the module.
pub(crate) struct Silver {
    /// The pipeline's name, for logs.
    pub(crate) pipeline: String,
    /// The source in both tables.
    pub(crate) source: SourceId,
    /// The topic.
    pub(crate) topic: Arc<str>,
    /// The version of the rules that route.
    pub(crate) rules: String,
    /// The DLQ table's name and form.
    pub(crate) dlq_ident: TableIdent,
    /// The DLQ table as loaded and checked.
    pub(crate) dlq_table: TableMetadataRef,
    /// The DLQ task.
    pub(crate) dlq: DlqClient,
    /// Intents that are known to be in the DLQ table and still stand in the silver table's position.
    pub(crate) settled: Vec<BatchId>,
    /// Of rejects among records.
    pub(crate) rate: RejectRate,
}

/// The open files of a silver batch.
pub(crate) struct SilverFiles {
    silver: TableWriter,
    /// None until the first reject.
    dlq: Option<TableWriter>,
    stores: Stores,
    notices: BTreeMap<String, u64>,
}

impl Silver {
    /// Intents about these partitions that are not known to be in the DLQ table.
    fn unsettled<'a>(
        &'a self,
        state: &'a SourceState,
        partitions: &'a [Partition],
    ) -> impl Iterator<Item = &'a Intent> + 'a {
        let about = |i: &&Intent| partitions.iter().any(|p| i.ranges.contains_key(p));
        state.intents.iter().filter(|i| !self.settled.contains(&i.batch)).filter(about)
    }
}

impl Lane for Silver {
    type Rows = Routed;
    type Files = SilverFiles;

    fn contract(&self) -> TableContract {
        contract::silver()
    }

    fn open(&self, table: &TableMetadataRef, stores: &Stores) -> Result<SilverFiles> {
        let silver = TableWriter::new(table, stores, &names(&k2_transform::silver_schema()))?;
        Ok(SilverFiles { silver, dlq: None, stores: stores.clone(), notices: BTreeMap::new() })
    }

    fn only(rows: Routed, partitions: &HashSet<i32>) -> Result<Routed> {
        let Routed { silver, dlq, notices } = rows;
        Ok(Routed { silver: only(&silver, partitions)?, dlq: only(&dlq, partitions)?, notices })
    }

    async fn write(
        &mut self,
        files: &mut SilverFiles,
        table: &TableMetadataRef,
        arrival: Arrival<Routed>,
    ) -> Result<()> {
        let Routed { silver, dlq, notices } = arrival.rows;
        for (name, count) in notices {
            *files.notices.entry(name).or_default() += count;
        }
        write(&mut files.silver, table, silver).await?;
        if dlq.num_rows() > 0 {
            let writer = match &mut files.dlq {
                Some(writer) => writer,
                none => {
                    none.insert(TableWriter::new(&self.dlq_table, &files.stores, &names(&k2_transform::dlq_schema()))?)
                }
            };
            write(writer, &self.dlq_table, dlq).await?;
        }
        Ok(())
    }

    fn pending_bytes(files: &SilverFiles) -> u64 {
        files.silver.pending_bytes() + files.dlq.as_ref().map_or(0, TableWriter::pending_bytes)
    }

    fn is_full(files: &SilverFiles) -> bool {
        files.silver.has_full_file() || files.dlq.as_ref().is_some_and(TableWriter::has_full_file)
    }

    async fn finish(&mut self, files: SilverFiles, proposal: &mut Proposal) -> Result<Vec<DataFile>> {
        let SilverFiles { silver, dlq, notices, .. } = files;
        let silver = silver.finish().await?;
        fail::fail_point!("after_silver_files");
        if let Some(dlq) = dlq {
            let rejects = dlq.finish().await?;
            let ranges = proposal.moves.iter().map(|(p, m)| (*p, (m.from, m.to))).collect();
            let (ident, table) = (&self.dlq_ident, &self.dlq_table);
            proposal.intent = Some(gate::intent(
                proposal.batch,
                ident,
                table,
                &proposal.identity,
                ranges,
                Some(self.rules.clone()),
                &rejects,
            )?);
        }
        proposal.rules = Some(self.rules.clone());
        proposal.settled = self.settled.clone();
        for (notice, count) in notices.into_iter().filter(|(_, count)| *count > 0) {
            tracing::info!(pipeline = %self.pipeline, notice, count, "noticed");
        }
        Ok(silver)
    }

    async fn abort(files: SilverFiles) {
        files.silver.abort().await;
        if let Some(dlq) = files.dlq {
            dlq.abort().await;
        }
    }

    async fn head(&mut self, gate: &Gate, partitions: &[Partition]) -> Result<(Table, Option<SourceState>)> {
        loop {
            let (_, state) = gate.head().await?;
            if let Some(state) = &state {
                let open: Vec<Intent> = self.unsettled(state, partitions).cloned().collect();
                if !open.is_empty() {
                    tracing::info!(pipeline = %self.pipeline, intents = open.len(), "carrying out what was decided on rejects");
                    self.dlq.settle(&self.source, &state.cluster_id, &open).await?;
                    self.settled.extend(open.iter().map(|i| i.batch));
                }
            }
            // the DLQ table first: what it is then held against cannot be older
            let dlq = self.dlq.state(&self.source).await?;
            let (table, state) = gate.head().await?;
            if state.as_ref().is_some_and(|s| self.unsettled(s, partitions).next().is_some()) {
                // the partitions' former owner has committed meanwhile
                continue;
            }
            check_agreement(&self.topic, state.as_ref(), dlq.as_ref())
                .map_err(|e| e.at(format!("table {}", gate.ident())).at(format!("table {}", self.dlq_ident)))?;
            return Ok((table, state));
        }
    }

    async fn committed(&mut self, proposal: &Proposal, rows: u64) -> Result<()> {
        fail::fail_point!("after_silver_commit");
        // the commit took them out of the position
        self.settled.retain(|batch| !proposal.settled.contains(batch));
        let mut rejects = 0;
        if let Some(intent) = &proposal.intent {
            rejects = intent.rows;
            self.dlq.settle(&self.source, &proposal.identity.cluster_id, std::slice::from_ref(intent)).await?;
            self.settled.push(intent.batch);
            tracing::info!(
                pipeline = %self.pipeline, table = %self.dlq_ident, rows = intent.rows, batch = %intent.batch,
                "rejects committed"
            );
        }
        if let Some(percent) = self.rate.add(rows, rejects) {
            tracing::warn!(pipeline = %self.pipeline, "{percent:.2} % of the records of the last hour are rejects (limit 1 %): `k2 dlq list` tells why");
        }
        Ok(())
    }
}

/// Writes rows into the files of their partition values.
async fn write(writer: &mut TableWriter, table: &TableMetadataRef, rows: RecordBatch) -> Result<()> {
    if rows.num_rows() == 0 {
        return Ok(());
    }
    let rows = as_written(rows, writer.schema())?;
    for (partition, rows) in split(table, &rows)? {
        writer.write(&rows, &partition).await?;
    }
    Ok(())
}

fn names(schema: &SchemaRef) -> Vec<&str> {
    schema.fields().iter().map(|f| f.name().as_str()).collect()
}

/// The same columns under the table's field ids.
fn as_written(rows: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = rows.columns().iter().zip(schema.fields()).map(|(column, field)| renamed(column, field.data_type()));
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?).map_err(columns_error)
}

/// A list's element has a field id of its own; all else is as it is.
fn renamed(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    let (DataType::List(element), Some(list)) = (wanted, column.as_list_opt::<i32>()) else {
        return Ok(Arc::clone(column));
    };
    let (offsets, values, nulls) = (list.offsets().clone(), Arc::clone(list.values()), list.nulls().cloned());
    Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, values, nulls).map_err(columns_error)?))
}

/// The rows of some Kafka partitions.
fn only(rows: &RecordBatch, partitions: &HashSet<i32>) -> Result<RecordBatch> {
    let column = rows.column_by_name("kafka_partition").and_then(|c| c.as_primitive_opt::<Int32Type>());
    let column = column.ok_or_else(|| Error::unknown("rows without kafka_partition"))?;
    let mask: BooleanArray = column.iter().map(|p| p.map(|p| partitions.contains(&p))).collect();
    filter_record_batch(rows, &mask).map_err(columns_error)
}

fn columns_error(e: arrow::error::ArrowError) -> Error {
    Error::unknown("routed records do not fit the columns of their table").caused_by(e)
}
