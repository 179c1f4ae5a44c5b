//! The promises, checked from the tables alone, and against Kafka where that is asked for (`k2 verify`).
//!
//! ## Overview
//! Each table is loaded once ([`subject`]); everything refers to that snapshot. Its summaries give the chains of ranges
//! ([`history`]); its files are read one after the other, key columns only ([`files`]), into bitmaps of offsets
//! ([`sets`]), against which every promise is held ([`book`]). Rows of silver and the DLQ tell their record by its id, too
//! ([`incarnation`]). Then every silver pipeline is held against its bronze table ([`balance`]). With Kafka, records and rows
//! are compared by content ([`kafka`]).
//!
//! A silver pipeline brings its DLQ table and its bronze table along: bronze = silver + DLQ needs all three. They are loaded
//! in the order silver, DLQ, bronze, and [`balance`] says why; they are read in the order bronze, silver, DLQ, because
//! bronze tells topic ids of earlier incarnations.
//!
//! ## Invariants
//! 1. Nothing is written, neither to a table nor to Kafka.
//! 2. Memory does not grow with the rows: bitmaps take some MiB for 100 million offsets in runs, digests 16 bytes for 4,096
//!    offsets, and of a file one row group of the wanted columns is held, a few files at a time.
//! 3. What could not be looked at is a finding or an error, never "ok".
//!
//! A crash leaves nothing behind; dropping the future is safe.

mod balance;
mod book;
mod content;
mod digest;
mod files;
pub(crate) mod history;
mod incarnation;
mod kafka;
mod report;
mod rows;
mod sets;
mod subject;

pub use report::{BalanceReport, Check, Finding, PartitionBalance, Promise, Report, TableReport, grouped};

use crate::config::{Config, Pipeline, PipelineKind};
use crate::connect;
use balance::Pair;
use book::Book;
use incarnation::Incarnations;
use k2_lake::catalog::Catalog;
use k2_lake::contract::{self, TableContract};
use k2_model::{Error, Result};
use kafka::Cluster;
pub(crate) use report::Findings;
use std::sync::Arc;
use std::time::Instant;
use subject::{BRONZE_KEYS, KeyColumns, SILVER_KEYS, Subject};

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
    let mut loaded = load(config, catalog.as_ref(), wanted(&pipelines)).await?;
    // the books borrow the tables
    let positions = loaded.iter_mut().map(|table| std::mem::take(&mut table.positions)).collect();
    let books = read_all(&loaded, positions, catalog.as_ref(), watch).await?;
    let silver = pipelines.iter().filter_map(|pipeline| Some((pipeline, pipeline.silver()?)));
    let pairs: Vec<Pair<'_>> = silver.filter_map(|(pipeline, silver)| Pair::of(pipeline, silver, &books)).collect();
    let mut balances = Vec::new();
    for pair in &pairs {
        let balance = pair.check(catalog.as_ref()).await;
        balances.push(balance.map_err(|e| e.at(format!("pipeline {}", pair.pipeline.name)))?);
    }
    let mut compared = Vec::new();
    for (table, book) in loaded.iter().zip(&books) {
        let started = Instant::now();
        let checks = match &cluster {
            Some(cluster) => compare(table, book, &pairs, cluster, watch).await.map_err(|e| e.at(table.place()))?,
            None => Vec::new(),
        };
        compared.push((checks, started.elapsed()));
    }
    drop(pairs);
    let mut tables = Vec::new();
    for ((book, table), (checks, took)) in books.into_iter().zip(&loaded).zip(compared) {
        let mut report = book.close(table.pipelines.iter().map(|p| p.name.clone()).collect());
        report.checks.extend(checks);
        report.seconds += took.as_secs_f64();
        tables.push(report);
    }
    Ok(Report { tables, balances })
}

/// What a table holds, in the order of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Bronze,
    Silver,
    Dlq,
}

impl Layer {
    fn contract(self) -> TableContract {
        match self {
            Self::Bronze => contract::bronze(),
            Self::Silver => contract::silver(),
            Self::Dlq => contract::dlq(),
        }
    }

    fn keys(self) -> KeyColumns {
        match self {
            Self::Bronze => BRONZE_KEYS,
            Self::Silver | Self::Dlq => SILVER_KEYS,
        }
    }
}

/// A table that the pipelines name.
struct Wanted<'a> {
    layer: Layer,
    name: &'a str,
    /// Those of the pipelines that feed it.
    pipelines: Vec<&'a Pipeline>,
    /// Whether it is only there for the balance: then it need not exist.
    beside: bool,
}

/// The tables of some pipelines, in the order in which they are read.
fn wanted<'a>(pipelines: &[&'a Pipeline]) -> Vec<Wanted<'a>> {
    let mut tables: Vec<Wanted<'a>> = Vec::new();
    let mut want = |layer, name, feeding: Option<&'a Pipeline>| {
        let at = tables.iter().position(|t| t.layer == layer && t.name == name).unwrap_or_else(|| {
            tables.push(Wanted { layer, name, pipelines: Vec::new(), beside: true });
            tables.len() - 1
        });
        if let Some(table) = tables.get_mut(at) {
            table.beside &= feeding.is_none();
            table.pipelines.extend(feeding);
        }
    };
    for pipeline in pipelines {
        match &pipeline.kind {
            PipelineKind::Bronze => want(Layer::Bronze, pipeline.table.as_str(), Some(pipeline)),
            PipelineKind::Silver(silver) => {
                want(Layer::Silver, pipeline.table.as_str(), Some(pipeline));
                want(Layer::Dlq, silver.dlq.as_str(), Some(pipeline));
                if !silver.bronze.is_empty() {
                    want(Layer::Bronze, silver.bronze.as_str(), None);
                }
            }
        }
    }
    tables.sort_by_key(|table| table.layer);
    tables
}

/// A table with what is known of it before a file is read.
struct Loaded<'a> {
    layer: Layer,
    name: &'a str,
    pipelines: Vec<&'a Pipeline>,
    subject: Subject,
    positions: Findings,
}

impl Loaded<'_> {
    fn place(&self) -> String {
        format!("table {}", self.subject.table.identifier())
    }
}

/// Loads silver, then DLQ, then bronze ([`balance`] says why); back in the order of reading. One that need not exist and does
/// not is left out.
async fn load<'a>(config: &Config, catalog: &dyn Catalog, mut wanted: Vec<Wanted<'a>>) -> Result<Vec<Loaded<'a>>> {
    wanted.sort_by_key(|table| match table.layer {
        Layer::Silver => 0,
        Layer::Dlq => 1,
        Layer::Bronze => 2,
    });
    let mut loaded = Vec::new();
    for Wanted { layer, name, pipelines, beside } in wanted {
        let ident = connect::ident(config, name)?;
        if beside && catalog.load(&ident).await?.is_none() {
            continue;
        }
        let table = layer.contract().open(catalog, &ident, false).await?;
        let mut positions = Findings::default();
        let subject = Subject::of(table, layer.keys(), &mut positions).await;
        let subject = subject.map_err(|e| e.at(format!("table {ident}")))?;
        loaded.push(Loaded { layer, name, pipelines, subject, positions });
    }
    loaded.sort_by_key(|table| table.layer);
    Ok(loaded)
}

/// Reads the keys of all tables; bronze's first, because its rows tell topic ids that silver's do not.
async fn read_all<'a>(
    loaded: &'a [Loaded<'_>],
    positions: Vec<Findings>,
    catalog: &dyn Catalog,
    watch: &Watch,
) -> Result<Vec<Book<'a>>> {
    let mut known = Incarnations::default();
    for state in loaded.iter().flat_map(|table| table.subject.sources.values()) {
        known.learn_state(state);
    }
    let mut books = Vec::new();
    for (table, positions) in loaded.iter().zip(positions) {
        let mut book = Book::open(table.name, table.layer, &table.subject, positions, known.clone());
        book.read_files(watch).await.map_err(|e| e.at(table.place()))?;
        if !book.all_read() {
            still_there(catalog, book.subject).await.map_err(|e| e.at(table.place()))?;
        }
        for (topic, id) in book.offsets.keys().filter_map(|key| Some((&key.topic, key.topic_id.as_deref()?))) {
            known.learn_id(topic, id);
        }
        books.push(book);
    }
    Ok(books)
}

/// Bronze against Kafka by itself; silver together with its DLQ table.
async fn compare(
    table: &Loaded<'_>,
    book: &Book<'_>,
    pairs: &[Pair<'_>],
    cluster: &Cluster,
    watch: &Watch,
) -> Result<Vec<Check>> {
    if table.layer == Layer::Dlq || table.pipelines.is_empty() {
        return Ok(Vec::new());
    }
    let mut comparison = kafka::Comparison::new(book, cluster, watch);
    for pipeline in &table.pipelines {
        let pair = pairs.iter().find(|pair| pair.pipeline.name == pipeline.name);
        comparison.compare(pipeline, pair).await?;
    }
    Ok(comparison.into_checks())
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
#[cfg(test)]
pub(crate) mod trio;
