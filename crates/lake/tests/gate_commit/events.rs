//! What other engines and people do to a table between two commits of ours.

use crate::unruly::{Unruly, Whim};
use crate::world::{Staged, World, rewritten, rows, source};
use iceberg::TableUpdate;
use iceberg::spec::{
    MAIN_BRANCH, NestedField, Operation, PrimitiveType, Schema, SnapshotReference, SnapshotRetention, Transform, Type,
    UnboundPartitionSpec,
};
use k2_lake::gate::Outcome;
use k2_model::{Class, clock};
use std::collections::HashMap;

fn main_to(id: i64) -> TableUpdate {
    let reference = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
    TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference }
}

async fn halts(world: &World, staged: &Staged, head_too: bool) {
    let error = staged.commit(&world.gate()).await.unwrap_err();
    assert_eq!(error.class(), Class::Halt, "{error}");
    assert!(error.way_out().is_some() && error.to_string().contains(world.ident.name()), "{error}");
    let head = world.gate().head().await;
    assert_eq!(head.err().map(|e| e.class()), head_too.then_some(Class::Halt));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_halts_until_it_is_rolled_forward() {
    for world in World::all().await.into_iter().filter(|w| w.lists_history) {
        let first = world.commit(&[(0, 0..3)]).await.metadata().current_snapshot_id().unwrap();
        let second = world.commit(&[(0, 3..6)]).await.metadata().current_snapshot_id().unwrap();
        let staged = world.stage_now(&[(0, 6..7)]).await;
        world.update(vec![main_to(first)]).await;
        halts(&world, &staged, true).await;
        // another engine's append on top does not hide it
        let files = world.write(&world.table().await, &[(8, 0..1)]).await;
        let table = world.rewrite(Operation::Append, MAIN_BRANCH, |_| false, &files).await;
        assert!(table.metadata().current_snapshot().unwrap().sequence_number() > 2);
        halts(&world, &staged, true).await;
        assert_eq!(rows(&world.table().await).await.len(), 4, "nothing was written");
        world.update(vec![main_to(second)]).await;
        assert!(matches!(staged.commit(&world.gate()).await.unwrap(), Outcome::Committed(_)));
        assert_eq!(world.audit().await.unwrap().positions, [(0, 7)].into());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_in_and_rolled_back_is_not_called_committed() {
    let world = World::sqlite().await;
    let first = world.commit(&[(0, 0..3)]).await.metadata().current_snapshot_id().unwrap();
    let staged = world.stage_now(&[(0, 3..5)]).await;
    assert!(matches!(staged.commit(&world.gate()).await.unwrap(), Outcome::Committed(_)));
    world.update(vec![main_to(first)]).await;
    halts(&world, &staged, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_dropped_and_created_again_halts() {
    let world = World::sqlite().await;
    world.commit(&[(0, 0..3)]).await;
    let staged = world.stage_now(&[(0, 3..6)]).await;
    let (file, catalog) = world.sqlite.as_ref().unwrap();
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{file}")).await.unwrap();
    let drop_it = sqlx::query("DELETE FROM iceberg_tables WHERE catalog_name = ?").bind(catalog);
    assert_eq!(drop_it.execute(&pool).await.unwrap().rows_affected(), 1);
    // gone
    let error = staged.commit(&world.gate()).await.unwrap_err();
    assert_eq!(error.class(), Class::Halt, "{error}");
    // there again: empty, without a position, and not the one that the files were written for
    world.create().await;
    halts(&world, &staged, false).await;
    assert_eq!(world.audit().await.unwrap().rows, 0);
    world.commit(&[(0, 0..2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_a_newer_k2_halts() {
    for world in World::all().await {
        world.commit(&[(0, 0..3)]).await;
        let staged = world.stage_now(&[(0, 3..6)]).await;
        let key = source().property_key();
        let good = world.state().await.unwrap().to_json().unwrap();
        for bad in [good.replace("\"version\":1", "\"version\":2"), "{}".to_owned(), "no json".to_owned()] {
            world.alter(|b| b.set_properties(HashMap::from([(key.clone(), bad)])).unwrap()).await;
            halts(&world, &staged, true).await;
        }
        world.alter(|b| b.set_properties(HashMap::from([(key.clone(), good)])).unwrap()).await;
        assert!(matches!(staged.commit(&world.gate()).await.unwrap(), Outcome::Committed(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_engines_appends_compactions_and_deletes_leave_positions_alone() {
    for world in World::all().await {
        world.commit(&[(0, 0..3)]).await;
        world.commit(&[(0, 3..5), (1, 0..2)]).await;
        // each time staged before and committed after: the head has moved, the position has not
        let staged = world.stage_now(&[(0, 5..7)]).await;
        world.compact().await;
        assert!(matches!(staged.commit(&world.gate()).await.unwrap(), Outcome::Committed(_)));
        let audit = world.audit().await.unwrap();
        assert_eq!((audit.rows, audit.positions), (9, [(0, 7), (1, 2)].into()));
        // a compaction's head has no summary of ours, and its snapshot is all that is left
        world.compact().await;
        world.expire_all_but_head().await;
        assert_eq!(world.next(0).await, Some(7));
        world.commit(&[(0, 7..8)]).await;
        assert_eq!(world.audit().await.unwrap().rows, 10);

        let foreign = world.write(&world.table().await, &[(50, 0..4)]).await;
        world.rewrite(Operation::Append, MAIN_BRANCH, |_| false, &foreign).await;
        let staged = world.stage_now(&[(1, 2..4)]).await;
        let path = foreign[0].file_path().to_owned();
        world.rewrite(Operation::Delete, MAIN_BRANCH, |f| f.file_path() == path, &[]).await;
        assert!(matches!(staged.commit(&world.gate()).await.unwrap(), Outcome::Committed(_)));
        // what was deleted stays deleted, also when the next commits carry its manifest on
        world.commit(&[(1, 4..5)]).await;
        let audit = world.audit().await.unwrap();
        assert_eq!((audit.rows, audit.positions), (13, [(0, 8), (1, 5)].into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_emptied_by_another_engine_goes_on_from_its_position() {
    let world = World::sqlite().await;
    world.commit(&[(0, 0..4)]).await;
    world.rewrite(Operation::Delete, MAIN_BRANCH, |_| true, &[]).await;
    assert_eq!(rows(&world.table().await).await.len(), 0);
    let table = world.commit(&[(0, 4..6)]).await;
    assert_eq!(rows(&table).await.len(), 2);
    assert_eq!(world.next(0).await, Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_of_all_snapshots_but_one_leaves_the_position() {
    for world in World::all().await {
        for i in 0..4 {
            world.commit(&[(0, i * 2..i * 2 + 2)]).await;
        }
        let staged = world.stage_now(&[(0, 8..10)]).await;
        let table = world.expire_all_but_head().await;
        assert_eq!(table.metadata().snapshots().len(), 1);
        assert!(matches!(staged.commit(&world.gate()).await.unwrap(), Outcome::Committed(_)));
        let audit = world.audit().await.unwrap();
        audit.is(10, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_schema_or_spec_asks_for_the_files_again() {
    for world in World::all().await.into_iter().filter(|w| w.lists_history) {
        world.commit(&[(0, 0..2)]).await;
        let (early, with_schema) = {
            let staged = world.stage_now(&[(0, 2..4)]).await;
            let table = world.table().await;
            let now = table.metadata().current_schema();
            let note = NestedField::optional(
                table.metadata().last_column_id() + 1,
                "note",
                Type::Primitive(PrimitiveType::String),
            );
            let fields = now.as_struct().fields().iter().cloned().chain([note.into()]);
            (staged, Schema::builder().with_fields(fields).build().unwrap())
        };
        world.alter(|b| b.add_current_schema(with_schema).unwrap()).await;
        assert!(matches!(early.commit(&world.gate()).await.unwrap(), Outcome::Rebuild(_)));
        assert_eq!(world.next(0).await, Some(2));
        world.commit(&[(0, 2..4)]).await;

        let early = world.stage_now(&[(0, 4..6)]).await;
        let day = world.table().await.metadata().current_schema().field_id_by_name("ingestion_date").unwrap();
        let spec = UnboundPartitionSpec::builder().add_partition_field(day, "month", Transform::Month).unwrap().build();
        world.alter(|b| b.add_default_partition_spec(spec).unwrap()).await;
        let outcome = early.commit(&world.gate()).await.unwrap();
        let Outcome::Rebuild(e) = outcome else { panic!("{outcome:?}") };
        assert_eq!(e.class(), Class::ReRead);
        world.commit(&[(0, 4..6)]).await;
        world.commit(&[(0, 6..7)]).await;
        let audit = world.audit().await.unwrap();
        audit.is(7, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staged_file_that_somebody_deleted_is_caught_before_the_commit() {
    for world in World::all().await {
        world.commit(&[(0, 0..2)]).await;
        // staged for long: looked for before the first attempt
        let staged = world.stage_now(&[(0, 2..4)]).await;
        world.stores.delete(staged.files[0].file_path()).await.unwrap();
        let long_ago = clock::now_micros() - 120_000_000;
        let outcome = world.gate().commit(&staged.proposal, &staged.files, long_ago).await.unwrap();
        assert!(matches!(outcome, Outcome::Rebuild(_)), "{outcome:?}");
        // staged just now: looked for before the second attempt
        let staged = world.stage_now(&[(0, 2..4)]).await;
        world.stores.delete(staged.files[0].file_path()).await.unwrap();
        let unruly = Unruly::scripted(&world.catalog, &[Whim::NotApplied]);
        let outcome = staged.commit(&world.gate_over(unruly.clone())).await.unwrap();
        let Outcome::Rebuild(e) = outcome else { panic!("{outcome:?}") };
        assert!(e.to_string().contains(staged.files[0].file_path()), "{e}");
        assert_eq!(unruly.attempts().len(), 1);
        let audit = world.audit().await.unwrap();
        audit.is(2, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_behind_the_tables_last_change_does_not_stop_commits() {
    for world in World::all().await {
        world.commit(&[(0, 0..2)]).await;
        // another engine with a clock one hour ahead
        let table = world.table().await;
        let (snapshot, _) = rewritten(&table, Operation::Append, MAIN_BRANCH, |_| false, &[]).await;
        let ahead = clock::now_millis() + 3_600_000;
        let mut json = serde_json::to_value(TableUpdate::AddSnapshot { snapshot: snapshot.clone() }).unwrap();
        json["snapshot"]["timestamp-ms"] = ahead.into();
        let ahead_of_us: TableUpdate = serde_json::from_value(json).unwrap();
        let ahead_of_us = vec![ahead_of_us, main_to(snapshot.snapshot_id())];
        let table = match world.catalog.commit(&table, ahead_of_us).await {
            Ok(table) => table,
            // a server with a clock of its own does not let the other engine do this
            Err(e) if world.sqlite.is_none() => {
                println!("skipped: {e}");
                continue;
            }
            Err(e) => panic!("{e}"),
        };
        assert!(table.metadata().last_updated_ms() >= ahead);
        let table = world.commit(&[(0, 2..4)]).await;
        assert!(table.metadata().current_snapshot().unwrap().timestamp_ms() >= ahead);
        world.commit(&[(0, 4..5)]).await;
        assert_eq!(world.audit().await.unwrap().rows, 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_retention_of_main_is_kept() {
    let world = World::sqlite().await;
    let head = world.commit(&[(0, 0..2)]).await.metadata().current_snapshot_id().unwrap();
    let kept = SnapshotReference::new(head, SnapshotRetention::branch(Some(17), Some(1_000_000), None));
    world.alter(|b| b.set_ref(MAIN_BRANCH, kept).unwrap()).await;
    let table = world.commit(&[(0, 2..4)]).await;
    let json = serde_json::to_value(table.metadata()).unwrap();
    let main = &json["refs"][MAIN_BRANCH];
    assert_eq!(main["snapshot-id"].as_i64(), table.metadata().current_snapshot_id());
    assert_eq!(
        (main["min-snapshots-to-keep"].as_i64(), main["max-snapshot-age-ms"].as_i64()),
        (Some(17), Some(1_000_000))
    );
}
