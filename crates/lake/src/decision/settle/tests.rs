#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::decision::{Lineage, TableForm};
use k2_model::{BatchId, Class, SnapshotId, TopicId};
use proptest::prelude::*;
use uuid::Uuid;

const TOPIC: &str = "trades";

fn cluster() -> ClusterId {
    ClusterId::new("c")
}

/// An intent with (partition, from, to).
fn intent(ranges: &[(i32, i64, i64)]) -> Intent {
    Intent {
        batch: BatchId(Uuid::from_u128(1)),
        table: "n.dlq".to_owned(),
        uuid: Uuid::from_u128(77),
        topic: TOPIC.to_owned(),
        topic_id: Some(TopicId::new("id-1")),
        ranges: ranges.iter().map(|(p, from, to)| (Partition(*p), (NextOffset(*from), NextOffset(*to)))).collect(),
        rules: Some("r1".to_owned()),
        rows: 1,
        schema: 0,
        spec: 0,
        files: Vec::new(),
    }
}

fn state(positions: &[(i32, i64)]) -> SourceState {
    let at = |next: i64| PartitionPosition {
        next: NextOffset(next),
        leader_epoch: None,
        last: None,
        batch: BatchId(Uuid::from_u128(2)),
    };
    let partitions = positions.iter().map(|(p, next)| (Partition(*p), at(*next))).collect();
    SourceState {
        version: VERSION,
        cluster_id: cluster(),
        snapshot: SinkSnapshot { id: SnapshotId(9), sequence: 3 },
        rules: Some("r0".to_owned()),
        intents: Vec::new(),
        topics: BTreeMap::from([(
            TOPIC.to_owned(),
            TopicPosition { topic_id: Some(TopicId::new("id-1")), partitions },
        )]),
    }
}

/// A head of the DLQ table with (partition, next); none: it has no position of the source.
fn head(positions: Option<&[(i32, i64)]>) -> Head {
    let form = TableForm { uuid: Uuid::from_u128(77), schema: 5, spec: 6 };
    Head { form, state: positions.map(state), lineage: Lineage::Intact }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Row {
    Apply,
    Applied,
    Halt,
    Bug,
}

fn row_of(result: &Result<Verdict>) -> Row {
    match result {
        Ok(Verdict::Apply) => Row::Apply,
        Ok(Verdict::Applied) => Row::Applied,
        Err(e) if e.class() == Class::Halt => {
            assert!(e.way_out().is_some(), "a halt without a way out: {e}");
            Row::Halt
        }
        Err(_) => Row::Bug,
    }
}

#[test]
fn truth_table() {
    let one = || intent(&[(0, 5, 8)]);
    let two = || intent(&[(0, 5, 8), (1, 2, 3)]);
    let by = |mut i: Intent, change: &dyn Fn(&mut Intent)| {
        change(&mut i);
        i
    };
    let with = |mut h: Head, change: &dyn Fn(&mut Head)| {
        change(&mut h);
        h
    };
    let rolled_back = Lineage::RolledBack { missing: SnapshotId(9), head: None };
    let rows: Vec<(&str, Head, Intent, Row)> = vec![
        // to be done
        ("first rejects of all", head(None), one(), Row::Apply),
        ("first rejects of the partition", head(Some(&[(7, 1)])), one(), Row::Apply),
        ("stands at from", head(Some(&[(0, 5)])), one(), Row::Apply),
        ("lags: batches without rejects lie between", head(Some(&[(0, 1)])), one(), Row::Apply),
        ("two partitions, one without a position", head(Some(&[(1, 1)])), two(), Row::Apply),
        ("the form has changed since", with(head(None), &|h| h.form.spec = 9), one(), Row::Apply),
        // done
        ("stands at to", head(Some(&[(0, 8)])), one(), Row::Applied),
        ("later rejects are in as well", head(Some(&[(0, 80)])), one(), Row::Applied),
        ("two partitions, one further on", head(Some(&[(0, 8), (1, 70)])), two(), Row::Applied),
        // held, but not moved on: no say
        (
            "a partition that stays, behind",
            head(Some(&[(0, 8), (2, 1)])),
            intent(&[(0, 5, 8), (2, 4, 4)]),
            Row::Applied,
        ),
        ("a partition that stays, ahead", head(Some(&[(0, 5), (2, 9)])), intent(&[(0, 5, 8), (2, 4, 4)]), Row::Apply),
        // neither
        ("inside the range", head(Some(&[(0, 6)])), one(), Row::Halt),
        ("one done, one not", head(Some(&[(0, 8), (1, 2)])), two(), Row::Halt),
        ("one done, one nowhere", head(Some(&[(0, 8)])), two(), Row::Halt),
        // a person must look first, even when it seems to be done
        ("recreated table", head(Some(&[(0, 8)])), by(one(), &|i| i.uuid = Uuid::nil()), Row::Halt),
        ("recreated table, no position", head(None), by(one(), &|i| i.uuid = Uuid::nil()), Row::Halt),
        ("rolled back", with(head(Some(&[(0, 8)])), &|h| h.lineage = rolled_back), one(), Row::Halt),
        ("recreated topic", head(Some(&[(0, 8)])), by(one(), &|i| i.topic_id = Some(TopicId::new("id-2"))), Row::Halt),
        ("brokers tell no topic ids", head(Some(&[(0, 5)])), by(one(), &|i| i.topic_id = None), Row::Apply),
        ("another topic", head(Some(&[(0, 6)])), by(one(), &|i| i.topic = "other".to_owned()), Row::Apply),
        // not an intent
        ("covers nothing", head(None), intent(&[]), Row::Bug),
        ("moves nothing", head(None), intent(&[(0, 5, 5)]), Row::Bug),
    ];
    for (name, head, intent, expected) in &rows {
        let result = judge(head, &cluster(), intent);
        assert_eq!(row_of(&result), *expected, "{name}: {result:?}");
    }
    assert_eq!(row_of(&judge(&head(Some(&[(0, 5)])), &ClusterId::new("d"), &one())), Row::Halt, "another cluster");
}

#[test]
fn a_halt_names_the_offsets() {
    let error = judge(&head(Some(&[(0, 6)])), &cluster(), &intent(&[(0, 5, 8)])).unwrap_err().to_string();
    assert!(error.contains("trades/0") && error.contains("5..8") && error.contains('6'), "{error}");
    let gone = Intent { uuid: Uuid::nil(), ..intent(&[(0, 5, 8), (3, 1, 2)]) };
    let error = judge(&head(None), &cluster(), &gone).unwrap_err().to_string();
    assert!(error.contains("trades/0 5..8, trades/3 1..2"), "{error}");
}

#[test]
fn carrying_out_touches_only_what_the_batch_moves() {
    let mut before = state(&[(0, 5), (1, 7), (2, 9)]);
    let other = TopicPosition { topic_id: None, partitions: BTreeMap::new() };
    before.topics.insert("other".to_owned(), other.clone());
    let i = intent(&[(0, 5, 8), (2, 4, 4), (3, 0, 1)]);
    let sink = SinkSnapshot { id: SnapshotId(10), sequence: 4 };
    let after = carried_out(Some(before.clone()), &cluster(), &i, sink);
    assert_eq!((after.snapshot, after.rules.as_deref()), (sink, Some("r1")));
    assert_eq!(after.topics["other"], other);
    let at = |p: i32| after.partition(TOPIC, Partition(p)).unwrap();
    assert_eq!((at(0).next, at(0).batch), (NextOffset(8), i.batch));
    assert_eq!((at(3).next, at(3).batch), (NextOffset(1), i.batch));
    for p in [1, 2] {
        assert_eq!(Some(at(p)), before.partition(TOPIC, Partition(p)));
    }
    let first = carried_out(None, &cluster(), &i, sink);
    assert_eq!(first.topics[TOPIC].topic_id, Some(TopicId::new("id-1")));
    assert_eq!(first.topics[TOPIC].partitions.len(), 2);
}

#[test]
fn the_earlier_of_two_precedes_in_a_partition_of_both() {
    let a = intent(&[(0, 5, 8), (1, 0, 2)]);
    assert!(precedes(&a, &intent(&[(0, 8, 9)])));
    assert!(!precedes(&intent(&[(0, 8, 9)]), &a));
    assert!(!precedes(&a, &a));
    assert!(!precedes(&a, &intent(&[(2, 8, 9)])), "no partition of both");
    assert!(!precedes(&a, &intent(&[(0, 8, 8)])), "moves nothing there");
    assert!(!precedes(&a, &Intent { topic: "other".to_owned(), ..intent(&[(0, 8, 9)]) }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Once carried out an intent is applied, and stays so; no position goes back.
    #[test]
    fn what_is_carried_out_is_applied(
        at in prop::option::of(prop::collection::btree_map(0..3_i32, 0..6_i64, 0..4)),
        ranges in prop::collection::btree_map(0..3_i32, (0..6_i64, 0..4_i64), 0..4),
    ) {
        let at: Option<Vec<_>> = at.map(|m| m.into_iter().collect());
        let before = head(at.as_deref());
        let ranges: Vec<_> = ranges.into_iter().map(|(p, (from, length))| (p, from, from + length)).collect();
        let i = intent(&ranges);
        if let Ok(Verdict::Apply) = judge(&before, &cluster(), &i) {
            let sink = SinkSnapshot { id: SnapshotId(10), sequence: 4 };
            let after = carried_out(before.state.clone(), &cluster(), &i, sink);
            for (p, was) in before.state.iter().flat_map(|s| &s.topics[TOPIC].partitions) {
                prop_assert!(after.partition(TOPIC, *p).unwrap().next >= was.next);
            }
            let after = SourceState::parse("k", &after.to_json().unwrap()).unwrap();
            let after = Head { state: Some(after), ..before };
            prop_assert_eq!(judge(&after, &cluster(), &i).unwrap(), Verdict::Applied);
        }
    }
}
