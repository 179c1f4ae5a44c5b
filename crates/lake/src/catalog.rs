//! Catalogs: where the head of a table is kept, and the one way to move it.
//!
//! [`Catalog::commit`] is one attempt, pinned to exactly the table that the caller has validated. It never reloads,
//! never rebases and never tries again: that is the gate's business (docs/adr/0001). What became of the attempt is
//! told in four ways, see [`CommitFailure`].
//!
//! SQL is a compare-and-swap on `iceberg_tables.metadata_location`, in the table layout that
//! PyIceberg and Spark's JDBC catalog read and write. REST is the Iceberg REST protocol, with the requirements of the
//! pinned table in the request.

mod rest;
mod sql;

use crate::store::{Stores, iceberg_error};
use async_trait::async_trait;
use iceberg::table::Table;
use iceberg::{NamespaceIdent, TableCreation, TableIdent, TableRequirement, TableUpdate};
use k2_model::{Error, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The branch that everybody reads and we write.
pub const MAIN: &str = "main";

/// What became of a commit that did not succeed for certain.
#[derive(Debug)]
pub enum CommitFailure {
    /// The base has moved; this attempt did not happen. (A proxy that repeats requests can answer so after it has
    /// happened: classify by reading the table, and delete nothing.)
    Conflict(Error),
    /// Refused, for a reason that will not go away by itself. It did not happen.
    Refused(Error),
    /// Never sent, or surely not applied. It may work later.
    NotApplied(Error),
    /// It may have happened, or may still happen - on its base or not at all.
    Unknown(Error),
}

impl CommitFailure {
    /// The error inside.
    pub fn error(&self) -> &Error {
        match self {
            Self::Conflict(e) | Self::Refused(e) | Self::NotApplied(e) | Self::Unknown(e) => e,
        }
    }

    /// The error inside.
    pub fn into_error(self) -> Error {
        match self {
            Self::Conflict(e) | Self::Refused(e) | Self::NotApplied(e) | Self::Unknown(e) => e,
        }
    }
}

impl fmt::Display for CommitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Conflict(_) => "conflict",
            Self::Refused(_) => "refused",
            Self::NotApplied(_) => "not applied",
            Self::Unknown(_) => "state unknown",
        };
        write!(f, "{what}: {}", self.error())
    }
}

/// A catalog of Iceberg tables. Namespaces are dotted (`a.b`).
#[async_trait]
pub trait Catalog: fmt::Debug + Send + Sync {
    /// Creates the namespace if it is missing.
    async fn ensure_namespace(&self, namespace: &str) -> Result<()>;

    /// Whether the namespace exists.
    async fn namespace_exists(&self, namespace: &str) -> Result<bool>;

    /// The names of the tables in a namespace, sorted. An unknown namespace has none.
    async fn tables(&self, namespace: &str) -> Result<Vec<String>>;

    /// The table as it is now, read afresh. None: the catalog says that there is no such table.
    async fn load(&self, table: &TableIdent) -> Result<Option<Table>>;

    /// Creates a table. If somebody else was faster, theirs is returned: check it against what you want.
    async fn create(&self, namespace: &str, creation: TableCreation) -> Result<Table>;

    /// One attempt to apply the updates on exactly this base. Returns the table as it is then.
    async fn commit(&self, base: &Table, updates: Vec<TableUpdate>) -> Result<Table, CommitFailure>;

    /// The stores to write this table's files with: the process's own, or such with keys that the catalog lent for
    /// this table when it was last loaded.
    fn stores(&self, table: &TableIdent) -> Stores;

    /// What this is, for messages; without secrets.
    fn describe(&self) -> String;
}

/// The kind of a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A database with Iceberg's JDBC tables: SQLite or PostgreSQL.
    Sql,
    /// The Iceberg REST protocol.
    Rest,
}

/// Which catalog to use (`[catalog]` of the configuration).
#[derive(Clone)]
pub struct CatalogConfig {
    /// The kind.
    pub kind: Kind,
    /// The name; SQL rows belong to it.
    pub name: String,
    /// `sqlite:…`, `postgres:…` or `http(s)://…`.
    pub uri: String,
    /// SQL: where new tables go (see [`crate::store::Warehouse`]). REST: the catalog's own name for a warehouse.
    pub warehouse: String,
    /// REST: `token`, `credential`, `scope`, `oauth2-server-uri`, `prefix`, `header.…`.
    pub properties: BTreeMap<String, String>,
    /// The time for one request with its answer.
    pub request_timeout: Duration,
}

impl fmt::Debug for CatalogConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogConfig")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("uri", &without_secrets(&self.uri))
            .field("warehouse", &self.warehouse)
            // values may be secrets
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .field("request_timeout", &self.request_timeout)
            .finish()
    }
}

/// Opens a catalog and makes sure that it answers, as what it should be.
pub async fn connect(config: &CatalogConfig, stores: &Stores) -> Result<Arc<dyn Catalog>> {
    if config.name.trim().is_empty() {
        return Err(Error::config("the catalog has no name").fix("set catalog.name"));
    }
    match config.kind {
        Kind::Sql => Ok(Arc::new(sql::SqlCatalog::connect(config, stores).await?)),
        Kind::Rest => Ok(Arc::new(rest::RestCatalog::connect(config, stores).await?)),
    }
}

/// A URI as it may be printed: without user, password and parameters.
fn without_secrets(uri: &str) -> String {
    let uri = uri.split('?').next().unwrap_or(uri);
    match uri.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split('/').next().unwrap_or(rest);
            let user = host.rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[user..])
        }
        None => uri.to_owned(),
    }
}

fn namespace_ident(namespace: &str) -> Result<NamespaceIdent> {
    if namespace.split('.').any(str::is_empty) {
        return Err(Error::config("a namespace needs a name between its dots").at(format!("namespace {namespace:?}")));
    }
    NamespaceIdent::from_strs(namespace.split('.')).map_err(|e| iceberg_error("a bad namespace", e))
}

/// What must be true of the table for a commit on `base` to be applied.
fn requirements(base: &Table) -> Vec<TableRequirement> {
    let metadata = base.metadata();
    vec![
        TableRequirement::UuidMatch { uuid: metadata.uuid() },
        TableRequirement::RefSnapshotIdMatch {
            r#ref: MAIN.into(),
            snapshot_id: metadata.snapshot_for_ref(MAIN).map(|s| s.snapshot_id()),
        },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: metadata.current_schema_id() },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: metadata.default_partition_spec_id() },
    ]
}

#[cfg(test)]
#[path = "catalog/tests.rs"]
mod tests;
