//! A checker that has never failed proves nothing: every kind of finding, found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::Exchange;
use crate::trades::{Ids, Maker, Version};

fn now() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "columns that tell the wall clock are compared with it")]
    chrono::Utc::now().timestamp_micros()
}

/// A ledger of two good records and a tombstone, and the tables that they must become.
struct World {
    ledger: TradeLedger,
    silver: Vec<StoredSilver>,
    dlq: Vec<DlqRow>,
    next: i64,
}

impl World {
    fn right() -> Self {
        let mut maker = Maker::new(Exchange::Kraken, Ids::of(Exchange::Kraken), 1);
        let time = now();
        let at = time / 1000;
        let good = [maker.in_version(Version::Plain, at), maker.in_version(Version::Evolved, at)];
        let mut bad = maker.in_version(Version::Plain, at);
        (bad.value, bad.meaning) = (None, crate::trades::Meaning::NoFrame);
        let records: BTreeMap<_, _> = good.into_iter().chain([bad]).zip(0..).map(|(r, o)| ((0, o), r)).collect();
        let ledger = TradeLedger {
            exchange: Exchange::Kraken,
            topic: "t".into(),
            topic_id: "i".into(),
            cluster_id: "c".into(),
            count: 3,
            records,
        };
        let silver = (0..2).map(|offset| match ledger.fate(0, offset, &Limits::default()) {
            Some(Fate::Silver(row)) => StoredSilver { row: *row, validated: time, ingested: time },
            other => panic!("{other:?}"),
        });
        let silver = silver.collect();
        let record = &ledger.records[&(0, 2)];
        let letter = DlqRow {
            raw_record: None,
            error_reason: "tombstone".into(),
            error_type: "deserialization".into(),
            error_timestamp: time,
            bronze_source: "bronze_kraken_trades".into(),
            kafka_offset: 2,
            schema_id: None,
            dlq_date: i32::try_from(time / DAY).unwrap(),
            message_id: ledger.place(0, 2).message_id(),
            kafka_topic: "t".into(),
            kafka_partition: 0,
            kafka_timestamp: Some(record.timestamp_ms * 1000),
            key: record.key.clone(),
            error_detail: None,
            rules_version: "r".into(),
            status: "open".into(),
            ingestion_timestamp: time - 1,
        };
        Self { ledger, silver, dlq: vec![letter], next: 3 }
    }

    fn verdict(self) -> TradeVerdict {
        let next = BTreeMap::from([(0, self.next)]);
        weigh(self.silver, self.dlq, &next, &self.ledger, |_, _| Limits::default(), TradeVerdict::default())
    }
}

fn again(row: &StoredSilver) -> StoredSilver {
    StoredSilver { row: row.row.clone(), ..*row }
}

#[test]
fn what_is_right_is_called_so() {
    let verdict = World::right().verdict();
    verdict.assert_complete();
    assert_eq!((verdict.silver, verdict.dlq, verdict.reasons["tombstone"]), (2, 1, 1));
}

#[test]
fn every_fault_is_found_once() {
    type Fault = (&'static str, fn(&mut World));
    let faults: [Fault; 17] = [
        ("a row is missing", |w| drop(w.silver.pop())),
        ("a dead letter is missing", |w| drop(w.dlq.pop())),
        ("a row is there twice", |w| w.silver.push(again(&w.silver[0]))),
        ("a dead letter is there twice", |w| w.dlq.push(w.dlq[0].clone())),
        ("a record is in both", |w| w.dlq.push(DlqRow { kafka_offset: 0, ..w.dlq[0].clone() })),
        ("a row that nobody sent", |w| {
            let mut row = again(&w.silver[0]);
            row.row.kafka_offset = 9;
            w.silver.push(row);
        }),
        ("a dead letter that nobody sent", |w| w.dlq.push(DlqRow { kafka_partition: 7, ..w.dlq[0].clone() })),
        ("a price off by its last digit", |w| w.silver[1].row.price += 1),
        ("another id", |w| w.silver[0].row.message_id = w.silver[1].row.message_id.clone()),
        ("a time that is not now", |w| w.silver[0].validated = 0),
        ("another reason", |w| w.dlq[0].error_reason = "avro_decode_failed".into()),
        ("another type", |w| w.dlq[0].error_type = "parse".into()),
        ("a null that became empty", |w| w.dlq[0].raw_record = Some(Vec::new())),
        ("a schema id out of nowhere", |w| w.dlq[0].schema_id = Some(0)),
        ("another day", |w| w.dlq[0].dlq_date += 1),
        ("another source", |w| w.dlq[0].bronze_source = "bronze_binance_trades".into()),
        ("no version of the rules", |w| w.dlq[0].rules_version.clear()),
    ];
    for (what, spoil) in faults {
        let mut world = World::right();
        spoil(&mut world);
        let verdict = world.verdict();
        assert_eq!(verdict.found, 1, "{what}: {verdict}");
    }
}

#[test]
fn what_is_beyond_the_position_is_outstanding_and_must_not_be_there() {
    let verdict = World { next: 2, ..World::right() }.verdict();
    assert_eq!((verdict.outstanding, verdict.found), (1, 1), "{verdict}");
    let verdict = World { next: 2, dlq: Vec::new(), ..World::right() }.verdict();
    assert_eq!((verdict.outstanding, verdict.found), (1, 0), "{verdict}");
}

#[test]
fn a_dead_letter_names_its_field() {
    let mut world = World::right();
    let record = world.ledger.records.get_mut(&(0, 0)).unwrap();
    let crate::trades::Meaning::Trade(crate::trades::RawTrade::Kraken(trade)) = &mut record.meaning else { panic!() };
    trade.side = Some("x".into());
    world.silver.remove(0);
    let letter = DlqRow {
        kafka_offset: 0,
        raw_record: world.ledger.records[&(0, 0)].value.clone(),
        key: world.ledger.records[&(0, 0)].key.clone(),
        error_reason: "invalid_side".into(),
        error_type: "side_validation".into(),
        schema_id: Some(Ids::of(Exchange::Kraken).plain),
        message_id: world.ledger.place(0, 0).message_id(),
        error_detail: Some("it is bad".into()),
        ..world.dlq[0].clone()
    };
    world.dlq.push(letter);
    let verdict = world.verdict();
    assert_eq!(verdict.found, 1, "{verdict}");
    assert!(verdict.findings[0].contains("error_detail must name the field"), "{verdict}");
}
