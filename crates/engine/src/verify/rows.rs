//! Reading some columns of one data file, batch by batch, through iceberg's reader: it fills in columns that an older file
//! lacks and leaves out rows that delete files name. Only the selected column chunks of one row group are in memory.

use super::subject::{Entry, Subject};
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use iceberg::arrow::ArrowFileReader;
use iceberg::scan::FileScanTask;
use iceberg::spec::{DataFileFormat, NameMapping};
use k2_lake::store::{iceberg_error, is_not_found};
use k2_model::{Class, Error, Result};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::file::metadata::ParquetMetaData;
use std::sync::Arc;

/// Why a file could not be read.
pub(super) enum Unread {
    /// The file itself is wrong: a finding.
    Bad(String),
    /// The store did not answer, or will not let us: no verification without it.
    Store(Error),
}

impl Unread {
    fn of(what: &str, e: iceberg::Error, path: &str) -> Self {
        let error = iceberg_error(what, e);
        if is_not_found(&error) {
            return Self::Bad("the file is missing".to_owned());
        }
        match error.class() {
            Class::Retry | Class::Config => Self::Store(error.at(path.to_owned())),
            _ => Self::Bad(error.to_string()),
        }
    }
}

/// The length of a file in the store.
pub(super) async fn length(subject: &Subject, path: &str) -> Result<u64, Unread> {
    let failed = |e| Unread::of("cannot look at the file", e, path);
    let file = subject.table.file_io().new_input(path).map_err(failed)?;
    file.metadata().await.map(|m| m.size).map_err(failed)
}

/// The footer of a Parquet file.
pub(super) async fn footer(subject: &Subject, path: &str, size: u64) -> Result<Arc<ParquetMetaData>, Unread> {
    let failed = |e| Unread::of("cannot read the file", e, path);
    let file = subject.table.file_io().new_input(path).map_err(failed)?;
    let reader = file.reader().await.map_err(failed)?;
    let footer = ArrowFileReader::new(iceberg::io::FileMetadata { size }, reader).get_metadata(None).await;
    footer.map_err(|e| {
        failed(iceberg::Error::new(iceberg::ErrorKind::DataInvalid, "not a whole Parquet file").with_source(e))
    })
}

/// Some columns of a file's rows, in the order of `fields`.
pub(super) fn rows(
    subject: &Subject,
    entry: &Entry,
    fields: &[i32],
    batch_rows: usize,
) -> Result<BoxStream<'static, Result<RecordBatch, Unread>>, Unread> {
    let path = entry.path.clone();
    let metadata = subject.table.metadata();
    let mapping = metadata.properties().get("schema.name-mapping.default");
    let mapping = mapping.and_then(|text| serde_json::from_str::<NameMapping>(text).ok()).map(Arc::new);
    let mut task = FileScanTask::builder()
        .with_file_size_in_bytes(entry.size)
        .with_start(0)
        .with_length(entry.size)
        .with_data_file_path(path.clone())
        .with_data_file_format(DataFileFormat::Parquet)
        .with_schema(Arc::clone(subject.schema()))
        .with_project_field_ids(fields.to_vec())
        .with_deletes(entry.deletes.clone())
        .with_partition(Some(entry.partition.clone()))
        .with_case_sensitive(true)
        .build();
    task.partition_spec = metadata.partition_spec_by_id(entry.spec).cloned();
    task.name_mapping = mapping;
    let reader = subject.table.reader_builder().with_data_file_concurrency_limit(1).with_batch_size(batch_rows).build();
    let read = reader.read(futures::stream::iter([Ok(task)]).boxed());
    let stream = read.map_err(|e| Unread::of("cannot read the file", e, &path))?.stream();
    Ok(stream.map_err(move |e| Unread::of("cannot read the file", e, &path)).boxed())
}

/// A column in exactly this type: values that are the same for a whole file come run-length encoded.
pub(super) fn column(batch: &RecordBatch, index: usize, wanted: &DataType) -> Result<ArrayRef, Unread> {
    let column = batch.columns().get(index).ok_or_else(|| Unread::Bad(format!("column {index} was not read")))?;
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    if column.data_type() == &DataType::Null {
        return Ok(arrow::array::new_null_array(wanted, column.len()));
    }
    cast(column, wanted).map_err(|e| Unread::Bad(e.to_string()))
}
