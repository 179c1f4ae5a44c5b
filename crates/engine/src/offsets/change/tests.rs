#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::config::Sources;
use crate::verify::tests::Lake;
use k2_lake::decision::Lineage;
use k2_model::{ClusterId, TopicId};

const TOPIC: &str = "market.crypto.trades.binance.raw";

fn pipeline() -> Pipeline {
    Config::load(&Sources::default()).unwrap().pipelines.remove(0)
}

fn state(cluster: &str, id: &str, nexts: &[(i32, i64)]) -> SourceState {
    let partitions = nexts.iter().map(|(p, next)| (Partition(*p), at(NextOffset(*next)))).collect();
    SourceState {
        version: VERSION,
        cluster_id: ClusterId::new(cluster),
        snapshot: SinkSnapshot { id: SnapshotId(1), sequence: 1 },
        rules: None,
        intents: Vec::new(),
        topics: BTreeMap::from([(TOPIC.to_owned(), TopicPosition { topic_id: Some(TopicId::new(id)), partitions })]),
    }
}

fn facts(logs: &[(i32, i64, i64)]) -> Facts {
    let log =
        |(p, low, end): &(i32, i64, i64)| (Partition(*p), Watermarks { low: NextOffset(*low), end: NextOffset(*end) });
    Facts {
        identity: TopicIdentity {
            cluster_id: ClusterId::new("c"),
            topic: TOPIC.into(),
            topic_id: Some(TopicId::new("id")),
        },
        logs: logs.iter().map(log).collect(),
    }
}

fn head(state: Option<SourceState>, lineage: Lineage) -> Head {
    let form = k2_lake::decision::TableForm { uuid: uuid::Uuid::nil(), schema: 0, spec: 0 };
    Head { form, state, lineage }
}

const ROLLED_BACK: Lineage = Lineage::RolledBack { missing: SnapshotId(1), head: None };

fn wanted(pairs: &[(i32, i64)]) -> BTreeMap<Partition, NextOffset> {
    pairs.iter().map(|(p, o)| (Partition(*p), NextOffset(*o))).collect()
}

fn nexts(state: &SourceState) -> Vec<(i32, i64)> {
    state.topics.values().flat_map(|t| &t.partitions).map(|(p, at)| (p.0, at.next.0)).collect()
}

#[test]
fn set_stays_within_the_log() {
    let facts = facts(&[(0, 10, 20), (1, 0, 5)]);
    let head = head(Some(state("c", "id", &[(0, 15), (1, 2)])), Lineage::Intact);
    let set = |pairs: &[(i32, i64)]| set(&pipeline(), &facts, &head, &wanted(pairs));
    assert_eq!(nexts(&set(&[(0, 10)]).unwrap()), [(0, 10), (1, 2)]);
    assert_eq!(nexts(&set(&[(0, 20), (1, 5)]).unwrap()), [(0, 20), (1, 5)]);
    for beyond in [&[(0, 9)][..], &[(0, 21)], &[(2, 0)]] {
        assert_eq!(set(beyond).unwrap_err().class(), k2_model::Class::Config, "{beyond:?}");
    }
}

#[test]
fn set_drops_positions_of_another_cluster_or_incarnation() {
    let facts = facts(&[(0, 0, 20), (1, 0, 20)]);
    for old in [state("other", "id", &[(0, 15), (1, 2)]), state("c", "old", &[(0, 15), (1, 2)])] {
        let after = set(&pipeline(), &facts, &head(Some(old), Lineage::Intact), &wanted(&[(0, 7)])).unwrap();
        assert_eq!(nexts(&after), [(0, 7)]);
        assert_eq!(after.cluster_id.as_str(), "c");
        assert_eq!(after.topics[TOPIC].topic_id, Some(TopicId::new("id")));
    }
    let fresh = set(&pipeline(), &facts, &head(None, Lineage::Intact), &wanted(&[(1, 3)])).unwrap();
    assert_eq!(nexts(&fresh), [(1, 3)]);
}

#[test]
fn after_a_rollback_all_partitions_have_to_be_named() {
    let facts = facts(&[(0, 0, 20), (1, 0, 20)]);
    let head = head(Some(state("c", "id", &[(0, 15), (1, 2)])), ROLLED_BACK);
    let error = set(&pipeline(), &facts, &head, &wanted(&[(0, 5)])).unwrap_err();
    assert!(error.to_string().contains("partitions 1 need a position too"), "{error}");
    assert_eq!(nexts(&set(&pipeline(), &facts, &head, &wanted(&[(0, 5), (1, 0)])).unwrap()), [(0, 5), (1, 0)]);
}

#[test]
fn reset_forgets_all_or_some() {
    let before = state("c", "id", &[(0, 15), (1, 2)]);
    assert_eq!(reset(&pipeline(), &[], Some(before.clone())), None);
    let some = reset(&pipeline(), &[Partition(1)], Some(before.clone())).unwrap();
    assert_eq!(nexts(&some), [(0, 15)]);
    assert_eq!(reset(&pipeline(), &[Partition(0), Partition(1)], Some(before)), None);
}

#[test]
fn accept_loss_moves_only_what_retention_has_passed() {
    let facts = facts(&[(0, 10, 20), (1, 10, 20)]);
    let after = accept_loss(&pipeline(), &facts, Some(state("c", "id", &[(0, 4), (1, 12), (2, 1)]))).unwrap().unwrap();
    assert_eq!(nexts(&after), [(0, 10), (1, 12), (2, 1)]);
    let other = accept_loss(&pipeline(), &facts, Some(state("c", "old", &[(0, 4)]))).unwrap_err();
    assert_eq!(other.class(), k2_model::Class::Halt);
}

fn report_of(report: &crate::verify::TableReport) -> Vec<(bool, &str)> {
    report.checks.iter().map(|c| (c.ok, c.summary.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_is_dry_without_execute_and_verify_knows_it_as_a_decision() {
    let mut lake = Lake::filled().await;
    let before = lake.table().await.metadata().properties().clone();
    let dry = change(&lake.config, "bronze-binance", &Change::Reset(vec![]), false).await.unwrap();
    assert_eq!(dry.moves.values().copied().collect::<Vec<_>>(), [(Some(20), None), (Some(10), None)]);
    assert!(dry.warnings[0].contains("29 rows"), "{:?}", dry.warnings);
    assert_eq!(lake.table().await.metadata().properties(), &before);

    let done = change(&lake.config, "bronze-binance", &Change::Reset(vec![]), true).await.unwrap();
    assert_eq!(done.moves, dry.moves);
    assert!(!lake.table().await.metadata().properties().keys().any(|k| k.starts_with("k2.source.")));
    let report = lake.verify().await;
    assert!(report.ok(), "{:#?}", report_of(&report));
    // the topic was made anew, and the source begins with it
    lake.topic_id = "BBBBBBBBBBBBBBBBBBBBBB";
    let files = lake.files(&[(0, 0)], Some(lake.topic_id)).await;
    lake.commit("k2-bronze-binance-ingestion", &[(0, None, 0, 1)], &files).await;
    let report = lake.verify().await;
    assert!(report.ok(), "{:#?}", report.checks);
    assert!(report.notes.iter().any(|n| n.starts_with("rows of 2 topics named")), "{:?}", report.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_position_can_be_reset_but_not_that_of_a_newer_version() {
    let lake = Lake::filled().await;
    let key = SourceId::new("k2-bronze-binance-ingestion").property_key();
    let put = |text: &str| {
        let updates = std::collections::HashMap::from([(key.clone(), text.to_owned())]);
        lake.update(vec![iceberg::TableUpdate::SetProperties { updates }])
    };
    put("{\"version\": 2}").await;
    assert!(change(&lake.config, "bronze-binance", &Change::Reset(vec![]), true).await.is_err());
    put("broken").await;
    assert!(change(&lake.config, "bronze-binance", &Change::Reset(vec![Partition(0)]), true).await.is_err());
    change(&lake.config, "bronze-binance", &Change::Reset(vec![]), true).await.unwrap();
    assert!(!lake.table().await.metadata().properties().contains_key(&key));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_the_table_can_tell_its_positions() {
    let lake = Lake::filled().await;
    lake.roll_back().await;
    assert!(!lake.verify().await.ok());
    let done = change(&lake.config, "bronze-binance", &Change::AsTable, true).await.unwrap();
    assert_eq!(done.moves.values().copied().collect::<Vec<_>>(), [(Some(20), Some(10)), (Some(10), Some(5))]);
    let report = lake.verify().await;
    assert!(report.ok(), "{:#?}", report.checks);
    // the records that the rollback took away come again
    let files = lake.files(&[(0, 10), (0, 11)], Some(crate::verify::tests::ID)).await;
    lake.commit("k2-bronze-binance-ingestion", &[(0, Some(10), 10, 12)], &files).await;
    assert!(lake.verify().await.ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_writer_is_fenced_by_a_reset() {
    let lake = Lake::filled().await;
    change(&lake.config, "bronze-binance", &Change::Reset(vec![Partition(0)]), true).await.unwrap();
    let files = lake.files(&[(0, 20)], Some(crate::verify::tests::ID)).await;
    let outcome = lake.propose("k2-bronze-binance-ingestion", &[(0, Some(20), 20, 21)], &files).await;
    assert!(matches!(outcome, k2_lake::gate::Outcome::Fenced(_)), "{outcome:?}");
}
