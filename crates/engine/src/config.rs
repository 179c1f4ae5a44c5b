//! The configuration: one commented file with every default (config/k2.toml, part of the binary), and three layers
//! over it - the user's file, the environment, `--set`.
//!
//! Loading is a pure function of its [`Sources`]. All errors are told at once, each with its place, what is allowed and,
//! for an unknown key, the nearest right name. Every value remembers where it was set, so that an error of later can
//! name that place ([`Config::origin`]). Secrets are types of their own that print as `***`.
//!
//! Invariants: 1. a default is written in config/k2.toml and nowhere else; 2. a [`Config`] that exists is valid;
//! 3. nothing here prints a secret, error texts included. A crash here leaves nothing behind.

mod build;
mod checks;
mod convert;
mod layers;
mod pipelines;
mod report;
mod schema;
mod value;

pub use report::{ConfigError, ConfigErrors, Origin};
pub use value::{Properties, Secret, Uri, duration, shown_duration, shown_size};

use k2_model::{Error, Result};
use layers::{Entry, Merged};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

/// Every key with its default, commented.
pub const DEFAULTS: &str = include_str!("../../../config/k2.toml");

/// The file that is taken from the working folder where none is named.
pub const FILE: &str = "k2.toml";

/// What a configuration is made of.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The user's file: its path as given, and its text.
    pub file: Option<(String, String)>,
    /// The environment. Variables `K2_…` with a `__` in them are configuration; all others are left alone.
    pub environment: BTreeMap<String, String>,
    /// The `--set`s, `KEY=VALUE` each.
    pub set: Vec<String>,
}

impl Sources {
    /// Those of this process: the file named, else [`FILE`] if the working folder has it; the environment; the `--set`s.
    pub fn of_process(file: Option<&Path>, set: Vec<String>) -> Result<Self> {
        let path = file.unwrap_or(Path::new(FILE));
        let file = match std::fs::read_to_string(path) {
            Ok(text) => Some((path.display().to_string(), text)),
            Err(e) if file.is_none() && e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => {
                return Err(Error::config("cannot read the configuration")
                    .at(path.display().to_string())
                    .caused_by(e)
                    .fix("name a readable TOML file with -c, or leave -c out for the defaults"));
            }
        };
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("K2_"))
            .collect();
        Ok(Self { file, environment, set })
    }
}

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[kafka]`
    pub kafka: Kafka,
    /// `[registry]`
    pub registry: Registry,
    /// `[catalog]`
    pub catalog: Catalog,
    /// `[store]`
    pub store: Store,
    /// `[memory]`
    pub memory: Memory,
    /// `[http]`
    pub http: Http,
    /// `[rules]`
    pub rules: Rules,
    /// `[pipelines.…]` in the order of their names, those turned off among them.
    pub pipelines: Vec<Pipeline>,
    entries: BTreeMap<String, Entry>,
}

/// The brokers.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// `host:port,…`
    pub brokers: String,
    /// librdkafka's; none among them that correctness rests on.
    pub properties: Properties,
}

/// Where Avro schemas come from.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Of one Confluent-compatible registry, each as good as the other; none: the folder.
    pub urls: Vec<Uri>,
    /// Who asks.
    pub auth: RegistryAuth,
    /// Certificates (PEM) to trust beside the public ones that come with K2.
    pub ca_file: Option<String>,
    /// For a connection.
    pub connect_timeout: Duration,
    /// For one answer.
    pub request_timeout: Duration,
    /// Schema files.
    pub folder: String,
    /// How long an id may be unknown.
    pub unknown_id_grace: Duration,
}

/// How the registry is told who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryAuth {
    /// Not at all, or by a user in the address.
    None,
    /// User and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Bearer(Secret),
}

/// The Iceberg catalog.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// Its name in SQL, and in the SQL catalog's tables.
    pub name: String,
    /// How it is spoken to.
    pub kind: CatalogKind,
    /// Where it is.
    pub uri: Uri,
    /// Where tables lie.
    pub warehouse: String,
    /// The namespace of all our tables.
    pub namespace: String,
    /// Whether `run` makes what is missing.
    pub create_tables: bool,
    /// After that an outcome counts as unknown.
    pub request_timeout: Duration,
    /// Of a REST catalog.
    pub properties: Properties,
}

/// `catalog.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogKind {
    /// Tables in SQLite or PostgreSQL.
    Sql,
    /// Iceberg's REST protocol.
    Rest,
}

/// The object store.
#[derive(Debug, Clone)]
pub struct Store {
    /// An S3-compatible server; none: the cloud that the warehouse's scheme names.
    pub endpoint: Option<Uri>,
    /// S3's region.
    pub region: String,
    /// S3's keys; none: the usual chain.
    pub keys: Option<StoreKeys>,
    /// `host/bucket` and not `bucket.host`.
    pub path_style: bool,
    /// Connections kept.
    pub max_connections: usize,
    /// Parts in flight.
    pub max_uploads: usize,
    /// For a connection.
    pub connect_timeout: Duration,
    /// For a whole request.
    pub request_timeout: Duration,
}

/// A key pair of S3.
#[derive(Debug, Clone)]
pub struct StoreKeys {
    /// The access key's id.
    pub access_key: String,
    /// The secret.
    pub secret_key: Secret,
}

/// Memory.
#[derive(Debug, Clone)]
pub struct Memory {
    /// Bytes of records in the whole process.
    pub budget: u64,
}

/// The HTTP server.
#[derive(Debug, Clone)]
pub struct Http {
    /// `address:port`; none: off.
    pub listen: Option<String>,
}

/// Limits of the rules.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How far a trade may be ahead of its record.
    pub max_future: Duration,
    /// How far behind.
    pub max_age: Duration,
    /// The largest record that is decoded, in bytes.
    pub max_record: u64,
}

/// One pipeline: a topic into a table.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// `pipelines.NAME`
    pub name: String,
    /// What it does.
    pub kind: PipelineKind,
    /// Read from.
    pub topic: String,
    /// The consumer group; also the source id in the table.
    pub group: String,
    /// Written to.
    pub table: String,
    /// Whether it runs.
    pub enabled: bool,
    /// Where a partition starts that the table has no position for.
    pub start: Start,
    /// A commit at most this often.
    pub commit_interval: Duration,
    /// Records per second and partition; none: off.
    pub rate_limit: Option<NonZeroU32>,
}

/// The kind of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PipelineKind {
    /// Raw bytes, as they are.
    Bronze,
    /// Decoded, projected and checked; what cannot be is a dead letter.
    Silver(Silver),
}

/// What a silver pipeline is made of, beside what every pipeline has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silver {
    /// The table of rejects; several silver pipelines may share it.
    pub dlq: String,
    /// The bronze table of the same topic; empty: none is known.
    pub bronze: String,
    /// The Avro reader schema: a file, or a built-in.
    pub reader_schema: String,
    /// The SQL projection, likewise.
    pub projection: String,
    /// The rules, likewise.
    pub rules_file: String,
}

impl Pipeline {
    /// What it is made of if it is a silver one.
    pub fn silver(&self) -> Option<&Silver> {
        match &self.kind {
            PipelineKind::Bronze => None,
            PipelineKind::Silver(silver) => Some(silver),
        }
    }
}

/// `start` of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first record that Kafka still has.
    Earliest,
    /// At the next record that comes.
    Latest,
}

impl Config {
    /// Lays the layers over each other and checks everything; all errors at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let mut merged = Merged::default();
        merged.defaults(DEFAULTS);
        if let Some((path, text)) = &sources.file {
            merged.file(path, text);
        }
        merged.environment(&sources.environment);
        merged.sets(&sources.set);
        build::config(merged)
    }

    /// A key and where it was set, for errors: `kafka.brokers (k2.toml:3)`.
    pub fn origin(&self, key: &str) -> String {
        match self.entry(key) {
            Some(entry) => format!("{key} ({})", entry.origin.short()),
            None => key.to_owned(),
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key).or_else(|| {
            let (pipeline, name) = key.strip_prefix("pipelines.")?.rsplit_once('.')?;
            let kind = match self.pipelines.iter().find(|p| p.name == pipeline)?.kind {
                PipelineKind::Bronze => "bronze",
                PipelineKind::Silver(_) => "silver",
            };
            self.entries.get(&format!("defaults.{kind}.{name}"))
        })
    }

    /// The pipelines that run.
    pub fn enabled(&self) -> impl Iterator<Item = &Pipeline> {
        self.pipelines.iter().filter(|p| p.enabled)
    }

    /// The pipeline of this name, be it turned off.
    pub fn pipeline(&self, name: &str) -> Result<&Pipeline> {
        self.pipelines.iter().find(|p| p.name == name).ok_or_else(|| self.no_pipeline(name))
    }

    /// The pipelines of these names; all enabled ones where none is named.
    pub fn select(&self, names: &[String]) -> Result<Vec<&Pipeline>> {
        if names.is_empty() {
            let all: Vec<_> = self.enabled().collect();
            return if all.is_empty() {
                Err(Error::config("no pipeline is enabled").fix("turn one on with `enabled = true`"))
            } else {
                Ok(all)
            };
        }
        let mut selected: Vec<&Pipeline> = Vec::new();
        for name in names {
            let pipeline = self.pipeline(name)?;
            if !pipeline.enabled {
                return Err(Error::config(format!("the pipeline {name} is turned off"))
                    .at(self.origin(&format!("pipelines.{name}.enabled")))
                    .fix(format!("turn it on: --set pipelines.{name}.enabled=true")));
            }
            if !selected.iter().any(|p| p.name == *name) {
                selected.push(pipeline);
            }
        }
        Ok(selected)
    }

    fn no_pipeline(&self, name: &str) -> Error {
        let known = || self.pipelines.iter().map(|p| p.name.as_str());
        let fix = match report::nearest(name, known()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are: {}", known().collect::<Vec<_>>().join(", ")),
        };
        Error::config(format!("there is no pipeline {name}")).fix(fix)
    }
}

/// Every key with its value and place, secrets hidden.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries
            .iter()
            .try_for_each(|(key, entry)| writeln!(f, "{key} = {}  # {}", entry.value, entry.origin.short()))
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
