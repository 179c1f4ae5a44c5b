//! A folder with a configuration, a catalog and a warehouse.

use super::Launch;
use crate::oracle::{BronzeTable, Catalog, Store};
use crate::services::{RestCatalog, S3};
use crate::topic::Topic;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A bronze pipeline of a deployment.
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
    pub async fn table(&self, pipeline: &Pipeline) -> Option<BronzeTable> {
        self.catalog.bronze(&self.store, &self.namespace, &pipeline.table, &pipeline.group).await
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
            write!(
                text,
                "\n[pipelines.{}]\nkind = \"bronze\"\ntopic = {:?}\ngroup = {:?}\ntable = {:?}\nstart = {:?}\n\
                 commit_interval = {:?}\n",
                p.name, p.topic, p.group, p.table, p.start, p.commit_interval
            )
            .unwrap();
        }
        // those of the embedded configuration have no topics here
        for name in ["bronze-binance", "bronze-kraken"] {
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
