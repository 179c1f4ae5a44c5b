//! SQL over the lake: DataFusion on top of Iceberg's tables, read only.
//!
//! Owns how a statement becomes rows: `statement` makes it one that only reads and gives its tables names that DataFusion
//! takes, `view` loads each table once per query, `table` and `scan` read the files, `predicate` says which files need
//! no reading, `metadata` makes tables of Iceberg's own records. No output formats here, and nothing that writes: a crash
//! leaves nothing behind but spill files in the temporary folder, and every future may be dropped.
//!
//! Invariants:
//! 1. A query sees one snapshot of a table, however often it names it.
//! 2. What is pushed down to the files may let rows pass, never drop one: DataFusion filters again.
//! 3. Sorts, joins and groups stay under the memory limit: they spill or fail. A scan holds, per partition, the selected
//!    columns of one row group (small files: of four).

mod error;
#[cfg(test)]
mod fixture;
mod functions;
mod metadata;
mod names;
mod predicate;
mod queries;
mod scan;
mod statement;
mod table;
mod travel;
mod view;

pub mod split;

pub use queries::{Column, Queries, QueryStream};
