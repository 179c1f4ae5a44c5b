//! Iceberg's own records as tables: `t.snapshots`, `t.files` and so on, with the columns that Java's Iceberg gives them.
//!
//! Two things differ on purpose: bounds are text instead of bytes, so that a person can read them, and
//! `readable_metrics` is therefore left out.

mod batch;
mod files;
mod log;
mod manifests;
mod partition;
mod partitions;

use crate::error::{iceberg_to_datafusion, to_datafusion};
use crate::names::MetadataTable;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use iceberg::spec::{Manifest, ManifestContentType, ManifestFile, SnapshotRef};
use iceberg::table::Table;
use k2_model::Error;
use std::sync::Arc;

/// Manifests that are fetched ahead.
const MANIFESTS_AHEAD: usize = 4;

/// Where the rows of a metadata table come from.
#[derive(Debug, Clone)]
pub(crate) struct MetadataSource {
    table: Table,
    kind: MetadataTable,
    /// The snapshot whose manifests are looked at; none if nothing has been written.
    snapshot: Option<SnapshotRef>,
    schema: SchemaRef,
}

impl MetadataSource {
    /// The metadata table as of a snapshot, or now.
    pub(crate) fn provider(
        table: Table,
        kind: MetadataTable,
        as_of: Option<SnapshotRef>,
    ) -> Result<Arc<dyn TableProvider>> {
        let snapshot = as_of.or_else(|| table.metadata().current_snapshot().cloned());
        // a batch without rows knows its columns
        let schema = match kind {
            MetadataTable::Snapshots => log::snapshots(&table)?.schema(),
            MetadataTable::History => log::history(&table)?.schema(),
            MetadataTable::Refs => log::refs(&table)?.schema(),
            MetadataTable::MetadataLogEntries => log::metadata_log_entries(&table)?.schema(),
            MetadataTable::Files | MetadataTable::DataFiles | MetadataTable::DeleteFiles => {
                files::live(&table, 0, &[])?.schema()
            }
            MetadataTable::Entries => files::entries(&table, 0, &[])?.schema(),
            MetadataTable::Manifests => manifests::manifests(&table, &[])?.schema(),
            MetadataTable::Partitions => partitions::Totals::new(&table)?.finish()?.schema(),
        };
        let source: Arc<dyn PartitionStream> = Arc::new(Self { table, kind, snapshot, schema: Arc::clone(&schema) });
        Ok(Arc::new(StreamingTable::try_new(schema, vec![source])?))
    }

    fn rows(&self) -> BoxStream<'static, Result<RecordBatch>> {
        let once = |batch| stream::once(std::future::ready(batch)).boxed();
        let table = self.table.clone();
        match self.kind {
            MetadataTable::Snapshots => once(log::snapshots(&table)),
            MetadataTable::History => once(log::history(&table)),
            MetadataTable::Refs => once(log::refs(&table)),
            MetadataTable::MetadataLogEntries => once(log::metadata_log_entries(&table)),
            MetadataTable::Files => self.files(|_| true),
            MetadataTable::DataFiles => self.files(|content| content == ManifestContentType::Data),
            MetadataTable::DeleteFiles => self.files(|content| content == ManifestContentType::Deletes),
            MetadataTable::Entries => self
                .each_manifest(|_| true)
                .map(move |read| read.and_then(|(file, m)| files::entries(&table, file.partition_spec_id, m.entries())))
                .boxed(),
            MetadataTable::Manifests => {
                let source = self.clone();
                let batch = async move { manifests::manifests(&source.table, &source.manifest_list().await?) };
                stream::once(batch).boxed()
            }
            MetadataTable::Partitions => {
                let source = self.clone();
                let batch = async move {
                    let mut totals = partitions::Totals::new(&source.table)?;
                    let mut manifests = source.each_manifest(|_| true);
                    while let Some((file, manifest)) = manifests.try_next().await? {
                        totals.add(file.partition_spec_id, manifest.entries());
                    }
                    totals.finish()
                };
                stream::once(batch).boxed()
            }
        }
    }

    /// A batch for each manifest, so that a table of a million files needs the memory of one manifest.
    fn files(&self, wanted: fn(ManifestContentType) -> bool) -> BoxStream<'static, Result<RecordBatch>> {
        let table = self.table.clone();
        self.each_manifest(wanted)
            .map(move |read| read.and_then(|(file, m)| files::live(&table, file.partition_spec_id, m.entries())))
            .boxed()
    }

    async fn manifest_list(&self) -> Result<Vec<ManifestFile>> {
        let Some(snapshot) = &self.snapshot else { return Ok(Vec::new()) };
        let list = self.table.manifest_list_reader(snapshot).load().await;
        let list = list.map_err(|e| iceberg_to_datafusion(self.table.identifier().name(), e))?;
        Ok(list.consume_entries().into_iter().collect())
    }

    fn each_manifest(
        &self,
        wanted: fn(ManifestContentType) -> bool,
    ) -> BoxStream<'static, Result<(ManifestFile, Manifest)>> {
        let source = self.clone();
        let list = async move {
            let list = source.manifest_list().await?;
            let table = source.table;
            let loads = stream::iter(list.into_iter().filter(move |file| wanted(file.content))).map(move |file| {
                let table = table.clone();
                async move {
                    let manifest = file.load_manifest(table.file_io()).await;
                    let manifest = manifest.map_err(|e| iceberg_to_datafusion(table.identifier().name(), e))?;
                    Ok((file, manifest))
                }
            });
            Ok::<_, datafusion::error::DataFusionError>(loads.buffered(MANIFESTS_AHEAD))
        };
        stream::once(list).try_flatten().boxed()
    }
}

impl PartitionStream for MetadataSource {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), self.rows()))
    }
}

/// Metadata that contradicts itself.
fn broken(table: &Table, what: impl Into<String>) -> datafusion::error::DataFusionError {
    let name = table.identifier().name();
    to_datafusion(Error::unknown(what).at(format!("table {name}")))
}
