//! The promises, checked from the tables alone, and against Kafka where that is asked for (`k2 verify`).
//!
//! ## Overview
//! Each table is loaded once ([`subject`]); everything refers to that snapshot. Its summaries give the chains of ranges
//! ([`history`]); its files are read one after the other, key columns only ([`files`]), into bitmaps of offsets
//! ([`sets`]), against which every promise is held ([`book`]). With Kafka, records and rows are compared by content
//! ([`kafka`]).
//!
//! ## Invariants
//! 1. Nothing is written, neither to a table nor to Kafka.
//! 2. Memory does not grow with the rows: bitmaps take some MiB for 100 million offsets in runs, digests 16 bytes for 4,096
//!    offsets, and of a file one row group of the wanted columns is held, a few files at a time.
//! 3. What could not be looked at is a finding or an error, never "ok".
//!
//! A crash leaves nothing behind; dropping the future is safe.

mod book;
mod content;
mod digest;
mod files;
pub(crate) mod history;
mod kafka;
mod report;
mod rows;
mod sets;
mod subject;

pub use report::{Check, Finding, Promise, Report, TableReport, grouped};

use crate::config::{Config, Pipeline};
use crate::connect;
use book::Book;
use k2_lake::catalog::Catalog;
use k2_lake::contract;
use k2_model::{Error, Result};
use kafka::Cluster;
pub(crate) use report::Findings;
use std::sync::Arc;
use std::time::Instant;
use subject::{BRONZE_KEYS, Subject};

/// What to verify.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The pipelines whose tables are meant; empty: all enabled ones.
    pub pipelines: Vec<String>,
    /// Compare with what Kafka still has.
    pub kafka: bool,
}

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading the keys of the table's files.
    Files,
    /// Reading Kafka.
    Kafka,
    /// Reading the table's files whole.
    Content,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The table.
    pub table: &'a str,
    /// The part of the work.
    pub phase: Phase,
    /// Files, or offsets of Kafka, done.
    pub done: u64,
    /// Of so many.
    pub of: u64,
    /// Rows read in this phase.
    pub rows: u64,
}

/// Who wants to know how far it is.
pub type Watch = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

/// Checks the promises.
///
/// # Errors
/// What keeps it from looking: a missing table, a catalog, store or broker that does not answer. What is wrong with the
/// data is no error but in the report.
pub async fn verify(config: &Config, options: &Options, watch: &Watch) -> Result<Report> {
    let pipelines = config.select(&options.pipelines)?;
    let stores = connect::stores(config);
    let catalog = connect::catalog(config, &stores).await?;
    // groups first: the table only moves forward after that
    let cluster = if options.kafka { Some(Cluster::ask(config, &pipelines).await?) } else { None };
    let mut tables: Vec<(&str, Vec<&Pipeline>)> = Vec::new();
    for pipeline in pipelines {
        match tables.iter_mut().find(|(table, _)| *table == pipeline.table) {
            Some((_, feeding)) => feeding.push(pipeline),
            None => tables.push((&pipeline.table, vec![pipeline])),
        }
    }
    let mut loaded = Vec::new();
    for (name, feeding) in tables {
        loaded.push(load(config, catalog.as_ref(), name, feeding).await?);
    }
    let mut report = Report { tables: Vec::new() };
    for table in loaded {
        report.tables.push(check(table, catalog.as_ref(), cluster.as_ref(), watch).await?);
    }
    Ok(report)
}

/// A table with what is known of it before a file is read.
struct Loaded<'a> {
    name: String,
    pipelines: Vec<&'a Pipeline>,
    subject: Subject,
    positions: Findings,
}

async fn load<'a>(
    config: &Config,
    catalog: &dyn Catalog,
    name: &str,
    pipelines: Vec<&'a Pipeline>,
) -> Result<Loaded<'a>> {
    let ident = connect::ident(config, name)?;
    let table = contract::bronze().open(catalog, &ident, false).await?;
    let mut positions = Findings::default();
    let subject = Subject::of(table, BRONZE_KEYS, &mut positions).await;
    let subject = subject.map_err(|e| e.at(format!("table {ident}")))?;
    Ok(Loaded { name: name.to_owned(), pipelines, subject, positions })
}

async fn check(
    table: Loaded<'_>,
    catalog: &dyn Catalog,
    cluster: Option<&Cluster>,
    watch: &Watch,
) -> Result<TableReport> {
    let started = Instant::now();
    let Loaded { name, pipelines, subject, positions } = table;
    let at = |e: Error| e.at(format!("table {}", subject.table.identifier()));
    let mut book = Book::open(&name, &subject, positions);
    book.read_files(watch).await.map_err(at)?;
    if book.misses_files() {
        still_there(catalog, &subject).await.map_err(at)?;
    }
    let mut checks = Vec::new();
    if let Some(cluster) = cluster {
        let mut comparison = kafka::Comparison::new(&name, &book, cluster, watch);
        for pipeline in &pipelines {
            comparison.compare(pipeline).await.map_err(at)?;
        }
        checks = comparison.into_checks();
    }
    let mut report = book.close(pipelines.iter().map(|p| p.name.clone()).collect());
    report.checks.extend(checks);
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Files of a snapshot may go when it has expired: then the verification came too late, and nothing is wrong.
async fn still_there(catalog: &dyn Catalog, subject: &Subject) -> Result<()> {
    let now = catalog.load(subject.table.identifier()).await?;
    let snapshot = subject.snapshot.as_ref().map(|s| s.snapshot_id());
    if now.is_some_and(|now| snapshot.is_none_or(|id| now.metadata().snapshot_by_id(id).is_some())) {
        return Ok(());
    }
    Err(Error::retry("the snapshot has expired while its files were being read").fix("verify again"))
}

#[cfg(test)]
#[path = "verify/tests.rs"]
pub(crate) mod tests;
