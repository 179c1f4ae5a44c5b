//! What a sink holds between two commits: one open batch with its files, its ranges and its bytes.

use k2_lake::decision::{Move, Proposal, TableForm};
use k2_model::{
    BatchId, Epoch, Error, Fingerprint, NextOffset, Partition, PartitionSpan, Permit, Result, SourceId, TopicIdentity,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// Where each assigned partition stands for the sink.
#[derive(Debug, Default)]
pub(crate) struct Cursors(BTreeMap<Partition, Cursor>);

#[derive(Debug, Clone)]
struct Cursor {
    epoch: Epoch,
    /// The table's position; none if it has none.
    table: Option<NextOffset>,
    /// One past what the sink has taken; none until the first span when the table has no position.
    next: Option<NextOffset>,
    last: Option<Fingerprint>,
    leader_epoch: Option<i32>,
}

impl Cursors {
    /// A partition begins at the table's position, under a new epoch.
    pub(crate) fn assign(
        &mut self,
        partition: Partition,
        epoch: Epoch,
        table: Option<NextOffset>,
        last: Option<Fingerprint>,
        leader_epoch: Option<i32>,
    ) {
        self.0.insert(partition, Cursor { epoch, table, next: table, last, leader_epoch });
    }

    pub(crate) fn remove(&mut self, partition: Partition) {
        self.0.remove(&partition);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whether a span belongs to the current assignment of its partition.
    pub(crate) fn is_live(&self, span: &PartitionSpan) -> bool {
        self.0.get(&span.partition).is_some_and(|c| c.epoch == span.epoch)
    }

    /// Takes a live span: it must begin where the last one ended.
    pub(crate) fn advance(&mut self, span: &PartitionSpan) -> Result<Move> {
        let Some(cursor) = self.0.get_mut(&span.partition) else {
            return Err(Error::unknown(format!("a batch of partition {}, which is not assigned", span.partition)));
        };
        let from = cursor.next.unwrap_or(span.from);
        if from != span.from || span.to < span.from {
            return Err(Error::unknown(format!(
                "the source skipped or repeated offsets: a batch covers {}..{}, expected one from {from}",
                span.from, span.to
            ))
            .at(format!("partition {}", span.partition)));
        }
        cursor.next = Some(span.to);
        cursor.last = span.last.or(cursor.last);
        cursor.leader_epoch = span.leader_epoch.or(cursor.leader_epoch);
        Ok(Move { expected: cursor.table, from, to: span.to, leader_epoch: cursor.leader_epoch, last: cursor.last })
    }

    /// The table has reached these positions.
    pub(crate) fn committed(&mut self, moves: &BTreeMap<Partition, Move>) {
        for (partition, m) in moves {
            if let Some(cursor) = self.0.get_mut(partition) {
                cursor.table = Some(m.to);
            }
        }
    }
}

/// The open batch.
pub(crate) struct Pending<F> {
    pub(crate) batch: BatchId,
    pub(crate) identity: Arc<TopicIdentity>,
    pub(crate) form: TableForm,
    pub(crate) files: F,
    pub(crate) moves: BTreeMap<Partition, Move>,
    pub(crate) permit: Permit,
    pub(crate) since: Instant,
}

impl<F> Pending<F> {
    /// Joins a span to the ranges: the first one of a partition says where it starts, the last one where it ends.
    pub(crate) fn extend(&mut self, partition: Partition, m: Move) {
        match self.moves.entry(partition) {
            std::collections::btree_map::Entry::Vacant(v) => {
                v.insert(m);
            }
            std::collections::btree_map::Entry::Occupied(mut o) => {
                let old = o.get_mut();
                *old = Move { expected: old.expected, from: old.from, ..m };
            }
        }
    }

    /// Whether a commit would move anything.
    pub(crate) fn advances(&self) -> bool {
        self.moves.values().any(|m| m.to > m.from)
    }

    pub(crate) fn proposal(&self, source: &SourceId) -> Proposal {
        Proposal {
            source: source.clone(),
            batch: self.batch,
            identity: Arc::clone(&self.identity),
            table: self.form,
            moves: self.moves.clone(),
            rules: None,
            intent: None,
            settled: Vec::new(),
        }
    }
}

#[cfg(test)]
#[path = "pending/tests.rs"]
mod tests;
