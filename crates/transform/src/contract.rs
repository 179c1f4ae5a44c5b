//! The columns of the silver and DLQ tables.
use arrow::datatypes::{Schema, SchemaRef};
use std::sync::Arc;

/// The silver columns.
pub fn silver_schema() -> SchemaRef {
    Arc::new(Schema::empty())
}

/// The DLQ columns.
pub fn dlq_schema() -> SchemaRef {
    Arc::new(Schema::empty())
}
