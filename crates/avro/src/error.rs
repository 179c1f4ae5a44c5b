//! What can be wrong: with a schema ([`SchemaError`]), with a body ([`DecodeError`]).

use std::fmt;

/// A text that is no Avro schema, a reader that has no Arrow form, or a writer that never resolves to a reader.
///
/// It is about a schema as a whole, never about one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    place: String,
    what: String,
}

impl SchemaError {
    pub(crate) fn new(place: impl fmt::Display, what: impl Into<String>) -> Self {
        Self { place: place.to_string(), what: what.into() }
    }

    /// Where in the schema, as field names joined by dots (`legs.items.price`); empty for the schema itself.
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "at {}: ", self.place)?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for SchemaError {}

/// One body that cannot be a record: which byte, in which field, and why.
///
/// Reads as `byte 17, field legs[2].price: a string of 400 bytes is announced, 12 bytes are left`.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeError {
    /// Index into the body of the first byte of what is wrong: a value, a length, a block's header; in text the first
    /// byte that is no UTF-8. The body's length where it ends before a value.
    pub position: usize,
    /// The writer's field: names joined by dots, items as `[3]`, map entries as `["key"]`; empty for the record itself.
    pub field: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a body. The text ([`fmt::Display`]) says what was found and what the limit is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// The body ends inside of a value.
    EndOfBody {
        /// What should be there, such as `a long`.
        what: &'static str,
        /// Bytes that it takes at least.
        needs: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A variable-length integer goes on after its 10th byte.
    VarintTooLong {
        /// What it is part of.
        what: &'static str,
    },
    /// A variable-length integer has more than 64 bits.
    VarintTooLarge {
        /// What it is part of.
        what: &'static str,
    },
    /// An int beyond 32 bits.
    IntOutOfRange {
        /// The value found.
        found: i64,
    },
    /// A boolean that is neither 0 nor 1.
    NotABoolean {
        /// The byte found.
        found: u8,
    },
    /// A length below zero.
    NegativeLength {
        /// What has the length.
        what: &'static str,
        /// The length found.
        found: i64,
    },
    /// A length beyond the end of the body.
    LengthBeyondBody {
        /// What has the length.
        what: &'static str,
        /// The length found, in bytes.
        found: i64,
        /// Bytes that are left.
        left: usize,
    },
    /// Text that is not UTF-8. The position is that of the first wrong byte.
    NotUtf8 {
        /// `a string`, or `a map key`.
        what: &'static str,
        /// The byte found there.
        found: u8,
    },
    /// A union's branch that the writer's schema does not have.
    NoSuchBranch {
        /// The index found.
        found: i64,
        /// How many branches there are.
        branches: usize,
    },
    /// An enum's symbol that the writer's schema does not have.
    NoSuchSymbol {
        /// The index found.
        found: i64,
        /// How many symbols there are.
        symbols: usize,
    },
    /// A block of an array or map that announces more items than bytes are left.
    TooManyItems {
        /// Items announced.
        found: u64,
        /// Bytes that are left.
        left: usize,
    },
    /// A block whose announced size in bytes is not what its items take.
    BlockSize {
        /// Bytes announced.
        announced: i64,
        /// Bytes taken, or left where fewer are left than announced.
        actual: usize,
    },
    /// Records, arrays and maps nested deeper than the limit.
    TooDeep {
        /// Levels that are allowed, the record itself being the first.
        limit: usize,
    },
    /// The decoded record would take more memory than its size justifies.
    TooLarge {
        /// Bytes that a body of this size may take.
        limit: usize,
    },
    /// A value that the reader's schema has no place for: a branch of the writer's union, say.
    Unresolvable {
        /// Which, and why.
        why: String,
    },
    /// A symbol that the reader's enum does not have, and it has no default.
    UnknownSymbol {
        /// The writer's symbol.
        found: String,
    },
    /// A decimal of no byte at all.
    EmptyDecimal,
    /// A decimal with more digits than its precision.
    DecimalOverflow {
        /// Digits that are allowed.
        precision: u8,
    },
    /// Bytes after the record's end.
    TrailingBytes {
        /// How many.
        found: usize,
    },
    /// No fault of the record: a column of this batch has reached 2 GiB. Finish the batch, then decode the body again.
    BatchFull,
    /// No fault of the record: the program was compiled for another reader than the decoder's.
    OtherReader,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfBody { what, needs, left } => {
                write!(f, "{what} takes at least {}, {left} left", bytes(*needs as u64))
            }
            Self::VarintTooLong { what } => write!(f, "{what} goes on after 10 bytes, the most that a varint may take"),
            Self::VarintTooLarge { what } => write!(f, "{what} has more than 64 bits"),
            Self::IntOutOfRange { found } => write!(f, "an int of {found} is beyond 32 bits"),
            Self::NotABoolean { found } => write!(f, "a boolean is the byte {found:#04x}, neither 0 nor 1"),
            Self::NegativeLength { what, found } => write!(f, "{what} has the negative length {found}"),
            Self::LengthBeyondBody { what, found, left } => {
                write!(f, "{what} of {} is announced, {left} left", bytes(found.unsigned_abs()))
            }
            Self::NotUtf8 { what, found } => write!(f, "{what} is not UTF-8, from the byte {found:#04x} on"),
            Self::NoSuchBranch { found, branches } => {
                write!(f, "branch {found} of a union that has {branches}")
            }
            Self::NoSuchSymbol { found, symbols } => write!(f, "symbol {found} of an enum that has {symbols}"),
            Self::TooManyItems { found, left } => {
                write!(
                    f,
                    "a block announces {found} items with {} left; one byte each is the limit",
                    bytes(*left as u64)
                )
            }
            Self::BlockSize { announced, actual } => {
                write!(f, "a block announces a size of {announced} bytes, it is {actual}")
            }
            Self::TooDeep { limit } => write!(f, "nested deeper than {limit} levels"),
            Self::TooLarge { limit } => {
                write!(f, "decoded it would take more than {limit} bytes, the limit for a body of this size")
            }
            Self::Unresolvable { why } => f.write_str(why),
            Self::UnknownSymbol { found } => {
                write!(f, "the symbol {found} is not in the reader's enum, which has no default")
            }
            Self::EmptyDecimal => f.write_str("a decimal of 0 bytes, at least 1 is needed"),
            Self::DecimalOverflow { precision } => write!(f, "a decimal has more than {precision} digits"),
            Self::TrailingBytes { found } => write!(f, "{} after the end of the record", bytes(*found as u64)),
            Self::BatchFull => f.write_str("the batch is full: a column has reached 2 GiB"),
            Self::OtherReader => f.write_str("the program was compiled for another reader"),
        }
    }
}

fn bytes(n: u64) -> String {
    if n == 1 { "1 byte".to_owned() } else { format!("{n} bytes") }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}", self.position)?;
        if !self.field.is_empty() {
            write!(f, ", field {}", self.field)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for DecodeError {}

/// The result of reading a part of a body. The box keeps the good case in two registers.
pub(crate) type Fallible<T> = Result<T, Box<DecodeError>>;

/// Characters of a map key that a path shows.
const KEY_SHOWN: usize = 40;

/// Paths are built from the inside out while an error travels up: a good record pays nothing for them.
impl DecodeError {
    #[cold]
    pub(crate) fn in_field(mut self: Box<Self>, name: &str) -> Box<Self> {
        let dot = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("{name}{dot}{}", self.field);
        self
    }

    #[cold]
    pub(crate) fn in_item(self: Box<Self>, index: u64) -> Box<Self> {
        self.in_brackets(&index.to_string())
    }

    #[cold]
    pub(crate) fn in_entry(self: Box<Self>, key: &[u8]) -> Box<Self> {
        self.in_brackets(&entry(key))
    }

    fn in_brackets(mut self: Box<Self>, inside: &str) -> Box<Self> {
        let dot = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("[{inside}]{dot}{}", self.field);
        self
    }
}

/// A map key as a path shows it.
pub(crate) fn entry(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    match text.char_indices().nth(KEY_SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}
