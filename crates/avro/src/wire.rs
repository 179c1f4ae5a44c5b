//! Avro's binary encoding by the letter: a cursor over one body that never reads beyond it and names what is wrong.
//!
//! Owns: every rule about bytes. Not here: what a schema says about them (`walk`, `decoder`).
//!
//! Invariants: (1) `rest` is a suffix of `body`; (2) a method that fails leaves the cursor unusable, for a body has
//! one failure at most; (3) no method allocates but for its error; (4) what a record may take beyond its own bytes is
//! drawn from `budget` first.

use crate::error::{DecodeError, Fallible, Problem};

/// Records, arrays and maps that may enclose each other, the record itself included.
pub(crate) const MAX_DEPTH: usize = 64;

/// Memory that a record may take beyond its own bytes: so much for any record …
const BUDGET_FLOOR: usize = 4 << 20;
/// … and so much for each byte of its body.
const BUDGET_PER_BYTE: usize = 64;
/// What an item costs at least, one of no bytes included, so that counting items is bounded too.
const ITEM_COST: usize = 16;

pub(crate) const STRING: &str = "a string";
pub(crate) const BYTES: &str = "a bytes value";
pub(crate) const KEY: &str = "a map key";

#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    body: &'a [u8],
    rest: &'a [u8],
    budget: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { body, rest: body, budget: budget(body.len()) }
    }

    /// Index of the next byte.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.body.len() - self.rest.len()
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn fail(&self, position: usize, problem: Problem) -> Box<DecodeError> {
        Box::new(DecodeError { position, field: String::new(), problem })
    }

    /// `needs` bytes of `what` are not there.
    #[cold]
    #[inline(never)]
    fn ended(&self, what: &'static str, needs: usize) -> Box<DecodeError> {
        self.fail(self.position(), Problem::EndOfBody { what, needs, left: self.rest.len() })
    }

    /// The record is complete: nothing may follow it.
    #[inline]
    pub(crate) fn end(&self) -> Fallible<()> {
        match self.rest.len() {
            0 => Ok(()),
            found => Err(self.fail(self.position(), Problem::TrailingBytes { found })),
        }
    }

    /// Draws memory, or work that takes time like it, from what this body may cause.
    #[inline]
    pub(crate) fn charge(&mut self, cost: usize) -> Fallible<()> {
        match self.budget.checked_sub(cost) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(self.fail(self.position(), Problem::TooLarge { limit: budget(self.body.len()) })),
        }
    }

    /// The depth inside of one more record, array or map.
    #[inline]
    pub(crate) fn deeper(&self, depth: usize) -> Fallible<usize> {
        if depth < MAX_DEPTH {
            Ok(depth + 1)
        } else {
            Err(self.fail(self.position(), Problem::TooDeep { limit: MAX_DEPTH }))
        }
    }

    /// A variable-length integer before its zig-zag is undone.
    ///
    /// The fast path takes eight bytes at once: the first clear top bit is where the integer ends, three shifts close
    /// the gaps that the top bits leave. It has no branch on the length, which in real data changes from value to
    /// value.
    #[inline(always)]
    fn varint(&mut self, what: &'static str) -> Fallible<u64> {
        const TOP_BITS: u64 = 0x8080_8080_8080_8080;
        if let Some(chunk) = self.rest.first_chunk::<8>() {
            let word = u64::from_le_bytes(*chunk);
            let ends = !word & TOP_BITS;
            if ends != 0 {
                let last = ends.trailing_zeros();
                let word = word & (u64::MAX >> (63 - last)) & !TOP_BITS;
                let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
                let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
                let word = (word & 0x0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4);
                self.rest = &self.rest[last as usize / 8 + 1..];
                return Ok(word);
            }
        }
        self.varint_by_byte(what)
    }

    /// Near the body's end, and of nine or ten bytes.
    #[inline(never)]
    fn varint_by_byte(&mut self, what: &'static str) -> Fallible<u64> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                let problem = match byte & 0x80 {
                    0 => Problem::VarintTooLarge { what },
                    _ => Problem::VarintTooLong { what },
                };
                return Err(self.fail(self.position(), problem));
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(self.ended(what, self.rest.len() + 1))
    }

    /// A long where small numbers are the rule: lengths, counts, indexes.
    #[inline(always)]
    pub(crate) fn small(&mut self, what: &'static str) -> Fallible<i64> {
        match self.rest.split_first() {
            Some((&byte, tail)) if byte < 0x80 => {
                self.rest = tail;
                Ok(zigzag(u64::from(byte)))
            }
            _ => self.varint(what).map(zigzag),
        }
    }

    #[inline(always)]
    pub(crate) fn long(&mut self) -> Fallible<i64> {
        self.varint("a long").map(zigzag)
    }

    #[inline(always)]
    pub(crate) fn int(&mut self) -> Fallible<i32> {
        let position = self.position();
        let found = self.varint("an int").map(zigzag)?;
        i32::try_from(found).map_err(|_| self.fail(position, Problem::IntOutOfRange { found }))
    }

    #[inline(always)]
    pub(crate) fn boolean(&mut self) -> Fallible<bool> {
        match self.rest.split_first() {
            Some((&byte @ 0..=1, tail)) => {
                self.rest = tail;
                Ok(byte == 1)
            }
            Some((&found, _)) => Err(self.fail(self.position(), Problem::NotABoolean { found })),
            None => Err(self.ended("a boolean", 1)),
        }
    }

    #[inline(always)]
    pub(crate) fn float(&mut self) -> Fallible<f32> {
        let (head, tail) = self.rest.split_first_chunk().ok_or_else(|| self.ended("a float", 4))?;
        self.rest = tail;
        Ok(f32::from_le_bytes(*head))
    }

    #[inline(always)]
    pub(crate) fn double(&mut self) -> Fallible<f64> {
        let (head, tail) = self.rest.split_first_chunk().ok_or_else(|| self.ended("a double", 8))?;
        self.rest = tail;
        Ok(f64::from_le_bytes(*head))
    }

    #[inline]
    pub(crate) fn fixed(&mut self, size: usize) -> Fallible<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(size).ok_or_else(|| self.ended("a fixed", size))?;
        self.rest = tail;
        Ok(head)
    }

    /// So many bytes as the length before them says.
    #[inline(always)]
    pub(crate) fn bytes(&mut self, what: &'static str) -> Fallible<&'a [u8]> {
        let position = self.position();
        let length = self.small(what)?;
        match usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length)) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None if length < 0 => Err(self.fail(position, Problem::NegativeLength { what, found: length })),
            None => Err(self.fail(position, Problem::LengthBeyondBody { what, found: length, left: self.rest.len() })),
        }
    }

    /// Bytes that are UTF-8. As bytes: nobody here needs them as `str`.
    #[inline(always)]
    pub(crate) fn text(&mut self, what: &'static str) -> Fallible<&'a [u8]> {
        let bytes = self.bytes(what)?;
        if bytes.is_ascii() {
            return Ok(bytes);
        }
        self.text_beyond_ascii(bytes, what)
    }

    #[inline(never)]
    fn text_beyond_ascii(&self, bytes: &'a [u8], what: &'static str) -> Fallible<&'a [u8]> {
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => {
                let at = error.valid_up_to();
                let found = bytes.get(at).copied().unwrap_or_default();
                Err(self.fail(self.position() - bytes.len() + at, Problem::NotUtf8 { what, found }))
            }
        }
    }

    /// A union's branch: an index below `branches`.
    #[inline(always)]
    pub(crate) fn branch(&mut self, branches: usize) -> Fallible<usize> {
        let position = self.position();
        let found = self.small("a union's branch")?;
        match usize::try_from(found) {
            Ok(index) if index < branches => Ok(index),
            _ => Err(self.fail(position, Problem::NoSuchBranch { found, branches })),
        }
    }

    /// An enum's symbol: an index below `symbols`.
    #[inline(always)]
    pub(crate) fn symbol(&mut self, symbols: usize) -> Fallible<usize> {
        let position = self.position();
        let found = self.small("an enum's symbol")?;
        match usize::try_from(found) {
            Ok(index) if index < symbols => Ok(index),
            _ => Err(self.fail(position, Problem::NoSuchSymbol { found, symbols })),
        }
    }
}

fn budget(body: usize) -> usize {
    body.saturating_mul(BUDGET_PER_BYTE).saturating_add(BUDGET_FLOOR)
}

#[inline(always)]
fn zigzag(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ -(raw & 1).cast_signed()
}

/// The blocks of one array or map.
///
/// A block that announces more items than bytes are left is refused before its first item, and the size that a block
/// may announce is checked after its last.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    open: Option<Announced>,
}

#[derive(Debug)]
struct Announced {
    /// Of the block's header, for the error.
    header: usize,
    /// Of the first item.
    items: usize,
    /// Bytes.
    announced: i64,
}

impl Blocks {
    /// Items of the next block, 0 at the end. `cost`: bytes of memory that one item may take.
    #[inline]
    pub(crate) fn next(&mut self, cursor: &mut Cursor<'_>, cost: usize) -> Fallible<usize> {
        self.close(cursor)?;
        let header = cursor.position();
        let count = cursor.small("a block's count of items")?;
        if count == 0 {
            return Ok(0);
        }
        if count < 0 {
            let announced = cursor.small("a block's size")?;
            let left = cursor.rest.len();
            if usize::try_from(announced).map_or(true, |size| size > left) {
                return Err(cursor.fail(header, Problem::BlockSize { announced, actual: left }));
            }
            self.open = Some(Announced { header, items: cursor.position(), announced });
        }
        let left = cursor.rest.len();
        match usize::try_from(count.unsigned_abs()) {
            Ok(items) if items <= left => {
                cursor.charge(items.saturating_mul(cost.max(ITEM_COST)))?;
                Ok(items)
            }
            _ => Err(cursor.fail(header, Problem::TooManyItems { found: count.unsigned_abs(), left })),
        }
    }

    fn close(&mut self, cursor: &Cursor<'_>) -> Fallible<()> {
        let Some(Announced { header, items, announced }) = self.open.take() else { return Ok(()) };
        let actual = cursor.position() - items;
        if usize::try_from(announced) == Ok(actual) {
            return Ok(());
        }
        Err(cursor.fail(header, Problem::BlockSize { announced, actual }))
    }
}

#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
