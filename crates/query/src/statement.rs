//! From text to one statement that may run: parsed, only reading, with every table's name in a form that DataFusion
//! takes.
//!
//! - DataFusion's names end at three parts: `iceberg.market_data.t.snapshots` becomes `iceberg.market_data."t$snapshots"`.
//!   A table that is really called `snapshots` wins over a metadata table, where a name could mean both.
//! - A marked name (see `travel`) becomes the name of one snapshot.
//! - What changed its name keeps its old one as an alias, so that `SELECT t.x FROM t VERSION AS OF 1` resolves.

use crate::error::from_datafusion;
use crate::names::{MetadataTable, Target};
use crate::travel::{AsOf, State, take_clauses, unmark};
use crate::view::View;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    self, Ident, ObjectName, ObjectNamePart, SetExpr, TableAlias, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;
use k2_model::{Error, Result};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// A statement that only reads, and the states of tables that its marked names ask for.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) statement: Statement,
    pub(crate) clauses: Vec<AsOf>,
}

/// Parses exactly one statement and refuses what would change anything.
pub(crate) fn parse(sql: &str) -> Result<Parsed> {
    let unreadable = |e: &dyn std::fmt::Display| Error::config(format!("this is not SQL that k2 understands: {e}"));
    let tokens = Tokenizer::new(&GenericDialect, sql).tokenize_with_location().map_err(|e| unreadable(&e))?;
    let (tokens, clauses) = take_clauses(tokens)?;
    let mut statements = DFParserBuilder::new(tokens)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(from_datafusion)?;
    let Some(statement) = statements.pop_front() else {
        return Err(Error::config("there is no statement"));
    };
    if !statements.is_empty() {
        return Err(Error::config("one statement at a time, please"));
    }
    only_reads(&statement)?;
    Ok(Parsed { statement, clauses })
}

/// The refusal.
pub(crate) fn refusal(what: &str) -> Error {
    Error::config("k2 sql only reads")
        .at(what.to_owned())
        .fix("Tables change through k2's own commands only: k2 run, k2 tables, k2 maintain")
}

fn only_reads(statement: &Statement) -> Result<()> {
    match statement {
        Statement::Statement(inner) => only_reads_sql(inner),
        Statement::Explain(explain) => only_reads(&explain.statement),
        Statement::CreateExternalTable(_) => Err(refusal("CREATE EXTERNAL TABLE")),
        Statement::CopyTo(_) => Err(refusal("COPY")),
        Statement::Reset(_) => Err(refusal("RESET")),
    }
}

fn only_reads_sql(statement: &ast::Statement) -> Result<()> {
    use ast::Statement as S;
    match statement {
        S::Query(_) => {
            let mut bodies = Writes(None);
            let _ = statement.visit(&mut bodies);
            bodies.0.map_or(Ok(()), |what| Err(refusal(what)))
        }
        S::Explain { statement, .. } => only_reads_sql(statement),
        S::ExplainTable { .. }
        | S::ShowTables { .. }
        | S::ShowColumns { .. }
        | S::ShowFunctions { .. }
        | S::ShowVariable { .. } => Ok(()),
        other => {
            let text = other.to_string();
            Err(refusal(text.split_whitespace().next().unwrap_or("this statement")))
        }
    }
}

/// Finds what writes inside of a query: `WITH x AS (DELETE …)`, `SELECT … INTO`.
struct Writes(Option<&'static str>);

impl Visitor for Writes {
    type Break = ();
    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        let mut bodies = vec![query.body.as_ref()];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::Insert(_) => self.0 = Some("INSERT"),
                SetExpr::Update(_) => self.0 = Some("UPDATE"),
                SetExpr::Delete(_) => self.0 = Some("DELETE"),
                SetExpr::Merge(_) => self.0 = Some("MERGE"),
                SetExpr::Select(select) if select.into.is_some() => self.0 = Some("SELECT INTO"),
                SetExpr::SetOperation { left, right, .. } => bodies.extend([left.as_ref(), right.as_ref()]),
                _ => {}
            }
        }
        if self.0.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// What a name in the statement becomes.
#[derive(Debug, Clone)]
struct Resolved {
    namespace: String,
    target: Target,
    alias: Ident,
}

/// Gives every name that DataFusion would not understand the one it will.
pub(crate) async fn resolve_names(statement: &mut Statement, states: &[State], view: &View) -> Result<()> {
    let mut names = Names::default();
    visit(statement, &mut names);
    let mut resolved = HashMap::new();
    for name in names.0 {
        let known = resolve(&name, states, view).await?;
        resolved.extend(known.map(|known| (name.to_string(), known)));
    }
    visit_mut(statement, &mut Rename { resolved, catalog: view.catalog_name().to_owned() });
    Ok(())
}

/// The names of table functions in a statement: relations that no catalog knows.
pub(crate) fn table_functions(statement: &Statement) -> Vec<String> {
    struct Functions(Vec<String>);
    impl Visitor for Functions {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { name, args: Some(_), .. } = factor {
                self.0.push(name.to_string().to_lowercase());
            }
            ControlFlow::Continue(())
        }
    }
    let mut functions = Functions(Vec::new());
    visit(statement, &mut functions);
    functions.0
}

fn visit<V: Visitor>(statement: &Statement, visitor: &mut V) {
    match statement {
        Statement::Statement(inner) => {
            let _ = inner.visit(visitor);
        }
        Statement::Explain(explain) => visit(&explain.statement, visitor),
        _ => {}
    }
}

fn visit_mut<V: VisitorMut>(statement: &mut Statement, visitor: &mut V) {
    match statement {
        Statement::Statement(inner) => {
            let _ = inner.visit(visitor);
        }
        Statement::Explain(explain) => visit_mut(&mut explain.statement, visitor),
        _ => {}
    }
}

/// Collects the names of relations.
#[derive(Default)]
struct Names(Vec<ObjectName>);

impl Visitor for Names {
    type Break = ();
    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        self.0.push(name.clone());
        ControlFlow::Continue(())
    }
}

/// Puts the resolved names in.
struct Rename {
    resolved: HashMap<String, Resolved>,
    catalog: String,
}

impl VisitorMut for Rename {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias: alias @ None, args: None, .. } = factor
            && let Some(resolved) = self.resolved.get(&name.to_string())
        {
            *alias = Some(TableAlias { explicit: true, name: resolved.alias.clone(), columns: Vec::new() });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &mut ObjectName) -> ControlFlow<()> {
        if let Some(Resolved { namespace, target, .. }) = self.resolved.get(&name.to_string()) {
            let parts = [self.catalog.clone(), namespace.clone(), target.to_string()];
            *name = ObjectName(parts.map(|p| ObjectNamePart::Identifier(Ident::with_quote('"', p))).to_vec());
        }
        ControlFlow::Continue(())
    }
}

/// What DataFusion makes of an identifier.
fn normal(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// `None`: DataFusion understands the name as it is.
async fn resolve(name: &ObjectName, states: &[State], view: &View) -> Result<Option<Resolved>> {
    let Some(parts) = name.0.iter().map(ObjectNamePart::as_ident).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let Some((last, before)) = parts.split_last() else { return Ok(None) };
    let (last, clause) = unmark(last);
    let state = clause.and_then(|number| states.get(number));
    let mut words: Vec<String> = before.iter().map(|ident| normal(ident)).collect();
    words.push(normal(&last));

    let found = find(&words, view).await?;
    if state.is_none() && found.metadata.is_none() {
        return Ok(None);
    }
    let mut target = Target::parse(&found.table);
    target.metadata = found.metadata.or(target.metadata);
    if let Some(state) = state {
        let ident = view.ident(&found.namespace, &target.table);
        target.snapshot = Some(view.snapshot(&ident, state).await?);
    }
    Ok(Some(Resolved { namespace: found.namespace, target, alias: last }))
}

struct Found {
    namespace: String,
    /// As it is written: may carry `$snapshots`.
    table: String,
    /// Named by a part of its own.
    metadata: Option<MetadataTable>,
}

/// Which table, or metadata table of which table, the words name. Whether it exists, is found out when it is loaded.
async fn find(words: &[String], view: &View) -> Result<Found> {
    let plain = |namespace: &String, table: &String| Found {
        namespace: namespace.clone(),
        table: table.clone(),
        metadata: None,
    };
    let of = |namespace: &String, table: &String, metadata| Found {
        namespace: namespace.clone(),
        table: table.clone(),
        metadata: Some(metadata),
    };
    let home = view.namespace().to_owned();
    match words {
        [table] => Ok(plain(&home, table)),
        [first, last] => {
            if view.exists(first, last).await? {
                return Ok(plain(first, last));
            }
            match MetadataTable::by_name(last) {
                Some(metadata) => Ok(of(&home, first, metadata)),
                None if view.exists(&home, first).await? => Err(no_metadata_table(last, first)),
                None => Ok(plain(first, last)),
            }
        }
        [first, second, last] => {
            if first == view.catalog_name() && (!is_metadata(last) || view.exists(second, last).await?) {
                return Ok(plain(second, last));
            }
            match MetadataTable::by_name(last) {
                Some(metadata) if first != view.catalog_name() || view.exists(first, second).await? => {
                    Ok(of(first, second, metadata))
                }
                _ if first == view.catalog_name() => Ok(plain(second, last)),
                _ if view.exists(first, second).await? => Err(no_metadata_table(last, second)),
                _ => Err(no_catalog(first, view)),
            }
        }
        [catalog, namespace, table, last] => {
            if catalog != view.catalog_name() {
                return Err(no_catalog(catalog, view));
            }
            match MetadataTable::by_name(last) {
                Some(metadata) => Ok(of(namespace, table, metadata)),
                None => Err(no_metadata_table(last, table)),
            }
        }
        _ => Err(Error::config(format!("{} is no table's name", words.join(".")))
            .fix(format!("At most {}.{home}.<table>.<metadata table>", view.catalog_name()))),
    }
}

fn is_metadata(name: &str) -> bool {
    MetadataTable::by_name(name).is_some()
}

fn no_catalog(name: &str, view: &View) -> Error {
    Error::config(format!("there is no catalog {name}")).fix(format!("The catalog is called {}", view.catalog_name()))
}

fn no_metadata_table(name: &str, table: &str) -> Error {
    Error::config(format!("there is no metadata table {name}"))
        .at(format!("table {table}"))
        .fix(format!("There are: {}", MetadataTable::names()))
}
