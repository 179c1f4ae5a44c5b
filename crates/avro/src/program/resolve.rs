//! Schema resolution: two schemas into one program.
//!
//! The recursion follows the reader's columns, which are a tree no deeper than 64 levels, so a recursive or huge
//! writer cannot run it away; what the reader does not want is not compiled at all. A pair of types and column is
//! resolved once.

use super::{EnumPlan, ListPlan, MapPlan, MemberPlan, Op, PlanId, Program, RecordPlan, Symbol, UnionPlan};
use crate::error::SchemaError;
use crate::reader::{ColumnId, Layout, Reader, Shape};
use crate::schema::{self, Kind, Logical, Node, NodeId, Record, Schema};
use crate::store::Slot;
use std::collections::{HashMap, HashSet};

pub(super) fn resolve(writer: &Schema, reader: &Reader) -> Result<Program, SchemaError> {
    let layout = reader.layout();
    let (Kind::Record(from), Kind::Record(to)) = (&writer.graph().root().kind, &layout.schema().graph().root().kind)
    else {
        return Err(SchemaError::new("", format!("the writer's schema is no record but {}", writer.graph().root())));
    };
    let program = Program {
        reader: reader.clone(),
        writer: writer.clone(),
        root: RecordPlan::default(),
        records: Vec::new(),
        lists: Vec::new(),
        maps: Vec::new(),
        unions: Vec::new(),
        members: Vec::new(),
        enums: Vec::new(),
        reasons: Vec::new(),
    };
    let mut resolver = Resolver { writer, layout, program, known: HashMap::new() };
    match resolver.record(from, to, layout.fields(), None) {
        Ok(root) => Ok(Program { root, ..resolver.program }),
        Err(Never { place, why }) => Err(SchemaError::new(place, why)),
    }
}

/// Two types that do not resolve, whatever the value.
struct Never {
    /// Of the field, as a path.
    place: String,
    why: String,
}

impl Never {
    fn new(why: impl Into<String>) -> Self {
        Self { place: String::new(), why: why.into() }
    }

    fn in_field(self, name: &str) -> Self {
        let place = if self.place.is_empty() { name.to_owned() } else { format!("{name}.{}", self.place) };
        Self { place, ..self }
    }

    fn sentence(self) -> String {
        if self.place.is_empty() { self.why } else { format!("{}: {}", self.place, self.why) }
    }
}

struct Resolver<'a> {
    writer: &'a Schema,
    layout: &'a Layout,
    program: Program,
    /// Resolved before.
    known: HashMap<(NodeId, ColumnId), Op>,
}

impl<'a> Resolver<'a> {
    /// What a writer's value of a type does to a column.
    fn value(&mut self, from: NodeId, to: ColumnId) -> Result<Op, Never> {
        if let Some(op) = self.known.get(&(from, to)) {
            return match op {
                Op::Never(reason) => Err(Never::new(&self.program.reasons[reason.index()])),
                op => Ok(*op),
            };
        }
        let made = self.make(from, to);
        let op = match &made {
            Ok(op) => *op,
            Err(Never { place, why }) => self.never(Never { place: place.clone(), why: why.clone() }),
        };
        self.known.insert((from, to), op);
        made
    }

    fn never(&mut self, never: Never) -> Op {
        Op::Never(plan(&mut self.program.reasons, never.sentence()))
    }

    fn make(&mut self, from: NodeId, to: ColumnId) -> Result<Op, Never> {
        let (writer, layout) = (self.writer, self.layout);
        let node = writer.graph().node(from);
        let column = layout.column(to);
        match (&node.kind, &column.shape) {
            (Kind::Union(branches), _) => self.union(branches, to),
            (Kind::Null, _) if column.nullable => Ok(Op::Null(to)),
            (_, Shape::Union { slot, members }) => self.member(from, *slot, members),
            (Kind::Record(record), Shape::Record { slot, fields }) => {
                let Kind::Record(wanted) = &layout.node(to).kind else { return Err(self.mismatch(node, to)) };
                let made = self.record(record, wanted, fields, Some(*slot))?;
                Ok(Op::Record(plan(&mut self.program.records, made)))
            }
            (Kind::Array(of), Shape::List { slot, item }) => {
                let made = self.value(*of, *item).map_err(|never| never.in_field("items"))?;
                let list = ListPlan { slot: *slot, item: made, cost: layout.column(*item).cost };
                Ok(Op::List(plan(&mut self.program.lists, list)))
            }
            (Kind::Map(of), Shape::Map { slot, key, value }) => {
                let Shape::Bytes(keys) = layout.column(*key).shape else { return Err(self.mismatch(node, to)) };
                let made = self.value(*of, *value).map_err(|never| never.in_field("values"))?;
                let cost = layout.column(*key).cost.saturating_add(layout.column(*value).cost);
                let map = MapPlan { slot: *slot, keys, value: made, cost };
                Ok(Op::Map(plan(&mut self.program.maps, map)))
            }
            (Kind::Enum(from), Shape::Bytes(slot)) => {
                let Kind::Enum(wanted) = &layout.node(to).kind else { return Err(self.mismatch(node, to)) };
                let made = enumeration(from, wanted, *slot)?;
                Ok(Op::Enum(plan(&mut self.program.enums, made)))
            }
            _ => self.leaf(node, to),
        }
    }

    /// Types without parts. A column's shape tells its Avro type but for `Bytes`.
    fn leaf(&self, from: &Node, to: ColumnId) -> Result<Op, Never> {
        let wanted = self.layout.node(to);
        if !meets(from.logical, wanted.logical) {
            return Err(self.mismatch(from, to));
        }
        Ok(match (&from.kind, &self.layout.column(to).shape) {
            (Kind::Boolean, Shape::Boolean(slot)) => Op::Boolean(*slot),
            (Kind::Int, Shape::Int(slot)) => Op::Int(*slot),
            (Kind::Int, Shape::Long(slot)) => Op::IntToLong(*slot),
            (Kind::Int, Shape::Float(slot)) => Op::IntToFloat(*slot),
            (Kind::Int, Shape::Double(slot)) => Op::IntToDouble(*slot),
            (Kind::Long, Shape::Long(slot)) => Op::Long(*slot),
            (Kind::Long, Shape::Float(slot)) => Op::LongToFloat(*slot),
            (Kind::Long, Shape::Double(slot)) => Op::LongToDouble(*slot),
            (Kind::Float, Shape::Float(slot)) => Op::Float(*slot),
            (Kind::Float, Shape::Double(slot)) => Op::FloatToDouble(*slot),
            (Kind::Double, Shape::Double(slot)) => Op::Double(*slot),
            (Kind::String | Kind::Bytes, Shape::Bytes(slot)) => match (&from.kind, &wanted.kind) {
                (Kind::Bytes, Kind::Bytes) => Op::Bytes(*slot),
                (Kind::Bytes, Kind::String) => Op::BytesToText(*slot),
                (_, Kind::String | Kind::Bytes) => Op::Text(*slot),
                _ => return Err(self.mismatch(from, to)),
            },
            (Kind::Bytes, Shape::Decimal(slot, precision)) if matches!(wanted.kind, Kind::Bytes) => {
                Op::DecimalOfBytes(*slot, *precision)
            }
            (Kind::Fixed(fixed), Shape::Fixed(slot, _)) => Op::Fixed(*slot, same_fixed(fixed, wanted)?),
            (Kind::Fixed(fixed), Shape::Decimal(slot, precision)) if matches!(wanted.kind, Kind::Fixed(_)) => {
                Op::DecimalOfFixed(*slot, same_fixed(fixed, wanted)?, *precision)
            }
            _ => return Err(self.mismatch(from, to)),
        })
    }

    fn mismatch(&self, from: &Node, to: ColumnId) -> Never {
        let null = if self.layout.column(to).nullable { "nullable " } else { "" };
        Never::new(format!("the writer's {from} does not resolve to the reader's {null}{}", self.layout.node(to)))
    }

    fn record(
        &mut self,
        from: &'a Record,
        to: &Record,
        columns: &[ColumnId],
        slot: Option<Slot>,
    ) -> Result<RecordPlan, Never> {
        let takers = takers(from, to);
        let mut ops = Vec::with_capacity(from.fields.len());
        for (field, taker) in from.fields.iter().zip(&takers) {
            ops.push(match taker {
                Some(index) => self.value(field.node, columns[*index]).map_err(|never| never.in_field(&field.name))?,
                None => Op::Skip(field.node),
            });
        }
        let taken: HashSet<_> = takers.iter().flatten().collect();
        let mut missing = Vec::new();
        for (index, field) in to.fields.iter().enumerate().filter(|(index, _)| !taken.contains(index)) {
            if self.layout.column(columns[index]).default.is_none() {
                let why = "the writer has no such field, and the reader's has no default";
                return Err(Never::new(why).in_field(&field.name));
            }
            missing.push(columns[index]);
        }
        let names = from.fields.iter().map(|field| field.name.clone()).collect();
        Ok(RecordPlan { slot, ops: ops.into(), names, missing: missing.into() })
    }

    /// A union of the writer's: branches that do not resolve fail when a record has them, unless none does.
    fn union(&mut self, branches: &[NodeId], to: ColumnId) -> Result<Op, Never> {
        let mut first = None;
        let mut ops = Vec::with_capacity(branches.len());
        for branch in branches {
            ops.push(match self.value(*branch, to) {
                Ok(op) => op,
                Err(never) => {
                    let op = self.never(Never { place: never.place.clone(), why: never.why.clone() });
                    first.get_or_insert(never);
                    op
                }
            });
        }
        if ops.iter().all(|op| matches!(op, Op::Never(_))) {
            return Err(first.unwrap_or_else(|| Never::new("the writer's union has no branch")));
        }
        Ok(Op::Union(plan(&mut self.program.unions, UnionPlan { branches: ops.into() })))
    }

    /// A union of the reader's: the member of the writer's name or type, else the first that the writer's type is
    /// promoted to.
    fn member(&mut self, from: NodeId, slot: Slot, members: &[ColumnId]) -> Result<Op, Never> {
        let node = self.writer.graph().node(from);
        let none = || Never::new(format!("the writer's {node} resolves to no branch of the reader's union"));
        if matches!(node.kind, Kind::Null) {
            // members are nullable columns, but no branches of null
            return Err(none());
        }
        let (chosen, member) = match self.namesake(node, members) {
            Some(member) => (member, self.value(from, member)?),
            None => {
                let same = |id: &ColumnId| self.layout.node(*id).kind.name() == node.kind.name();
                let (same, other): (Vec<ColumnId>, Vec<ColumnId>) = members.iter().copied().partition(same);
                let mut in_order = same.into_iter().chain(other);
                in_order.find_map(|id| Some((id, self.value(from, id).ok()?))).ok_or_else(none)?
            }
        };
        let others = members.iter().copied().filter(|id| *id != chosen).collect();
        Ok(Op::Member(plan(&mut self.program.members, MemberPlan { slot, member, others })))
    }

    fn namesake(&self, from: &Node, members: &[ColumnId]) -> Option<ColumnId> {
        let name = from.kind.named()?;
        let alike = |id: &&ColumnId| self.layout.node(**id).kind.name() == from.kind.name();
        let named = |id: &ColumnId| self.layout.node(*id).kind.named();
        let exact = members.iter().filter(alike).find(|id| named(id).is_some_and(|own| own.full == name.full));
        let short = || members.iter().filter(alike).find(|id| named(id).is_some_and(|own| own.accepts(name)));
        exact.or_else(short).copied()
    }
}

fn plan<T>(plans: &mut Vec<T>, plan: T) -> PlanId {
    plans.push(plan);
    // a schema has fewer than 2³² types, a reader 10,000 columns; memory ends before their product does
    PlanId(u32::try_from(plans.len() - 1).unwrap_or(u32::MAX))
}

/// For each of the writer's fields which of the reader's takes it: that of its name, else the first that has it as an
/// alias and finds none by its own name.
fn takers(from: &Record, to: &Record) -> Vec<Option<usize>> {
    let by_name: HashMap<_, _> =
        to.fields.iter().enumerate().map(|(index, field)| (field.name.as_str(), index)).collect();
    let mut takers: Vec<_> = from.fields.iter().map(|field| by_name.get(field.name.as_str()).copied()).collect();
    let written: HashMap<_, _> = from.fields.iter().enumerate().map(|(index, f)| (f.name.as_str(), index)).collect();
    for (index, field) in to.fields.iter().enumerate().filter(|(_, field)| !written.contains_key(field.name.as_str())) {
        let free = |alias: &String| written.get(alias.as_str()).copied().filter(|at| takers[*at].is_none());
        if let Some(at) = field.aliases.iter().find_map(free) {
            takers[at] = Some(index);
        }
    }
    takers
}

fn meets(writer: Option<Logical>, reader: Option<Logical>) -> bool {
    match (writer, reader) {
        (Some(writer), Some(reader)) => writer == reader,
        _ => true,
    }
}

/// The size of a fixed that is the reader's too.
fn same_fixed(from: &schema::Fixed, wanted: &Node) -> Result<u32, Never> {
    let Kind::Fixed(to) = &wanted.kind else {
        return Err(Never::new(format!(
            "the writer's fixed {} does not resolve to the reader's {wanted}",
            from.name.full
        )));
    };
    if from.size != to.size || !to.name.accepts(&from.name) {
        return Err(Never::new(format!(
            "the writer's fixed {} of {} bytes does not resolve to the reader's {wanted}",
            from.name.full, from.size
        )));
    }
    u32::try_from(to.size).map_err(|error| Never::new(error.to_string()))
}

fn enumeration(from: &schema::Enum, to: &schema::Enum, slot: Slot) -> Result<EnumPlan, Never> {
    let (writer, reader) = (&from.name.full, &to.name.full);
    if !to.name.accepts(&from.name) {
        return Err(Never::new(format!("the writer's enum {writer} does not resolve to the reader's enum {reader}")));
    }
    let own: HashSet<_> = to.symbols.iter().collect();
    let symbols = from.symbols.iter().map(|symbol| match (own.contains(symbol), &to.default) {
        (true, _) => Symbol::Becomes(symbol.as_bytes().into()),
        (false, Some(default)) => Symbol::Becomes(default.as_bytes().into()),
        (false, None) => Symbol::Unknown(symbol.clone()),
    });
    let symbols: Box<[Symbol]> = symbols.collect();
    if symbols.iter().all(|symbol| matches!(symbol, Symbol::Unknown(_))) {
        return Err(Never::new(format!("no symbol of the writer's enum {writer} is one of the reader's {reader}")));
    }
    Ok(EnumPlan { slot, symbols })
}
