//! Avro bodies into Arrow columns.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use k2_avro::{Decoder, Program, Reader, Schema};
//!
//! let writer = Schema::parse(r#"{"type": "record", "name": "Tick", "fields": [
//!     {"name": "symbol", "type": "string"}, {"name": "size", "type": "int"}]}"#)?;
//! let reader = Reader::new(&Schema::parse(r#"{"type": "record", "name": "Tick", "fields": [
//!     {"name": "size", "type": "long"}, {"name": "venue", "type": ["null", "string"], "default": null}]}"#)?)?;
//! let program = Program::compile(&writer, &reader)?;
//!
//! let mut decoder = Decoder::new(&reader);
//! decoder.decode(&program, b"\x06BTC\x54")?;
//! let wrong = decoder.decode(&program, b"\x06BT").unwrap_err();
//! assert_eq!(wrong.to_string(), "byte 0, field symbol: a string of 3 bytes is announced, 2 left");
//!
//! let batch = decoder.finish()?;
//! assert_eq!((batch.num_rows(), batch.num_columns()), (1, 2));
//! # Ok(()) }
//! ```
//!
//! # How it works
//!
//! ```text
//!   text ──► Schema ──► Reader ───────────────► Decoder ──► RecordBatch
//!              │          │ columns, defaults      ▲  vectors
//!   text ──► Schema ──► Program ──────────────────┘
//!            (writer)     instructions, one per field of the writer
//! ```
//!
//! Resolution is settled before the first byte is seen. [`Program::compile`] walks the two schemas together and leaves
//! one instruction per field of the writer, in the order of the bytes: *a long into the third column of longs*, *a
//! union: branch 0 a null, branch 1 a text into column five*, *read a string and drop it*. What resolution can find
//! out it finds out there; what is left for the bytes to decide - a branch, a symbol - is an index into a table.
//!
//! [`Decoder::decode`] is then a loop over instructions, each a match with the read and the append in it: no value is
//! built in between, and nothing is allocated for a record but the room its values take. A column that may be null
//! costs the same as one that may not: the mask reaches only to the last null there was. Varints are taken eight bytes
//! at a time without a branch on their length, text is checked for ASCII first. All of it is safe Rust.
//!
//! A record that fails has appended half a row by then. The columns are cut back to the rows they had, from lengths
//! alone: a list's items to where its last list ends, a struct's fields to its length. No record of what was done is
//! needed, so no failure can leave a trace, and good records pay nothing.
//!
//! # What a body may do
//!
//! Avro is taken by the letter, in dropped fields too: booleans are 0 or 1, text is UTF-8, varints have at most 10
//! bytes and 64 bits (an int's value 32), branches and symbols exist, a block has the size it announces, a record ends
//! where the body ends. Beyond the letter: records, arrays and maps nest at most 64 levels deep; a block announces no
//! more items than bytes are left, even items of no bytes; and what a body grows to is limited to 64 times its size
//! and 4 MiB, whatever its schemas make of it. So no body overflows the stack, takes memory beyond its size times a
//! constant, or takes time out of proportion.
//!
//! Whatever is wrong is told with its byte and its field, as [`DecodeError`]. [`explain()`] shows a person what a body
//! holds up to there.

mod decimal;
mod decoder;
mod error;
mod explain;
mod program;
mod reader;
mod schema;
mod store;
mod walk;
mod wire;

pub use decoder::Decoder;
pub use error::{DecodeError, Problem, SchemaError};
pub use explain::{Explained, Explanation, explain};
pub use program::Program;
pub use reader::Reader;
pub use schema::Schema;
