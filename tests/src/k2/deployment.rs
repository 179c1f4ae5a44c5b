//! A folder with a configuration, a catalog and a warehouse.

use super::Launch;
use crate::oracle::trades::{Tables, TradeVerdict, judge_with};
use crate::oracle::{Catalog, Store, TableState};
use crate::services::{RestCatalog, S3};
use crate::topic::Topic;
use crate::trades::{Exchange, Ids, Limits, TradeLedger, Version};
use crate::wait::wait_until;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A pipeline of a deployment.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Its name in the configuration.
    pub name: String,
    /// The topic.
    pub topic: String,
    /// The consumer group, which is the source id as well.
    pub group: String,
    /// The table.
    pub table: String,
    /// `earliest` or `latest`.
    pub start: String,
    /// The commit interval.
    pub commit_interval: String,
    /// What makes it a silver pipeline; none: bronze.
    pub silver: Option<Silver>,
}

/// What a silver pipeline has and a bronze one has not. Paths are of the folder, else of what is built into `k2`.
#[derive(Debug, Clone)]
pub struct Silver {
    /// The table of dead letters.
    pub dlq: String,
    /// The bronze table that its dead letters name.
    pub bronze: String,
    /// The reader schema.
    pub reader_schema: String,
    /// The projection.
    pub projection: String,
    /// The rules.
    pub rules_file: String,
}

impl Pipeline {
    /// A pipeline from a topic to `bronze_binance_trades` that commits once a second.
    pub fn bronze(topic: &Topic) -> Self {
        Self {
            name: "bronze-binance".into(),
            topic: topic.name.clone(),
            group: format!("group-{}", topic.name),
            table: "bronze_binance_trades".into(),
            start: "earliest".into(),
            commit_interval: "1s".into(),
            silver: None,
        }
    }

    /// The bronze pipeline of an exchange, under the names of the contract.
    pub fn bronze_of(topic: &Topic, exchange: Exchange) -> Self {
        let name = exchange.name();
        Self {
            name: format!("bronze-{name}"),
            group: format!("bronze-{}", topic.name),
            table: format!("bronze_{name}_trades"),
            ..Self::bronze(topic)
        }
    }

    /// The silver pipeline of an exchange, with what is built into `k2` for it; commits once a second.
    pub fn silver(topic: &Topic, exchange: Exchange) -> Self {
        let name = exchange.name();
        Self {
            name: format!("silver-{name}"),
            group: format!("silver-{}", topic.name),
            table: format!("silver_{name}_trades"),
            silver: Some(Silver {
                dlq: "silver_dlq_trades".into(),
                bronze: format!("bronze_{name}_trades"),
                reader_schema: format!("config/schemas/{name}_raw_trade.avsc"),
                projection: format!("config/transforms/{name}.sql"),
                rules_file: "config/rules/trades.toml".into(),
            }),
            ..Self::bronze(topic)
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Deployment {
    folder: tempfile::TempDir,
    brokers: String,
    /// The namespace of the tables.
    pub namespace: String,
    pipelines: Vec<Pipeline>,
    catalog: Catalog,
    store: Store,
    warehouse: String,
    settings: Vec<(String, String)>,
    launches: AtomicU32,
}

impl Deployment {
    /// SQLite and a local folder, as `k2` has it by default.
    pub fn local(brokers: &str) -> Self {
        let folder = folder();
        let catalog = Catalog::Sqlite { path: folder.path().join("catalog.db"), name: "iceberg".into() };
        let warehouse = folder.path().join("warehouse").to_str().unwrap().to_owned();
        Self::new(folder, brokers, "market_data".into(), catalog, Store::Local, warehouse)
    }

    /// A REST catalog at `uri` (the catalog itself, or a [`crate::CatalogProxy`] before it) with its warehouse on S3.
    /// The namespace is the deployment's own.
    pub fn rest(brokers: &str, uri: &str, catalog: &RestCatalog, s3: &S3) -> Self {
        let namespace = format!("test_{}", uuid::Uuid::new_v4().simple());
        let store = Store::S3(s3.clone());
        let warehouse = catalog.warehouse.clone();
        // the oracle reads past the proxy
        let truth = Catalog::Rest { uri: catalog.uri.clone() };
        Self::new(folder(), brokers, namespace, truth, store, warehouse).set("catalog.uri", uri)
    }

    fn new(
        folder: tempfile::TempDir,
        brokers: &str,
        namespace: String,
        catalog: Catalog,
        store: Store,
        warehouse: String,
    ) -> Self {
        Self {
            folder,
            brokers: brokers.into(),
            namespace,
            pipelines: Vec::new(),
            catalog,
            store,
            warehouse,
            settings: Vec::new(),
            launches: AtomicU32::new(0),
        }
    }

    /// Adds a pipeline.
    #[must_use]
    pub fn pipeline(mut self, pipeline: Pipeline) -> Self {
        self.pipelines.push(pipeline);
        self
    }

    /// Puts the test's schemas of both exchanges into a folder that serves as the registry. A schema id that is not
    /// there is unknown after a second.
    #[must_use]
    pub fn with_schemas(self) -> Self {
        for exchange in Exchange::BOTH {
            for version in Version::ALL {
                self.add_schema(Ids::of(exchange).id(version), version.schema(exchange));
            }
        }
        self.set("registry.folder", "schemas").set("registry.unknown_id_grace", "1s")
    }

    /// Adds a schema to that folder.
    pub fn add_schema(&self, id: i32, text: &str) {
        let folder = self.path().join("schemas");
        std::fs::create_dir_all(&folder).unwrap();
        // a schema is there whole or not at all
        let file = folder.join(format!("{id}.avsc"));
        let unfinished = folder.join(format!(".{id}"));
        std::fs::write(&unfinished, text).unwrap();
        std::fs::rename(unfinished, file).unwrap();
    }

    /// Sets a key of the configuration: `memory.budget`, `store.request_timeout`. Wins over what the deployment sets
    /// by itself.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A command line of `k2` in this deployment: `k2 -c k2.toml --set … ARGS…`.
    pub fn k2<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Launch {
        let file = self.write_config();
        let number = self.launches.fetch_add(1, Ordering::Relaxed);
        let mut launch = Launch::new(self.path(), self.path(), format!("k2-{number}")).arg("-c").arg(file);
        for (key, value) in &self.settings {
            launch = launch.arg("--set").arg(format!("{key}={value}"));
        }
        if let Store::S3(s3) = &self.store {
            launch = launch
                .env("AWS_ACCESS_KEY_ID", &s3.key)
                .env("AWS_SECRET_ACCESS_KEY", &s3.secret)
                .env("AWS_REGION", &s3.region);
        }
        launch.args(args)
    }

    /// `k2 run` of this deployment's pipelines, for good.
    pub fn run(&self) -> Launch {
        self.k2(["run"]).args(self.pipelines.iter().map(|p| &p.name))
    }

    /// The same, to the ends of the topics.
    pub fn run_until_caught_up(&self) -> Launch {
        self.run().arg("--until-caught-up")
    }

    /// The table of a pipeline as it stands now, read past K2; none if it is not there.
    pub async fn table(&self, pipeline: &Pipeline) -> Option<TableState> {
        self.catalog.table(&self.store, &self.namespace, &pipeline.table, &pipeline.group).await
    }

    /// The table of a silver pipeline's dead letters, with the position of its source; none if it is not there.
    pub async fn dlq(&self, pipeline: &Pipeline) -> Option<TableState> {
        let dlq = &pipeline.silver.as_ref().expect("a silver pipeline").dlq;
        self.catalog.table(&self.store, &self.namespace, dlq, &pipeline.group).await
    }

    /// The verdict about a silver pipeline's tables as they stand now; none if silver is not there.
    pub async fn judge(&self, pipeline: &Pipeline, ledger: &TradeLedger) -> Option<TradeVerdict> {
        self.judge_with(pipeline, ledger, |_, _| Limits::default()).await
    }

    /// The same by the limits in force for each partition and offset.
    pub async fn judge_with(
        &self,
        pipeline: &Pipeline,
        ledger: &TradeLedger,
        limits: impl Fn(i32, i64) -> Limits,
    ) -> Option<TradeVerdict> {
        let silver = self.table(pipeline).await?;
        let dlq = self.dlq(pipeline).await;
        Some(judge_with(Tables { silver: &silver, dlq: dlq.as_ref() }, ledger, limits).await)
    }

    /// Waits until a silver pipeline has read all of a ledger, and hands out the verdict, which is sound and complete.
    pub async fn settled(&self, pipeline: &Pipeline, ledger: &TradeLedger, deadline: Duration) -> TradeVerdict {
        let all = format!("{} to have read {} records", pipeline.name, ledger.count);
        wait_until(&all, deadline, || self.has_read(pipeline, ledger)).await;
        let verdict = self.judge(pipeline, ledger).await.expect("silver is there");
        verdict.assert_complete();
        verdict
    }

    /// Whether silver has read all of a topic's ledger and the dead letters of it are in their table: the counts only.
    pub async fn has_read(&self, pipeline: &Pipeline, ledger: &TradeLedger) -> bool {
        let reads = |table: Option<TableState>| {
            let next = table.map(|table| table.next_offsets(&ledger.topic)).unwrap_or_default();
            move |partition: &i32, last: &i64| next.get(partition).is_some_and(|next| next > last)
        };
        let last = ledger.last_offsets();
        let silver = self.table(pipeline).await;
        let Some(position) = silver.as_ref().and_then(TableState::position) else { return last.is_empty() };
        let silver = reads(silver);
        if !last.iter().all(|(p, o)| silver(p, o)) {
            return false;
        }
        // a pending intent is one that the DLQ's own position has not come to
        let Some(intents) = position["intents"].as_array() else { return true };
        let dlq = self.dlq(pipeline).await.map(|table| table.next_offsets(&ledger.topic)).unwrap_or_default();
        intents.iter().all(|intent| {
            let ranges = intent["ranges"].as_object().expect("an intent has ranges");
            ranges.iter().all(|(partition, range)| {
                dlq.get(&partition.parse().unwrap()).is_some_and(|next| *next >= range[1].as_i64().unwrap())
            })
        })
    }

    /// The oracle's way to the catalog.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The oracle's way to the files.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Writes the configuration and hands out its path.
    pub fn write_config(&self) -> PathBuf {
        let (kind, uri) = match &self.catalog {
            Catalog::Sqlite { path, .. } => ("sql", format!("sqlite:{}", path.display())),
            Catalog::Rest { uri } => ("rest", uri.clone()),
        };
        let mut text = format!(
            "[kafka]\nbrokers = {:?}\n\n[catalog]\ntype = {kind:?}\nuri = {uri:?}\nwarehouse = {:?}\nnamespace = {:?}\n\n\
             [http]\nlisten = \"\"\n",
            self.brokers, self.warehouse, self.namespace
        );
        if let Store::S3(s3) = &self.store {
            write!(text, "\n[store]\nendpoint = {:?}\nregion = {:?}\n", s3.endpoint, s3.region).unwrap();
        }
        for p in &self.pipelines {
            let kind = if p.silver.is_some() { "silver" } else { "bronze" };
            write!(
                text,
                "\n[pipelines.{}]\nkind = {kind:?}\ntopic = {:?}\ngroup = {:?}\ntable = {:?}\nstart = {:?}\n\
                 commit_interval = {:?}\n",
                p.name, p.topic, p.group, p.table, p.start, p.commit_interval
            )
            .unwrap();
            if let Some(silver) = &p.silver {
                write!(
                    text,
                    "dlq = {:?}\nbronze = {:?}\nreader_schema = {:?}\nprojection = {:?}\nrules_file = {:?}\n",
                    silver.dlq, silver.bronze, silver.reader_schema, silver.projection, silver.rules_file
                )
                .unwrap();
            }
        }
        // those of the embedded configuration have no topics here
        for name in shipped_pipelines() {
            if self.pipelines.iter().all(|p| p.name != name) {
                write!(text, "\n[pipelines.{name}]\nenabled = false\n").unwrap();
            }
        }
        let file = self.path().join("k2.toml");
        std::fs::write(&file, text).unwrap();
        file
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("k2-test-").tempdir().unwrap()
}

/// The names of the pipelines that the embedded configuration has.
fn shipped_pipelines() -> Vec<String> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../config/k2.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("[pipelines.")?.strip_suffix(']'));
    names.map(str::to_owned).collect()
}
