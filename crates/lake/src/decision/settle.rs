//! What becomes of an intent, given the head of the DLQ table: a pure function.
//!
//! The DLQ table keeps a position of its own per silver source: up to where that source's rejects are in it.
//!
//! | the DLQ table                                                              | verdict   |
//! |----------------------------------------------------------------------------|-----------|
//! | another table, a rollback, another cluster or topic incarnation            | `Halt`    |
//! | every partition of the intent stands at its end or beyond                  | `Applied` |
//! | every partition of the intent stands at its start, before it, or nowhere   | `Apply`   |
//! | anything else                                                              | `Halt`    |
//!
//! Why "before it" may be applied, other than in [`super::decide`]: a batch without rejects makes no commit here, so the
//! position lags. Why "beyond it" is applied: the silver table gives a partition's ranges out once and in order, and whoever
//! takes a partition over settles what is pending of it before going on ([`super::decide`] insists). Anything between the
//! two was written by somebody who did not follow this protocol.
//!
//! Partitions that the batch holds without moving them on have no say.

use super::{Head, check_identity};
use k2_model::position::VERSION;
use k2_model::{
    ClusterId, Error, Intent, NextOffset, Partition, PartitionPosition, Result, SinkSnapshot, SourceState,
    TopicIdentity, TopicPosition,
};
use std::collections::BTreeMap;

/// What to do with an intent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Add its files, pinned to this head, with the position that [`carried_out`] makes.
    Apply,
    /// Its rejects are in the table.
    Applied,
}

/// Judges. `Err` is a halt: nothing may be written until a person has looked.
pub fn judge(head: &Head, cluster: &ClusterId, intent: &Intent) -> Result<Verdict> {
    if head.form.uuid != intent.uuid {
        return Err(Error::halt(format!(
            "the DLQ table was dropped and created again: its uuid is {}, the rejects of {} were written for {}",
            head.form.uuid,
            ranges(intent),
            intent.uuid
        ))
        .fix("register the old table again; or give these rejects up with `k2 offsets accept-loss` (bronze has the records)"));
    }
    head.check_lineage()?;
    let identity = TopicIdentity {
        cluster_id: cluster.clone(),
        topic: intent.topic.as_str().into(),
        topic_id: intent.topic_id.clone(),
    };
    if let Some(state) = &head.state {
        check_identity(state, &identity)?;
    }
    let next = |p: Partition| head.state.as_ref().and_then(|s| s.partition(&intent.topic, p)).map(|x| x.next);
    let moving: Vec<_> = moving(intent).map(|(p, from, to)| (p, from, to, next(p))).collect();
    if moving.is_empty() {
        return Err(Error::unknown("rejects of a batch that moves no partition forward"));
    }
    if moving.iter().all(|(_, _, to, next)| next.is_some_and(|n| n >= *to)) {
        return Ok(Verdict::Applied);
    }
    match moving.iter().find(|(_, from, _, next)| next.is_some_and(|n| n > *from)) {
        None => Ok(Verdict::Apply),
        Some((partition, from, to, next)) => Err(Error::halt(format!(
            "the DLQ table's position in {}/{partition} is {}, neither before nor beyond the rejects of {from}..{to}",
            intent.topic,
            next.map_or(-1, |n| n.0),
        ))
        .fix("if the silver table's position was set by hand, set the DLQ table's as well (`k2 offsets set`)")),
    }
}

/// The position of a source in the DLQ table once an intent is carried out.
pub fn carried_out(
    before: Option<SourceState>,
    cluster: &ClusterId,
    intent: &Intent,
    snapshot: SinkSnapshot,
) -> SourceState {
    let (mut topics, intents) = before.map_or_else(Default::default, |s| (s.topics, s.intents));
    let entry = topics
        .entry(intent.topic.clone())
        .or_insert_with(|| TopicPosition { topic_id: None, partitions: BTreeMap::new() });
    entry.topic_id = intent.topic_id.clone().or(entry.topic_id.take());
    for (partition, _, to) in moving(intent) {
        let at = PartitionPosition { next: to, leader_epoch: None, last: None, batch: intent.batch };
        entry.partitions.insert(partition, at);
    }
    SourceState {
        version: VERSION,
        cluster_id: cluster.clone(),
        snapshot,
        rules: intent.rules.clone(),
        intents,
        topics,
    }
}

/// Whether `this` has to be carried out before `that`: it comes earlier in a partition of both.
pub fn precedes(this: &Intent, that: &Intent) -> bool {
    this.topic == that.topic
        && moving(this).any(|(p, from, _)| that.ranges.get(&p).is_some_and(|(f, t)| t > f && from < *f))
}

/// The partitions that the intent's batch moves on.
fn moving(intent: &Intent) -> impl Iterator<Item = (Partition, NextOffset, NextOffset)> {
    intent.ranges.iter().filter(|(_, (from, to))| to > from).map(|(p, (from, to))| (*p, *from, *to))
}

/// What an intent covers, for a person: `trades/0 5..9, trades/3 0..2`.
pub fn ranges(intent: &Intent) -> String {
    let parts: Vec<_> = moving(intent).map(|(p, from, to)| format!("{}/{p} {from}..{to}", intent.topic)).collect();
    parts.join(", ")
}

#[cfg(test)]
#[path = "settle/tests.rs"]
mod tests;
