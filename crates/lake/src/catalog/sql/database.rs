//! The two tables of Iceberg's JDBC catalog, over sqlx.
//!
//! Version 1 of the layout has the column `iceberg_type` (tables and views in one table), version 0 has not; both are
//! served. What is missing is made in version 1.

use super::fault::Fault;
use crate::catalog::CatalogConfig;
use iceberg::TableIdent;
use k2_model::{Error, Result, retry::Backoff};
use sqlx::any::{AnyPoolOptions, AnyRow, install_default_drivers};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Connection as _, Executor, Row as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// Connections per process. Statements are short; SQLite writes one at a time anyway.
const CONNECTIONS: u32 = 8;

/// How long SQLite waits for another writer, and we for a connection.
const BUSY: Duration = Duration::from_secs(10);

const TABLES: &str = "CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name))";

const NAMESPACES: &str = "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000),
    PRIMARY KEY (catalog_name, namespace, property_key))";

/// The key of a table's row.
pub(super) struct Row {
    namespace: String,
    name: String,
}

impl Row {
    pub(super) fn of(table: &TableIdent) -> Self {
        Self { namespace: table.namespace().join("."), name: table.name().to_owned() }
    }
}

/// A pool on the catalog's database, speaking of one `catalog_name`.
#[derive(Debug)]
pub(super) struct Database {
    pool: AnyPool,
    catalog: String,
    /// ` AND …` that leaves views out, where the layout can tell.
    tables_only: &'static str,
    timeout: Duration,
}

/// A connection held for one compare-and-swap.
pub(super) struct Connection<'a> {
    database: &'a Database,
    inner: PoolConnection<Any>,
}

impl Database {
    pub(super) async fn connect(config: &CatalogConfig) -> Result<Self> {
        install_default_drivers();
        let uri = uri(&config.uri)?;
        let deadline = Instant::now() + BUSY;
        let mut backoff = Backoff::default();
        loop {
            // other processes may be setting up the same file at this moment
            match Self::try_connect(config, &uri).await {
                Err(Fault::NotApplied(_)) if Instant::now() < deadline => tokio::time::sleep(backoff.pause()).await,
                Err(fault) => return Err(fault.into_read_error("cannot open the catalog's database")),
                Ok(database) => return database,
            }
        }
    }

    /// The inner result is about what is in the database, the outer one about talking to it.
    async fn try_connect(config: &CatalogConfig, uri: &str) -> Result<Result<Self>, Fault> {
        let sqlite = uri.starts_with("sqlite:");
        // a connection without a pool tells at once what is wrong; a pool tries until its time is up
        let first = async {
            let mut connection = AnyConnection::connect(uri).await?;
            set_up(&mut connection, sqlite).await?;
            connection.close().await
        };
        tokio::time::timeout(config.request_timeout, first).await.map_err(|_| Fault::TimedOut)?.map_err(Fault::of)?;
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(config.request_timeout.min(BUSY))
            .after_connect(move |connection, _| Box::pin(set_up(connection, sqlite)))
            .connect_lazy(uri)
            .map_err(Fault::of)?;
        let mut database =
            Self { pool, catalog: config.name.clone(), tables_only: "", timeout: config.request_timeout };
        Ok(database.prepare(sqlite).await?.map(|()| database))
    }

    /// Makes the tables if they are missing, and makes sure that they are a catalog's.
    async fn prepare(&mut self, sqlite: bool) -> Result<Result<()>, Fault> {
        for (table, create, needed) in [
            (
                "iceberg_tables",
                TABLES,
                &["catalog_name", "table_namespace", "table_name", "metadata_location", "previous_metadata_location"][..],
            ),
            (
                "iceberg_namespace_properties",
                NAMESPACES,
                &["catalog_name", "namespace", "property_key", "property_value"][..],
            ),
        ] {
            let mut columns = self.columns(table, sqlite).await?;
            if columns.is_empty() {
                match self.execute(create, &[]).await {
                    // PostgreSQL: two processes creating the same table at once
                    Ok(_) | Err(Fault::Duplicate(_)) => {}
                    Err(fault) => return Err(fault),
                }
                columns = self.columns(table, sqlite).await?;
            }
            if let Some(missing) = needed.iter().find(|needed| !columns.iter().any(|c| c == *needed)) {
                return Ok(Err(Error::config(format!("the database's table {table} has no column {missing}"))
                    .fix("it is no Iceberg SQL catalog, or of another version: use another database")));
            }
            if columns.iter().any(|c| c == "iceberg_type") {
                self.tables_only = " AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
            }
        }
        Ok(Ok(()))
    }

    async fn columns(&self, table: &str, sqlite: bool) -> Result<Vec<String>, Fault> {
        let query = if sqlite {
            "SELECT name FROM pragma_table_info($1)"
        } else {
            "SELECT CAST(column_name AS TEXT) FROM information_schema.columns
             WHERE table_name = $1 AND table_schema = current_schema()"
        };
        self.texts(query, &[table]).await
    }

    pub(super) async fn namespace_exists(&self, namespace: &str) -> Result<bool> {
        let query = "SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2
            UNION SELECT table_namespace FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2";
        let found = self.texts(query, &[&self.catalog, namespace]).await;
        let found = found.map_err(|f| f.into_read_error("cannot look up the namespace"))?;
        Ok(!found.is_empty())
    }

    /// The row `exists = true` is what other implementations write for a namespace without properties.
    pub(super) async fn insert_namespace(&self, namespace: &str) -> Result<(), Fault> {
        let insert = "INSERT INTO iceberg_namespace_properties
            (catalog_name, namespace, property_key, property_value) VALUES ($1, $2, 'exists', 'true')";
        self.execute(insert, &[&self.catalog, namespace]).await.map(drop)
    }

    /// Where the namespace wants its tables.
    pub(super) async fn namespace_location(&self, namespace: &str) -> Result<Option<String>> {
        let query = "SELECT property_value FROM iceberg_namespace_properties
            WHERE catalog_name = $1 AND namespace = $2 AND property_key = 'location'";
        let found = self.texts(query, &[&self.catalog, namespace]).await;
        let found = found.map_err(|f| f.into_read_error("cannot look up the namespace"))?;
        Ok(found.into_iter().next().filter(|location| !location.is_empty()))
    }

    pub(super) async fn tables(&self, namespace: &str) -> Result<Vec<String>> {
        let query = format!(
            "SELECT table_name FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2{} ORDER BY 1",
            self.tables_only
        );
        let found = self.texts(&query, &[&self.catalog, namespace]).await;
        found.map_err(|f| f.into_read_error("cannot list the tables").at(format!("namespace {namespace}")))
    }

    pub(super) async fn metadata_location(&self, row: &Row) -> Result<Option<String>> {
        let query = format!(
            "SELECT metadata_location FROM iceberg_tables
             WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3{}",
            self.tables_only
        );
        let found = self.texts(&query, &[&self.catalog, &row.namespace, &row.name]).await;
        let found = found.map_err(|f| f.into_read_error("cannot look up the table"))?;
        Ok(found.into_iter().next())
    }

    pub(super) async fn insert_table(&self, row: &Row, location: &str) -> Result<(), Fault> {
        let (column, value) = if self.tables_only.is_empty() { ("", "") } else { (", iceberg_type", ", 'TABLE'") };
        let insert = format!(
            "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location{column})
             VALUES ($1, $2, $3, $4{value})"
        );
        self.execute(&insert, &[&self.catalog, &row.namespace, &row.name, location]).await.map(drop)
    }

    /// A live connection: an error here is certain to have changed nothing.
    pub(super) async fn acquire(&self) -> Result<Connection<'_>> {
        match self.pool.acquire().await {
            Ok(inner) => Ok(Connection { database: self, inner }),
            Err(e) => Err(Error::retry("cannot reach the catalog's database").caused_by(e)),
        }
    }

    async fn texts(&self, query: &str, values: &[&str]) -> Result<Vec<String>, Fault> {
        let rows = self.bounded(bind(query, values).fetch_all(&self.pool)).await?;
        rows.iter()
            .map(|row: &AnyRow| Ok(row.try_get::<Option<String>, _>(0)?.unwrap_or_default()))
            .collect::<Result<_, sqlx::Error>>()
            .map_err(Fault::of)
    }

    async fn execute(&self, statement: &str, values: &[&str]) -> Result<u64, Fault> {
        self.bounded(bind(statement, values).execute(&self.pool)).await.map(|done| done.rows_affected())
    }

    async fn bounded<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Fault> {
        tokio::time::timeout(self.timeout, work).await.map_err(|_| Fault::TimedOut)?.map_err(Fault::of)
    }
}

impl Connection<'_> {
    /// Moves the row from one metadata file to the next; returns the number of rows that were there to move.
    pub(super) async fn swap(mut self, row: &Row, from: &str, to: &str) -> Result<u64, Fault> {
        let update = format!(
            "UPDATE iceberg_tables SET metadata_location = $1, previous_metadata_location = $2
             WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5 AND metadata_location = $2{}",
            self.database.tables_only
        );
        let values = [to, from, &self.database.catalog, &row.namespace, &row.name];
        let swapped = self.database.bounded(bind(&update, &values).execute(&mut *self.inner)).await;
        if matches!(swapped, Err(Fault::TimedOut)) {
            // a connection in mid-statement goes back to no pool
            drop(self.inner.detach());
        }
        swapped.map(|done| done.rows_affected())
    }
}

/// SQLite: readers beside a writer, and a commit that is answered survives a power cut.
async fn set_up(connection: &mut AnyConnection, sqlite: bool) -> Result<(), sqlx::Error> {
    if sqlite {
        let busy = format!("PRAGMA busy_timeout = {}", BUSY.as_millis());
        connection.execute(&*busy).await?;
        connection.execute("PRAGMA journal_mode = WAL").await?;
        connection.execute("PRAGMA synchronous = FULL").await?;
    }
    Ok(())
}

fn bind<'q>(query: &'q str, values: &[&'q str]) -> sqlx::query::Query<'q, Any, sqlx::any::AnyArguments<'q>> {
    values.iter().fold(sqlx::query(query), |query, value| query.bind(*value))
}

/// The uri as sqlx wants it. SQLite: the file is created, with its folder.
fn uri(uri: &str) -> Result<String> {
    if let Some(rest) = uri.strip_prefix("sqlite:") {
        let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err(Error::config("catalog.uri names no file").fix("write it as sqlite:folder/catalog.db"));
        }
        if let Some(folder) = Path::new(path).parent().filter(|f| !f.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| {
                Error::config("cannot create the folder of the catalog's database").at(path).caused_by(e)
            })?;
        }
        let mode = if parameters.split('&').any(|p| p.starts_with("mode=")) { "" } else { "mode=rwc" };
        let between = if parameters.is_empty() || mode.is_empty() { "" } else { "&" };
        return Ok(format!("sqlite:{path}?{parameters}{between}{mode}"));
    }
    // SQLAlchemy names its driver as well: postgresql+psycopg2://
    match uri.split_once("://") {
        Some((scheme, rest)) if scheme.split('+').next().is_some_and(|s| matches!(s, "postgres" | "postgresql")) => {
            Ok(format!("postgres://{rest}"))
        }
        _ => Err(Error::config("catalog.uri is neither sqlite: nor postgres:").fix(
            "use sqlite:folder/catalog.db or postgres://user@host/database, or set catalog.type to rest for http",
        )),
    }
}
