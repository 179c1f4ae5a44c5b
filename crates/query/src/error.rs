//! Errors at the border between this crate, DataFusion and Iceberg.
//!
//! An error of ours travels through DataFusion as its `External` and comes out whole. What DataFusion finds wrong with
//! a statement is the asker's to put right ([`Class::Config`]); what fails while reading did not change anything and
//! may work later.

use datafusion::error::DataFusionError;
use k2_model::{Class, Error};

/// Ours, on its way through DataFusion.
pub(crate) fn to_datafusion(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Iceberg's, on its way through DataFusion.
pub(crate) fn iceberg_to_datafusion(table: &str, error: iceberg::Error) -> DataFusionError {
    to_datafusion(reading(table, error))
}

/// Something that Iceberg could not read.
pub(crate) fn reading(table: &str, error: iceberg::Error) -> Error {
    // nothing is changed by reading: the default, to try again, is safe
    let class = match error.kind() {
        iceberg::ErrorKind::DataInvalid | iceberg::ErrorKind::FeatureUnsupported => Class::Reject,
        _ => Class::Retry,
    };
    Error::new(class, "the table can't be read").at(format!("table {table}")).caused_by(error)
}

/// DataFusion's, on its way out.
pub(crate) fn from_datafusion(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(inner) => Error::new(Class::Retry, "the query failed").caused_by(inner),
        },
        DataFusionError::ArrowError(inner, _) => match *inner {
            datafusion::arrow::error::ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => from_datafusion(*inner),
                Err(inner) => Error::new(Class::Reject, "the query failed").caused_by(inner),
            },
            inner => Error::new(Class::Reject, "the query failed").caused_by(inner),
        },
        DataFusionError::Context(said, inner) => {
            let inner = from_datafusion(*inner);
            if inner.what().is_empty() { Error::new(inner.class(), said) } else { inner }
        }
        DataFusionError::Diagnostic(_, inner) => from_datafusion(*inner),
        DataFusionError::Collection(mut all) if !all.is_empty() => from_datafusion(all.swap_remove(0)),
        DataFusionError::Shared(inner) => match std::sync::Arc::try_unwrap(inner) {
            Ok(inner) => from_datafusion(inner),
            Err(inner) => Error::new(Class::Retry, format!("the query failed: {}", inner.strip_backtrace())),
        },
        DataFusionError::ResourcesExhausted(said) => {
            Error::config(format!("the query needs more memory than it may take: {said}"))
                .fix("Select fewer columns or rows, or raise memory.budget")
        }
        DataFusionError::SQL(inner, _) => Error::config(format!("this is not SQL that k2 understands: {inner}")),
        DataFusionError::Plan(said) => Error::config(said),
        error @ (DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_)) => Error::config(error.strip_backtrace()),
        error @ DataFusionError::Execution(_) => Error::new(Class::Reject, error.strip_backtrace()),
        error => Error::new(Class::Retry, "the query failed").caused_by(error),
    }
}
