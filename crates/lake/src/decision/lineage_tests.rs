//! Is the last sink snapshot still below main? On metadata as Iceberg's own builder makes it.
use super::*;

/// A table that grows. Sequence numbers are given by the table, snapshot ids by the test.
struct Chain(TableMetadata);

impl Chain {
    fn new() -> Self {
        let mut creation = contract::bronze().creation("t").unwrap();
        creation.location = Some("memory://t".to_owned());
        Self(TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata)
    }

    fn with(&mut self, change: impl FnOnce(TableMetadataBuilder) -> TableMetadataBuilder) {
        self.0 = change(self.0.clone().into_builder(None)).build().unwrap().metadata;
    }

    fn snapshot(&self, id: i64, parent: Option<i64>) -> Snapshot {
        Snapshot::builder()
            .with_manifest_list(format!("memory://t/metadata/{id}.avro"))
            .with_snapshot_id(id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(self.0.next_sequence_number())
            .with_schema_id(self.0.current_schema_id())
            .with_timestamp_ms(self.0.last_updated_ms() + 1)
            .with_summary(Summary { operation: Operation::Append, additional_properties: HashMap::new() })
            .build()
    }

    /// Anybody's commit on main.
    fn append(&mut self, id: i64) -> &mut Self {
        let snapshot = self.snapshot(id, self.0.current_snapshot_id());
        self.with(|b| b.set_branch_snapshot(snapshot, MAIN_BRANCH).unwrap());
        self
    }

    /// Our commit on main: the snapshot as a position remembers it.
    fn sink(&mut self, id: i64) -> SinkSnapshot {
        let sequence = self.0.next_sequence_number();
        self.append(id);
        SinkSnapshot { id: SnapshotId(id), sequence }
    }

    fn main_to(&mut self, id: i64) -> &mut Self {
        let reference = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
        self.with(|b| b.set_ref(MAIN_BRANCH, reference).unwrap());
        self
    }

    fn tag(&mut self, name: &str, id: i64) -> &mut Self {
        let reference = SnapshotReference::new(id, SnapshotRetention::Tag { max_ref_age_ms: None });
        self.with(|b| b.set_ref(name, reference).unwrap());
        self
    }

    fn expire(&mut self, ids: &[i64]) -> &mut Self {
        self.with(|b| b.remove_snapshots(ids));
        self
    }

    fn intact(&self, sink: SinkSnapshot) -> bool {
        // as a catalog hands it out
        let read: TableMetadata = serde_json::from_value(serde_json::to_value(&self.0).unwrap()).unwrap();
        let found = lineage(&read, sink);
        if let Lineage::RolledBack { missing, head } = found {
            assert_eq!((missing, head), (sink.id, read.current_snapshot_id().map(SnapshotId)));
        }
        found == Lineage::Intact
    }
}

#[test]
fn the_head_and_any_ancestor_are_intact() {
    let mut c = Chain::new();
    let sink = c.append(1).sink(2);
    assert!(c.intact(sink));
    assert!(c.append(3).append(4).intact(sink));
}

#[test]
fn expired_ancestors_are_intact() {
    let mut c = Chain::new();
    let sink = c.append(1).sink(2);
    c.append(3).append(4).append(5);
    assert!(c.expire(&[1]).intact(sink));
    // the sink's own snapshot, then all but the head
    assert!(c.expire(&[2]).intact(sink));
    assert!(c.expire(&[3, 4]).intact(sink));
    assert_eq!(c.0.snapshots().count(), 1);
}

#[test]
fn an_expired_chain_above_a_tagged_sink_is_intact() {
    let mut c = Chain::new();
    let sink = c.append(1).sink(2);
    c.tag("evening", 2).append(3).append(4).expire(&[1, 3]);
    assert!(c.intact(sink));
}

#[test]
fn a_rollback_to_an_ancestor_is_seen() {
    let mut c = Chain::new();
    let sink = c.append(1).sink(2);
    c.append(3);
    assert!(!c.main_to(1).intact(sink));
    assert!(c.main_to(3).intact(sink), "rolled forward again");
}

#[test]
fn a_rollback_is_seen_below_another_engines_append() {
    let mut c = Chain::new();
    let sink = c.append(1).sink(2);
    // the new snapshot's sequence number is above the sink's
    c.main_to(1).append(3).append(4);
    assert!(c.0.current_snapshot().unwrap().sequence_number() > sink.sequence);
    assert!(!c.intact(sink));
    // expired as far as expiry goes: the sink snapshot is held by nothing
    assert!(!c.expire(&[2]).intact(sink));
}

#[test]
fn a_rollback_is_seen_when_only_its_target_has_expired() {
    let mut c = Chain::new();
    let sink = c.append(1).sink(2);
    c.main_to(1).append(3).expire(&[1]);
    assert!(!c.intact(sink), "the sink snapshot is there, beside main");
    // held on purpose: nothing can be told from it
    assert!(c.tag("kept", 2).intact(sink));
}

#[test]
fn an_empty_main_is_a_rollback() {
    let mut c = Chain::new();
    let sink = c.sink(1);
    c.with(|b| b.remove_ref(MAIN_BRANCH));
    assert!(c.0.current_snapshot().is_none());
    assert!(!c.intact(sink));
}

#[test]
fn a_replaced_branch_is_a_rollback() {
    let mut c = Chain::new();
    let sink = c.append(1).sink(2);
    // CREATE OR REPLACE TABLE: a new root on main, with a higher sequence number
    let root = c.snapshot(3, None);
    c.with(|b| b.set_branch_snapshot(root, "other").unwrap());
    assert!(c.intact(sink), "another branch is none of our business");
    assert!(!c.main_to(3).intact(sink));
    assert!(!c.append(4).intact(sink));
}

#[test]
fn a_catalog_that_shows_the_head_alone_is_believed() {
    let mut c = Chain::new();
    let sink = c.append(1).sink(2);
    c.append(3);
    // as Nessie does: another engine's commit is the head, and tells no parent
    let mut shown = serde_json::to_value(&c.0).unwrap();
    let snapshots = shown["snapshots"].as_array_mut().unwrap();
    snapshots.retain(|s| s["snapshot-id"] == 3);
    snapshots[0].as_object_mut().unwrap().remove("parent-snapshot-id");
    shown["snapshot-log"] = serde_json::json!([]);
    let c = |shown: serde_json::Value| Chain(serde_json::from_value(shown).unwrap());
    assert!(!c(shown.clone()).intact(sink), "elsewhere it is a table that was replaced");
    shown["properties"]["nessie.commit.id"] = "af".into();
    assert!(c(shown.clone()).intact(sink));
    // an older head is a rollback there as well
    let later = SinkSnapshot { id: SnapshotId(9), sequence: 9 };
    assert!(!c(shown).intact(later));
}

#[test]
fn a_sink_on_top_of_another_branch_does_not_count() {
    let mut c = Chain::new();
    let sink = c.append(1).sink(2);
    // main goes back; our snapshot stays on a branch of its own
    let kept = SnapshotReference::new(2, SnapshotRetention::branch(None, None, None));
    c.with(|b| b.set_ref("kept", kept).unwrap());
    assert!(!c.main_to(1).append(3).intact(sink));
}

#[test]
fn the_head_is_read_from_metadata() {
    let source = SourceId::new("group");
    let mut c = Chain::new();
    assert_eq!(c.0.current_snapshot_id(), None);
    let fresh = Head::of(&c.0, &source).unwrap();
    assert!(fresh.state.is_none() && fresh.lineage == Lineage::Intact && fresh.form == TableForm::of(&c.0));

    let mut state = super::head(&[(0, 5, OURS)]).state.unwrap();
    state.snapshot = c.sink(1);
    let json = state.to_json().unwrap();
    c.with(|b| b.set_properties(HashMap::from([(source.property_key(), json.clone())])).unwrap());
    let read = Head::of(&c.0, &source).unwrap();
    assert_eq!(read.state.as_ref(), Some(&state));
    assert_eq!(read.lineage, Lineage::Intact);
    // another source of the same table has no position
    assert!(Head::of(&c.0, &SourceId::new("group-2")).unwrap().state.is_none());

    for text in [json.replace("\"version\":1", "\"version\":2"), "{}".to_owned(), String::new()] {
        c.with(|b| b.set_properties(HashMap::from([(source.property_key(), text)])).unwrap());
        assert_eq!(Head::of(&c.0, &source).unwrap_err().class(), Class::Halt);
    }
}

#[test]
fn a_rolled_back_head_halts_with_both_ways_out() {
    let mut h = super::head(&[]);
    h.lineage = Lineage::RolledBack { missing: SnapshotId(9), head: Some(SnapshotId(4)) };
    let e = h.check_lineage().unwrap_err();
    assert_eq!(e.class(), Class::Halt);
    assert!(e.to_string().contains('9') && e.to_string().contains("current snapshot 4"), "{e}");
    assert!(e.way_out().unwrap().contains("k2 offsets set"));
}
