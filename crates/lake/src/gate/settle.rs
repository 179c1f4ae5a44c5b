//! The way of rejects into the DLQ table: intents that silver commits have decided on are carried out here.
//!
//! ## Overview
//! A silver commit stores what it means to put into the DLQ table as an [`Intent`]: data files that are complete in the
//! store, and the ranges that they speak of ([`intent`]). [`Settler::settle`] adds those files to the DLQ table, and
//! returns when they are in it, once, whoever put them there. Intents of several sources travel in one commit: the table
//! is shared, and commits that wait for each other would starve.
//!
//! ## Consistency
//! 1. The rows of an intent and the DLQ table's own position of that source travel in one pinned commit, so the same intent
//!    carried out by two (a zombie, and who took over from it) takes effect once ([`crate::decision::settle`]).
//! 2. No record is routed again: the files were written before the decision, and are taken as they are, under the schema and
//!    partition spec that they were written for.
//! 3. A commit holds one intent per topic at most: each range then has a key of its own in `k2.ranges`.
//!
//! ## Retries, cancellation, crash leftovers
//! As in [`crate::gate`]: retries without limit, any answer but success means to look again, and dropping the future is safe.
//! What a crash leaves undone is pending in the silver table, and carried out by its next owner.

use super::Door;
use super::attempts::Attempts;
use super::door::first_missing;
use crate::catalog::Catalog;
use crate::decision::settle::{Verdict, carried_out, judge, precedes, ranges};
use crate::snapshot::{self, Added};
use iceberg::spec::{
    DataFile, FormatVersion, TableMetadata, deserialize_data_file_from_json, serialize_data_file_to_json,
};
use iceberg::table::Table;
use iceberg::{TableIdent, TableUpdate};
use k2_model::{
    BatchId, Class, ClusterId, Error, Intent, NextOffset, Partition, Result, SourceId, SourceState, TopicIdentity,
    clock,
};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What a silver batch means to put into the DLQ table, for its [`Proposal`](crate::decision::Proposal). `table` is the
/// DLQ table as it was when `files` were written; `rules` are those that rejected the records.
pub fn intent(
    batch: BatchId,
    ident: &TableIdent,
    table: &TableMetadata,
    identity: &TopicIdentity,
    ranges: BTreeMap<Partition, (NextOffset, NextOffset)>,
    rules: Option<String>,
    files: &[DataFile],
) -> Result<Intent> {
    Ok(Intent {
        batch,
        table: ident.to_string(),
        uuid: table.uuid(),
        topic: identity.topic.to_string(),
        topic_id: identity.topic_id.clone(),
        ranges,
        rules,
        rows: files.iter().map(DataFile::record_count).sum(),
        schema: table.current_schema_id(),
        spec: table.default_partition_spec_id(),
        files: files.iter().map(|file| to_json(file, table)).collect::<Result<_>>()?,
    })
}

fn to_json(file: &DataFile, table: &TableMetadata) -> Result<Value> {
    let broken = |e: &dyn std::fmt::Display| Error::unknown(format!("cannot write down a data file: {e}"));
    let text = serialize_data_file_to_json(file.clone(), table.default_partition_type(), FormatVersion::V2);
    let text = text.map_err(|e| broken(&e).at(file.file_path().to_owned()))?;
    let mut json: Value = serde_json::from_str(&text).map_err(|e| broken(&e))?;
    // iceberg writes its maps in the order of their hashes; what is stored has one form
    for value in json.as_object_mut().into_iter().flat_map(|o| o.values_mut()) {
        if let Some(entries) = value.as_array_mut() {
            entries.sort_by_key(|e| e.get("key").and_then(Value::as_i64));
        }
    }
    Ok(json)
}

/// Carries intents out on one DLQ table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Settler {
    door: Door,
}

/// How often a person is not called yet.
const LOOKS: usize = 2;

/// Whose intent, of which Kafka cluster.
type Item = (SourceId, ClusterId, Intent);

impl Settler {
    /// A settler for the DLQ table of this name.
    pub fn new(catalog: Arc<dyn Catalog>, ident: TableIdent) -> Self {
        Self { door: Door { catalog, ident } }
    }

    /// The DLQ table's name.
    pub fn ident(&self) -> &TableIdent {
        &self.door.ident
    }

    /// The head of the DLQ table and a source's position in it, read afresh. Fails if the table was rolled back: rejects
    /// would be missing.
    pub async fn head(&self, source: &SourceId) -> Result<(Table, Option<SourceState>)> {
        self.door.head(source).await
    }

    /// Carries intents out, in as few commits as possible. When it returns `Ok`, all of them are in the table, once.
    pub async fn settle(&self, several: &[Item]) -> Result<()> {
        let mut left: Vec<&Item> = several.iter().collect();
        while !left.is_empty() {
            let what = format!("commit rejects to table {}", self.door.ident);
            let mut attempts = Attempts::new(&self.door, what);
            self.commit(&mut attempts, &mut left).await?;
            attempts.over();
        }
        Ok(())
    }

    /// Makes one commit, and takes what is in the table off the list.
    async fn commit(&self, attempts: &mut Attempts<'_>, left: &mut Vec<&Item>) -> Result<()> {
        let mut looks = 0;
        loop {
            let table = attempts.look().await?;
            self.drop_applied(&table, left)?;
            let now = together(left);
            if now.is_empty() {
                return match left.first() {
                    None => Ok(()),
                    Some((_, _, i)) => Err(Error::unknown(format!("rejects that wait for each other: {}", ranges(i)))),
                };
            }
            let first = attempts.still_to_do(&table).await?;
            let updates = match self.prepare(&table, &now, !first).await {
                Ok(updates) => updates,
                // a halt may come from an old head: the rejects are in already, and the file went with a compaction
                Err(e) if e.class() == Class::Retry || (e.class() == Class::Halt && looks < LOOKS) => {
                    looks += usize::from(e.class() == Class::Halt);
                    attempts.not_sent(e).await;
                    continue;
                }
                Err(e) => return Err(e.at(self.door.place())),
            };
            fail::fail_point!("before_dlq_commit");
            let done = attempts.send(&table, updates).await;
            fail::fail_point!("after_dlq_commit");
            if done.is_some() {
                let in_it: Vec<BatchId> = now.iter().map(|(_, _, i)| i.batch).collect();
                left.retain(|(_, _, i)| !in_it.contains(&i.batch));
                return Ok(());
            }
        }
    }

    fn drop_applied(&self, table: &Table, left: &mut Vec<&Item>) -> Result<()> {
        let mut verdicts = Vec::with_capacity(left.len());
        for (source, cluster, intent) in left.iter().copied() {
            let head = self.door.facts(table, source)?;
            let verdict =
                judge(&head, cluster, intent).map_err(|e| e.at(format!("source {source}")).at(self.door.place()));
            verdicts.push(verdict?);
        }
        let mut verdicts = verdicts.into_iter();
        left.retain(|_| verdicts.next() != Some(Verdict::Applied));
        Ok(())
    }

    /// Looks for files that have waited, and writes manifests and list for this attempt.
    async fn prepare(&self, table: &Table, now: &[&Item], again: bool) -> Result<Vec<TableUpdate>> {
        let metadata = table.metadata();
        let mut added = Vec::new();
        for (_, _, intent) in now {
            let files = Written::read(metadata, intent)?;
            if (again || has_waited(intent.batch))
                && let Some(file) = first_missing(table, &files.files).await?
            {
                return Err(lost(intent).at(file.file_path().to_owned()));
            }
            added.push(files);
        }
        let id = snapshot::fresh_id(metadata);
        let mut states: BTreeMap<&SourceId, SourceState> = BTreeMap::new();
        for (source, cluster, intent) in now {
            let before = match states.remove(source) {
                Some(state) => Some(state),
                None => self.door.facts(table, source)?.state,
            };
            let sink = snapshot::sink_snapshot(metadata, id);
            states.insert(source, carried_out(before, cluster, intent, sink));
        }
        let added: Vec<Added<'_>> = added.iter().map(Written::added).collect();
        let mut updates = snapshot::append(table, id, &added, summary(now)?).await?;
        let properties = states.iter().map(|(source, state)| Ok((source.property_key(), state.to_json()?)));
        let properties = properties.collect::<Result<HashMap<_, _>>>()?;
        updates.insert(0, TableUpdate::SetProperties { updates: properties });
        Ok(updates)
    }
}

/// What may travel in one commit: one intent per topic, none before an earlier one of its source.
fn together<'a>(left: &[&'a Item]) -> Vec<&'a Item> {
    let mut now: Vec<&Item> = Vec::new();
    for item @ (source, _, intent) in left.iter().copied() {
        let topic_taken = now.iter().any(|(_, _, i)| i.topic == intent.topic);
        let too_early = left.iter().any(|(s, _, i)| s == source && precedes(i, intent));
        if !topic_taken && !too_early {
            now.push(item);
        }
    }
    now
}

/// The snapshot's summary: what came from whom. Values of several intents are joined by commas, each named once.
fn summary(now: &[&Item]) -> Result<BTreeMap<String, String>> {
    let mut ranges: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let (mut batches, mut sources, mut rules) = (Vec::new(), Vec::new(), Vec::new());
    for (source, _, intent) in now {
        batches.push(intent.batch.to_string());
        sources.push(source.to_string());
        rules.push(intent.rules.clone().unwrap_or_default());
        let of = intent.ranges.iter().map(|(p, (from, to))| (format!("{}/{p}", intent.topic), (from.0, to.0)));
        ranges.extend(of);
    }
    let ranges = serde_json::to_string(&ranges)
        .map_err(|e| Error::unknown("cannot write the ranges of a commit").caused_by(e))?;
    let mut summary = BTreeMap::from([
        ("k2.batch-uuid".to_owned(), batches.join(",")),
        ("k2.source".to_owned(), distinct(sources)),
        ("k2.ranges".to_owned(), ranges),
    ]);
    let rules = distinct(rules);
    if !rules.is_empty() {
        summary.insert("k2.rules".to_owned(), rules);
    }
    Ok(summary)
}

fn distinct(texts: Vec<String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for text in texts {
        if !text.is_empty() && !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen.join(",")
}

/// An intent's files, with the form of the table that they were written for.
struct Written {
    files: Vec<DataFile>,
    spec: iceberg::spec::PartitionSpecRef,
    schema: iceberg::spec::SchemaRef,
}

impl Written {
    fn read(table: &TableMetadata, intent: &Intent) -> Result<Self> {
        let gone = |what: &str, id: i32| {
            Error::halt(format!(
                "the DLQ table has forgotten {what} {id}, for which the rejects of {} were written",
                ranges(intent)
            ))
            .fix("give these rejects up with `k2 offsets accept-loss` (bronze has the records)")
        };
        let schema = table.schema_by_id(intent.schema).ok_or_else(|| gone("schema", intent.schema))?;
        let spec = table.partition_spec_by_id(intent.spec).ok_or_else(|| gone("partition spec", intent.spec))?;
        let broken = |e: iceberg::Error| {
            Error::halt(format!("the intent for the rejects of {} cannot be read", ranges(intent)))
                .caused_by(e)
                .fix("restore the silver table's property from a previous metadata file")
        };
        let kind = spec.partition_type(schema).map_err(broken)?;
        let files =
            intent.files.iter().map(|f| deserialize_data_file_from_json(&f.to_string(), intent.spec, &kind, schema));
        let files = files.collect::<iceberg::Result<_>>().map_err(broken)?;
        Ok(Self { files, spec: Arc::clone(spec), schema: Arc::clone(schema) })
    }

    fn added(&self) -> Added<'_> {
        Added { spec: Arc::clone(&self.spec), schema: Arc::clone(&self.schema), files: &self.files }
    }
}

/// Whether a batch was begun long enough ago for somebody's orphan job to have taken its files: its id tells.
fn has_waited(batch: BatchId) -> bool {
    let begun = batch.0.get_timestamp().map(|t| t.to_unix());
    let age = begun.map(|(seconds, _)| clock::now_millis() / 1000 - i64::try_from(seconds).unwrap_or(0));
    age.is_none_or(|seconds| !(0..super::STAGED_LONG / 1_000_000).contains(&seconds))
}

fn lost(intent: &Intent) -> Error {
    Error::halt(format!(
        "somebody has deleted a file on its way to the DLQ table: the {} rejects of {} are lost to it",
        intent.rows,
        ranges(intent)
    ))
    .fix("put the file back (an older version of the object, a backup); or give these rejects up with `k2 offsets accept-loss` (bronze has the records)")
}

#[cfg(test)]
#[path = "settle/tests.rs"]
mod tests;
