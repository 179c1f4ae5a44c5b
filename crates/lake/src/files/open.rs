//! One data file on its way into the store: encoder and upload.

use super::partition::folder;
use crate::bounds::metrics;
use crate::store::{Stores, Upload};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Struct, TableMetadata, TableMetadataRef,
};
use iceberg::writer::file_writer::location_generator::{DefaultLocationGenerator, LocationGenerator};
use k2_model::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::properties::WriterProperties;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// What all files of a writer have in common.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) table: TableMetadataRef,
    pub(super) stores: Stores,
    pub(super) locations: DefaultLocationGenerator,
    pub(super) schema: ArrowSchemaRef,
    pub(super) properties: WriterProperties,
}

/// See the module.
#[derive(Debug)]
pub(super) struct OpenFile {
    location: String,
    partition: Struct,
    encoder: ArrowWriter<Vec<u8>>,
    upload: Upload,
}

impl OpenFile {
    /// A new file for rows of this partition value.
    pub(super) async fn create(form: &Form, partition: &Struct) -> Result<Self> {
        let folder = folder(&form.table, partition);
        let name = format!("{}.parquet", Uuid::now_v7());
        let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        let location = form.locations.generate_location(None, &name);
        let options = ArrowWriterOptions::new().with_properties(form.properties.clone()).with_skip_arrow_metadata(true);
        let encoder = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&form.schema), options)
            .map_err(|e| encode_error(e, &location))?;
        let upload = form.stores.upload(&location).await?;
        Ok(Self { location, partition: partition.clone(), encoder, upload })
    }

    pub(super) fn partition(&self) -> &Struct {
        &self.partition
    }

    /// Encodes rows, and hands what is finished to the upload.
    pub(super) async fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        // encoding is CPU work of some milliseconds
        tokio::task::block_in_place(|| self.encoder.write(batch)).map_err(|e| encode_error(e, &self.location))?;
        self.push().await
    }

    /// Ends the row group in encoding. False: there was none.
    pub(super) async fn flush(&mut self) -> Result<bool> {
        if self.encoder.in_progress_rows() == 0 {
            return Ok(false);
        }
        tokio::task::block_in_place(|| self.encoder.flush()).map_err(|e| encode_error(e, &self.location))?;
        self.push().await?;
        Ok(true)
    }

    /// Memory of the row group in encoding.
    pub(super) fn encoding_bytes(&self) -> u64 {
        self.encoder.memory_size() as u64
    }

    /// Memory in all.
    pub(super) fn pending_bytes(&self) -> u64 {
        self.encoding_bytes() + self.upload.pending_bytes()
    }

    /// Size of the file so far.
    pub(super) fn size(&self) -> u64 {
        (self.encoder.bytes_written() + self.encoder.in_progress_size()) as u64
    }

    /// Completes the file in the store and describes it.
    pub(super) async fn complete(mut self, table: &TableMetadata) -> Result<DataFile> {
        let place = self.location.clone();
        let footer = tokio::task::block_in_place(|| self.encoder.finish()).map_err(|e| encode_error(e, &place))?;
        self.push().await?;
        let size = self.upload.finish().await.map_err(|e| e.at(place.clone()))?;
        let m = metrics(&footer, table.current_schema()).map_err(|e| e.at(place.clone()))?;
        let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
        DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(self.location)
            .file_format(DataFileFormat::Parquet)
            .partition(self.partition)
            .partition_spec_id(table.default_partition_spec_id())
            .record_count(rows)
            .file_size_in_bytes(size)
            .column_sizes(m.column_sizes)
            .value_counts(m.value_counts)
            .null_value_counts(m.null_counts)
            .nan_value_counts(HashMap::new())
            .lower_bounds(m.lower)
            .upper_bounds(m.upper)
            .split_offsets(Some(m.split_offsets))
            .build()
            .map_err(|e| Error::unknown("cannot describe a data file").caused_by(e).at(place))
    }

    /// Gives up; nothing becomes visible.
    pub(super) async fn abort(self) {
        self.upload.abort().await;
    }

    /// Moves what the encoder has finished into the upload.
    async fn push(&mut self) -> Result<()> {
        // the encoder counts what passed through it by itself, so its buffer may be emptied
        let bytes = std::mem::take(self.encoder.inner_mut());
        if bytes.is_empty() {
            return Ok(());
        }
        self.upload.write(bytes.into()).await.map_err(|e| e.at(self.location.clone()))
    }
}

fn encode_error(e: parquet::errors::ParquetError, location: &str) -> Error {
    Error::unknown("cannot encode a Parquet file").caused_by(e).at(location.to_owned())
}
