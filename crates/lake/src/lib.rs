//! The Iceberg side of K2: object stores, catalogs, table contracts, Parquet files and the commit gate.
//!
//! - [`store`] - one pooled client per object store, behind iceberg's `Storage`.
//! - [`catalog`] - SQL and REST catalogs with one pinned attempt per commit.
//! - [`contract`] - the tables by contract: made when missing, checked when there.
//! - [`files`] - record batches to Parquet data files in the warehouse.
//! - [`decision`] - what to do with a batch, given the head of the table: pure.
//! - [`gate`] - the only code that changes a table (ARCHITECTURE.md, invariant 1).
//! - [`live`] - which data files a snapshot holds.

pub mod catalog;
pub mod contract;
pub mod decision;
pub mod files;
pub mod gate;
pub mod live;
pub mod store;

mod bounds;
mod snapshot;
