//! `k2 try`: what would become of some records, told and not done.
//!
//! Owns where such records come from: the end of the topic, read without a group, or a file ([`Form`]). What becomes of
//! them is the work of the same [`Transformer`] that `run` has. Nothing is written, no offset is committed, no table is
//! asked; a crash here leaves nothing behind.
//!
//! Invariants: 1. the rows of a trial are what `run` would write, but for the wall-clock columns and, for a file, the
//! columns that say where in Kafka a record was; 2. an id that the registry does not know is told at once, not after the
//! grace: a person is waiting; 3. a registry that is no help is an error within [`PATIENCE`], not waited for.

mod file;
mod topic;

pub use file::Form;

use crate::config::{Config, Pipeline};
use crate::connect;
use k2_model::{Error, Result, TopicIdentity, clock};
use k2_transform::{Fate, Plan, Resolver, Transformer};
use std::sync::Arc;
use std::time::Duration;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

/// How long the registry may take for all schemas of the records.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most records of one trial: they are held in memory, and so is what becomes of them.
pub const MOST_RECORDS: usize = 10_000;

/// Where the records come from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// The last so many records of the pipeline's topic, over all partitions.
    Topic(usize),
    /// A file.
    File {
        /// Its bytes.
        bytes: Vec<u8>,
        /// How records are written in it.
        form: Form,
    },
}

/// What would become of some records.
#[derive(Debug)]
pub struct Trial {
    /// The cluster and topic that the ids of rows are made of; for a file there is none, and a stand-in is taken.
    pub identity: TopicIdentity,
    /// The version of the rules.
    pub rules_version: String,
    /// One fate a record, in the order of partition and offset; of a file, in the order of the file.
    pub fates: Vec<Fate>,
}

/// Tries the records with a pipeline.
///
/// # Errors
/// A pipeline that is no silver one, or does not compile; a file that is not in its form; brokers or a registry that do
/// not answer.
pub async fn run(config: &Config, pipeline: &str, origin: Origin) -> Result<Trial> {
    let pipeline = config.pipeline(pipeline)?;
    let silver = pipeline.silver().ok_or_else(|| bronze(config, pipeline))?;
    let plan = Arc::new(Plan::compile(&connect::definition(config, pipeline, silver)?)?);
    let schemas = connect::schemas(config)?;
    // said at once rather than after PATIENCE
    schemas.ping().await?;
    let (identity, records) = match origin {
        Origin::Topic(count) => topic::last(connect::kafka(config), &pipeline.topic, count).await?,
        Origin::File { bytes, form } => (file::identity(&pipeline.topic), file::records(&bytes, form)?),
    };
    let rules_version = plan.rules_version().to_owned();
    if records.num_rows() == 0 {
        return Ok(Trial { identity, rules_version, fates: Vec::new() });
    }
    let mut transformer = Transformer::new(plan, Resolver::new(schemas.clone(), Duration::ZERO, &pipeline.name));
    // what `run` would warn of is no news here: it is told of each record
    let preparing = transformer.prepare(&records).with_subscriber(NoSubscriber::default());
    match tokio::time::timeout(PATIENCE, preparing).await {
        Ok(prepared) => prepared?,
        Err(_) => return Err(no_help(schemas.ping().await.err())),
    }
    let now = clock::now_micros();
    let fates = transformer.explain(&identity, &records, now, now)?;
    Ok(Trial { identity, rules_version, fates })
}

fn bronze(config: &Config, pipeline: &Pipeline) -> Error {
    let silver: Vec<&str> = config.pipelines.iter().filter(|p| p.silver().is_some()).map(|p| p.name.as_str()).collect();
    let error = Error::config(format!(
        "{} is a bronze pipeline: it keeps every record as it is, so there is nothing to try",
        pipeline.name
    ));
    match silver.is_empty() {
        true => error.fix("add a silver pipeline to the configuration"),
        false => error.fix(format!("name a silver pipeline: {}", silver.join(", "))),
    }
}

fn no_help(cause: Option<Error>) -> Error {
    let waited = format!("waited {} s for the schemas of the records", PATIENCE.as_secs());
    match cause {
        Some(cause) => cause.at(waited),
        None => Error::retry(waited).fix("try again; `k2 check` tells how the registry is"),
    }
}

/// One record on its way into a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Raw {
    partition: i32,
    offset: i64,
    /// µs
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

/// Records as the source makes them, without headers: no transform sees those.
fn batch(records: &[Raw]) -> Result<arrow::array::RecordBatch> {
    use arrow::array::{
        ArrayRef, BinaryArray, Int32Array, Int64Array, ListArray, RecordBatch, TimestampMicrosecondArray,
    };
    use k2_model::batch::{RAW_SCHEMA, header_field};
    let bytes = |of: fn(&Raw) -> Option<&Vec<u8>>| -> ArrayRef {
        Arc::new(records.iter().map(|r| of(r).map(Vec::as_slice)).collect::<BinaryArray>())
    };
    let times: TimestampMicrosecondArray = records.iter().map(|r| r.timestamp).collect();
    let columns: Vec<ArrayRef> = vec![
        bytes(|r| r.value.as_ref()),
        bytes(|r| r.key.as_ref()),
        Arc::new(ListArray::new_null(header_field(), records.len())),
        Arc::new(records.iter().map(|r| r.partition).collect::<Int32Array>()),
        Arc::new(records.iter().map(|r| r.offset).collect::<Int64Array>()),
        Arc::new(times.with_timezone("+00:00")),
    ];
    RecordBatch::try_new(Arc::clone(&RAW_SCHEMA), columns)
        .map_err(|e| Error::unknown("records did not fit into Arrow columns").caused_by(e))
}
