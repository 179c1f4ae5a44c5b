#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use iceberg::spec::{FormatVersion, TableMetadataBuilder};
use serde_json::{Value, json};

/// The metadata of a table made for a creation.
fn made(mut creation: TableCreation) -> TableMetadata {
    creation.location = Some("memory://t".to_owned());
    TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
}

/// A table that has these columns, partitioned as the contract says.
fn table(fields: Vec<NestedFieldRef>) -> TableMetadata {
    let contract = TableContract { fields, ..bronze() };
    made(contract.creation("t").unwrap())
}

fn column(name: &str) -> NestedField {
    bronze().fields.iter().find(|f| f.name == name).unwrap().as_ref().clone()
}

/// The contract's columns with one exchanged, or taken away.
fn with(name: &str, field: Option<NestedField>) -> TableMetadata {
    let mut fields = bronze().fields;
    let at = fields.iter().position(|f| f.name == name).unwrap();
    match field {
        Some(field) => fields[at] = field.into(),
        None => drop(fields.remove(at)),
    }
    table(fields)
}

fn headers(fields: Vec<NestedField>, element_required: bool) -> NestedField {
    let header = Type::Struct(StructType::new(fields.into_iter().map(Into::into).collect()));
    let list = ListType::new(NestedField::list_element(11, header, element_required).into());
    NestedField::optional(10, "headers", Type::List(list))
}

fn text(id: i32, name: &str, required: bool, kind: PrimitiveType) -> NestedField {
    NestedField::new(id, name, Type::Primitive(kind), required)
}

#[test]
fn tables_are_the_golden_ones() {
    for (contract, golden) in [
        (bronze(), include_str!("../../golden/bronze.json")),
        (silver(), include_str!("../../golden/silver.json")),
        (dlq(), include_str!("../../golden/dlq.json")),
    ] {
        let golden: Value = serde_json::from_str(golden).unwrap();
        let table = made(contract.creation("trades").unwrap());
        let made = json!({
            "schema": table.current_schema(),
            "partition-spec": table.default_partition_spec(),
            "sort-order": table.default_sort_order(),
            "format-version": table.format_version() as u8,
            "properties": table.properties(),
        });
        for key in ["schema", "partition-spec", "sort-order", "format-version", "properties"] {
            assert_eq!(made[key], golden[key], "{key}");
        }
    }
}

#[test]
fn the_contract_follows_itself() {
    assert_eq!(bronze().departures(&table(bronze().fields)), Departures::new());
    for contract in [bronze(), silver(), dlq()] {
        assert_eq!(contract.departures(&made(contract.creation("t").unwrap())), Departures::new());
    }
}

#[test]
fn what_does_not_matter_is_fine() {
    let mut reversed = bronze().fields;
    reversed.reverse();
    let mut more = bronze().fields;
    more.push(text(20, "note", false, PrimitiveType::Double).into());
    let nested = |key, value, element| {
        headers(
            vec![text(12, "key", key, PrimitiveType::String), text(13, "value", value, PrimitiveType::Binary)],
            element,
        )
    };
    let described = NestedField { doc: Some("the whole value".to_owned()), ..column("raw_bytes") };
    for (what, table) in [
        ("another order and other ids", table(reversed)),
        ("an extra column that allows null", table(more)),
        (
            "a column that may be null, though ours never is",
            with("topic", Some(text(2, "topic", false, PrimitiveType::String))),
        ),
        ("a header key that may be null", with("headers", Some(nested(false, false, true)))),
        ("a header that may be null", with("headers", Some(nested(true, false, false)))),
        ("a comment", with("raw_bytes", Some(described))),
    ] {
        assert_eq!(bronze().departures(&table), Departures::new(), "{what}");
    }
}

#[test]
fn a_departure_is_named() {
    use PrimitiveType::{Binary, Int, Long, String, Timestamp};
    let key = || text(12, "key", true, String);
    let value = || text(13, "value", false, Binary);
    let extra = |required| {
        let mut fields = bronze().fields;
        fields.push(text(20, "desk", required, String).into());
        table(fields)
    };
    let cases = [
        ("missing", with("offset", None), "column offset (long) is missing"),
        (
            "missing, nested",
            with("headers", None),
            "column headers (list<struct<key: string, value: binary>>) is missing",
        ),
        ("mistyped", with("offset", Some(text(4, "offset", true, Int))), "column offset is int, must be long"),
        ("wider", with("partition", Some(text(3, "partition", true, Long))), "column partition is long, must be int"),
        (
            "without a zone",
            with("kafka_timestamp", Some(text(5, "kafka_timestamp", false, Timestamp))),
            "column kafka_timestamp is timestamp, must be timestamptz",
        ),
        (
            "text for bytes",
            with("raw_bytes", Some(text(1, "raw_bytes", false, String))),
            "column raw_bytes is string, must be binary",
        ),
        (
            "not null where we write null",
            with("key", Some(text(9, "key", true, Binary))),
            "column key is required, must allow null",
        ),
        ("required and unknown", extra(true), "column desk is required, but K2 does not know it"),
        ("another case", with("topic", Some(text(2, "Topic", false, String))), "column topic (string) is missing"),
        (
            "a header's value as text",
            with("headers", Some(headers(vec![key(), text(13, "value", false, String)], true))),
            "column headers is list<struct<key: string, value: string>>, must be list<struct<key: string, value: binary>>",
        ),
        (
            "a header's field of another name",
            with("headers", Some(headers(vec![text(12, "name", true, String), value()], true))),
            "column headers is list<struct<name: string, value: binary>>, must be list<struct<key: string, value: binary>>",
        ),
        (
            "a header's fields in another order",
            with("headers", Some(headers(vec![value(), key()], true))),
            "column headers is list<struct<value: binary, key: string>>, must be list<struct<key: string, value: binary>>",
        ),
        (
            "a third field in a header",
            with("headers", Some(headers(vec![key(), value(), text(14, "n", false, Int)], true))),
            "column headers is list<struct<key: string, value: binary, n: int>>, must be list<struct<key: string, value: binary>>",
        ),
        (
            "a header value that must not be null",
            with("headers", Some(headers(vec![key(), text(13, "value", true, Binary)], true))),
            "column headers is list<struct<key: string, value: binary>>, must be list<struct<key: string, value: binary>>",
        ),
    ];
    for (what, table, named) in cases {
        let found = bronze().departures(&table);
        assert_eq!(found, [named], "{what}");
    }
}

#[test]
fn all_departures_are_named_at_once() {
    let mut fields = bronze().fields;
    fields.retain(|f| f.name != "offset" && f.name != "key");
    fields.push(text(20, "desk", true, PrimitiveType::String).into());
    assert_eq!(bronze().departures(&table(fields)).len(), 3);
}

#[test]
fn partitioning_must_follow_from_the_time_of_ingestion() {
    let by = |column: &'static str, transform: Transform| {
        let contract = TableContract { partition: (column, transform, "p"), ..bronze() };
        bronze().departures(&made(contract.creation("t").unwrap()))
    };
    for (column, transform) in [
        ("ingestion_date", Transform::Day),
        ("ingestion_date", Transform::Identity),
        ("ingestion_timestamp", Transform::Hour),
        ("ingestion_timestamp", Transform::Month),
    ] {
        assert_eq!(by(column, transform), Departures::new(), "{column} {transform}");
    }
    let found = by("partition", Transform::Bucket(4));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("partition field p"), "{found:?}");
    // none at all is fine
    let creation = TableCreation::builder().name("t".to_owned()).schema(bronze().schema().unwrap()).build();
    assert_eq!(bronze().departures(&made(creation)), Departures::new());
}

#[test]
fn a_silver_table_may_be_partitioned_by_what_its_rows_hold() {
    // as Spark makes it: another name for the column that is not ours, and all may be null
    let mut fields = silver().fields;
    fields.push(text(30, "desk", false, PrimitiveType::String).into());
    let by = |partitions: &[(&str, Transform)]| {
        let schema = Schema::builder().with_fields(fields.clone()).build().unwrap();
        let spec = partitions.iter().fold(UnboundPartitionSpec::builder(), |spec, (column, transform)| {
            let id = schema.field_id_by_name(column).unwrap();
            spec.add_partition_field(id, format!("{column}_{transform}"), *transform).unwrap()
        });
        let spec = spec.build();
        let creation = TableCreation::builder().name("t".to_owned()).schema(schema).partition_spec(spec).build();
        silver().departures(&made(creation))
    };
    for fine in [
        &[][..],
        &[("exchange_date", Transform::Identity)],
        &[("exchange_date", Transform::Month)],
        &[("symbol", Transform::Identity), ("exchange_date", Transform::Day)],
        &[("message_id", Transform::Bucket(16)), ("price", Transform::Truncate(100))],
        &[("validation_timestamp", Transform::Hour)],
        &[("desk", Transform::Void)],
    ] {
        assert_eq!(by(fine), Departures::new(), "{fine:?}");
    }
    let found = by(&[("exchange_date", Transform::Identity), ("desk", Transform::Identity)]);
    assert_eq!(found, ["partition field desk_identity follows from column desk, which K2 does not write"]);
}

#[test]
fn another_format_version_is_named() {
    let table = table(bronze().fields).into_builder(None).upgrade_format_version(FormatVersion::V3).unwrap();
    let found = bronze().departures(&table.build().unwrap().metadata);
    assert_eq!(found, ["format version is v3, must be v2"]);
}

#[test]
fn a_property_that_cannot_be_read_is_the_default() {
    let properties = HashMap::from([("a".to_owned(), " 7 ".to_owned()), ("b".to_owned(), "seven".to_owned())]);
    assert_eq!(property(&properties, "a", 1_u64), 7);
    assert_eq!(property(&properties, "b", 1_u64), 1);
    assert!(property(&properties, "c", true));
}
