//! The SQL catalog: Iceberg's JDBC tables in SQLite or PostgreSQL, and a compare-and-swap.
//!
//! # A commit
//! 1. Apply the updates to the base's metadata, in memory.
//! 2. Write the new metadata file under a name of its own.
//! 3. `UPDATE … SET metadata_location = new WHERE … AND metadata_location = base`, one statement, sent once.
//!
//! One row: committed. No row: the base has moved, and our file is certainly nobody's - it is deleted. No clear
//! answer: unknown, and nothing is deleted, for the row may name our file.
//!
//! # Crash leftovers
//! A metadata file that no row names (between 2 and 3), or old metadata files that delete-after-commit did not get
//! to: both are orphans.

mod database;
mod fault;

use super::{Catalog, CatalogConfig, CommitFailure, namespace_ident, without_secrets};
use crate::store::{Stores, Warehouse, iceberg_error, is_not_found};
use async_trait::async_trait;
use database::{Database, Row};
use fault::Fault;
use iceberg::spec::{TableMetadata, TableMetadataBuildResult, TableMetadataBuilder};
use iceberg::table::Table;
use iceberg::{MetadataLocation, Runtime, TableCreation, TableIdent, TableUpdate};
use k2_model::{Class, Error, Result};
use std::time::Duration;

/// How long old metadata files may hold up a commit that has succeeded.
const CLEAN_UP_WITHIN: Duration = Duration::from_secs(5);

/// How often a load follows a head that moves under it.
const LOAD_ATTEMPTS: usize = 5;

/// Snapshots may lie this much behind the table's last change (iceberg's own limit).
const CLOCK_SKEW_MS: i64 = 60_000;

/// See the module.
#[derive(Debug)]
pub(super) struct SqlCatalog {
    database: Database,
    shown: String,
    warehouse: Warehouse,
    stores: Stores,
    runtime: Runtime,
}

impl SqlCatalog {
    pub(super) async fn connect(config: &CatalogConfig, stores: &Stores) -> Result<Self> {
        let warehouse = Warehouse::parse(&config.warehouse)?;
        let shown = format!("SQL catalog {} at {}", config.name, without_secrets(&config.uri));
        let database = Database::connect(config).await.map_err(|e| e.at(shown.clone()))?;
        let runtime = Runtime::try_current().map_err(|e| iceberg_error("cannot open the catalog", e))?;
        Ok(Self { database, shown, warehouse, stores: stores.clone(), runtime })
    }

    fn table(&self, ident: TableIdent, location: String, metadata: TableMetadata) -> Result<Table> {
        Table::builder()
            .file_io(self.stores.file_io())
            .identifier(ident)
            .metadata_location(location)
            .metadata(metadata)
            .runtime(self.runtime.clone())
            .build()
            .map_err(|e| iceberg_error("cannot open the table", e))
    }

    /// The default location: below the namespace's own, if it has one, as other engines do.
    async fn default_location(&self, namespace: &str, name: &str) -> Result<String> {
        let root = match self.database.namespace_location(namespace).await? {
            Some(location) => Warehouse::parse(&location)?.location().to_owned(),
            None => format!("{}/{}", self.warehouse.location(), namespace.replace('.', "/")),
        };
        Ok(format!("{root}/{name}"))
    }

    /// Deletes a metadata file that certainly nobody refers to.
    async fn discard(&self, location: &str) {
        let deleted = tokio::time::timeout(CLEAN_UP_WITHIN, self.stores.delete(location)).await;
        if !matches!(deleted, Ok(Ok(()))) {
            tracing::debug!(location, "a metadata file stays behind; the orphan job removes it");
        }
    }
}

#[async_trait]
impl Catalog for SqlCatalog {
    async fn ensure_namespace(&self, namespace: &str) -> Result<()> {
        namespace_ident(namespace)?;
        if self.database.namespace_exists(namespace).await? {
            return Ok(());
        }
        match self.database.insert_namespace(namespace).await {
            Ok(()) | Err(Fault::Duplicate(_)) => Ok(()),
            Err(fault) => Err(fault.into_error("cannot create the namespace").at(format!("namespace {namespace}"))),
        }
    }

    async fn namespace_exists(&self, namespace: &str) -> Result<bool> {
        self.database.namespace_exists(namespace).await
    }

    async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        self.database.tables(namespace).await
    }

    async fn load(&self, table: &TableIdent) -> Result<Option<Table>> {
        let mut tried = None;
        for _ in 0..LOAD_ATTEMPTS {
            let Some(location) = self.database.metadata_location(&Row::of(table)).await? else { return Ok(None) };
            let file_io = self.stores.file_io();
            match TableMetadata::read_from(&file_io, &location).await {
                Ok(metadata) => return self.table(table.clone(), location, metadata).map(Some),
                Err(e) => {
                    let error = iceberg_error("cannot read the table's metadata", e).at(format!("table {table}"));
                    if !is_not_found(&error) {
                        return Err(error);
                    }
                    // others may have moved on so far that this file is deleted already: then the row has changed
                    if tried.as_ref() == Some(&location) {
                        return Err(error
                            .with_class(Class::Halt)
                            .fix("the catalog names a metadata file that is gone: restore it from a backup"));
                    }
                    tried = Some(location);
                }
            }
        }
        Err(Error::retry("the table changes faster than it can be loaded").at(format!("table {table}")))
    }

    async fn create(&self, namespace: &str, mut creation: TableCreation) -> Result<Table> {
        let ident = TableIdent::new(namespace_ident(namespace)?, creation.name.clone());
        if let Some(table) = self.load(&ident).await? {
            return Ok(table);
        }
        let at = |e: Error| e.at(format!("table {ident}"));
        let location = match creation.location.take() {
            Some(location) => Warehouse::parse(&location)?.location().to_owned(),
            None => self.default_location(namespace, &creation.name).await?,
        };
        creation.location = Some(location.clone());
        let metadata = TableMetadataBuilder::from_table_creation(creation)
            .and_then(TableMetadataBuilder::build)
            .map_err(|e| at(iceberg_error("cannot make the table's metadata", e)))?
            .metadata;
        let file = MetadataLocation::new_with_metadata(location, &metadata);
        let written = metadata.write_to(&self.stores.file_io(), &file).await;
        written.map_err(|e| at(iceberg_error("cannot write the table's metadata", e)))?;
        let file = file.to_string();
        match self.database.insert_table(&Row::of(&ident), &file).await {
            Ok(()) => self.table(ident, file, metadata),
            Err(Fault::Duplicate(_)) => {
                self.discard(&file).await;
                let theirs = self.load(&ident).await?;
                theirs.ok_or_else(|| at(Error::retry("the table was created and dropped by somebody else")))
            }
            Err(fault) => {
                if !fault.may_have_happened() {
                    self.discard(&file).await;
                }
                Err(at(fault.into_error("cannot create the table")))
            }
        }
    }

    async fn commit(&self, base: &Table, updates: Vec<TableUpdate>) -> Result<Table, CommitFailure> {
        let at = |e: Error| e.at(format!("table {}", base.identifier()));
        let from = base.metadata_location_result();
        let from = from.map_err(|e| CommitFailure::Refused(at(iceberg_error("cannot commit", e))))?;
        let TableMetadataBuildResult { metadata, expired_metadata_logs, .. } = apply(base, from, updates)?;
        let file = next_file(from, &metadata);

        // the connection first: without one, no file is written
        let connection = self.database.acquire().await.map_err(|e| CommitFailure::NotApplied(at(e)))?;
        let written = metadata.write_to(base.file_io(), &file).await;
        written.map_err(|e| CommitFailure::NotApplied(at(iceberg_error("cannot write the table's metadata", e))))?;
        fail::fail_point!("sql-commit-metadata-written");

        let file = file.to_string();
        let swapped = connection.swap(&Row::of(base.identifier()), from, &file).await;
        fail::fail_point!("sql-commit-swapped");
        match swapped {
            Ok(0) => {
                self.discard(&file).await;
                Err(CommitFailure::Conflict(at(Error::re_read("the table has moved since it was read"))))
            }
            Ok(_) => {
                if deletes_old_metadata(&metadata) {
                    for old in &expired_metadata_logs {
                        self.discard(&old.metadata_file).await;
                    }
                }
                // it has happened: a table that cannot be opened is a matter of reading it again
                self.table(base.identifier().clone(), file, metadata).map_err(|e| CommitFailure::Unknown(at(e)))
            }
            Err(fault) => {
                if !fault.may_have_happened() {
                    self.discard(&file).await;
                }
                Err(fault.into_failure("cannot commit", at))
            }
        }
    }

    fn stores(&self, _: &TableIdent) -> Stores {
        self.stores.clone()
    }

    fn describe(&self) -> String {
        self.shown.clone()
    }
}

/// The metadata after the updates.
fn apply(base: &Table, from: &str, updates: Vec<TableUpdate>) -> Result<TableMetadataBuildResult, CommitFailure> {
    let at = |e: Error| e.at(format!("table {}", base.identifier()));
    let last_change = base.metadata().last_updated_ms();
    for update in &updates {
        if let TableUpdate::AddSnapshot { snapshot } = update
            && snapshot.timestamp_ms() < last_change - CLOCK_SKEW_MS
        {
            let behind = (last_change - snapshot.timestamp_ms()) / 1000;
            return Err(CommitFailure::NotApplied(at(Error::retry(format!(
                "this machine's clock is {behind} s behind the table's last change"
            ))
            .fix("set the clock; commits go on when it has caught up"))));
        }
    }
    let mut builder = base.metadata().clone().into_builder(Some(from.to_owned()));
    for update in updates {
        let applied = update.apply(builder);
        builder = applied.map_err(|e| CommitFailure::Refused(at(iceberg_error("the commit makes no sense", e))))?;
    }
    builder.build().map_err(|e| CommitFailure::Refused(at(iceberg_error("the commit makes no sense", e))))
}

/// The next metadata file: beside the last one and one version on; in the table's own folder if another engine has
/// named the last one in a way of its own.
fn next_file(from: &str, metadata: &TableMetadata) -> MetadataLocation {
    match from.parse::<MetadataLocation>() {
        Ok(last) => last.with_next_version().with_new_metadata(metadata),
        Err(_) => MetadataLocation::new_with_metadata(metadata.location(), metadata),
    }
}

fn deletes_old_metadata(metadata: &TableMetadata) -> bool {
    let property = metadata.properties().get("write.metadata.delete-after-commit.enabled");
    property.is_some_and(|v| v.eq_ignore_ascii_case("true"))
}
