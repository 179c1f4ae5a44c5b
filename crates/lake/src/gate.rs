//! The commit gate: the only code that changes a table (ARCHITECTURE.md, invariant 1).
//!
//! ## Overview
//! [`Gate::commit`] takes staged files with the ranges they cover and returns when the outcome is *known*: committed
//! by us, fenced by somebody else, or to be rebuilt. Each attempt loads the table afresh, lets [`crate::decision`]
//! decide, and sends one commit pinned to exactly the head that was looked at.
//!
//! ## Consistency
//! 1. Rows and position travel in one commit: a snapshot plus the property `k2.source.<id>`. Never one without the other.
//! 2. An attempt is pinned: if the head has moved it does not happen.
//! 3. An answer that does not say is not a failure: the next look at the table tells (`k2.source` names the batch).
//! 4. No staged file is deleted here, whatever the outcome.
//!
//! ## Retries, cancellation, crash leftovers
//! Retries are without limit, with jittered back-off, and visible ([`k2_model::patience`]). Dropping the future at any
//! point is safe: the table then holds all of the batch or nothing of it. A crash leaves files that nobody refers to.
//!
//! A silver batch decides on its rejects with its commit; [`Settler`] brings them into the DLQ table.
//!
//! Not here: what a position means to Kafka (source), when to commit (engine).

mod attempts;
mod door;
mod set;
mod settle;

pub use set::{MOVED, Moves, moves};
pub use settle::{Settler, intent};

use crate::catalog::Catalog;
use crate::decision::{After, Decision, Proposal, decide};
use crate::snapshot::{self, Added};
use attempts::Attempts;
use door::{Door, first_missing};
use iceberg::spec::DataFile;
use iceberg::table::Table;
use iceberg::{TableIdent, TableUpdate};
use k2_model::{Class, Error, Result, SourceId, SourceState, clock};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The gate of one source to one table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    door: Door,
    source: SourceId,
}

/// How a commit ended. Nothing is left open.
#[derive(Debug)]
pub enum Outcome {
    /// The batch is in the table, once.
    Committed(Table),
    /// The table has moved on without us: drop the batch, read the position, settle its intents, go on from there.
    Fenced(Error),
    /// Schema or spec have changed, or a staged file is gone or has waited for an hour: drop the files and read the range
    /// again.
    Rebuild(Error),
}

impl Gate {
    /// A gate for a table and the source that feeds it.
    pub fn new(catalog: Arc<dyn Catalog>, ident: TableIdent, source: SourceId) -> Self {
        Self { door: Door { catalog, ident }, source }
    }

    /// The table's name.
    pub fn ident(&self) -> &TableIdent {
        &self.door.ident
    }

    /// The source.
    pub fn source(&self) -> &SourceId {
        &self.source
    }

    /// The head of the table and our position in it, read afresh; waits for the catalog as long as it takes.
    pub async fn head(&self) -> Result<(Table, Option<SourceState>)> {
        self.door.head(&self.source).await
    }

    /// Commits a batch; see the module's documentation. `staged_at` is when its oldest file was completed (µs).
    pub async fn commit(&self, proposal: &Proposal, files: &[DataFile], staged_at: i64) -> Result<Outcome> {
        let mut attempts = Attempts::new(&self.door, format!("commit to table {}", self.door.ident));
        loop {
            let table = attempts.look().await?;
            let head = self.door.facts(&table, &self.source)?;
            let after = match decide(&head, proposal).map_err(|e| e.at(self.place()))? {
                Decision::Committed => {
                    attempts.over();
                    return Ok(Outcome::Committed(table));
                }
                Decision::Fenced { partition, stands_at, expected } => {
                    let text = |o: Option<_>| {
                        o.map_or_else(|| "no offset".to_owned(), |o: k2_model::NextOffset| o.to_string())
                    };
                    return Ok(Outcome::Fenced(
                        Error::re_read(format!(
                            "another writer has moved the position to {}, expected {}",
                            text(stands_at),
                            text(expected)
                        ))
                        .at(format!("topic {}/{partition}", proposal.identity.topic))
                        .at(self.place()),
                    ));
                }
                Decision::Overtakes { batch, table } => {
                    let what = format!("the rejects of batch {batch} are not known to be in table {table}");
                    return Ok(Outcome::Fenced(Error::re_read(what).at(self.place())));
                }
                Decision::Rebuild => {
                    let e = Error::re_read("the table's schema or partition spec has changed").at(self.place());
                    return Ok(Outcome::Rebuild(e));
                }
                Decision::Commit(after) => after,
            };
            let age = clock::now_micros().saturating_sub(staged_at);
            if age > STAGED_MOST {
                let e = Error::re_read("the batch has waited for an hour: its files may be taken for orphans");
                return Ok(Outcome::Rebuild(e.at(self.place())));
            }
            let first = attempts.still_to_do(&table).await?;
            let updates = match self.prepare(&table, proposal, after, files, !first || age > STAGED_LONG).await {
                Ok(updates) => updates,
                Err(e) if e.class() == Class::Retry => {
                    attempts.not_sent(e).await;
                    continue;
                }
                Err(e) if e.class() == Class::ReRead => return Ok(Outcome::Rebuild(e.at(self.place()))),
                Err(e) => return Err(e.at(self.place())),
            };
            fail::fail_point!("before_commit");
            let done = attempts.send(&table, updates).await;
            fail::fail_point!("after_commit");
            if let Some(table) = done {
                return Ok(Outcome::Committed(table));
            }
        }
    }

    /// Looks for staged files that have waited, and writes manifest and list for this attempt.
    async fn prepare(
        &self,
        table: &Table,
        proposal: &Proposal,
        after: After,
        files: &[DataFile],
        waited: bool,
    ) -> Result<Vec<TableUpdate>> {
        if waited && let Some(file) = first_missing(table, files).await? {
            return Err(Error::re_read("somebody has deleted a staged file").at(file.file_path().to_owned()));
        }
        let metadata = table.metadata();
        let id = snapshot::fresh_id(metadata);
        let state = proposal.state(after, snapshot::sink_snapshot(metadata, id));
        let added = [Added::in_current_form(metadata, files)];
        let mut updates = snapshot::append(table, id, &added, self.summary(proposal)?).await?;
        let property = HashMap::from([(self.source.property_key(), state.to_json()?)]);
        updates.insert(0, TableUpdate::SetProperties { updates: property });
        Ok(updates)
    }

    fn summary(&self, proposal: &Proposal) -> Result<BTreeMap<String, String>> {
        let ranges = serde_json::to_string(&proposal.ranges())
            .map_err(|e| Error::unknown("cannot write the ranges of a batch").caused_by(e))?;
        let mut summary = BTreeMap::from([
            ("k2.batch-uuid".to_owned(), proposal.batch.to_string()),
            ("k2.source".to_owned(), self.source.to_string()),
            ("k2.ranges".to_owned(), ranges),
        ]);
        if let Some(rules) = &proposal.rules {
            summary.insert("k2.rules".to_owned(), rules.clone());
        }
        if let Some(intent) = &proposal.intent {
            summary.insert("k2.dlq-rows".to_owned(), intent.rows.to_string());
        }
        Ok(summary)
    }

    fn place(&self) -> String {
        self.door.place()
    }
}

/// Files that have waited longer than this are looked for before they are committed: somebody's orphan job may have
/// taken them. One minute, in µs.
const STAGED_LONG: i64 = 60_000_000;

/// Files that have waited longer than this are not committed any more: orphan jobs spare young files, and ours counts on
/// no file being staged for longer. One hour, in µs.
const STAGED_MOST: i64 = 3_600_000_000;
