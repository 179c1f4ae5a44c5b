//! Moving a silver pipeline: the silver table, and with it the DLQ table's position of the same source.
//!
//! ## The order, and what a crash leaves behind
//! 1. A DLQ table that was rolled back gets the position that its own history tells: what it says it holds, it then holds.
//!    Safe at any time: what is missing is missing already, and what silver still lists as an intent will come again.
//! 2. Pending intents are settled: their records will not be read again - or twice, if the move goes back, which is told.
//!    Carrying an intent out has effect once, so a crash here changes nothing.
//! 3. The silver table is moved; the same commit takes the settled intents out, and fences whoever is at work. If new ones
//!    have come in between, it is back to 2. From here on the move has happened.
//! 4. The DLQ table's position is lowered to silver's where it stands beyond, and taken away where silver has none. It is
//!    never raised: the next rejects do that.
//!
//! Why silver first: were the DLQ table lowered first, an intent still listed in silver's position would pass for not applied
//! and go into the table again. After a crash between 3 and 4 the DLQ table stands beyond silver, new rejects would pass for
//! applied, and be lost; therefore no pipeline starts on such a pair ([`check_agreement`](crate::offsets::check_agreement)),
//! and the command, repeated, does what is left.
//!
//! Best with the pipeline stopped. One that is in the middle of putting rejects into the DLQ table while all this happens may
//! put them there after step 4, a second time. The DLQ table then stands beyond silver: the pipeline halts, `k2 verify` names
//! the rejects that are there twice, and the command, repeated, ends it.

use super::{Change, Changed, DlqMoves, Wanted, as_table, at, warnings};
use crate::verify::grouped;
use crate::verify::history::Links;
use iceberg::TableIdent;
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use k2_lake::catalog::Catalog;
use k2_lake::decision::settle::{Verdict, judge};
use k2_lake::decision::{Head, Lineage};
use k2_lake::gate::{Gate, Moves, Settler, moves};
use k2_model::{BatchId, Class, Error, Intent, Result, SourceState};
use std::sync::{Arc, Mutex, PoisonError};

/// How often a running pipeline may come in between with new rejects.
const ROUNDS: usize = 20;

/// Both tables of a silver pipeline.
pub(super) struct Both<'a> {
    wanted: Wanted<'a>,
    silver: Gate,
    dlq: Gate,
    settler: Settler,
    catalog: Arc<dyn Catalog>,
}

/// What is to become of the intents in a position.
#[derive(Debug, Default)]
struct Fates {
    /// In the DLQ table.
    applied: Vec<Intent>,
    /// To be carried out first.
    due: Vec<Intent>,
    /// Given up by a person's decision, or to come again.
    dropped: Vec<(Intent, &'static str)>,
}

impl Fates {
    fn knows(&self, batch: BatchId) -> bool {
        let dropped = self.dropped.iter().map(|(intent, _)| intent);
        self.applied.iter().chain(&self.due).chain(dropped).any(|intent| intent.batch == batch)
    }
}

impl<'a> Both<'a> {
    pub(super) fn new(wanted: Wanted<'a>, silver: Gate, catalog: Arc<dyn Catalog>, dlq: TableIdent) -> Self {
        let settler = Settler::new(Arc::clone(&catalog), dlq.clone());
        let dlq = Gate::new(Arc::clone(&catalog), dlq, silver.source().clone());
        Self { wanted, silver, dlq, settler, catalog }
    }

    /// Makes the change, or shows what it would do.
    pub(super) async fn change(self, execute: bool) -> Result<Changed> {
        let dlq = self.dlq_table().await?;
        let rolled_back = match &dlq {
            Some(table) => self.was_rolled_back(table.metadata()),
            None => false,
        };
        let mut found = Moves::new();
        if execute && rolled_back {
            let refound = |table: &TableMetadata, state| as_table(self.wanted.pipeline, table, state, Links::Advance);
            found = self.dlq.set_position(self.wanted.replaces_broken(), refound).await?;
        }
        let mut changed = self.plan(dlq.as_ref(), rolled_back).await?;
        if !execute {
            return Ok(changed);
        }
        let (moved, after) = self.move_silver().await?;
        changed.moves = moved;
        if let Some(planned) = &mut changed.dlq {
            // what has happened, not what was planned
            planned.moves = found;
            planned.moves.extend(self.lower_dlq(after.as_ref()).await?);
        }
        Ok(changed)
    }

    /// What it would do, as things are.
    async fn plan(&self, dlq: Option<&Table>, rolled_back: bool) -> Result<Changed> {
        let pipeline = self.wanted.pipeline;
        let (table, before) = self.silver.position(self.wanted.replaces_broken()).await?;
        let after = self.wanted.apply(table.metadata(), before.clone())?;
        let fates = self.fates(table.metadata(), before.as_ref(), after.as_ref()).await?;
        let mut told = warnings(self.wanted.change, table.metadata(), before.as_ref(), after.as_ref());
        let rows = |intents: &[Intent]| grouped(intents.iter().map(|i| i.rows).sum());
        let name = &self.dlq.ident().name();
        if !fates.due.is_empty() {
            told.push(format!("{} rejects are still on the way to {name}; they are put there first", rows(&fates.due)));
        }
        for (intent, why) in &fates.dropped {
            let what = k2_lake::decision::settle::ranges(intent);
            told.push(format!("{} rejects of {what} will not be in {name}: {why}", grouped(intent.rows)));
        }
        let mut changed = Changed {
            table: pipeline.table.clone(),
            moves: moves(before.as_ref(), after.as_ref()),
            dlq: None,
            warnings: told,
        };
        if dlq.is_some() {
            let (table, before) = self.dlq.position(self.wanted.replaces_broken()).await?;
            let mut found = before.clone();
            if rolled_back {
                found = as_table(pipeline, table.metadata(), found, Links::Advance)?;
                changed.warnings.push(format!(
                    "{name} was rolled back: rejects that this took away are not read again, unless silver goes back as well"
                ));
            }
            let lowered = follow(after.as_ref(), found.clone());
            if moves(found.as_ref(), lowered.as_ref()).values().any(|(from, _)| from.is_some()) {
                changed.warnings.push(format!(
                    "{name} goes back as well: rejects of records that are read again will be in it twice, unless their rows are gone"
                ));
            }
            changed.dlq = Some(DlqMoves { table: name.to_string(), moves: moves(before.as_ref(), lowered.as_ref()) });
        }
        Ok(changed)
    }

    /// Settles what is pending and moves the silver table; the moves, and the position after it.
    async fn move_silver(&self) -> Result<(Moves, Option<SourceState>)> {
        let gate = &self.silver;
        for _ in 0..ROUNDS {
            let (table, before) = gate.position(self.wanted.replaces_broken()).await?;
            let after = without_intents(self.wanted.apply(table.metadata(), before.clone())?);
            let fates = self.fates(table.metadata(), before.as_ref(), after.as_ref()).await?;
            if let Some(state) = before.as_ref().filter(|_| !fates.due.is_empty()) {
                let due = fates.due.iter().map(|i| (gate.source().clone(), state.cluster_id.clone(), i.clone()));
                self.settler.settle(&due.collect::<Vec<_>>()).await?;
            }
            let broken = before.is_none() && table.metadata().properties().contains_key(&gate.source().property_key());
            let refound = self.wanted.change != &Change::AcceptLoss && silver_lineage(table.metadata(), gate)?;
            if before.as_ref().map(|s| &s.topics) == after.as_ref().map(|s| &s.topics)
                && before.as_ref().map(|s| &s.cluster_id) == after.as_ref().map(|s| &s.cluster_id)
                && fates.dropped.is_empty()
                && !broken
                && !refound
            {
                return Ok((Moves::new(), before));
            }
            let decided = Mutex::new(None);
            let apply = |table: &TableMetadata, state: Option<SourceState>| {
                if state.iter().flat_map(|s| &s.intents).any(|intent| !fates.knows(intent.batch)) {
                    return Err(Error::re_read("a running pipeline has rejected more records"));
                }
                let after = without_intents(self.wanted.apply(table, state)?);
                *decided.lock().unwrap_or_else(PoisonError::into_inner) = after.clone();
                Ok(after)
            };
            match gate.set_position(self.wanted.replaces_broken(), apply).await {
                Err(e) if e.class() == Class::ReRead => continue,
                Err(e) => return Err(e),
                Ok(moved) => {
                    let after = decided.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    return Ok((moved, after));
                }
            }
        }
        Err(Error::retry("a running pipeline rejects records faster than they can be settled").fix("stop it first"))
    }

    /// Moves the DLQ table's position back to silver's where it is beyond.
    async fn lower_dlq(&self, silver: Option<&SourceState>) -> Result<Moves> {
        let replace_broken = self.wanted.replaces_broken();
        let (table, before) = self.dlq.position(replace_broken).await?;
        let broken = before.is_none() && table.metadata().properties().contains_key(&self.dlq.source().property_key());
        if before == follow(silver, before.clone()) && !broken {
            return Ok(Moves::new());
        }
        self.dlq.set_position(replace_broken, |_, state| Ok(follow(silver, state))).await
    }

    async fn dlq_table(&self) -> Result<Option<Table>> {
        self.catalog.load(self.dlq.ident()).await
    }

    fn was_rolled_back(&self, dlq: &TableMetadata) -> bool {
        Head::of(dlq, self.dlq.source()).is_ok_and(|head| head.lineage != Lineage::Intact)
    }

    /// | intent                                                                | fate    |
    /// |-----------------------------------------------------------------------|---------|
    /// | is in the DLQ table                                                   | applied |
    /// | was decided in a commit that a rollback has taken away since          | dropped: its records are read again |
    /// | can be carried out                                                    | due     |
    /// | cannot, and the person accepts the loss                               | dropped |
    /// | cannot                                                                | the error that says why |
    async fn fates(
        &self,
        silver: &TableMetadata,
        before: Option<&SourceState>,
        after: Option<&SourceState>,
    ) -> Result<Fates> {
        let mut fates = Fates::default();
        let Some(state) = before.filter(|state| !state.intents.is_empty()) else { return Ok(fates) };
        let taken_back = silver_lineage(silver, &self.silver)?;
        let gives_up = *self.wanted.change == Change::AcceptLoss;
        let dlq = self.dlq_table().await?;
        let place = |e: Error| e.at(format!("table {}", self.dlq.ident()));
        let head =
            dlq.as_ref().map(|table| Head::of(table.metadata(), self.dlq.source())).transpose().map_err(place)?;
        for intent in &state.intents {
            let verdict = match &head {
                // in a dry run: as it will be once the table's position is found again
                Some(head) => judge(&Head { lineage: Lineage::Intact, ..head.clone() }, &state.cluster_id, intent),
                None => Err(Error::halt("the DLQ table is gone")),
            };
            match verdict {
                Ok(Verdict::Applied) => fates.applied.push(intent.clone()),
                Ok(Verdict::Apply) if taken_back && is_beyond(intent, after) => {
                    fates.dropped.push((
                        intent.clone(),
                        "a rollback has taken their batch away, and its records are read again",
                    ));
                }
                Ok(Verdict::Apply) if gives_up && self.lacks_files(intent, dlq.as_ref()).await? => {
                    fates.dropped.push((intent.clone(), "their file is gone"));
                }
                Ok(Verdict::Apply) => fates.due.push(intent.clone()),
                Err(_) if gives_up => fates.dropped.push((intent.clone(), "the DLQ table cannot take them any more")),
                Err(e) => return Err(place(e)),
            }
        }
        Ok(fates)
    }

    async fn lacks_files(&self, intent: &Intent, dlq: Option<&Table>) -> Result<bool> {
        let Some(table) = dlq else { return Ok(true) };
        for path in intent.files.iter().filter_map(|f| f.get("file_path")?.as_str()) {
            let there = table.file_io().exists(path).await;
            let failed = |e| k2_lake::store::iceberg_error("cannot look for a file", e).at(path.to_owned());
            if !there.map_err(failed)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether the silver table was rolled back behind its position.
fn silver_lineage(table: &TableMetadata, gate: &Gate) -> Result<bool> {
    match Head::of(table, gate.source()) {
        Ok(head) => Ok(head.lineage != Lineage::Intact),
        // only a reset of everything goes on with a position that cannot be read
        Err(e) if e.class() == Class::Halt => Ok(false),
        Err(e) => Err(e),
    }
}

/// Whether an intent reaches beyond a position.
fn is_beyond(intent: &Intent, position: Option<&SourceState>) -> bool {
    intent.ranges.iter().any(|(partition, (_, to))| {
        position.and_then(|state| state.partition(&intent.topic, *partition)).is_none_or(|at| at.next < *to)
    })
}

fn without_intents(state: Option<SourceState>) -> Option<SourceState> {
    state.map(|state| SourceState { intents: Vec::new(), ..state })
}

/// The DLQ table's position beside silver's: nowhere beyond it, and of the same cluster and topics. Pure; does nothing to what
/// it has done before.
fn follow(silver: Option<&SourceState>, dlq: Option<SourceState>) -> Option<SourceState> {
    let mut dlq = dlq?;
    let silver = silver.filter(|state| state.cluster_id == dlq.cluster_id)?;
    dlq.topics.retain(|topic, rejects| {
        let Some(trades) = silver.topics.get(topic) else { return false };
        if trades.topic_id.is_some() && rejects.topic_id.is_some() && trades.topic_id != rejects.topic_id {
            return false;
        }
        rejects.partitions.retain(|partition, _| trades.partitions.contains_key(partition));
        for (partition, stands) in &mut rejects.partitions {
            if let Some(trades) = trades.partitions.get(partition).filter(|trades| trades.next < stands.next) {
                *stands = at(trades.next);
            }
        }
        !rejects.partitions.is_empty()
    });
    (!dlq.topics.is_empty()).then_some(dlq)
}

#[cfg(test)]
#[path = "both/tests.rs"]
mod tests;
