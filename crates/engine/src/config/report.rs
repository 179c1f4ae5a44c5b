//! Where a value came from, and what is wrong with it.
//!
//! An error names its place so that an editor or a terminal can jump to it: `k2.toml:3:11`, `--set kafka.brokers`,
//! `environment K2_KAFKA__BROKERS`. All errors of a configuration are told at once.

use k2_model::Error;
use std::fmt;
use std::sync::Arc;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The defaults that the binary carries (config/k2.toml), with the line.
    Default(usize),
    /// A file of the user's.
    File {
        /// As it was given.
        path: Arc<str>,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
    },
    /// An environment variable.
    Environment(Arc<str>),
    /// A `--set`, with the key as it was written.
    Set(Arc<str>),
}

impl Origin {
    /// The short form that follows a key in a message of later: `k2.toml:3`.
    pub(super) fn short(&self) -> String {
        match self {
            Self::Default(_) => "default".into(),
            Self::File { path, line, .. } => format!("{path}:{line}"),
            Self::Environment(name) => format!("environment {name}"),
            Self::Set(_) => "--set".into(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(line) => write!(f, "built-in defaults:{line}"),
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Set(key) => write!(f, "--set {key}"),
        }
    }
}

/// One thing that is wrong. Reads as «place: key: what is wrong; what to do».
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub origin: Origin,
    /// The whole key, `kafka.brokers`; empty for an error of the file's syntax.
    pub key: String,
    /// What is wrong and what is allowed.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            // the place names the key already
            Origin::Set(key) if **key == *self.key => {}
            _ if self.key.is_empty() => {}
            origin => return write!(f, "{origin}: {}: {}", self.key, self.problem),
        }
        write!(f, "{}: {}", self.origin, self.problem)
    }
}

/// Everything that is wrong with a configuration, in the order of its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            many => {
                write!(f, "{} errors in the configuration", many.len())?;
                many.iter().try_for_each(|e| write!(f, "\n  {e}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigErrors> for Error {
    fn from(errors: ConfigErrors) -> Self {
        Self::config(errors.to_string())
    }
}

/// Line and column, both from 1, of a byte offset.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// The name that was probably meant.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let far = 1 + name.chars().count() / 4;
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&name, &k.to_lowercase()), k))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}
