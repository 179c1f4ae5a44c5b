//! Defaults of the reader's fields: JSON, checked once against the column, kept as what is to be appended.

use super::{Column, ColumnId, Shape};
use crate::decimal;
use crate::error::SchemaError;
use crate::schema::{Kind, Schema, shown};
use crate::store::Slot;
use serde_json::Value;

/// What to append to a column, and to all beneath it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fill {
    Null(ColumnId),
    Boolean(Slot, bool),
    Int(Slot, i32),
    Long(Slot, i64),
    Float(Slot, f32),
    Double(Slot, f64),
    Decimal(Slot, i128),
    Bytes(Slot, Box<[u8]>),
    Fixed(Slot, Box<[u8]>),
    List(Slot, Box<[Fill]>),
    Map { slot: Slot, keys: Slot, entries: Box<[(Box<[u8]>, Fill)]> },
    Record(Slot, Box<[Fill]>),
    Member { slot: Slot, value: Box<Fill>, others: Box<[ColumnId]> },
}

impl Fill {
    /// Bytes that it takes beyond what any value of the column takes.
    pub(super) fn cost(&self) -> usize {
        let item = |fill: &Self| fill.cost().saturating_add(16);
        match self {
            Self::Bytes(_, bytes) | Self::Fixed(_, bytes) => bytes.len(),
            Self::List(_, items) => items.iter().map(item).fold(0, usize::saturating_add),
            Self::Map { entries, .. } => {
                entries.iter().map(|(key, fill)| item(fill).saturating_add(key.len())).fold(0, usize::saturating_add)
            }
            Self::Record(_, fields) => fields.iter().map(item).fold(0, usize::saturating_add),
            Self::Member { value, .. } => value.cost(),
            _ => 0,
        }
    }
}

/// The default of a column. The recursion ends with the columns, which are a tree.
pub(super) fn fill(
    schema: &Schema,
    columns: &[Column],
    id: ColumnId,
    json: &Value,
    place: &str,
) -> Result<Fill, SchemaError> {
    let column = &columns[id.index()];
    if json.is_null() && column.nullable {
        return Ok(Fill::Null(id));
    }
    let node = schema.graph().node(column.node);
    let wrong = || {
        let null = if column.nullable { " or null" } else { "" };
        SchemaError::new(place, format!("the default {} is no {node}{null}", shown(json)))
    };
    let text = || latin(json).ok_or_else(wrong);
    let beneath = |id: ColumnId, json: &Value, step: &str| fill(schema, columns, id, json, &format!("{place}.{step}"));
    Ok(match &column.shape {
        Shape::Null(_) => return Err(wrong()),
        Shape::Boolean(slot) => Fill::Boolean(*slot, json.as_bool().ok_or_else(wrong)?),
        Shape::Int(slot) => {
            let whole = json.as_i64().and_then(|n| i32::try_from(n).ok());
            Fill::Int(*slot, whole.ok_or_else(wrong)?)
        }
        Shape::Long(slot) => Fill::Long(*slot, json.as_i64().ok_or_else(wrong)?),
        Shape::Float(slot) => Fill::Float(*slot, float(json).ok_or_else(wrong)?),
        Shape::Double(slot) => Fill::Double(*slot, json.as_f64().ok_or_else(wrong)?),
        Shape::Decimal(slot, precision) => {
            let whole = decimal::from_bytes(&text()?).filter(|n| decimal::fits(*n, *precision));
            let size = match &node.kind {
                Kind::Fixed(fixed) => fixed.size == text()?.len(),
                _ => true,
            };
            Fill::Decimal(*slot, whole.filter(|_| size).ok_or_else(wrong)?)
        }
        Shape::Bytes(slot) => {
            let bytes = match &node.kind {
                Kind::Bytes => text()?,
                Kind::Enum(of) => symbol(json, &of.symbols).ok_or_else(wrong)?.into(),
                _ => json.as_str().ok_or_else(wrong)?.into(),
            };
            Fill::Bytes(*slot, bytes.into())
        }
        Shape::Fixed(slot, size) => {
            let bytes = text()?;
            if bytes.len() != *size {
                return Err(wrong());
            }
            Fill::Fixed(*slot, bytes.into())
        }
        Shape::List { slot, item } => {
            let items = json.as_array().ok_or_else(wrong)?;
            let items = items.iter().map(|json| beneath(*item, json, "items")).collect::<Result<_, _>>()?;
            Fill::List(*slot, items)
        }
        Shape::Map { slot, key, value } => {
            let Shape::Bytes(keys) = columns[key.index()].shape else { return Err(wrong()) };
            let entries = json.as_object().ok_or_else(wrong)?;
            let entries = entries.iter().map(|(key, json)| Ok((key.as_bytes().into(), beneath(*value, json, key)?)));
            Fill::Map { slot: *slot, keys, entries: entries.collect::<Result<_, SchemaError>>()? }
        }
        Shape::Record { slot, fields } => {
            let given = json.as_object().ok_or_else(wrong)?;
            let fields = fields.iter().map(|id| {
                let column = &columns[id.index()];
                let name = column.field.name();
                match (given.get(name), &column.default) {
                    (Some(json), _) => beneath(*id, json, name),
                    (None, Some(default)) => Ok(default.clone()),
                    (None, None) => {
                        Err(SchemaError::new(place, format!("the default has no value for the field {name}")))
                    }
                }
            });
            Fill::Record(*slot, fields.collect::<Result<_, _>>()?)
        }
        Shape::Union { slot, members } => {
            // the first member that the default is of
            let fits = members.iter().find_map(|id| Some((*id, beneath(*id, json, "").ok().filter(not_null)?)));
            let (member, value) = fits.ok_or_else(wrong)?;
            let others = members.iter().copied().filter(|id| *id != member).collect();
            Fill::Member { slot: *slot, value: Box::new(value), others }
        }
    })
}

/// Members are nullable columns, but null is not of a member's type.
fn not_null(fill: &Fill) -> bool {
    !matches!(fill, Fill::Null(_))
}

fn symbol<'a>(json: &'a Value, symbols: &[String]) -> Option<&'a str> {
    json.as_str().filter(|text| symbols.iter().any(|symbol| symbol == text))
}

/// The nearest float; none for a number beyond all floats.
fn float(json: &Value) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "the nearest float is what a default of a float means")]
    let float = json.as_f64()? as f32;
    float.is_finite().then_some(float)
}

/// Bytes are written as text whose code points are the bytes.
fn latin(json: &Value) -> Option<Vec<u8>> {
    json.as_str()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}
