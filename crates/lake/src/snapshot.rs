//! Builds the snapshot that appends data files to a table: manifest, manifest list, summary, updates.
//!
//! iceberg's own transaction reloads the table and rebases before every attempt, which lets a stale writer in
//! (docs/adr/0001). This one is built on exactly the head that was validated, and sent once.
//!
//! A crash here leaves a manifest and a manifest list that nothing refers to; the orphan job removes them.

use crate::contract::property;
use iceberg::TableUpdate;
use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, ManifestContentType, ManifestFile, ManifestListWriter, ManifestWriter,
    ManifestWriterBuilder, Operation, PartitionSpecRef, SchemaRef, Snapshot, Summary, TableMetadata,
    TableMetadataBuilder,
};
use iceberg::table::Table;
use k2_model::{Error, Result, SinkSnapshot, SnapshotId, clock};
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// A new id that no snapshot of the table has, positive as Iceberg wants it.
pub(crate) fn fresh_id(table: &TableMetadata) -> SnapshotId {
    loop {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let id = i64::try_from((high ^ low) >> 1).unwrap_or(i64::MAX);
        if id != 0 && table.snapshot_by_id(id).is_none() {
            return SnapshotId(id);
        }
    }
}

/// What the snapshot with this id will be called in a position.
pub(crate) fn sink_snapshot(table: &TableMetadata, id: SnapshotId) -> SinkSnapshot {
    SinkSnapshot { id, sequence: table.next_sequence_number() }
}

/// Files to add, with the form of the table that they were written for: a manifest holds files of one spec.
pub(crate) struct Added<'a> {
    pub(crate) spec: PartitionSpecRef,
    pub(crate) schema: SchemaRef,
    pub(crate) files: &'a [DataFile],
}

impl<'a> Added<'a> {
    /// Files that were written for the table as it is.
    pub(crate) fn in_current_form(table: &TableMetadata, files: &'a [DataFile]) -> Self {
        let (spec, schema) = (table.default_partition_spec().clone(), table.current_schema().clone());
        Self { spec, schema, files }
    }
}

/// Writes manifests and manifest list, and returns the updates that make `id` the head of main.
///
/// `summary` is added to the snapshot's summary. No files: an empty snapshot, which carries properties alone.
pub(crate) async fn append(
    base: &Table,
    id: SnapshotId,
    added: &[Added<'_>],
    summary: BTreeMap<String, String>,
) -> Result<Vec<TableUpdate>> {
    let metadata = base.metadata();
    if metadata.format_version() != FormatVersion::V2 {
        return Err(Error::config("K2 writes Iceberg tables of format version 2 only"));
    }
    let sequence = metadata.next_sequence_number();
    let commit = Uuid::now_v7();
    let parent = metadata.current_snapshot();

    let mut manifests = existing_manifests(base).await?;
    manifests = merged(base, id, manifests, commit).await?;
    for (n, Added { spec, schema, files }) in added.iter().filter(|a| !a.files.is_empty()).enumerate() {
        let mut writer = manifest_writer(base, id, &format!("{commit}-m{n}"), schema, spec)?;
        for file in *files {
            writer.add_file(file.clone(), sequence).map_err(cannot_write)?;
        }
        manifests.insert(n, writer.write_manifest_file().await.map_err(cannot_write)?);
    }

    let list = format!("{}/metadata/snap-{id}-1-{commit}.avro", metadata.location());
    let output = base.file_io().new_output(&list).map_err(cannot_write)?.writer().await.map_err(cannot_write)?;
    let mut writer = ManifestListWriter::v2(output, id.0, parent.map(|s| s.snapshot_id()), sequence);
    writer.add_manifests(manifests.into_iter()).map_err(cannot_write)?;
    writer.close().await.map_err(cannot_write)?;

    let summary = Summary {
        operation: Operation::Append,
        additional_properties: with_totals(parent.map(|s| s.summary()), added, summary),
    };
    let snapshot = Snapshot::builder()
        .with_manifest_list(list)
        .with_snapshot_id(id.0)
        .with_parent_snapshot_id(parent.map(|s| s.snapshot_id()))
        .with_sequence_number(sequence)
        .with_schema_id(metadata.current_schema_id())
        // a clock that went back must not stop commits: Iceberg refuses a snapshot older than the last update
        .with_timestamp_ms(clock::now_millis().max(metadata.last_updated_ms()))
        .with_summary(summary)
        .build();
    // iceberg's builder moves the branch and keeps the retention that somebody may have set for it
    let moved = metadata.clone().into_builder(None).set_branch_snapshot(snapshot, MAIN_BRANCH);
    let built = moved.and_then(TableMetadataBuilder::build);
    Ok(built.map_err(|e| Error::unknown("the new snapshot does not fit the table").caused_by(e))?.changes)
}

fn cannot_write(e: iceberg::Error) -> Error {
    // nothing has been committed yet: to begin again is always right
    Error::retry("cannot write the metadata of a commit").caused_by(e)
}

fn manifest_writer(
    base: &Table,
    id: SnapshotId,
    name: &str,
    schema: &SchemaRef,
    spec: &PartitionSpecRef,
) -> Result<ManifestWriter> {
    let path = format!("{}/metadata/{name}.avro", base.metadata().location());
    let output = base.file_io().new_output(path).map_err(cannot_write)?;
    Ok(ManifestWriterBuilder::new(output, Some(id.0), schema.clone(), spec.as_ref().clone()).build_v2_data())
}

/// The manifests of the head. Those that only record deletions stay: dropping them would bring files back.
async fn existing_manifests(base: &Table) -> Result<Vec<ManifestFile>> {
    let Some(head) = base.metadata().current_snapshot() else { return Ok(Vec::new()) };
    let list = base.manifest_list_reader(head).load().await.map_err(|e| {
        Error::retry("cannot read the manifest list of the current snapshot")
            .caused_by(e)
            .at(head.manifest_list().to_owned())
    })?;
    Ok(list.entries().to_vec())
}

/// Joins small manifests into one when there are many (`commit.manifest.min-count-to-merge`, 100), or every commit
/// would make the next one dearer. Only data manifests of the current spec without deletions take part.
async fn merged(base: &Table, id: SnapshotId, manifests: Vec<ManifestFile>, commit: Uuid) -> Result<Vec<ManifestFile>> {
    let p = base.metadata().properties();
    let (schema, spec_ref) = (base.metadata().current_schema(), base.metadata().default_partition_spec());
    let spec = spec_ref.spec_id();
    let target: i64 = property(p, "commit.manifest.target-size-bytes", 8 << 20);
    let enabled = property(p, "commit.manifest-merge.enabled", true);
    let least: usize = property(p, "commit.manifest.min-count-to-merge", 100);
    let small = |m: &ManifestFile| {
        m.content == ManifestContentType::Data
            && m.partition_spec_id == spec
            && m.manifest_length < target / 2
            && !m.has_deleted_files()
    };
    if !enabled || manifests.iter().filter(|m| small(m)).count() < least {
        return Ok(manifests);
    }
    let mut writer = manifest_writer(base, id, &format!("{commit}-merged"), schema, spec_ref)?;
    let mut out = Vec::new();
    let mut size = 0;
    for manifest in manifests {
        if !small(&manifest) || size > target {
            out.push(manifest);
            continue;
        }
        size += manifest.manifest_length;
        let content = manifest
            .load_manifest(base.file_io())
            .await
            .map_err(|e| Error::retry("cannot read a manifest").caused_by(e).at(manifest.manifest_path.clone()))?;
        for entry in content.entries().iter().filter(|e| e.is_alive()) {
            let (Some(snapshot), Some(sequence)) = (entry.snapshot_id(), entry.sequence_number()) else {
                return Err(Error::halt("a manifest entry has no sequence number").at(manifest.manifest_path.clone()));
            };
            writer
                .add_existing_file(entry.data_file().clone(), snapshot, sequence, entry.file_sequence_number)
                .map_err(cannot_write)?;
        }
    }
    out.push(writer.write_manifest_file().await.map_err(cannot_write)?);
    Ok(out)
}

/// The counts of this append and the totals after it. A total that the parent does not tell stays untold.
fn with_totals(
    parent: Option<&Summary>,
    added: &[Added<'_>],
    mut summary: BTreeMap<String, String>,
) -> HashMap<String, String> {
    let files = || added.iter().flat_map(|a| a.files);
    let count = files().count() as u64;
    let records: u64 = files().map(DataFile::record_count).sum();
    let bytes: u64 = files().map(DataFile::file_size_in_bytes).sum();
    let partitions: HashSet<_> =
        added.iter().flat_map(|a| a.files.iter().map(|f| (a.spec.spec_id(), f.partition()))).collect();
    for (name, added) in [("data-files", count), ("records", records), ("files-size", bytes)] {
        if added > 0 {
            summary.insert(format!("added-{name}"), added.to_string());
        }
    }
    if count > 0 {
        summary.insert("changed-partition-count".to_owned(), partitions.len().to_string());
    }
    let totals = [
        ("total-data-files", count),
        ("total-records", records),
        ("total-files-size", bytes),
        ("total-delete-files", 0),
        ("total-position-deletes", 0),
        ("total-equality-deletes", 0),
    ];
    for (name, added) in totals {
        let before = match parent {
            None => Some(0),
            Some(parent) => parent.additional_properties.get(name).and_then(|v| v.parse::<u64>().ok()),
        };
        if let Some(before) = before {
            summary.insert(name.to_owned(), (before + added).to_string());
        }
    }
    summary.into_iter().collect()
}
