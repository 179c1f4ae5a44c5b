//! Rejects on their way from silver commits into the DLQ table.

use crate::unruly::{Look, Unruly, Whim};
use crate::world::{DEADLINE, TOPIC, World};
use arrow::array::{
    ArrayRef, AsArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type};
use futures::TryStreamExt;
use iceberg::expr::Reference;
use iceberg::spec::{
    Datum, MAIN_BRANCH, NestedField, Operation, PrimitiveType, Schema, SnapshotReference, SnapshotRetention,
};
use iceberg::spec::{Transform, Type, UnboundPartitionSpec};
use iceberg::table::Table;
use iceberg::{TableIdent, TableUpdate};
use k2_lake::catalog::Catalog;
use k2_lake::contract;
use k2_lake::decision::{Move, Proposal, TableForm};
use k2_lake::files::{TableWriter, split};
use k2_lake::gate::{Gate, Outcome, Settler, intent};
use k2_model::{
    BatchId, Class, ClusterId, Intent, NextOffset, Partition, Result, SourceId, SourceState, TopicId, TopicIdentity,
    clock,
};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const COLUMNS: [&str; 12] = [
    "error_reason",
    "error_type",
    "error_timestamp",
    "bronze_source",
    "kafka_offset",
    "dlq_date",
    "message_id",
    "kafka_topic",
    "kafka_partition",
    "rules_version",
    "status",
    "ingestion_timestamp",
];

type Item = (SourceId, ClusterId, Intent);

/// A DLQ table beside the world's table.
struct Dlq<'a> {
    world: &'a World,
    ident: TableIdent,
}

fn identity(topic: &str) -> TopicIdentity {
    let topic_id = Some(TopicId::new("AAAAAAAAAAAAAAAAAAAAAQ"));
    TopicIdentity { cluster_id: ClusterId::new("cluster-1"), topic: topic.into(), topic_id }
}

fn batch_of(batches: &[BatchId]) -> String {
    batches.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl<'a> Dlq<'a> {
    async fn new(world: &'a World) -> Dlq<'a> {
        let ident = TableIdent::new(world.ident.namespace().clone(), "dlq".to_owned());
        contract::dlq().open(world.catalog.as_ref(), &ident, true).await.unwrap();
        Dlq { world, ident }
    }

    fn settler(&self) -> Settler {
        self.settler_over(Arc::clone(&self.world.catalog))
    }

    fn settler_over(&self, catalog: Arc<dyn Catalog>) -> Settler {
        Settler::new(catalog, self.ident.clone())
    }

    async fn table(&self) -> Table {
        self.world.catalog.load(&self.ident).await.unwrap().unwrap()
    }

    /// Stages an intent of a source for ranges of a topic; every offset of them is a reject.
    async fn item(&self, source: &str, topic: &str, parts: &[(i32, Range<i64>)]) -> Item {
        let table = self.table().await;
        let offsets: Vec<_> = parts.iter().flat_map(|(p, r)| r.clone().map(move |o| (*p, o))).collect();
        let (now, n) = (clock::now_micros(), offsets.len());
        let mut writer = TableWriter::new(&table.metadata_ref(), &self.world.stores, &COLUMNS).unwrap();
        let text = |t: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(t, n))) as ArrayRef;
        let stamp = || Arc::new(TimestampMicrosecondArray::from_value(now, n).with_timezone("+00:00")) as ArrayRef;
        let columns: Vec<ArrayRef> = vec![
            text("tombstone"),
            text("deserialization"),
            stamp(),
            text("bronze"),
            Arc::new(Int64Array::from_iter_values(offsets.iter().map(|(_, o)| *o))),
            Arc::new(Date32Array::from_value(clock::day_of(now), n)),
            text("m"),
            text(topic),
            Arc::new(Int32Array::from_iter_values(offsets.iter().map(|(p, _)| *p))),
            text("r1"),
            text("open"),
            stamp(),
        ];
        let rows = RecordBatch::try_new(Arc::clone(writer.schema()), columns).unwrap();
        for (value, rows) in split(table.metadata(), &rows).unwrap() {
            writer.write(&rows, &value).await.unwrap();
        }
        let files = writer.finish().await.unwrap();
        let ranges = parts.iter().map(|(p, r)| (Partition(*p), (NextOffset(r.start), NextOffset(r.end)))).collect();
        let (batch, rules) = (BatchId::fresh(), Some("r1".to_owned()));
        let made = intent(batch, &self.ident, table.metadata(), &identity(topic), ranges, rules, &files).unwrap();
        assert_eq!(made.rows, n as u64);
        // as the silver table stores it
        let stored: Intent = serde_json::from_str(&serde_json::to_string(&made).unwrap()).unwrap();
        (SourceId::new(source), ClusterId::new("cluster-1"), stored)
    }

    /// (topic, partition, offset) of every reject; none of them twice.
    async fn rejects(&self) -> Vec<(String, i32, i64)> {
        let table = self.table().await;
        if table.metadata().current_snapshot().is_none() {
            return Vec::new();
        }
        let scan = table.scan().select(["kafka_topic", "kafka_partition", "kafka_offset"]).build().unwrap();
        let batches: Vec<RecordBatch> = scan.to_arrow().await.unwrap().try_collect().await.unwrap();
        let mut rows = Vec::new();
        for b in &batches {
            let column = |name| b.column_by_name(name).unwrap();
            let topics = arrow::compute::cast(column("kafka_topic"), &arrow::datatypes::DataType::Utf8).unwrap();
            let topics = topics.as_string::<i32>().clone();
            let partitions = column("kafka_partition").as_primitive::<Int32Type>();
            let offsets = column("kafka_offset").as_primitive::<Int64Type>();
            rows.extend((0..b.num_rows()).map(|i| (topics.value(i).to_owned(), partitions.value(i), offsets.value(i))));
        }
        rows.sort();
        let count = rows.len();
        rows.dedup();
        assert_eq!(count, rows.len(), "a reject is in the table twice");
        let told = &table.metadata().current_snapshot().unwrap().summary().additional_properties["total-records"];
        assert_eq!(*told, count.to_string());
        rows
    }

    /// The rejects are those of these items, no more and no less.
    async fn holds(&self, items: &[&Item]) {
        let of = |(_, _, i): &&Item| -> Vec<_> {
            let of = |(p, (from, to)): (&Partition, &(NextOffset, NextOffset))| {
                (from.0..to.0).map(|o| (i.topic.clone(), p.0, o)).collect::<Vec<_>>()
            };
            i.ranges.iter().flat_map(of).collect()
        };
        let mut wanted: Vec<_> = items.iter().flat_map(of).collect();
        wanted.sort();
        assert_eq!(self.rejects().await, wanted);
    }

    async fn snapshots(&self) -> usize {
        self.table().await.metadata().snapshots().len()
    }

    async fn next(&self, source: &str, topic: &str, partition: i32) -> Option<i64> {
        let (_, state) = self.settler().head(&SourceId::new(source)).await.unwrap();
        state?.partition(topic, Partition(partition)).map(|p| p.next.0)
    }
}

async fn settle(settler: &Settler, items: &[Item]) -> Result<()> {
    timeout(DEADLINE, settler.settle(items)).await.expect("settling does not come to an end")
}

#[tokio::test(flavor = "multi_thread")]
async fn intents_of_several_sources_travel_together() {
    for world in World::all().await {
        let dlq = Dlq::new(&world).await;
        let items = [
            dlq.item("a", "t", &[(0, 0..3), (1, 5..6)]).await,
            dlq.item("b", "u", &[(0, 7..9)]).await,
            dlq.item("a", "t", &[(0, 3..5), (2, 0..1)]).await,
        ];
        settle(&dlq.settler(), &items).await.unwrap();
        dlq.holds(&items.each_ref()).await;
        let table = dlq.table().await;
        let head = table.metadata().current_snapshot().unwrap();
        let told = &head.summary().additional_properties;
        assert_eq!(told["k2.batch-uuid"], items[2].2.batch.to_string());
        assert_eq!(told["k2.ranges"], r#"{"t/0":[3,5],"t/2":[0,1]}"#);
        assert_eq!((told["k2.source"].as_str(), told["k2.rules"].as_str()), ("a", "r1"));
        if world.lists_history {
            assert_eq!(dlq.snapshots().await, 2, "two commits: two of three intents have a topic in common");
            let first = table.metadata().snapshot_by_id(head.parent_snapshot_id().unwrap()).unwrap();
            let told = &first.summary().additional_properties;
            assert_eq!(told["k2.batch-uuid"], batch_of(&[items[0].2.batch, items[1].2.batch]));
            assert_eq!(told["k2.source"], "a,b");
            assert_eq!(told["k2.ranges"], r#"{"t/0":[0,3],"t/1":[5,6],"u/0":[7,9]}"#);
            assert_eq!((told["added-records"].as_str(), told["added-data-files"].as_str()), ("6", "2"));
        }
        assert_eq!(dlq.next("a", "t", 0).await, Some(5));
        assert_eq!(dlq.next("a", "t", 1).await, Some(6));
        assert_eq!(dlq.next("b", "u", 0).await, Some(9));
        assert_eq!(dlq.next("b", "t", 0).await, None);
        // again, whole or in part: nothing happens
        let before = dlq.table().await.metadata().current_snapshot_id();
        settle(&dlq.settler(), &items).await.unwrap();
        settle(&dlq.settler(), &items[..1]).await.unwrap();
        settle(&dlq.settler(), &[]).await.unwrap();
        assert_eq!(dlq.table().await.metadata().current_snapshot_id(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_is_in_once_whatever_the_answer_says() {
    use Whim::{DoneConflict, DoneUnanswered, Honest, Late, LostUnanswered, NotApplied};
    let cases: &[&[Whim]] = &[
        &[Honest],
        &[DoneUnanswered],
        &[DoneConflict],
        &[LostUnanswered, Honest],
        &[NotApplied, Honest],
        &[LostUnanswered, NotApplied, DoneUnanswered],
        &[Late(0)],
        &[Late(60), Honest],
        &[Late(60), Late(60), Honest],
    ];
    for world in World::all().await {
        let dlq = Dlq::new(&world).await;
        let mut all = Vec::new();
        for (i, case) in (0_i64..).zip(cases) {
            let unruly = Unruly::scripted(&world.catalog, case);
            // a batch without rejects lies between
            let item = dlq.item("a", "t", &[(0, i * 5..i * 5 + 3), (1, i..i + 1)]).await;
            settle(&dlq.settler_over(unruly.clone()), std::slice::from_ref(&item)).await.unwrap();
            unruly.settle().await;
            let late = case.iter().any(|w| matches!(w, Late(_)));
            assert!(late || unruly.attempts() == *case, "{case:?}: {:?}", unruly.attempts());
            all.push(item);
            dlq.holds(&all.iter().collect::<Vec<_>>()).await;
            assert!(!world.lists_history || dlq.snapshots().await == all.len(), "{case:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_settlers_of_one_intent_one_gets_it_in() {
    for world in World::all().await {
        let dlq = Dlq::new(&world).await;
        let mut all = Vec::new();
        for round in 0..4 {
            let item = dlq.item("a", "t", &[(0, round * 10..round * 10 + 4)]).await;
            let several = std::slice::from_ref(&item);
            let settlers: Vec<_> = (0..4).map(|_| dlq.settler()).collect();
            let done = futures::future::join_all(settlers.iter().map(|s| settle(s, several))).await;
            assert!(done.iter().all(Result::is_ok), "{done:?}");
            all.push(item);
            dlq.holds(&all.iter().collect::<Vec<_>>()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_and_the_zombie_settle_once() {
    for world in World::all().await {
        let dlq = Dlq::new(&world).await;
        for (i, whim) in (0_i64..).zip([Whim::DoneHangs, Whim::LostHangs, Whim::Late(80)]) {
            let first = dlq.item("a", "t", &[(0, i * 10..i * 10 + 3)]).await;
            let unruly = Unruly::scripted(&world.catalog, &[whim]);
            let settler = dlq.settler_over(unruly.clone());
            // killed while the commit is under way
            let attempt = timeout(Duration::from_millis(if matches!(whim, Whim::Late(_)) { 5 } else { 1500 }), async {
                settler.settle(std::slice::from_ref(&first)).await
            });
            drop(attempt.await);
            // the next owner rolls it forward and goes on
            let later = dlq.item("a", "t", &[(0, i * 10 + 5..i * 10 + 7)]).await;
            settle(&dlq.settler(), &[first.clone(), later]).await.unwrap();
            unruly.settle().await;
            // the zombie wakes up
            settle(&dlq.settler(), std::slice::from_ref(&first)).await.unwrap();
            assert_eq!(dlq.rejects().await.len(), usize::try_from(i + 1).unwrap() * 5);
            assert_eq!(dlq.next("a", "t", 0).await, Some(i * 10 + 7));
        }
    }
}

/// A silver table as another source's pipeline would have it: commits intents with nothing else.
async fn decide_in_silver(gate: &Gate, item: &Item, settled: Vec<BatchId>) -> Outcome {
    let (table, state) = gate.head().await.unwrap();
    let moves = item.2.ranges.iter().map(|(p, (from, to))| {
        let expected = state.as_ref().and_then(|s| s.partition(&item.2.topic, *p)).map(|x| x.next);
        (*p, Move { expected, from: *from, to: *to, leader_epoch: None, last: None })
    });
    let proposal = Proposal {
        source: item.0.clone(),
        batch: item.2.batch,
        identity: Arc::new(identity(&item.2.topic)),
        table: TableForm::of(table.metadata()),
        moves: moves.collect(),
        rules: item.2.rules.clone(),
        intent: Some(item.2.clone()),
        settled,
    };
    gate.commit(&proposal, &[], clock::now_micros()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silver_commit_without_rows_carries_position_rules_and_intent() {
    for world in World::all().await {
        let dlq = Dlq::new(&world).await;
        let silver = TableIdent::new(world.ident.namespace().clone(), "silver".to_owned());
        contract::silver().open(world.catalog.as_ref(), &silver, true).await.unwrap();
        let gate = Gate::new(Arc::clone(&world.catalog), silver, SourceId::new("a"));
        let first = dlq.item("a", TOPIC, &[(0, 0..3)]).await;
        let Outcome::Committed(table) = decide_in_silver(&gate, &first, vec![]).await else { panic!("not in") };
        let told = &table.metadata().current_snapshot().unwrap().summary().additional_properties;
        assert_eq!((told["k2.rules"].as_str(), told["k2.dlq-rows"].as_str()), ("r1", "3"));
        assert_eq!((told["k2.ranges"].as_str(), told.get("added-records")), (r#"{"trades/0":[0,3]}"#, None));
        // killed here: who comes next finds the intent, as it was
        let (_, state) = gate.head().await.unwrap();
        let state: SourceState = state.unwrap();
        assert_eq!((state.rules.as_deref(), &state.intents), (Some("r1"), &vec![first.2.clone()]));
        let pending: Vec<Item> = state.intents.iter().map(|i| (first.0.clone(), first.1.clone(), i.clone())).collect();
        settle(&dlq.settler(), &pending).await.unwrap();
        dlq.holds(&[&first]).await;
        // the next commit takes it out
        let second = dlq.item("a", TOPIC, &[(0, 3..4)]).await;
        let outcome = decide_in_silver(&gate, &second, vec![first.2.batch]).await;
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        assert_eq!(gate.head().await.unwrap().1.unwrap().intents, std::slice::from_ref(&second.2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_keep_the_form_they_were_written_in() {
    for world in World::all().await.into_iter().filter(|w| w.lists_history) {
        let dlq = Dlq::new(&world).await;
        let old = dlq.item("a", "t", &[(0, 0..3)]).await;
        // another engine partitions the table anew, and adds a column
        let table = dlq.table().await;
        let now = table.metadata().current_schema();
        let note = NestedField::optional(
            table.metadata().last_column_id() + 1,
            "note",
            Type::Primitive(PrimitiveType::String),
        );
        let fields = now.as_struct().fields().iter().cloned().chain([note.into()]);
        let schema = Schema::builder().with_fields(fields).build().unwrap();
        let reason = now.field_id_by_name("error_reason").unwrap();
        let spec = UnboundPartitionSpec::builder();
        let spec = spec.add_partition_field(reason, "reason", Transform::Identity).unwrap().build();
        let built = table.metadata().clone().into_builder(None).add_current_schema(schema).unwrap();
        let built = built.add_default_partition_spec(spec).unwrap().build().unwrap();
        world.catalog.commit(&table, built.changes).await.unwrap();
        let new = dlq.item("b", "u", &[(0, 0..2)]).await;
        assert_ne!((old.2.spec, old.2.schema), (new.2.spec, new.2.schema));
        // one commit, two specs: a manifest each
        settle(&dlq.settler(), &[old.clone(), new.clone()]).await.unwrap();
        assert_eq!(dlq.snapshots().await, 1);
        dlq.holds(&[&old, &new]).await;
        let table = dlq.table().await;
        let list = table.manifest_list_reader(table.metadata().current_snapshot().unwrap()).load().await.unwrap();
        let specs: Vec<i32> = list.entries().iter().map(|m| m.partition_spec_id).collect();
        assert_eq!(specs, [old.2.spec, new.2.spec]);
        let today = Datum::date(clock::day_of(clock::now_micros()));
        let scan = table.scan().with_filter(Reference::new("dlq_date").equal_to(today)).select(["kafka_offset"]);
        let rows: Vec<RecordBatch> = scan.build().unwrap().to_arrow().await.unwrap().try_collect().await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 5);
    }
}

async fn halts(settler: &Settler, items: &[Item]) -> String {
    let error = settle(settler, items).await.unwrap_err();
    assert_eq!(error.class(), Class::Halt, "{error}");
    assert!(error.way_out().is_some(), "{error}");
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_halts_and_names_what_is_lost() {
    for world in World::all().await {
        let dlq = Dlq::new(&world).await;
        let mut item = dlq.item("a", "t", &[(0, 4..7), (3, 0..1)]).await;
        let path = item.2.files[0]["file_path"].as_str().unwrap().to_owned();
        let kept = world.stores.get(&path).await.unwrap();
        world.stores.delete(&path).await.unwrap();
        // a batch of long ago: looked for before the first attempt
        item.2.batch = BatchId(uuid::Uuid::from_u128(1));
        let unruly = Unruly::scripted(&world.catalog, &[]);
        let told = halts(&dlq.settler_over(unruly.clone()), std::slice::from_ref(&item)).await;
        assert!(told.contains("4 rejects of t/0 4..7, t/3 0..1") && told.contains(&path), "{told}");
        assert_eq!(unruly.attempts().len(), 0);
        // a fresh one: before the second attempt
        item.2.batch = BatchId::fresh();
        let unruly = Unruly::scripted(&world.catalog, &[Whim::NotApplied]);
        halts(&dlq.settler_over(unruly.clone()), std::slice::from_ref(&item)).await;
        assert_eq!(unruly.attempts().len(), 1);
        assert_eq!(dlq.snapshots().await, 0);
        // put back
        let mut upload = world.stores.upload(&path).await.unwrap();
        upload.write(kept).await.unwrap();
        upload.finish().await.unwrap();
        settle(&dlq.settler(), std::slice::from_ref(&item)).await.unwrap();
        dlq.holds(&[&item]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_went_with_a_compaction_is_not_missed() {
    let world = World::sqlite().await;
    let dlq = Dlq::new(&world).await;
    let mut item = dlq.item("a", "t", &[(0, 4..7)]).await;
    item.2.batch = BatchId(uuid::Uuid::from_u128(1));
    // a cache keeps the head from before
    let unruly = Unruly::scripted(&world.catalog, &[]);
    dlq.settler_over(unruly.clone()).head(&item.0).await.unwrap();
    settle(&dlq.settler(), std::slice::from_ref(&item)).await.unwrap();
    world.stores.delete(item.2.files[0]["file_path"].as_str().unwrap()).await.unwrap();
    unruly.looks(&[Look::Oldest, Look::Oldest]);
    settle(&dlq.settler_over(unruly), std::slice::from_ref(&item)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_recreation_and_gaps_halt() {
    let world = World::sqlite().await;
    let dlq = Dlq::new(&world).await;
    let first = dlq.item("a", "t", &[(0, 0..5)]).await;
    let second = dlq.item("a", "t", &[(0, 5..9)]).await;
    settle(&dlq.settler(), std::slice::from_ref(&first)).await.unwrap();
    let before = dlq.table().await.metadata().current_snapshot_id().unwrap();
    settle(&dlq.settler(), std::slice::from_ref(&second)).await.unwrap();
    // a range that lies across the position
    let across = dlq.item("a", "t", &[(0, 7..12)]).await;
    let told = halts(&dlq.settler(), std::slice::from_ref(&across)).await;
    assert!(told.contains("t/0 is 9") && told.contains("7..12"), "{told}");
    // rolled back: also what seems to be in
    let table = dlq.table().await;
    let main = SnapshotReference::new(before, SnapshotRetention::branch(None, None, None));
    let back = TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference: main };
    world.catalog.commit(&table, vec![back]).await.unwrap();
    halts(&dlq.settler(), std::slice::from_ref(&second)).await;
    assert_eq!(dlq.settler().head(&SourceId::new("a")).await.unwrap_err().class(), Class::Halt);
    assert!(dlq.settler().head(&SourceId::new("b")).await.is_ok(), "another source's rejects are all there");
    // dropped and made again
    let (file, catalog) = world.sqlite.as_ref().unwrap();
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{file}")).await.unwrap();
    let drop_it = sqlx::query("DELETE FROM iceberg_tables WHERE catalog_name = ? AND table_name = 'dlq'").bind(catalog);
    assert_eq!(drop_it.execute(&pool).await.unwrap().rows_affected(), 1);
    halts(&dlq.settler(), std::slice::from_ref(&across)).await;
    Dlq::new(&world).await;
    let told = halts(&dlq.settler(), std::slice::from_ref(&across)).await;
    assert!(told.contains("dropped and created again") && told.contains("t/0 7..12"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_engines_commits_to_the_dlq_table_do_not_matter() {
    for world in World::all().await {
        let dlq = Dlq::new(&world).await;
        let first = dlq.item("a", "t", &[(0, 0..5)]).await;
        settle(&dlq.settler(), std::slice::from_ref(&first)).await.unwrap();
        let second = dlq.item("a", "t", &[(0, 5..6)]).await;
        let table = dlq.table().await;
        let (snapshot, _) = crate::world::rewritten(&table, Operation::Replace, MAIN_BRANCH, |_| false, &[]).await;
        let built = table.metadata().clone().into_builder(None).set_branch_snapshot(snapshot, MAIN_BRANCH).unwrap();
        world.catalog.commit(&table, built.build().unwrap().changes).await.unwrap();
        settle(&dlq.settler(), &[first.clone(), second.clone()]).await.unwrap();
        dlq.holds(&[&first, &second]).await;
    }
}

/// Two processes, each with a source of its own and many batches, on one table and a catalog that misbehaves: both get on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sources_do_not_starve_each_other() {
    const BATCHES: i64 = 12;
    let world = Arc::new(World::sqlite().await);
    drop(Dlq::new(&world).await);
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut sources = JoinSet::new();
    for (n, (source, topic)) in (0_u64..).zip([("a", "t"), ("b", "u"), ("c", "v")]) {
        let world = Arc::clone(&world);
        sources.spawn(async move {
            let dlq = Dlq::new(&world).await;
            let unruly = Unruly::seeded(&world.catalog, 40 + n);
            let mut held = Vec::new();
            for i in 0..BATCHES {
                let item = dlq.item(source, topic, &[(0, i * 4..i * 4 + 2)]).await;
                // given up and begun again, as killed ones do
                while timeout(
                    Duration::from_millis(1500),
                    dlq.settler_over(unruly.clone()).settle(std::slice::from_ref(&item)),
                )
                .await
                .map_or(true, |done| done.map_err(|e| panic!("{source}: {e}")).is_err())
                {
                    assert!(Instant::now() < deadline, "{source} is stuck at batch {i}");
                }
                held.push(item);
            }
            unruly.settle().await;
            held
        });
    }
    let mut all = Vec::new();
    while let Some(held) = tokio::time::timeout_at(deadline, sources.join_next()).await.expect("no end") {
        all.extend(held.unwrap());
    }
    let dlq = Dlq::new(&world).await;
    dlq.holds(&all.iter().collect::<Vec<_>>()).await;
    let all: BTreeMap<_, _> = [("a", "t"), ("b", "u"), ("c", "v")].into();
    for (source, topic) in all {
        assert_eq!(dlq.next(source, topic, 0).await, Some(BATCHES * 4 - 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_waited_for_an_hour_is_written_again() {
    let world = World::sqlite().await;
    let staged = world.stage_now(&[(0, 0..4)]).await;
    let hour_ago = clock::now_micros() - 3_601_000_000;
    let outcome = world.gate().commit(&staged.proposal, &staged.files, hour_ago).await.unwrap();
    let Outcome::Rebuild(e) = outcome else { panic!("{outcome:?}") };
    assert_eq!(e.class(), Class::ReRead);
    assert_eq!(world.audit().await.unwrap().rows, 0);
    // a little less is fine; and one that is in is in, however old
    let outcome = world.gate().commit(&staged.proposal, &staged.files, hour_ago + 60_000_000).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    let outcome = world.gate().commit(&staged.proposal, &staged.files, hour_ago).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
}
