//! The DLQ table never stands beyond the silver table that decides on its rejects: pure.
//!
//! 1. A silver commit stores its rejects as an intent, which ends where silver's position then stands; carrying it out puts the
//!    DLQ table's own position of that source there ([`k2_lake::decision::settle`]). So it is never beyond silver's - unless
//!    a move by hand went back in silver and not yet in the DLQ table. New rejects would then pass for applied, and be
//!    lost: the pipeline must not run ([`check_agreement`]).
//! 2. To see that without a false alarm, the DLQ table is read *before* silver: both only move forward.

use k2_model::{Error, NextOffset, Partition, Result, SourceState};

/// The partitions in which the DLQ table stands beyond silver, with both positions.
pub(crate) fn beyond(
    topic: &str,
    silver: Option<&SourceState>,
    dlq: Option<&SourceState>,
) -> Vec<(Partition, NextOffset, Option<NextOffset>)> {
    let Some((state, rejects)) = dlq.and_then(|state| Some((state, state.topics.get(topic)?))) else {
        return Vec::new();
    };
    let trades = silver.filter(|s| s.cluster_id == state.cluster_id).and_then(|s| s.topics.get(topic));
    let trades =
        trades.filter(|t| t.topic_id.is_none() || rejects.topic_id.is_none() || t.topic_id == rejects.topic_id);
    let both = rejects.partitions.iter().map(|(partition, at)| {
        let next = trades.and_then(|t| t.partitions.get(partition)).map(|at| at.next);
        (*partition, at.next, next)
    });
    both.filter(|(_, rejects, trades)| trades.is_none_or(|next| next < *rejects)).collect()
}

/// Fails if the DLQ table's position of a source is beyond silver's. Read the DLQ table first.
///
/// # Errors
/// [`Class::Halt`](k2_model::Class::Halt), with the command that ends it.
pub fn check_agreement(topic: &str, silver: Option<&SourceState>, dlq: Option<&SourceState>) -> Result<()> {
    let Some((partition, rejects, trades)) = beyond(topic, silver, dlq).into_iter().next() else { return Ok(()) };
    let silver =
        trades.map_or_else(|| "the silver table has no position there".to_owned(), |next| format!("silver at {next}"));
    Err(Error::halt(format!("the DLQ table stands at {rejects}, {silver}: a move by hand was not finished"))
        .at(format!("topic {topic}/{partition}"))
        .fix("repeat the `k2 offsets` command: it moves the DLQ table to where the silver table stands"))
}

#[cfg(test)]
#[path = "agreement/tests.rs"]
mod tests;
