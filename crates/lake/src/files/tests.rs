#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::catalog::{Catalog, CatalogConfig, Kind, connect};
use crate::contract::{TableContract, bronze};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Date32Array, Int32Array, Int64Array, ListBuilder,
    StringArray, StringBuilder, StructBuilder, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Int64Type};
use futures::TryStreamExt;
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{Datum, Literal, NestedField, NestedFieldRef, PrimitiveType, Type};
use iceberg::table::Table;
use k2_model::{Class, clock};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

const COLUMNS: [&str; 10] = [
    "raw_bytes",
    "topic",
    "partition",
    "offset",
    "kafka_timestamp",
    "ingestion_timestamp",
    "ingestion_date",
    "topic_id",
    "key",
    "headers",
];
const DAY: i64 = 86_400_000_000;
const NOON: i64 = 20_000 * DAY + DAY / 2;

/// A table in a folder.
pub(super) struct Place {
    dir: tempfile::TempDir,
    catalog: Arc<dyn Catalog>,
    pub(super) stores: Stores,
    pub(super) table: Table,
}

impl Place {
    async fn new(properties: &[(&str, &str)]) -> Self {
        Self::with(bronze().fields, properties).await
    }

    async fn with(fields: Vec<NestedFieldRef>, properties: &[(&str, &str)]) -> Self {
        Self::of(TableContract { fields, ..bronze() }, properties).await
    }

    pub(super) async fn of(contract: TableContract, properties: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display();
        let config = CatalogConfig {
            kind: Kind::Sql,
            name: "k2".to_owned(),
            uri: format!("sqlite:{root}/catalog.db"),
            warehouse: format!("{root}/warehouse"),
            properties: BTreeMap::new(),
            request_timeout: Duration::from_secs(30),
        };
        let stores = Stores::default();
        let catalog = connect(&config, &stores).await.unwrap();
        catalog.ensure_namespace("n").await.unwrap();
        let mut creation = contract.creation("t").unwrap();
        creation.properties.extend(properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let table = catalog.create("n", creation).await.unwrap();
        Self { dir, catalog, stores, table }
    }

    fn writer(&self) -> TableWriter {
        TableWriter::new(&self.table.metadata_ref(), &self.stores, &COLUMNS).unwrap()
    }

    fn partition(&self, received_at: i64) -> Struct {
        partition_of(self.table.metadata(), received_at).unwrap()
    }

    /// Writes batches, all received at noon.
    async fn write(&self, batches: &[RecordBatch]) -> Vec<DataFile> {
        let mut writer = self.writer();
        for batch in batches {
            writer.write(batch, &self.partition(NOON)).await.unwrap();
        }
        writer.finish().await.unwrap()
    }

    pub(super) async fn footer(&self, file: &DataFile) -> Arc<ParquetMetaData> {
        let bytes = self.stores.get(file.file_path()).await.unwrap();
        assert_eq!(bytes.len() as u64, file.file_size_in_bytes());
        Arc::clone(ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().metadata())
    }

    /// Appends the files, and scans as any Iceberg reader does: manifests first, then files, pages and rows.
    pub(super) async fn append(&mut self, files: &[DataFile]) {
        let id = crate::snapshot::fresh_id(self.table.metadata());
        let added = [crate::snapshot::Added::in_current_form(self.table.metadata(), files)];
        let updates = crate::snapshot::append(&self.table, id, &added, BTreeMap::new()).await.unwrap();
        self.table = self.catalog.commit(&self.table, updates).await.unwrap();
    }

    pub(super) async fn scan(&self, filter: Predicate, columns: &[&str]) -> Vec<RecordBatch> {
        let scan = self.table.scan().with_filter(filter).select(columns.iter().copied()).build().unwrap();
        scan.to_arrow().await.unwrap().try_collect().await.unwrap()
    }

    async fn count(&self, filter: Predicate) -> usize {
        self.scan(filter, &["offset"]).await.iter().map(RecordBatch::num_rows).sum()
    }

    /// What lies in the table's data folder, temporary files included.
    pub(super) fn data_files(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, into) } else { into.push(path) }
            }
        }
        let mut found = Vec::new();
        walk(&self.dir.path().join("warehouse/n/t/data"), &mut found);
        found
    }
}

type Headers = Vec<(&'static str, Option<&'static [u8]>)>;

/// A record's variable parts.
#[derive(Clone, Default)]
struct Record {
    value: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    headers: Option<Headers>,
    topic: &'static str,
}

fn rows(schema: &ArrowSchemaRef, first: i64, received_at: i64, records: &[Record]) -> RecordBatch {
    let n = records.len();
    let wanted = schema.field_with_name("headers").unwrap().data_type();
    let DataType::List(element) = wanted else { panic!("headers are no list") };
    let DataType::Struct(fields) = element.data_type() else { panic!("a header is no struct") };
    let parts =
        StructBuilder::new(fields.clone(), vec![Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new())]);
    let mut headers = ListBuilder::new(parts).with_field(Arc::clone(element));
    for record in records {
        for (key, value) in record.headers.iter().flatten() {
            headers.values().field_builder::<StringBuilder>(0).unwrap().append_value(key);
            headers.values().field_builder::<BinaryBuilder>(1).unwrap().append_option(*value);
            headers.values().append(true);
        }
        headers.append(record.headers.is_some());
    }
    let stamp = TimestampMicrosecondArray::from_value(received_at, n).with_timezone("+00:00");
    let mut columns: HashMap<&str, ArrayRef> = HashMap::from([
        ("raw_bytes", Arc::new(records.iter().map(|r| r.value.as_deref()).collect::<BinaryArray>()) as ArrayRef),
        ("topic", Arc::new(StringArray::from_iter_values(records.iter().map(|r| r.topic)))),
        ("partition", Arc::new(Int32Array::from_value(0, n))),
        ("offset", Arc::new(Int64Array::from_iter_values(first..first + i64::try_from(n).unwrap()))),
        ("kafka_timestamp", new_null_array(stamp.data_type(), n)),
        ("ingestion_timestamp", Arc::new(stamp)),
        ("ingestion_date", Arc::new(Date32Array::from_value(clock::day_of(received_at), n))),
        ("topic_id", new_null_array(&DataType::Utf8, n)),
        ("key", Arc::new(records.iter().map(|r| r.key.as_deref()).collect::<BinaryArray>())),
        ("headers", Arc::new(headers.finish())),
    ]);
    let columns = schema.fields().iter().map(|f| columns.remove(f.name().as_str()).unwrap()).collect();
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

/// Values that nothing compresses.
fn noise(n: usize, length: usize) -> Vec<Record> {
    use rand::RngCore;
    let mut value = vec![0; length];
    (0..n)
        .map(|_| {
            rand::rng().fill_bytes(&mut value);
            Record { value: Some(value.clone()), topic: "trades", ..Record::default() }
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_finds_all_rows_over_several_row_groups_with_long_texts() {
    // longer than what statistics keep, in the first row group, the last, or both
    let (z, a): (&'static str, &'static str) = ("z".repeat(200).leak(), "a".repeat(200).leak());
    for order in [[z, "m"], ["m", z], [a, "m"], ["m", a], [z, a]] {
        let mut place = Place::new(&[("write.parquet.row-group-size-bytes", "1024")]).await;
        let schema = Arc::clone(place.writer().schema());
        let mut batches = Vec::new();
        for (first, topic) in (0..).step_by(40).zip(order) {
            let records: Vec<_> =
                noise(40, 100).into_iter().map(|r| Record { topic, key: Some(topic.into()), ..r }).collect();
            batches.push(rows(&schema, first, NOON, &records));
        }
        let files = place.write(&batches).await;
        assert!(files.len() == 1 && place.footer(&files[0]).await.num_row_groups() > 1);
        place.append(&files).await;
        let column = || Reference::new("topic");
        for topic in order {
            assert_eq!(place.count(column().equal_to(Datum::string(topic))).await, 40, "= {topic:.5}… in {order:?}");
            assert_eq!(place.count(Reference::new("key").equal_to(Datum::binary(topic.bytes()))).await, 40);
        }
        let above = order.iter().filter(|t| **t > "x").count() * 40;
        assert_eq!(place.count(column().greater_than(Datum::string("x"))).await, above, "{order:?}");
        let below = order.iter().filter(|t| **t < "b").count() * 40;
        assert_eq!(place.count(column().less_than(Datum::string("b"))).await, below, "{order:?}");
        assert_eq!(place.count(Reference::new("offset").greater_than_or_equal_to(Datum::long(79))).await, 1);
        assert_eq!(place.count(Reference::new("raw_bytes").is_not_null()).await, 80);
        // and bounds are worth something
        assert_eq!(place.count(Reference::new("offset").greater_than(Datum::long(79))).await, 0);
        assert_eq!(files[0].upper_bounds()[&4], Datum::long(79));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_roll_within_five_percent_of_the_target() {
    const TARGET: u64 = 2 << 20;
    let settings = [
        ("write.target-file-size-bytes", "2097152"),
        ("write.parquet.row-group-size-bytes", "262144"),
        ("write.parquet.page-size-bytes", "16384"),
    ];
    let place = Place::new(&settings).await;
    let mut writer = place.writer();
    let schema = Arc::clone(writer.schema());
    let (mut first, mut done) = (0, Vec::new());
    while done.len() < 4 {
        let batch = rows(&schema, first, NOON, &noise(200, 118));
        first += 200;
        writer.write(&batch, &place.partition(NOON)).await.unwrap();
        assert!(writer.pending_bytes() < 9 << 20, "one row group and the parts under way, not more");
        if writer.has_full_file() {
            let before = writer.written_bytes();
            done.extend(std::mem::replace(&mut writer, place.writer()).finish().await.unwrap());
            assert_eq!(before, done.last().unwrap().file_size_in_bytes());
        }
    }
    for file in &done {
        let size = file.file_size_in_bytes();
        assert!(size.abs_diff(TARGET) < TARGET / 20, "{size} is not within 5 % of {TARGET}");
        let footer = place.footer(file).await;
        let groups: Vec<_> = footer.row_groups().iter().map(|g| g.compressed_size()).collect();
        assert!(groups.len() >= 7 && groups.iter().all(|g| *g < 300_000), "{groups:?}");
        assert_eq!(file.split_offsets().unwrap().len(), groups.len());
        assert_eq!(file.record_count(), u64::try_from(footer.file_metadata().num_rows()).unwrap());
    }
    assert_eq!(done.iter().map(DataFile::record_count).sum::<u64>(), u64::try_from(first).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn midnight_splits_a_batch_into_days() {
    let mut place = Place::new(&[]).await;
    let (before, after) = (20_001 * DAY - 1, 20_001 * DAY);
    let mut writer = place.writer();
    let schema = Arc::clone(writer.schema());
    for (first, at) in [(0, before), (10, before), (20, after), (30, after)] {
        writer.write(&rows(&schema, first, at, &noise(10, 20)), &place.partition(at)).await.unwrap();
    }
    assert!(!writer.has_full_file(), "a new day is no reason to commit");
    let files = writer.finish().await.unwrap();
    assert_eq!(files.len(), 2);
    for (file, (day, name, first)) in files.iter().zip([(20_000, "2024-10-04", 0), (20_001, "2024-10-05", 20)]) {
        assert_eq!(*file.partition(), Struct::from_iter([Some(Literal::date(day))]));
        assert!(file.file_path().contains(&format!("/data/ingestion_date_day={name}/")), "{}", file.file_path());
        assert_eq!((file.record_count(), &file.lower_bounds()[&4]), (20, &Datum::long(first)));
        assert_eq!(file.lower_bounds()[&7], file.upper_bounds()[&7]);
    }
    place.append(&files).await;
    assert_eq!(place.count(Reference::new("ingestion_date").equal_to(Datum::date(20_001))).await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn null_and_empty_stay_different_and_headers_survive() {
    let mut place = Place::new(&[]).await;
    let schema = Arc::clone(place.writer().schema());
    let record = |value: Option<&[u8]>, key: Option<&[u8]>, headers| Record {
        value: value.map(<[u8]>::to_vec),
        key: key.map(<[u8]>::to_vec),
        headers,
        topic: "trades",
    };
    let records = [
        record(None, None, None),
        record(Some(b""), Some(b""), Some(vec![])),
        record(
            Some(b"\0\xff"),
            Some(b"k"),
            Some(vec![("a", None), ("a", Some(b"")), ("a", Some(b"x")), ("", Some(b"\xff"))]),
        ),
        record(None, Some(b""), Some(vec![("b", Some(b"1")), ("a", Some(b"2")), ("b", Some(b"1"))])),
    ];
    let batch = rows(&schema, 0, NOON, &records);
    let files = place.write(std::slice::from_ref(&batch)).await;
    place.append(&files).await;
    let read = place.scan(Predicate::AlwaysTrue, &COLUMNS).await;
    assert_eq!(read.len(), 1);
    let binary = |name: &str| {
        let column = arrow::compute::cast(read[0].column_by_name(name).unwrap(), &DataType::Binary).unwrap();
        column.as_binary::<i32>().iter().map(|v| v.map(<[u8]>::to_vec)).collect::<Vec<_>>()
    };
    assert_eq!(binary("raw_bytes"), records.iter().map(|r| r.value.clone()).collect::<Vec<_>>());
    assert_eq!(binary("key"), records.iter().map(|r| r.key.clone()).collect::<Vec<_>>());
    let headers = read[0].column_by_name("headers").unwrap().as_list::<i32>();
    for (i, record) in records.iter().enumerate() {
        let found = headers.is_valid(i).then(|| {
            let list = headers.value(i);
            let list = list.as_struct();
            let values = arrow::compute::cast(list.column(1), &DataType::Binary).unwrap();
            let keys = list.column(0).as_string::<i32>();
            (0..list.len())
                .map(|j| {
                    (keys.value(j).to_owned(), values.is_valid(j).then(|| values.as_binary::<i32>().value(j).to_vec()))
                })
                .collect::<Vec<_>>()
        });
        let wanted = record
            .headers
            .as_ref()
            .map(|h| h.iter().map(|(k, v)| ((*k).to_owned(), v.map(<[u8]>::to_vec))).collect::<Vec<_>>());
        assert_eq!(found, wanted, "row {i}");
    }
    // what a manifest tells of nulls is true, or untold
    let nulls = files[0].null_value_counts();
    assert_eq!((nulls.get(&9), nulls.get(&5), nulls.get(&1)), (Some(&1), Some(&4), None));
    assert_eq!(place.count(Reference::new("raw_bytes").is_null()).await, 2);
    assert_eq!(place.count(Reference::new("key").is_null()).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn field_ids_are_those_of_the_table() {
    // made by somebody else: another order, other ids, and a column that we do not know
    let mut fields = bronze().fields;
    fields.reverse();
    fields.insert(3, NestedField::optional(99, "desk", Type::Primitive(PrimitiveType::String)).into());
    let mut place = Place::with(fields, &[]).await;
    let table = place.table.metadata_ref();
    assert_ne!(table.current_schema().field_id_by_name("offset"), Some(4));
    let schema = Arc::clone(place.writer().schema());
    let record = Record {
        value: Some(b"v".to_vec()),
        headers: Some(vec![("h", Some(b"1"))]),
        topic: "trades",
        ..Record::default()
    };
    let files = place.write(&[rows(&schema, 70, NOON, &[record.clone(), record])]).await;
    let footer = place.footer(&files[0]).await;
    let mut seen = 0;
    for column in footer.file_metadata().schema_descr().columns() {
        let name = column.path().parts().join(".").replace("list.", "");
        let wanted = table.current_schema().field_id_by_name(&name);
        assert_eq!(Some(column.self_type().get_basic_info().id()), wanted, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 11);
    let offset = table.current_schema().field_id_by_name("offset").unwrap();
    assert_eq!(files[0].lower_bounds()[&offset], Datum::long(70));
    place.append(&files).await;
    let read = place.scan(Reference::new("offset").equal_to(Datum::long(71)), &["offset", "desk", "topic"]).await;
    let rows: Vec<_> = read.iter().filter(|b| b.num_rows() > 0).collect();
    assert_eq!((rows.len(), rows[0].num_rows()), (1, 1));
    assert_eq!(rows[0].column_by_name("offset").unwrap().as_primitive::<Int64Type>().value(0), 71);
    assert!(rows[0].column_by_name("desk").unwrap().is_null(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_come_from_the_tables_properties() {
    let codec = |name: &'static str| ("write.parquet.compression-codec", name);
    for (setting, wanted) in [
        (codec("zstd"), "ZSTD"),
        (codec("ZSTD"), "ZSTD"),
        (codec("snappy"), "SNAPPY"),
        (codec("lz4"), "LZ4_RAW"),
        (codec("gzip"), "GZIP"),
        (codec("uncompressed"), "UNCOMPRESSED"),
    ] {
        let mut place = Place::new(&[setting]).await;
        let schema = Arc::clone(place.writer().schema());
        let files = place.write(&[rows(&schema, 0, NOON, &noise(50, 10))]).await;
        let footer = place.footer(&files[0]).await;
        for column in footer.row_group(0).columns() {
            assert!(format!("{:?}", column.compression()).starts_with(wanted), "{:?}", column.compression());
        }
        let dictionary = |i: usize| footer.row_group(0).column(i).dictionary_page_offset().is_some();
        // opaque bytes and offsets have no dictionary, the topic does
        assert_eq!((dictionary(0), dictionary(1), dictionary(3)), (false, true, false));
        place.append(&files).await;
        assert_eq!(place.count(Predicate::AlwaysTrue).await, 50);
    }
    for (key, value) in [
        ("write.parquet.compression-codec", "brotli9"),
        ("write.parquet.compression-level", "99"),
        ("write.parquet.compression-level", "high"),
    ] {
        let place = Place::new(&[(key, value)]).await;
        let error = TableWriter::new(&place.table.metadata_ref(), &place.stores, &COLUMNS).unwrap_err();
        assert_eq!(error.class(), Class::Config);
        assert!(error.to_string().contains(key), "{error}");
    }
    // nonsense is no reason to fall over
    let place = Place::new(&[("write.parquet.row-group-size-bytes", "0"), ("write.target-file-size-bytes", "0")]).await;
    let schema = Arc::clone(place.writer().schema());
    let files = place.write(&[rows(&schema, 0, NOON, &noise(500, 10))]).await;
    assert_eq!(files.iter().map(DataFile::record_count).sum::<u64>(), 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_the_table_lacks_is_an_error() {
    let place = Place::new(&[]).await;
    let error = TableWriter::new(&place.table.metadata_ref(), &place.stores, &["offset", "nothing"]).unwrap_err();
    assert_eq!(error.class(), Class::Config);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_visible_before_a_file_is_complete() {
    let place = Place::new(&[("write.parquet.row-group-size-bytes", "1048576")]).await;
    let parquet = || place.data_files().iter().filter(|p| p.extension().is_some_and(|e| e == "parquet")).count();
    for end in ["abort", "drop", "finish"] {
        let mut writer = place.writer();
        let schema = Arc::clone(writer.schema());
        // beyond one part: the upload is under way
        for n in 0..5 {
            writer.write(&rows(&schema, n * 1000, NOON, &noise(1000, 3000)), &place.partition(NOON)).await.unwrap();
            assert_eq!(parquet(), 0);
        }
        match end {
            "abort" => writer.abort().await,
            "drop" => drop(writer),
            _ => assert_eq!(writer.finish().await.unwrap().len(), 1),
        }
        if end != "finish" {
            // a part that is being written holds its file until it is through
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            while !place.data_files().is_empty() {
                assert!(std::time::Instant::now() < deadline, "{end} leaves {:?}", place.data_files());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
    assert_eq!((parquet(), place.data_files().len()), (1, 1));
    let mut empty = place.writer();
    let schema = Arc::clone(empty.schema());
    empty.write(&rows(&schema, 0, NOON, &[]), &place.partition(NOON)).await.unwrap();
    assert!(empty.finish().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upload_is_an_error_and_leaves_nothing_visible() {
    let place = Place::new(&[]).await;
    // the folder of the day is a file: nothing can be put below it
    let blocked = place.dir.path().join("warehouse/n/t/data");
    std::fs::create_dir_all(blocked.parent().unwrap()).unwrap();
    std::fs::write(&blocked, b"in the way").unwrap();
    let mut writer = place.writer();
    let batch = rows(&Arc::clone(writer.schema()), 0, NOON, &noise(10, 10));
    let mut result = writer.write(&batch, &place.partition(NOON)).await;
    if result.is_ok() {
        result = writer.finish().await.map(drop);
    }
    let error = result.unwrap_err();
    assert!(error.to_string().contains("/data/"), "{error}");
    assert_eq!(std::fs::read(&blocked).unwrap(), b"in the way");

    // the folder goes away in the middle of a long upload
    std::fs::remove_file(&blocked).unwrap();
    let mut writer = place.writer();
    let schema = Arc::clone(writer.schema());
    for n in 0..10 {
        writer.write(&rows(&schema, n * 1000, NOON, &noise(1000, 3000)), &place.partition(NOON)).await.unwrap();
    }
    std::fs::remove_dir_all(&blocked).unwrap();
    writer.finish().await.unwrap_err();
    assert_eq!(place.data_files(), Vec::<PathBuf>::new());
}

#[test]
fn partition_values_follow_from_the_time_of_ingestion() {
    let made = |column, transform| {
        let contract = TableContract { partition: (column, transform, "p"), ..bronze() };
        let mut creation = contract.creation("t").unwrap();
        creation.location = Some("memory://t".to_owned());
        let builder = iceberg::spec::TableMetadataBuilder::from_table_creation(creation).unwrap();
        partition_of(&builder.build().unwrap().metadata, NOON).unwrap()
    };
    use iceberg::spec::Transform;
    let one = |literal| Struct::from_iter([Some(literal)]);
    assert_eq!(made("ingestion_date", Transform::Day), one(Literal::date(20_000)));
    assert_eq!(made("ingestion_date", Transform::Identity), one(Literal::date(20_000)));
    assert_eq!(made("ingestion_timestamp", Transform::Day), one(Literal::date(20_000)));
    assert_eq!(made("ingestion_timestamp", Transform::Hour), one(Literal::int(20_000 * 24 + 12)));
    assert_eq!(made("ingestion_timestamp", Transform::Identity), one(Literal::timestamptz(NOON)));
}
