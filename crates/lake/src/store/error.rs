//! From an object store's error to ours: its class, its place and the way out.
//!
//! A put whose answer was lost is [`Class::Retry`] as well: names are never used twice, so that a file which landed
//! after all is an orphan and nothing worse.

use k2_model::{Class, Error};
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error as StdError;
use std::io::ErrorKind as IoKind;

/// What was going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Read,
    Write,
    Delete,
    List,
}

impl Doing {
    fn verb(self) -> &'static str {
        match self {
            Self::Read => "cannot read the file",
            Self::Write => "cannot write the file",
            Self::Delete => "cannot delete the file",
            Self::List => "cannot list the files",
        }
    }
}

const CREDENTIALS: &str = "check the keys of [store] (or the AWS_… environment) and what they may do there";

pub(super) fn store_error(doing: Doing, location: &str, e: object_store::Error) -> Error {
    use object_store::Error as E;
    let (class, why, fix) = match &e {
        // a read meets a missing object; whatever else is missing is the bucket itself
        E::NotFound { .. } if doing == Doing::Read => (Class::Reject, "it is not there", None),
        E::NotFound { .. } => (
            Class::Config,
            "the bucket or folder does not exist",
            Some("create it, or correct catalog.warehouse and store.endpoint"),
        ),
        E::PermissionDenied { .. } => (Class::Config, "access denied", Some(CREDENTIALS)),
        E::Unauthenticated { .. } => (Class::Config, "the credentials are not accepted", Some(CREDENTIALS)),
        E::AlreadyExists { .. } | E::Precondition { .. } => {
            (Class::Reject, "an object of this name is already there", None)
        }
        E::NotSupported { .. } | E::NotImplemented { .. } | E::UnknownConfigurationKey { .. } => {
            (Class::Config, "the store cannot do this", None)
        }
        E::InvalidPath { .. } => (Class::Config, "a bad path", None),
        _ => generic(&e),
    };
    let mut error = Error::new(class, doing.verb()).at(location);
    // the cause tells status and server text; `why` names it in our words where it knows more
    error = if why.is_empty() { error.caused_by(e) } else { error.caused_by(Because(why, e)) };
    match fix {
        Some(fix) => error.fix(fix),
        None => error,
    }
}

/// Transport, 5xx, and what a local disk has to say.
fn generic(e: &object_store::Error) -> (Class, &'static str, Option<&'static str>) {
    match find::<HttpError>(e).map(HttpError::kind) {
        Some(HttpErrorKind::Connect) => {
            let fix = "check store.endpoint and the network";
            return (Class::Retry, "the object store cannot be reached", Some(fix));
        }
        Some(HttpErrorKind::Timeout) => return (Class::Retry, "no answer in time", None),
        Some(_) => return (Class::Retry, "", None),
        None => {}
    }
    match find::<std::io::Error>(e).map(std::io::Error::kind) {
        Some(IoKind::StorageFull | IoKind::QuotaExceeded) => {
            (Class::Retry, "the disk is full", Some("free some space; work goes on by itself"))
        }
        Some(IoKind::PermissionDenied | IoKind::ReadOnlyFilesystem) => {
            (Class::Config, "access denied", Some("give the process's user the right to write there"))
        }
        Some(IoKind::NotADirectory | IoKind::IsADirectory | IoKind::InvalidFilename) => {
            (Class::Config, "the path cannot be used", Some("correct catalog.warehouse"))
        }
        _ => (Class::Retry, "", None),
    }
}

/// Whether the request may have been carried out although it failed.
pub(super) fn answer_was_lost(e: &object_store::Error) -> bool {
    find::<HttpError>(e).is_some_and(|e| e.kind() != HttpErrorKind::Connect)
}

/// Whether the store refuses a put with a condition as such.
pub(super) fn has_no_conditional_put(e: &object_store::Error) -> bool {
    match e {
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => true,
        // S3's error code; object_store keeps it in the text only
        object_store::Error::Generic { .. } => e.to_string().contains("<Code>NotImplemented</Code>"),
        _ => false,
    }
}

/// Whether an error says that an object is not there.
pub fn is_not_found(e: &Error) -> bool {
    let mut next = e.source();
    while let Some(cause) = next {
        if let Some(store) = cause.downcast_ref::<object_store::Error>() {
            return matches!(store, object_store::Error::NotFound { .. });
        }
        next = cause.source();
    }
    false
}

/// From iceberg's error to ours. What our own storage said inside keeps its class; for the rest the default is
/// [`Class::Unknown`], but broken metadata needs a person.
pub fn iceberg_error(what: impl Into<String>, e: iceberg::Error) -> Error {
    let class = match find::<Error>(&e) {
        Some(ours) => ours.class(),
        None => match e.kind() {
            iceberg::ErrorKind::DataInvalid => Class::Halt,
            iceberg::ErrorKind::FeatureUnsupported => Class::Config,
            iceberg::ErrorKind::CatalogCommitConflicts => Class::ReRead,
            _ => Class::Unknown,
        },
    };
    Error::new(class, what).caused_by(e)
}

/// The other way: iceberg carries our error as its source.
pub(super) fn to_iceberg(e: Error) -> iceberg::Error {
    iceberg::Error::new(iceberg::ErrorKind::Unexpected, e.what().to_owned()).with_source(e)
}

fn find<'a, T: StdError + 'static>(e: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(e);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<T>() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

/// A cause with our words in front.
#[derive(Debug)]
struct Because(&'static str, object_store::Error);

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl StdError for Because {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.1)
    }
}
