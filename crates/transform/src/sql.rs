//! SQL to expressions that are evaluated over Arrow columns, with DataFusion: its parser, planner and optimiser, and our
//! functions. Nothing here executes a query: what comes out are expressions over one table, the decoded records.
//!
//! Invariants: 1. only pure functions get through - no clock, no chance - so that the same record always takes the same way
//! (ARCHITECTURE.md, invariant 3); 2. every error names file, line and column, and says what would be right there.

use crate::functions;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Column, DFSchema, DataFusionError, Result as DfResult, SchemaError, ToDFSchema, plan_datafusion_err,
};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::builder::LogicalTableSource;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, ScalarUDF, TableSource, Volatility, WindowUDF};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::prelude::SessionConfig;
use datafusion::sql::TableReference;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::planner::{NullOrdering, ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast;
use k2_model::{Error, Result};
use std::sync::Arc;

/// What the decoded records are called in a projection's FROM.
pub(crate) const TABLE: &str = "record";

/// A piece of SQL, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Snippet {
    /// The file's name, for messages.
    pub(crate) file: String,
    /// The SQL, moved by blanks to the line and column that it has in its file, so that the parser counts right.
    text: String,
}

impl Snippet {
    /// A whole file.
    pub(crate) fn file(file: &str, text: &str) -> Self {
        Self { file: file.to_owned(), text: text.to_owned() }
    }

    /// A text that begins at a place of a file; both count from 1.
    pub(crate) fn within(file: &str, text: &str, line: usize, column: usize) -> Self {
        let lead = "\n".repeat(line.saturating_sub(1)) + &" ".repeat(column.saturating_sub(1));
        Self { file: file.to_owned(), text: lead + text }
    }

    /// Where it begins.
    fn start(&self) -> Place {
        let lead = &self.text[..self.text.len() - self.text.trim_start().len()];
        let line = lead.matches('\n').count() + 1;
        let column = lead.len() - lead.rfind('\n').map_or(0, |place| place + 1) + 1;
        (count(line), count(column))
    }

    /// An error at a place of it; at its beginning where none is known.
    pub(crate) fn error(&self, what: impl Into<String>, place: Option<Place>) -> Error {
        let (line, column) = place.unwrap_or_else(|| self.start());
        Error::config(what).at(format!("{}:{line}:{column}", self.file))
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The planner, and the table that the SQL is about.
pub(crate) struct Sql {
    state: SessionState,
    table: Arc<dyn TableSource>,
}

impl Sql {
    /// A planner for SQL over one table of these columns.
    pub(crate) fn over(columns: SchemaRef) -> Self {
        let mut config = SessionConfig::new().with_target_partitions(1);
        let parser = &mut config.options_mut().sql_parser;
        parser.collect_spans = true;
        parser.map_string_types_to_utf8view = false;
        parser.parse_float_as_decimal = true;
        let mut state = SessionStateBuilder::new().with_config(config).with_default_features().build();
        for function in functions::all() {
            // an Err is for read-only registries; this one is not
            let _ = state.register_udf(Arc::new(function));
        }
        Self { state, table: Arc::new(LogicalTableSource::new(columns)) }
    }

    fn planner(&self) -> SqlToRel<'_, Self> {
        let options = ParserOptions::new()
            .with_collect_spans(true)
            .with_map_string_types_to_utf8view(false)
            .with_parse_float_as_decimal(true)
            .with_default_null_ordering(NullOrdering::NullsMax);
        SqlToRel::new_with_options(self, options)
    }

    /// Parses and plans one SELECT, with its types seen to, without optimising it.
    pub(crate) fn select(&self, sql: &Snippet) -> Result<(LogicalPlan, ast::Query)> {
        let names: Vec<_> = self.table.schema().fields().iter().map(|field| field.name().clone()).collect();
        let fail = |e: DataFusionError| failure(&e, &names);
        let parsed = DFParserBuilder::new(sql.text.as_str()).build().and_then(|mut p| p.parse_statements());
        let mut statements = parsed.map_err(|e| fail(e).error(sql))?;
        let (Some(Statement::Statement(statement)), None) = (statements.pop_front(), statements.pop_front()) else {
            return Err(sql.error("a projection is one SELECT, nothing else", None));
        };
        let ast::Statement::Query(query) = *statement else {
            return Err(sql.error("a projection is a SELECT, nothing else", None));
        };
        match self.planned(&query) {
            Ok(plan) => Ok((plan, *query)),
            Err(e) => Err(self.narrowed(&query, fail(e)).error(sql)),
        }
    }

    fn planned(&self, query: &ast::Query) -> DfResult<LogicalPlan> {
        let statement = ast::Statement::Query(Box::new(query.clone()));
        let plan = self.planner().statement_to_plan(Statement::Statement(Box::new(statement)))?;
        self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {})
    }

    /// Gives a failure without a place that of the first column which fails by itself, where not all do.
    fn narrowed(&self, query: &ast::Query, mut failure: Failure) -> Failure {
        let (None, ast::SetExpr::Select(select)) = (failure.place, &*query.body) else { return failure };
        let fails = |item: &&ast::SelectItem| {
            let mut one = query.clone();
            if let ast::SetExpr::Select(select) = &mut *one.body {
                select.projection = vec![(*item).clone()];
            }
            self.planned(&one).is_err()
        };
        let failing: Vec<_> = select.projection.iter().filter(fails).collect();
        if failing.len() < select.projection.len() {
            failure.place = failing.first().map(|item| start_of(*item));
        }
        failure
    }

    /// Optimises a plan.
    pub(crate) fn optimized(&self, sql: &Snippet, plan: &LogicalPlan) -> Result<LogicalPlan> {
        self.state.optimize(plan).map_err(|e| failure(&e, &[]).error(sql))
    }

    /// Parses and plans one expression over some columns.
    pub(crate) fn expression(&self, sql: &Snippet, columns: &SchemaRef) -> Result<Expr> {
        let names: Vec<_> = columns.fields().iter().map(|field| field.name().clone()).collect();
        let plan = || {
            let parsed = DFParserBuilder::new(sql.text.as_str()).build()?.parse_into_expr()?;
            if parsed.alias.is_some() {
                return Err(plan_datafusion_err!("an alias makes no sense here"));
            }
            let schema = columns.clone().to_dfschema()?;
            self.planner().sql_to_expr(parsed.expr, &schema, &mut PlannerContext::new())
        };
        plan().map_err(|e| failure(&e, &names).error(sql))
    }

    /// Coerces types and folds constants.
    pub(crate) fn simplified(&self, sql: &Snippet, expr: Expr, columns: &SchemaRef) -> Result<(Expr, DataType)> {
        let names: Vec<_> = columns.fields().iter().map(|field| field.name().clone()).collect();
        let work = || {
            let schema = Arc::new(columns.clone().to_dfschema()?);
            let context = SimplifyContext::default()
                .with_schema(schema.clone())
                .with_config_options(self.state.config_options().clone());
            let simplifier = ExprSimplifier::new(context);
            let expr = simplifier.simplify(simplifier.coerce(expr, &schema)?)?;
            let data_type = datafusion::logical_expr::ExprSchemable::get_type(&expr, &*schema)?;
            DfResult::Ok((expr, data_type))
        };
        work().map_err(|e| failure(&e, &names).error(sql))
    }

    /// The physical form of an expression over the columns of a schema.
    pub(crate) fn physical(&self, sql: &Snippet, expr: &Expr, columns: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        create_physical_expr(expr, columns, self.state.execution_props())
            .map_err(|e| failure(&e, &columns.field_names()).error(sql))
    }

    /// Refuses what would make an expression depend on more than the record.
    pub(crate) fn refuse_impure(&self, sql: &Snippet, expr: &Expr) -> Result<()> {
        let mut impure = None;
        let walked = expr.apply(|expr| {
            impure = match expr {
                Expr::ScalarFunction(ScalarFunction { func, .. })
                    if func.signature().volatility != Volatility::Immutable =>
                {
                    Some(format!("{}() depends on the time or on chance", func.name()))
                }
                Expr::AggregateFunction(_) | Expr::WindowFunction(_) | Expr::GroupingSet(_) => {
                    Some(format!("{expr} depends on other records"))
                }
                Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::OuterReferenceColumn(..) => {
                    Some("a subquery depends on other records".to_owned())
                }
                Expr::ScalarVariable(..) => Some(format!("{expr} depends on the session")),
                Expr::Placeholder(placeholder) => Some(format!("{} is not known here", placeholder.id)),
                Expr::Unnest(_) => Some("unnest makes several rows of one record".to_owned()),
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            Ok(TreeNodeRecursion::Stop)
        });
        walked.map_err(|e| failure(&e, &[]).error(sql))?;
        match impure {
            None => Ok(()),
            Some(why) => Err(sql
                .error(format!("not possible here: {why}"), None)
                .fix("a row must depend on its record alone, or a replay would give another one")),
        }
    }
}

/// A place in a file: line and column, from 1.
type Place = (u64, u64);

/// Where a node of the syntax tree begins.
pub(crate) fn start_of(node: &impl ast::Spanned) -> Place {
    let start = node.span().start;
    (start.line, start.column)
}

/// What is wrong with a piece of SQL.
struct Failure {
    what: String,
    place: Option<Place>,
    fix: Option<String>,
}

impl Failure {
    fn error(self, sql: &Snippet) -> Error {
        let error = sql.error(self.what, self.place);
        match self.fix {
            Some(fix) => error.fix(fix),
            None => error,
        }
    }
}

/// Reads DataFusion's error: the place, and for an unknown name what there is.
fn failure(error: &DataFusionError, columns: &[String]) -> Failure {
    let root = error.find_root();
    let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    let place = span.map(|span| (span.start.line, span.start.column));
    let (what, place, fix) = match root {
        DataFusionError::SchemaError(schema_error, _) => match &**schema_error {
            SchemaError::FieldNotFound { field, .. } => {
                let place = place.or_else(|| field.spans().first().map(|span| (span.start.line, span.start.column)));
                (unknown_column(field, columns), place, Some(format!("the columns there are: {}", columns.join(", "))))
            }
            other => (other.to_string(), place, None),
        },
        DataFusionError::SQL(parser_error, _) => {
            let text = parser_error.to_string();
            let (text, found) = split_place(text.trim_start_matches("sql parser error: "));
            (format!("this is not SQL: {text}"), place.or(found), None)
        }
        _ => {
            let text = root.strip_backtrace().replace('\n', " ");
            // "Error during planning: …": that much is known
            let said = text.split_once(": ").filter(|(kind, _)| kind.starts_with("Error during"));
            (said.map_or(text.as_str(), |(_, said)| said).trim().to_owned(), place, None)
        }
    };
    Failure { what, place, fix }
}

fn unknown_column(field: &Column, columns: &[String]) -> String {
    let hint = match nearest(&field.name, columns.iter().map(String::as_str)) {
        Some(name) if name.eq_ignore_ascii_case(&field.name) => format!("; write \"{name}\", in double quotes"),
        Some(name) => format!("; did you mean {name}?"),
        None => String::new(),
    };
    format!("there is no column {}{hint}", field.name)
}

/// The name most like a wrong one, if one is like it at all.
pub(crate) fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase();
    names
        .map(|name| (strsim::jaro_winkler(&wrong, &name.to_ascii_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Splits the parser's ` at Line: 3, Column: 5` off its message.
fn split_place(text: &str) -> (&str, Option<Place>) {
    let found = text.rsplit_once(" at Line: ").and_then(|(text, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
        Some((text, (line.parse().ok()?, column[..digits].parse().ok()?)))
    });
    match found {
        Some((text, place)) => (text, Some(place)),
        None => (text, None),
    }
}

impl ContextProvider for Sql {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        match name.table() {
            TABLE => Ok(self.table.clone()),
            other => Err(plan_datafusion_err!("there is no table {other}: the decoded records are called {TABLE}")),
        }
    }
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }
    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }
    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }
    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }
    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }
    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }
    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }
    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
