//! What a projection must be like, each refusal with its place and the way out.

use super::silver_type;
use crate::contract::silver_schema;
use crate::sql::{self, Snippet, Sql, nearest};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast;
use k2_model::{Error, Result};

/// Silver columns that K2 fills itself where a projection leaves them out.
pub(crate) const FILLED: [&str; 11] = [
    "message_id",
    "source_sequence",
    "platform_sequence",
    "vendor_data",
    "validation_timestamp",
    "bronze_ingestion_timestamp",
    "schema_id",
    "exchange_date",
    "kafka_topic",
    "kafka_partition",
    "kafka_offset",
];

/// One row a record, from the record alone.
pub(super) fn shape(planner: &Sql, sql: &Snippet, plan: &LogicalPlan) -> Result<()> {
    let mut outcome = Ok(());
    let walked = plan.apply(|node| {
        outcome = match node {
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::TableScan(_) => {
                node.expressions().iter().try_for_each(|expr| planner.refuse_impure(sql, expr))
            }
            other => Err(unsupported(sql, other)),
        };
        Ok(if outcome.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.map_err(|e| sql.error(e.strip_backtrace(), None))?;
    outcome
}

/// The refusal of a plan node that is none of SELECT … FROM.
pub(super) fn unsupported(sql: &Snippet, node: &LogicalPlan) -> Error {
    let clause = match node {
        LogicalPlan::Filter(_) => "WHERE",
        LogicalPlan::Sort(_) => "ORDER BY",
        LogicalPlan::Aggregate(_) => "an aggregate",
        LogicalPlan::Distinct(_) => "DISTINCT",
        LogicalPlan::Limit(_) => "LIMIT",
        LogicalPlan::Join(_) => "JOIN",
        LogicalPlan::Union(_) => "UNION",
        LogicalPlan::Window(_) => "a window function",
        LogicalPlan::Unnest(_) => "unnest",
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => "a SELECT without FROM record",
        _ => "this",
    };
    sql.error(format!("a projection cannot have {clause}: it makes exactly one row of every record"), None)
        .fix("to reject records, write a rule; the projection is SELECT … FROM record")
}

/// The names and types of the columns that come out; types are those of the contract where it knows the name.
pub(super) fn outputs(sql: &Snippet, query: &ast::Query, plan: &LogicalPlan) -> Result<Vec<(String, DataType)>> {
    let silver = silver_schema();
    let mut outputs: Vec<(String, DataType)> = Vec::new();
    for field in plan.schema().fields() {
        let (name, found) = (field.name(), field.data_type());
        let place = place_of(query, name);
        if outputs.iter().any(|(other, _)| other == name) {
            return Err(sql.error(format!("there are two columns {name}"), place));
        }
        let wanted = match silver_type(name) {
            Some(wanted) => wanted,
            None if name.starts_with('_') => found.clone(),
            None => return Err(unknown(sql, name, place)),
        };
        if !fits(found, &wanted) {
            return Err(sql
                .error(format!("column {name} is {}; it must be {}", named(found), named(&wanted)), place)
                .fix(format!("write CAST(… AS {}) AS {name}, or a function that gives it", named(&wanted))));
        }
        outputs.push((name.clone(), wanted));
    }
    let missing: Vec<&str> = silver
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| !FILLED.contains(name) && !outputs.iter().any(|(there, _)| there == name))
        .collect();
    match missing.is_empty() {
        true => Ok(outputs),
        false => {
            let there: Vec<_> = outputs.iter().map(|(name, _)| name.as_str()).collect();
            let verb = if missing.len() == 1 { "column is" } else { "columns are" };
            Err(sql
                .error(format!("{verb} missing: {}", missing.join(", ")), place_of_select(query))
                .fix(format!("the columns there are: {}", there.join(", "))))
        }
    }
}

fn unknown(sql: &Snippet, name: &str, place: Option<(u64, u64)>) -> Error {
    let silver = silver_schema();
    let names: Vec<_> = silver.fields().iter().map(|field| field.name().as_str()).collect();
    let hint = nearest(name, names.iter().copied()).map_or(String::new(), |near| format!("; did you mean {near}?"));
    sql.error(format!("a silver row has no column {name}{hint}"), place)
        .fix(format!("name it _{name} if it is for the rules only; the columns there can be: {}", names.join(", ")))
}

/// Whether every value of a type is one of another, so that it may be turned into it without asking.
fn fits(found: &DataType, wanted: &DataType) -> bool {
    use DataType::{
        Date32, Decimal128, Int8, Int16, Int32, Int64, LargeList, LargeUtf8, List, Null, Timestamp, UInt8, UInt16,
        UInt32, Utf8, Utf8View,
    };
    match (found, wanted) {
        _ if found == wanted => true,
        (Null, _) => true,
        (LargeUtf8 | Utf8View, Utf8) => true,
        (Int8 | Int16 | UInt8 | UInt16, Int32 | Int64) | (Int32 | UInt32, Int64) => true,
        (Decimal128(precision, scale), Decimal128(p, s)) => {
            scale <= s && i16::from(*precision) - i16::from(*scale) <= i16::from(*p) - i16::from(*s)
        }
        (List(element) | LargeList(element), List(wanted)) => fits(element.data_type(), wanted.data_type()),
        (Timestamp(TimeUnit::Microsecond, Some(zone)), Timestamp(TimeUnit::Microsecond, _)) => {
            matches!(&**zone, "UTC" | "+00:00" | "Z")
        }
        (Date32, Date32) => true,
        _ => false,
    }
}

/// A type's name in SQL.
pub(crate) fn named(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::List(element) => format!("{}[]", named(element.data_type())),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "TIMESTAMP(6) WITH TIME ZONE".to_owned(),
        other => other.to_string(),
    }
}

/// Where a column of the outermost SELECT is written.
fn place_of(query: &ast::Query, name: &str) -> Option<(u64, u64)> {
    let ast::SetExpr::Select(select) = &*query.body else { return None };
    select.projection.iter().find_map(|item| match item {
        ast::SelectItem::ExprWithAlias { alias, .. } if alias.value == name => {
            Some((alias.span.start.line, alias.span.start.column))
        }
        ast::SelectItem::UnnamedExpr(expr) if expr.to_string() == name => Some(sql::start_of(expr)),
        _ => None,
    })
}

fn place_of_select(query: &ast::Query) -> Option<(u64, u64)> {
    let ast::SetExpr::Select(select) = &*query.body else { return None };
    select.projection.first().map(sql::start_of)
}
