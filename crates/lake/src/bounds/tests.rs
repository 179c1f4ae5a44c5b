#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int32Array,
    Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Schema as ArrowSchema};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{NestedField, Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use proptest::prelude::*;
use std::sync::Arc;

/// One row of all kinds that the contracts know, and some more.
#[derive(Debug, Clone)]
struct Row {
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    int: Option<i32>,
    long: Option<i64>,
    date: Option<i32>,
    time: Option<i64>,
    price: Option<i64>,
    large: Option<i128>,
    double: Option<f64>,
    flag: Option<bool>,
    uuid: Option<u128>,
}

const LARGE: i128 = 10_i128.pow(30) - 1;

fn schema() -> Schema {
    use PrimitiveType::{Binary, Boolean, Date, Decimal, Double, Int, Long, String, Timestamptz, Uuid};
    let kinds = [
        String,
        Binary,
        Int,
        Long,
        Date,
        Timestamptz,
        Decimal { precision: 18, scale: 8 },
        Decimal { precision: 30, scale: 5 },
        Double,
        Boolean,
        Uuid,
    ];
    let fields = (1..).zip(kinds).map(|(id, kind)| {
        let name = format!("c{id}");
        // ids that are not positions
        NestedField::optional(id * 10, name, Type::Primitive(kind)).into()
    });
    Schema::builder().with_fields(fields).build().unwrap()
}

/// (field id, value) of every value that is not null.
fn values(row: &Row) -> Vec<(i32, Datum)> {
    let decimal = |v: i128, precision| {
        let bytes = v.to_be_bytes();
        Datum::try_from_bytes(&bytes, PrimitiveType::Decimal { precision, scale: if precision == 18 { 8 } else { 5 } })
            .unwrap()
    };
    [
        row.text.as_ref().map(|v| (10, Datum::string(v))),
        row.bytes.as_ref().map(|v| (20, Datum::binary(v.clone()))),
        row.int.map(|v| (30, Datum::int(v))),
        row.long.map(|v| (40, Datum::long(v))),
        row.date.map(|v| (50, Datum::date(v))),
        row.time.map(|v| (60, Datum::timestamptz_micros(v))),
        row.price.map(|v| (70, decimal(v.into(), 18))),
        row.large.map(|v| (80, decimal(v, 30))),
        row.double.map(|v| (90, Datum::double(v))),
        row.flag.map(|v| (100, Datum::bool(v))),
        row.uuid.map(|v| (110, Datum::uuid(uuid::Uuid::from_u128(v)))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn arrow_schema() -> Arc<ArrowSchema> {
    let full = schema_to_arrow_schema(&schema()).unwrap();
    let fields: Vec<_> = full
        .fields()
        .iter()
        .map(|f| {
            if *f.data_type() == DataType::LargeBinary {
                f.as_ref().clone().with_data_type(DataType::Binary)
            } else {
                f.as_ref().clone()
            }
        })
        .collect();
    Arc::new(ArrowSchema::new(fields))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let uuids = rows.iter().map(|r| r.uuid.map(u128::to_be_bytes));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.text.as_deref()).collect::<StringArray>()),
        Arc::new(rows.iter().map(|r| r.bytes.as_deref()).collect::<BinaryArray>()),
        Arc::new(rows.iter().map(|r| r.int).collect::<Int32Array>()),
        Arc::new(rows.iter().map(|r| r.long).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.date).collect::<Date32Array>()),
        Arc::new(rows.iter().map(|r| r.time).collect::<TimestampMicrosecondArray>().with_timezone("+00:00")),
        Arc::new(
            rows.iter()
                .map(|r| r.price.map(i128::from))
                .collect::<Decimal128Array>()
                .with_precision_and_scale(18, 8)
                .unwrap(),
        ),
        Arc::new(rows.iter().map(|r| r.large).collect::<Decimal128Array>().with_precision_and_scale(30, 5).unwrap()),
        Arc::new(rows.iter().map(|r| r.double).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|r| r.flag).collect::<BooleanArray>()),
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids, 16).unwrap()),
    ];
    RecordBatch::try_new(arrow_schema(), columns).unwrap()
}

/// The footer of a file with these row groups.
fn footer(groups: &[Vec<Row>], truncate: usize, statistics: EnabledStatistics) -> ParquetMetaData {
    let properties = WriterProperties::builder()
        .set_statistics_truncate_length(Some(truncate))
        .set_statistics_enabled(statistics)
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), arrow_schema(), options).unwrap();
    for rows in groups {
        writer.write(&batch(rows)).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap()
}

fn any_row() -> impl Strategy<Value = Row> {
    let text = prop_oneof![
        "[a-z]{0,3}",
        "[a-z]{0,90}",
        // several bytes a character, the largest one of all included: it has no successor
        "[é漢\u{10ffff}]{0,40}",
    ];
    let bytes = prop_oneof![prop::collection::vec(any::<u8>(), 0..90), prop::collection::vec(Just(0xff_u8), 0..90),];
    let double =
        prop_oneof![8 => any::<f64>().prop_filter("a number", |v| !v.is_nan()), 1 => Just(0.0), 1 => Just(-0.0)];
    let null = 0.8;
    (
        (prop::option::weighted(null, text), prop::option::weighted(null, bytes)),
        (prop::option::weighted(null, any::<i32>()), prop::option::weighted(null, any::<i64>())),
        (prop::option::weighted(null, any::<i32>()), prop::option::weighted(null, any::<i64>())),
        prop::option::weighted(null, -999_999_999_999_999_999..=999_999_999_999_999_999_i64),
        prop::option::weighted(null, -LARGE..=LARGE),
        (prop::option::weighted(null, double), prop::option::weighted(null, any::<bool>())),
        prop::option::weighted(null, any::<u128>()),
    )
        .prop_map(|((text, bytes), (int, long), (date, time), price, large, (double, flag), uuid)| Row {
            text,
            bytes,
            int,
            long,
            date,
            time,
            price,
            large,
            double,
            flag,
            uuid,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bounds_hold_for_every_row(
        groups in prop::collection::vec(prop::collection::vec(any_row(), 1..6), 1..5),
        truncate in prop_oneof![Just(1_usize), Just(8), Just(64)],
    ) {
        let footer = footer(&groups, truncate, EnabledStatistics::Chunk);
        prop_assert_eq!(footer.num_row_groups(), groups.len());
        let found = metrics(&footer, &schema()).unwrap();
        let rows: Vec<_> = groups.iter().flatten().map(values).collect();
        for (id, value) in rows.iter().flatten() {
            if let Some(low) = found.lower.get(id) {
                prop_assert!(low <= value, "{id}: {value} is below {low}");
            }
            if let Some(high) = found.upper.get(id) {
                prop_assert!(high >= value, "{id}: {value} is above {high}");
            }
        }
        for id in (1..=11).map(|n| n * 10) {
            let there = rows.iter().flatten().filter(|(i, _)| *i == id).count() as u64;
            let all = rows.len() as u64;
            prop_assert_eq!((found.value_counts[&id], found.null_counts[&id]), (all, all - there), "{}", id);
            prop_assert_eq!(found.lower.contains_key(&id), found.upper.contains_key(&id));
            // bounds that are never there would be true as well
            if there > 0 && !(id == 10 || id == 20 || id == 110 && truncate < 16) {
                prop_assert!(found.lower.contains_key(&id), "{} has no bounds", id);
            }
            if there == 0 {
                prop_assert!(!found.lower.contains_key(&id));
            }
        }
        prop_assert_eq!(found.split_offsets.len(), groups.len());
        prop_assert_eq!(found.split_offsets[0], 4);
    }
}

fn text(values: &[&str]) -> Vec<Row> {
    let none = Row {
        text: None,
        bytes: None,
        int: None,
        long: None,
        date: None,
        time: None,
        price: None,
        large: None,
        double: None,
        flag: None,
        uuid: None,
    };
    values
        .iter()
        .map(|v| Row { text: Some((*v).to_owned()), long: i64::try_from(v.len()).ok(), ..none.clone() })
        .collect()
}

/// The case of «Wrong bounds lose rows»: long texts in one row group, short ones in another.
#[test]
fn a_truncated_row_group_still_counts() {
    let (z, a) = ("z".repeat(200), "a".repeat(200));
    for groups in [
        vec![text(&[&z, &z]), text(&["m"])],
        vec![text(&["m"]), text(&[&a, &z])],
        vec![text(&[&a]), text(&["m"]), text(&[&z])],
    ] {
        let footer = footer(&groups, 64, EnabledStatistics::Chunk);
        let inexact = footer.row_groups().iter().filter_map(|g| g.column(0).statistics());
        assert!(inexact.into_iter().any(|s| !s.max_is_exact()), "nothing was truncated: this tests nothing");
        let found = metrics(&footer, &schema()).unwrap();
        assert!(found.upper[&10] > Datum::string(&z), "{}", found.upper[&10]);
        assert!(found.lower[&10] <= Datum::string("m"), "{}", found.lower[&10]);
    }
}

#[test]
fn a_text_without_a_successor_is_bounded_all_the_same() {
    let last = "\u{10ffff}".repeat(100);
    let found = metrics(&footer(&[text(&[&last]), text(&["m"])], 64, EnabledStatistics::Chunk), &schema()).unwrap();
    assert!(found.upper.get(&10).is_none_or(|high| *high >= Datum::string(&last)));
}

#[test]
fn without_statistics_nothing_is_claimed() {
    let found = metrics(&footer(&[text(&["a"]), text(&["b"])], 64, EnabledStatistics::None), &schema()).unwrap();
    assert!(found.lower.is_empty() && found.upper.is_empty() && found.null_counts.is_empty());
    assert_eq!(found.value_counts[&10], 2);
    assert!(found.column_sizes[&10] > 0);
}

#[test]
fn nulls_alone_have_a_count_and_no_bounds() {
    let nothing = Row { text: None, ..text(&["x"])[0].clone() };
    let found = metrics(
        &footer(&[vec![nothing.clone()], text(&["k"]), vec![nothing]], 64, EnabledStatistics::Chunk),
        &schema(),
    )
    .unwrap();
    assert_eq!((found.lower[&10].clone(), found.upper[&10].clone()), (Datum::string("k"), Datum::string("k")));
    assert_eq!((found.null_counts[&10], found.value_counts[&10]), (2, 3));
    assert_eq!((found.lower.get(&20), found.null_counts[&20]), (None, 3));
}

#[test]
fn not_a_number_does_not_hide_numbers() {
    let row = |double| Row { double: Some(double), ..text(&["x"])[0].clone() };
    let groups = [vec![row(f64::NAN), row(-3.0)], vec![row(7.5), row(f64::NAN)]];
    let found = metrics(&footer(&groups, 64, EnabledStatistics::Chunk), &schema()).unwrap();
    for number in [-3.0, 7.5] {
        assert!(found.lower.get(&90).is_none_or(|low| *low <= Datum::double(number)));
        assert!(found.upper.get(&90).is_none_or(|high| *high >= Datum::double(number)));
    }
}
