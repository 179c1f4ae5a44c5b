#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::contract;
use arrow::array::{AsArray, Date32Array, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use iceberg::TableCreation;
use iceberg::spec::{Schema, TableMetadataBuilder, UnboundPartitionSpec};
use k2_model::Class;
use std::sync::Arc;

/// A silver table that is partitioned so.
fn table(partitions: &[(&str, Transform)]) -> TableMetadata {
    let schema = Schema::builder().with_fields(contract::silver().fields).build().unwrap();
    let spec = partitions.iter().fold(UnboundPartitionSpec::builder(), |spec, (column, transform)| {
        let id = schema.field_id_by_name(column).unwrap();
        spec.add_partition_field(id, format!("{column}_{transform}"), *transform).unwrap()
    });
    let creation = TableCreation::builder()
        .name("t".to_owned())
        .location("memory://t".to_owned())
        .schema(schema)
        .partition_spec(spec.build())
        .build();
    TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
}

/// Rows of (day, symbol, price in units of the last digit); the offset is the row's number.
fn rows(of: &[(i32, Option<&str>, i128)]) -> RecordBatch {
    let price: Decimal128Array = of.iter().map(|r| Some(r.2)).collect();
    let at = of.iter().map(|r| i64::from(r.0).saturating_mul(86_400_000_000).saturating_add(7));
    RecordBatch::try_from_iter([
        ("exchange_date", Arc::new(of.iter().map(|r| Some(r.0)).collect::<Date32Array>()) as ArrayRef),
        ("symbol", Arc::new(of.iter().map(|r| r.1).collect::<StringArray>())),
        ("price", Arc::new(price.with_precision_and_scale(18, 8).unwrap())),
        ("validation_timestamp", Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("+00:00"))),
        ("kafka_offset", Arc::new(Int64Array::from_iter_values(0..i64::try_from(of.len()).unwrap()))),
    ])
    .unwrap()
}

/// Values with the offsets of their rows.
fn parts(table: &TableMetadata, of: &[(i32, Option<&str>, i128)]) -> Vec<(Vec<Option<Literal>>, Vec<i64>)> {
    split(table, &rows(of))
        .unwrap()
        .into_iter()
        .map(|(value, part)| {
            let offsets = part.column_by_name("kafka_offset").unwrap().as_primitive::<Int64Type>();
            (value.iter().map(|v| v.cloned()).collect(), offsets.values().to_vec())
        })
        .collect()
}

const BY_DAY: &[(&str, Transform)] = &[("exchange_date", Transform::Identity)];

#[test]
fn rows_of_one_value_are_passed_on_as_they_are() {
    let batch = rows(&[(7, Some("a"), 1), (7, Some("b"), 2), (7, None, 3)]);
    let found = split(&table(BY_DAY), &batch).unwrap();
    assert_eq!(found, [(Struct::from_iter([Some(Literal::date(7))]), batch.clone())]);
    assert_eq!(split(&table(&[]), &batch).unwrap(), [(Struct::empty(), batch.clone())]);
    assert!(split(&table(BY_DAY), &batch.slice(0, 0)).unwrap().is_empty());
    assert_eq!(split(&table(BY_DAY), &batch.slice(1, 1)).unwrap().len(), 1);
}

#[test]
fn rows_of_several_values_are_sorted_and_keep_their_order() {
    let day = |d| vec![Some(Literal::date(d))];
    let found = parts(&table(BY_DAY), &[(7, None, 1), (8, None, 1), (7, None, 1), (-3, None, 1), (8, None, 1)]);
    assert_eq!(found, [(day(7), vec![0, 2]), (day(8), vec![1, 4]), (day(-3), vec![3])]);
}

#[test]
fn any_partitioning_by_columns_of_the_rows_works() {
    let rows = [
        (7, Some("BTCUSDT"), 1_250),
        (40, Some("BTCEUR"), 1_299),
        (7, None, 1_301),
        (7, Some("BTCUSDT"), 1_200),
        (40, Some("ETHUSDT"), 1_299),
    ];
    let text = |t: &str| Some(Literal::string(t));
    let found = parts(&table(&[("symbol", Transform::Identity), ("exchange_date", Transform::Month)]), &rows);
    assert_eq!(
        found,
        [
            (vec![text("BTCUSDT"), Some(Literal::int(0))], vec![0, 3]),
            (vec![text("BTCEUR"), Some(Literal::int(1))], vec![1]),
            (vec![None, Some(Literal::int(0))], vec![2]),
            (vec![text("ETHUSDT"), Some(Literal::int(1))], vec![4]),
        ]
    );
    let found = parts(&table(&[("symbol", Transform::Truncate(3)), ("price", Transform::Truncate(100))]), &rows);
    assert_eq!(found[0], (vec![text("BTC"), Some(Literal::decimal(1_200))], vec![0, 1, 3]));
    assert_eq!(found.len(), 3);
    for (column, transform, values) in [
        ("validation_timestamp", Transform::Day, 2),
        ("validation_timestamp", Transform::Hour, 2),
        ("exchange_date", Transform::Year, 1),
        ("symbol", Transform::Void, 1),
        ("kafka_offset", Transform::Bucket(1), 1),
    ] {
        let found = parts(&table(&[(column, transform)]), &rows);
        assert_eq!(found.len(), values, "{column} {transform}: {found:?}");
        assert_eq!(found.iter().map(|(_, offsets)| offsets.len()).sum::<usize>(), rows.len());
    }
}

#[test]
fn days_of_no_calendar_do_no_harm() {
    let far = [i32::MIN, -719_163, -719_162, 0, 2_932_896, 2_932_897, 100_000_000, i32::MAX];
    let rows: Vec<_> = far.iter().map(|day| (*day, None, 1)).collect();
    let by_day = table(BY_DAY);
    for (value, offsets) in parts(&by_day, &rows) {
        let day = far[usize::try_from(offsets[0]).unwrap()];
        assert_eq!(value, [Some(Literal::date(day))]);
        let named = folder(&by_day, &Struct::from_iter(value));
        let wanted = match day {
            -719_162 => "0001-01-01".to_owned(),
            0 => "1970-01-01".to_owned(),
            2_932_896 => "9999-12-31".to_owned(),
            other => other.to_string(),
        };
        assert_eq!(named, format!("exchange_date_identity={wanted}"));
    }
    let stamps = table(&[("validation_timestamp", Transform::Identity)]);
    for at in [i64::MIN, i64::MAX, 0] {
        let named = folder(&stamps, &Struct::from_iter([Some(Literal::timestamptz(at))]));
        assert!(!named.contains([' ', ':', '/']) && named.len() < 80, "{named}");
    }
    // no value is not null: an error, and none that calls a person
    for transform in [Transform::Year, Transform::Month] {
        let rows = self::rows(&[(7, None, 1), (i32::MAX, None, 1)]);
        let error = split(&table(&[("exchange_date", transform)]), &rows).unwrap_err();
        assert_eq!(error.class(), Class::Unknown, "{error}");
    }
}

#[test]
fn no_value_leads_out_of_its_folder() {
    let by_symbol = table(&[("symbol", Transform::Identity)]);
    let named = |text: &str| folder(&by_symbol, &Struct::from_iter([Some(Literal::string(text))]));
    assert_eq!(named("BTC-USD_1.x"), "symbol_identity=BTC-USD_1.x");
    assert_eq!(named("../../etc/passwd"), "symbol_identity=.._.._etc_passwd");
    assert_eq!(named("a/b%2Fc d\0é=?#"), "symbol_identity=a_b_2Fc_d_____");
    assert_eq!(named(""), "symbol_identity=");
    assert!(named(&"x".repeat(1 << 20)).len() < 100);
    assert_eq!(folder(&by_symbol, &Struct::from_iter([None])), "symbol_identity=null");
    assert_eq!(folder(&table(&[]), &Struct::empty()), "");
}

#[test]
fn a_column_that_the_rows_lack_is_named() {
    let error = split(&table(&[("side", Transform::Identity)]), &rows(&[(7, None, 1)])).unwrap_err();
    assert_eq!(error.class(), Class::Config);
    assert!(error.to_string().contains("side"), "{error}");
}
