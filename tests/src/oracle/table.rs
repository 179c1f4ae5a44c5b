//! A table, read without K2: catalog record → metadata → manifests → Parquet.

use super::files::Store;
use crate::record::{content_crc, record_crc};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use iceberg::spec::{DataContentType, Manifest, ManifestList, Struct, TableMetadata};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Where a table's current metadata file is recorded.
#[derive(Debug, Clone)]
pub enum Catalog {
    /// The SQL catalog in a SQLite file.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The `catalog_name` of its rows.
        name: String,
    },
    /// A REST catalog.
    Rest {
        /// Its URL, without `/v1`.
        uri: String,
    },
}

impl Catalog {
    /// The location of a table's current metadata file; none if there is no such table.
    pub async fn metadata_location(&self, namespace: &str, table: &str) -> Option<String> {
        match self {
            Self::Sqlite { path, name } => {
                if !path.exists() {
                    return None;
                }
                let mut db = SqliteConnectOptions::new()
                    .filename(path)
                    .read_only(true)
                    .busy_timeout(Duration::from_secs(20))
                    .connect()
                    .await
                    .unwrap();
                let row = sqlx::query(
                    "SELECT metadata_location FROM iceberg_tables \
                     WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?",
                )
                .bind(name)
                .bind(namespace)
                .bind(table)
                .fetch_optional(&mut db)
                .await;
                match row {
                    Ok(row) => row.map(|row| row.get(0)),
                    // the process that makes the catalog may not have come to its tables yet
                    Err(sqlx::Error::Database(e)) if e.message().contains("no such table") => None,
                    Err(e) => panic!("cannot read the catalog {}: {e}", path.display()),
                }
            }
            Self::Rest { uri } => {
                let answer =
                    reqwest::get(format!("{uri}/v1/namespaces/{namespace}/tables/{table}")).await.expect("the catalog");
                if answer.status() == 404 {
                    return None;
                }
                let body: serde_json::Value = answer.error_for_status().unwrap().json().await.unwrap();
                Some(body["metadata-location"].as_str().unwrap().to_owned())
            }
        }
    }

    /// A table as it stands now; none if there is no such table. `source` names the property with the position.
    pub async fn table(&self, store: &Store, namespace: &str, table: &str, source: &str) -> Option<TableState> {
        // delete-after-commit may take the metadata file away between the two reads: look again
        for _ in 0..20 {
            let location = self.metadata_location(namespace, table).await?;
            if let Ok(bytes) = store.read(&location).await {
                let metadata: TableMetadata = serde_json::from_slice(&bytes).expect("a metadata file");
                return Some(TableState { metadata, store: store.clone(), source: source.to_owned() });
            }
        }
        panic!("the metadata file of {namespace}.{table} is not there")
    }
}

/// One state of a table.
#[derive(Debug)]
pub struct TableState {
    /// Its metadata.
    pub metadata: TableMetadata,
    store: Store,
    source: String,
}

/// A live data file.
#[derive(Debug, Clone)]
pub struct LiveFile {
    /// Its location.
    pub location: String,
    /// Rows, as its manifest says.
    pub rows: u64,
    /// Bytes, as its manifest says.
    pub bytes: u64,
    /// Its partition value, as its manifest says.
    pub partition: Struct,
}

impl TableState {
    /// The position of the table's source in a topic: the next offset per partition.
    pub fn next_offsets(&self, topic: &str) -> BTreeMap<i32, i64> {
        let Some(state) = self.position() else { return BTreeMap::new() };
        let Some(partitions) = state["topics"][topic]["partitions"].as_object() else { return BTreeMap::new() };
        partitions.iter().map(|(p, at)| (p.parse().unwrap(), at["next"].as_i64().unwrap())).collect()
    }

    /// The sum of the next offsets: grows with every commit that moves the position on.
    pub fn progress(&self, topic: &str) -> i64 {
        self.next_offsets(topic).values().sum()
    }

    /// The live data files of the current snapshot.
    pub async fn files(&self) -> Vec<LiveFile> {
        let Some(snapshot) = self.metadata.current_snapshot() else { return Vec::new() };
        let list = self.store.read(snapshot.manifest_list()).await.expect("the manifest list");
        let list = ManifestList::parse_with_version(&list, self.metadata.format_version()).unwrap();
        let mut files = Vec::new();
        for manifest in list.entries() {
            let bytes = self.store.read(&manifest.manifest_path).await.expect("a manifest");
            for entry in Manifest::parse_avro(&bytes).unwrap().entries().iter().filter(|entry| entry.is_alive()) {
                let file = entry.data_file();
                assert_eq!(file.content_type(), DataContentType::Data, "K2 makes no deletes: {}", file.file_path());
                files.push(LiveFile {
                    location: file.file_path().to_owned(),
                    rows: file.record_count(),
                    bytes: file.file_size_in_bytes(),
                    partition: file.partition().clone(),
                });
            }
        }
        files
    }

    /// The number of rows, as the manifests say.
    pub async fn row_count(&self) -> u64 {
        self.files().await.iter().map(|file| file.rows).sum()
    }

    /// The position of the source, as it stands in the table's property.
    pub fn position(&self) -> Option<serde_json::Value> {
        let text = self.metadata.properties().get(&format!("k2.source.{}", self.source))?;
        Some(serde_json::from_str(text).expect("the position is JSON"))
    }

    /// Every live file with its bytes, for those that are there; and what is wrong with the files.
    pub(super) async fn contents(&self) -> (Vec<(LiveFile, Bytes)>, Vec<String>) {
        let mut contents = Vec::new();
        let mut problems = Vec::new();
        let mut seen = BTreeSet::new();
        for file in self.files().await {
            if !seen.insert(file.location.clone()) {
                problems.push(format!("{} is in the table twice", file.location));
            }
            match self.store.read(&file.location).await {
                Ok(bytes) => {
                    if bytes.len() as u64 != file.bytes {
                        problems.push(format!("{} has {} bytes, not {}", file.location, bytes.len(), file.bytes));
                    }
                    contents.push((file, bytes));
                }
                Err(e) => problems.push(e),
            }
        }
        (contents, problems)
    }

    /// All rows of a topic in a bronze table, by partition, as (offset, checksum); and what is wrong with the files.
    pub async fn bronze_rows(&self, topic: &str) -> (BTreeMap<i32, Vec<(i64, u32)>>, Vec<String>) {
        let mut rows = BTreeMap::new();
        let (contents, mut problems) = self.contents().await;
        for (file, bytes) in contents {
            let count = read_file(bytes, topic, &mut rows);
            if count != file.rows {
                problems.push(format!("{} has {count} rows, not {}", file.location, file.rows));
            }
        }
        (rows, problems)
    }
}

/// Reads one data file and counts its rows (those of other topics too).
fn read_file(bytes: Bytes, topic: &str, rows: &mut BTreeMap<i32, Vec<(i64, u32)>>) -> u64 {
    const COLUMNS: [&str; 7] = ["raw_bytes", "topic", "partition", "offset", "kafka_timestamp", "key", "headers"];
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).expect("a Parquet file");
    let wanted = builder.schema().fields().iter().enumerate().filter(|(_, f)| COLUMNS.contains(&f.name().as_str()));
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.map(|(i, _)| i).collect::<Vec<_>>());
    let reader = builder.with_projection(mask).with_batch_size(16_384).build().unwrap();
    let mut count = 0;
    for batch in reader {
        let batch = batch.expect("readable rows");
        count += batch.num_rows() as u64;
        read_batch(&batch, topic, rows);
    }
    count
}

fn read_batch(batch: &RecordBatch, topic: &str, rows: &mut BTreeMap<i32, Vec<(i64, u32)>>) {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    let column = |name: &str, kind: &DataType| -> ArrayRef {
        let column = batch.column_by_name(name).unwrap_or_else(|| panic!("bronze has a column {name}"));
        cast(column, kind).unwrap()
    };
    let (value, key) = (column("raw_bytes", &DataType::Binary), column("key", &DataType::Binary));
    let (value, key) = (value.as_binary::<i32>(), key.as_binary::<i32>());
    let topics = column("topic", &DataType::Utf8);
    let topics = topics.as_string::<i32>();
    let partitions = column("partition", &DataType::Int32);
    let partitions = partitions.as_primitive::<Int32Type>();
    let offsets = column("offset", &DataType::Int64);
    let offsets = offsets.as_primitive::<Int64Type>();
    let times = column("kafka_timestamp", &time);
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let headers = batch.column_by_name("headers").expect("bronze has a column headers").as_list::<i32>();
    let entries = headers.values().as_struct();
    let (names, values) =
        (cast(entries.column(0), &DataType::Utf8).unwrap(), cast(entries.column(1), &DataType::Binary).unwrap());
    let (names, values) = (names.as_string::<i32>(), values.as_binary::<i32>());

    for row in (0..batch.num_rows()).filter(|&row| topics.value(row) == topic) {
        let range = if headers.is_valid(row) {
            let ends = headers.value_offsets();
            let range = usize::try_from(ends[row]).unwrap()..usize::try_from(ends[row + 1]).unwrap();
            assert!(!range.is_empty(), "no headers are null, not an empty list");
            range
        } else {
            0..0
        };
        let headers = range.map(|i| (names.value(i), nullable(values, i)));
        let content = content_crc(nullable(key, row), nullable(value, row), headers);
        let time = times.is_valid(row).then(|| times.value(row));
        assert!(time.is_none_or(|t| t % 1000 == 0), "Kafka's timestamps are whole milliseconds");
        let crc = record_crc(content, time.map(|t| t / 1000));
        rows.entry(partitions.value(row)).or_default().push((offsets.value(row), crc));
    }
}

fn nullable(array: &BinaryArray, i: usize) -> Option<&[u8]> {
    array.is_valid(i).then(|| array.value(i))
}
