//! A table as it was when the verification began: its positions and its files. Everything refers to this one load, so a
//! writer at work disturbs nothing.

use super::history::ChainKey;
use super::report::{Finding, Findings};
use futures::TryStreamExt;
use iceberg::scan::FileScanTaskDeleteFile;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, ManifestContentType, PrimitiveLiteral, SchemaRef, SnapshotRef, Struct,
};
use iceberg::table::Table;
use k2_lake::decision::Head;
use k2_lake::store::iceberg_error;
use k2_model::ids::PROPERTY_PREFIX;
use k2_model::{Result, SourceId, SourceState};
use std::collections::{BTreeMap, HashMap};

/// The columns that say which Kafka record a row is. Silver and the DLQ name them in their own way.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyColumns {
    pub(super) topic: &'static str,
    /// The incarnation of the topic; none: rows do not tell it, but in `message_id`.
    pub(super) topic_id: Option<&'static str>,
    pub(super) partition: &'static str,
    pub(super) offset: &'static str,
    pub(super) message_id: Option<&'static str>,
}

/// Bronze's.
pub(super) const BRONZE_KEYS: KeyColumns = KeyColumns {
    topic: "topic",
    topic_id: Some("topic_id"),
    partition: "partition",
    offset: "offset",
    message_id: None,
};

/// Those of silver and of the DLQ.
pub(super) const SILVER_KEYS: KeyColumns = KeyColumns {
    topic: "kafka_topic",
    topic_id: None,
    partition: "kafka_partition",
    offset: "kafka_offset",
    message_id: Some("message_id"),
};

/// The field ids of [`KeyColumns`] in this table.
#[derive(Debug, Clone)]
pub(super) struct KeyIds {
    pub(super) topic: i32,
    pub(super) topic_id: Option<i32>,
    pub(super) partition: i32,
    pub(super) offset: i32,
    pub(super) message_id: Option<i32>,
    /// Columns may be null where Spark wrote the row: the table was made before they were added.
    pub(super) optional: bool,
}

/// A live data file, as its manifest entry says.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) path: String,
    pub(super) parquet: bool,
    pub(super) size: u64,
    pub(super) rows: u64,
    pub(super) spec: i32,
    pub(super) partition: Struct,
    pub(super) added_by: Option<i64>,
    /// When it was added, in the order of commits.
    pub(super) sequence: i64,
    /// Bounds of the offset column.
    pub(super) offsets: (Option<i64>, Option<i64>),
    /// Bounds of the partition column.
    pub(super) partitions: (Option<i64>, Option<i64>),
    /// Delete files to apply.
    pub(super) deletes: Vec<FileScanTaskDeleteFile>,
}

/// A table under verification.
pub(super) struct Subject {
    pub(super) table: Table,
    pub(super) snapshot: Option<SnapshotRef>,
    pub(super) keys: KeyIds,
    /// Sources with a position that can be read.
    pub(super) sources: BTreeMap<SourceId, SourceState>,
    /// The position of some source cannot be read.
    pub(super) unreadable: bool,
    pub(super) entries: Vec<Entry>,
    pub(super) delete_files: usize,
}

impl Subject {
    /// Reads positions and manifests; what is wrong with the positions goes to `findings`.
    pub(super) async fn of(table: Table, columns: KeyColumns, findings: &mut Findings) -> Result<Self> {
        let keys = key_ids(table.metadata().current_schema(), columns)?;
        let (mut sources, mut unreadable) = (BTreeMap::new(), false);
        let named = table.metadata().properties().keys().filter_map(|key| key.strip_prefix(PROPERTY_PREFIX));
        for source in named.map(SourceId::new) {
            match Head::of(table.metadata(), &source) {
                Ok(head) => {
                    if let Err(e) = head.check_lineage() {
                        findings.add(Finding::new(format!("{source}: {e}")));
                    }
                    sources.extend(head.state.map(|state| (source, state)));
                }
                Err(e) => {
                    unreadable = true;
                    findings.add(Finding::new(e.to_string()));
                }
            }
        }
        let snapshot = table.metadata().current_snapshot().cloned();
        let mut subject = Self { table, snapshot, keys, sources, unreadable, entries: Vec::new(), delete_files: 0 };
        subject.read_manifests().await?;
        Ok(subject)
    }

    /// The schema that rows are read in.
    pub(super) fn schema(&self) -> &SchemaRef {
        self.table.metadata().current_schema()
    }

    /// Where the sources stand.
    pub(super) fn positions(&self) -> BTreeMap<ChainKey, i64> {
        let each = self.sources.iter().flat_map(|(source, state)| {
            state.topics.iter().flat_map(move |(topic, position)| {
                let each = position.partitions.iter();
                each.map(move |(p, at)| ((source.to_string(), topic.clone(), p.0), at.next.0))
            })
        });
        each.collect()
    }

    async fn read_manifests(&mut self) -> Result<()> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        let list = self.table.manifest_list_reader(snapshot).load().await;
        let list = list
            .map_err(|e| iceberg_error("cannot read the manifest list", e).at(snapshot.manifest_list().to_owned()))?;
        // one manifest at a time, and little of each entry: a table may have a hundred thousand files
        for manifest in list.entries() {
            let content = manifest.load_manifest(self.table.file_io()).await;
            let content =
                content.map_err(|e| iceberg_error("cannot read a manifest", e).at(manifest.manifest_path.clone()))?;
            for entry in content.entries().iter().filter(|e| e.is_alive()) {
                if manifest.content == ManifestContentType::Deletes
                    || entry.data_file().content_type() != DataContentType::Data
                {
                    self.delete_files += 1;
                    continue;
                }
                let mut slim = slim(entry.data_file(), &self.keys, manifest.partition_spec_id);
                slim.added_by = entry.snapshot_id().or(Some(manifest.added_snapshot_id));
                slim.sequence = entry.sequence_number().unwrap_or(manifest.sequence_number);
                self.entries.push(slim);
            }
        }
        // the oldest first: of two rows of one record, the later one is the one too many
        self.entries.sort_by_key(|e| e.sequence);
        if self.delete_files > 0 {
            self.plan_deletes(snapshot.snapshot_id()).await?;
        }
        Ok(())
    }

    /// Which delete files belong to which data file is iceberg's to say.
    async fn plan_deletes(&mut self, snapshot: i64) -> Result<()> {
        let wrong = |e| iceberg_error("cannot plan the reading of a table with delete files", e);
        let scan = self.table.scan().snapshot_id(snapshot).select_empty().build().map_err(wrong)?;
        let mut tasks = scan.plan_files().await.map_err(wrong)?;
        let mut deletes = HashMap::new();
        while let Some(task) = tasks.try_next().await.map_err(wrong)? {
            if !task.deletes.is_empty() {
                deletes.insert(task.data_file_path, task.deletes);
            }
        }
        for entry in &mut self.entries {
            entry.deletes = deletes.get(&entry.path).cloned().unwrap_or_default();
        }
        Ok(())
    }
}

fn key_ids(schema: &SchemaRef, columns: KeyColumns) -> Result<KeyIds> {
    let id = |name: &str| {
        schema.field_id_by_name(name).ok_or_else(|| {
            k2_model::Error::config(format!("column {name} is missing")).fix("this is no table that K2 fills")
        })
    };
    Ok(KeyIds {
        topic: id(columns.topic)?,
        topic_id: columns.topic_id.map(id).transpose()?,
        partition: id(columns.partition)?,
        offset: id(columns.offset)?,
        message_id: columns.message_id.map(id).transpose()?,
        optional: schema.field_by_name(columns.offset).is_some_and(|field| !field.required),
    })
}

fn slim(file: &DataFile, keys: &KeyIds, spec: i32) -> Entry {
    let bound = |bounds: &HashMap<i32, iceberg::spec::Datum>, id: i32| match bounds.get(&id)?.literal() {
        PrimitiveLiteral::Int(value) => Some(i64::from(*value)),
        PrimitiveLiteral::Long(value) => Some(*value),
        _ => None,
    };
    let bounds = |id| (bound(file.lower_bounds(), id), bound(file.upper_bounds(), id));
    Entry {
        path: file.file_path().to_owned(),
        parquet: file.file_format() == DataFileFormat::Parquet,
        size: file.file_size_in_bytes(),
        rows: file.record_count(),
        spec,
        partition: file.partition().clone(),
        added_by: None,
        sequence: 0,
        offsets: bounds(keys.offset),
        partitions: bounds(keys.partition),
        deletes: Vec::new(),
    }
}
