//! The vectors that columns are made of.

use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

/// A column has reached what 32-bit offsets can address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// A row that is cut off having grown a vector by more than this many elements gives the memory back.
const KEPT: usize = 4_096;
/// Elements that a new batch has room for at most before it grows: as many as the last one held, within this.
const PREPARED: usize = 1 << 18;

/// Cuts a vector; what one huge row made of it is not kept for the sake of the others.
fn cut<T>(values: &mut Vec<T>, len: usize) {
    let beyond = values.len().saturating_sub(len);
    values.truncate(len);
    if beyond > KEPT {
        values.shrink_to(len.max(KEPT));
    }
}

/// Takes a vector's content and leaves one that is ready for as much again.
fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = values.len().min(PREPARED);
    std::mem::replace(values, Vec::with_capacity(room))
}

/// Bytes that a vector holds, its room included.
fn held<T>(values: &Vec<T>) -> usize {
    values.capacity() * size_of::<T>()
}

/// Which values are null: one bit each, set where there is a value, up to the last null; everything beyond is a value.
#[derive(Debug, Default)]
pub(crate) struct Validity {
    bits: Vec<u8>,
}

impl Validity {
    /// The value at `index`, which is the column's next, is null.
    fn null(&mut self, index: usize) {
        let byte = index / 8;
        if self.bits.len() <= byte {
            self.bits.resize(byte + 1, 0xff);
        }
        self.bits[byte] &= !(1 << (index % 8));
    }

    fn truncate(&mut self, len: usize) {
        cut(&mut self.bits, len.div_ceil(8));
        if let Some(last) = self.bits.get_mut(len / 8) {
            *last |= 0xff << (len % 8);
        }
    }

    fn take(&mut self, len: usize) -> Option<NullBuffer> {
        if self.bits.is_empty() {
            return None;
        }
        let mut bits = take(&mut self.bits);
        bits.resize(len.div_ceil(8), 0xff);
        Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, len)))
    }
}

/// Values of one size.
#[derive(Debug, Default)]
pub(crate) struct Plain<T> {
    values: Vec<T>,
    validity: Validity,
}

impl<T: Copy + Default> Plain<T> {
    #[inline(always)]
    pub(crate) fn push(&mut self, value: T) {
        self.values.push(value);
    }

    #[inline]
    pub(crate) fn blank(&mut self, null: bool) {
        if null {
            self.validity.null(self.values.len());
        }
        self.values.push(T::default());
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        cut(&mut self.values, len);
        self.validity.truncate(len);
    }

    pub(crate) fn memory(&self) -> usize {
        held(&self.values) + held(&self.validity.bits)
    }

    pub(crate) fn take(&mut self) -> (Vec<T>, Option<NullBuffer>) {
        let nulls = self.validity.take(self.values.len());
        (take(&mut self.values), nulls)
    }
}

/// Where each of a column's values ends in what lies beneath it. The first 0 is there from the first value on.
#[derive(Debug)]
struct Offsets {
    ends: Vec<i32>,
}

impl Default for Offsets {
    fn default() -> Self {
        Self { ends: vec![0] }
    }
}

impl Offsets {
    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    fn end(&self) -> i32 {
        self.ends.last().copied().unwrap_or_default()
    }

    #[inline(always)]
    fn push(&mut self, end: usize) -> Result<(), Full> {
        self.ends.push(i32::try_from(end).map_err(|_| Full)?);
        Ok(())
    }

    /// A value of nothing.
    fn repeat(&mut self) {
        self.ends.push(self.end());
    }

    /// Returns where the last value that stays ends.
    fn truncate(&mut self, len: usize) -> usize {
        cut(&mut self.ends, len + 1);
        usize::try_from(self.end()).unwrap_or_default()
    }

    fn take(&mut self) -> OffsetBuffer<i32> {
        let ends = take(&mut self.ends);
        self.ends.push(0);
        OffsetBuffer::new(ScalarBuffer::from(ends))
    }
}

/// Values of any length.
#[derive(Debug, Default)]
pub(crate) struct Bytes {
    offsets: Offsets,
    bytes: Vec<u8>,
    validity: Validity,
}

impl Bytes {
    #[inline(always)]
    pub(crate) fn push(&mut self, value: &[u8]) -> Result<(), Full> {
        self.bytes.extend_from_slice(value);
        self.offsets.push(self.bytes.len())
    }

    pub(crate) fn blank(&mut self, null: bool) {
        if null {
            self.validity.null(self.offsets.len());
        }
        self.offsets.repeat();
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        let bytes = self.offsets.truncate(len);
        cut(&mut self.bytes, bytes);
        self.validity.truncate(len);
    }

    pub(crate) fn memory(&self) -> usize {
        held(&self.offsets.ends) + held(&self.bytes) + held(&self.validity.bits)
    }

    pub(crate) fn take(&mut self) -> (OffsetBuffer<i32>, Vec<u8>, Option<NullBuffer>) {
        let nulls = self.validity.take(self.offsets.len());
        (self.offsets.take(), take(&mut self.bytes), nulls)
    }
}

/// Byte strings of one size, which may be 0.
#[derive(Debug)]
pub(crate) struct Fixeds {
    size: usize,
    len: usize,
    bytes: Vec<u8>,
    validity: Validity,
}

impl Fixeds {
    pub(crate) fn new(size: usize) -> Self {
        Self { size, len: 0, bytes: Vec::new(), validity: Validity::default() }
    }

    /// Appends a value of the column's size.
    #[inline]
    pub(crate) fn push(&mut self, value: &[u8]) -> Result<(), Full> {
        debug_assert_eq!(value.len(), self.size);
        self.room()?;
        self.bytes.extend_from_slice(value);
        self.len += 1;
        Ok(())
    }

    pub(crate) fn blank(&mut self, null: bool) -> Result<(), Full> {
        self.room()?;
        if null {
            self.validity.null(self.len);
        }
        self.bytes.resize(self.bytes.len() + self.size, 0);
        self.len += 1;
        Ok(())
    }

    /// Arrow allows no more bytes in one such column than its 32-bit offsets would.
    fn room(&self) -> Result<(), Full> {
        i32::try_from(self.bytes.len() + self.size).map(|_| ()).map_err(|_| Full)
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        cut(&mut self.bytes, len * self.size);
        self.validity.truncate(len);
    }

    pub(crate) fn memory(&self) -> usize {
        held(&self.bytes) + held(&self.validity.bits)
    }

    /// Values without a size have their number in the mask.
    pub(crate) fn take(&mut self) -> (Vec<u8>, Option<NullBuffer>) {
        let len = std::mem::take(&mut self.len);
        let nulls = self.validity.take(len);
        let nulls = if self.size == 0 { nulls.or_else(|| Some(NullBuffer::new_valid(len))) } else { nulls };
        (take(&mut self.bytes), nulls)
    }
}

/// Lists and maps: how many items each has. The items are columns of their own.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    offsets: Offsets,
    validity: Validity,
}

impl Lists {
    /// Ends a list of so many items, which are in their column already.
    pub(crate) fn push(&mut self, items: usize) -> Result<(), Full> {
        let start = usize::try_from(self.offsets.end()).map_err(|_| Full)?;
        self.offsets.push(start.saturating_add(items))
    }

    pub(crate) fn blank(&mut self, null: bool) {
        if null {
            self.validity.null(self.offsets.len());
        }
        self.offsets.repeat();
    }

    /// Returns how many items stay.
    pub(crate) fn truncate(&mut self, len: usize) -> usize {
        self.validity.truncate(len);
        self.offsets.truncate(len)
    }

    pub(crate) fn memory(&self) -> usize {
        held(&self.offsets.ends) + held(&self.validity.bits)
    }

    pub(crate) fn take(&mut self) -> (OffsetBuffer<i32>, Option<NullBuffer>) {
        let nulls = self.validity.take(self.offsets.len());
        (self.offsets.take(), nulls)
    }
}

/// How many values there are, and which are null: structs, and columns of nothing but null.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    len: usize,
    validity: Validity,
}

impl Rows {
    #[inline]
    pub(crate) fn push(&mut self) {
        self.len += 1;
    }

    pub(crate) fn blank(&mut self, null: bool) {
        if null {
            self.validity.null(self.len);
        }
        self.len += 1;
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.validity.truncate(len);
    }

    pub(crate) fn memory(&self) -> usize {
        held(&self.validity.bits)
    }

    pub(crate) fn take(&mut self) -> (usize, Option<NullBuffer>) {
        let len = std::mem::take(&mut self.len);
        (len, self.validity.take(len))
    }
}
