//! Bodies into rows.
//!
//! A record is appended in one pass, straight into its columns. If anything in it is wrong, to the last byte, all
//! columns are cut back to the rows they had: lengths alone say what to cut, so it does not matter how far the record
//! came or what the failure was.
//!
//! Invariants: (1) after each call of [`Decoder::decode`] every column has exactly `rows` values, whatever happened;
//! (2) what a body makes the columns grow by is bounded by its own size times a constant and the reader's defaults,
//! also while it is being refused.

use crate::decimal;
use crate::error::{DecodeError, Fallible, Problem};
use crate::program::{ListPlan, MapPlan, Op, Program, RecordPlan, Symbol};
use crate::reader::{ColumnId, Fill, Layout, Reader};
use crate::store::{Full, Store};
use crate::walk::walk;
use crate::wire::{BYTES, Blocks, Cursor, KEY, STRING};
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::ArrowError;
use std::sync::Arc;

/// A batch in the making: the columns of one reader, filled by the programs of as many writers as it takes.
#[derive(Debug)]
pub struct Decoder {
    reader: Reader,
    store: Store,
    rows: usize,
}

impl Decoder {
    /// An empty batch.
    pub fn new(reader: &Reader) -> Self {
        Self { reader: reader.clone(), store: Store::new(reader.layout()), rows: 0 }
    }

    /// Appends one record: exactly one row, or none with an error. Other rows are never touched.
    ///
    /// `body`: Avro's binary encoding of one record by the program's writer, without any header.
    ///
    /// # Errors
    /// What is wrong with the body, and where. Two problems are no fault of the body and are to be met by the caller:
    /// [`Problem::BatchFull`] and [`Problem::OtherReader`].
    #[inline]
    pub fn decode(&mut self, program: &Program, body: &[u8]) -> Result<(), DecodeError> {
        match self.row(program, body) {
            Ok(()) => {
                self.rows += 1;
                Ok(())
            }
            Err(error) => Err(self.undo(*error)),
        }
    }

    fn row(&mut self, program: &Program, body: &[u8]) -> Fallible<()> {
        let mut cursor = Cursor::new(body);
        if !program.reader.is(&self.reader) {
            return Err(cursor.fail(0, Problem::OtherReader));
        }
        let mut run = Run { program, layout: self.reader.layout(), store: &mut self.store };
        run.record(&program.root, &mut cursor, 1)?;
        cursor.end()
    }

    #[cold]
    fn undo(&mut self, error: DecodeError) -> DecodeError {
        let layout = self.reader.layout();
        for column in layout.fields() {
            self.store.truncate(layout, *column, self.rows);
        }
        error
    }

    /// Rows so far.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row yet.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes that the columns hold by now, room for more included.
    pub fn memory(&self) -> usize {
        self.store.memory()
    }

    /// Takes the rows as a batch with the reader's schema, and is empty then, ready for the next.
    ///
    /// # Errors
    /// None that a body could cause; if Arrow refuses the columns, the rows are lost.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let layout = self.reader.layout();
        let rows = std::mem::take(&mut self.rows);
        let columns: Result<_, _> = layout.fields().iter().map(|column| self.store.take(layout, *column)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        columns
            .and_then(|columns| {
                RecordBatch::try_new_with_options(Arc::clone(self.reader.arrow_schema()), columns, &options)
            })
            .inspect_err(|_| self.store = Store::new(self.reader.layout()))
    }
}

/// One body on its way.
struct Run<'a> {
    program: &'a Program,
    layout: &'a Layout,
    store: &'a mut Store,
}

impl Run<'_> {
    /// `depth`: of what is in the record.
    fn record(&mut self, plan: &RecordPlan, cursor: &mut Cursor<'_>, depth: usize) -> Fallible<()> {
        for (index, op) in plan.ops.iter().enumerate() {
            if let Err(error) = self.value(*op, cursor, depth) {
                return Err(error.in_field(&plan.names[index]));
            }
        }
        for column in &plan.missing {
            if let Some(fill) = &self.layout.column(*column).default {
                self.fill(fill).map_err(|full| full.at(cursor))?;
            }
        }
        if let Some(slot) = plan.slot {
            self.store.rows[slot.index()].push();
        }
        Ok(())
    }

    /// Leaves here, in the loop over a record's fields; all that has parts in [`Run::nested`].
    #[inline(always)]
    fn value(&mut self, op: Op, cursor: &mut Cursor<'_>, depth: usize) -> Fallible<()> {
        let store = &mut *self.store;
        match op {
            Op::Boolean(slot) => store.booleans[slot.index()].push(cursor.boolean()?),
            Op::Int(slot) => store.ints[slot.index()].push(cursor.int()?),
            Op::Long(slot) => store.longs[slot.index()].push(cursor.long()?),
            Op::Double(slot) => store.doubles[slot.index()].push(cursor.double()?),
            Op::Text(slot) => {
                let text = cursor.text(STRING)?;
                store.bytes[slot.index()].push(text).map_err(|full| full.at(cursor))?;
            }
            Op::Bytes(slot) => {
                let bytes = cursor.bytes(BYTES)?;
                store.bytes[slot.index()].push(bytes).map_err(|full| full.at(cursor))?;
            }
            Op::Union(plan) => {
                let branches = &self.program.unions[plan.index()].branches;
                let branch = cursor.branch(branches.len())?;
                return self.nested(branches[branch], cursor, depth);
            }
            op => return self.nested(op, cursor, depth),
        }
        Ok(())
    }

    #[inline(never)]
    fn nested(&mut self, op: Op, cursor: &mut Cursor<'_>, depth: usize) -> Fallible<()> {
        let (program, store) = (self.program, &mut *self.store);
        match op {
            Op::Skip(node) => return walk(program.writer.graph(), node, cursor, depth, &mut ()),
            Op::Null(column) => store.null(self.layout, column).map_err(|full| full.at(cursor))?,
            Op::IntToLong(slot) => store.longs[slot.index()].push(cursor.int()?.into()),
            Op::IntToFloat(slot) => store.floats[slot.index()].push(cursor.int()? as f32),
            Op::IntToDouble(slot) => store.doubles[slot.index()].push(cursor.int()?.into()),
            Op::LongToFloat(slot) => store.floats[slot.index()].push(cursor.long()? as f32),
            Op::LongToDouble(slot) => store.doubles[slot.index()].push(cursor.long()? as f64),
            Op::Float(slot) => store.floats[slot.index()].push(cursor.float()?),
            Op::FloatToDouble(slot) => store.doubles[slot.index()].push(cursor.float()?.into()),
            Op::BytesToText(slot) => {
                let text = cursor.text(BYTES)?;
                store.bytes[slot.index()].push(text).map_err(|full| full.at(cursor))?;
            }
            Op::Fixed(slot, size) => {
                let bytes = cursor.fixed(size as usize)?;
                store.fixeds[slot.index()].push(bytes).map_err(|full| full.at(cursor))?;
            }
            Op::DecimalOfBytes(slot, precision) => {
                let start = cursor.position();
                let bytes = cursor.bytes(BYTES)?;
                store.decimals[slot.index()].push(number(bytes, precision).map_err(|p| cursor.fail(start, p))?);
            }
            Op::DecimalOfFixed(slot, size, precision) => {
                let start = cursor.position();
                let bytes = cursor.fixed(size as usize)?;
                store.decimals[slot.index()].push(number(bytes, precision).map_err(|p| cursor.fail(start, p))?);
            }
            Op::Enum(plan) => {
                let plan = &program.enums[plan.index()];
                let start = cursor.position();
                match &plan.symbols[cursor.symbol(plan.symbols.len())?] {
                    Symbol::Becomes(text) => {
                        store.bytes[plan.slot.index()].push(text).map_err(|full| full.at(cursor))?
                    }
                    Symbol::Unknown(found) => {
                        return Err(cursor.fail(start, Problem::UnknownSymbol { found: found.clone() }));
                    }
                }
            }
            Op::Record(plan) => {
                let plan = &program.records[plan.index()];
                let depth = cursor.deeper(depth)?;
                cursor.charge(plan.ops.len())?;
                return self.record(plan, cursor, depth);
            }
            Op::List(plan) => return self.list(&program.lists[plan.index()], cursor, depth),
            Op::Map(plan) => return self.map(&program.maps[plan.index()], cursor, depth),
            Op::Member(plan) => {
                let plan = &program.members[plan.index()];
                store.rows[plan.slot.index()].push();
                for other in &plan.others {
                    store.null(self.layout, *other).map_err(|full| full.at(cursor))?;
                }
                return self.nested(plan.member, cursor, depth);
            }
            Op::Never(reason) => {
                let why = program.reasons[reason.index()].clone();
                return Err(cursor.fail(cursor.position(), Problem::Unresolvable { why }));
            }
            Op::Boolean(_) | Op::Int(_) | Op::Long(_) | Op::Double(_) | Op::Text(_) | Op::Bytes(_) | Op::Union(_) => {
                return self.value(op, cursor, depth);
            }
        }
        Ok(())
    }

    /// An array: its items go to the end of their column, then it is told how many there were.
    fn list(&mut self, plan: &ListPlan, cursor: &mut Cursor<'_>, depth: usize) -> Fallible<()> {
        let depth = cursor.deeper(depth)?;
        let (mut blocks, mut length) = (Blocks::default(), 0);
        loop {
            let items = blocks.next(cursor, plan.cost)?;
            for index in length..length + items {
                self.value(plan.item, cursor, depth).map_err(|e| e.in_item(index as u64))?;
            }
            if items == 0 {
                break;
            }
            length += items;
        }
        self.store.lists[plan.slot.index()].push(length).map_err(|full| full.at(cursor))
    }

    /// A map: an array of keys beside an array of values.
    fn map(&mut self, plan: &MapPlan, cursor: &mut Cursor<'_>, depth: usize) -> Fallible<()> {
        let depth = cursor.deeper(depth)?;
        let (mut blocks, mut length) = (Blocks::default(), 0);
        loop {
            let entries = blocks.next(cursor, plan.cost)?;
            for _ in 0..entries {
                let key = cursor.text(KEY)?;
                self.store.bytes[plan.keys.index()].push(key).map_err(|full| full.at(cursor))?;
                self.nested(plan.value, cursor, depth).map_err(|e| e.in_entry(key))?;
            }
            if entries == 0 {
                break;
            }
            length += entries;
        }
        self.store.lists[plan.slot.index()].push(length).map_err(|full| full.at(cursor))
    }

    /// Appends a default.
    fn fill(&mut self, fill: &Fill) -> Result<(), Full> {
        let store = &mut *self.store;
        match fill {
            Fill::Null(column) => store.null(self.layout, *column)?,
            Fill::Boolean(slot, value) => store.booleans[slot.index()].push(*value),
            Fill::Int(slot, value) => store.ints[slot.index()].push(*value),
            Fill::Long(slot, value) => store.longs[slot.index()].push(*value),
            Fill::Float(slot, value) => store.floats[slot.index()].push(*value),
            Fill::Double(slot, value) => store.doubles[slot.index()].push(*value),
            Fill::Decimal(slot, value) => store.decimals[slot.index()].push(*value),
            Fill::Bytes(slot, bytes) => store.bytes[slot.index()].push(bytes)?,
            Fill::Fixed(slot, bytes) => store.fixeds[slot.index()].push(bytes)?,
            Fill::List(slot, items) => {
                store.lists[slot.index()].push(items.len())?;
                return items.iter().try_for_each(|item| self.fill(item));
            }
            Fill::Map { slot, keys, entries } => {
                store.lists[slot.index()].push(entries.len())?;
                return entries.iter().try_for_each(|(key, value)| {
                    self.store.bytes[keys.index()].push(key)?;
                    self.fill(value)
                });
            }
            Fill::Record(slot, fields) => {
                store.rows[slot.index()].push();
                return fields.iter().try_for_each(|field| self.fill(field));
            }
            Fill::Member { slot, value, others } => {
                store.rows[slot.index()].push();
                others.iter().try_for_each(|other: &ColumnId| store.null(self.layout, *other))?;
                return self.fill(value);
            }
        }
        Ok(())
    }
}

impl Full {
    #[cold]
    fn at(self, cursor: &Cursor<'_>) -> Box<DecodeError> {
        cursor.fail(cursor.position(), Problem::BatchFull)
    }
}

fn number(bytes: &[u8], precision: u8) -> Result<i128, Problem> {
    if bytes.is_empty() {
        return Err(Problem::EmptyDecimal);
    }
    let number = decimal::from_bytes(bytes).filter(|number| decimal::fits(*number, precision));
    number.ok_or(Problem::DecimalOverflow { precision })
}
