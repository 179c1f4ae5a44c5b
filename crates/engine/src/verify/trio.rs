//! Bronze, silver and DLQ tables of one pair of pipelines, through the real lake, and every way to break them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::{Options, Progress, Promise, Report, Watch, verify};
use crate::config::{Config, Pipeline, Sources};
use crate::connect;
use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_empty_array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use futures::future::BoxFuture;
use iceberg::spec::DataFile;
use iceberg::table::Table;
use iceberg::{TableCreation, TableIdent, TableUpdate};
use k2_lake::catalog::{Catalog, CommitFailure};
use k2_lake::contract;
use k2_lake::decision::{Move, Proposal, TableForm};
use k2_lake::files::{TableWriter, partition_of};
use k2_lake::gate::{self, Gate, Outcome, Settler};
use k2_lake::store::Stores;
use k2_model::{
    BatchId, ClusterId, Intent, NextOffset, Partition, SourceId, SourceState, TopicId, TopicIdentity, clock,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

pub(crate) const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qk";
pub(crate) const ID: &str = "AQIDBAUGBwgJCgsMDQ4PEA";
pub(crate) const OTHER_ID: &str = "BBBBBBBBBBBBBBBBBBBBBB";
pub(crate) const BINANCE: &str = "market.crypto.trades.binance.raw";
pub(crate) const KRAKEN: &str = "market.crypto.trades.kraken.raw";
pub(crate) const BRONZE: &str = "bronze_binance_trades";
pub(crate) const SILVER: &str = "silver_binance_trades";
pub(crate) const DLQ: &str = "silver_dlq_trades";

/// Partition and offset of a row.
pub(crate) type At = (i32, i64);
/// Partition, from, to.
pub(crate) type Range = (i32, i64, i64);

pub(crate) struct Trio {
    _dir: tempfile::TempDir,
    pub(crate) config: Config,
    pub(crate) catalog: Arc<dyn Catalog>,
    /// Of the topics that commits speak of and message ids are made of.
    pub(crate) topic_id: &'static str,
    /// When rows are received.
    pub(crate) received_at: i64,
    stores: Stores,
}

impl Trio {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let set =
            vec![format!("catalog.uri=sqlite:{}", at("catalog.db")), format!("catalog.warehouse={}", at("warehouse"))];
        let config = Config::load(&Sources { set, ..Sources::default() }).unwrap();
        let stores = connect::stores(&config);
        let catalog = connect::catalog(&config, &stores).await.unwrap();
        let contracts = [
            (BRONZE, contract::bronze()),
            (SILVER, contract::silver()),
            ("silver_kraken_trades", contract::silver()),
            (DLQ, contract::dlq()),
        ];
        for (name, contract) in contracts {
            contract.open(catalog.as_ref(), &connect::ident(&config, name).unwrap(), true).await.unwrap();
        }
        Self { _dir: dir, config, catalog, topic_id: ID, received_at: clock::now_micros(), stores }
    }

    /// 30 records of two partitions in bronze (offset 7 of partition 1 is a hole), in two silver batches; of them 0/3, 0/12 and
    /// 1/8 are rejects, all in the DLQ table.
    pub(crate) async fn filled() -> Self {
        let trio = Self::new().await;
        let rows: Vec<At> = (0..20).map(|o| (0, o)).chain((0..10).filter(|o| *o != 7).map(|o| (1, o))).collect();
        trio.bronze(&[(0, 0, 20), (1, 0, 10)], &rows).await;
        let part = |from: At, to: At| -> Vec<At> {
            let first = (from.0..to.0).map(|o| (0, i64::from(o)));
            let second = (from.1..to.1).filter(|o| *o != 7).map(|o| (1, o));
            first.chain(second).filter(|at| ![(0, 3), (0, 12), (1, 8)].contains(at)).collect()
        };
        trio.silver(&[(0, 0, 10), (1, 0, 5)], &part((0, 0), (10, 5)), &[(0, 3)]).await;
        trio.settle().await;
        trio.silver(&[(0, 10, 20), (1, 5, 10)], &part((10, 5), (20, 10)), &[(0, 12), (1, 8)]).await;
        trio.settle().await;
        trio
    }

    pub(crate) fn ident(&self, table: &str) -> TableIdent {
        connect::ident(&self.config, table).unwrap()
    }

    pub(crate) async fn table(&self, name: &str) -> Table {
        self.catalog.load(&self.ident(name)).await.unwrap().unwrap()
    }

    pub(crate) fn pipeline(&self, name: &str) -> &Pipeline {
        self.config.pipeline(name).unwrap()
    }

    pub(crate) fn gate(&self, table: &str, source: &str) -> Gate {
        Gate::new(Arc::clone(&self.catalog), self.ident(table), SourceId::new(source))
    }

    pub(crate) fn settler(&self) -> Settler {
        Settler::new(Arc::clone(&self.catalog), self.ident(DLQ))
    }

    pub(crate) async fn state(&self, table: &str, source: &str) -> Option<SourceState> {
        self.gate(table, source).position(false).await.unwrap().1
    }

    pub(crate) fn identity(&self, topic: &str) -> TopicIdentity {
        TopicIdentity {
            cluster_id: ClusterId::new(CLUSTER),
            topic: topic.into(),
            topic_id: Some(TopicId::new(self.topic_id)),
        }
    }

    pub(crate) fn message_id(&self, (partition, offset): At) -> String {
        let name = format!("{CLUSTER}/{}/{partition}/{offset}", self.topic_id);
        uuid::Uuid::new_v5(&uuid::uuid!("4aa63622-8c4a-56f0-9c65-d4ee721720cb"), name.as_bytes()).to_string()
    }

    /// A data file of any of the tables, with these rows; columns that matter to nobody here hold anything.
    pub(crate) async fn files(&self, table: &str, topic: &str, rows: &[At]) -> Vec<DataFile> {
        let ids: Vec<String> = rows.iter().map(|at| self.message_id(*at)).collect();
        self.files_with_ids(table, topic, rows, &ids).await
    }

    pub(crate) async fn files_with_ids(
        &self,
        table: &str,
        topic: &str,
        rows: &[At],
        message_ids: &[String],
    ) -> Vec<DataFile> {
        if rows.is_empty() {
            return Vec::new();
        }
        let metadata = self.table(table).await.metadata_ref();
        let names: Vec<String> =
            metadata.current_schema().as_struct().fields().iter().map(|f| f.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut writer = TableWriter::new(&metadata, &self.stores, &names).unwrap();
        let schema = Arc::clone(writer.schema());
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                "message_id" => Arc::new(StringArray::from_iter_values(message_ids)),
                "topic_id" => Arc::new(StringArray::from_iter_values(rows.iter().map(|_| self.topic_id))),
                "topic" | "kafka_topic" => Arc::new(StringArray::from_iter_values(rows.iter().map(|_| topic))),
                "partition" | "kafka_partition" => Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.0))),
                "offset" | "kafka_offset" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1))),
                _ => self.anything(field, rows.len()),
            }
        });
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
        writer.write(&batch, &partition_of(&metadata, self.received_at).unwrap()).await.unwrap();
        writer.finish().await.unwrap()
    }

    fn anything(&self, field: &Field, n: usize) -> ArrayRef {
        match field.data_type() {
            kind if field.is_nullable() => new_null_array(kind, n),
            DataType::Utf8 => Arc::new(StringArray::from_iter_values(std::iter::repeat_n("x", n))),
            DataType::Int32 => Arc::new(Int32Array::from_value(1, n)),
            DataType::Int64 => Arc::new(Int64Array::from_value(1, n)),
            DataType::Date32 => Arc::new(Date32Array::from_value(clock::day_of(self.received_at), n)),
            DataType::Timestamp(..) => {
                Arc::new(TimestampMicrosecondArray::from_value(self.received_at, n).with_timezone("+00:00"))
            }
            DataType::Decimal128(precision, scale) => {
                Arc::new(Decimal128Array::from_value(1, n).with_precision_and_scale(*precision, *scale).unwrap())
            }
            DataType::Binary => Arc::new(BinaryArray::from_iter_values(std::iter::repeat_n(b"x", n))),
            DataType::List(element) => {
                let nothing = new_empty_array(element.data_type());
                Arc::new(ListArray::new(Arc::clone(element), OffsetBuffer::new_zeroed(n), nothing, None))
            }
            other => panic!("{other}"),
        }
    }

    pub(crate) async fn bronze(&self, ranges: &[Range], rows: &[At]) {
        let files = self.files(BRONZE, BINANCE, rows).await;
        self.commit(BRONZE, "bronze-binance", ranges, &files, None).await;
    }

    /// A silver commit with these rows, and an intent for these rejects if there are any.
    pub(crate) async fn silver(&self, ranges: &[Range], rows: &[At], rejects: &[At]) {
        self.silver_of("silver-binance", ranges, rows, rejects).await;
    }

    pub(crate) async fn silver_of(&self, pipeline: &str, ranges: &[Range], rows: &[At], rejects: &[At]) {
        let Pipeline { topic, table, .. } = self.pipeline(pipeline);
        let files = self.files(table, topic, rows).await;
        let rejects = self.files(DLQ, topic, rejects).await;
        self.silver_files(pipeline, ranges, &files, &rejects).await;
    }

    pub(crate) async fn silver_files(
        &self,
        pipeline: &str,
        ranges: &[Range],
        files: &[DataFile],
        rejects: &[DataFile],
    ) {
        let Pipeline { topic, table, .. } = self.pipeline(pipeline);
        let dlq = self.table(DLQ).await;
        let covered: BTreeMap<_, _> =
            ranges.iter().map(|(p, from, to)| (Partition(*p), (NextOffset(*from), NextOffset(*to)))).collect();
        let batch = BatchId::fresh();
        let intent = (!rejects.is_empty()).then(|| {
            let (ident, identity) = (self.ident(DLQ), self.identity(topic));
            gate::intent(batch, &ident, dlq.metadata(), &identity, covered, None, rejects).unwrap()
        });
        self.commit(table, pipeline, ranges, files, intent).await;
    }

    pub(crate) async fn commit(
        &self,
        table: &str,
        pipeline: &str,
        ranges: &[Range],
        files: &[DataFile],
        intent: Option<Intent>,
    ) {
        let Pipeline { topic, group, .. } = self.pipeline(pipeline);
        let before = self.state(table, group).await;
        let stands = |p: i32| before.as_ref().and_then(|s| s.partition(topic, Partition(p))).map(|at| at.next);
        let moves = ranges.iter().map(|(p, from, to)| {
            let (from, to) = (NextOffset(*from), NextOffset(*to));
            (Partition(*p), Move { expected: stands(*p), from, to, leader_epoch: None, last: None })
        });
        let proposal = Proposal {
            source: SourceId::new(group.as_str()),
            batch: intent.as_ref().map_or_else(BatchId::fresh, |i| i.batch),
            identity: Arc::new(self.identity(topic)),
            table: TableForm::of(self.table(table).await.metadata()),
            moves: moves.collect(),
            rules: None,
            // the tests settle what they want to have settled
            settled: before.iter().flat_map(|s| &s.intents).map(|i| i.batch).collect(),
            intent,
        };
        let outcome = self.gate(table, group).commit(&proposal, files, clock::now_micros()).await.unwrap();
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }

    /// Carries out what the silver pipelines have decided on, in one commit.
    pub(crate) async fn settle(&self) {
        let mut due = Vec::new();
        for name in ["silver-binance", "silver-kraken"] {
            let Pipeline { table, group, .. } = self.pipeline(name);
            let Some(state) = self.state(table, group).await else { continue };
            due.extend(state.intents.into_iter().map(|i| (SourceId::new(group.as_str()), state.cluster_id.clone(), i)));
        }
        self.settler().settle(&due).await.unwrap();
    }

    /// Adds rows to the DLQ table behind everybody's back, as a commit of a source of its own.
    pub(crate) async fn smuggle(&self, table: &str, files: &[DataFile]) {
        let gate = self.gate(table, "rogue");
        let proposal = Proposal {
            source: SourceId::new("rogue"),
            batch: BatchId::fresh(),
            identity: Arc::new(self.identity("elsewhere")),
            table: TableForm::of(self.table(table).await.metadata()),
            moves: BTreeMap::from([(
                Partition(0),
                Move { expected: None, from: NextOffset(0), to: NextOffset(1), leader_epoch: None, last: None },
            )]),
            rules: None,
            intent: None,
            settled: Vec::new(),
        };
        gate.commit(&proposal, files, clock::now_micros()).await.unwrap();
    }

    /// Changes a position behind everybody's back.
    pub(crate) async fn tamper(&self, table: &str, group: &str, change: impl FnOnce(&mut SourceState)) {
        let key = SourceId::new(group).property_key();
        let loaded = self.table(table).await;
        let mut state = SourceState::parse(&key, &loaded.metadata().properties()[&key]).unwrap();
        change(&mut state);
        self.update(
            table,
            vec![TableUpdate::SetProperties { updates: HashMap::from([(key, state.to_json().unwrap())]) }],
        )
        .await;
    }

    pub(crate) async fn update(&self, table: &str, updates: Vec<TableUpdate>) {
        self.catalog.commit(&self.table(table).await, updates).await.unwrap();
    }

    /// Makes an earlier snapshot the head.
    pub(crate) async fn roll_back(&self, table: &str) {
        let parent = self.table(table).await.metadata().current_snapshot().unwrap().parent_snapshot_id().unwrap();
        self.update(table, vec![super::tests::main_is(parent)]).await;
    }

    pub(crate) async fn verify(&self) -> Report {
        self.verify_some(&["bronze-binance", "silver-binance"]).await
    }

    pub(crate) async fn verify_some(&self, pipelines: &[&str]) -> Report {
        let pipelines = pipelines.iter().map(|p| (*p).to_owned()).collect();
        let watch = Arc::new(|_: Progress<'_>| {}) as Watch;
        verify(&self.config, &Options { pipelines, kafka: false }, &watch).await.unwrap()
    }
}

/// The promises that do not hold, by table or pipeline, with what was found.
pub(crate) fn broken(report: &Report) -> BTreeMap<(String, Promise), Vec<String>> {
    let tables = report.tables.iter().flat_map(|t| t.checks.iter().map(|c| (t.table.clone(), c)));
    let balances = report.balances.iter().flat_map(|b| b.checks.iter().map(|c| (b.pipeline.clone(), c)));
    let broken = tables.chain(balances).filter(|(_, c)| !c.ok);
    broken.map(|(of, c)| ((of, c.promise), c.first.iter().map(ToString::to_string).collect())).collect()
}

/// The names of what does not hold: `table promise`.
pub(crate) fn names(report: &Report) -> Vec<String> {
    broken(report).into_keys().map(|(of, promise)| format!("{of} {promise:?}")).collect()
}

type OnLoad = dyn Fn(&str, usize) -> Option<BoxFuture<'static, ()>> + Send + Sync;

/// A catalog that notes what is loaded, and lets something happen before.
pub(crate) struct Overheard {
    catalog: Arc<dyn Catalog>,
    loads: Mutex<Vec<String>>,
    before: Box<OnLoad>,
}

impl Overheard {
    /// `before`: what shall happen before the so many-th load (from 0) of this table.
    pub(crate) fn new(
        catalog: &Arc<dyn Catalog>,
        before: impl Fn(&str, usize) -> Option<BoxFuture<'static, ()>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { catalog: Arc::clone(catalog), loads: Mutex::default(), before: Box::new(before) })
    }

    pub(crate) fn loads(&self) -> Vec<String> {
        self.loads.lock().unwrap().clone()
    }
}

impl std::fmt::Debug for Overheard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Overheard")
    }
}

#[async_trait::async_trait]
impl Catalog for Overheard {
    async fn ensure_namespace(&self, namespace: &str) -> k2_model::Result<()> {
        self.catalog.ensure_namespace(namespace).await
    }

    async fn namespace_exists(&self, namespace: &str) -> k2_model::Result<bool> {
        self.catalog.namespace_exists(namespace).await
    }

    async fn tables(&self, namespace: &str) -> k2_model::Result<Vec<String>> {
        self.catalog.tables(namespace).await
    }

    async fn load(&self, table: &TableIdent) -> k2_model::Result<Option<Table>> {
        let nth = {
            let mut loads = self.loads.lock().unwrap();
            loads.push(table.name().to_owned());
            loads.iter().filter(|name| *name == table.name()).count() - 1
        };
        if let Some(happens) = (self.before)(table.name(), nth) {
            happens.await;
        }
        self.catalog.load(table).await
    }

    async fn create(&self, namespace: &str, creation: TableCreation) -> k2_model::Result<Table> {
        self.catalog.create(namespace, creation).await
    }

    async fn commit(&self, base: &Table, updates: Vec<TableUpdate>) -> Result<Table, CommitFailure> {
        self.catalog.commit(base, updates).await
    }

    fn stores(&self, table: &TableIdent) -> Stores {
        self.catalog.stores(table)
    }

    fn describe(&self) -> String {
        self.catalog.describe()
    }
}
