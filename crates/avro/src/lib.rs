//! Avro bodies into Arrow columns.
