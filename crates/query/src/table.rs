//! An Iceberg table's rows, for DataFusion: which columns, conditions and how many rows a scan is asked for.

use crate::error::{iceberg_to_datafusion, to_datafusion};
use crate::predicate::{Columns, conjunction, translate};
use crate::scan::{IcebergScan, Request};
use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{ManifestContentType, ManifestFile, Schema, SchemaRef as IcebergSchemaRef, SnapshotRef};
use iceberg::table::Table;
use k2_model::Error;
use std::any::Any;
use std::sync::Arc;

/// A table at one snapshot.
#[derive(Debug)]
pub(crate) struct DataTable {
    table: Table,
    /// None: nothing has been written yet.
    snapshot: Option<SnapshotRef>,
    /// The columns that the rows shall have: today's, or those of the snapshot that was asked for.
    schema: IcebergSchemaRef,
    arrow_schema: SchemaRef,
    /// What the files can be asked about.
    columns: Columns,
}

impl DataTable {
    /// The table as of a snapshot, or now.
    pub(crate) fn new(table: Table, as_of: Option<SnapshotRef>) -> DataFusionResult<Self> {
        let name = table.identifier().name().to_owned();
        let wrong = |e| iceberg_to_datafusion(&name, e);
        let metadata = table.metadata();
        let snapshot = as_of.clone().or_else(|| metadata.current_snapshot().cloned());
        let written = match &snapshot {
            Some(snapshot) => snapshot.schema(metadata).map_err(wrong)?,
            None => Arc::clone(metadata.current_schema()),
        };
        let schema = if as_of.is_some() { Arc::clone(&written) } else { Arc::clone(metadata.current_schema()) };
        let arrow_schema = Arc::new(schema_to_arrow_schema(&schema).map_err(wrong)?);
        let columns = columns(&schema, &written);
        Ok(Self { table, snapshot, schema, arrow_schema, columns })
    }
}

/// Columns that the snapshot has as well, under whatever name, in the same type. One that was added since has no
/// statistics; one that was promoted has them in its old type.
fn columns(schema: &Schema, written: &Schema) -> Columns {
    let pushable = schema.as_struct().fields().iter().filter_map(|field| {
        let kind = field.field_type.as_primitive_type()?;
        let old = written.field_by_id(field.id)?;
        let same = old.field_type.as_primitive_type() == Some(kind);
        same.then(|| (field.name.clone(), (old.name.clone(), kind.clone())))
    });
    pushable.collect()
}

/// How many rows a snapshot has, from its manifest list alone. `None` where the list doesn't say, or where deletes
/// take rows away that only reading can count.
async fn count_rows(table: &Table, snapshot: &SnapshotRef) -> DataFusionResult<Option<u64>> {
    let list = table.manifest_list_reader(snapshot).load().await;
    let list = list.map_err(|e| iceberg_to_datafusion(table.identifier().name(), e))?;
    let rows = |manifest: &ManifestFile| match manifest.content {
        ManifestContentType::Data => manifest.added_rows_count?.checked_add(manifest.existing_rows_count?),
        ManifestContentType::Deletes => {
            let live = manifest.added_files_count?.checked_add(manifest.existing_files_count?)?;
            (live == 0).then_some(0)
        }
    };
    Ok(list.entries().iter().try_fold(0_u64, |sum, manifest| sum.checked_add(rows(manifest)?)))
}

#[async_trait]
impl TableProvider for DataTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.arrow_schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let pushed = |filter: &&Expr| match translate(filter, &self.columns) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(pushed).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let fields = self.schema.as_struct().fields();
        let selected: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..fields.len()).collect());
        let output: ArrowSchema = self.arrow_schema.project(&selected)?;
        let mut field_ids = Vec::with_capacity(selected.len());
        for index in selected {
            let field = fields.get(index).ok_or_else(|| to_datafusion(Error::unknown("a column is out of range")))?;
            field_ids.push(field.id);
        }
        let rows = match &self.snapshot {
            Some(snapshot) => count_rows(&self.table, snapshot).await?,
            None => Some(0),
        };
        let request = Request {
            snapshot_id: self.snapshot.as_ref().map(|snapshot| snapshot.snapshot_id()),
            schema: Arc::clone(&self.schema),
            field_ids,
            pruning: conjunction(filters, &self.columns),
            limit,
            rows,
        };
        let partitions = session.config().target_partitions();
        Ok(Arc::new(IcebergScan::new(self.table.clone(), request, Arc::new(output), partitions)))
    }
}

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
