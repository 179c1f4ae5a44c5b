//! Files of many partition values at a time, and what a silver column looks like in a file and in its manifest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::tests::Place;
use super::*;
use crate::contract;
use arrow::array::{
    ArrayRef, AsArray, Date32Array, Decimal128Array, Int32Array, Int64Array, ListArray, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{Decimal128Type, Int64Type};
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{Datum, Literal, PrimitiveType};
use parquet::basic::{Encoding, Type as Physical};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A silver row: day, symbol, price in units of the last digit.
type Trade = (i32, String, i128);

/// Rows with offsets from `first` on.
fn rows(schema: &ArrowSchemaRef, first: i64, trades: &[Trade]) -> RecordBatch {
    let n = trades.len();
    let text = |t: fn(&Trade, i64) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(trades.iter().zip(first..).map(|(trade, offset)| t(trade, offset))))
    };
    let stamp = || Arc::new(TimestampMicrosecondArray::from_value(7, n).with_timezone("+00:00")) as ArrayRef;
    let decimal = |v: Vec<i128>| -> ArrayRef {
        Arc::new(Decimal128Array::from_iter_values(v).with_precision_and_scale(18, 8).unwrap())
    };
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "message_id" => text(|t, o| format!("{:032x}", i128::from(o) * 0x9e37_79b9_7f4a_7c15 + t.2)),
        "symbol" => text(|t, _| t.1.clone()),
        "trade_id" => text(|_, o| format!("BINANCE-{o}")),
        "vendor_data" => text(|_, o| format!(r#"{{"event_type":"trade","event_time_ms":{}}}"#, 1_700_000_000_000 + o)),
        "timestamp" => {
            Arc::new(Int64Array::from_iter_values(trades.iter().map(|t| i64::from(t.0).saturating_mul(86_400_000_000))))
        }
        "price" => decimal(trades.iter().map(|t| t.2).collect()),
        "quantity" => decimal(trades.iter().map(|t| -t.2).collect()),
        "trade_conditions" => {
            let DataType::List(element) = field.data_type() else { panic!("not a list") };
            let values: StringArray = ["limit", "x"].into_iter().cycle().take(2 * n).map(Some).collect();
            let offsets = arrow::buffer::OffsetBuffer::from_lengths(vec![2; n]);
            Arc::new(ListArray::new(Arc::clone(element), offsets, Arc::new(values), None))
        }
        "source_sequence" | "platform_sequence" => new_null_array(&DataType::Int64, n),
        "exchange_date" => Arc::new(Date32Array::from_iter_values(trades.iter().map(|t| t.0))),
        "kafka_offset" => Arc::new(Int64Array::from_iter_values((first..).take(n))),
        _ => match field.data_type() {
            DataType::Utf8 => text(|_, _| "same".to_owned()),
            DataType::Int32 => Arc::new(Int32Array::from_value(3, n)),
            DataType::Int64 => Arc::new(Int64Array::from_value(9, n)),
            _ => stamp(),
        },
    });
    let columns: Vec<ArrayRef> = columns.collect();
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

fn columns() -> Vec<String> {
    contract::silver().fields.iter().map(|f| f.name.clone()).collect()
}

fn writer(place: &Place) -> TableWriter {
    let columns = columns();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    TableWriter::new(&place.table.metadata_ref(), &place.stores, &columns).unwrap()
}

async fn write(place: &Place, writer: &mut TableWriter, first: i64, trades: &[Trade]) {
    let rows = rows(&Arc::clone(writer.schema()), first, trades);
    for (value, part) in split(place.table.metadata(), &rows).unwrap() {
        writer.write(&part, &value).await.unwrap();
    }
}

fn on_day(day: i32, n: usize) -> Vec<Trade> {
    (0..n).map(|i| (day, "BTCUSDT".to_owned(), i128::try_from(i).unwrap())).collect()
}

fn day(file: &DataFile) -> i32 {
    (i32::MIN..=i32::MIN)
        .chain(-1000..100_000)
        .chain([i32::MAX])
        .find(|d| *file.partition() == Struct::from_iter([Some(Literal::date(*d))]))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_days_are_open_at_once() {
    let mut place = Place::of(contract::silver(), &[]).await;
    let mut w = writer(&place);
    // two days, mixed row by row and batch by batch: one file each
    for n in 0..10 {
        let mixed: Vec<Trade> =
            on_day(20_000, 50).into_iter().zip(on_day(20_001, 50)).flat_map(|(a, b)| [a, b]).collect();
        write(&place, &mut w, n * 100, &mixed).await;
    }
    assert!(!w.has_full_file());
    assert!(w.pending_bytes() > 0 && w.written_bytes() > 0);
    let files = w.finish().await.unwrap();
    assert_eq!(files.iter().map(|f| (day(f), f.record_count())).collect::<Vec<_>>(), [(20_000, 500), (20_001, 500)]);
    for (file, name) in files.iter().zip(["2024-10-04", "2024-10-05"]) {
        assert!(file.file_path().contains(&format!("/data/exchange_date={name}/")), "{}", file.file_path());
    }
    place.append(&files).await;
    let read = place.scan(Reference::new("exchange_date").equal_to(Datum::date(20_001)), &["kafka_offset"]).await;
    let offsets: Vec<i64> =
        read.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(offsets, (0..1000).filter(|o| o % 2 == 1).collect::<Vec<_>>(), "in the order in which they came");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_hundreds_of_days_make_a_file_for_each() {
    let mut place = Place::of(contract::silver(), &[]).await;
    let mut w = writer(&place);
    for n in 0..20_i64 {
        // every day of more than a year in each batch, days beyond any calendar among them
        let spread = (0..400)
            .map(|d| (d * 3, "S".to_owned(), i128::from(n)))
            .chain([(i32::MIN, "S".to_owned(), 1), (i32::MAX, "S".to_owned(), 1)]);
        write(&place, &mut w, n * 1000, &spread.collect::<Vec<_>>()).await;
        assert!(w.open.len() <= OPEN_FILES && !w.has_full_file());
    }
    let files = w.finish().await.unwrap();
    assert_eq!(files.len(), 402);
    assert_eq!(files.iter().map(DataFile::record_count).sum::<u64>(), 20 * 402);
    assert_eq!(files.iter().map(day).collect::<BTreeSet<_>>().len(), 402);
    place.append(&files).await;
    let read = place.scan(Predicate::AlwaysTrue, &["exchange_date", "kafka_offset"]).await;
    assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 20 * 402);
    let far = place.scan(Reference::new("exchange_date").equal_to(Datum::date(i32::MAX)), &["kafka_offset"]).await;
    assert_eq!(far.iter().map(RecordBatch::num_rows).sum::<usize>(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_rows_that_wait_make_room_for_themselves() {
    let place = Place::of(contract::silver(), &[("write.parquet.row-group-size-bytes", "65536")]).await;
    let mut w = writer(&place);
    let mut written = BTreeMap::<i32, u64>::new();
    for n in 0..400_i64 {
        // 40 days in turn, of different weight
        let d = i32::try_from(n % 40).unwrap();
        let count = if d == 39 { 3000 } else { 500 };
        write(&place, &mut w, n * 10_000, &on_day(d, count)).await;
        *written.entry(d).or_default() += count as u64;
        assert!(w.open.len() <= OPEN_FILES && w.waiting_bytes() <= WAITING);
        // two shared row groups, what waits, and at most a part for each file
        let parts: u64 = w.open.iter().map(|f| f.pending_bytes() - f.encoding_bytes()).sum();
        assert!(w.pending_bytes() - parts < WAITING + (1 << 20), "{}", w.pending_bytes());
    }
    assert!(!w.has_full_file(), "making room is no reason to commit");
    let files = w.finish().await.unwrap();
    let mut found = BTreeMap::<i32, u64>::new();
    for file in &files {
        *found.entry(day(file)).or_default() += file.record_count();
    }
    assert_eq!(found, written);
    assert!(files.len() < 120, "{} files of 40 days", files.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_is_completed_while_the_others_stay_open() {
    let settings = [("write.target-file-size-bytes", "100000"), ("write.parquet.row-group-size-bytes", "32768")];
    let place = Place::of(contract::silver(), &settings).await;
    let mut w = writer(&place);
    write(&place, &mut w, 0, &on_day(1, 10)).await;
    let mut first = 10;
    while !w.has_full_file() {
        write(&place, &mut w, first, &on_day(2, 100)).await;
        first += 100;
    }
    assert_eq!((w.open.len(), w.done.len()), (1, 1));
    let files = w.finish().await.unwrap();
    assert_eq!(files.iter().map(day).collect::<Vec<_>>(), [2, 1]);
    assert!(files[0].file_size_in_bytes() > 80_000, "{}", files[0].file_size_in_bytes());
    assert_eq!(files[1].record_count(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_many_files_stays_behind_an_abort() {
    let place = Place::of(contract::silver(), &[]).await;
    let mut w = writer(&place);
    for d in 0..40 {
        write(&place, &mut w, 0, &on_day(d, 10)).await;
    }
    w.abort().await;
    assert_eq!(place.data_files(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn decimals_are_stored_and_bounded_as_iceberg_says() {
    const MOST: i128 = 999_999_999_999_999_999;
    // several row groups, extremes in different ones
    let settings = [("write.parquet.row-group-size-bytes", "16384"), ("write.parquet.page-size-bytes", "4096")];
    let mut place = Place::of(contract::silver(), &settings).await;
    let mut w = writer(&place);
    let mut prices: Vec<i128> = vec![MOST, -MOST, 1, -1, 0, 127, 128, -128, -129, 255, 256, 65_535, 100_000_000];
    prices.extend((0..2_000_i128).map(|i| i * 123_456_789));
    for (n, chunk) in (0_i64..).zip(prices.chunks(100)) {
        let trades: Vec<Trade> = chunk.iter().map(|p| (20_000, format!("é{p}"), *p)).collect();
        write(&place, &mut w, n * 100, &trades).await;
    }
    let files = w.finish().await.unwrap();
    assert_eq!(files.len(), 1);
    let file = &files[0];
    let footer = place.footer(file).await;
    assert!(footer.num_row_groups() > 1);
    let column = |name: &str| {
        let at = columns().iter().position(|c| c == name).unwrap();
        // the list's element is the one column whose path is longer
        footer.row_group(0).column(at).clone()
    };
    assert_eq!(column("price").column_type(), Physical::INT64);
    assert_eq!(column("price").column_path().string(), "price");
    let logical = format!("{:?}", column("price").column_descr().logical_type_ref());
    assert!(
        logical.contains("Decimal") && logical.contains("precision: 18") && logical.contains("scale: 8"),
        "{logical}"
    );

    let decimal =
        |v: i128| Datum::try_from_bytes(&v.to_be_bytes(), PrimitiveType::Decimal { precision: 18, scale: 8 }).unwrap();
    assert_eq!((&file.lower_bounds()[&7], &file.upper_bounds()[&7]), (&decimal(-MOST), &decimal(MOST)));
    // single-value form: big-endian two's complement in as few bytes as it takes
    for (value, bytes) in
        [(0, vec![0]), (127, vec![127]), (128, vec![0, 128]), (-128, vec![128]), (-129, vec![255, 127])]
    {
        assert_eq!(decimal(value).to_bytes().unwrap().to_vec(), bytes, "{value}");
    }
    assert_eq!(decimal(-MOST).to_bytes().unwrap().to_vec(), i64::try_from(-MOST).unwrap().to_be_bytes());

    // nothing is said of lists, and of what is null throughout only that
    assert!(!file.lower_bounds().contains_key(&11) && !file.lower_bounds().contains_key(&23));
    assert_eq!(file.null_value_counts()[&12], prices.len() as u64);
    assert!(!file.lower_bounds().contains_key(&12));
    for id in [1, 2, 3, 6, 8, 13, 16, 19, 20, 21, 22] {
        assert!(file.lower_bounds().contains_key(&id) && file.upper_bounds().contains_key(&id), "no bounds of {id}");
    }

    place.append(&files).await;
    for price in [MOST, -MOST, 0, -129, 256, 1_999 * 123_456_789] {
        let read = place.scan(Reference::new("price").equal_to(decimal(price)), &["price", "quantity"]).await;
        let found: Vec<(i128, i128)> = read
            .iter()
            .flat_map(|b| {
                let of = |c: usize| b.column(c).as_primitive::<Decimal128Type>().values().to_vec();
                of(0).into_iter().zip(of(1)).collect::<Vec<_>>()
            })
            .collect();
        let wanted: Vec<_> = prices.iter().filter(|p| **p == price).map(|p| (*p, -*p)).collect();
        assert_eq!(found, wanted, "price {price}");
    }
    let read = place.scan(Reference::new("price").less_than(decimal(-127)), &["price"]).await;
    assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    let symbol = format!("é{MOST}");
    let read =
        place.scan(Reference::new("symbol").equal_to(Datum::string(&symbol)), &["symbol", "trade_conditions"]).await;
    let rows: Vec<_> = read.iter().filter(|b| b.num_rows() > 0).collect();
    assert_eq!((rows.len(), rows[0].num_rows()), (1, 1));
    assert_eq!(rows[0].column(1).as_list::<i32>().value(0).as_string::<i32>().value(0), "limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_repeat_have_dictionaries_and_those_that_do_not_have_none() {
    let place = Place::of(contract::silver(), &[]).await;
    let mut w = writer(&place);
    write(&place, &mut w, 0, &on_day(20_000, 1000)).await;
    let files = w.finish().await.unwrap();
    let footer = place.footer(&files[0]).await;
    for column in footer.row_group(0).columns() {
        let name = column.column_path().string();
        let wanted = match name.as_str() {
            "symbol" | "exchange" | "asset_class" | "currency" | "side" | "kafka_topic" => true,
            "message_id" | "trade_id" | "vendor_data" | "timestamp" | "kafka_offset" | "exchange_date" => false,
            _ => continue,
        };
        assert_eq!(column.dictionary_page_offset().is_some(), wanted, "{name}");
    }
    // what every vectorized reader of Iceberg tables decodes, old ones too
    for column in footer.row_group(0).columns() {
        let known = |e| matches!(e, Encoding::PLAIN | Encoding::RLE | Encoding::RLE_DICTIONARY);
        assert!(column.encodings().all(known), "{}", column.column_path().string());
    }
}
