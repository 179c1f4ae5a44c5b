//! Silver and the DLQ beside bronze, broken on purpose: every promise must be missed when it does not hold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use crate::verify::trio::{BINANCE, BRONZE, DLQ, KRAKEN, OTHER_ID, Overheard, SILVER, Trio, broken, names};
use crate::verify::{BalanceReport, PartitionBalance, Promise, Report};
use iceberg::TableUpdate;
use k2_model::{NextOffset, Partition};

const GROUP: &str = "k2-silver-binance-transformation";

fn balance(report: &Report) -> &BalanceReport {
    assert_eq!(report.balances.len(), 1);
    &report.balances[0]
}

fn first(report: &Report, of: &str, promise: Promise) -> String {
    broken(report)
        .remove(&(of.to_owned(), promise))
        .unwrap_or_else(|| panic!("{promise:?} holds: {report:#?}"))
        .join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_trio_balances() {
    let report = Trio::filled().await.verify().await;
    assert!(report.ok(), "{:#?}", broken(&report));
    let tables: Vec<_> = report.tables.iter().map(|t| (t.table.as_str(), t.rows, t.pipelines.join(" "))).collect();
    assert_eq!(
        tables,
        [
            (BRONZE, 29, "bronze-binance".to_owned()),
            (SILVER, 26, "silver-binance".to_owned()),
            (DLQ, 3, "silver-binance".to_owned())
        ]
    );
    let b = balance(&report);
    let of = |partition, to, bronze, silver, dlq| PartitionBalance { partition, from: 0, to, bronze, silver, dlq };
    assert_eq!(b.partitions, [of(0, 20, 20, 18, 2), of(1, 10, 9, 8, 1)]);
    assert_eq!((b.totals(), b.rate), ((29, 26, 3), Some(3.0 / 29.0)));
    assert!(b.notes.is_empty(), "{:?}", b.notes);
    let summaries: Vec<_> = b.checks.iter().map(|c| c.summary.as_str()).collect();
    assert_eq!(summaries, ["1 of 1 intent applied", "26 records and 3 rejects", "29 records = 26 + 3 of 2 partitions"]);
    // the range of a DLQ commit begins later than the one before ended
    let dlq = &report.tables[2];
    assert!(dlq.checks.iter().any(|c| c.promise == Promise::MessageIds && c.ok && c.summary == "3 rows"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silver_pipeline_brings_its_tables_along_and_an_empty_one_is_fine() {
    let trio = Trio::new().await;
    let report = trio.verify_some(&["silver-binance"]).await;
    assert!(report.ok(), "{:#?}", broken(&report));
    assert_eq!(report.tables.iter().map(|t| t.table.as_str()).collect::<Vec<_>>(), [BRONZE, SILVER, DLQ]);
    assert!(report.tables[0].pipelines.is_empty());
    // a bronze table that is not there is nobody's fault
    let report = trio.verify_some(&["silver-kraken"]).await;
    assert!(report.ok(), "{:#?}", broken(&report));
    assert_eq!(balance(&report).notes, ["bronze_kraken_trades does not exist: nothing to compare with"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_loading_is_silver_dlq_bronze() {
    let trio = Trio::new().await;
    let catalog = Overheard::new(&trio.catalog, |_, _| None);
    let pipelines = [trio.pipeline("bronze-binance"), trio.pipeline("silver-binance")];
    super::super::load(&trio.config, catalog.as_ref(), super::super::wanted(&pipelines)).await.unwrap();
    assert_eq!(catalog.loads(), [SILVER, DLQ, BRONZE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_id_that_does_not_recompute_is_found() {
    for table in [SILVER, DLQ] {
        let trio = Trio::filled().await;
        let ids = [trio.message_id((0, 21)), trio.message_id((0, 22)), trio.message_id((0, 99))];
        trio.bronze(&[(0, 20, 23)], &[(0, 20), (0, 21), (0, 22)]).await;
        let files = trio.files_with_ids(table, BINANCE, &[(0, 20), (0, 21), (0, 22)], &ids).await;
        let (trades, rejects) = if table == SILVER { (files, vec![]) } else { (vec![], files) };
        trio.silver_files("silver-binance", &[(0, 20, 23)], &trades, &rejects).await;
        trio.settle().await;
        let report = trio.verify().await;
        assert_eq!(names(&report), [format!("{table} MessageIds")]);
        let found = first(&report, table, Promise::MessageIds);
        assert!(found.contains("/0 offsets 20..23: message_id is not that of this record ["), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_incarnation_is_known_by_bronze_or_by_a_persons_move() {
    let mut trio = Trio::filled().await;
    // the topic is made anew, and a person says so
    for (table, group) in [(BRONZE, "k2-bronze-binance-ingestion"), (SILVER, GROUP), (DLQ, GROUP)] {
        trio.gate(table, group).set_position(false, |_, _| Ok(None)).await.unwrap();
    }
    trio.topic_id = OTHER_ID;
    trio.bronze(&[(0, 0, 5)], &[(0, 0), (0, 1), (0, 2), (0, 3), (0, 4)]).await;
    trio.silver(&[(0, 0, 5)], &[(0, 0), (0, 1), (0, 2), (0, 4)], &[(0, 3)]).await;
    trio.settle().await;
    let report = trio.verify().await;
    assert!(report.ok(), "{:#?}", broken(&report));
    let b = balance(&report);
    assert_eq!(b.partitions, [PartitionBalance { partition: 0, from: 0, to: 5, bronze: 5, silver: 4, dlq: 1 }]);
    assert!(
        report.tables[1].notes.iter().any(|n| n.starts_with("rows of 2 topics named")),
        "{:?}",
        report.tables[1].notes
    );

    // rows that nothing tells of are a note before the move, and a finding after it
    let stranger = ["00000000-0000-5000-8000-000000000000".to_owned()];
    let trio = Trio::filled().await;
    let files = trio.files_with_ids(SILVER, BINANCE, &[(0, 20)], &stranger).await;
    trio.silver_files("silver-binance", &[(0, 20, 21)], &files, &[]).await;
    trio.bronze(&[(0, 20, 21)], &[(0, 20)]).await;
    assert_eq!(names(&trio.verify().await), [format!("{SILVER} MessageIds")]);
    trio.gate(SILVER, GROUP)
        .set_position(false, |_, state| {
            Ok(state.map(|mut s| {
                s.topics.get_mut(BINANCE).unwrap().partitions.get_mut(&Partition(0)).unwrap().next = NextOffset(30);
                s
            }))
        })
        .await
        .unwrap();
    let report = trio.verify().await;
    assert!(report.ok(), "{:#?}", broken(&report));
    assert!(report.tables[1].notes[0].starts_with("1 row whose message_id recomputes for no topic id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_silver_and_in_the_dlq_is_found() {
    let trio = Trio::filled().await;
    trio.bronze(&[(0, 20, 23)], &[(0, 20), (0, 21), (0, 22)]).await;
    trio.silver(&[(0, 20, 23)], &[(0, 20), (0, 21), (0, 22)], &[(0, 21)]).await;
    trio.settle().await;
    let report = trio.verify().await;
    assert_eq!(names(&report), ["silver-binance Apart", "silver-binance Balance"]);
    let found = first(&report, "silver-binance", Promise::Apart);
    assert_eq!(found, format!("{BINANCE}/0 offset 21: in {SILVER} and in {DLQ}"));
    assert!(first(&report, "silver-binance", Promise::Balance).contains("/0 offset 21: in silver and in the DLQ"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_neither_is_found() {
    let trio = Trio::filled().await;
    trio.bronze(&[(0, 20, 25)], &[(0, 20), (0, 21), (0, 22), (0, 23), (0, 24)]).await;
    trio.silver(&[(0, 20, 25)], &[(0, 20), (0, 24)], &[(0, 22)]).await;
    trio.settle().await;
    let report = trio.verify().await;
    assert_eq!(names(&report), ["silver-binance Balance"]);
    let check = balance(&report).checks.iter().find(|c| c.promise == Promise::Balance).unwrap();
    assert_eq!(check.found, 2);
    let found = first(&report, "silver-binance", Promise::Balance);
    assert!(
        found.starts_with(&format!("{BINANCE}/0 offset 21: in bronze, but neither in silver nor in the DLQ")),
        "{found}"
    );
    assert!(found.contains("/0 offset 23: "), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_twice_in_silver_or_in_the_dlq_is_found() {
    for table in [SILVER, DLQ] {
        let trio = Trio::filled().await;
        let row = if table == SILVER { (0, 5) } else { (0, 12) };
        trio.smuggle(table, &trio.files(table, BINANCE, &[row]).await).await;
        let report = trio.verify().await;
        let told = names(&report);
        assert!(told.contains(&format!("{table} Once")), "{told:?}");
        assert!(told.contains(&"silver-binance Balance".to_owned()), "{told:?}");
        let found = first(&report, "silver-binance", Promise::Balance);
        assert_eq!(found, format!("{BINANCE}/0 offset {}: more than once in {SILVER} or in {DLQ}", row.1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_bronze_does_not_have_is_found() {
    let trio = Trio::filled().await;
    trio.bronze(&[(0, 20, 25)], &[(0, 20), (0, 24)]).await;
    trio.silver(&[(0, 20, 25)], &[(0, 20), (0, 22), (0, 24)], &[(0, 23)]).await;
    trio.settle().await;
    let report = trio.verify().await;
    assert_eq!(names(&report), ["silver-binance Balance"]);
    let found = first(&report, "silver-binance", Promise::Balance);
    assert_eq!(found, format!("{BINANCE}/0 offsets 22..24: in silver or in the DLQ, but not in bronze"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_both_have_covered_is_compared() {
    let trio = Trio::filled().await;
    // silver is ahead in partition 0, bronze in partition 1, and partition 2 is silver's alone
    trio.silver(&[(0, 20, 30), (2, 100, 110)], &(20..30).map(|o| (0, o)).chain([(2, 105)]).collect::<Vec<_>>(), &[])
        .await;
    trio.bronze(&[(1, 10, 15)], &[(1, 10), (1, 14)]).await;
    let report = trio.verify().await;
    assert!(report.ok(), "{:#?}", broken(&report));
    let b = balance(&report);
    assert_eq!(b.partitions.iter().map(|p| (p.partition, p.from, p.to)).collect::<Vec<_>>(), [(0, 0, 20), (1, 0, 10)]);
    assert_eq!(b.notes, [format!("1 partition not compared: {BRONZE} has no position of this topic there")]);
    // from the higher of the two beginnings
    trio.bronze(&[(2, 90, 108)], &[(2, 95), (2, 105), (2, 107)]).await;
    let report = trio.verify().await;
    let found = first(&report, "silver-binance", Promise::Balance);
    assert_eq!(found, format!("{BINANCE}/2 offset 107: in bronze, but neither in silver nor in the DLQ"));
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_on_their_way_lower_the_bound_and_a_lost_file_is_found() {
    let trio = Trio::filled().await;
    trio.bronze(&[(0, 20, 25)], &[(0, 20), (0, 21), (0, 22), (0, 23), (0, 24)]).await;
    trio.silver(&[(0, 20, 25)], &[(0, 20), (0, 24)], &[(0, 21), (0, 22), (0, 23)]).await;
    let report = trio.verify().await;
    assert!(report.ok(), "{:#?}", broken(&report));
    let b = balance(&report);
    assert_eq!(b.partitions[0].to, 20);
    assert_eq!(b.notes, [format!("3 rejects of 1 commit are on the way to {DLQ}: compared up to there")]);
    assert_eq!(b.checks[0].summary, "0 of 1 intent applied");

    let state = trio.state(SILVER, GROUP).await.unwrap();
    let path = state.intents[0].files[0]["file_path"].as_str().unwrap();
    std::fs::remove_file(path.trim_start_matches("file://")).unwrap();
    let report = trio.verify().await;
    assert_eq!(names(&report), ["silver-binance Intents"]);
    assert!(first(&report, "silver-binance", Promise::Intents).contains(path), "{:?}", broken(&report));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dlq_that_stands_in_the_middle_of_an_intent_is_found() {
    let trio = Trio::filled().await;
    trio.bronze(&[(0, 20, 25)], &[(0, 20), (0, 24)]).await;
    trio.silver(&[(0, 20, 25)], &[(0, 20)], &[(0, 24)]).await;
    trio.tamper(DLQ, GROUP, |state| {
        state.topics.get_mut(BINANCE).unwrap().partitions.get_mut(&Partition(0)).unwrap().next = NextOffset(22);
    })
    .await;
    let report = trio.verify().await;
    let found = first(&report, "silver-binance", Promise::Intents);
    assert!(found.contains("neither before nor beyond the rejects of 20..25"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dlq_that_stands_beyond_silver_is_found() {
    let trio = Trio::filled().await;
    trio.tamper(SILVER, GROUP, |state| {
        state.topics.get_mut(BINANCE).unwrap().partitions.get_mut(&Partition(0)).unwrap().next = NextOffset(15);
    })
    .await;
    let report = trio.verify().await;
    let found = first(&report, "silver-binance", Promise::Intents);
    assert!(found.contains("the DLQ table stands at 20, silver at 15: rejects in between would be lost"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_the_dlq_advance_but_need_not_abut() {
    let trio = Trio::filled().await;
    // two batches without rejects, then one with
    trio.bronze(&[(0, 20, 40)], &(20..40).map(|o| (0, o)).collect::<Vec<_>>()).await;
    trio.silver(&[(0, 20, 35)], &(20..35).map(|o| (0, o)).collect::<Vec<_>>(), &[]).await;
    trio.silver(&[(0, 35, 40)], &(35..39).map(|o| (0, o)).collect::<Vec<_>>(), &[(0, 39)]).await;
    trio.settle().await;
    let report = trio.verify().await;
    assert!(report.ok(), "{:#?}", broken(&report));
    // the same in silver is a hole; and the DLQ may not go back
    for table in [SILVER, DLQ] {
        let trio = Trio::filled().await;
        let to = if table == SILVER { 25 } else { 12 };
        trio.tamper(table, GROUP, |state| {
            state.topics.get_mut(BINANCE).unwrap().partitions.get_mut(&Partition(0)).unwrap().next = NextOffset(to);
        })
        .await;
        trio.silver(&[(0, if table == SILVER { 25 } else { 20 }, 30)], &[], &[]).await;
        if table == DLQ {
            trio.silver(&[(0, 30, 31)], &[], &[(0, 30)]).await;
            trio.tamper(SILVER, GROUP, |state| {
                state.intents[0].ranges.insert(Partition(0), (NextOffset(15), NextOffset(31)));
            })
            .await;
            trio.settle().await;
        }
        let found = first(&trio.verify().await, table, Promise::Ranges);
        let how =
            if table == SILVER { "leaves a hole" } else { "begins at 15, the range before it ended at 20: overlaps" };
        assert!(found.contains(how), "{table}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reject_at_or_above_the_next_offset_is_found() {
    let trio = Trio::filled().await;
    trio.smuggle(DLQ, &trio.files(DLQ, BINANCE, &[(0, 20), (0, 21)]).await).await;
    let report = trio.verify().await;
    let found = first(&report, DLQ, Promise::BelowNext);
    assert!(found.contains("/0 offsets 20..22: at or above the next offset 20"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_several_sources_are_told_apart() {
    let trio = Trio::filled().await;
    trio.silver(&[(0, 20, 25)], &[(0, 20)], &[(0, 24)]).await;
    trio.silver_of("silver-kraken", &[(0, 0, 9)], &[(0, 1)], &[(0, 8)]).await;
    trio.settle().await;
    trio.silver_of("silver-kraken", &[(0, 9, 12)], &[], &[(0, 11)]).await;
    trio.settle().await;
    trio.bronze(&[(0, 20, 25)], &[(0, 20), (0, 24)]).await;
    let dlq = trio.table(DLQ).await;
    let sources = |s: &iceberg::spec::SnapshotRef| s.summary().additional_properties.get("k2.source").cloned();
    assert!(dlq.metadata().snapshots().filter_map(sources).any(|s| s.contains(',')), "nothing was joined");
    let report = trio.verify_some(&["bronze-binance", "silver-binance", "silver-kraken"]).await;
    assert!(report.ok(), "{:#?}", broken(&report));
    assert_eq!(report.balances.len(), 2);
    // a reject of one is not a record of the other, though partition and offset are the same
    trio.smuggle(DLQ, &trio.files(DLQ, KRAKEN, &[(0, 3)]).await).await;
    let report = trio.verify_some(&["bronze-binance", "silver-binance", "silver-kraken"]).await;
    assert_eq!(names(&report), [format!("{DLQ} Ranges")], "of a commit that covered something else");
}

#[tokio::test(flavor = "multi_thread")]
async fn skipped_by_a_person_is_not_owed() {
    let trio = Trio::filled().await;
    trio.bronze(&[(0, 20, 30)], &(20..30).map(|o| (0, o)).collect::<Vec<_>>()).await;
    let skip = |state: Option<k2_model::SourceState>| {
        Ok(state.map(|mut s| {
            s.topics.get_mut(BINANCE).unwrap().partitions.get_mut(&Partition(0)).unwrap().next = NextOffset(25);
            s
        }))
    };
    trio.gate(SILVER, GROUP).set_position(false, |_, state| skip(state)).await.unwrap();
    trio.silver(&[(0, 25, 30)], &[(0, 26), (0, 27), (0, 28), (0, 29)], &[]).await;
    let report = trio.verify().await;
    let found = first(&report, "silver-binance", Promise::Balance);
    assert_eq!(found, format!("{BINANCE}/0 offset 25: in bronze, but neither in silver nor in the DLQ"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_balance_survives_expired_history() {
    let trio = Trio::filled().await;
    for table in [SILVER, DLQ] {
        let metadata = trio.table(table).await.metadata_ref();
        let head = metadata.current_snapshot_id();
        let snapshot_ids = metadata.snapshots().map(|s| s.snapshot_id()).filter(|id| Some(*id) != head).collect();
        trio.update(table, vec![TableUpdate::RemoveSnapshots { snapshot_ids }]).await;
    }
    let report = trio.verify().await;
    assert!(report.ok(), "{:#?}", broken(&report));
    assert_eq!(balance(&report).totals(), (29, 26, 3));
}
