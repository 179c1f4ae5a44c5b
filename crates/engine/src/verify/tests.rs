//! Small bronze tables through the real lake, broken on purpose: every promise must be missed when it does not hold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::config::Sources;
use arrow::array::{
    ArrayRef, Date32Array, Int32Array, Int64Array, LargeBinaryArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::cast;
use iceberg::spec::{
    DataFile, DataFileBuilder, Datum, Literal, Snapshot, SnapshotReference, SnapshotRetention, Struct,
};
use iceberg::table::Table;
use iceberg::{TableIdent, TableUpdate};
use k2_lake::decision::{Move, Proposal, TableForm};
use k2_lake::files::{TableWriter, partition_of};
use k2_lake::gate::{Gate, Outcome};
use k2_lake::store::Stores;
use k2_model::{BatchId, ClusterId, NextOffset, Partition, SourceId, SourceState, TopicId, TopicIdentity, clock};
use std::collections::{BTreeMap, HashMap};

const TOPIC: &str = "market.crypto.trades.binance.raw";
const GROUP: &str = "k2-bronze-binance-ingestion";
pub(crate) const ID: &str = "AQIDBAUGBwgJCgsMDQ4PEA";
const COLUMNS: [&str; 10] = [
    "raw_bytes",
    "topic",
    "partition",
    "offset",
    "kafka_timestamp",
    "ingestion_timestamp",
    "ingestion_date",
    "topic_id",
    "key",
    "headers",
];

/// A catalog and a warehouse in a folder, with one bronze table.
pub(crate) struct Lake {
    _dir: tempfile::TempDir,
    pub(crate) config: Config,
    /// Of the topic that commits speak of.
    pub(crate) topic_id: &'static str,
    stores: Stores,
    catalog: Arc<dyn Catalog>,
    ident: TableIdent,
}

impl Lake {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let set =
            vec![format!("catalog.uri=sqlite:{}", at("catalog.db")), format!("catalog.warehouse={}", at("warehouse"))];
        let config = Config::load(&Sources { set, ..Sources::default() }).unwrap();
        let stores = connect::stores(&config);
        let catalog = connect::catalog(&config, &stores).await.unwrap();
        let ident = connect::ident(&config, "bronze_binance_trades").unwrap();
        contract::bronze().open(catalog.as_ref(), &ident, true).await.unwrap();
        Self { _dir: dir, config, topic_id: ID, stores, catalog, ident }
    }

    pub(crate) async fn table(&self) -> Table {
        self.catalog.load(&self.ident).await.unwrap().unwrap()
    }

    /// Data files with a row for each partition and offset.
    pub(crate) async fn files(&self, rows: &[(i32, i64)], topic_id: Option<&str>) -> Vec<DataFile> {
        let table = self.table().await.metadata_ref();
        let mut writer = TableWriter::new(&table, &self.stores, &COLUMNS).unwrap();
        let (n, now) = (rows.len(), clock::now_micros());
        let schema = Arc::clone(writer.schema());
        let topic_ids: ArrayRef = match topic_id {
            Some(id) => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(id, n))),
            None => new_null_array(schema.field(7).data_type(), n),
        };
        let values = LargeBinaryArray::from_iter_values(rows.iter().map(|(p, o)| format!("{p}/{o}")));
        let columns: Vec<ArrayRef> = vec![
            cast(&values, schema.field(0).data_type()).unwrap(),
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(TOPIC, n))),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.0))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
            Arc::new(TimestampMicrosecondArray::from_value(now, n).with_timezone("+00:00")),
            Arc::new(TimestampMicrosecondArray::from_value(now, n).with_timezone("+00:00")),
            Arc::new(Date32Array::from_value(clock::day_of(now), n)),
            topic_ids,
            new_null_array(schema.field(8).data_type(), n),
            new_null_array(schema.field(9).data_type(), n),
        ];
        let batch = RecordBatch::try_new(schema, columns).unwrap();
        writer.write(&batch, &partition_of(&table, now).unwrap()).await.unwrap();
        writer.finish().await.unwrap()
    }

    /// Commits files as a source does, whatever they hold. `moves`: partition, expected position, from, to.
    pub(crate) async fn commit(&self, source: &str, moves: &[(i32, Option<i64>, i64, i64)], files: &[DataFile]) {
        let outcome = self.propose(source, moves, files).await;
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }

    pub(crate) async fn propose(
        &self,
        source: &str,
        moves: &[(i32, Option<i64>, i64, i64)],
        files: &[DataFile],
    ) -> Outcome {
        let gate = Gate::new(Arc::clone(&self.catalog), self.ident.clone(), SourceId::new(source));
        let moves = moves.iter().map(|(p, expected, from, to)| {
            let (from, to) = (NextOffset(*from), NextOffset(*to));
            (Partition(*p), Move { expected: expected.map(NextOffset), from, to, leader_epoch: None, last: None })
        });
        let proposal = Proposal {
            source: SourceId::new(source),
            batch: BatchId::fresh(),
            identity: Arc::new(TopicIdentity {
                cluster_id: ClusterId::new("cluster"),
                topic: TOPIC.into(),
                topic_id: Some(TopicId::new(self.topic_id)),
            }),
            table: TableForm::of(self.table().await.metadata()),
            moves: moves.collect(),
            rules: None,
            intent: None,
            settled: Vec::new(),
        };
        gate.commit(&proposal, files, clock::now_micros()).await.unwrap()
    }

    /// Two commits of two partitions: 0..10 and 10..20 of partition 0, 0..5 and 5..10 of partition 1 (offset 7 is a hole).
    pub(crate) async fn filled() -> Self {
        let lake = Self::new().await;
        let rows: Vec<_> = (0..5).flat_map(|i| [(0, 2 * i), (0, 2 * i + 1), (1, i)]).collect();
        let files = lake.files(&rows, Some(ID)).await;
        lake.commit(GROUP, &[(0, None, 0, 10), (1, None, 0, 5)], &files).await;
        let rows: Vec<_> = (10..20).map(|o| (0, o)).chain([(1, 5), (1, 6), (1, 8), (1, 9)]).collect();
        let files = lake.files(&rows, Some(ID)).await;
        lake.commit(GROUP, &[(0, Some(10), 10, 20), (1, Some(5), 5, 10)], &files).await;
        lake
    }

    pub(crate) async fn update(&self, updates: Vec<TableUpdate>) {
        self.catalog.commit(&self.table().await, updates).await.unwrap();
    }

    pub(crate) async fn roll_back(&self) {
        let parent = self.table().await.metadata().current_snapshot().unwrap().parent_snapshot_id().unwrap();
        self.update(vec![main_is(parent)]).await;
    }

    /// Changes the position behind everybody's back.
    async fn tamper(&self, change: impl FnOnce(&mut SourceState)) {
        let key = SourceId::new(GROUP).property_key();
        let table = self.table().await;
        let mut state = SourceState::parse(&key, &table.metadata().properties()[&key]).unwrap();
        change(&mut state);
        self.update(vec![TableUpdate::SetProperties { updates: HashMap::from([(key, state.to_json().unwrap())]) }])
            .await;
    }

    async fn set_next(&self, partition: i32, next: i64) {
        self.tamper(|state| {
            let position = state.topics.get_mut(TOPIC).unwrap().partitions.get_mut(&Partition(partition)).unwrap();
            position.next = NextOffset(next);
        })
        .await;
    }

    pub(crate) async fn verify(&self) -> TableReport {
        let options = Options { pipelines: vec!["bronze-binance".into()], kafka: false };
        let mut report = verify(&self.config, &options, &(Arc::new(|_: Progress<'_>| {}) as Watch)).await.unwrap();
        assert_eq!(report.tables.len(), 1);
        report.tables.remove(0)
    }
}

/// The promises that do not hold, with what was found.
fn broken(report: &TableReport) -> BTreeMap<Promise, Vec<String>> {
    let broken = report.checks.iter().filter(|c| !c.ok);
    broken.map(|c| (c.promise, c.first.iter().map(ToString::to_string).collect())).collect()
}

fn only(report: &TableReport, promise: Promise) -> Vec<String> {
    let mut broken = broken(report);
    let found = broken.remove(&promise).unwrap_or_else(|| panic!("{promise:?} holds: {report:#?}"));
    assert!(broken.is_empty(), "{broken:#?}");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_table_keeps_every_promise() {
    let lake = Lake::filled().await;
    let report = lake.verify().await;
    assert!(report.ok(), "{report:#?}");
    assert_eq!((report.rows, report.files, report.snapshots, report.partitions), (29, 2, 2, 2));
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    assert!(report.notes[0].starts_with("1 offset between"), "{:?}", report.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_is_fine_and_a_missing_one_is_an_error() {
    let lake = Lake::new().await;
    let report = lake.verify().await;
    assert!(report.ok() && report.rows == 0 && report.snapshot.is_none(), "{report:#?}");
    let options = Options { pipelines: vec!["bronze-kraken".into()], kafka: false };
    let error = verify(&lake.config, &options, &(Arc::new(|_: Progress<'_>| {}) as Watch)).await.unwrap_err();
    assert_eq!(error.class(), k2_model::Class::Config);
    assert!(error.to_string().contains("bronze_kraken_trades"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_there_twice_are_named_with_both_files() {
    let lake = Lake::filled().await;
    let files = lake.files(&[(0, 3), (0, 4), (1, 8)], Some(ID)).await;
    lake.commit("rogue", &[(0, None, 3, 5), (1, None, 8, 9)], &files).await;
    let report = lake.verify().await;
    let found = only(&report, Promise::Once);
    assert_eq!(report.checks.iter().find(|c| c.promise == Promise::Once).unwrap().found, 3);
    assert!(found[0].starts_with(&format!("{TOPIC}/0 offsets 3..5: in a second file, also in ")), "{found:?}");
    assert!(found[1].starts_with(&format!("{TOPIC}/1 offset 8: in a second file, also in ")), "{found:?}");
    let paths: Vec<&str> = found[1].split([' ', '[', ']', ',']).filter(|w| w.ends_with(".parquet")).collect();
    assert!(paths.len() == 2 && paths[0] != paths[1], "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_twice_in_one_file_are_found() {
    let lake = Lake::new().await;
    let files = lake.files(&[(0, 0), (0, 1), (0, 2), (0, 1), (0, 2), (0, 3)], Some(ID)).await;
    lake.commit(GROUP, &[(0, None, 0, 4)], &files).await;
    let found = only(&lake.verify().await, Promise::Once);
    assert!(found[0].starts_with(&format!("{TOPIC}/0 offsets 1..3: more than once in one file")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_in_the_table_twice_is_found() {
    let lake = Lake::new().await;
    let files = lake.files(&[(0, 0), (0, 1)], Some(ID)).await;
    lake.commit(GROUP, &[(0, None, 0, 2)], &files).await;
    lake.commit("rogue", &[(0, None, 0, 2)], &files).await;
    let broken = broken(&lake.verify().await);
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [Promise::Once, Promise::Files]);
    assert!(broken[&Promise::Files][0].contains("in the table twice, by snapshots"), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_behind_the_rows_is_found() {
    let lake = Lake::filled().await;
    lake.set_next(0, 17).await;
    let broken = broken(&lake.verify().await);
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [Promise::Ranges, Promise::BelowNext]);
    assert!(broken[&Promise::BelowNext][0].contains("/0 offsets 17..20: at or above the next offset 17"), "{broken:?}");
    assert!(broken[&Promise::Ranges][0].contains("is 17, but by the history of main the last range ends at 20"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_between_commits_is_found() {
    let lake = Lake::filled().await;
    lake.set_next(0, 25).await;
    let files = lake.files(&[(0, 25)], Some(ID)).await;
    lake.commit(GROUP, &[(0, Some(25), 25, 26)], &files).await;
    let found = only(&lake.verify().await, Promise::Ranges);
    assert!(found[0].contains("/0 offsets 20..25:") && found[0].contains("leaves a hole"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_outside_of_the_range_of_their_commit_are_found() {
    let lake = Lake::new().await;
    let files = lake.files(&[(0, 0), (0, 9)], Some(ID)).await;
    lake.commit(GROUP, &[(0, None, 0, 5)], &files).await;
    let broken = broken(&lake.verify().await);
    assert!(broken[&Promise::Ranges][0].contains("rows 0 to 9, but snapshot"), "{broken:?}");
    assert!(broken[&Promise::BelowNext][0].contains("offset 9: at or above the next offset 5"), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_a_cut_and_a_broken_file_are_found() {
    for damage in ["missing", "cut", "broken"] {
        let lake = Lake::filled().await;
        let files = lake.files(&[(0, 20)], Some(ID)).await;
        lake.commit(GROUP, &[(0, Some(20), 20, 21)], &files).await;
        let path = files[0].file_path().trim_start_matches("file://").to_owned();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        match damage {
            "cut" => std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap(),
            "broken" => std::fs::write(&path, vec![7; bytes.len()]).unwrap(),
            _ => {}
        }
        let broken = broken(&lake.verify().await);
        let found = &broken[&Promise::Files];
        let said = match damage {
            "cut" => "its manifest says",
            "broken" => "not a whole Parquet file",
            _ => "the file is missing",
        };
        assert!(found[0].contains(said) && found[0].contains(files[0].file_path()), "{damage}: {found:?}");
        assert!(broken.contains_key(&Promise::Counts), "{broken:?}");
    }
}

/// A description of a file that lies about some of it.
fn described(file: &DataFile, rows: u64, upper: Option<(i32, Datum)>, partition: Option<Struct>) -> DataFile {
    let mut uppers = file.upper_bounds().clone();
    uppers.extend(upper);
    DataFileBuilder::default()
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(partition.unwrap_or_else(|| file.partition().clone()))
        .partition_spec_id(0)
        .record_count(rows)
        .file_size_in_bytes(file.file_size_in_bytes())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(uppers)
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_row_count_is_found() {
    let lake = Lake::new().await;
    let files = lake.files(&[(0, 0), (0, 1)], Some(ID)).await;
    lake.commit(GROUP, &[(0, None, 0, 2)], &[described(&files[0], 3, None, None)]).await;
    let broken = broken(&lake.verify().await);
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [Promise::Files, Promise::Counts]);
    assert!(broken[&Promise::Files][0].contains("the file has 2 rows, its manifest says 3"), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bounds_and_a_wrong_partition_value_are_found() {
    let lake = Lake::new().await;
    let files = lake.files(&[(0, 0), (0, 5)], Some(ID)).await;
    let offset = lake.table().await.metadata().current_schema().field_id_by_name("offset").unwrap();
    lake.commit(GROUP, &[(0, None, 0, 6)], &[described(&files[0], 2, Some((offset, Datum::long(4))), None)]).await;
    let found = only(&lake.verify().await, Promise::Bounds);
    assert!(found[0].contains("offset runs from 0 to 5, the manifest's bounds are 0 to 4"), "{found:?}");

    let lake = Lake::new().await;
    let files = lake.files(&[(0, 0), (0, 5)], Some(ID)).await;
    let yesterday = Struct::from_iter([Some(Literal::date(clock::day_of(clock::now_micros()) - 1))]);
    lake.commit(GROUP, &[(0, None, 0, 6)], &[described(&files[0], 2, None, Some(yesterday))]).await;
    let found = only(&lake.verify().await, Promise::Bounds);
    assert!(found[0].contains("the partition value ingestion_date_day is"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_that_does_not_add_up_is_found() {
    let lake = Lake::filled().await;
    let table = lake.table().await;
    let head = table.metadata().current_snapshot().unwrap();
    let mut summary = head.summary().clone();
    summary.additional_properties.retain(|key, _| !key.starts_with("k2."));
    summary.additional_properties.insert("total-records".into(), "30".into());
    let snapshot = Snapshot::builder()
        .with_manifest_list(head.manifest_list())
        .with_snapshot_id(4711)
        .with_parent_snapshot_id(Some(head.snapshot_id()))
        .with_sequence_number(table.metadata().next_sequence_number())
        .with_schema_id(0)
        .with_timestamp_ms(clock::now_millis())
        .with_summary(summary)
        .build();
    lake.update(vec![TableUpdate::AddSnapshot { snapshot }, main_is(4711)]).await;
    let found = only(&lake.verify().await, Promise::Counts);
    assert_eq!(found, ["the summary's total-records is 30, but the manifests tell 29"]);
}

pub(crate) fn main_is(snapshot: i64) -> TableUpdate {
    let reference = SnapshotReference::new(snapshot, SnapshotRetention::branch(None, None, None));
    TableUpdate::SetSnapshotRef { ref_name: "main".into(), reference }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_found() {
    let lake = Lake::filled().await;
    lake.roll_back().await;
    let broken = broken(&lake.verify().await);
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [Promise::Positions, Promise::Ranges]);
    assert!(broken[&Promise::Positions][0].contains("rolled back"), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_broken_position_is_found() {
    let lake = Lake::filled().await;
    let key = SourceId::new(GROUP).property_key();
    lake.update(vec![TableUpdate::RemoveProperties { removals: vec![key.clone()] }]).await;
    let found = broken(&lake.verify().await);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [Promise::Positions, Promise::Ranges]);
    assert!(found[&Promise::Positions][0].contains("the table has no position there"), "{found:?}");

    lake.update(vec![TableUpdate::SetProperties { updates: HashMap::from([(key, "{}".to_owned())]) }]).await;
    let found = broken(&lake.verify().await);
    assert!(found[&Promise::Positions][0].contains("is not a position that K2 wrote"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn negative_offsets_are_found() {
    let lake = Lake::new().await;
    let files = lake.files(&[(0, 0), (0, -3)], Some(ID)).await;
    lake.commit(GROUP, &[(0, None, 0, 1)], &files).await;
    let found = only(&lake.verify().await, Promise::BelowNext);
    assert!(found[0].contains("1 row without a topic, a partition or an offset from 0 on (lowest: -3)"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_spark_are_tolerated() {
    let lake = Lake::filled().await;
    // before K2's first row, beside them, and beyond: Spark has no position in the table
    let files = lake.files(&[(0, 1), (0, 500), (7, 3)], None).await;
    lake.commit("spark", &[(9, None, 0, 1)], &files).await;
    // what Spark wrote is in no range of ours
    lake.update(vec![TableUpdate::RemoveProperties { removals: vec![SourceId::new("spark").property_key()] }]).await;
    let report = lake.verify().await;
    let broken = broken(&report);
    assert_eq!(broken.keys().copied().collect::<Vec<_>>(), [Promise::Ranges], "{broken:?}");
    assert!(report.notes.iter().any(|n| n.starts_with("3 rows without a topic id")), "{:?}", report.notes);
    assert!(
        report.notes.iter().any(|n| n.contains("1 offset of") && n.contains("twice, unless")),
        "{:?}",
        report.notes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_history_is_fine() {
    let lake = Lake::filled().await;
    let first = lake.table().await.metadata().current_snapshot().unwrap().parent_snapshot_id().unwrap();
    lake.update(vec![TableUpdate::RemoveSnapshots { snapshot_ids: vec![first] }]).await;
    let report = lake.verify().await;
    assert!(report.ok(), "{report:#?}");
    assert_eq!(report.snapshots, 1);
    assert!(report.checks[1].summary.ends_with("older ones have expired"), "{report:#?}");
}

/// The size that is promised. Takes minutes: `cargo test -p k2-engine --release hundred_million -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; run it alone, it measures the process"]
async fn a_hundred_million_rows_fit_in_512_mib() {
    const ROWS: i64 = 100_000_000;
    const A_FILE: i64 = 1_000_000;
    let lake = Lake::new().await;
    let mut next = [0_i64; 40];
    for file in 0..ROWS / A_FILE {
        // forty partitions, in bursts, as a consumer hands them out
        let mut rows = Vec::new();
        let before = next;
        while i64::try_from(rows.len()).unwrap() < A_FILE {
            let partition = (rows.len() / 50 * 7) % 40;
            for _ in 0..50 {
                rows.push((i32::try_from(partition).unwrap(), next[partition]));
                next[partition] += 1;
            }
        }
        let files = lake.files(&rows, Some(ID)).await;
        let moves: Vec<_> =
            (0..40).map(|p| (i32::try_from(p).unwrap(), (file > 0).then_some(before[p]), before[p], next[p])).collect();
        lake.commit(GROUP, &moves, &files).await;
    }
    // forgets the peak so far
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
        let kib = |name| line(name).trim_end_matches(" kB").parse::<u64>().unwrap();
        (kib("VmRSS:") / 1024, kib("VmHWM:") / 1024)
    };
    let before = resident();
    let report = lake.verify().await;
    println!("{} rows in {:.1} s; MiB before and peak: {before:?} {:?}", report.rows, report.seconds, resident());
    assert!(report.ok() && report.rows == 100_000_000, "{report:#?}");
    assert!(resident().1 < 512, "{:?}", resident());
}
