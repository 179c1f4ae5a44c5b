//! Record batches to Parquet data files in the warehouse.
//!
//! One [`TableWriter`] per table and sink. It holds at most one open file per partition value that it is fed with in a
//! row, rolls at the table's target size, and hands out [`DataFile`]s when they are complete in the store. Settings come
//! from the table's properties.
//!
//! 1. A file's name carries a fresh uuid and is put with create-if-absent: nobody can overwrite a committed object.
//! 2. Bounds are true for every row ([`crate::bounds`]).
//! 3. Memory is one row group in encoding plus the parts in upload: [`TableWriter::pending_bytes`].
//!
//! A crash here leaves at most files that no snapshot knows; the orphan job removes them. Dropping a future of this
//! module in the middle leaves the writer unusable: drop the writer as well.

use crate::bounds::metrics;
use crate::contract::property;
use crate::store::{Stores, Upload};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Literal, PartitionKey, PrimitiveType, Struct,
    TableMetadata, TableMetadataRef, Type,
};
use iceberg::transform::create_transform_function;
use iceberg::writer::file_writer::location_generator::{DefaultLocationGenerator, LocationGenerator};
use k2_model::{Error, Result, clock};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Writes the rows of one sink into data files of one table.
#[derive(Debug)]
pub struct TableWriter {
    table: TableMetadataRef,
    stores: Stores,
    locations: DefaultLocationGenerator,
    schema: ArrowSchemaRef,
    properties: WriterProperties,
    target: u64,
    open: Option<OpenFile>,
    done: Vec<DataFile>,
    done_bytes: u64,
}

#[derive(Debug)]
struct OpenFile {
    location: String,
    partition: Struct,
    encoder: ArrowWriter<Vec<u8>>,
    upload: Upload,
}

impl TableWriter {
    /// A writer for the columns `columns` (by name) of the table; columns of the table that aren't named stay null.
    pub fn new(table: &TableMetadataRef, stores: &Stores, columns: &[&str]) -> Result<Self> {
        let full = schema_to_arrow_schema(table.current_schema()).map_err(schema_error)?;
        let fields: Vec<Field> = columns
            .iter()
            .map(|c| full.field_with_name(c).map(narrow))
            .collect::<Result<_, _>>()
            .map_err(schema_error)?;
        let schema = Arc::new(ArrowSchema::new(fields));
        Ok(Self {
            properties: writer_properties(table, &schema)?,
            locations: DefaultLocationGenerator::new(table).map_err(schema_error)?,
            target: property(table.properties(), "write.target-file-size-bytes", 128 << 20),
            table: Arc::clone(table),
            stores: stores.clone(),
            schema,
            open: None,
            done: Vec::new(),
            done_bytes: 0,
        })
    }

    /// The Arrow schema that batches must have: the table's types and field ids.
    pub fn schema(&self) -> &ArrowSchemaRef {
        &self.schema
    }

    /// Encodes a batch whose rows all belong to one partition value. Completes the open file first if that belongs to
    /// another, and afterwards if it has reached the target size.
    pub async fn write(&mut self, batch: &RecordBatch, partition: &Struct) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.open.as_ref().is_some_and(|f| f.partition != *partition) {
            self.complete().await?;
        }
        let file = match &mut self.open {
            Some(file) => file,
            none => none.insert(
                open_file(&self.table, &self.locations, &self.stores, &self.schema, &self.properties, partition)
                    .await?,
            ),
        };
        // encoding is CPU work of some milliseconds
        tokio::task::block_in_place(|| file.encoder.write(batch)).map_err(|e| encode_error(e, &file.location))?;
        file.push().await?;
        if file.size() >= self.target {
            self.complete().await?;
        }
        Ok(())
    }

    /// Bytes held in memory: the row group in encoding and parts not yet uploaded.
    pub fn pending_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |f| f.encoder.memory_size() as u64 + f.upload.pending_bytes())
    }

    /// Whether a file has been completed because it reached the target size (or midnight passed).
    pub fn has_full_file(&self) -> bool {
        !self.done.is_empty()
    }

    /// Size so far, of the open file and the completed ones, in bytes.
    pub fn written_bytes(&self) -> u64 {
        self.done_bytes + self.open.as_ref().map_or(0, OpenFile::size)
    }

    /// Completes the open file and hands out all files.
    pub async fn finish(mut self) -> Result<Vec<DataFile>> {
        self.complete().await?;
        Ok(self.done)
    }

    /// Drops what is open. Completed files stay in the store for the orphan job.
    pub async fn abort(mut self) {
        if let Some(file) = self.open.take() {
            file.upload.abort().await;
        }
    }

    async fn complete(&mut self) -> Result<()> {
        let Some(mut file) = self.open.take() else { return Ok(()) };
        let place = file.location.clone();
        let footer = tokio::task::block_in_place(|| file.encoder.finish()).map_err(|e| encode_error(e, &place))?;
        file.push().await?;
        let size = file.upload.finish().await.map_err(|e| e.at(place.clone()))?;
        let m = metrics(&footer, self.table.current_schema()).map_err(|e| e.at(place.clone()))?;
        let rows = u64::try_from(footer.file_metadata().num_rows()).unwrap_or(0);
        let data_file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(file.location)
            .file_format(DataFileFormat::Parquet)
            .partition(file.partition)
            .partition_spec_id(self.table.default_partition_spec_id())
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
            .map_err(|e| Error::unknown("cannot describe a data file").caused_by(e).at(place))?;
        self.done_bytes += size;
        self.done.push(data_file);
        Ok(())
    }
}

async fn open_file(
    table: &TableMetadataRef,
    locations: &DefaultLocationGenerator,
    stores: &Stores,
    schema: &ArrowSchemaRef,
    properties: &WriterProperties,
    partition: &Struct,
) -> Result<OpenFile> {
    let key = PartitionKey::new(
        table.default_partition_spec().as_ref().clone(),
        Arc::clone(table.current_schema()),
        partition.clone(),
    );
    let location = locations.generate_location(Some(&key), &format!("{}.parquet", Uuid::now_v7()));
    let options = ArrowWriterOptions::new().with_properties(properties.clone()).with_skip_arrow_metadata(true);
    let encoder = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), options)
        .map_err(|e| encode_error(e, &location))?;
    let upload = stores.upload(&location).await?;
    Ok(OpenFile { location, partition: partition.clone(), encoder, upload })
}

impl OpenFile {
    /// Moves what the encoder has finished into the upload.
    async fn push(&mut self) -> Result<()> {
        // the encoder counts what passed through it by itself, so its buffer may be emptied
        let bytes = std::mem::take(self.encoder.inner_mut());
        if bytes.is_empty() {
            return Ok(());
        }
        self.upload.write(bytes.into()).await.map_err(|e| e.at(self.location.clone()))
    }

    fn size(&self) -> u64 {
        (self.encoder.bytes_written() + self.encoder.in_progress_size()) as u64
    }
}

/// iceberg maps binary to Arrow's large form; a batch never has 2 GiB of it, and the file is the same.
fn narrow(field: &Field) -> Field {
    let kind = match field.data_type() {
        DataType::LargeBinary => DataType::Binary,
        DataType::List(element) => DataType::List(Arc::new(narrow(element))),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|f| narrow(f)).collect()),
        other => other.clone(),
    };
    field.clone().with_data_type(kind)
}

fn encode_error(e: parquet::errors::ParquetError, location: &str) -> Error {
    Error::unknown("cannot encode a Parquet file").caused_by(e).at(location.to_owned())
}

fn schema_error(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::config("the table's schema cannot be written").caused_by(e)
}

/// Parquet settings from the table's properties (Iceberg's names), and encodings by what a column holds.
fn writer_properties(table: &TableMetadata, schema: &ArrowSchema) -> Result<WriterProperties> {
    let p = table.properties();
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("k2 ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(compression(p)?)
        .set_max_row_group_row_count(Some(1 << 20))
        .set_max_row_group_bytes(Some(property(p, "write.parquet.row-group-size-bytes", 16 << 20).max(1 << 10)))
        .set_data_page_size_limit(property(p, "write.parquet.page-size-bytes", 1 << 20))
        .set_data_page_row_count_limit(property(p, "write.parquet.page-row-limit", 20_000))
        .set_dictionary_page_size_limit(property(p, "write.parquet.dict-size-bytes", 1 << 20))
        .set_statistics_truncate_length(Some(64));
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        builder = match field.data_type() {
            // opaque bytes: no order that anybody asks for, no repetition worth a dictionary
            DataType::Binary if field.name() == "raw_bytes" || field.name() == "raw_record" => builder
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_statistics_enabled(column, EnabledStatistics::None),
            DataType::Int64 | DataType::Timestamp(..) => builder
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED),
            _ => builder,
        };
    }
    Ok(builder.build())
}

fn compression(properties: &HashMap<String, String>) -> Result<Compression> {
    let codec = properties.get("write.parquet.compression-codec").map_or("zstd", String::as_str);
    let level = properties.get("write.parquet.compression-level");
    let bad = |e: parquet::errors::ParquetError| {
        Error::config(format!("table property write.parquet.compression-level does not fit {codec}")).caused_by(e)
    };
    let number = |default: i32| level.map_or(Ok(default), |l| l.trim().parse::<i32>());
    let not_a_number = |e: std::num::ParseIntError| {
        Error::config("table property write.parquet.compression-level is not a number").caused_by(e)
    };
    Ok(match codec.to_ascii_lowercase().as_str() {
        // streaming writes want level 1: level 3 costs 2.8 times the CPU for 2 % of size (docs/adr/0004)
        "zstd" => Compression::ZSTD(ZstdLevel::try_new(number(1).map_err(not_a_number)?).map_err(bad)?),
        "gzip" => {
            let level = u32::try_from(number(6).map_err(not_a_number)?).unwrap_or(u32::MAX);
            Compression::GZIP(GzipLevel::try_new(level).map_err(bad)?)
        }
        "snappy" => Compression::SNAPPY,
        "lz4" => Compression::LZ4_RAW,
        "uncompressed" | "none" => Compression::UNCOMPRESSED,
        other => {
            return Err(Error::config(format!(
                "table property write.parquet.compression-codec = {other} is not supported"
            ))
            .fix("set it to zstd, snappy, lz4, gzip or uncompressed"));
        }
    })
}

/// The columns that are the same for all rows of a bronze batch; a bronze table may be partitioned by any of them.
const CONSTANT_COLUMNS: [&str; 2] = ["ingestion_date", "ingestion_timestamp"];

/// Checks that the partition value follows from the time of ingestion alone.
pub(crate) fn constant_partition(table: &TableMetadata) -> Result<()> {
    for field in table.default_partition_spec().fields() {
        let source = table.current_schema().field_by_id(field.source_id);
        if !source.is_some_and(|s| CONSTANT_COLUMNS.contains(&s.name.as_str())) {
            return Err(Error::config(format!(
                "partition field {} does not follow from ingestion_date or ingestion_timestamp",
                field.name
            )));
        }
    }
    Ok(())
}

/// The partition value of rows that were received at a time (µs).
pub fn partition_of(table: &TableMetadata, received_at: i64) -> Result<Struct> {
    let broken = |e: iceberg::Error| Error::config("cannot compute the partition value").caused_by(e);
    let values = table.default_partition_spec().fields().iter().map(|field| {
        let source = table.current_schema().field_by_id(field.source_id);
        let datum = match source.map(|s| s.field_type.as_ref()) {
            Some(Type::Primitive(PrimitiveType::Date)) => Datum::date(clock::day_of(received_at)),
            _ => Datum::timestamptz_micros(received_at),
        };
        let transform = create_transform_function(&field.transform).map_err(broken)?;
        Ok(transform.transform_literal(&datum).map_err(broken)?.map(Literal::from))
    });
    Ok(Struct::from_iter(values.collect::<Result<Vec<_>>>()?))
}

#[cfg(test)]
#[path = "files/tests.rs"]
mod tests;
