//! Projection and rules over decoded records.
//!
//! An expression that fails, or panics, for one record must not take its neighbours with it, nor stop the pipeline: the
//! batch is halved until the record stands alone. It is then rejected as `projection_failed`. So is a record for which
//! the projection leaves a required silver column null although no rule objects.

use crate::contract::silver_schema;
use crate::plan::{Fill, Plan};
use crate::rules::{Failed, Source};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::error::ArrowError;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Reason of a record for which an expression fails or a required column is null.
pub(crate) const PROJECTION_FAILED: &str = "projection_failed";
/// Its error type.
pub(crate) const PROJECTION: &str = "projection";

/// Decoded records, in the columns that the projection and the rules need.
#[derive(Debug, Clone)]
pub(crate) struct Decoded {
    /// [`Plan::input`].
    pub(crate) input: RecordBatch,
    /// One per [`Source::Known`] of [`Plan::rule_columns`], in that order.
    pub(crate) known: Vec<ArrayRef>,
}

impl Decoded {
    fn slice(&self, from: usize, length: usize) -> Self {
        Self {
            input: self.input.slice(from, length),
            known: self.known.iter().map(|column| column.slice(from, length)).collect(),
        }
    }
}

/// What became of neighbouring records.
#[derive(Debug)]
pub(crate) struct Evaluated {
    /// The first one's place among the decoded records.
    pub(crate) from: usize,
    /// How many.
    pub(crate) rows: usize,
    /// What the projection makes; empty where there is no accepted row.
    pub(crate) columns: Vec<ArrayRef>,
    /// The rejected ones: place counted from `from`, in order.
    pub(crate) rejected: Vec<Rejected>,
    /// How many accepted ones each notice is true of.
    pub(crate) notices: BTreeMap<Arc<str>, u64>,
}

/// One rejected record.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// Its place, counted from [`Evaluated::from`].
    pub(crate) row: u32,
    /// Reason and error type.
    pub(crate) name: (Arc<str>, Arc<str>),
    /// What exactly.
    pub(crate) detail: Option<String>,
}

impl Evaluated {
    /// Which rows are accepted; none: all are.
    pub(crate) fn accepted(&self) -> Option<BooleanArray> {
        if self.rejected.is_empty() {
            return None;
        }
        let mut accepted = vec![true; self.rows];
        for rejected in &self.rejected {
            accepted[usize::try_from(rejected.row).unwrap_or_default()] = false;
        }
        Some(BooleanArray::from(accepted))
    }
}

/// Evaluates all records; one piece unless expressions fail.
pub(crate) fn evaluate(plan: &Plan, decoded: &Decoded) -> Vec<Evaluated> {
    let mut pieces = Vec::with_capacity(1);
    halve(plan, decoded, 0, &mut pieces);
    pieces
}

fn halve(plan: &Plan, decoded: &Decoded, from: usize, pieces: &mut Vec<Evaluated>) {
    let rows = decoded.input.num_rows();
    match attempt(plan, decoded) {
        Ok(piece) => pieces.push(Evaluated { from, ..piece }),
        Err(why) if rows <= 1 => pieces.push(alone(from, rows, why)),
        Err(_) => {
            let half = rows / 2;
            halve(plan, &decoded.slice(0, half), from, pieces);
            halve(plan, &decoded.slice(half, rows - half), from + half, pieces);
        }
    }
}

/// A record that no expression can be made of.
fn alone(from: usize, rows: usize, why: String) -> Evaluated {
    let rejected = Rejected { row: 0, name: (PROJECTION_FAILED.into(), PROJECTION.into()), detail: Some(why) };
    Evaluated { from, rows, columns: Vec::new(), rejected: vec![rejected], notices: BTreeMap::new() }
}

fn attempt(plan: &Plan, decoded: &Decoded) -> Result<Evaluated, String> {
    // the expressions are immutable; what a panic leaves behind of a batch is thrown away
    match catch_unwind(AssertUnwindSafe(|| evaluate_together(plan, decoded))) {
        Ok(outcome) => outcome.map_err(|e| e.to_string()),
        Err(panic) => {
            let said =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(format!("an expression panicked: {}", said.unwrap_or("without a message")))
        }
    }
}

fn evaluate_together(plan: &Plan, decoded: &Decoded) -> Result<Evaluated, ArrowError> {
    let rows = decoded.input.num_rows();
    let columns = plan.projection.evaluate(&decoded.input)?;
    let mut known = decoded.known.iter();
    let visible = plan.rule_columns().iter().filter_map(|source| match source {
        Source::Projected(place) => columns.get(*place).cloned(),
        Source::Known(_) => known.next().cloned(),
    });
    let visible = plan.rules.batch(visible.collect(), rows)?;
    let failed = plan.rules.judge(&visible)?;
    let notices = plan.rules.notice(&visible, &failed)?.into_iter().collect();
    let details = plan.rules.details(&visible, &failed);
    let mut rejected: Vec<Rejected> = failed
        .iter()
        .zip(details)
        .map(|(failed, detail)| Rejected { row: failed.row, name: plan.rules.name(failed.rule), detail })
        .collect();
    let nulls = nulls(plan, &columns, &failed, rows);
    if !nulls.is_empty() {
        rejected.extend(nulls);
        rejected.sort_by_key(|rejected| rejected.row);
    }
    Ok(Evaluated { from: 0, rows, columns, rejected, notices })
}

/// The rows that no rule rejects and that have a null where the contract wants a value.
fn nulls(plan: &Plan, columns: &[ArrayRef], failed: &[Failed], rows: usize) -> Vec<Rejected> {
    let mut found: BTreeMap<u32, String> = BTreeMap::new();
    for (field, fill) in silver_schema().fields().iter().zip(&plan.silver).filter(|(field, _)| !field.is_nullable()) {
        let column = match fill {
            Fill::Projected(place) => columns.get(*place).cloned(),
            Fill::Constant(place) => plan.constant(*place).filter(|one| one.null_count() > 0).cloned(),
            _ => None,
        };
        let Some(column) = column.filter(|column| column.null_count() > 0) else { continue };
        for row in 0..rows {
            // a constant has one row for all
            let place = if matches!(fill, Fill::Constant(_)) { 0 } else { row };
            let row = u32::try_from(row).unwrap_or(u32::MAX);
            if column.is_null(place) && failed.binary_search_by_key(&row, |failed| failed.row).is_err() {
                found
                    .entry(row)
                    .or_insert_with(|| format!("the projection makes {} null, and no rule rejects it", field.name()));
            }
        }
    }
    let name: (Arc<str>, Arc<str>) = (PROJECTION_FAILED.into(), PROJECTION.into());
    found.into_iter().map(|(row, detail)| Rejected { row, name: name.clone(), detail: Some(detail) }).collect()
}
