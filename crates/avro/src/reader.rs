//! The reader's side: which Arrow columns a record becomes.
//!
//! A record's fields are a tree - structs, lists and maps have columns beneath them - and the tree is laid out in one
//! vector, parents after their children, each column with the slot of its vectors in the `store`.
//!
//! Invariants: (1) the tree is finite and at most 64 levels deep: readers that are recursive are refused; (2) it has
//! at most 10,000 columns, though types may be used many times; (3) defaults are of their column's type: they are
//! checked here, once.

mod defaults;

pub(crate) use defaults::Fill;

use crate::error::SchemaError;
use crate::schema::{Field as AvroField, Kind, Logical, Node, NodeId, Schema};
use crate::store::Slot;
use crate::wire::MAX_DEPTH;
use arrow_schema::{DataType, Field, FieldRef, Fields, SchemaRef, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// Columns that a reader may have, all levels together.
const MAX_COLUMNS: usize = 10_000;
/// Digits that a decimal column holds.
const MAX_PRECISION: u32 = 38;

/// A reader's schema as Arrow columns. Cheap to clone.
///
/// | Avro | Arrow |
/// |---|---|
/// | boolean, int, long, float, double | Boolean, Int32, Int64, Float32, Float64 |
/// | string, bytes, fixed, enum | Utf8, Binary, FixedSizeBinary, Utf8 |
/// | array, map, record | List(item), Map(Utf8 → value), Struct |
/// | a union of null and one type | that type, nullable |
/// | any other union | a Struct of nullable members named by branch type, one of them set |
/// | decimal of up to 38 digits | Decimal128 |
/// | date, time-millis, time-micros | Date32, Time32(ms), Time64(µs) |
/// | timestamp-{millis, micros, nanos} | Timestamp in UTC (`+00:00`) |
/// | local-timestamp-{millis, micros, nanos} | Timestamp without a time zone |
#[derive(Debug, Clone)]
pub struct Reader {
    layout: Arc<Layout>,
}

impl Reader {
    /// Lays out a reader's columns.
    ///
    /// # Errors
    /// A schema that is no record; one that has no Arrow form, because it is recursive, nested deeper than 64 levels,
    /// has more than 10,000 columns, a decimal of more than 38 digits or a union of nothing; a default that is not of
    /// its field's type.
    pub fn new(schema: &Schema) -> Result<Self, SchemaError> {
        let mut builder = Builder { schema, columns: Vec::new(), around: Vec::new(), used: HashMap::new() };
        let Kind::Record(record) = &schema.graph().root().kind else {
            return Err(SchemaError::new("", format!("a reader's schema is a record, not {}", schema.graph().root())));
        };
        builder.around.push(schema.graph().root_id());
        let fields = record.fields.iter().map(|field| builder.field(field, "")).collect::<Result<Vec<_>, _>>()?;
        let arrow: Fields = fields.iter().map(|id| Arc::clone(&builder.columns[id.index()].field)).collect();
        let layout = Layout {
            schema: schema.clone(),
            columns: builder.columns,
            fields,
            arrow: Arc::new(arrow_schema::Schema::new(arrow)),
        };
        Ok(Self { layout: Arc::new(layout) })
    }

    /// One field for each field of the record, in its order.
    pub fn arrow_schema(&self) -> &SchemaRef {
        &self.layout.arrow
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether the two are one reader, not merely of equal schemas.
    #[inline]
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.layout, &other.layout)
    }
}

/// Index of a column in its layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ColumnId(u32);

impl ColumnId {
    fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
pub(crate) struct Layout {
    schema: Schema,
    columns: Vec<Column>,
    fields: Vec<ColumnId>,
    arrow: SchemaRef,
}

impl Layout {
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }
    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }
    #[inline]
    pub(crate) fn column(&self, id: ColumnId) -> &Column {
        &self.columns[id.index()]
    }
    /// The record's own columns, in the order of its fields.
    pub(crate) fn fields(&self) -> &[ColumnId] {
        &self.fields
    }
    /// The reader's type of a column's values.
    pub(crate) fn node(&self, id: ColumnId) -> &Node {
        self.schema.graph().node(self.column(id).node)
    }
}

#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) field: FieldRef,
    /// Where null is written with a mask.
    pub(crate) nullable: bool,
    /// The reader's type; of a nullable column the one that is not null.
    pub(crate) node: NodeId,
    pub(crate) shape: Shape,
    /// Bytes that one value takes in the column and beneath it, texts and items apart.
    pub(crate) cost: usize,
    /// What a record gets whose writer has no such field.
    pub(crate) default: Option<Fill>,
}

#[derive(Debug)]
pub(crate) enum Shape {
    Null(Slot),
    Boolean(Slot),
    Int(Slot),
    Long(Slot),
    Float(Slot),
    Double(Slot),
    /// With its precision.
    Decimal(Slot, u8),
    Bytes(Slot),
    /// With its size in bytes.
    Fixed(Slot, usize),
    List {
        slot: Slot,
        item: ColumnId,
    },
    Map {
        slot: Slot,
        key: ColumnId,
        value: ColumnId,
    },
    Record {
        slot: Slot,
        fields: Box<[ColumnId]>,
    },
    /// A union of several types; null has no member.
    Union {
        slot: Slot,
        members: Box<[ColumnId]>,
    },
}

struct Builder<'a> {
    schema: &'a Schema,
    columns: Vec<Column>,
    /// The records, arrays and maps that the present column lies in.
    around: Vec<NodeId>,
    /// Slots in use of each kind of store.
    used: HashMap<&'static str, u32>,
}

impl Builder<'_> {
    fn slot(&mut self, of: &'static str) -> Slot {
        let next = self.used.entry(of).or_default();
        *next += 1;
        Slot(*next - 1)
    }

    fn field(&mut self, field: &AvroField, place: &str) -> Result<ColumnId, SchemaError> {
        let place = if place.is_empty() { field.name.clone() } else { format!("{place}.{}", field.name) };
        let id = self.column(field.node, &field.name, false, &place)?;
        if let Some(json) = &field.default {
            let fill = defaults::fill(self.schema, &self.columns, id, json, &place)?;
            let column = &mut self.columns[id.index()];
            column.cost = column.cost.saturating_add(fill.cost());
            column.default = Some(fill);
        }
        Ok(id)
    }

    /// A column of a type, and all beneath it. `nullable`: even if the type is not.
    fn column(&mut self, node: NodeId, name: &str, nullable: bool, place: &str) -> Result<ColumnId, SchemaError> {
        let graph = self.schema.graph();
        let (mut node, mut nullable) = (node, nullable);
        if let Kind::Union(members) = &graph.node(node).kind {
            let set: Vec<_> = members.iter().filter(|m| !matches!(graph.node(**m).kind, Kind::Null)).collect();
            nullable |= set.len() < members.len();
            match (set.as_slice(), members.as_slice()) {
                ([], []) => return Err(SchemaError::new(place, "a union of nothing has no column")),
                ([], [null, ..]) => node = *null,
                ([one], [_, _]) => node = **one,
                _ => {}
            }
        }
        let (shape, ty, cost) = self.shape(node, place)?;
        // Arrow's null columns are nullable by nature
        let nullable = nullable || matches!(shape, Shape::Null(_));
        let field = Arc::new(Field::new(name, ty, nullable));
        if self.columns.len() >= MAX_COLUMNS {
            return Err(SchemaError::new(
                place,
                format!("a reader has at most {MAX_COLUMNS} columns, all levels together"),
            ));
        }
        let id = u32::try_from(self.columns.len()).map_err(|e| SchemaError::new(place, e.to_string()))?;
        self.columns.push(Column { field, nullable, node, shape, cost, default: None });
        Ok(ColumnId(id))
    }

    fn shape(&mut self, id: NodeId, place: &str) -> Result<(Shape, DataType, usize), SchemaError> {
        let node = self.schema.graph().node(id);
        let nested = matches!(node.kind, Kind::Record(_) | Kind::Array(_) | Kind::Map(_));
        if nested {
            if self.around.contains(&id) {
                return Err(SchemaError::new(place, format!("{node} contains itself: Arrow has no such type")));
            }
            if self.around.len() >= MAX_DEPTH {
                return Err(SchemaError::new(place, format!("nested deeper than {MAX_DEPTH} levels")));
            }
            self.around.push(id);
        }
        let made = self.make(node, place)?;
        if nested {
            self.around.pop();
        }
        Ok(made)
    }

    fn make(&mut self, node: &Node, place: &str) -> Result<(Shape, DataType, usize), SchemaError> {
        if let Some(logical) = node.logical {
            return self.logical(node, logical, place);
        }
        Ok(match &node.kind {
            Kind::Null => (Shape::Null(self.slot("null")), DataType::Null, 0),
            Kind::Boolean => (Shape::Boolean(self.slot("boolean")), DataType::Boolean, 1),
            Kind::Int => (Shape::Int(self.slot("int")), DataType::Int32, 4),
            Kind::Long => (Shape::Long(self.slot("long")), DataType::Int64, 8),
            Kind::Float => (Shape::Float(self.slot("float")), DataType::Float32, 4),
            Kind::Double => (Shape::Double(self.slot("double")), DataType::Float64, 8),
            Kind::String => (Shape::Bytes(self.slot("bytes")), DataType::Utf8, 4),
            Kind::Enum(of) => {
                let longest = of.symbols.iter().map(String::len).max().unwrap_or_default();
                (Shape::Bytes(self.slot("bytes")), DataType::Utf8, 4 + longest)
            }
            Kind::Bytes => (Shape::Bytes(self.slot("bytes")), DataType::Binary, 4),
            Kind::Fixed(fixed) => {
                let size = i32::try_from(fixed.size).map_err(|e| SchemaError::new(place, e.to_string()))?;
                (Shape::Fixed(self.slot("fixed"), fixed.size), DataType::FixedSizeBinary(size), fixed.size)
            }
            Kind::Array(of) => {
                let item = self.column(*of, "item", false, &format!("{place}.items"))?;
                let ty = DataType::List(Arc::clone(&self.columns[item.index()].field));
                (Shape::List { slot: self.slot("list"), item }, ty, 4)
            }
            Kind::Map(of) => self.map(*of, place)?,
            Kind::Record(record) => {
                let fields: Vec<_> = record.fields.iter().map(|f| self.field(f, place)).collect::<Result<_, _>>()?;
                let (ty, cost) = self.structs(&fields);
                (Shape::Record { slot: self.slot("rows"), fields: fields.into() }, ty, cost)
            }
            Kind::Union(members) => {
                let members = self.members(members, place)?;
                let (ty, cost) = self.structs(&members);
                (Shape::Union { slot: self.slot("rows"), members: members.into() }, ty, cost)
            }
        })
    }

    fn logical(&mut self, node: &Node, logical: Logical, place: &str) -> Result<(Shape, DataType, usize), SchemaError> {
        let utc = || Some("+00:00".into());
        Ok(match logical {
            Logical::Decimal { precision, scale } => {
                let (Ok(digits), Ok(after)) = (u8::try_from(precision), i8::try_from(scale)) else {
                    return Err(too_precise(node, place));
                };
                if precision > MAX_PRECISION {
                    return Err(too_precise(node, place));
                }
                (Shape::Decimal(self.slot("decimal"), digits), DataType::Decimal128(digits, after), 16)
            }
            Logical::Date => (Shape::Int(self.slot("int")), DataType::Date32, 4),
            Logical::Time(TimeUnit::Millisecond) => {
                (Shape::Int(self.slot("int")), DataType::Time32(TimeUnit::Millisecond), 4)
            }
            Logical::Time(unit) => (Shape::Long(self.slot("long")), DataType::Time64(unit), 8),
            Logical::Timestamp(unit) => (Shape::Long(self.slot("long")), DataType::Timestamp(unit, utc()), 8),
            Logical::LocalTimestamp(unit) => (Shape::Long(self.slot("long")), DataType::Timestamp(unit, None), 8),
        })
    }

    fn map(&mut self, of: NodeId, place: &str) -> Result<(Shape, DataType, usize), SchemaError> {
        let value = self.column(of, "value", false, &format!("{place}.values"))?;
        let field = Arc::new(Field::new("key", DataType::Utf8, false));
        let key = u32::try_from(self.columns.len()).map_err(|e| SchemaError::new(place, e.to_string()))?;
        let shape = Shape::Bytes(self.slot("bytes"));
        self.columns.push(Column {
            field: Arc::clone(&field),
            nullable: false,
            node: of,
            shape,
            cost: 4,
            default: None,
        });
        let fields: Fields = vec![field, Arc::clone(&self.columns[value.index()].field)].into();
        let entries = Arc::new(Field::new("entries", DataType::Struct(fields), false));
        Ok((Shape::Map { slot: self.slot("list"), key: ColumnId(key), value }, DataType::Map(entries, false), 4))
    }

    /// The members of a union of several types, named by type; two types of one name by their full names.
    fn members(&mut self, members: &[NodeId], place: &str) -> Result<Vec<ColumnId>, SchemaError> {
        let graph = self.schema.graph();
        let short = |id: &NodeId| graph.node(*id).kind.named().map_or(graph.node(*id).kind.name(), |name| name.short());
        let set = members.iter().filter(|id| !matches!(graph.node(**id).kind, Kind::Null));
        set.map(|id| {
            let kind = &graph.node(*id).kind;
            let name = match kind.named() {
                Some(name) if members.iter().filter(|other| short(other) == name.short()).count() > 1 => &name.full,
                _ => short(id),
            };
            self.column(*id, name, true, &format!("{place}.{name}"))
        })
        .collect()
    }

    fn structs(&self, parts: &[ColumnId]) -> (DataType, usize) {
        let columns = parts.iter().map(|id| &self.columns[id.index()]);
        let cost = columns.clone().fold(0usize, |sum, column| sum.saturating_add(column.cost));
        (DataType::Struct(columns.map(|column| Arc::clone(&column.field)).collect()), cost)
    }
}

fn too_precise(node: &Node, place: &str) -> SchemaError {
    SchemaError::new(place, format!("{node}: a decimal column holds {MAX_PRECISION} digits at most"))
}

#[cfg(test)]
#[path = "reader/tests.rs"]
mod tests;
