//! Record batches to Parquet data files in the warehouse.
//!
//! One [`TableWriter`] per table and batch. It holds a file open per partition value that it is fed with, completes a file
//! at the table's target size, and hands out [`DataFile`]s when they are complete in the store. Settings come from the
//! table's properties. [`split`] sorts rows by partition value.
//!
//! 1. A file's name carries a fresh uuid and is put with create-if-absent: nobody can overwrite a committed object.
//! 2. Bounds are true for every row ([`crate::bounds`]).
//! 3. Memory is two row groups in encoding, whatever the number of files, the parts in upload, and some rows that
//!    wait: [`TableWriter::pending_bytes`].
//! 4. At most [`OPEN_FILES`] files are open. Rows of further values wait, so that records of many days make few files
//!    instead of many small ones; when too many wait, the file that was least recently written makes room.
//!
//! A crash here leaves at most files that no snapshot knows; the orphan job removes them. Dropping a future of this
//! module in the middle leaves the writer unusable: drop the writer as well.

mod open;
mod partition;
mod settings;

pub use partition::{partition_of, split};

use crate::contract::property;
use crate::store::Stores;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{DataFile, Struct, TableMetadataRef};
use iceberg::writer::file_writer::location_generator::DefaultLocationGenerator;
use k2_model::{Error, Result};
use open::{Form, OpenFile};
use std::sync::Arc;

/// Files open at a time.
const OPEN_FILES: usize = 16;

/// Bytes of rows that wait for a file at most; then half of them make room.
const WAITING: u64 = 16 << 20;

/// Writes the rows of one batch into data files of one table.
#[derive(Debug)]
pub struct TableWriter {
    form: Form,
    target: u64,
    /// The one least recently written comes first.
    open: Vec<OpenFile>,
    /// Rows of values that have no open file.
    waiting: Vec<Waiting>,
    done: Vec<DataFile>,
    done_bytes: u64,
    full: bool,
}

/// Rows of one partition value, in order.
#[derive(Debug)]
struct Waiting {
    partition: Struct,
    rows: Vec<RecordBatch>,
    bytes: u64,
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
        let form = Form {
            properties: settings::writer_properties(table, &schema)?,
            locations: DefaultLocationGenerator::new(table).map_err(schema_error)?,
            table: Arc::clone(table),
            stores: stores.clone(),
            schema,
        };
        Ok(Self {
            form,
            target: property(table.properties(), "write.target-file-size-bytes", 128 << 20),
            open: Vec::new(),
            waiting: Vec::new(),
            done: Vec::new(),
            done_bytes: 0,
            full: false,
        })
    }

    /// The Arrow schema that batches must have: the table's types and field ids.
    pub fn schema(&self) -> &ArrowSchemaRef {
        &self.form.schema
    }

    /// Takes a batch whose rows all belong to one partition value. Completes that value's file if it has reached the
    /// target size.
    pub async fn write(&mut self, batch: &RecordBatch, partition: &Struct) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let open = self.open.iter().position(|f| f.partition() == partition);
        if let Some(at) = open {
            // to the end: the most recently written
            let file = self.open.remove(at);
            self.open.push(file);
            return self.encode(batch).await;
        }
        self.keep_waiting(batch, partition);
        if self.open.len() < OPEN_FILES {
            return self.open_waiting(|w| w.partition == *partition).await;
        }
        if self.waiting_bytes() <= WAITING {
            return Ok(());
        }
        self.squeeze()?;
        while self.waiting_bytes() > WAITING / 2 {
            let most = self.waiting.iter().map(|w| w.bytes).max();
            self.complete(0).await?;
            self.open_waiting(|w| Some(w.bytes) == most).await?;
        }
        Ok(())
    }

    /// Bytes held in memory: row groups in encoding, parts not yet uploaded, and rows that wait.
    pub fn pending_bytes(&self) -> u64 {
        self.waiting_bytes() + self.open.iter().map(OpenFile::pending_bytes).sum::<u64>()
    }

    /// Whether a file has been completed because it reached the target size.
    pub fn has_full_file(&self) -> bool {
        self.full
    }

    /// Size so far, of open files and completed ones and of rows that wait, in bytes.
    pub fn written_bytes(&self) -> u64 {
        self.done_bytes + self.waiting_bytes() + self.open.iter().map(OpenFile::size).sum::<u64>()
    }

    /// Completes everything and hands out all files.
    pub async fn finish(mut self) -> Result<Vec<DataFile>> {
        while !self.open.is_empty() {
            self.complete(0).await?;
        }
        while !self.waiting.is_empty() {
            self.open_waiting(|_| true).await?;
            if !self.open.is_empty() {
                self.complete(0).await?;
            }
        }
        Ok(self.done)
    }

    /// Drops what is open. Completed files stay in the store for the orphan job.
    pub async fn abort(mut self) {
        for file in self.open.drain(..) {
            file.abort().await;
        }
    }

    fn waiting_bytes(&self) -> u64 {
        self.waiting.iter().map(|w| w.bytes).sum()
    }

    /// Many small batches take far more room than one.
    fn squeeze(&mut self) -> Result<()> {
        for waiting in self.waiting.iter_mut().filter(|w| w.rows.len() > 1) {
            let rows = concat_batches(&self.form.schema, &waiting.rows);
            let rows = rows.map_err(|e| Error::unknown("cannot join rows of a partition value").caused_by(e))?;
            waiting.bytes = rows.get_array_memory_size() as u64;
            waiting.rows = vec![rows];
        }
        Ok(())
    }

    fn keep_waiting(&mut self, batch: &RecordBatch, partition: &Struct) {
        let bytes = batch.get_array_memory_size() as u64;
        match self.waiting.iter_mut().find(|w| w.partition == *partition) {
            Some(w) => {
                w.rows.push(batch.clone());
                w.bytes += bytes;
            }
            None => self.waiting.push(Waiting { partition: partition.clone(), rows: vec![batch.clone()], bytes }),
        }
    }

    /// Opens a file for the first waiting value of which this is true, and encodes its rows.
    async fn open_waiting(&mut self, which: impl Fn(&Waiting) -> bool) -> Result<()> {
        let Some(at) = self.waiting.iter().position(which) else { return Ok(()) };
        let Waiting { partition, rows, .. } = self.waiting.remove(at);
        for batch in &rows {
            // the first batch finds none open; a later one neither if the file has become full in between
            if self.open.last().is_none_or(|f| *f.partition() != partition) {
                let file = OpenFile::create(&self.form, &partition).await?;
                self.open.push(file);
            }
            self.encode(batch).await?;
        }
        Ok(())
    }

    /// Encodes a batch into the last open file.
    async fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(file) = self.open.last_mut() else { return Err(Error::unknown("no file is open")) };
        file.encode(batch).await?;
        if file.size() >= self.target {
            self.full = true;
            return self.complete(self.open.len() - 1).await;
        }
        self.flush_largest().await
    }

    /// Several row groups in encoding share the room of two.
    async fn flush_largest(&mut self) -> Result<()> {
        let room = self.form.properties.max_row_group_bytes().map_or(u64::MAX, |bytes| 2 * bytes as u64);
        while self.open.len() > 2 && self.open.iter().map(OpenFile::encoding_bytes).sum::<u64>() > room {
            let Some(largest) = self.open.iter_mut().max_by_key(|f| f.encoding_bytes()) else { break };
            if !largest.flush().await? {
                break;
            }
        }
        Ok(())
    }

    async fn complete(&mut self, at: usize) -> Result<()> {
        let file = self.open.remove(at).complete(&self.form.table).await?;
        self.done_bytes += file.file_size_in_bytes();
        self.done.push(file);
        Ok(())
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

fn schema_error(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::config("the table's schema cannot be written").caused_by(e)
}

#[cfg(test)]
#[path = "files/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "files/silver_tests.rs"]
mod silver_tests;
