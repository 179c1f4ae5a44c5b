//! What a record is compared by: 64-bit hashes of its parts, and sums of them over blocks of offsets.
//!
//! A sum does not depend on the order, so table and Kafka are each read once, in the order that suits them. A block whose
//! sums differ is looked at again, record by record.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

/// Offsets in a block.
const BLOCK: i64 = 4096;

/// The parts of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    value: u64,
    key: u64,
    headers: u64,
    timestamp: Option<i64>,
}

impl Parts {
    /// The timestamp is in µs; none where there is none.
    pub(super) fn of<'h>(
        value: Option<&[u8]>,
        key: Option<&[u8]>,
        headers: impl Iterator<Item = (impl AsRef<str>, Option<&'h [u8]>)>,
        timestamp: Option<i64>,
    ) -> Self {
        let mut all = DefaultHasher::new();
        for (key, value) in headers {
            feed(&mut all, Some(key.as_ref().as_bytes()));
            feed(&mut all, value);
        }
        Self { value: hash(value), key: hash(key), headers: all.finish(), timestamp }
    }

    /// Rows that Spark wrote have neither key nor headers.
    pub(super) fn without_key_and_headers(self) -> Self {
        Self { key: 0, headers: 0, ..self }
    }

    /// As of a record that has none: the DLQ keeps no headers.
    pub(super) fn without_headers(self) -> Self {
        Self { headers: DefaultHasher::new().finish(), ..self }
    }

    /// All of it and the offset in one number.
    fn sum(&self, offset: i64) -> u64 {
        let mut all = DefaultHasher::new();
        for part in [self.value, self.key, self.headers] {
            all.write_u64(part);
        }
        all.write_u8(u8::from(self.timestamp.is_some()));
        all.write_i64(self.timestamp.unwrap_or(0));
        all.write_i64(offset);
        all.finish()
    }

    /// The names of the parts that differ.
    pub(super) fn differing(&self, other: &Self) -> Vec<&'static str> {
        let parts = [
            ("value", self.value != other.value),
            ("key", self.key != other.key),
            ("headers", self.headers != other.headers),
            ("timestamp", self.timestamp != other.timestamp),
        ];
        parts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

/// Null and empty are different.
fn hash(bytes: Option<&[u8]>) -> u64 {
    let mut hasher = DefaultHasher::new();
    feed(&mut hasher, bytes);
    hasher.finish()
}

fn feed(hasher: &mut DefaultHasher, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
        None => hasher.write_usize(usize::MAX),
    }
}

/// Sums by partition and block.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sums(BTreeMap<(i32, i64), u64>);

impl Sums {
    pub(super) fn add(&mut self, partition: i32, offset: i64, parts: &Parts) {
        let sum = self.0.entry((partition, offset.div_euclid(BLOCK))).or_default();
        *sum = sum.wrapping_add(parts.sum(offset));
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (block, more) in other.0 {
            let sum = self.0.entry(block).or_default();
            *sum = sum.wrapping_add(more);
        }
    }

    /// The blocks that differ: partition, first offset, one past the last.
    pub(super) fn differing(&self, other: &Self) -> Vec<(i32, i64, i64)> {
        let all: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let get = |sums: &Self, block| sums.0.get(block).copied().unwrap_or(0);
        let differing = all.into_iter().filter(|block| get(self, block) != get(other, block));
        differing.map(|(partition, block)| (*partition, block * BLOCK, (block + 1) * BLOCK)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
    use super::*;

    fn parts(value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]) -> Parts {
        Parts::of(value, None, headers.iter().copied(), Some(5))
    }

    #[test]
    fn null_is_not_empty_and_order_counts() {
        assert_eq!(parts(None, &[]).differing(&parts(Some(b""), &[])), ["value"]);
        let (a, b) = (parts(None, &[("k", None), ("k", Some(b"1"))]), parts(None, &[("k", Some(b"1")), ("k", None)]));
        assert_eq!(a.differing(&b), ["headers"]);
        assert_eq!(parts(None, &[("k", Some(b""))]).differing(&parts(None, &[("k", None)])), ["headers"]);
        assert_eq!(parts(None, &[("ab", Some(b"c"))]).differing(&parts(None, &[("a", Some(b"bc"))])), ["headers"]);
    }

    #[test]
    fn sums_do_not_depend_on_order_but_on_offset_and_number() {
        let (a, b) = (parts(Some(b"a"), &[]), parts(Some(b"b"), &[]));
        let sums = |rows: &[(i64, Parts)]| {
            let mut sums = Sums::default();
            rows.iter().for_each(|(offset, parts)| sums.add(3, *offset, parts));
            sums
        };
        let right = sums(&[(1, a), (4096, b)]);
        assert!(right.differing(&sums(&[(4096, b), (1, a)])).is_empty());
        assert_eq!(right.differing(&sums(&[(2, a), (4096, b)])), [(3, 0, 4096)]);
        assert_eq!(right.differing(&sums(&[(1, a), (4096, b), (4096, b)])), [(3, 4096, 8192)]);
    }
}
