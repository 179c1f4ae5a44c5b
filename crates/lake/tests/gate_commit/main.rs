//! The commit gate against real catalogs: SQLite always; PostgreSQL, the reference REST catalog and Nessie where
//! `K2_TEST_PG_URL`, `K2_TEST_CATALOG_URI` (with `K2_TEST_CATALOG_WAREHOUSE`) and `K2_TEST_NESSIE_URI` name them.
//!
//! `world` holds a table, another engine and the audit; `unruly` is a catalog that misbehaves on demand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod events;
mod fencing;
mod history;
mod race;
mod replies;
mod settling;
mod unruly;
mod world;
