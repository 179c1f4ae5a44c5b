//! A silver table and its DLQ table, moved by hand: in one piece, interrupted, and while a pipeline is at work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::offsets::change::{Facts, change};
use crate::offsets::check_agreement;
use crate::verify::trio::{BINANCE, DLQ, Overheard, SILVER, Trio, broken, names};
use k2_model::{ClusterId, NextOffset, Partition, SinkSnapshot, SnapshotId, TopicId, TopicPosition};
use k2_source::Watermarks;
use std::collections::BTreeMap;

const GROUP: &str = "k2-silver-binance-transformation";
const PIPELINE: &str = "silver-binance";

fn state(cluster: &str, id: &str, nexts: &[(i32, i64)]) -> SourceState {
    let partitions = nexts.iter().map(|(p, next)| (Partition(*p), at(NextOffset(*next)))).collect();
    SourceState {
        version: 1,
        cluster_id: ClusterId::new(cluster),
        snapshot: SinkSnapshot { id: SnapshotId(1), sequence: 1 },
        rules: None,
        intents: Vec::new(),
        topics: BTreeMap::from([("t".to_owned(), TopicPosition { topic_id: Some(TopicId::new(id)), partitions })]),
    }
}

fn nexts(state: Option<&SourceState>) -> Vec<(i32, i64)> {
    let positions = state.into_iter().flat_map(|s| s.topics.values()).flat_map(|t| &t.partitions);
    positions.map(|(p, at)| (p.0, at.next.0)).collect()
}

#[test]
fn the_dlq_follows_silver_and_never_leads() {
    let follow_to = |silver: Option<SourceState>, dlq: &[(i32, i64)]| {
        nexts(follow(silver.as_ref(), Some(state("c", "id", dlq))).as_ref())
    };
    let s = |nexts: &[(i32, i64)]| Some(state("c", "id", nexts));
    assert_eq!(follow_to(s(&[(0, 50), (1, 9)]), &[(0, 40), (1, 9)]), [(0, 40), (1, 9)]);
    assert_eq!(follow_to(s(&[(0, 50), (1, 9)]), &[(0, 70), (1, 3)]), [(0, 50), (1, 3)]);
    assert_eq!(follow_to(s(&[(1, 9)]), &[(0, 70), (1, 3)]), [(1, 3)]);
    assert_eq!(follow_to(None, &[(0, 70)]), []);
    assert_eq!(follow_to(Some(state("d", "id", &[(0, 99)])), &[(0, 70)]), []);
    assert_eq!(follow_to(Some(state("c", "new", &[(0, 99)])), &[(0, 70)]), []);
    assert!(follow(s(&[(0, 1)]).as_ref(), None).is_none());
    // a position that is right is left alone, its batch too
    let dlq = state("c", "id", &[(0, 40)]);
    assert_eq!(follow(s(&[(0, 50)]).as_ref(), Some(dlq.clone())), Some(dlq));
}

/// 0/20..25 decided on, with the reject 0/24 not in the DLQ table yet.
async fn with_pending() -> Trio {
    let trio = Trio::filled().await;
    let rows: Vec<_> = (20..25).map(|o| (0, o)).collect();
    trio.bronze(&[(0, 20, 25)], &rows).await;
    trio.silver(&[(0, 20, 25)], &rows[..4], &rows[4..]).await;
    trio
}

async fn positions(trio: &Trio) -> (Vec<(i32, i64)>, Vec<(i32, i64)>) {
    (nexts(trio.state(SILVER, GROUP).await.as_ref()), nexts(trio.state(DLQ, GROUP).await.as_ref()))
}

async fn rows_of_dlq(trio: &Trio) -> u64 {
    trio.verify().await.tables.iter().find(|t| t.table == DLQ).unwrap().rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_settles_what_is_pending_and_forgets_both_positions() {
    let trio = with_pending().await;
    let before = (trio.table(SILVER).await, trio.table(DLQ).await);
    let dry = change(&trio.config, PIPELINE, &Change::Reset(vec![]), false).await.unwrap();
    assert_eq!(dry.moves.values().copied().collect::<Vec<_>>(), [(Some(25), None), (Some(10), None)]);
    let dlq = dry.dlq.as_ref().unwrap();
    assert_eq!(dlq.table, DLQ);
    assert_eq!(dlq.moves.values().copied().collect::<Vec<_>>(), [(Some(20), None), (Some(10), None)]);
    let told = dry.warnings.join("\n");
    assert!(told.contains("1 rejects are still on the way to silver_dlq_trades"), "{told}");
    assert!(told.contains("silver_dlq_trades goes back as well"), "{told}");
    for (table, before) in [(SILVER, &before.0), (DLQ, &before.1)] {
        assert_eq!(trio.table(table).await.metadata_location(), before.metadata_location(), "a dry run wrote {table}");
    }

    let done = change(&trio.config, PIPELINE, &Change::Reset(vec![]), true).await.unwrap();
    assert_eq!(done.moves, dry.moves);
    assert_eq!(positions(&trio).await, (vec![], vec![]));
    // the position and its move are told, and the pending reject is there
    let report = trio.verify().await;
    assert!(report.ok(), "{:#?}", broken(&report));
    assert_eq!(rows_of_dlq(&trio).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_reset_leaves_the_other_partitions() {
    let trio = with_pending().await;
    let done = change(&trio.config, PIPELINE, &Change::Reset(vec![Partition(0)]), true).await.unwrap();
    // by the time of the move the pending reject is in
    assert_eq!(done.dlq.unwrap().moves, BTreeMap::from([(format!("{BINANCE}/0"), (Some(25), None))]));
    assert_eq!(positions(&trio).await, (vec![(1, 10)], vec![(1, 10)]));
    let state = trio.state(SILVER, GROUP).await.unwrap();
    assert!(state.intents.is_empty(), "the move takes settled intents out");
    assert_eq!(trio.verify().await.balances[0].checks[0].summary, "0 of 0 intents applied");
}

fn facts(trio: &Trio, end: i64) -> Facts {
    let log = Watermarks { low: NextOffset(0), end: NextOffset(end) };
    Facts { identity: trio.identity(BINANCE), logs: BTreeMap::from([(Partition(0), log), (Partition(1), log)]) }
}

fn set_to(next: i64) -> Change {
    Change::Set(BTreeMap::from([(Partition(0), NextOffset(next))]))
}

/// As [`change`], without asking Kafka, and through this catalog.
async fn change_through(trio: &Trio, catalog: Arc<dyn Catalog>, change: &Change, execute: bool) -> Result<Changed> {
    let wanted = Wanted { change, pipeline: trio.pipeline(PIPELINE), facts: Some(facts(trio, 100)) };
    let silver = Gate::new(Arc::clone(&catalog), trio.ident(SILVER), k2_model::SourceId::new(GROUP));
    Both::new(wanted, silver, catalog, trio.ident(DLQ)).change(execute).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_back_takes_the_dlq_along_and_one_forward_does_not() {
    let trio = with_pending().await;
    change_through(&trio, Arc::clone(&trio.catalog), &set_to(40), true).await.unwrap();
    assert_eq!(positions(&trio).await, (vec![(0, 40), (1, 10)], vec![(0, 25), (1, 10)]));
    let done = change_through(&trio, Arc::clone(&trio.catalog), &set_to(8), true).await.unwrap();
    assert_eq!(positions(&trio).await, (vec![(0, 8), (1, 10)], vec![(0, 8), (1, 10)]));
    assert_eq!(done.dlq.unwrap().moves, BTreeMap::from([(format!("{BINANCE}/0"), (Some(25), Some(8)))]));
    // rejects that come again go in
    trio.silver(&[(0, 8, 15)], &[], &[(0, 12)]).await;
    trio.settle().await;
    assert_eq!(rows_of_dlq(&trio).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_in_between_no_pipeline_starts_and_the_command_repeated_ends_it() {
    let trio = with_pending().await;
    // the process dies when it looks at the DLQ table for the last time, to lower it
    let dying = Overheard::new(&trio.catalog, |table, nth| {
        (table == DLQ && nth == 5)
            .then(|| -> futures::future::BoxFuture<'static, ()> { Box::pin(std::future::pending()) })
    });
    let wanted = set_to(8);
    let cut = change_through(&trio, dying.clone(), &wanted, true);
    let cut = tokio::time::timeout(std::time::Duration::from_secs(3), cut).await;
    assert!(cut.is_err(), "{:?}", dying.loads());
    assert_eq!(positions(&trio).await, (vec![(0, 8), (1, 10)], vec![(0, 25), (1, 10)]), "{:?}", dying.loads());

    let (silver, dlq) = (trio.state(SILVER, GROUP).await, trio.state(DLQ, GROUP).await);
    assert_eq!(check_agreement(BINANCE, silver.as_ref(), dlq.as_ref()).unwrap_err().class(), Class::Halt);
    assert!(names(&trio.verify().await).contains(&"silver-binance Intents".to_owned()));

    let again = change_through(&trio, Arc::clone(&trio.catalog), &wanted, true).await.unwrap();
    assert!(again.moves.is_empty());
    assert_eq!(again.dlq.unwrap().moves, BTreeMap::from([(format!("{BINANCE}/0"), (Some(25), Some(8)))]));
    assert_eq!(positions(&trio).await, (vec![(0, 8), (1, 10)], vec![(0, 8), (1, 10)]));
    let idle = change_through(&trio, Arc::clone(&trio.catalog), &wanted, true).await.unwrap();
    assert!(idle.moves.is_empty() && idle.dlq.unwrap().moves.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_that_come_in_between_are_settled_too() {
    let trio = Arc::new(with_pending().await);
    let at_work = Arc::downgrade(&trio);
    // a pipeline commits a batch with rejects after the intents were looked at: before the load that the move is pinned to
    let busy = Overheard::new(&trio.catalog, move |table, nth| {
        let trio = at_work.upgrade().filter(|_| table == SILVER && nth == 2)?;
        Some(Box::pin(async move {
            trio.settle().await;
            trio.silver(&[(0, 25, 27)], &[(0, 25)], &[(0, 26)]).await;
        }))
    });
    change_through(&trio, busy.clone(), &set_to(8), true).await.unwrap();
    assert_eq!(positions(&trio).await, (vec![(0, 8), (1, 10)], vec![(0, 8), (1, 10)]), "{:?}", busy.loads());
    assert!(trio.state(SILVER, GROUP).await.unwrap().intents.is_empty());
    // 0/3, 0/12, 1/8, 0/24, 0/26
    assert_eq!(rows_of_dlq(&trio).await, 5, "{:?}", busy.loads());
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_of_a_batch_that_a_rollback_took_away_do_not_come_twice() {
    let trio = with_pending().await;
    trio.roll_back(SILVER).await;
    let dry = change(&trio.config, PIPELINE, &Change::AsTable, false).await.unwrap();
    assert!(dry.warnings.iter().any(|w| w.contains("a rollback has taken their batch away")), "{:?}", dry.warnings);
    let done = change(&trio.config, PIPELINE, &Change::AsTable, true).await.unwrap();
    assert_eq!(done.moves.values().copied().collect::<Vec<_>>(), [(Some(25), Some(20))]);
    let rows: Vec<_> = (20..25).map(|o| (0, o)).collect();
    trio.silver(&[(0, 20, 25)], &rows[..4], &rows[4..]).await;
    trio.settle().await;
    let report = trio.verify().await;
    assert!(report.ok(), "{:#?}", broken(&report));
    assert_eq!(rows_of_dlq(&trio).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dlq_that_was_rolled_back_gets_back_what_silver_still_lists() {
    let trio = Trio::filled().await;
    // the last intent is in the DLQ table, and still in silver's position; then the table is rolled back
    trio.roll_back(DLQ).await;
    assert!(trio.settler().head(&k2_model::SourceId::new(GROUP)).await.is_err());
    let dry = change(&trio.config, PIPELINE, &Change::AsTable, false).await.unwrap();
    assert!(dry.warnings.iter().any(|w| w.contains("was rolled back")), "{:?}", dry.warnings);
    change(&trio.config, PIPELINE, &Change::AsTable, true).await.unwrap();
    trio.settle().await;
    let report = trio.verify().await;
    assert!(report.ok(), "{:#?}", broken(&report));
    assert_eq!(rows_of_dlq(&trio).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_that_cannot_be_settled_stop_a_move_unless_their_loss_is_accepted() {
    let mut trio = with_pending().await;
    trio.tamper(SILVER, GROUP, |state| state.intents[0].uuid = uuid::Uuid::nil()).await;
    let error = change(&trio.config, PIPELINE, &Change::Reset(vec![]), true).await.unwrap_err();
    assert_eq!(error.class(), Class::Halt);
    assert!(error.to_string().contains("accept-loss"), "{error}");
    let done = change_through(&trio, Arc::clone(&trio.catalog), &Change::AcceptLoss, true).await.unwrap();
    assert!(
        done.warnings[0].contains("1 rejects of") && done.warnings[0].contains("0 20..25 will not be in"),
        "{:?}",
        done.warnings
    );
    assert!(trio.state(SILVER, GROUP).await.unwrap().intents.is_empty());
    assert_eq!(names(&trio.verify().await), ["silver-binance Balance"], "the loss is told");
    // and a file that somebody has deleted
    trio = with_pending().await;
    let path = trio.state(SILVER, GROUP).await.unwrap().intents[0].files[0]["file_path"].as_str().unwrap().to_owned();
    std::fs::remove_file(path.trim_start_matches("file://")).unwrap();
    change_through(&trio, Arc::clone(&trio.catalog), &Change::AcceptLoss, true).await.unwrap();
    assert!(trio.state(SILVER, GROUP).await.unwrap().intents.is_empty());
    assert_eq!(rows_of_dlq(&trio).await, 3);
}
