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
//! Not here: what a position means to Kafka (source), when to commit (engine).

mod set;

pub use set::{MOVED, Moves, moves};

use crate::catalog::{Catalog, CommitFailure};
use crate::decision::{Decision, Head, Proposal, decide};
use k2_model::patience::Patience;
use crate::snapshot;
use iceberg::spec::DataFile;
use iceberg::table::Table;
use iceberg::{TableIdent, TableUpdate};
use k2_model::retry::Backoff;
use k2_model::{Class, Error, Result, SourceId, SourceState, clock};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// The gate of one source to one table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    catalog: Arc<dyn Catalog>,
    ident: TableIdent,
    source: SourceId,
}

/// How a commit ended. Nothing is left open.
#[derive(Debug)]
pub enum Outcome {
    /// The batch is in the table, once.
    Committed(Table),
    /// The table has moved on without us: drop the batch, read the position, go on from there.
    Fenced(Error),
    /// Schema or spec have changed, or a staged file is gone: drop the files and read the range again.
    Rebuild(Error),
}

impl Gate {
    /// A gate for a table and the source that feeds it.
    pub fn new(catalog: Arc<dyn Catalog>, ident: TableIdent, source: SourceId) -> Self {
        Self { catalog, ident, source }
    }

    /// The table's name.
    pub fn ident(&self) -> &TableIdent {
        &self.ident
    }

    /// The source.
    pub fn source(&self) -> &SourceId {
        &self.source
    }

    /// The head of the table and our position in it, read afresh; waits for the catalog as long as it takes.
    pub async fn head(&self) -> Result<(Table, Option<SourceState>)> {
        let mut patience = Patience::new(format!("load table {}", self.ident));
        let table = self.load(&mut patience).await?;
        patience.over();
        let head = Head::of(table.metadata(), &self.source).map_err(|e| e.at(self.place()))?;
        head.check_lineage().map_err(|e| e.at(self.place()))?;
        Ok((table, head.state))
    }

    /// Commits a batch; see the module's documentation. `staged_at` is when its oldest file was completed (µs).
    pub async fn commit(&self, proposal: &Proposal, files: &[DataFile], staged_at: i64) -> Result<Outcome> {
        let mut patience = Patience::new(format!("commit to table {}", self.ident));
        // the base that a commit was refused on, and why
        let mut refused: Option<(Base, Error)> = None;
        let mut first = true;
        let mut conflicted: Option<Base> = None;
        let mut conflicts = Backoff::new(Duration::from_millis(10), Duration::from_secs(2));
        loop {
            let table = self.load(&mut patience).await?;
            let head = Head::of(table.metadata(), &self.source).map_err(|e| e.at(self.place()))?;
            let topics = match decide(&head, proposal).map_err(|e| e.at(self.place()))? {
                Decision::Committed => {
                    patience.over();
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
                Decision::Rebuild => {
                    let e = Error::re_read("the table's schema or partition spec has changed").at(self.place());
                    return Ok(Outcome::Rebuild(e));
                }
                Decision::Commit(topics) => topics,
            };
            // still to be done, and refused for a reason that will not go away - unless the table has moved since: a
            // commit to another branch takes the sequence number of ours
            match refused.take() {
                Some((base, e)) if base == Base::of(&table) => return Err(e),
                Some((_, e)) => patience.wait(&e).await,
                None => {}
            }
            let waited = !first || clock::now_micros().saturating_sub(staged_at) > STAGED_LONG;
            first = false;
            let prepared = self.prepare(&table, proposal, topics, files, waited).await;
            let updates = match prepared {
                Ok(updates) => updates,
                Err(e) if e.class() == Class::Retry => {
                    patience.wait(&e.at(self.place())).await;
                    continue;
                }
                Err(e) if e.class() == Class::ReRead => return Ok(Outcome::Rebuild(e.at(self.place()))),
                Err(e) => return Err(e.at(self.place())),
            };
            fail::fail_point!("before_commit");
            let answer = self.catalog.commit(&table, updates).await;
            fail::fail_point!("after_commit");
            match answer {
                Ok(table) => {
                    patience.over();
                    return Ok(Outcome::Committed(table));
                }
                Err(CommitFailure::Refused(e)) => refused = Some((Base::of(&table), e.at(self.place()))),
                // not a failure: somebody was faster. Twice on the same base is one: we are shown an old head
                Err(CommitFailure::Conflict(e)) => {
                    let base = Base::of(&table);
                    if conflicted.as_ref() == Some(&base) {
                        patience.wait(&e.at(self.place())).await;
                    } else {
                        tracing::debug!(table = %self.ident, error = %e, "conflict; looking again");
                        tokio::time::sleep(conflicts.pause()).await;
                    }
                    conflicted = Some(base);
                }
                Err(CommitFailure::NotApplied(e) | CommitFailure::Unknown(e)) => {
                    patience.wait(&e.at(self.place())).await
                }
            }
        }
    }

    /// Looks for staged files that have waited, and writes manifest and list for this attempt.
    async fn prepare(
        &self,
        table: &Table,
        proposal: &Proposal,
        topics: BTreeMap<String, k2_model::TopicPosition>,
        files: &[DataFile],
        waited: bool,
    ) -> Result<Vec<TableUpdate>> {
        if waited {
            for file in files {
                let there = table.file_io().exists(file.file_path()).await;
                if !there.map_err(|e| Error::retry("cannot look for a staged file").caused_by(e))? {
                    return Err(Error::re_read("somebody has deleted a staged file").at(file.file_path().to_owned()));
                }
            }
        }
        let metadata = table.metadata();
        let id = snapshot::fresh_id(metadata);
        let state = proposal.state(topics, snapshot::sink_snapshot(metadata, id));
        let ranges = serde_json::to_string(&proposal.ranges())
            .map_err(|e| Error::unknown("cannot write the ranges of a batch").caused_by(e))?;
        let summary = BTreeMap::from([
            ("k2.batch-uuid".to_owned(), proposal.batch.to_string()),
            ("k2.source".to_owned(), self.source.to_string()),
            ("k2.ranges".to_owned(), ranges),
        ]);
        let mut updates = snapshot::append(table, id, files, summary).await?;
        let property = HashMap::from([(self.source.property_key(), state.to_json()?)]);
        updates.insert(0, TableUpdate::SetProperties { updates: property });
        Ok(updates)
    }

    async fn load(&self, patience: &mut Patience) -> Result<Table> {
        loop {
            match self.catalog.load(&self.ident).await {
                Ok(Some(table)) => return Ok(table),
                Ok(None) => {
                    return Err(Error::halt("the table is gone")
                        .at(self.place())
                        .fix("if it was dropped on purpose, restart K2: it makes a new table and starts over"));
                }
                Err(e) if matches!(e.class(), Class::Retry | Class::Unknown) => {
                    patience.wait(&e.at(self.place())).await
                }
                Err(e) => return Err(e.at(self.place())),
            }
        }
    }

    fn place(&self) -> String {
        format!("table {}", self.ident)
    }
}

/// Which state of a table an attempt was pinned to.
#[derive(Debug, PartialEq, Eq)]
struct Base {
    metadata: Option<String>,
    sequence: i64,
    changed_at: i64,
}

impl Base {
    fn of(table: &Table) -> Self {
        Self {
            metadata: table.metadata_location().map(str::to_owned),
            sequence: table.metadata().last_sequence_number(),
            changed_at: table.metadata().last_updated_ms(),
        }
    }
}

/// Files that have waited longer than this are looked for before they are committed: somebody's orphan job may have
/// taken them. One minute, in µs.
const STAGED_LONG: i64 = 60_000_000;
