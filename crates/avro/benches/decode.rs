//! Records per second that one core decodes: `cargo bench -p k2-avro`.
//!
//! The goal is 4 million a second for the Binance trade, read with the nullable fields that its pipeline asks for, up
//! to the finished Arrow batch.

#![allow(clippy::unwrap_used, missing_docs)]

use apache_avro::types::{Record, Value};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use k2_avro::{Decoder, Program, Reader, Schema};
use std::hint::black_box;

/// What the feed handler registers …
const WRITER: &str = include_str!("../../../config/schemas/1-binance_raw_trade.avsc");
/// … and what the pipeline reads: the same with most fields nullable.
const READER: &str = include_str!("../../../config/schemas/binance_raw_trade.avsc");
/// Rows of a batch, as many as a silver pipeline takes at once.
const ROWS: u64 = 8_192;

/// A reader that wants two fields of ten.
fn narrow_reader() -> String {
    let mut schema: serde_json::Value = serde_json::from_str(WRITER).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.retain(|field| ["price", "trade_time_ms"].contains(&field["name"].as_str().unwrap()));
    schema.to_string()
}

fn bodies() -> Vec<Vec<u8>> {
    let schema = apache_avro::Schema::parse_str(WRITER).unwrap();
    (0..i64::try_from(ROWS).unwrap())
        .map(|n| {
            let time = 1_700_000_000_000 + n * 37;
            let mut record = Record::new(&schema).unwrap();
            record.put("event_type", "trade");
            record.put("event_time_ms", time);
            record.put("symbol", ["BTCUSDT", "ETHUSDT", "SOLFDUSD", "BNBBTC"][usize::try_from(n).unwrap() % 4]);
            record.put("trade_id", 3_400_000_000 + n);
            record.put("price", format!("{}.{:08}", 60_000 + n % 9_000, n * 7_919 % 100_000_000));
            record.put("quantity", format!("0.{:08}", n * 104_729 % 100_000_000));
            record.put("trade_time_ms", time - 3);
            record.put("is_buyer_maker", n % 2 == 0);
            let matched = if n % 3 == 0 { (0, Value::Null) } else { (1, Value::Boolean(true)) };
            record.put("is_best_match", Value::Union(matched.0, Box::new(matched.1)));
            record.put("ingestion_timestamp", (time + 12) * 1_000);
            apache_avro::to_avro_datum(&schema, record).unwrap()
        })
        .collect()
}

fn decode(c: &mut Criterion) {
    let writer = Schema::parse(WRITER).unwrap();
    let good = bodies();
    let bad: Vec<Vec<u8>> = good
        .iter()
        .enumerate()
        .map(|(n, body)| if n % 10 == 0 { body[..body.len() - 1].to_vec() } else { body.clone() })
        .collect();
    let mut group = c.benchmark_group("binance");
    group.throughput(Throughput::Elements(ROWS));
    let readers = [
        ("nullable reader", READER.to_owned(), &good),
        ("same reader", WRITER.to_owned(), &good),
        ("two fields of ten", narrow_reader(), &good),
        ("nullable reader, 10 % cut short", READER.to_owned(), &bad),
    ];
    for (name, reader, bodies) in readers {
        let reader = Reader::new(&Schema::parse(&reader).unwrap()).unwrap();
        let program = Program::compile(&writer, &reader).unwrap();
        let mut decoder = Decoder::new(&reader);
        group.bench_function(name, |b| {
            b.iter(|| {
                for body in bodies {
                    let _ = black_box(decoder.decode(&program, black_box(body)));
                }
                black_box(decoder.finish().unwrap())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
