//! What a commit of ours leaves behind for others to read: summary, totals, manifests, metadata files.

use crate::world::{World, rows, source};
use iceberg::spec::{MAIN_BRANCH, Operation};
use iceberg::table::Table;
use k2_lake::gate::Outcome;
use k2_lake::live::live_files;
use std::collections::{BTreeMap, HashMap};

fn summary(table: &Table) -> BTreeMap<String, String> {
    let summary = table.metadata().current_snapshot().unwrap().summary();
    summary.additional_properties.clone().into_iter().collect()
}

async fn manifests(table: &Table) -> Vec<iceberg::spec::ManifestFile> {
    let head = table.metadata().current_snapshot().unwrap();
    table.manifest_list_reader(head).load().await.unwrap().entries().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_tells_batch_ranges_and_totals() {
    for world in World::all().await {
        let staged = world.stage_now(&[(0, 0..3), (11, 0..1)]).await;
        let Outcome::Committed(table) = staged.commit(&world.gate()).await.unwrap() else { panic!("not committed") };
        let size = staged.files[0].file_size_in_bytes();
        let told = summary(&table);
        assert_eq!(table.metadata().current_snapshot().unwrap().summary().operation, Operation::Append);
        for (key, value) in [
            ("k2.batch-uuid", staged.proposal.batch.to_string()),
            ("k2.source", source().to_string()),
            ("k2.ranges", r#"{"trades/0":[0,3],"trades/11":[0,1]}"#.to_owned()),
            ("added-data-files", "1".to_owned()),
            ("added-records", "4".to_owned()),
            ("added-files-size", size.to_string()),
            ("changed-partition-count", "1".to_owned()),
            ("total-data-files", "1".to_owned()),
            ("total-records", "4".to_owned()),
            ("total-files-size", size.to_string()),
            ("total-delete-files", "0".to_owned()),
            ("total-position-deletes", "0".to_owned()),
            ("total-equality-deletes", "0".to_owned()),
        ] {
            assert_eq!(told.get(key), Some(&value), "{key}");
        }
        let mut expected = (4, 1);
        for i in 0..5_i64 {
            let table = world.commit(&[(0, 3 + i * 2..5 + i * 2)]).await;
            expected = (expected.0 + 2, expected.1 + 1);
            let (live, deletes) = live_files(&table, table.metadata().current_snapshot().unwrap()).await.unwrap();
            let bytes: u64 = live.iter().map(|f| f.file.file_size_in_bytes()).sum();
            let told = summary(&table);
            assert_eq!((live.len(), deletes), (expected.1, 0));
            assert_eq!(told["total-records"], expected.0.to_string());
            assert_eq!(told["total-data-files"], expected.1.to_string());
            assert_eq!(told["total-files-size"], bytes.to_string());
        }
        world.audit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_that_another_engine_does_not_tell_stays_untold() {
    let world = World::sqlite().await;
    world.commit(&[(0, 0..3)]).await;
    // this one tells total-records only
    world.rewrite(Operation::Append, MAIN_BRANCH, |_| false, &[]).await;
    let told = summary(&world.commit(&[(0, 3..5)]).await);
    assert_eq!(told.get("total-records").map(String::as_str), Some("5"));
    assert_eq!(told.get("total-data-files"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_without_rows_move_the_position_with_an_empty_snapshot() {
    for world in World::all().await {
        world.commit(&[(0, 0..3)]).await;
        // a transaction that was aborted: offsets, no records
        let mut staged = world.stage_now(&[(0, 3..9)]).await;
        staged.files.clear();
        let Outcome::Committed(table) = staged.commit(&world.gate()).await.unwrap() else { panic!("not committed") };
        assert_eq!(world.next(0).await, Some(9));
        let told = summary(&table);
        assert_eq!((told["k2.ranges"].as_str(), told["total-records"].as_str()), (r#"{"trades/0":[3,9]}"#, "3"));
        assert!(!told.contains_key("added-records"));
        assert_eq!(manifests(&table).await.len(), 1);
        world.commit(&[(0, 9..10)]).await;
        assert_eq!(rows(&world.table().await).await.len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_merged_when_there_are_a_hundred() {
    let world = World::sqlite().await;
    let mut most = 0;
    for i in 0..104 {
        let table = world.commit(&[(0, i * 2..i * 2 + 2)]).await;
        most = most.max(manifests(&table).await.len());
        let told = summary(&table);
        assert_eq!(told["total-records"], (i * 2 + 2).to_string());
    }
    let table = world.table().await;
    let last = manifests(&table).await;
    assert!(most == 100 && last.len() < 10, "at most {most}, now {}", last.len());
    let audit = world.audit().await.unwrap();
    assert_eq!((audit.rows, audit.snapshots), (208, 104));
    // each file still tells the snapshot that brought it
    let (live, _) = live_files(&table, table.metadata().current_snapshot().unwrap()).await.unwrap();
    let added_by: std::collections::HashSet<_> = live.iter().map(|f| f.added_by.unwrap()).collect();
    assert_eq!((live.len(), added_by.len()), (104, 104));
    for manifest in &last {
        let content = manifest.load_manifest(table.file_io()).await.unwrap();
        for entry in content.entries() {
            let sequence = entry.sequence_number().unwrap();
            let snapshot = table.metadata().snapshot_by_id(entry.snapshot_id().unwrap()).unwrap();
            assert_eq!(sequence, snapshot.sequence_number());
        }
    }
    // metadata files: five old ones and the current one
    let table = world.commit(&[(0, 208..209)]).await;
    assert!(table.metadata().metadata_log().len() <= 5, "{}", table.metadata().metadata_log().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn merging_neither_brings_deleted_files_back_nor_touches_other_specs() {
    let world = World::sqlite().await;
    let merge = HashMap::from([("commit.manifest.min-count-to-merge".to_owned(), "4".to_owned())]);
    world.alter(|b| b.set_properties(merge).unwrap()).await;
    world.commit(&[(0, 0..2)]).await;
    let victim = world.write(&world.table().await, &[(60, 0..5)]).await;
    world.rewrite(Operation::Append, MAIN_BRANCH, |_| false, &victim).await;
    let path = victim[0].file_path().to_owned();
    world.rewrite(Operation::Delete, MAIN_BRANCH, |f| f.file_path() == path, &[]).await;
    // an old spec's manifests stay as they are
    let day = world.table().await.metadata().current_schema().field_id_by_name("ingestion_date").unwrap();
    for i in 1..12 {
        if i == 6 {
            let spec = iceberg::spec::UnboundPartitionSpec::builder()
                .add_partition_field(day, "month", iceberg::spec::Transform::Month)
                .unwrap()
                .build();
            world.alter(|b| b.add_default_partition_spec(spec).unwrap()).await;
        }
        let table = world.commit(&[(0, i * 2..i * 2 + 2)]).await;
        let all = manifests(&table).await;
        let audit = world.audit().await.unwrap_or_else(|e| panic!("after commit {i}: {e}"));
        assert_eq!(audit.positions, [(0, i * 2 + 2)].into());
        assert!(all.len() <= 11, "{}", all.len());
    }
    let specs: std::collections::HashSet<_> =
        manifests(&world.table().await).await.iter().map(|m| m.partition_spec_id).collect();
    assert_eq!(specs.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_format_version_is_refused() {
    let world = World::sqlite().await;
    let staged = world.stage_now(&[(0, 0..2)]).await;
    world.alter(|b| b.upgrade_format_version(iceberg::spec::FormatVersion::V3).unwrap()).await;
    let error = staged.commit(&world.gate()).await.unwrap_err();
    assert_eq!(error.class(), k2_model::Class::Config, "{error}");
}
