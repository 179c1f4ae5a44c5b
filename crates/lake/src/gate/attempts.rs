//! One pinned commit, tried until its outcome is known: what every way to change a table has in common.
//!
//! The caller's loop is always the same. [`Attempts::look`]; decide on that head, and be done if nothing is left to do;
//! [`Attempts::still_to_do`]; prepare the commit; [`Attempts::send`]; look again unless it says that it is in.

use super::Door;
use crate::catalog::CommitFailure;
use iceberg::TableUpdate;
use iceberg::table::Table;
use k2_model::patience::Patience;
use k2_model::retry::Backoff;
use k2_model::{Error, Result};
use std::time::Duration;

/// See the module.
pub(super) struct Attempts<'a> {
    door: &'a Door,
    patience: Patience,
    /// The base that a commit was refused on, and why.
    refused: Option<(Base, Error)>,
    conflicted: Option<Base>,
    conflicts: Backoff,
    /// Nothing has been prepared yet.
    first: bool,
}

impl<'a> Attempts<'a> {
    /// Attempts at something, named as the log shall name it.
    pub(super) fn new(door: &'a Door, what: String) -> Self {
        let conflicts = Backoff::new(Duration::from_millis(10), Duration::from_secs(2));
        Self { door, patience: Patience::new(what), refused: None, conflicted: None, conflicts, first: true }
    }

    /// The table as it is now; waits for the catalog as long as it takes.
    pub(super) async fn look(&mut self) -> Result<Table> {
        self.door.load(&mut self.patience).await
    }

    /// The outcome is known.
    pub(super) fn over(&mut self) {
        self.patience.over();
    }

    /// There is something left to do on this head. Fails if it was refused for a reason that will not go away - unless
    /// the table has moved since: a commit to another branch takes the sequence number of ours. True the first time.
    pub(super) async fn still_to_do(&mut self, table: &Table) -> Result<bool> {
        match self.refused.take() {
            Some((base, e)) if base == Base::of(table) => return Err(e),
            Some((_, e)) => self.patience.wait(&e).await,
            None => {}
        }
        Ok(std::mem::take(&mut self.first))
    }

    /// The attempt did not come to be sent.
    pub(super) async fn not_sent(&mut self, e: Error) {
        self.patience.wait(&e.at(self.door.place())).await;
    }

    /// Sends one attempt. None: not known to be in, look again.
    pub(super) async fn send(&mut self, table: &Table, updates: Vec<TableUpdate>) -> Option<Table> {
        match self.door.catalog.commit(table, updates).await {
            Ok(table) => {
                self.patience.over();
                return Some(table);
            }
            Err(CommitFailure::Refused(e)) => self.refused = Some((Base::of(table), e.at(self.door.place()))),
            // not a failure: somebody was faster. Twice on the same base is one: we are shown an old head
            Err(CommitFailure::Conflict(e)) => {
                let base = Base::of(table);
                if self.conflicted.as_ref() == Some(&base) {
                    self.patience.wait(&e.at(self.door.place())).await;
                } else {
                    tracing::debug!(table = %self.door.ident, error = %e, "conflict; looking again");
                    tokio::time::sleep(self.conflicts.pause()).await;
                }
                self.conflicted = Some(base);
            }
            Err(CommitFailure::NotApplied(e) | CommitFailure::Unknown(e)) => {
                self.patience.wait(&e.at(self.door.place())).await;
            }
        }
        None
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
