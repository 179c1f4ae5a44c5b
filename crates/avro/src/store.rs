//! What rows become: plain vectors, one set per column, that turn into Arrow arrays without copying their values.
//!
//! Columns of one kind lie side by side and are addressed by [`Slot`]; an instruction names kind and slot, so a value
//! finds its vector with one index and no second dispatch.
//!
//! Invariants, each kept by every method: (1) a validity mask holds nothing beyond its last null: a column without
//! nulls has none, and a value that is there costs nothing for being nullable; (2) offsets start with 0, do not fall,
//! and end at the length of what they point into, or before it while a row is being written; (3) columns are cut back
//! from their parents' lengths alone ([`Store::truncate`]), so undoing half a row needs no record of what was done.

mod arrays;
mod vectors;

pub(crate) use vectors::{Bytes, Fixeds, Full, Lists, Plain, Rows};

use crate::reader::{ColumnId, Layout, Shape};

/// Index of a column among those of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) u32);

impl Slot {
    #[inline(always)]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    /// Columns of Arrow's Null type.
    pub(crate) nulls: Vec<Rows>,
    pub(crate) booleans: Vec<Plain<bool>>,
    /// Int32, Date32, Time32.
    pub(crate) ints: Vec<Plain<i32>>,
    /// Int64, Time64, Timestamp.
    pub(crate) longs: Vec<Plain<i64>>,
    pub(crate) floats: Vec<Plain<f32>>,
    pub(crate) doubles: Vec<Plain<f64>>,
    pub(crate) decimals: Vec<Plain<i128>>,
    /// Utf8 and Binary; what goes into the former is UTF-8.
    pub(crate) bytes: Vec<Bytes>,
    pub(crate) fixeds: Vec<Fixeds>,
    /// List and Map.
    pub(crate) lists: Vec<Lists>,
    /// Struct.
    pub(crate) rows: Vec<Rows>,
}

impl Store {
    /// Empty columns for a layout.
    pub(crate) fn new(layout: &Layout) -> Self {
        let mut store = Self::default();
        // the layout numbers the slots of each kind in this order
        for column in layout.columns() {
            match column.shape {
                Shape::Null(_) => store.nulls.push(Rows::default()),
                Shape::Boolean(_) => store.booleans.push(Plain::default()),
                Shape::Int(_) => store.ints.push(Plain::default()),
                Shape::Long(_) => store.longs.push(Plain::default()),
                Shape::Float(_) => store.floats.push(Plain::default()),
                Shape::Double(_) => store.doubles.push(Plain::default()),
                Shape::Decimal(..) => store.decimals.push(Plain::default()),
                Shape::Bytes(_) => store.bytes.push(Bytes::default()),
                Shape::Fixed(_, size) => store.fixeds.push(Fixeds::new(size)),
                Shape::List { .. } | Shape::Map { .. } => store.lists.push(Lists::default()),
                Shape::Record { .. } | Shape::Union { .. } => store.rows.push(Rows::default()),
            }
        }
        store
    }

    /// Bytes that all columns hold, their room included.
    pub(crate) fn memory(&self) -> usize {
        let rows = self.nulls.iter().chain(&self.rows).map(Rows::memory);
        let plain = self.booleans.iter().map(Plain::memory).chain(self.ints.iter().map(Plain::memory));
        let plain = plain.chain(self.longs.iter().map(Plain::memory)).chain(self.floats.iter().map(Plain::memory));
        let plain = plain.chain(self.doubles.iter().map(Plain::memory)).chain(self.decimals.iter().map(Plain::memory));
        let other = self.bytes.iter().map(Bytes::memory).chain(self.fixeds.iter().map(Fixeds::memory));
        rows.chain(plain).chain(other).chain(self.lists.iter().map(Lists::memory)).sum()
    }

    /// Appends a null to a nullable column.
    pub(crate) fn null(&mut self, layout: &Layout, id: ColumnId) -> Result<(), Full> {
        self.blank(layout, id, true)
    }

    /// Appends a null, or what stands below a null where a column has none: zero, empty.
    fn blank(&mut self, layout: &Layout, id: ColumnId, null: bool) -> Result<(), Full> {
        match &layout.column(id).shape {
            Shape::Null(slot) => self.nulls[slot.index()].blank(false),
            Shape::Boolean(slot) => self.booleans[slot.index()].blank(null),
            Shape::Int(slot) => self.ints[slot.index()].blank(null),
            Shape::Long(slot) => self.longs[slot.index()].blank(null),
            Shape::Float(slot) => self.floats[slot.index()].blank(null),
            Shape::Double(slot) => self.doubles[slot.index()].blank(null),
            Shape::Decimal(slot, _) => self.decimals[slot.index()].blank(null),
            Shape::Bytes(slot) => self.bytes[slot.index()].blank(null),
            Shape::Fixed(slot, _) => self.fixeds[slot.index()].blank(null)?,
            Shape::List { slot, .. } | Shape::Map { slot, .. } => self.lists[slot.index()].blank(null),
            Shape::Record { slot, fields: parts } | Shape::Union { slot, members: parts } => {
                self.rows[slot.index()].blank(null);
                for part in parts {
                    self.blank(layout, *part, layout.column(*part).nullable)?;
                }
            }
        }
        Ok(())
    }

    /// Cuts a column, and all beneath it, back to its first `len` values.
    pub(crate) fn truncate(&mut self, layout: &Layout, id: ColumnId, len: usize) {
        match &layout.column(id).shape {
            Shape::Null(slot) => self.nulls[slot.index()].truncate(len),
            Shape::Boolean(slot) => self.booleans[slot.index()].truncate(len),
            Shape::Int(slot) => self.ints[slot.index()].truncate(len),
            Shape::Long(slot) => self.longs[slot.index()].truncate(len),
            Shape::Float(slot) => self.floats[slot.index()].truncate(len),
            Shape::Double(slot) => self.doubles[slot.index()].truncate(len),
            Shape::Decimal(slot, _) => self.decimals[slot.index()].truncate(len),
            Shape::Bytes(slot) => self.bytes[slot.index()].truncate(len),
            Shape::Fixed(slot, _) => self.fixeds[slot.index()].truncate(len),
            Shape::List { slot, item } => {
                let items = self.lists[slot.index()].truncate(len);
                self.truncate(layout, *item, items);
            }
            Shape::Map { slot, key, value } => {
                let entries = self.lists[slot.index()].truncate(len);
                self.truncate(layout, *key, entries);
                self.truncate(layout, *value, entries);
            }
            Shape::Record { slot, fields: parts } | Shape::Union { slot, members: parts } => {
                self.rows[slot.index()].truncate(len);
                for part in parts {
                    self.truncate(layout, *part, len);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
