#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use k2_model::{BatchId, Class, ClusterId, PartitionPosition, SinkSnapshot, SnapshotId, TopicId, TopicPosition};
use std::collections::BTreeMap;

fn state(cluster: &str, id: &str, nexts: &[(i32, i64)]) -> SourceState {
    let at =
        |next| PartitionPosition { next: NextOffset(next), leader_epoch: None, last: None, batch: BatchId::fresh() };
    let partitions = nexts.iter().map(|(p, next)| (Partition(*p), at(*next))).collect();
    SourceState {
        version: 1,
        cluster_id: ClusterId::new(cluster),
        snapshot: SinkSnapshot { id: SnapshotId(1), sequence: 1 },
        rules: None,
        intents: Vec::new(),
        topics: BTreeMap::from([("t".to_owned(), TopicPosition { topic_id: Some(TopicId::new(id)), partitions })]),
    }
}

#[test]
fn the_dlq_never_stands_beyond_silver() {
    let check = |silver: Option<SourceState>, dlq: Option<SourceState>| {
        check_agreement("t", silver.as_ref(), dlq.as_ref()).map_err(|e| (e.class(), e.to_string()))
    };
    let s = |nexts: &[(i32, i64)]| Some(state("c", "id", nexts));
    assert!(check(None, None).is_ok());
    assert!(check(s(&[(0, 5)]), None).is_ok());
    assert!(check(s(&[(0, 5), (1, 9)]), s(&[(0, 5)])).is_ok());
    assert!(check(s(&[(0, 5)]), s(&[(0, 4)])).is_ok());
    for (silver, dlq) in [
        (s(&[(0, 5)]), s(&[(0, 6)])),
        (s(&[(0, 5)]), s(&[(1, 1)])),
        (None, s(&[(0, 1)])),
        (Some(state("c", "new", &[(0, 5)])), s(&[(0, 5)])),
        (Some(state("d", "id", &[(0, 5)])), s(&[(0, 5)])),
    ] {
        let (class, text) = check(silver, dlq).unwrap_err();
        assert_eq!(class, Class::Halt);
        assert!(text.contains("repeat the `k2 offsets` command"), "{text}");
    }
    // what the DLQ table knows of other topics is not this pipeline's
    assert!(check_agreement("other", None, s(&[(0, 6)]).as_ref()).is_ok());
}
