//! A small lake for tests: an in-memory catalog over Parquet files in a temporary folder.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, LargeBinaryArray, LargeBinaryBuilder, ListBuilder,
    RecordBatch, StringArray, StringBuilder, StructBuilder, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::io::LocalFsStorageFactory;
use iceberg::memory::{MEMORY_CATALOG_WAREHOUSE, MemoryCatalog, MemoryCatalogBuilder};
use iceberg::spec::{
    DataFile, DataFileFormat, ListType, Literal, NestedField, PartitionKey, PrimitiveType, Schema, Struct, StructType,
    Transform, Type, UnboundPartitionSpec,
};
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction, Transaction};
use iceberg::writer::base_writer::data_file_writer::DataFileWriterBuilder;
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{DefaultFileNameGenerator, DefaultLocationGenerator};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{IcebergWriter, IcebergWriterBuilder};
use iceberg::{Catalog as _, CatalogBuilder, NamespaceIdent, TableCreation, TableIdent, TableUpdate};
use k2_lake::catalog::{Catalog, CommitFailure};
use k2_lake::store::Stores;
use k2_model::{Error, Result, clock};
use parquet::file::properties::WriterProperties;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) const DAY: i64 = 86_400_000_000;
/// 2026-01-01.
pub(crate) const FIRST_DAY: i32 = 20_454;

/// The lake.
pub(crate) struct Lake {
    pub(crate) iceberg: MemoryCatalog,
    /// How often a table was loaded.
    pub(crate) loads: AtomicUsize,
    files: AtomicUsize,
    _folder: tempfile::TempDir,
}

/// One row of a bronze-like table, made from its place.
pub(crate) struct Rows {
    pub(crate) partition: i32,
    pub(crate) offsets: std::ops::Range<i64>,
    /// Days after [`FIRST_DAY`].
    pub(crate) day: i32,
}

impl Lake {
    /// A lake with the namespace `market_data` and nothing in it.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = folder.path().to_str().unwrap().to_owned();
        let iceberg = MemoryCatalogBuilder::default()
            .with_storage_factory(Arc::new(LocalFsStorageFactory))
            .load("test", HashMap::from([(MEMORY_CATALOG_WAREHOUSE.to_owned(), warehouse)]))
            .await
            .unwrap();
        iceberg.create_namespace(&namespace(), HashMap::new()).await.unwrap();
        Self { iceberg, loads: AtomicUsize::new(0), files: AtomicUsize::new(0), _folder: folder }
    }

    /// Makes a table.
    pub(crate) async fn create(&self, name: &str, schema: Schema, partition_by: Option<(&str, Transform)>) -> Table {
        let mut creation = TableCreation::builder().name(name.to_owned()).schema(schema.clone()).build();
        if let Some((column, transform)) = partition_by {
            let source = schema.field_by_name(column).unwrap().id;
            let name =
                if transform == Transform::Identity { column.to_owned() } else { format!("{column}_{transform}") };
            let spec = UnboundPartitionSpec::builder().add_partition_field(source, name, transform).unwrap();
            creation.partition_spec = Some(spec.build());
        }
        self.iceberg.create_table(&namespace(), creation).await.unwrap()
    }

    pub(crate) async fn table(&self, name: &str) -> Table {
        self.iceberg.load_table(&ident(name)).await.unwrap()
    }

    /// Writes one file, in row groups of four rows.
    pub(crate) async fn write(&self, table: &Table, day: Option<i32>, batch: RecordBatch) -> Vec<DataFile> {
        let schema = table.metadata().current_schema();
        let spec = table.metadata().default_partition_spec();
        let key = day.map(|day| {
            let values = Struct::from_iter([Some(Literal::date(day))]);
            PartitionKey::new(spec.as_ref().clone(), Arc::clone(schema), values)
        });
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(4))
            .set_statistics_truncate_length(None)
            .build();
        let rolling = RollingFileWriterBuilder::new(
            ParquetWriterBuilder::new(properties, Arc::clone(schema)),
            1 << 30,
            table.file_io().clone(),
            DefaultLocationGenerator::new(table.metadata()).unwrap(),
            DefaultFileNameGenerator::new(format!("f{number}"), None, DataFileFormat::Parquet),
        );
        let mut writer = DataFileWriterBuilder::new(rolling).build(key).await.unwrap();
        writer.write(batch).await.unwrap();
        writer.close().await.unwrap()
    }

    /// Commits files, and returns the snapshot. No two commits share a millisecond.
    pub(crate) async fn commit(&self, name: &str, files: Vec<DataFile>) -> i64 {
        let table = self.table(name).await;
        while table.metadata().current_snapshot().is_some_and(|s| s.timestamp_ms() >= clock::now_millis()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let transaction = Transaction::new(&table);
        let append = transaction
            .fast_append()
            .set_snapshot_properties(HashMap::from([("k2.note".to_owned(), format!("{} files", files.len()))]))
            .add_data_files(files);
        let table = append.apply(transaction).unwrap().commit(&self.iceberg).await.unwrap();
        table.metadata().current_snapshot_id().unwrap()
    }

    /// Appends a file of bronze-like rows for each span, in one snapshot.
    pub(crate) async fn append(&self, name: &str, spans: &[Rows]) -> i64 {
        let table = self.table(name).await;
        let mut files = Vec::new();
        for span in spans {
            let day = (!table.metadata().default_partition_spec().is_unpartitioned()).then_some(FIRST_DAY + span.day);
            files.extend(self.write(&table, day, trades(&arrow(&table), span)).await);
        }
        self.commit(name, files).await
    }

    /// `trades`: three snapshots, four files, three days. Returns their ids.
    pub(crate) async fn with_trades(&self) -> Vec<i64> {
        self.create("trades", trades_schema(), Some(("ingestion_date", Transform::Day))).await;
        vec![
            self.append("trades", &[Rows { partition: 0, offsets: 0..10, day: 0 }]).await,
            self.append("trades", &[Rows { partition: 1, offsets: 0..10, day: 1 }]).await,
            self.append(
                "trades",
                &[Rows { partition: 0, offsets: 10..20, day: 1 }, Rows { partition: 1, offsets: 10..15, day: 2 }],
            )
            .await,
        ]
    }
}

impl std::fmt::Debug for Lake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lake")
    }
}

/// Reading only: whoever writes through this has lost their way.
#[async_trait]
impl Catalog for Lake {
    async fn ensure_namespace(&self, _: &str) -> Result<()> {
        unreachable!("queries only read")
    }
    async fn namespace_exists(&self, namespace: &str) -> Result<bool> {
        Ok(namespace == "market_data")
    }
    async fn create(&self, _: &str, _: TableCreation) -> Result<Table> {
        unreachable!("queries only read")
    }
    async fn commit(&self, _: &Table, _: Vec<TableUpdate>) -> Result<Table, CommitFailure> {
        unreachable!("queries only read")
    }
    fn stores(&self, _: &TableIdent) -> Stores {
        unreachable!("queries only read")
    }
    fn describe(&self) -> String {
        "a test's catalog".to_owned()
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        let namespace = NamespaceIdent::new(namespace.to_owned());
        let tables = self.iceberg.list_tables(&namespace).await.unwrap_or_default();
        let mut names: Vec<String> = tables.iter().map(|table| table.name().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    async fn load(&self, ident: &TableIdent) -> Result<Option<Table>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        if !self.iceberg.table_exists(ident).await.unwrap_or(false) {
            return Ok(None);
        }
        Ok(Some(self.iceberg.load_table(ident).await.map_err(|e| Error::retry("no table").caused_by(e))?))
    }
}

fn namespace() -> NamespaceIdent {
    NamespaceIdent::new("market_data".to_owned())
}

pub(crate) fn ident(name: &str) -> TableIdent {
    TableIdent::new(namespace(), name.to_owned())
}

pub(crate) fn arrow(table: &Table) -> ArrowSchemaRef {
    Arc::new(schema_to_arrow_schema(table.metadata().current_schema()).unwrap())
}

/// A schema of plain columns, nullable where the name ends in `?`.
pub(crate) fn schema(columns: &[(&str, PrimitiveType)]) -> Schema {
    let fields = columns.iter().zip(1..).map(|((name, kind), id)| {
        let name_only = name.trim_end_matches('?');
        NestedField::new(id, name_only, Type::Primitive(kind.clone()), !name.ends_with('?')).into()
    });
    Schema::builder().with_fields(fields).build().unwrap()
}

/// Bronze's columns and a price, a side.
pub(crate) fn trades_schema() -> Schema {
    use PrimitiveType as P;
    let plain = schema(&[
        ("raw_bytes?", P::Binary),
        ("topic", P::String),
        ("partition", P::Int),
        ("offset", P::Long),
        ("kafka_timestamp?", P::Timestamptz),
        ("ingestion_timestamp", P::Timestamptz),
        ("ingestion_date", P::Date),
        ("price?", P::Decimal { precision: 18, scale: 8 }),
        ("side", P::String),
    ]);
    let header = Type::Struct(StructType::new(vec![
        NestedField::required(22, "key", Type::Primitive(P::String)).into(),
        NestedField::optional(23, "value", Type::Primitive(P::Binary)).into(),
    ]));
    let headers = Type::List(ListType { element_field: NestedField::list_element(21, header, true).into() });
    let fields = plain.as_struct().fields().iter().cloned();
    let fields = fields.chain([NestedField::optional(20, "headers", headers).into()]);
    Schema::builder().with_fields(fields).build().unwrap()
}

/// The rows of a span: a null value at offset 3, no Kafka time at 4, 9, …, no price at 6, 13, …, a header at 0, 10, ….
pub(crate) fn trades(schema: &ArrowSchemaRef, rows: &Rows) -> RecordBatch {
    let offsets: Vec<i64> = rows.offsets.clone().collect();
    let n = offsets.len();
    let noon = i64::from(FIRST_DAY + rows.day) * DAY + DAY / 2;
    let raw = offsets
        .iter()
        .map(|o| (*o != 3).then(|| vec![u8::try_from(rows.partition).unwrap(), u8::try_from(*o).unwrap()]));
    let kafka = offsets.iter().map(|o| (o % 5 != 4).then_some(noon + o * 1_000_000 - 1));
    let price = offsets.iter().map(|o| (o % 7 != 6).then_some(i128::from(o + 1) * 150_000_000));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(LargeBinaryArray::from_iter(raw)),
        Arc::new(StringArray::from(vec!["trades"; n])),
        Arc::new(Int32Array::from(vec![rows.partition; n])),
        Arc::new(Int64Array::from(offsets.clone())),
        Arc::new(TimestampMicrosecondArray::from_iter(kafka).with_timezone("+00:00")),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(offsets.iter().map(|o| noon + o * 1_000_000))
                .with_timezone("+00:00"),
        ),
        Arc::new(Date32Array::from(vec![FIRST_DAY + rows.day; n])),
        Arc::new(Decimal128Array::from_iter(price).with_precision_and_scale(18, 8).unwrap()),
        Arc::new(StringArray::from_iter_values(offsets.iter().map(|o| if o % 2 == 0 { "BUY" } else { "SELL" }))),
        headers(schema, &offsets),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

fn headers(schema: &ArrowSchemaRef, offsets: &[i64]) -> ArrayRef {
    let field = schema.field_with_name("headers").unwrap();
    let DataType::List(item) = field.data_type() else { panic!("headers are a list") };
    let DataType::Struct(fields) = item.data_type() else { panic!("of structs") };
    let builders: Vec<Box<dyn datafusion::arrow::array::ArrayBuilder>> =
        vec![Box::new(StringBuilder::new()), Box::new(LargeBinaryBuilder::new())];
    let mut list = ListBuilder::new(StructBuilder::new(fields.clone(), builders)).with_field(Arc::clone(item));
    for offset in offsets {
        if offset % 10 == 0 {
            list.values().field_builder::<StringBuilder>(0).unwrap().append_value("trace");
            list.values().field_builder::<LargeBinaryBuilder>(1).unwrap().append_value([0xab, 0xcd]);
            list.values().append(true);
        }
        list.append(offset % 10 == 0);
    }
    Arc::new(list.finish())
}
