#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::contract;
use iceberg::spec::{
    MAIN_BRANCH, Operation, Snapshot, SnapshotReference, SnapshotRetention, Summary, TableMetadataBuilder,
};
use k2_model::{Class, ClusterId, TopicId};
use proptest::prelude::*;
use std::collections::HashMap;

const TOPIC: &str = "trades";
const OURS: u128 = 1;
const THEIRS: u128 = 2;

fn batch(n: u128) -> BatchId {
    BatchId(Uuid::from_u128(n))
}

fn form(schema: i32, spec: i32) -> TableForm {
    TableForm { uuid: Uuid::from_u128(77), schema, spec }
}

fn identity(cluster: &str, topic: &str, id: Option<&str>) -> Arc<TopicIdentity> {
    Arc::new(TopicIdentity { cluster_id: ClusterId::new(cluster), topic: topic.into(), topic_id: id.map(TopicId::new) })
}

/// A proposal of batch [`OURS`] with (partition, expected, from, to).
fn proposal(moves: &[(i32, Option<i64>, i64, i64)]) -> Proposal {
    let moves = moves.iter().map(|(p, expected, from, to)| {
        let m = Move {
            expected: expected.map(NextOffset),
            from: NextOffset(*from),
            to: NextOffset(*to),
            leader_epoch: Some(4),
            last: Some(Fingerprint { offset: to - 1, timestamp_ms: 5, crc: 6 }),
        };
        (Partition(*p), m)
    });
    Proposal {
        source: SourceId::new("group"),
        batch: batch(OURS),
        identity: identity("c", TOPIC, Some("id-1")),
        table: form(0, 0),
        moves: moves.collect(),
        rules: None,
        intent: None,
        settled: Vec::new(),
    }
}

fn position(next: i64, by: u128) -> PartitionPosition {
    PartitionPosition { next: NextOffset(next), leader_epoch: None, last: None, batch: batch(by) }
}

/// A head whose position holds (partition, next, batch) for the topic.
fn head(positions: &[(i32, i64, u128)]) -> Head {
    let partitions = positions.iter().map(|(p, next, by)| (Partition(*p), position(*next, *by))).collect();
    let topic = TopicPosition { topic_id: Some(TopicId::new("id-1")), partitions };
    let state = SourceState {
        version: VERSION,
        cluster_id: ClusterId::new("c"),
        snapshot: SinkSnapshot { id: SnapshotId(9), sequence: 3 },
        rules: None,
        intents: Vec::new(),
        topics: BTreeMap::from([(TOPIC.to_owned(), topic)]),
    };
    Head { form: form(0, 0), state: Some(state), lineage: Lineage::Intact }
}

fn empty() -> Head {
    Head { form: form(0, 0), state: None, lineage: Lineage::Intact }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Row {
    Halt,
    Bug,
    Committed,
    Commit,
    Rebuild,
    Overtakes,
    /// Fenced by this partition.
    Fenced(i32),
}

fn row_of(result: &Result<Decision>) -> Row {
    match result {
        Err(e) if e.class() == Class::Halt => {
            assert!(e.way_out().is_some(), "a halt without a way out: {e}");
            Row::Halt
        }
        Err(_) => Row::Bug,
        Ok(Decision::Committed) => Row::Committed,
        Ok(Decision::Commit(_)) => Row::Commit,
        Ok(Decision::Rebuild) => Row::Rebuild,
        Ok(Decision::Overtakes { .. }) => Row::Overtakes,
        Ok(Decision::Fenced { partition, .. }) => Row::Fenced(partition.0),
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "it is the table")]
fn truth_table() {
    let with = |mut h: Head, change: &dyn Fn(&mut Head)| {
        change(&mut h);
        h
    };
    let by = |mut p: Proposal, change: &dyn Fn(&mut Proposal)| {
        change(&mut p);
        p
    };
    let rolled_back = Lineage::RolledBack { missing: SnapshotId(9), head: None };
    let from_5 = || proposal(&[(0, Some(5), 5, 8)]);
    let at_5 = || head(&[(0, 5, THEIRS)]);
    let both = || proposal(&[(0, Some(5), 5, 8), (1, Some(2), 2, 3)]);
    let rows: Vec<(&str, Head, Proposal, Row)> = vec![
        // another table, a rollback, another cluster or incarnation: before anything else, even before «it is in»
        ("recreated table", at_5(), by(from_5(), &|p| p.table.uuid = Uuid::nil()), Row::Halt),
        (
            "recreated table, position ours",
            head(&[(0, 8, OURS)]),
            by(from_5(), &|p| p.table.uuid = Uuid::nil()),
            Row::Halt,
        ),
        ("recreated table, no position", empty(), by(from_5(), &|p| p.table.uuid = Uuid::nil()), Row::Halt),
        ("rolled back", with(at_5(), &|h| h.lineage = rolled_back), from_5(), Row::Halt),
        ("rolled back, position ours", with(head(&[(0, 8, OURS)]), &|h| h.lineage = rolled_back), from_5(), Row::Halt),
        ("other cluster", at_5(), by(from_5(), &|p| p.identity = identity("d", TOPIC, Some("id-1"))), Row::Halt),
        ("recreated topic", at_5(), by(from_5(), &|p| p.identity = identity("c", TOPIC, Some("id-2"))), Row::Halt),
        (
            "recreated topic, position ours",
            head(&[(0, 8, OURS)]),
            by(from_5(), &|p| p.identity = identity("c", TOPIC, Some("id-2"))),
            Row::Halt,
        ),
        // identity as far as it is known
        (
            "brokers no longer tell topic ids",
            at_5(),
            by(from_5(), &|p| p.identity = identity("c", TOPIC, None)),
            Row::Commit,
        ),
        (
            "another topic of the source",
            at_5(),
            by(proposal(&[(0, None, 0, 2)]), &|p| p.identity = identity("c", "other", Some("id-9"))),
            Row::Commit,
        ),
        // it is in
        ("our reply was lost", head(&[(0, 8, OURS)]), from_5(), Row::Committed),
        ("our reply was lost, two partitions", head(&[(0, 8, OURS), (1, 3, OURS)]), both(), Row::Committed),
        (
            "our reply was lost, other partitions by others",
            head(&[(0, 8, OURS), (7, 1, THEIRS)]),
            from_5(),
            Row::Committed,
        ),
        (
            "ours is in, and the form has changed since",
            with(head(&[(0, 8, OURS)]), &|h| h.form = form(1, 1)),
            from_5(),
            Row::Committed,
        ),
        // to be tried
        ("stands at from", at_5(), from_5(), Row::Commit),
        ("first commit of all", empty(), proposal(&[(0, None, 0, 4)]), Row::Commit),
        ("first commit of a partition", at_5(), proposal(&[(0, Some(5), 5, 8), (1, None, 0, 1)]), Row::Commit),
        ("first commit, latest", empty(), proposal(&[(0, None, 900, 901)]), Row::Commit),
        (
            "one advances, one stays",
            head(&[(0, 5, THEIRS), (1, 2, THEIRS)]),
            proposal(&[(0, Some(5), 5, 6), (1, Some(2), 2, 2)]),
            Row::Commit,
        ),
        (
            "offsets without rows",
            at_5(),
            by(from_5(), &|p| p.moves.get_mut(&Partition(0)).unwrap().last = None),
            Row::Commit,
        ),
        ("schema moved", with(at_5(), &|h| h.form = form(1, 0)), from_5(), Row::Rebuild),
        ("spec moved", with(at_5(), &|h| h.form = form(0, 1)), from_5(), Row::Rebuild),
        // fenced
        ("at our to, by another", head(&[(0, 8, THEIRS)]), from_5(), Row::Fenced(0)),
        ("behind our from", head(&[(0, 4, THEIRS)]), from_5(), Row::Fenced(0)),
        ("inside our range", head(&[(0, 6, THEIRS)]), from_5(), Row::Fenced(0)),
        ("beyond our to", head(&[(0, 9, THEIRS)]), from_5(), Row::Fenced(0)),
        ("inside our range, by us", head(&[(0, 6, OURS)]), from_5(), Row::Fenced(0)),
        ("a position where there was none", head(&[(0, 0, THEIRS)]), proposal(&[(0, None, 0, 4)]), Row::Fenced(0)),
        ("no position where there was one", empty(), from_5(), Row::Fenced(0)),
        ("the partition has no position any more", head(&[(1, 5, THEIRS)]), from_5(), Row::Fenced(0)),
        ("one of two differs", head(&[(0, 5, THEIRS), (1, 3, THEIRS)]), both(), Row::Fenced(1)),
        ("one of two is ours", head(&[(0, 8, OURS), (1, 2, THEIRS)]), both(), Row::Fenced(0)),
        ("one moved on after us", head(&[(0, 8, OURS), (1, 9, THEIRS)]), both(), Row::Fenced(0)),
        (
            "fenced comes before rebuild",
            with(head(&[(0, 9, THEIRS)]), &|h| h.form = form(1, 1)),
            from_5(),
            Row::Fenced(0),
        ),
        // not a proposal
        ("nothing to move", at_5(), proposal(&[]), Row::Bug),
        ("nothing advances", at_5(), proposal(&[(0, Some(5), 5, 5)]), Row::Bug),
        ("a gap before the range", at_5(), proposal(&[(0, Some(5), 6, 8)]), Row::Bug),
        ("an overlap before the range", at_5(), proposal(&[(0, Some(5), 4, 8)]), Row::Bug),
        ("backwards", at_5(), proposal(&[(0, Some(5), 5, 4)]), Row::Bug),
        (
            "one advances, one goes back",
            head(&[(0, 5, THEIRS), (1, 2, THEIRS)]),
            proposal(&[(0, Some(5), 5, 6), (1, Some(2), 2, 1)]),
            Row::Bug,
        ),
    ];
    for (name, head, proposal, expected) in &rows {
        let result = decide(head, proposal);
        assert_eq!(row_of(&result), *expected, "{name}: {result:?}");
    }
}

#[test]
fn fenced_tells_what_is_in_the_way() {
    let decision = decide(&head(&[(3, 9, THEIRS)]), &proposal(&[(3, Some(5), 5, 8)])).unwrap();
    let (stands_at, expected) = (Some(NextOffset(9)), Some(NextOffset(5)));
    assert_eq!(decision, Decision::Fenced { partition: Partition(3), stands_at, expected });
}

#[test]
fn a_commit_replaces_only_what_it_moves() {
    let mut before = head(&[(0, 5, THEIRS), (1, 7, THEIRS)]);
    let other = TopicPosition { topic_id: None, partitions: BTreeMap::from([(Partition(0), position(70, THEIRS))]) };
    before.state.as_mut().unwrap().topics.insert("other".to_owned(), other.clone());
    let p = proposal(&[(0, Some(5), 5, 8), (2, None, 0, 1)]);
    let Decision::Commit(After { topics, .. }) = decide(&before, &p).unwrap() else { panic!("not to be committed") };
    assert_eq!(topics["other"], other);
    let after = &topics[TOPIC].partitions;
    assert_eq!(after[&Partition(1)], position(7, THEIRS));
    for n in [0, 2] {
        let m = &p.moves[&Partition(n)];
        let want = PartitionPosition { next: m.to, leader_epoch: m.leader_epoch, last: m.last, batch: p.batch };
        assert_eq!(after[&Partition(n)], want);
    }
    assert_eq!(topics[TOPIC].topic_id, Some(TopicId::new("id-1")));
}

#[test]
fn a_known_topic_id_is_kept_when_brokers_do_not_tell_one() {
    let mut p = proposal(&[(0, Some(5), 5, 8)]);
    p.identity = identity("c", TOPIC, None);
    let Decision::Commit(After { topics, .. }) = decide(&head(&[(0, 5, THEIRS)]), &p).unwrap() else {
        panic!("not to be committed")
    };
    assert_eq!(topics[TOPIC].topic_id, Some(TopicId::new("id-1")));
}

fn intent(by: u128, ranges: &[(i32, i64, i64)]) -> Intent {
    Intent {
        batch: batch(by),
        table: "n.dlq".to_owned(),
        uuid: Uuid::from_u128(5),
        topic: TOPIC.to_owned(),
        topic_id: None,
        ranges: ranges.iter().map(|(p, from, to)| (Partition(*p), (NextOffset(*from), NextOffset(*to)))).collect(),
        rules: None,
        rows: 1,
        schema: 0,
        spec: 0,
        files: Vec::new(),
    }
}

fn holding(mut head: Head, intents: &[Intent]) -> Head {
    head.state.as_mut().unwrap().intents = intents.to_vec();
    head
}

#[test]
fn intents_of_others_are_carried_over_settled_ones_leave_ours_is_added() {
    let (theirs, settled) = (intent(THEIRS, &[(1, 0, 7)]), intent(3, &[(0, 2, 5)]));
    let before = holding(head(&[(0, 5, THEIRS), (1, 7, THEIRS)]), &[settled.clone(), theirs.clone()]);
    let ours = intent(OURS, &[(0, 5, 8)]);
    let p = Proposal {
        rules: Some("r2".to_owned()),
        intent: Some(ours.clone()),
        settled: vec![settled.batch],
        ..proposal(&[(0, Some(5), 5, 8)])
    };
    let Decision::Commit(after) = decide(&before, &p).unwrap() else { panic!("not to be committed") };
    assert_eq!(after.intents, [theirs.clone(), ours]);
    let state = p.state(after, SinkSnapshot { id: SnapshotId(10), sequence: 4 });
    assert_eq!(state.rules.as_deref(), Some("r2"));
    // without rejects nothing is added
    let p = Proposal { intent: None, ..p };
    let Decision::Commit(after) = decide(&before, &p).unwrap() else { panic!("not to be committed") };
    assert_eq!(after.intents, [theirs]);
}

#[test]
fn a_batch_does_not_overtake_rejects_of_its_own_partitions() {
    let p = || proposal(&[(0, Some(5), 5, 8), (2, Some(4), 4, 4)]);
    let before = |i: Intent| holding(head(&[(0, 5, THEIRS), (1, 7, THEIRS), (2, 4, THEIRS)]), &[i]);
    let early = intent(3, &[(0, 2, 5)]);
    let overtakes = Decision::Overtakes { batch: early.batch, table: early.table.clone() };
    assert_eq!(decide(&before(early.clone()), &p()).unwrap(), overtakes);
    // a fence comes first: the position tells more
    let behind = proposal(&[(0, Some(4), 4, 8)]);
    assert_eq!(row_of(&decide(&before(early.clone()), &behind)), Row::Fenced(0));
    let settled = Proposal { settled: vec![early.batch], ..p() };
    assert_eq!(row_of(&decide(&before(early), &settled)), Row::Commit);
    for (what, fine) in [
        ("of another partition", intent(3, &[(1, 2, 7)])),
        ("of a partition that only stays", intent(3, &[(2, 2, 4)])),
        ("of a partition that it only held", intent(3, &[(1, 2, 7), (0, 5, 5)])),
        ("of another topic", Intent { topic: "other".to_owned(), ..intent(3, &[(0, 2, 5)]) }),
    ] {
        assert_eq!(row_of(&decide(&before(fine), &p())), Row::Commit, "{what}");
    }
}

#[test]
fn a_state_without_rules_and_intents_is_as_it_was() {
    let p = proposal(&[(0, Some(5), 5, 8)]);
    let Decision::Commit(after) = decide(&head(&[(0, 5, THEIRS)]), &p).unwrap() else { panic!("not to be committed") };
    let json = p.state(after, SinkSnapshot { id: SnapshotId(10), sequence: 4 }).to_json().unwrap();
    assert!(!json.contains("rules") && !json.contains("intents"), "{json}");
}

#[test]
fn ranges_are_named_as_in_the_summary() {
    let p = proposal(&[(0, Some(5), 5, 8), (11, None, 0, 1)]);
    assert_eq!(serde_json::to_string(&p.ranges()).unwrap(), r#"{"trades/0":[5,8],"trades/11":[0,1]}"#);
}

fn positions() -> impl Strategy<Value = BTreeMap<Partition, PartitionPosition>> {
    prop::collection::btree_map((0..4).prop_map(Partition), (0..6_i64, 1..4_u128), 0..5)
        .prop_map(|m| m.into_iter().map(|(p, (next, by))| (p, position(next, by))).collect())
}

fn any_head() -> impl Strategy<Value = Head> {
    let topic_id = prop::option::weighted(0.8, prop_oneof![9 => Just("id-1"), 1 => Just("id-2")]);
    let cluster = prop_oneof![19 => Just("c"), 1 => Just("d")];
    let forms = prop_oneof![9 => Just(form(0, 0)), 1 => Just(form(1, 0))];
    let lineage = prop_oneof![
        19 => Just(Lineage::Intact),
        1 => Just(Lineage::RolledBack { missing: SnapshotId(9), head: Some(SnapshotId(1)) }),
    ];
    (prop::option::weighted(0.9, (topic_id, cluster, positions(), positions())), forms, lineage).prop_map(
        |(state, form, lineage)| {
            let state = state.map(|(topic_id, cluster, trades, other)| SourceState {
                version: VERSION,
                cluster_id: ClusterId::new(cluster),
                snapshot: SinkSnapshot { id: SnapshotId(9), sequence: 3 },
                rules: None,
                intents: Vec::new(),
                topics: BTreeMap::from([
                    (TOPIC.to_owned(), TopicPosition { topic_id: topic_id.map(TopicId::new), partitions: trades }),
                    ("other".to_owned(), TopicPosition { topic_id: None, partitions: other }),
                ]),
            });
            Head { form, state, lineage }
        },
    )
}

/// Proposals that mostly fit the head, and now and then don't.
fn any_case() -> impl Strategy<Value = (Head, Proposal)> {
    let part = (0..4_i32, 0..20_u8, prop::option::of(0..6_i64), 0..4_i64, 0..20_u8);
    (any_head(), prop::collection::vec(part, 0..4)).prop_map(|(head, parts)| {
        let at = |p: i32| head.state.as_ref().and_then(|s| s.partition(TOPIC, Partition(p))).map(|x| x.next.0);
        let moves: Vec<_> = parts
            .into_iter()
            .map(|(p, honest, random, length, skewed)| {
                let expected = if honest > 2 { at(p) } else { random };
                let from = expected.unwrap_or(0) + i64::from(skewed == 0);
                (p, expected, from, if skewed == 1 { from - 1 } else { from + length })
            })
            .collect();
        let proposal = proposal(&moves);
        (head, proposal)
    })
}

fn all_positions(topics: &BTreeMap<String, TopicPosition>) -> BTreeMap<(&str, Partition), &PartitionPosition> {
    topics.iter().flat_map(|(t, x)| x.partitions.iter().map(move |(p, at)| ((t.as_str(), *p), at))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_decided_is_safe((head, proposal) in any_case()) {
        let at = |p: &Partition| head.state.as_ref().and_then(|s| s.partition(TOPIC, *p));
        let equal = proposal.moves.iter().all(|(p, m)| at(p).map(|x| x.next) == m.expected);
        let ours = !proposal.moves.is_empty()
            && proposal.moves.iter().all(|(p, m)| at(p).is_some_and(|x| x.next == m.to && x.batch == proposal.batch));
        let result = decide(&head, &proposal);
        if let Err(e) = &result {
            prop_assert!(matches!(e.class(), Class::Halt | Class::Unknown));
        }
        prop_assert!(head.lineage == Lineage::Intact || row_of(&result) == Row::Halt);
        match result {
            Ok(Decision::Commit(decided)) => {
                let topics = &decided.topics;
                prop_assert!(equal, "let in although a partition differs");
                prop_assert!(!ours, "committed twice");
                prop_assert_eq!(head.form, proposal.table);
                let nothing = BTreeMap::new();
                let before = all_positions(head.state.as_ref().map_or(&nothing, |s| &s.topics));
                let after = all_positions(topics);
                let mut advanced = false;
                for (key, was) in &before {
                    let is = after.get(key);
                    prop_assert!(is.is_some(), "a position was dropped");
                    prop_assert!(is.unwrap().next >= was.next, "a position went back");
                    advanced |= is.unwrap().next > was.next;
                }
                for (key @ (topic, p), is) in &after {
                    match proposal.moves.get(p).filter(|_| *topic == TOPIC) {
                        Some(m) => {
                            prop_assert_eq!((is.next, is.batch, is.last), (m.to, proposal.batch, m.last));
                            advanced |= m.expected.is_none() && m.to > m.from;
                        }
                        None => prop_assert_eq!(before.get(key), Some(is), "not ours to touch"),
                    }
                }
                prop_assert!(advanced, "a commit that moves nothing");
                // and the same proposal again, with the reply lost, is found to be in
                let state = proposal.state(decided, SinkSnapshot { id: SnapshotId(10), sequence: 4 });
                let state = SourceState::parse("k", &state.to_json().unwrap()).unwrap();
                let next = Head { form: form(1, 1), state: Some(state), lineage: Lineage::Intact };
                prop_assert_eq!(decide(&next, &proposal).unwrap(), Decision::Committed);
            }
            Ok(Decision::Overtakes { .. }) => prop_assert!(false, "nothing is pending"),
            Ok(Decision::Committed) => prop_assert!(ours, "called its own what is not"),
            Ok(Decision::Rebuild) => prop_assert!(equal && head.form != proposal.table),
            Ok(Decision::Fenced { partition, stands_at, expected }) => {
                prop_assert!(!equal && !ours);
                prop_assert_eq!(stands_at, at(&partition).map(|x| x.next));
                prop_assert_eq!(expected, proposal.moves[&partition].expected);
                prop_assert_ne!(stands_at, expected);
            }
            Err(_) => {}
        }
    }
}

#[path = "lineage_tests.rs"]
mod lineage_tests;
