#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::catalog::{Catalog, CatalogConfig, Kind, connect};
use crate::contract;
use crate::store::Stores;
use async_trait::async_trait;
use iceberg::{TableCreation, TableIdent};
use k2_model::position::VERSION;
use k2_model::{BatchId, ClusterId, NextOffset, Partition, PartitionPosition, SinkSnapshot, SourceId, TopicPosition};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

fn state(nexts: &[(i32, i64)]) -> SourceState {
    let at =
        |next| PartitionPosition { next: NextOffset(next), leader_epoch: None, last: None, batch: BatchId::fresh() };
    let partitions = nexts.iter().map(|(p, next)| (Partition(*p), at(*next))).collect();
    SourceState {
        version: VERSION,
        cluster_id: ClusterId::new("c"),
        snapshot: SinkSnapshot { id: SnapshotId(0), sequence: 0 },
        rules: None,
        intents: Vec::new(),
        topics: BTreeMap::from([("t".to_owned(), TopicPosition { topic_id: None, partitions })]),
    }
}

#[test]
fn moves_are_what_differs() {
    let (before, after) = (state(&[(0, 5), (1, 7), (2, 9)]), state(&[(0, 5), (1, 3), (4, 0)]));
    let expected = [("t/1", (Some(7), Some(3))), ("t/2", (Some(9), None)), ("t/4", (None, Some(0)))];
    let expected: Moves = expected.into_iter().map(|(place, moved)| (place.to_owned(), moved)).collect();
    assert_eq!(moves(Some(&before), Some(&after)), expected);
    assert!(moves(Some(&before), Some(&before)).is_empty() && moves(None, None).is_empty());
    assert_eq!(moves(Some(&before), None).len(), 3);
}

#[test]
fn only_this_version_may_be_replaced() {
    assert!(is_of_another_version("{\"version\": 2, \"more\": []}"));
    assert!(!is_of_another_version("{\"version\": 1}") && !is_of_another_version("{}") && !is_of_another_version("?"));
}

/// A catalog whose first answers to a commit are lost, after it was applied or before.
#[derive(Debug)]
struct Lossy {
    real: Arc<dyn Catalog>,
    applied: bool,
    left: AtomicU32,
}

#[async_trait]
impl Catalog for Lossy {
    async fn ensure_namespace(&self, namespace: &str) -> Result<()> {
        self.real.ensure_namespace(namespace).await
    }
    async fn namespace_exists(&self, namespace: &str) -> Result<bool> {
        self.real.namespace_exists(namespace).await
    }
    async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        self.real.tables(namespace).await
    }
    async fn load(&self, table: &TableIdent) -> Result<Option<Table>> {
        self.real.load(table).await
    }
    async fn create(&self, namespace: &str, creation: TableCreation) -> Result<Table> {
        self.real.create(namespace, creation).await
    }
    async fn commit(&self, base: &Table, updates: Vec<TableUpdate>) -> Result<Table, CommitFailure> {
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
            return self.real.commit(base, updates).await;
        }
        if self.applied {
            self.real.commit(base, updates).await?;
        }
        Err(CommitFailure::Unknown(Error::unknown("the answer is lost")))
    }
    fn stores(&self, table: &TableIdent) -> Stores {
        self.real.stores(table)
    }
    fn describe(&self) -> String {
        self.real.describe()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_moves_a_position_once() {
    for applied in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let config = CatalogConfig {
            kind: Kind::Sql,
            name: "test".into(),
            uri: format!("sqlite:{}", dir.path().join("catalog.db").display()),
            warehouse: dir.path().join("warehouse").display().to_string(),
            properties: BTreeMap::new(),
            request_timeout: Duration::from_secs(10),
        };
        let real = connect(&config, &Stores::default()).await.unwrap();
        let ident = TableIdent::from_strs(["n", "t"]).unwrap();
        contract::bronze().open(real.as_ref(), &ident, true).await.unwrap();
        let lossy = Lossy { real, applied, left: AtomicU32::new(1) };
        let gate = Gate::new(Arc::new(lossy), ident, SourceId::new("s"));

        let moved = gate.set_position(false, |_, _| Ok(Some(state(&[(0, 5)])))).await.unwrap();
        assert_eq!(moved, Moves::from([("t/0".to_owned(), (None, Some(5)))]), "applied: {applied}");
        let (table, stands) = gate.position(false).await.unwrap();
        assert_eq!(table.metadata().snapshots().len(), 1, "applied: {applied}");
        let head = table.metadata().current_snapshot().unwrap();
        assert_eq!(stands.unwrap().snapshot.id.0, head.snapshot_id());
        assert_eq!(head.summary().additional_properties[MOVED], "{\"t/0\":[null,5]}");

        gate.set_position(false, |_, _| Ok(None)).await.unwrap();
        let (table, stands) = gate.position(false).await.unwrap();
        assert!(stands.is_none());
        assert_eq!(
            table.metadata().current_snapshot().unwrap().summary().additional_properties[MOVED],
            "{\"t/0\":[5,null]}"
        );
    }
}
