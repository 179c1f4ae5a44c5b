//! The SQL projection of a pipeline, compiled once: from the decoded record to the columns of a silver row, and to
//! auxiliary columns (their names begin with `_`) that only the rules see.
//!
//! A projection is a SELECT that makes exactly one row of every record. It may nest SELECTs to name intermediate results;
//! it may not filter, sort, group, join or look at a clock. What survives DataFusion's optimiser is a chain of layers
//! of expressions: each layer is evaluated over the columns of the one before.
//!
//! Invariants: 1. row i of what comes out is made of row i of what goes in, and of nothing else; 2. the columns have exactly the types
//! of [`silver_schema`]; 3. a constant column is not evaluated at all.

pub(crate) mod check;

use crate::contract::silver_schema;
use crate::sql::{Snippet, Sql};
use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::DFSchema;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use k2_model::Result;
use std::sync::Arc;

/// A compiled projection.
#[derive(Debug)]
pub(crate) struct Projection {
    /// Which of the input columns are needed, in the order in which [`Self::evaluate`] wants them.
    pub(crate) needs: Vec<usize>,
    layers: Vec<Layer>,
    /// The columns that come out, by name.
    pub(crate) outputs: Vec<Output>,
}

/// One SELECT of the chain.
#[derive(Debug)]
struct Layer {
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

/// A column that comes out.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its name.
    pub(crate) name: String,
    /// The type it has after [`Projection::evaluate`].
    pub(crate) data_type: DataType,
    /// Where it is found.
    pub(crate) place: Place,
}

/// Where an output is found.
#[derive(Debug)]
pub(crate) enum Place {
    /// In this place of what [`Projection::evaluate`] returns.
    Column(usize),
    /// The same value for every row: a column of one row.
    Constant(ArrayRef),
}

/// Casts must not turn what they cannot do into nulls.
const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: arrow::util::display::FormatOptions::new() };

impl Projection {
    /// Compiles a projection over input columns.
    pub(crate) fn compile(sql: &Snippet, input: &SchemaRef) -> Result<Self> {
        let planner = Sql::over(input.clone());
        let (plan, query) = planner.select(sql)?;
        check::shape(&planner, sql, &plan)?;
        let targets = check::outputs(sql, &query, &plan)?;
        let plan = planner.optimized(sql, &plan)?;

        let mut layers = Vec::new();
        let mut constants: Vec<Option<ScalarValue>> = vec![None; targets.len()];
        let mut rest = &plan;
        let needs = loop {
            rest = match rest {
                LogicalPlan::Projection(projection) => {
                    if layers.is_empty() {
                        constants = projection.expr.iter().map(constant).collect();
                    }
                    let live = projection.expr.iter().zip(0..).filter(|(_, place)| {
                        // only the outermost layer is known by position alone
                        !layers.is_empty() || constants.get(*place).is_none_or(Option::is_none)
                    });
                    let live: Vec<_> = live.map(|(expr, _)| expr).collect();
                    layers.push(Layer::compile(&planner, sql, &live, projection.input.schema())?);
                    &projection.input
                }
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                LogicalPlan::TableScan(scan) => {
                    break scan.projection.clone().unwrap_or_else(|| (0..input.fields().len()).collect());
                }
                other => return Err(check::unsupported(sql, other)),
            };
        };
        layers.reverse();

        let mut outputs = Vec::with_capacity(targets.len());
        let mut columns = 0;
        for ((name, data_type), constant) in targets.into_iter().zip(constants) {
            let place = match constant {
                None => {
                    columns += 1;
                    Place::Column(columns - 1)
                }
                Some(value) => {
                    let one = value.to_array().map_err(ArrowError::from).and_then(|one| adapt(&one, &data_type));
                    let one = one.map_err(|e| sql.error(format!("column {name} cannot be {data_type}: {e}"), None))?;
                    Place::Constant(one)
                }
            };
            outputs.push(Output { name, data_type, place });
        }
        let this = Self { needs, layers, outputs };
        this.try_on_nothing(sql, input)?;
        Ok(this)
    }

    /// What fails whatever the record (a wrong literal, say) shall fail now.
    fn try_on_nothing(&self, sql: &Snippet, input: &SchemaRef) -> Result<()> {
        let nothing = input.project(&self.needs).map(|schema| RecordBatch::new_empty(Arc::new(schema)));
        let outcome = nothing.and_then(|nothing| self.evaluate(&nothing));
        outcome.map(drop).map_err(|e| sql.error(format!("the projection fails for any record: {e}"), None))
    }

    /// Evaluates: the columns that are not constant, in the types that they must have.
    pub(crate) fn evaluate(&self, input: &RecordBatch) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut rows = input.clone();
        for layer in &self.layers {
            rows = layer.evaluate(&rows)?;
        }
        let live = self.outputs.iter().filter(|output| matches!(output.place, Place::Column(_)));
        live.zip(rows.columns()).map(|(output, column)| adapt(column, &output.data_type)).collect()
    }

    /// Where a column of this name is found, if the projection makes it.
    pub(crate) fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }
}

impl Layer {
    fn compile(planner: &Sql, sql: &Snippet, expressions: &[&Expr], input: &DFSchema) -> Result<Self> {
        let mut fields = Vec::with_capacity(expressions.len());
        let mut physical = Vec::with_capacity(expressions.len());
        for expr in expressions {
            let expression = planner.physical(sql, expr, input)?;
            let data_type = expression.data_type(input.as_arrow());
            let data_type = data_type.map_err(|e| sql.error(e.strip_backtrace(), None))?;
            // nullable, all of them: what may be null is decided by the rules, not by a guess of the planner
            fields.push(Field::new(expr.schema_name().to_string(), data_type, true));
            physical.push(expression);
        }
        Ok(Self { expressions: physical, schema: Arc::new(Schema::new(fields)) })
    }

    fn evaluate(&self, input: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let evaluate = |expression: &Arc<dyn PhysicalExpr>| {
            expression.evaluate(input)?.into_array(input.num_rows()).map_err(ArrowError::from)
        };
        let columns = self.expressions.iter().map(evaluate).collect::<Result<Vec<_>, ArrowError>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(input.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &rows)
    }
}

fn constant(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Alias(alias) => constant(&alias.expr),
        _ => None,
    }
}

/// A column in the type that it must have; [`check::outputs`] has seen that nothing can get lost.
fn adapt(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == data_type {
        return Ok(column.clone());
    }
    cast_with_options(column, data_type, &STRICT)
}

/// A column of the same value in every row, from one row of it.
pub(crate) fn repeated(one: &dyn Array, rows: usize) -> Result<ArrayRef, ArrowError> {
    take(one, &UInt32Array::from(vec![0; rows]), None)
}

/// The type that the contract gives a silver column.
pub(crate) fn silver_type(name: &str) -> Option<DataType> {
    silver_schema().field_with_name(name).ok().map(|field| field.data_type().clone())
}
