//! Whatever the bytes are: each record ends in exactly one place, the same one in any company.

use super::encode::Body;
use super::*;
use proptest::prelude::*;
use std::cell::RefCell;

/// Texts that are numbers, nearly numbers, and anything.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[0-9]{1,10}(\\.[0-9]{1,8})?",
        2 => "-?[0-9]{0,25}(\\.[0-9]{0,25})?",
        1 => "[-+0-9.eE/ XBTUSDbslm]{0,12}",
        1 => any::<String>(),
    ]
}

fn symbol() -> impl Strategy<Value = String> {
    prop_oneof![4 => "(BTC|ETH|XBT)(USDT|FDUSD|GBP|/USD|/XBT|//)", 1 => text()]
}

fn binance() -> impl Strategy<Value = Vec<u8>> {
    let trade = (
        proptest::option::weighted(0.9, text()),
        proptest::option::weighted(0.9, text()),
        proptest::option::weighted(0.9, symbol()),
        proptest::option::weighted(0.9, prop_oneof![4 => Just(fixture::TRADE_MILLIS), 1 => any::<i64>()]),
        any::<Option<bool>>(),
        any::<i64>(),
    );
    trade.prop_map(|(price, quantity, symbol, trade_time_ms, is_buyer_maker, trade_id)| {
        let trade = Binance { price, quantity, symbol, trade_time_ms, is_buyer_maker, trade_id, ..Binance::default() };
        trade.nullable().framed(7)
    })
}

fn kraken() -> impl Strategy<Value = Vec<u8>> {
    let trade = (
        proptest::option::weighted(0.9, text()),
        proptest::option::weighted(0.9, text()),
        proptest::option::weighted(0.9, symbol()),
        proptest::option::weighted(0.9, prop_oneof![4 => Just("1700000000.123456".to_owned()), 1 => text()]),
        proptest::option::weighted(0.9, "[bsx]"),
        text(),
    );
    trade.prop_map(|(price, volume, pair, timestamp, side, misc)| {
        Kraken { price, volume, pair, timestamp, side, misc, ..Kraken::default() }.nullable().framed(8)
    })
}

/// A value of one of many kinds: good, nearly good, and none at all.
fn value(good: impl Strategy<Value = Vec<u8>> + Clone) -> impl Strategy<Value = Option<Vec<u8>>> {
    let flipped = (good.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(mut value, place, byte)| {
        let place = place.index(value.len());
        value[place] = byte;
        value
    });
    let cut = (good.clone(), any::<prop::sample::Index>()).prop_map(|(mut value, place)| {
        value.truncate(place.index(value.len()));
        value
    });
    let id = prop_oneof![Just(1), Just(2), Just(7), Just(20), Just(21), Just(26), Just(27), Just(28), Just(999)];
    let noise = (id, proptest::collection::vec(any::<u8>(), 0..60)).prop_map(|(id, bytes)| Body(bytes).framed(id));
    prop_oneof![
        8 => good.prop_map(Some),
        2 => flipped.prop_map(Some),
        1 => cut.prop_map(Some),
        1 => noise.prop_map(Some),
        1 => proptest::collection::vec(any::<u8>(), 0..20).prop_map(Some),
        1 => Just(None),
    ]
}

fn records(good: impl Strategy<Value = Vec<u8>> + Clone) -> impl Strategy<Value = Vec<Raw>> {
    let record = (value(good), proptest::option::weighted(0.8, Just(KAFKA_MICROS)), 0..3i32);
    proptest::collection::vec(record, 1..40).prop_map(|records| {
        let raw = |(offset, (value, timestamp, partition))| Raw { value, timestamp, partition, offset, key: None };
        (100..).zip(records).map(raw).collect()
    })
}

/// One routing for all cases: what it remembers must not matter either.
fn hold(routing: &RefCell<Routing>, records: &[Raw], cut: usize) -> Result<(), TestCaseError> {
    let routing = &mut *routing.borrow_mut();
    let whole = fixture::batch(records);
    let routed = routing.route(&whole);
    // 1. in one of the two, in order (`outcomes` asserts that no record is in both)
    prop_assert_eq!(routed.silver.num_rows() + routed.dlq.num_rows(), records.len());
    for rows in [&routed.silver, &routed.dlq] {
        let offsets: Vec<i64> =
            rows.column_by_name("kafka_offset").unwrap().as_primitive::<Int64Type>().values().to_vec();
        prop_assert!(offsets.is_sorted(), "{offsets:?}");
    }
    let outcomes = routing.outcomes(records);
    // 2. in any company
    let (left, right) = records.split_at(cut.min(records.len()));
    let mut parts = if left.is_empty() { Vec::new() } else { routing.outcomes(left) };
    if !right.is_empty() {
        parts.extend(routing.outcomes(right));
    }
    prop_assert_eq!(&parts, &outcomes);
    for (record, outcome) in records.iter().zip(&outcomes) {
        prop_assert_eq!(&routing.outcomes(std::slice::from_ref(record))[0], outcome);
        // 3. rejects keep the raw bytes
        if let Outcome::Dlq(row) = outcome {
            let hex = record.value.as_ref().map(|v| v.iter().map(|b| format!("{b:02x}")).collect::<String>());
            prop_assert_eq!(&row["raw_record"], &hex);
            prop_assert!(row["error_detail"].is_some());
        }
    }
    Ok(())
}

#[test]
fn binance_records_end_in_one_place() {
    let routing = RefCell::new(Routing::of("binance"));
    proptest!(ProptestConfig::with_cases(120), |(records in records(binance().boxed()), cut in 0usize..40)| {
        hold(&routing, &records, cut)?;
    });
}

#[test]
fn kraken_records_end_in_one_place() {
    let routing = RefCell::new(Routing::of("kraken"));
    proptest!(ProptestConfig::with_cases(120), |(records in records(kraken().boxed()), cut in 0usize..40)| {
        hold(&routing, &records, cut)?;
    });
}

/// The same with a projection that fails for many records at run time.
#[test]
fn records_that_break_a_projection_end_in_one_place() {
    let mut definition = crate::plan::tests::definition("binance");
    definition.projection.text =
        definition.projection.text.replacen("ingestion_timestamp,", "CAST(price AS BIGINT) AS ingestion_timestamp,", 1);
    let routing = RefCell::new(Routing::with(&definition));
    proptest!(ProptestConfig::with_cases(60), |(records in records(binance().boxed()), cut in 0usize..40)| {
        hold(&routing, &records, cut)?;
    });
}
