//! Where may a partition start? A pure decision: facts in, a seat or a refusal out.
//!
//! | the table says | Kafka says | decision |
//! |---|---|---|
//! | no position | – | start at `low` or `end`, as the pipeline is set |
//! | another cluster id | – | refuse: other cluster |
//! | another topic id, or one where there is none now | – | refuse: the topic was created again |
//! | next < low | – | refuse: retention has passed `next`; name the lost offsets |
//! | next > end | – | refuse: the log is shorter than what was read (after a while: the end may lag behind) |
//! | low ≤ last < next ≤ end | – | start at `last`, which must come back unchanged, then go on from `next` |
//! | otherwise | – | start at `next` |

use crate::Start;
use crate::native::Seat;
use k2_model::{Error, Fingerprint, NextOffset, Partition, StartAt, StartPosition, TopicIdentity};

/// What Kafka says about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Log {
    /// The first offset it still has.
    pub(crate) low: i64,
    /// One past the last offset that is visible.
    pub(crate) end: i64,
}

/// How to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Where librdkafka begins.
    pub(crate) seat: Seat,
    /// Where the first span begins.
    pub(crate) next: NextOffset,
    /// The record just before `next`, to be seen again first.
    pub(crate) verify: Option<Fingerprint>,
}

/// Why not to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The position belongs to another cluster.
    OtherCluster { was: String },
    /// The position belongs to an earlier topic of this name.
    OtherTopic { was: String },
    /// Retention has deleted what comes next.
    Passed { lost_from: i64, lost_to: i64 },
    /// The log ends before the position. May be a leader that does not yet know its own end, so ask again.
    Truncated { next: i64, end: i64 },
}

/// Decides; see the table above.
pub(crate) fn decide(
    start: Start,
    identity: &TopicIdentity,
    log: Log,
    position: &StartPosition,
) -> Result<Plan, Refusal> {
    let partition = position.partition.0;
    let at = |offset, leader_epoch| Seat { partition, offset, leader_epoch };
    let StartAt::Table { topic_id, cluster_id, next, leader_epoch, last } = &position.at else {
        let offset = match start {
            Start::Earliest => log.low,
            Start::Latest => log.end,
        };
        return Ok(Plan { seat: at(offset, None), next: NextOffset(offset), verify: None });
    };
    if *cluster_id != identity.cluster_id {
        return Err(Refusal::OtherCluster { was: cluster_id.to_string() });
    }
    if let Some(was) = topic_id
        && identity.topic_id.as_ref() != Some(was)
    {
        return Err(Refusal::OtherTopic { was: was.to_string() });
    }
    if next.0 < log.low {
        return Err(Refusal::Passed { lost_from: next.0, lost_to: log.low });
    }
    if next.0 > log.end {
        return Err(Refusal::Truncated { next: next.0, end: log.end });
    }
    let verify = last.filter(|last| last.offset >= log.low && last.offset < next.0);
    let offset = verify.map_or(next.0, |last| last.offset);
    Ok(Plan { seat: at(offset, *leader_epoch), next: *next, verify })
}

impl Refusal {
    /// What a person is told.
    pub(crate) fn into_error(self, identity: &TopicIdentity, partition: Partition) -> Error {
        let topic = &identity.topic;
        let error = match self {
            Self::OtherCluster { was } => Error::halt(format!(
                "the table was filled from Kafka cluster {was}, but the brokers are cluster {}",
                identity.cluster_id
            ))
            .fix(
                "point `kafka.brokers` at the cluster the table was filled from, or, if the records moved, \
                 give the table a position in the new one: `k2 offsets set`",
            ),
            Self::OtherTopic { was } => Error::halt(format!(
                "topic {topic} was deleted and created again: the table was filled from id {was}, it now has id {}",
                identity.topic_id.as_ref().map_or("(none)", |id| id.as_str())
            ))
            .fix("decide where to start in the new topic: `k2 offsets reset`"),
            Self::Passed { lost_from, lost_to } => lost(lost_from, lost_to),
            Self::Truncated { next, end } => Error::halt(format!(
                "the log ends at offset {end}, before offset {next} that the table was read up to: records that are in \
                 the table are gone from Kafka"
            ))
            .fix("an unclean leader election or a restored broker does this; decide how to go on: `k2 offsets set`"),
        };
        error.at(place(topic, partition))
    }
}

/// Retention has passed a position.
pub(crate) fn lost(from: i64, to: i64) -> Error {
    Error::halt(format!("Kafka has deleted records that were not read yet: offsets {from}..{to} are lost"))
        .fix("restore them into the topic, or accept the gap: `k2 offsets accept-loss`. Longer retention prevents it")
}

/// The record before a position is not the one that the table was filled with.
pub(crate) fn changed(topic: &str, partition: Partition, offset: i64) -> Error {
    Error::halt(format!("the record at offset {offset} is not the one that was read before"))
        .fix("an unclean leader election or a restored broker does this; decide how to go on: `k2 offsets set`")
        .at(place(topic, partition))
}

/// A place in a topic, for messages.
pub(crate) fn place(topic: &str, partition: Partition) -> String {
    format!("topic {topic}/{partition}")
}

#[cfg(test)]
#[path = "start/tests.rs"]
mod tests;
