//! A registry that is no help now: what happened, where, and the way out.
//!
//! Unlike [`Error`] it can be cloned: all who wait for the same id get the same one.

use k2_model::Error;

/// Why there is no answer. Never says anything about an id, never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    what: String,
    at: String,
    fix: &'static str,
    refused: bool,
}

impl Trouble {
    pub(super) fn new(what: impl Into<String>, fix: &'static str) -> Self {
        Self { what: what.into(), at: String::new(), fix, refused: false }
    }

    /// The registry does not let us in: trying again at once is useless, a person must look.
    pub(super) fn refused(what: impl Into<String>, fix: &'static str) -> Self {
        Self { refused: true, ..Self::new(what, fix) }
    }

    pub(super) fn at(mut self, place: impl Into<String>) -> Self {
        self.at = place.into();
        self
    }

    /// Without a secret in what happened.
    pub(super) fn hiding(mut self, secret: &str) -> Self {
        self.what = self.what.replace(secret, "***");
        self
    }

    /// Whether a person must look.
    pub(super) fn is_refusal(&self) -> bool {
        self.refused
    }

    /// One for all the servers that were tried, in that order; none for none.
    pub(super) fn of_all(all: Vec<Self>) -> Option<Self> {
        all.into_iter().reduce(|first, next| Self {
            what: format!("{} [{}]; {}", first.what, first.at, next.what),
            at: next.at,
            fix: if first.refused { first.fix } else { next.fix },
            refused: first.refused || next.refused,
        })
    }

    pub(super) fn error(&self) -> Error {
        let error = Error::retry(&self.what).fix(self.fix);
        if self.at.is_empty() { error } else { error.at(&self.at) }
    }
}
