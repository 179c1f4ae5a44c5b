//! The catalog as one query sees it: every table is loaded once, when its name first comes up, and stays the same until
//! the query ends. The next query reads everything afresh; nothing is kept between them.

use crate::error::to_datafusion;
use crate::metadata::MetadataSource;
use crate::names::Target;
use crate::table::DataTable;
use crate::travel::State;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::error::DataFusionError;
use iceberg::spec::SnapshotRef;
use iceberg::table::Table;
use iceberg::{NamespaceIdent, TableIdent};
use k2_lake::catalog::Catalog;
use k2_model::{Error, Result};
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;

/// One query's sight of the catalog.
pub(crate) struct View {
    catalog: Arc<dyn Catalog>,
    name: String,
    namespace: String,
    loaded: Mutex<HashMap<TableIdent, Option<Table>>>,
    /// The tables of the default namespace, for `SHOW TABLES` only: DataFusion asks for them where it can't wait.
    listed: OnceLock<Vec<String>>,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("catalog", &self.name).field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl View {
    pub(crate) fn new(catalog: Arc<dyn Catalog>, name: &str, namespace: &str) -> Self {
        Self {
            catalog,
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            loaded: Mutex::default(),
            listed: OnceLock::new(),
        }
    }

    /// What the catalog is called in SQL.
    pub(crate) fn catalog_name(&self) -> &str {
        &self.name
    }

    /// Where names of one part live.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The catalog's name for a table. A namespace in levels is one quoted part: `"a.b".t`.
    pub(crate) fn ident(&self, namespace: &str, table: &str) -> TableIdent {
        let levels = NamespaceIdent::from_strs(namespace.split('.'));
        TableIdent::new(levels.unwrap_or_else(|_| NamespaceIdent::new(namespace.to_owned())), table.to_owned())
    }

    /// The table as it was when the query first asked for it.
    pub(crate) async fn table(&self, ident: &TableIdent) -> Result<Option<Table>> {
        let mut loaded = self.loaded.lock().await;
        if let Some(known) = loaded.get(ident) {
            return Ok(known.clone());
        }
        let table = self.catalog.load(ident).await?;
        loaded.insert(ident.clone(), table.clone());
        Ok(table)
    }

    /// Whether there is such a table.
    pub(crate) async fn exists(&self, namespace: &str, table: &str) -> Result<bool> {
        Ok(self.table(&self.ident(namespace, table)).await?.is_some())
    }

    /// Reads the list of tables now.
    pub(crate) async fn list(&self) -> Result<Vec<String>> {
        let tables = self.catalog.tables(&self.namespace).await?;
        Ok(self.listed.get_or_init(|| tables).clone())
    }

    /// The error for a table that is not there; names what there is.
    pub(crate) async fn missing(&self, namespace: &str, table: &str) -> Error {
        let error = Error::config(format!("there is no table {namespace}.{table}"));
        let Ok(tables) = self.catalog.tables(namespace).await else { return error };
        let near: Vec<&String> = tables.iter().filter(|known| strsim::jaro_winkler(known, table) > 0.85).collect();
        let (lead, names) = if near.is_empty() { ("There are", tables.iter().collect()) } else { ("Near", near) };
        if tables.is_empty() {
            return error.fix(format!("There is no table in {namespace} yet; k2 tables create makes them"));
        }
        error.fix(format!("{lead}: {}", names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")))
    }

    /// The id of the snapshot that was asked for.
    pub(crate) async fn snapshot(&self, ident: &TableIdent, state: &State) -> Result<i64> {
        let Some(table) = self.table(ident).await? else {
            return Err(self.missing(&ident.namespace().join("."), ident.name()).await);
        };
        match state {
            State::Snapshot(id) => snapshot_of(&table, *id).map(|s| s.snapshot_id()),
            State::Reference(name) => match table.metadata().snapshot_for_ref(name) {
                Some(snapshot) => Ok(snapshot.snapshot_id()),
                None => Err(Error::config(format!("there is no branch or tag {name}"))
                    .at(format!("table {}", ident.name()))
                    .fix(format!("{}.refs lists them", ident.name()))),
            },
            State::At(micros) => snapshot_at(&table, *micros),
        }
    }
}

/// The snapshot of this id.
pub(crate) fn snapshot_of(table: &Table, id: i64) -> Result<SnapshotRef> {
    let name = table.identifier().name();
    table.metadata().snapshot_by_id(id).cloned().ok_or_else(|| {
        Error::config(format!("there is no snapshot {id}"))
            .at(format!("table {name}"))
            .fix(format!("{name}.snapshots lists them; those that have expired are gone for good"))
    })
}

/// The snapshot that was current at a time: the last one in the history that is not younger.
fn snapshot_at(table: &Table, micros: i64) -> Result<i64> {
    let metadata = table.metadata();
    let current = metadata.history().iter().rev().find(|entry| entry.timestamp_ms().saturating_mul(1000) <= micros);
    current.map(|entry| entry.snapshot_id).ok_or_else(|| {
        let name = table.identifier().name();
        let error = Error::config(format!("there was no snapshot yet at {}", rfc3339(micros)));
        let first = metadata.history().first().map(|entry| entry.timestamp_ms().saturating_mul(1000));
        error.at(format!("table {name}")).fix(match first {
            Some(first) => format!("The first that is known is of {}", rfc3339(first)),
            None => "Nothing has been written to it so far".to_owned(),
        })
    })
}

fn rfc3339(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros)
        .map_or_else(|| format!("{micros} µs"), |t| t.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

/// The catalog, for DataFusion.
#[derive(Debug)]
pub(crate) struct CatalogView(pub(crate) Arc<View>);

impl CatalogProvider for CatalogView {
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn schema_names(&self) -> Vec<String> {
        vec![self.0.namespace.clone()]
    }
    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        // any namespace may exist: the catalog is asked for the table itself
        Some(Arc::new(NamespaceView { view: Arc::clone(&self.0), namespace: name.to_owned() }))
    }
}

/// A namespace, for DataFusion.
#[derive(Debug)]
struct NamespaceView {
    view: Arc<View>,
    namespace: String,
}

#[async_trait]
impl SchemaProvider for NamespaceView {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn table_names(&self) -> Vec<String> {
        if self.namespace == self.view.namespace {
            self.view.listed.get().cloned().unwrap_or_default()
        } else {
            Vec::new()
        }
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let target = Target::parse(name);
        let ident = self.view.ident(&self.namespace, &target.table);
        let Some(table) = self.view.table(&ident).await.map_err(to_datafusion)? else { return Ok(None) };
        let snapshot = target.snapshot.map(|id| snapshot_of(&table, id)).transpose().map_err(to_datafusion)?;
        match target.metadata {
            Some(metadata) => Ok(Some(MetadataSource::provider(table, metadata, snapshot)?)),
            None => Ok(Some(Arc::new(DataTable::new(table, snapshot)?))),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|known| known == name)
    }
}
