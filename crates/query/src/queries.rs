//! The door: a statement in, a stream of record batches out.

use crate::error::from_datafusion;
use crate::statement::{parse, refusal, resolve_names, table_functions};
use crate::travel::{AsOf, State};
use crate::view::{CatalogView, View};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion::catalog::{CatalogProviderList, MemoryCatalogProviderList};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::{SQLOptions, SessionContext, SessionState};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::SessionConfig;
use datafusion::sql::TableReference;
use datafusion::sql::sqlparser::ast::Expr;
use futures::StreamExt;
use iceberg::spec::{NestedField, NestedFieldRef, Type};
use k2_lake::catalog::Catalog;
use k2_model::{Error, Result};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Answers SQL. One for a process; each query stands on its own.
pub struct Queries {
    catalog: Arc<dyn Catalog>,
    catalog_name: String,
    namespace: String,
    /// Functions and rules; cheap to start a query's own session from.
    session: SessionState,
}

/// A table's column, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Iceberg type.
    pub data_type: String,
    /// It has a value in every row.
    pub required: bool,
}

impl Queries {
    /// Over a catalog, under the name that it shall have in SQL; `namespace` is where a bare table name is looked up.
    /// Joins, sorts and groups of all queries together take at most `memory_limit` bytes, then they spill to the
    /// temporary folder or fail.
    pub fn open(catalog: Arc<dyn Catalog>, catalog_name: &str, namespace: &str, memory_limit: u64) -> Result<Self> {
        let limit = usize::try_from(memory_limit).unwrap_or(usize::MAX);
        let config = SessionConfig::new()
            .with_default_catalog_and_schema(catalog_name, namespace)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true)
            // money is decimal: 100.5 must not turn a price into a float, and Spark reads it the same way
            .set_bool("datafusion.sql_parser.parse_float_as_decimal", true)
            // now() is a moment, like every time in the tables
            .set_str("datafusion.execution.time_zone", "+00:00")
            // what a sort sets aside for merging what it has spilled: its 10 MB are too much of a small limit
            .set_usize("datafusion.execution.sort_spill_reservation_bytes", (limit / 32).min(10 << 20));
        let mut session = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime(limit)?)
            .with_default_features()
            .build();
        crate::functions::register(&mut session).map_err(from_datafusion)?;
        Ok(Self { catalog, catalog_name: catalog_name.to_owned(), namespace: namespace.to_owned(), session })
    }

    /// Plans one statement and starts it. Rows are read as the stream is polled.
    pub async fn run(&self, sql: &str) -> Result<QueryStream> {
        let mut parsed = parse(sql)?;
        let mut states = Vec::with_capacity(parsed.clauses.len());
        for clause in &parsed.clauses {
            states.push(self.state(clause).await?);
        }
        let view = Arc::new(View::new(Arc::clone(&self.catalog), &self.catalog_name, &self.namespace));
        resolve_names(&mut parsed.statement, &states, &view).await?;

        let session = self.session_over(&view);
        let functions = table_functions(&parsed.statement);
        let names = session.resolve_table_references(&parsed.statement).map_err(from_datafusion)?;
        self.check_names(&view, &names, &functions).await?;

        let plan = session.statement_to_plan(parsed.statement).await.map_err(from_datafusion)?;
        let reads = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        reads.verify_plan(&plan).map_err(|_| refusal("this statement"))?;
        let frame = DataFrame::new(session, plan);
        let stream = frame.execute_stream().await.map_err(from_datafusion)?;
        Ok(QueryStream { stream })
    }

    /// The tables that a bare name reaches.
    pub async fn tables(&self) -> Result<Vec<String>> {
        self.catalog.tables(&self.namespace).await
    }

    /// The columns of a table of the default namespace.
    pub async fn columns(&self, table: &str) -> Result<Vec<Column>> {
        let view = View::new(Arc::clone(&self.catalog), &self.catalog_name, &self.namespace);
        let Some(found) = view.table(&view.ident(&self.namespace, table)).await? else {
            return Err(view.missing(&self.namespace, table).await);
        };
        let column = |field: &NestedFieldRef| Column {
            name: field.name.clone(),
            data_type: type_text(&field.field_type),
            required: field.required,
        };
        Ok(found.metadata().current_schema().as_struct().fields().iter().map(column).collect())
    }

    /// A session that sees the catalog through this view.
    fn session_over(&self, view: &Arc<View>) -> SessionState {
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(self.catalog_name.clone(), Arc::new(CatalogView(Arc::clone(view))));
        let mut session =
            SessionStateBuilder::new_from_existing(self.session.clone()).with_catalog_list(Arc::new(catalogs)).build();
        // now() is one moment for the whole query
        session.mark_start_execution();
        session
    }

    /// Says which table is missing, before DataFusion says it less well.
    async fn check_names(&self, view: &View, names: &[TableReference], functions: &[String]) -> Result<()> {
        for name in names {
            let catalog = name.catalog().unwrap_or(&self.catalog_name);
            let namespace = name.schema().unwrap_or(&self.namespace);
            if name.schema().is_none() && functions.iter().any(|f| f == &name.table().to_lowercase()) {
                continue;
            }
            if namespace == "information_schema" {
                view.list().await?;
                continue;
            }
            if catalog != self.catalog_name {
                return Err(Error::config(format!("there is no catalog {catalog}"))
                    .fix(format!("The catalog is called {}", self.catalog_name)));
            }
            let table = crate::names::Target::parse(name.table()).table;
            if !view.exists(namespace, &table).await? {
                return Err(view.missing(namespace, &table).await);
            }
        }
        Ok(())
    }

    /// Works out the time of a clause.
    async fn state(&self, clause: &AsOf) -> Result<State> {
        match clause {
            AsOf::Snapshot(id) => Ok(State::Snapshot(*id)),
            AsOf::Reference(name) => Ok(State::Reference(name.clone())),
            AsOf::Time(expr) => self.time(expr).await.map(State::At),
        }
    }

    /// The value of a constant expression as microseconds since 1970: a time, a day, its text (UTC where it names no
    /// zone), or a whole number of seconds, as in Spark.
    async fn time(&self, expr: &Expr) -> Result<i64> {
        let wrong = || {
            Error::config(format!("{expr} is not a time"))
                .fix("Write TIMESTAMP AS OF '2026-01-31 12:00:00', or an expression such as now() - INTERVAL '1 hour'")
        };
        let context = SessionContext::new_with_state(self.session.clone());
        let frame = context.sql(&format!("SELECT {expr}")).await.map_err(|e| wrong().caused_by(e))?;
        let batches = frame.collect().await.map_err(|e| wrong().caused_by(e))?;
        let batch = batches.iter().find(|batch| batch.num_rows() == 1).ok_or_else(wrong)?;
        let value = batch.column(0);
        if let Some(seconds) = value.as_primitive_opt::<Int64Type>().filter(|v| v.is_valid(0)) {
            return seconds.value(0).checked_mul(1_000_000).ok_or_else(wrong);
        }
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let time = cast(value, &utc).map_err(|e| wrong().caused_by(e))?;
        let time = time.as_primitive_opt::<TimestampMicrosecondType>().filter(|v| v.is_valid(0)).ok_or_else(wrong)?;
        Ok(time.value(0))
    }
}

/// A type as the contract writes it: `list<struct<key string, value binary?>>`. Iceberg's own text ends at `list`.
fn type_text(kind: &Type) -> String {
    let optional = |field: &NestedField| if field.required { "" } else { "?" };
    match kind {
        Type::Primitive(kind) => kind.to_string(),
        Type::Struct(kind) => {
            let fields = kind.fields().iter();
            let fields = fields.map(|f| format!("{} {}{}", f.name, type_text(&f.field_type), optional(f)));
            format!("struct<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        Type::List(kind) => {
            format!("list<{}{}>", type_text(&kind.element_field.field_type), optional(&kind.element_field))
        }
        Type::Map(kind) => format!(
            "map<{}, {}{}>",
            type_text(&kind.key_field.field_type),
            type_text(&kind.value_field.field_type),
            optional(&kind.value_field)
        ),
    }
}

/// Where queries take their memory from, and spill to.
fn runtime(limit: usize) -> Result<Arc<RuntimeEnv>> {
    const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).unwrap();
    let pool = TrackConsumersPool::new(FairSpillPool::new(limit), CONSUMERS_NAMED);
    RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc().map_err(from_datafusion)
}

/// The rows of a query, as they come.
pub struct QueryStream {
    stream: SendableRecordBatchStream,
}

impl QueryStream {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema()
    }

    /// The next rows; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<RecordBatch>> {
        self.stream.next().await.map(|batch| batch.map_err(from_datafusion))
    }

    /// All rows. For what is known to be small.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

#[cfg(test)]
#[path = "queries/tests.rs"]
mod tests;
