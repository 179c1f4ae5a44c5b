//! What a pipeline does with its records, compiled once.
use crate::Text;
use k2_model::{Error, Result};
use std::time::Duration;

/// What a transform is made of.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The pipeline's name, for messages.
    pub pipeline: String,
    /// The Avro reader schema.
    pub reader_schema: Text,
    /// The SQL projection.
    pub projection: Text,
    /// The rules, TOML.
    pub rules: Text,
    /// `rules.max_future`
    pub max_future: Duration,
    /// `rules.max_age`
    pub max_age: Duration,
    /// `rules.max_record`, bytes.
    pub max_record: u64,
    /// The bronze table's name, for `bronze_source`.
    pub bronze_source: String,
}

/// A compiled transform.
#[derive(Debug)]
pub struct Plan {
    version: String,
}

impl Plan {
    /// Compiles; every mistake is a [`k2_model::Class::Config`] error with its place.
    pub fn compile(definition: &Definition) -> Result<Self> {
        Err(Error::config(format!("{}: being built", definition.pipeline)))
    }
    /// The version of the rules: depends on everything that decides where a record goes.
    pub fn rules_version(&self) -> &str {
        &self.version
    }
}
