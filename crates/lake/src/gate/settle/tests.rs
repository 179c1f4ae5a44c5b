#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::contract;
use iceberg::NamespaceIdent;
use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat, Datum, Literal, Struct, TableMetadataBuilder};
use k2_model::TopicId;
use uuid::Uuid;

fn table() -> TableMetadata {
    let mut creation = contract::dlq().creation("silver_dlq_trades").unwrap();
    creation.location = Some("s3://lake/dlq".to_owned());
    TableMetadataBuilder::from_table_creation(creation)
        .unwrap()
        .assign_uuid(Uuid::from_u128(9))
        .build()
        .unwrap()
        .metadata
}

fn file(name: &str, day: Option<i32>) -> DataFile {
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(format!("s3://lake/dlq/data/dlq_date_day=2024-10-04/{name}.parquet"))
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([day.map(Literal::date)]))
        .partition_spec_id(0)
        .record_count(2)
        .file_size_in_bytes(4711)
        .column_sizes(HashMap::from([(1, 900), (2, 40), (6, 80)]))
        .value_counts(HashMap::from([(2, 2), (6, 2), (13, 2)]))
        .null_value_counts(HashMap::from([(2, 0), (6, 0), (13, 1)]))
        .nan_value_counts(HashMap::new())
        .lower_bounds(HashMap::from([
            (2, Datum::string("avro_decode_failed")),
            (6, Datum::long(41)),
            (8, Datum::date(20_000)),
            (13, Datum::binary([0, 255])),
            (17, Datum::timestamptz_micros(-1)),
        ]))
        .upper_bounds(HashMap::from([(2, Datum::string("tombstone")), (6, Datum::long(42))]))
        .split_offsets(Some(vec![4]))
        .build()
        .unwrap()
}

fn identity(topic: &str) -> TopicIdentity {
    let topic_id = Some(TopicId::new("AAAAAAAAAAAAAAAAAAAAAQ"));
    TopicIdentity { cluster_id: ClusterId::new("c"), topic: topic.into(), topic_id }
}

fn made(number: u128, topic: &str, ranges: &[(i32, i64, i64)], files: &[DataFile]) -> Intent {
    let ident = TableIdent::new(NamespaceIdent::new("market_data".to_owned()), "silver_dlq_trades".to_owned());
    let ranges = ranges.iter().map(|(p, from, to)| (Partition(*p), (NextOffset(*from), NextOffset(*to)))).collect();
    let rules = Some(format!("r{}", number % 2));
    intent(BatchId(Uuid::from_u128(number)), &ident, &table(), &identity(topic), ranges, rules, files).unwrap()
}

#[test]
fn the_stored_form_is_the_golden_one() {
    let golden: Value = serde_json::from_str(include_str!("../../../golden/intent.json")).unwrap();
    let intent = made(1, "trades", &[(0, 41, 43), (7, 5, 5)], &[file("a", Some(20_000))]);
    let json = serde_json::to_value(&intent).unwrap();
    assert_eq!(json, golden, "{json}");
    assert_eq!(serde_json::from_value::<Intent>(golden).unwrap(), intent);
}

#[test]
fn files_come_back_as_they_were() {
    // a day before 1970, one that no calendar knows, and none
    let files = [file("a", Some(20_000)), file("b", Some(-1)), file("c", Some(i32::MIN)), file("d", None)];
    let intent = made(1, "trades", &[(0, 41, 43)], &files);
    assert_eq!(intent.rows, 8);
    let text = serde_json::to_string(&intent).unwrap();
    let read = Written::read(&table(), &serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(read.files, files);
    assert_eq!((read.spec.spec_id(), read.schema.schema_id()), (0, 0));
}

#[test]
fn what_the_table_has_forgotten_halts() {
    let good = made(1, "trades", &[(0, 41, 43)], &[file("a", Some(20_000))]);
    let broken = vec![serde_json::json!({"file_path": 7})];
    for bad in [
        Intent { spec: 3, ..good.clone() },
        Intent { schema: 3, ..good.clone() },
        Intent { files: broken, ..good.clone() },
    ] {
        let error = Written::read(&table(), &bad).err().unwrap();
        assert_eq!(error.class(), Class::Halt);
        assert!(error.to_string().contains("trades/0 41..43") && error.way_out().is_some(), "{error}");
    }
}

#[test]
fn one_intent_per_topic_travels_and_none_before_its_predecessor() {
    let item = |source: &str, number, topic: &str, ranges: &[(i32, i64, i64)]| {
        (SourceId::new(source), ClusterId::new("c"), made(number, topic, ranges, &[]))
    };
    let all = [
        // out of order, as they must not come: the later one waits
        item("a", 1, "t", &[(0, 5, 8)]),
        item("a", 2, "t", &[(0, 0, 5)]),
        item("a", 3, "t", &[(1, 0, 5)]),
        // another source of the same topic: the keys of the ranges would be the same
        item("b", 4, "t", &[(0, 0, 5)]),
        item("c", 5, "u", &[(0, 0, 5)]),
        // a second topic of a source
        item("a", 6, "v", &[(0, 0, 5)]),
    ];
    let mut left: Vec<&Item> = all.iter().collect();
    let mut rounds = Vec::new();
    while !left.is_empty() {
        let now = together(&left);
        rounds.push(now.iter().map(|(_, _, i)| i.batch.0.as_u128()).collect::<Vec<_>>());
        left.retain(|x| !now.iter().any(|y| std::ptr::eq(*x, *y)));
    }
    assert_eq!(rounds, [vec![2, 5, 6], vec![1], vec![3], vec![4]]);

    let now = [&all[1], &all[4], &all[5]];
    let wanted = [
        ("k2.batch-uuid", [2, 5, 6].map(|n| Uuid::from_u128(n).to_string()).join(",")),
        ("k2.ranges", r#"{"t/0":[0,5],"u/0":[0,5],"v/0":[0,5]}"#.to_owned()),
        ("k2.rules", "r0,r1".to_owned()),
        ("k2.source", "a,c".to_owned()),
    ];
    assert_eq!(summary(&now).unwrap(), wanted.map(|(k, v)| (k.to_owned(), v)).into());
}

#[test]
fn a_batch_tells_its_age() {
    assert!(!has_waited(BatchId::fresh()));
    assert!(has_waited(BatchId(Uuid::from_u128(1))), "no time in it");
    let (hour_ago, ahead) = (clock::now_millis() - 3_600_000, clock::now_millis() + 3_600_000);
    for at in [hour_ago, ahead] {
        let (seconds, nanos) = (u64::try_from(at / 1000).unwrap(), 0);
        let stamp = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos);
        assert!(has_waited(BatchId(Uuid::new_v7(stamp))));
    }
}
