#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::config::Sources;
use k2_model::{BatchId, PartitionPosition, SinkSnapshot, SnapshotId, TopicPosition};

fn identity() -> TopicIdentity {
    TopicIdentity { cluster_id: ClusterId::new("c"), topic: "t".into(), topic_id: Some(TopicId::new("id")) }
}

fn log(low: i64, end: i64) -> Watermarks {
    Watermarks { low: NextOffset(low), end: NextOffset(end) }
}

#[test]
fn the_status_table() {
    let (c, other) = (ClusterId::new("c"), ClusterId::new("d"));
    let (id, old) = (TopicId::new("id"), TopicId::new("old"));
    let kafka = identity();
    let log = log(10, 20);
    let mine = Some((&c, Some(&id)));
    let cases = [
        (None, mine, Some((&kafka, Some(&log))), Status::NoPosition),
        (None, None, None, Status::NoPosition),
        (Some(15), mine, None, Status::Unknown),
        (Some(15), Some((&other, Some(&id))), Some((&kafka, Some(&log))), Status::OtherCluster),
        (Some(15), Some((&c, Some(&old))), Some((&kafka, Some(&log))), Status::OtherTopic),
        (Some(15), Some((&c, None)), Some((&kafka, Some(&log))), Status::Ok),
        (Some(15), mine, Some((&kafka, None)), Status::NoSuchPartition),
        (Some(9), mine, Some((&kafka, Some(&log))), Status::BehindLogStart),
        (Some(21), mine, Some((&kafka, Some(&log))), Status::AheadOfEnd),
        (Some(10), mine, Some((&kafka, Some(&log))), Status::Ok),
        (Some(20), mine, Some((&kafka, Some(&log))), Status::Ok),
    ];
    for (next, belongs, kafka, expected) in cases {
        assert_eq!(status(next, belongs, kafka), expected, "{next:?} {belongs:?}");
    }
}

#[test]
fn rows_are_of_both_sides() {
    let config = Config::load(&Sources::default()).unwrap();
    let pipeline = &config.pipelines[0];
    let position =
        |next| PartitionPosition { next: NextOffset(next), leader_epoch: None, last: None, batch: BatchId::fresh() };
    let topic = TopicPosition {
        topic_id: Some(TopicId::new("id")),
        partitions: BTreeMap::from([
            (Partition(0), position(15)),
            (Partition(1), position(5)),
            (Partition(9), position(1)),
        ]),
    };
    let standing = Standing {
        state: Some(SourceState {
            version: 1,
            cluster_id: ClusterId::new("c"),
            snapshot: SinkSnapshot { id: SnapshotId(1), sequence: 1 },
            rules: None,
            intents: Vec::new(),
            topics: BTreeMap::from([(pipeline.topic.clone(), topic)]),
        }),
        rolled_back: false,
        committed_ms: Some(clock::now_millis() - 65_000),
    };
    let kafka = Topic {
        identity: identity(),
        logs: BTreeMap::from([0, 1, 2].map(|p| (Partition(p), log(10, 20)))),
        group: BTreeMap::from([(Partition(0), NextOffset(14))]),
    };
    let shown = rows(pipeline, &standing, Some(&kafka));
    let figures: Vec<_> = shown.iter().map(|r| (r.partition, r.next, r.lag, r.group_offset, r.status)).collect();
    assert_eq!(
        figures,
        [
            (0, Some(15), Some(5), Some(14), Status::Ok),
            (1, Some(5), Some(10), None, Status::BehindLogStart),
            (2, None, Some(10), None, Status::NoPosition),
            (9, Some(1), None, None, Status::NoSuchPartition),
        ]
    );
    assert_eq!(shown[0].commit_age_s.map(|s| (64..70).contains(&s)), Some(true));
    // without Kafka the table's part is left
    let alone = rows(pipeline, &standing, None);
    assert_eq!(
        alone.iter().map(|r| (r.partition, r.next, r.low)).collect::<Vec<_>>(),
        [(0, Some(15), None), (1, Some(5), None), (9, Some(1), None)]
    );
    assert!(alone.iter().all(|r| r.status == Status::Unknown));
}
