//! A bronze table in a real catalog, batches for it, another engine beside us, and the audit at the end.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use iceberg::spec::{
    DataFile, MAIN_BRANCH, ManifestFile, ManifestListWriter, ManifestWriter, ManifestWriterBuilder, Operation,
    Snapshot, Summary, TableMetadataBuilder,
};
use iceberg::table::Table;
use iceberg::{NamespaceIdent, TableIdent, TableUpdate};
use k2_lake::catalog::{self, Catalog, CatalogConfig, Kind};
use k2_lake::contract;
use k2_lake::decision::{Move, Proposal, TableForm};
use k2_lake::files::{TableWriter, partition_of};
use k2_lake::gate::{Gate, Outcome};
use k2_lake::live::live_files;
use k2_lake::store::{Secret, StoreConfig, Stores};
use k2_model::{
    BatchId, ClusterId, NextOffset, Partition, Result, SourceId, SourceState, TopicId, TopicIdentity, clock,
};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const TOPIC: &str = "trades";
const COLUMNS: [&str; 7] =
    ["raw_bytes", "topic", "partition", "offset", "kafka_timestamp", "ingestion_timestamp", "ingestion_date"];

/// Nothing in these tests takes so long. The gate itself waits without limit.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

#[allow(clippy::disallowed_methods, reason = "tests take their servers from the environment")]
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub(crate) struct World {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) stores: Stores,
    pub(crate) ident: TableIdent,
    /// SQLite's file and the catalog's name, where it is one.
    pub(crate) sqlite: Option<(String, String)>,
    /// Nessie shows the head alone.
    pub(crate) lists_history: bool,
    _dir: tempfile::TempDir,
}

/// Files with the proposal to commit them.
pub(crate) struct Staged {
    pub(crate) proposal: Proposal,
    pub(crate) files: Vec<DataFile>,
}

pub(crate) fn source() -> SourceId {
    SourceId::new("k2-bronze-test")
}

pub(crate) fn identity() -> Arc<TopicIdentity> {
    let topic_id = Some(TopicId::new("AAAAAAAAAAAAAAAAAAAAAQ"));
    Arc::new(TopicIdentity { cluster_id: ClusterId::new("cluster-1"), topic: TOPIC.into(), topic_id })
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display().to_string();
        Self::open(dir, Kind::Sql, format!("sqlite:{root}/catalog.db"), format!("{root}/warehouse")).await
    }

    /// Every catalog that is at hand.
    pub(crate) async fn all() -> Vec<Self> {
        let mut all = vec![Self::sqlite().await];
        if let Some(uri) = env("K2_TEST_PG_URL") {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().display().to_string();
            all.push(Self::open(dir, Kind::Sql, uri, root).await);
        }
        if let Some(uri) = env("K2_TEST_CATALOG_URI") {
            let warehouse = env("K2_TEST_CATALOG_WAREHOUSE").unwrap_or_default();
            all.push(Self::open(tempfile::tempdir().unwrap(), Kind::Rest, uri, warehouse).await);
        }
        if let Some(uri) = env("K2_TEST_NESSIE_URI") {
            let nessie = Self::open(tempfile::tempdir().unwrap(), Kind::Rest, uri, "warehouse".to_owned()).await;
            all.push(Self { lists_history: false, ..nessie });
        }
        all
    }

    async fn open(dir: tempfile::TempDir, kind: Kind, uri: String, warehouse: String) -> Self {
        let name = format!("k2-gate-{}", uuid::Uuid::new_v4().simple());
        let stores = Stores::new(StoreConfig {
            endpoint: env("K2_TEST_S3_ENDPOINT"),
            access_key: env("AWS_ACCESS_KEY_ID"),
            secret_key: env("AWS_SECRET_ACCESS_KEY").map(Secret::new),
            ..StoreConfig::default()
        });
        let sqlite = uri.strip_prefix("sqlite:").map(|file| (file.to_owned(), name.clone()));
        let config = CatalogConfig {
            kind,
            name,
            uri,
            warehouse,
            properties: BTreeMap::new(),
            request_timeout: Duration::from_secs(30),
        };
        let catalog = catalog::connect(&config, &stores).await.unwrap();
        let namespace = NamespaceIdent::new(format!("gate_{}", uuid::Uuid::new_v4().simple()));
        let world = Self {
            catalog,
            stores,
            ident: TableIdent::new(namespace, "bronze".to_owned()),
            sqlite,
            lists_history: true,
            _dir: dir,
        };
        world.create().await;
        world
    }

    pub(crate) async fn create(&self) -> Table {
        contract::bronze().open(self.catalog.as_ref(), &self.ident, true).await.unwrap()
    }

    pub(crate) fn gate(&self) -> Gate {
        self.gate_over(Arc::clone(&self.catalog))
    }

    pub(crate) fn gate_over(&self, catalog: Arc<dyn Catalog>) -> Gate {
        Gate::new(catalog, self.ident.clone(), source())
    }

    pub(crate) async fn table(&self) -> Table {
        self.catalog.load(&self.ident).await.unwrap().unwrap()
    }

    /// What the table's property says, nothing checked.
    pub(crate) async fn state(&self) -> Option<SourceState> {
        let key = source().property_key();
        let table = self.table().await;
        table.metadata().properties().get(&key).map(|text| SourceState::parse(&key, text).unwrap())
    }

    pub(crate) async fn next(&self, partition: i32) -> Option<i64> {
        self.state().await?.partition(TOPIC, Partition(partition)).map(|p| p.next.0)
    }

    /// Writes one file with a row for each offset, for the table as it is now.
    pub(crate) async fn write(&self, table: &Table, parts: &[(i32, Range<i64>)]) -> Vec<DataFile> {
        let offsets: Vec<_> = parts.iter().flat_map(|(p, r)| r.clone().map(move |o| (*p, o))).collect();
        let now = clock::now_micros();
        let n = offsets.len();
        let stamp = || TimestampMicrosecondArray::from_value(now, n).with_timezone("+00:00");
        let mut writer = TableWriter::new(&table.metadata_ref(), &self.stores, &COLUMNS).unwrap();
        let kafka_timestamp = new_null_array(stamp().data_type(), n);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(BinaryArray::from_iter_values(offsets.iter().map(|(p, o)| format!("{p}/{o}")))),
            Arc::new(StringArray::from_iter_values(offsets.iter().map(|_| TOPIC))),
            Arc::new(Int32Array::from_iter_values(offsets.iter().map(|(p, _)| *p))),
            Arc::new(Int64Array::from_iter_values(offsets.iter().map(|(_, o)| *o))),
            kafka_timestamp,
            Arc::new(stamp()),
            Arc::new(Date32Array::from_value(clock::day_of(now), n)),
        ];
        let rows = RecordBatch::try_new(Arc::clone(writer.schema()), columns).unwrap();
        writer.write(&rows, &partition_of(table.metadata(), now).unwrap()).await.unwrap();
        writer.finish().await.unwrap()
    }

    /// Stages ranges on top of a position that a writer has seen.
    pub(crate) async fn stage(&self, table: &Table, seen: Option<&SourceState>, parts: &[(i32, Range<i64>)]) -> Staged {
        let files = self.write(table, parts).await;
        let moves = parts.iter().map(|(p, r)| {
            let m = Move {
                expected: seen.and_then(|s| s.partition(TOPIC, Partition(*p))).map(|x| x.next),
                from: NextOffset(r.start),
                to: NextOffset(r.end),
                leader_epoch: None,
                last: None,
            };
            (Partition(*p), m)
        });
        let proposal = Proposal {
            source: source(),
            batch: BatchId::fresh(),
            identity: identity(),
            table: TableForm::of(table.metadata()),
            moves: moves.collect(),
            rules: None,
            intent: None,
            settled: Vec::new(),
        };
        Staged { proposal, files }
    }

    /// Stages ranges on top of what the table says now.
    pub(crate) async fn stage_now(&self, parts: &[(i32, Range<i64>)]) -> Staged {
        let state = self.state().await;
        self.stage(&self.table().await, state.as_ref(), parts).await
    }

    /// Stages and commits through an honest gate.
    pub(crate) async fn commit(&self, parts: &[(i32, Range<i64>)]) -> Table {
        let staged = self.stage_now(parts).await;
        match staged.commit(&self.gate()).await.unwrap() {
            Outcome::Committed(table) => table,
            other => panic!("not committed: {other:?}"),
        }
    }

    /// Updates from another engine, by the book: on the current head.
    pub(crate) async fn update(&self, updates: Vec<TableUpdate>) -> Table {
        self.catalog.commit(&self.table().await, updates).await.unwrap()
    }

    /// What a builder does to the current metadata, as another engine's commit.
    pub(crate) async fn alter(&self, change: impl FnOnce(TableMetadataBuilder) -> TableMetadataBuilder) -> Table {
        let table = self.table().await;
        let built = change(table.metadata().clone().into_builder(None)).build().unwrap();
        self.catalog.commit(&table, built.changes).await.unwrap()
    }

    /// Another engine takes data files away and adds some: append, compaction, delete. It knows nothing of us.
    pub(crate) async fn rewrite(
        &self,
        operation: Operation,
        branch: &str,
        remove: impl Fn(&DataFile) -> bool,
        add: &[DataFile],
    ) -> Table {
        let table = self.table().await;
        let (snapshot, _) = rewritten(&table, operation, branch, remove, add).await;
        self.alter(|b| b.set_branch_snapshot(snapshot, branch).unwrap()).await
    }

    /// A compaction of the whole table into one file.
    pub(crate) async fn compact(&self) -> Table {
        let table = self.table().await;
        let mut parts: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for (partition, offset, _) in rows(&table).await {
            parts.entry(partition).or_default().push(offset);
        }
        let parts: Vec<_> = parts
            .into_iter()
            .map(|(p, o)| {
                let (first, last) = (*o.iter().min().unwrap(), *o.iter().max().unwrap());
                assert_eq!(usize::try_from(last - first).unwrap() + 1, o.len(), "compacts ranges without holes only");
                (p, first..last + 1)
            })
            .collect();
        let files = self.write(&table, &parts).await;
        self.rewrite(Operation::Replace, MAIN_BRANCH, |_| true, &files).await
    }

    /// Expires all snapshots but the head of main.
    pub(crate) async fn expire_all_but_head(&self) -> Table {
        let table = self.table().await;
        let head = table.metadata().current_snapshot_id();
        let old: Vec<_> =
            table.metadata().snapshots().map(|s| s.snapshot_id()).filter(|id| Some(*id) != head).collect();
        self.alter(|b| b.remove_snapshots(&old)).await
    }

    /// Looks through the whole table for what must never be. `Err` says what was found.
    pub(crate) async fn audit(&self) -> Result<Audit, String> {
        let table = self.table().await;
        let mut positions = BTreeMap::new();
        if let Some(state) = self.state().await {
            let topic = state.topics.get(TOPIC).ok_or("the position has lost its topic")?;
            positions = topic.partitions.iter().map(|(p, x)| (p.0, x.next.0)).collect();
        }
        let mut seen: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
        let rows = rows(&table).await;
        for (partition, offset, value) in &rows {
            if !seen.entry(*partition).or_default().insert(*offset) {
                return Err(format!("twice: {partition}/{offset}"));
            }
            if *value != format!("{partition}/{offset}") {
                return Err(format!("{partition}/{offset} holds {value}"));
            }
        }
        for (partition, offsets) in &seen {
            let next = positions.get(partition).copied().unwrap_or_default();
            if let Some(beyond) = offsets.range(next..).next() {
                return Err(format!("beyond the position {next}: {partition}/{beyond}"));
            }
        }
        for (partition, next) in &positions {
            let offsets = seen.entry(*partition).or_default();
            if let Some(lost) = (0..*next).find(|o| !offsets.contains(o)) {
                return Err(format!("lost: {partition}/{lost}"));
            }
        }
        let (live, snapshots) = files_and_ranges(&table).await?;
        if live != rows.len() {
            return Err(format!("manifests tell of {live} rows, a scan finds {}", rows.len()));
        }
        Ok(Audit { rows: rows.len(), snapshots, positions, lists_history: self.lists_history })
    }
}

/// What an audit that found nothing wrong has seen.
#[derive(Debug, PartialEq)]
pub(crate) struct Audit {
    pub(crate) rows: usize,
    /// Snapshots of ours on main.
    pub(crate) snapshots: usize,
    pub(crate) positions: BTreeMap<i32, i64>,
    lists_history: bool,
}

impl Audit {
    /// So many rows, in so many commits of ours: as far as the catalog tells of old ones.
    #[track_caller]
    pub(crate) fn is(&self, rows: usize, snapshots: usize) {
        let snapshots = if self.lists_history { snapshots } else { 1 };
        assert_eq!((self.rows, self.snapshots), (rows, snapshots));
    }
}

impl Staged {
    pub(crate) async fn commit(&self, gate: &Gate) -> Result<Outcome> {
        let commit = gate.commit(&self.proposal, &self.files, clock::now_micros());
        tokio::time::timeout(DEADLINE, commit).await.expect("the gate does not come to an end")
    }
}

/// (partition, offset, value) of every row of ours on main.
pub(crate) async fn rows(table: &Table) -> Vec<(i32, i64, String)> {
    if table.metadata().current_snapshot().is_none() {
        return Vec::new();
    }
    let scan = table.scan().select(["partition", "offset", "raw_bytes"]).build().unwrap();
    let batches: Vec<RecordBatch> = scan.to_arrow().await.unwrap().try_collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in &batches {
        let column = |name| batch.column_by_name(name).unwrap();
        let (partition, offset) =
            (column("partition").as_primitive::<Int32Type>(), column("offset").as_primitive::<Int64Type>());
        // Arrow's large or small binary, as the reader likes
        let value = arrow::compute::cast(column("raw_bytes"), &arrow::datatypes::DataType::Binary).unwrap();
        let value = value.as_binary::<i32>();
        rows.extend(
            (0..batch.num_rows())
                .map(|i| (partition.value(i), offset.value(i), String::from_utf8(value.value(i).to_vec()).unwrap())),
        );
    }
    rows
}

/// The row count of the live files, none of them listed twice, and how many of our snapshots main has. Their ranges
/// must abut as far as the history goes back.
async fn files_and_ranges(table: &Table) -> Result<(usize, usize), String> {
    let metadata = table.metadata();
    let Some(head) = metadata.current_snapshot() else { return Ok((0, 0)) };
    let (live, _) = live_files(table, head).await.map_err(|e| e.to_string())?;
    let paths: HashSet<_> = live.iter().map(|f| f.file.file_path()).collect();
    if paths.len() != live.len() {
        return Err("a data file is listed twice".to_owned());
    }
    let count: u64 = live.iter().map(|f| f.file.record_count()).sum();
    let told = head.summary().additional_properties.get("total-records");
    if told.is_some_and(|t| *t != count.to_string()) {
        return Err(format!("total-records is {told:?}, the manifests count {count}"));
    }

    let (mut ours, mut batches, mut begun) = (0, HashSet::new(), HashMap::new());
    let mut cursor = Some(head);
    while let Some(snapshot) = cursor {
        let summary = &snapshot.summary().additional_properties;
        if let Some(ranges) = summary.get("k2.ranges") {
            ours += 1;
            if !batches.insert(summary["k2.batch-uuid"].clone()) {
                return Err(format!("two snapshots of batch {}", summary["k2.batch-uuid"]));
            }
            let ranges: BTreeMap<String, (i64, i64)> = serde_json::from_str(ranges).map_err(|e| e.to_string())?;
            for (partition, (from, to)) in ranges {
                // backwards in time: this range has to end where the one before it (seen last) began
                if begun.insert(partition.clone(), from).is_some_and(|b| b != to) {
                    return Err(format!("ranges of {partition} do not abut at {to}"));
                }
            }
        }
        cursor = snapshot.parent_snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
    }
    Ok((usize::try_from(count).unwrap(), ours))
}

/// A snapshot by another engine on a branch: without the files to remove, with those to add. Also its manifests.
pub(crate) async fn rewritten(
    table: &Table,
    operation: Operation,
    branch: &str,
    remove: impl Fn(&DataFile) -> bool,
    add: &[DataFile],
) -> (Snapshot, Vec<ManifestFile>) {
    let metadata = table.metadata();
    let parent = metadata.snapshot_for_ref(branch).or(metadata.current_snapshot());
    let (id, sequence) = (fresh_id(), metadata.next_sequence_number());
    let mut manifests = Vec::new();
    let mut total = 0;
    if !add.is_empty() {
        let mut writer = manifest_writer(table, id);
        for file in add {
            total += file.record_count();
            writer.add_file(file.clone(), sequence).unwrap();
        }
        manifests.push(writer.write_manifest_file().await.unwrap());
    }
    let list = match parent {
        Some(parent) => table.manifest_list_reader(parent).load().await.unwrap().entries().to_vec(),
        None => Vec::new(),
    };
    for manifest in list {
        let content = manifest.load_manifest(table.file_io()).await.unwrap();
        let alive = content.entries().iter().filter(|e| e.is_alive());
        let (gone, kept): (Vec<_>, Vec<_>) = alive.partition(|e| remove(e.data_file()));
        total += kept.iter().map(|e| e.data_file().record_count()).sum::<u64>();
        if gone.is_empty() {
            manifests.push(manifest);
            continue;
        }
        let mut writer = manifest_writer(table, id);
        for (entries, kept) in [(kept, true), (gone, false)] {
            for e in entries {
                let (file, sequence, file_sequence) =
                    (e.data_file().clone(), e.sequence_number().unwrap(), e.file_sequence_number);
                if kept {
                    writer.add_existing_file(file, e.snapshot_id().unwrap(), sequence, file_sequence).unwrap();
                } else {
                    writer.add_delete_file(file, sequence, file_sequence).unwrap();
                }
            }
        }
        manifests.push(writer.write_manifest_file().await.unwrap());
    }
    let summary = [("engine-name".to_owned(), "spark".to_owned()), ("total-records".to_owned(), total.to_string())];
    let snapshot =
        snapshot(table, id, branch, &manifests, Summary { operation, additional_properties: summary.into() });
    (snapshot.await, manifests)
}

/// Writes the manifest list and makes the snapshot, on top of the branch.
pub(crate) async fn snapshot(
    table: &Table,
    id: i64,
    branch: &str,
    manifests: &[ManifestFile],
    summary: Summary,
) -> Snapshot {
    let metadata = table.metadata();
    let parent = metadata.snapshot_for_ref(branch).or(metadata.current_snapshot()).map(|s| s.snapshot_id());
    let sequence = metadata.next_sequence_number();
    let list = format!("{}/metadata/snap-{id}-{}.avro", metadata.location(), uuid::Uuid::new_v4());
    let output = table.file_io().new_output(&list).unwrap().writer().await.unwrap();
    let mut writer = ManifestListWriter::v2(output, id, parent, sequence);
    writer.add_manifests(manifests.iter().cloned()).unwrap();
    writer.close().await.unwrap();
    Snapshot::builder()
        .with_manifest_list(list)
        .with_snapshot_id(id)
        .with_parent_snapshot_id(parent)
        .with_sequence_number(sequence)
        .with_schema_id(metadata.current_schema_id())
        .with_timestamp_ms(clock::now_millis().max(metadata.last_updated_ms()))
        .with_summary(summary)
        .build()
}

pub(crate) fn fresh_id() -> i64 {
    i64::try_from(uuid::Uuid::new_v4().as_u64_pair().0 >> 1).unwrap()
}

fn manifest_writer(table: &Table, id: i64) -> ManifestWriter {
    let metadata = table.metadata();
    let path = format!("{}/metadata/{}.avro", metadata.location(), uuid::Uuid::new_v4());
    let output = table.file_io().new_output(path).unwrap();
    let (schema, spec) = (metadata.current_schema().clone(), metadata.default_partition_spec().as_ref().clone());
    ManifestWriterBuilder::new(output, Some(id), schema, spec).build_v2_data()
}
