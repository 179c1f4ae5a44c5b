//! What a database error means for the statement that met it.

use crate::catalog::CommitFailure;
use k2_model::{Class, Error};

/// A failed statement.
#[derive(Debug)]
pub(super) enum Fault {
    /// A row with this key is there already. It did not happen.
    Duplicate(sqlx::Error),
    /// It did not happen, and may work later: the database was busy, out of room, or not reached.
    NotApplied(sqlx::Error),
    /// It did not happen, and will not: rights, missing tables, a read-only file.
    Refused(sqlx::Error),
    /// The database file is damaged.
    Damaged(sqlx::Error),
    /// The answer never came.
    Unknown(sqlx::Error),
    /// The answer did not come in time.
    TimedOut,
}

impl Fault {
    /// Takes a database's word for it where it has answered; everything else is unknown.
    pub(super) fn of(e: sqlx::Error) -> Self {
        let Some(database) = e.as_database_error() else {
            return match e {
                sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Self::NotApplied(e),
                sqlx::Error::Configuration(_) => Self::Refused(e),
                e => Self::Unknown(e),
            };
        };
        if database.is_unique_violation() {
            return Self::Duplicate(e);
        }
        let code = database.code().unwrap_or_default().into_owned();
        // SQLSTATE has five characters, SQLite's (extended) result codes are numbers with fewer
        if code.len() == 5 { Self::of_sqlstate(&code, e) } else { Self::of_sqlite(code.parse().ok(), e) }
    }

    fn of_sqlite(code: Option<u32>, e: sqlx::Error) -> Self {
        match code.map(|extended| extended & 0xff) {
            // BUSY, LOCKED, NOMEM, FULL
            Some(5 | 6 | 7 | 13) => Self::NotApplied(e),
            // ERROR (no such table or column), PERM, READONLY, CANTOPEN, TOOBIG, CONSTRAINT, MISMATCH, AUTH, NOTADB
            Some(1 | 3 | 8 | 14 | 18 | 19 | 20 | 23 | 26) => Self::Refused(e),
            // CORRUPT
            Some(11) => Self::Damaged(e),
            _ => Self::Unknown(e),
        }
    }

    fn of_sqlstate(code: &str, e: sqlx::Error) -> Self {
        match code.get(..2).unwrap_or_default() {
            // serialisation failures, resources, locks: rolled back
            "40" if code != "40003" => Self::NotApplied(e),
            "53" | "55" => Self::NotApplied(e),
            // cannot connect now: asked before any statement
            "57" if code == "57P03" => Self::NotApplied(e),
            // data, constraints, authorisation, names, syntax, read-only
            "22" | "23" | "25" | "28" | "3D" | "3F" | "42" => Self::Refused(e),
            // 08 connection, 57P01 shut down in mid-statement, XX internal, …
            _ => Self::Unknown(e),
        }
    }

    /// Whether the statement may have been carried out.
    pub(super) fn may_have_happened(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::TimedOut)
    }

    /// For a statement that changes something.
    pub(super) fn into_error(self, what: &str) -> Error {
        let class = match self {
            Self::Duplicate(_) => Class::Reject,
            Self::NotApplied(_) => Class::Retry,
            Self::Refused(_) => Class::Config,
            Self::Damaged(_) => Class::Halt,
            Self::Unknown(_) | Self::TimedOut => Class::Unknown,
        };
        self.with_cause(Error::new(class, what))
    }

    /// For a statement that only reads: whatever is unclear is worth another try.
    pub(super) fn into_read_error(self, what: &str) -> Error {
        let error = self.into_error(what);
        if error.class() == Class::Unknown { error.with_class(Class::Retry) } else { error }
    }

    /// For the compare-and-swap.
    pub(super) fn into_failure(self, what: &str, at: impl FnOnce(Error) -> Error) -> CommitFailure {
        let kind = match self {
            Self::NotApplied(_) => CommitFailure::NotApplied,
            Self::Duplicate(_) | Self::Refused(_) | Self::Damaged(_) => CommitFailure::Refused,
            Self::Unknown(_) | Self::TimedOut => CommitFailure::Unknown,
        };
        kind(at(self.into_error(what)))
    }

    fn with_cause(self, error: Error) -> Error {
        match self {
            Self::NotApplied(e) | Self::Unknown(e) => error.caused_by(e),
            Self::Duplicate(e) => error.caused_by(e),
            Self::Refused(e) => error.caused_by(e).fix("check catalog.uri and the rights of its user"),
            Self::Damaged(e) => error.caused_by(e).fix("restore the catalog's database from a backup"),
            Self::TimedOut => error.caused_by("no answer from the database in time"),
        }
    }
}
