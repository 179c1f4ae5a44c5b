//! What becomes of a batch, given the head of the table: a pure function (ARCHITECTURE.md, invariant 5).
//!
//! | the table's position                                        | decision  |
//! |-------------------------------------------------------------|-----------|
//! | another table, a broken or newer position, a rollback, another cluster or topic incarnation | `Halt` |
//! | every partition stands at our `to`, put there by this batch | `Committed` (also the lost reply) |
//! | every partition stands where we started from                | `Commit`; `Overtakes` if rejects of theirs are pending; `Rebuild` if schema or spec moved |
//! | anything else                                               | `Fenced`  |
//!
//! Why equality and not "not beyond": a writer that was paused for minutes (a zombie) holds a range that another has
//! written since; its `from` is then behind the table and it must not be let in. Why the batch id: two writers may
//! have read the very same range, and only one of them may call it its own. Why `Fenced` is never softened to a retry:
//! the rows we hold overlap with rows that are already there. Why `Overtakes` is no error: an old head shows intents that
//! are long settled.
//!
//! A silver batch also carries its intent for the DLQ table into the position, and takes settled ones out; those of other
//! writers stay as they are. What becomes of an intent at the DLQ table is decided in [`settle`].
//!
//! `tests/model.rs` and `tests/model_silver.rs` of the end-to-end package search all interleavings of two writers, a
//! compactor and a crash through these very functions.

pub mod settle;

use iceberg::spec::TableMetadata;
use k2_model::position::VERSION;
use k2_model::{
    BatchId, Error, Fingerprint, Intent, NextOffset, Partition, PartitionPosition, Result, SinkSnapshot, SnapshotId,
    SourceId, SourceState, TopicIdentity, TopicPosition,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A batch that wants to be committed: rows of one topic, ranges per partition.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Who brings it.
    pub source: SourceId,
    /// Its id.
    pub batch: BatchId,
    /// Cluster, topic and incarnation of the records.
    pub identity: Arc<TopicIdentity>,
    /// The table it was written for.
    pub table: TableForm,
    /// The ranges; never empty when proposed.
    pub moves: BTreeMap<Partition, Move>,
    /// The version of the rules that routed the records; none for bronze, which routes nothing.
    pub rules: Option<String>,
    /// What this batch means to put into the DLQ table; none if it rejects nothing.
    pub intent: Option<Intent>,
    /// Intents known to be in the DLQ table: they leave the position with this commit.
    pub settled: Vec<BatchId>,
}

/// One partition's part of a [`Proposal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The table's position that we started from; none if the table had none.
    pub expected: Option<NextOffset>,
    /// The first offset covered.
    pub from: NextOffset,
    /// One past the last offset covered.
    pub to: NextOffset,
    /// The leader epoch of the last record.
    pub leader_epoch: Option<i32>,
    /// The last record of the partition that has been read, in this batch or before it.
    pub last: Option<Fingerprint>,
}

/// The form of the table that data files were written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableForm {
    /// The table's uuid.
    pub uuid: Uuid,
    /// The schema id.
    pub schema: i32,
    /// The partition spec id.
    pub spec: i32,
}

impl TableForm {
    /// The form of a table now.
    pub fn of(table: &TableMetadata) -> Self {
        Self { uuid: table.uuid(), schema: table.current_schema_id(), spec: table.default_partition_spec_id() }
    }
}

/// The head of a table, as far as the decision needs it.
#[derive(Debug, Clone)]
pub struct Head {
    /// Its form.
    pub form: TableForm,
    /// The position of our source; none if the table has none.
    pub state: Option<SourceState>,
    /// Whether the rows that the position speaks of are still in the table.
    pub lineage: Lineage,
}

/// See [`Head::lineage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lineage {
    /// The last sink snapshot is an ancestor of main, or expired below it.
    Intact,
    /// Main does not descend from the last sink snapshot: somebody rolled the table back.
    RolledBack {
        /// The snapshot that is missing from the ancestors.
        missing: SnapshotId,
        /// The head of main, if there is one.
        head: Option<SnapshotId>,
    },
}

/// What a commit makes of a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct After {
    /// Per topic name.
    pub topics: BTreeMap<String, TopicPosition>,
    /// What is on its way to the DLQ table, oldest first.
    pub intents: Vec<Intent>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Send one commit, pinned to this head; the position becomes this.
    Commit(After),
    /// It is already in.
    Committed,
    /// Drop the batch, read the position again, go on from there.
    Fenced {
        /// The first partition in the way.
        partition: Partition,
        /// Where the table stands in it.
        stands_at: Option<NextOffset>,
        /// Where we thought it stood.
        expected: Option<NextOffset>,
    },
    /// Rejects of a partition in the batch are not known to be in the DLQ table: carry them out first. Drop the batch, read
    /// the position again, settle what it says.
    Overtakes {
        /// Whose rejects.
        batch: BatchId,
        /// The DLQ table.
        table: String,
    },
    /// The position is fine, but the files were written for another schema or spec: read the range again.
    Rebuild,
}

impl Head {
    /// Reads the facts from table metadata. Fails if the position is not one that this binary may touch.
    pub fn of(table: &TableMetadata, source: &SourceId) -> Result<Self> {
        let key = source.property_key();
        let state = table.properties().get(&key).map(|text| SourceState::parse(&key, text)).transpose()?;
        let lineage = state.as_ref().map_or(Lineage::Intact, |s| lineage(table, s.snapshot));
        Ok(Self { form: TableForm::of(table), state, lineage })
    }

    /// Fails if a person must decide first: the rows of the position are no longer in the table.
    pub fn check_lineage(&self) -> Result<()> {
        match self.lineage {
            Lineage::Intact => Ok(()),
            Lineage::RolledBack { missing, head } => Err(Error::halt(format!(
                "the table was rolled back: its position speaks of snapshot {missing}, which is not an ancestor of {}",
                head.map_or_else(|| "an empty main branch".to_owned(), |h| format!("the current snapshot {h}")),
            ))
            .fix(
                "roll forward to that snapshot again, or accept the rollback with `k2 offsets set` \
                 (reads the records again that the rollback took away)",
            )),
        }
    }
}

/// Walks from the head of main towards the sink snapshot. A chain that ends in an expired parent above the sink's
/// sequence number is intact: expiry takes ancestors only.
///
/// Not to be seen: while no K2 runs, a rollback, another engine's commit on top, and an expiry that takes the sink
/// snapshot as well as the one rolled back to.
fn lineage(table: &TableMetadata, sink: SinkSnapshot) -> Lineage {
    let head = table.current_snapshot();
    let rolled_back = Lineage::RolledBack { missing: sink.id, head: head.map(|s| SnapshotId(s.snapshot_id())) };
    let mut cursor = head;
    while let Some(snapshot) = cursor {
        if snapshot.snapshot_id() == sink.id.0 {
            return Lineage::Intact;
        }
        if snapshot.sequence_number() <= sink.sequence {
            return rolled_back;
        }
        match snapshot.parent_snapshot_id() {
            None if lists_head_only(table) => return Lineage::Intact,
            None => return rolled_back,
            Some(parent) => {
                cursor = table.snapshot_by_id(parent);
                if cursor.is_none() {
                    return if left_behind(table, sink.id) { rolled_back } else { Lineage::Intact };
                }
            }
        }
    }
    rolled_back
}

/// Nessie shows the current snapshot alone, without its parent, and keeps the history to itself. There a rollback is a
/// reset of Nessie's own branch, which takes the position back together with the rows.
fn lists_head_only(table: &TableMetadata) -> bool {
    table.snapshots().len() == 1 && table.properties().contains_key("nessie.commit.id")
}

/// Whether the snapshot is still there though neither a branch nor a tag holds it. Expiry takes old ancestors first, so
/// such a snapshot is no ancestor of a head whose parent has expired: main was moved away from it.
fn left_behind(table: &TableMetadata, snapshot: SnapshotId) -> bool {
    if table.snapshot_by_id(snapshot.0).is_none() {
        return false;
    }
    // iceberg keeps the references to itself, its JSON does not
    let json = serde_json::to_value(table).unwrap_or_default();
    let Some(refs) = json.get("refs").and_then(serde_json::Value::as_object) else { return false };
    !refs.values().filter_map(|r| r.get("snapshot-id")?.as_i64()).any(|held| {
        let mut cursor = table.snapshot_by_id(held);
        while let Some(s) = cursor {
            if s.snapshot_id() == snapshot.0 {
                return true;
            }
            cursor = s.parent_snapshot_id().and_then(|p| table.snapshot_by_id(p));
        }
        false
    })
}

/// Decides. `Err` is a halt: nothing may be written until a person has looked.
pub fn decide(head: &Head, proposal: &Proposal) -> Result<Decision> {
    if head.form.uuid != proposal.table.uuid {
        return Err(Error::halt(format!(
            "the table was dropped and created again: its uuid is {}, the batch was written for {}",
            head.form.uuid, proposal.table.uuid
        ))
        .fix("restart K2 if the new table is meant to start over"));
    }
    head.check_lineage()?;
    let topic = proposal.identity.topic.as_ref();
    if let Some(state) = &head.state {
        check_identity(state, &proposal.identity)?;
    }
    let position = |p: &Partition| head.state.as_ref().and_then(|s| s.partition(topic, *p));

    let ours = |(p, m): (&Partition, &Move)| position(p).is_some_and(|x| x.next == m.to && x.batch == proposal.batch);
    if !proposal.moves.is_empty() && proposal.moves.iter().all(ours) {
        return Ok(Decision::Committed);
    }
    for (partition, m) in &proposal.moves {
        let stands_at = position(partition).map(|x| x.next);
        if stands_at != m.expected {
            return Ok(Decision::Fenced { partition: *partition, stands_at, expected: m.expected });
        }
        if m.to < m.from || m.expected.is_some_and(|e| m.from != e) {
            return Err(Error::unknown(format!(
                "a batch covers {}..{} of partition {partition}, which does not begin at the table's position {stands_at:?}",
                m.from, m.to
            )));
        }
    }
    if !proposal.moves.values().any(|m| m.to > m.from) {
        return Err(Error::unknown("a batch that moves no partition forward was proposed"));
    }
    if let Some(early) = intents(head, proposal).find(|i| i.topic == topic && overtaken(i, proposal)) {
        return Ok(Decision::Overtakes { batch: early.batch, table: early.table.clone() });
    }
    if head.form != proposal.table {
        return Ok(Decision::Rebuild);
    }
    let intents = intents(head, proposal).chain(&proposal.intent).cloned().collect();
    Ok(Decision::Commit(After { topics: merged(head, proposal), intents }))
}

/// The position belongs to this cluster and this incarnation of the topic, or a person must decide.
pub fn check_identity(state: &SourceState, identity: &TopicIdentity) -> Result<()> {
    if state.cluster_id != identity.cluster_id {
        return Err(Error::halt(format!(
            "the table's position belongs to Kafka cluster {}, but this is cluster {}",
            state.cluster_id, identity.cluster_id
        ))
        .fix("point kafka.brokers at the right cluster, or start over with `k2 offsets reset`"));
    }
    let known = state.topics.get(identity.topic.as_ref()).and_then(|t| t.topic_id.as_ref());
    match (known, &identity.topic_id) {
        (Some(known), Some(now)) if known != now => Err(Error::halt(format!(
            "topic {} was deleted and created again: the table's position belongs to topic id {known}, it is now {now}",
            identity.topic
        ))
        .fix("if the new topic is to be read from its start, say so with `k2 offsets reset`")),
        _ => Ok(()),
    }
}

/// The head's positions with only our partitions replaced.
fn merged(head: &Head, proposal: &Proposal) -> BTreeMap<String, TopicPosition> {
    let mut topics = head.state.as_ref().map(|s| s.topics.clone()).unwrap_or_default();
    let entry = topics
        .entry(proposal.identity.topic.to_string())
        .or_insert_with(|| TopicPosition { topic_id: None, partitions: BTreeMap::new() });
    entry.topic_id = proposal.identity.topic_id.clone().or(entry.topic_id.take());
    for (partition, m) in &proposal.moves {
        entry.partitions.insert(
            *partition,
            PartitionPosition { next: m.to, leader_epoch: m.leader_epoch, last: m.last, batch: proposal.batch },
        );
    }
    topics
}

/// The head's intents, whoever made them, without those that are settled.
fn intents<'a>(head: &'a Head, proposal: &'a Proposal) -> impl Iterator<Item = &'a Intent> {
    head.state.iter().flat_map(|s| &s.intents).filter(|i| !proposal.settled.contains(&i.batch))
}

/// Whether an intent speaks of a partition that the batch moves on. Carried out after the batch's own, it would pass for
/// applied: the DLQ table's position would be beyond it. So each owner of a partition settles what is pending of it first.
fn overtaken(intent: &Intent, proposal: &Proposal) -> bool {
    let advances = |p: &Partition| proposal.moves.get(p).is_some_and(|m| m.to > m.from);
    intent.ranges.iter().any(|(p, (from, to))| to > from && advances(p))
}

impl Proposal {
    /// The state to commit together with a snapshot.
    pub fn state(&self, after: After, snapshot: SinkSnapshot) -> SourceState {
        SourceState {
            version: VERSION,
            cluster_id: self.identity.cluster_id.clone(),
            snapshot,
            rules: self.rules.clone(),
            intents: after.intents,
            topics: after.topics,
        }
    }

    /// `{"topic/partition": [from, to)}` of the partitions that move, for the snapshot summary `k2.ranges`.
    pub fn ranges(&self) -> BTreeMap<String, (i64, i64)> {
        let topic = &self.identity.topic;
        self.moves.iter().map(|(p, m)| (format!("{topic}/{p}"), (m.from.0, m.to.0))).collect()
    }
}

#[cfg(test)]
#[path = "decision/tests.rs"]
mod tests;
