#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use k2_model::{Class, ClusterId, TopicId};

fn identity(topic_id: Option<&str>) -> TopicIdentity {
    TopicIdentity { cluster_id: ClusterId::new("c"), topic: "t".into(), topic_id: topic_id.map(TopicId::new) }
}

fn print(offset: i64) -> Option<Fingerprint> {
    Some(Fingerprint { offset, timestamp_ms: 1, crc: 2 })
}

fn table(cluster: &str, topic_id: Option<&str>, next: i64, last: Option<Fingerprint>) -> StartAt {
    StartAt::Table {
        topic_id: topic_id.map(TopicId::new),
        cluster_id: ClusterId::new(cluster),
        next: NextOffset(next),
        leader_epoch: Some(3),
        last,
    }
}

fn plan(offset: i64, next: i64, verify: Option<Fingerprint>, leader_epoch: Option<i32>) -> Result<Plan, Refusal> {
    Ok(Plan { seat: Seat { partition: 7, offset, leader_epoch }, next: NextOffset(next), verify })
}

#[test]
fn the_truth_table() {
    let log = Log { low: 10, end: 20 };
    let id = Some("id");
    type Case = (&'static str, Start, Option<&'static str>, StartAt, Result<Plan, Refusal>);
    let cases: Vec<Case> = vec![
        ("no position, earliest", Start::Earliest, id, StartAt::Unset, plan(10, 10, None, None)),
        ("no position, latest", Start::Latest, id, StartAt::Unset, plan(20, 20, None, None)),
        (
            "goes on at the fingerprint",
            Start::Earliest,
            id,
            table("c", id, 15, print(14)),
            plan(14, 15, print(14), Some(3)),
        ),
        (
            "control records after it",
            Start::Earliest,
            id,
            table("c", id, 17, print(14)),
            plan(14, 17, print(14), Some(3)),
        ),
        (
            "`start` is ignored with a position",
            Start::Latest,
            id,
            table("c", id, 15, None),
            plan(15, 15, None, Some(3)),
        ),
        (
            "the fingerprint is below the log",
            Start::Earliest,
            id,
            table("c", id, 10, print(9)),
            plan(10, 10, None, Some(3)),
        ),
        (
            "the fingerprint is the first",
            Start::Earliest,
            id,
            table("c", id, 11, print(10)),
            plan(10, 11, print(10), Some(3)),
        ),
        ("at the end", Start::Earliest, id, table("c", id, 20, print(19)), plan(19, 20, print(19), Some(3))),
        (
            "a fingerprint that is not before `next`",
            Start::Earliest,
            id,
            table("c", id, 15, print(15)),
            plan(15, 15, None, Some(3)),
        ),
        (
            "past the end",
            Start::Earliest,
            id,
            table("c", id, 21, print(20)),
            Err(Refusal::Truncated { next: 21, end: 20 }),
        ),
        (
            "retention passed it",
            Start::Earliest,
            id,
            table("c", id, 9, print(8)),
            Err(Refusal::Passed { lost_from: 9, lost_to: 10 }),
        ),
        (
            "another cluster",
            Start::Earliest,
            id,
            table("d", id, 15, print(14)),
            Err(Refusal::OtherCluster { was: "d".into() }),
        ),
        (
            "another topic",
            Start::Earliest,
            Some("new"),
            table("c", id, 15, print(14)),
            Err(Refusal::OtherTopic { was: "id".into() }),
        ),
        (
            "the id vanished",
            Start::Earliest,
            None,
            table("c", id, 15, print(14)),
            Err(Refusal::OtherTopic { was: "id".into() }),
        ),
        ("the id is new", Start::Earliest, id, table("c", None, 15, print(14)), plan(14, 15, print(14), Some(3))),
        ("no ids at all", Start::Earliest, None, table("c", None, 15, print(14)), plan(14, 15, print(14), Some(3))),
    ];
    for (name, start, topic_id, at, expected) in cases {
        let position = StartPosition { partition: Partition(7), at };
        assert_eq!(decide(start, &identity(topic_id), log, &position), expected, "{name}");
    }
}

#[test]
fn an_empty_log_starts_where_it_will_go_on() {
    let log = Log { low: 30, end: 30 };
    for start in [Start::Earliest, Start::Latest] {
        let position = StartPosition { partition: Partition(7), at: StartAt::Unset };
        assert_eq!(decide(start, &identity(None), log, &position), plan(30, 30, None, None));
    }
}

#[test]
fn every_refusal_halts_and_names_the_place_and_the_way_out() {
    for (refusal, words) in [
        (Refusal::OtherCluster { was: "d".into() }, vec!["cluster d", "cluster c", "k2 offsets set"]),
        (Refusal::OtherTopic { was: "old".into() }, vec!["created again", "old", "new", "k2 offsets reset"]),
        (Refusal::Passed { lost_from: 9, lost_to: 10 }, vec!["offsets 9..10", "k2 offsets accept-loss"]),
        (Refusal::Truncated { next: 21, end: 20 }, vec!["21", "20", "k2 offsets set"]),
    ] {
        let error = refusal.into_error(&identity(Some("new")), Partition(7));
        assert_eq!(error.class(), Class::Halt);
        let text = error.to_string();
        for word in words.into_iter().chain(["topic t/7"]) {
            assert!(text.contains(word), "{word:?} in {text}");
        }
    }
}
