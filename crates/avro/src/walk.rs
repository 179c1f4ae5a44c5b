//! A value that no column wants, still read by the letter: the fields that a reader drops, and a whole body for
//! `explain`.
//!
//! One walk for both, along the writer's own schema, so that what is refused while dropping is refused with the same
//! words while explaining. The schema may be recursive; the depth of the data is limited, and with it the stack.

use crate::error::Fallible;
use crate::schema::{Graph, Kind, Node, NodeId};
use crate::wire::{BYTES, Blocks, Cursor, KEY, STRING};

/// Who is told of what is walked over. The default is nobody.
pub(crate) trait Witness {
    /// Into a field, an item, a map's entry …
    fn enter(&mut self, _step: Step<'_>) {}
    /// … and out of it.
    fn leave(&mut self) {}
    /// A value that has no parts, or no part in this body.
    fn value(&mut self, _node: &Node, _value: Value<'_>, _start: usize, _end: usize) {}
}

/// Drops everything.
impl Witness for () {}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    Field(&'a str),
    Item(u64),
    Entry(&'a [u8]),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    Whole(i64),
    Float(f32),
    Double(f64),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Symbol(&'a str),
    /// An array, map or record without anything in it.
    Empty(&'static str),
}

/// Walks over one value. `depth`: records, arrays and maps around it.
pub(crate) fn walk(
    graph: &Graph,
    id: NodeId,
    cursor: &mut Cursor<'_>,
    depth: usize,
    witness: &mut impl Witness,
) -> Fallible<()> {
    let start = cursor.position();
    value(graph, graph.node(id), start, cursor, depth, witness)
}

/// `start`: of the value, a union's branch included.
fn value(
    graph: &Graph,
    node: &Node,
    start: usize,
    cursor: &mut Cursor<'_>,
    depth: usize,
    witness: &mut impl Witness,
) -> Fallible<()> {
    let value = match &node.kind {
        Kind::Null => Value::Null,
        Kind::Boolean => Value::Boolean(cursor.boolean()?),
        Kind::Int => Value::Whole(cursor.int()?.into()),
        Kind::Long => Value::Whole(cursor.long()?),
        Kind::Float => Value::Float(cursor.float()?),
        Kind::Double => Value::Double(cursor.double()?),
        Kind::String => Value::Text(cursor.text(STRING)?),
        Kind::Bytes => Value::Bytes(cursor.bytes(BYTES)?),
        Kind::Fixed(fixed) => Value::Bytes(cursor.fixed(fixed.size)?),
        Kind::Enum(of) => Value::Symbol(&of.symbols[cursor.symbol(of.symbols.len())?]),
        Kind::Union(members) => {
            let branch = cursor.branch(members.len())?;
            return self::value(graph, graph.node(members[branch]), start, cursor, depth, witness);
        }
        Kind::Record(record) => {
            let depth = cursor.deeper(depth)?;
            // fields of no bytes take time too
            cursor.charge(record.fields.len())?;
            for field in &record.fields {
                witness.enter(Step::Field(&field.name));
                walk(graph, field.node, cursor, depth, witness).map_err(|e| e.in_field(&field.name))?;
                witness.leave();
            }
            if !record.fields.is_empty() {
                return Ok(());
            }
            Value::Empty("{}")
        }
        Kind::Array(item) => {
            let depth = cursor.deeper(depth)?;
            let (mut blocks, mut index) = (Blocks::default(), 0);
            loop {
                let items = blocks.next(cursor, 0)?;
                for _ in 0..items {
                    witness.enter(Step::Item(index));
                    walk(graph, *item, cursor, depth, witness).map_err(|e| e.in_item(index))?;
                    witness.leave();
                    index += 1;
                }
                if items == 0 {
                    break;
                }
            }
            if index > 0 {
                return Ok(());
            }
            Value::Empty("[]")
        }
        Kind::Map(of) => {
            let depth = cursor.deeper(depth)?;
            let (mut blocks, mut any) = (Blocks::default(), false);
            loop {
                let entries = blocks.next(cursor, 0)?;
                for _ in 0..entries {
                    let key = cursor.text(KEY)?;
                    witness.enter(Step::Entry(key));
                    walk(graph, *of, cursor, depth, witness).map_err(|e| e.in_entry(key))?;
                    witness.leave();
                    any = true;
                }
                if entries == 0 {
                    break;
                }
            }
            if any {
                return Ok(());
            }
            Value::Empty("{}")
        }
    };
    witness.value(node, value, start, cursor.position());
    Ok(())
}
