//! The rules of a pipeline: named SQL predicates over the projected columns, in order. The first one that is true of a
//! row rejects it, under its name. A predicate that is NULL does not reject. Notices only count.
//!
//! Compiled once: what a rule says of constant columns is folded away, a rule that can never be true is not evaluated.
//! `error_detail` is computed for rejected rows alone.

mod file;

use crate::input::Known;
use crate::plan::Limits;
use crate::projection::{Place, Projection, check::named};
use crate::sql::{Snippet, Sql};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{prep_null_mask_filter, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ToDFSchema};
use datafusion::logical_expr::{ColumnarValue, Expr, lit};
use datafusion::physical_expr::PhysicalExpr;
use file::Entry;
use k2_model::Result;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) use file::File;

/// Compiled rules.
#[derive(Debug)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    notices: Vec<Notice>,
    /// The columns that the rules look at, in the order of `schema`.
    columns: Vec<Source>,
    schema: SchemaRef,
}

/// Where a column that the rules look at comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// From this place of what the projection evaluates.
    Projected(usize),
    /// From Kafka.
    Known(Known),
}

#[derive(Debug)]
struct Rule {
    reason: Arc<str>,
    error_type: Arc<str>,
    /// None: can never be true.
    when: Option<Arc<dyn PhysicalExpr>>,
    detail: Option<Arc<dyn PhysicalExpr>>,
}

#[derive(Debug)]
struct Notice {
    name: Arc<str>,
    when: Option<Arc<dyn PhysicalExpr>>,
}

/// A rejected row of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Its place in the batch.
    pub(crate) row: u32,
    /// The rule's place in the list.
    pub(crate) rule: usize,
}

/// A SQL text of the rules file, planned but not yet bound to columns.
struct Planned<'a> {
    sql: &'a Snippet,
    expr: Expr,
}

impl Rules {
    /// Compiles rules over what a projection makes.
    pub(crate) fn compile(file: &File, projection: &Projection, limits: &Limits) -> Result<Self> {
        let visible = visible(projection);
        let planner = Sql::over(visible.clone());
        let scope = Scope { planner: &planner, visible: &visible, projection, limits };

        let mut whens = Vec::new();
        let mut details = Vec::new();
        for entry in &file.rules {
            whens.push(predicate(scope.plan(&entry.when)?, entry)?);
            details
                .push(entry.detail.as_ref().map(|detail| scope.plan(detail)).transpose()?.map(|(planned, _)| planned));
        }
        let mut noticed = Vec::new();
        for entry in &file.notices {
            noticed.push(predicate(scope.plan(&entry.when)?, entry)?);
        }

        let mut used = BTreeSet::new();
        for planned in whens.iter().chain(&noticed).chain(&details).flatten() {
            used.extend(planned.expr.column_refs().into_iter().map(|column| column.name.clone()));
        }
        let fields: Vec<_> = visible.fields().iter().filter(|field| used.contains(field.name())).cloned().collect();
        let columns = fields.iter().filter_map(|field| source(projection, field.name())).collect();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let bound: DFSchema =
            schema.clone().to_dfschema().map_err(|e| k2_model::Error::config("the rules' columns").caused_by(e))?;
        let bind = |planned: Option<Planned<'_>>| {
            planned.map(|Planned { sql, expr }| planner.physical(sql, &expr, &bound)).transpose()
        };

        let mut rules = Vec::new();
        for ((entry, when), detail) in file.rules.iter().zip(whens).zip(details) {
            rules.push(Rule {
                reason: entry.name.as_str().into(),
                error_type: entry.error_type.as_str().into(),
                when: bind(when)?,
                detail: bind(detail)?,
            });
        }
        let mut notices = Vec::new();
        for (entry, when) in file.notices.iter().zip(noticed) {
            notices.push(Notice { name: entry.name.as_str().into(), when: bind(when)? });
        }
        Ok(Self { rules, notices, columns, schema })
    }

    /// The columns that the rules look at.
    pub(crate) fn columns(&self) -> &[Source] {
        &self.columns
    }

    /// A batch of these columns.
    pub(crate) fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }

    /// The rows that a rule rejects, in order of rows, each with the first rule that does.
    pub(crate) fn judge(&self, batch: &RecordBatch) -> Result<Vec<Failed>, ArrowError> {
        let mut failed: Vec<Failed> = Vec::new();
        let mut decided: Vec<bool> = Vec::new();
        for (rule, when) in self.rules.iter().enumerate().filter_map(|(place, rule)| Some((place, rule.when.as_ref()?)))
        {
            let Some(mask) = truth(when, batch)? else { continue };
            if decided.is_empty() {
                decided.resize(batch.num_rows(), false);
            }
            for row in mask.values().set_indices_u32() {
                let decided = &mut decided[usize::try_from(row).unwrap_or_default()];
                if !std::mem::replace(decided, true) {
                    failed.push(Failed { row, rule });
                }
            }
            if failed.len() == batch.num_rows() {
                break;
            }
        }
        failed.sort_unstable_by_key(|failed| failed.row);
        Ok(failed)
    }

    /// Name and error type of a rule.
    pub(crate) fn name(&self, rule: usize) -> (Arc<str>, Arc<str>) {
        let rule = &self.rules[rule];
        (rule.reason.clone(), rule.error_type.clone())
    }

    /// `error_detail` of the rejected rows, in their order. What cannot be computed says so: a message decides nothing.
    pub(crate) fn details(&self, batch: &RecordBatch, failed: &[Failed]) -> Vec<Option<String>> {
        let mut details = vec![None; failed.len()];
        let used: BTreeSet<usize> = failed.iter().map(|failed| failed.rule).collect();
        for rule in used {
            let Some(expression) = &self.rules[rule].detail else { continue };
            let (places, rows): (Vec<usize>, Vec<u32>) =
                failed.iter().enumerate().filter(|(_, f)| f.rule == rule).map(|(place, f)| (place, f.row)).unzip();
            let texts = take_record_batch(batch, &UInt32Array::from(rows)).and_then(|rows| texts(expression, &rows));
            let texts =
                texts.unwrap_or_else(|e| vec![Some(format!("the detail cannot be computed: {e}")); places.len()]);
            for (place, text) in places.into_iter().zip(texts) {
                details[place] = text;
            }
        }
        details
    }

    /// How many of the accepted rows each notice is true of.
    pub(crate) fn notice(&self, batch: &RecordBatch, failed: &[Failed]) -> Result<Vec<(Arc<str>, u64)>, ArrowError> {
        let mut counts = Vec::new();
        for notice in &self.notices {
            let Some(when) = &notice.when else { continue };
            let Some(mask) = truth(when, batch)? else { continue };
            let rejected = failed.iter().filter(|failed| mask.value(usize::try_from(failed.row).unwrap_or_default()));
            let count = mask.values().count_set_bits() - rejected.count();
            if count > 0 {
                counts.push((notice.name.clone(), u64::try_from(count).unwrap_or(u64::MAX)));
            }
        }
        Ok(counts)
    }
}

/// The columns that a rule may name: those of the projection, then those that K2 knows, under their silver names too.
fn visible(projection: &Projection) -> SchemaRef {
    let projected = projection.outputs.iter().map(|output| Field::new(&output.name, output.data_type.clone(), true));
    let silver = Known::ALL.into_iter().filter_map(|known| Some(known.field().with_name(known.silver_name()?)));
    let known = Known::ALL.into_iter().map(Known::field).chain(silver);
    let known = known.filter(|field| projection.output(field.name()).is_none());
    Arc::new(Schema::new(projected.chain(known).collect::<Vec<_>>()))
}

/// Where a visible column comes from; none for a constant, which no bound expression names.
fn source(projection: &Projection, name: &str) -> Option<Source> {
    match projection.output(name).map(|output| &output.place) {
        Some(Place::Column(place)) => Some(Source::Projected(*place)),
        Some(Place::Constant(_)) => None,
        None => Known::named(name).or_else(|| Known::filling(name)).map(Source::Known),
    }
}

/// What a text of the rules file is planned in.
struct Scope<'s> {
    planner: &'s Sql,
    visible: &'s SchemaRef,
    projection: &'s Projection,
    limits: &'s Limits,
}

impl Scope<'_> {
    /// Plans a text, puts limits and constants in, and folds.
    fn plan<'a>(&self, sql: &'a Snippet) -> Result<(Planned<'a>, DataType)> {
        let filled = self.planner.expression(sql, self.visible)?.transform_up(|expr| {
            let value = match &expr {
                Expr::Placeholder(placeholder) => self.limits.value(&placeholder.id).map(lit),
                Expr::Column(column) => self.constant(&column.name),
                _ => None,
            };
            Ok(value.map_or_else(|| Transformed::no(expr), Transformed::yes))
        });
        let filled = filled.map_err(|e| sql.error(e.strip_backtrace(), None))?.data;
        self.planner.refuse_impure(sql, &filled)?;
        let (expr, data_type) = self.planner.simplified(sql, filled, self.visible)?;
        Ok((Planned { sql, expr }, data_type))
    }

    fn constant(&self, name: &str) -> Option<Expr> {
        match &self.projection.output(name)?.place {
            Place::Constant(one) => ScalarValue::try_from_array(one, 0).ok().map(|value| Expr::Literal(value, None)),
            Place::Column(_) => None,
        }
    }
}

/// A planned text that must be true or false; none if it is never true.
fn predicate<'a>((planned, data_type): (Planned<'a>, DataType), entry: &Entry) -> Result<Option<Planned<'a>>> {
    if !matches!(data_type, DataType::Boolean | DataType::Null) {
        return Err(planned.sql.error(
            format!("the condition of {} is {}; it must be true, false or null", entry.name, named(&data_type)),
            None,
        ));
    }
    let never = matches!(&planned.expr, Expr::Literal(value, _) if *value != ScalarValue::Boolean(Some(true)));
    Ok((!never).then_some(planned))
}

/// Where a predicate is true; none: nowhere.
fn truth(when: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<Option<BooleanArray>, ArrowError> {
    let mask = match when.evaluate(batch)? {
        ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => BooleanArray::from(vec![true; batch.num_rows()]),
        ColumnarValue::Scalar(_) => return Ok(None),
        ColumnarValue::Array(array) => match array.as_boolean_opt() {
            Some(mask) if mask.null_count() > 0 => prep_null_mask_filter(mask),
            Some(mask) => mask.clone(),
            None => return Ok(None),
        },
    };
    Ok((mask.values().count_set_bits() > 0).then_some(mask))
}

fn texts(expression: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<Vec<Option<String>>, ArrowError> {
    let values = expression.evaluate(rows)?.into_array(rows.num_rows())?;
    let shown = ArrayFormatter::try_new(&values, &FormatOptions::new())?;
    Ok((0..values.len()).map(|row| values.is_valid(row).then(|| shown.value(row).to_string())).collect())
}
