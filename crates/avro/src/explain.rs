//! A body for a person: every value with its place in the bytes, as far as it goes, and what is wrong with it.

mod instants;

use crate::error::{DecodeError, entry};
use crate::schema::{Logical, Node, Schema};
use crate::walk::{Step, Value, Witness, walk};
use crate::wire::Cursor;
use std::fmt::Write;
use std::ops::Range;

/// Values that an explanation lists at most; what follows is checked all the same.
const MAX_VALUES: usize = 10_000;
/// Characters of a text, or bytes of a bytes value, that are shown.
const MAX_SHOWN: usize = 256;

/// What a body says by its writer's schema alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The values up to the failure, in the order of their bytes; the first 10,000 of them.
    pub values: Vec<Explained>,
    /// Where the body stops to be what the schema says, if it does.
    pub failure: Option<DecodeError>,
}

/// One value of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// Field names joined by dots, items as `[3]`, map entries as `["key"]`; empty for a body that is no record.
    pub path: String,
    /// As a person reads it: text in quotes, bytes in hexadecimal, decimals with their point, dates and times
    /// with what they say after the number; cut after 256 characters.
    pub value: String,
    /// Its bytes in the body: a union's branch and a text's length included.
    pub bytes: Range<usize>,
}

/// Reads a body with its writer's schema alone, as far as it goes. Resolution to a reader is not part of it: a body
/// that is fine here may still have a value that the reader has no place for.
pub fn explain(writer: &Schema, body: &[u8]) -> Explanation {
    let graph = writer.graph();
    let mut list = List::default();
    let mut cursor = Cursor::new(body);
    let outcome = walk(graph, graph.root_id(), &mut cursor, 0, &mut list).and_then(|()| cursor.end());
    Explanation { values: list.values, failure: outcome.err().map(|error| *error) }
}

#[derive(Default)]
struct List {
    path: String,
    /// Lengths of the path before each step that led into it.
    steps: Vec<usize>,
    values: Vec<Explained>,
}

impl Witness for List {
    fn enter(&mut self, step: Step<'_>) {
        self.steps.push(self.path.len());
        if self.values.len() >= MAX_VALUES {
            return;
        }
        // writing to a String does not fail
        let _ = match step {
            Step::Field(name) if self.path.is_empty() => self.path.write_str(name),
            Step::Field(name) => write!(self.path, ".{name}"),
            Step::Item(index) => write!(self.path, "[{index}]"),
            Step::Entry(key) => write!(self.path, "[{}]", entry(key)),
        };
    }

    fn leave(&mut self) {
        self.path.truncate(self.steps.pop().unwrap_or_default());
    }

    fn value(&mut self, node: &Node, value: Value<'_>, start: usize, end: usize) {
        if self.values.len() < MAX_VALUES {
            let value = text(node.logical, value);
            self.values.push(Explained { path: self.path.clone(), value, bytes: start..end });
        }
    }
}

fn text(logical: Option<Logical>, value: Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Whole(value) => match logical.and_then(|logical| meaning(value, logical)) {
            Some(meaning) => format!("{value} ({meaning})"),
            None => value.to_string(),
        },
        Value::Float(value) => value.to_string(),
        Value::Double(value) => value.to_string(),
        Value::Symbol(symbol) => symbol.to_owned(),
        Value::Empty(brackets) => brackets.to_owned(),
        Value::Text(bytes) => quoted(&String::from_utf8_lossy(bytes)),
        Value::Bytes(bytes) => match logical {
            Some(Logical::Decimal { scale, .. }) => {
                crate::decimal::from_bytes(bytes).map_or_else(|| hexadecimal(bytes), |n| crate::decimal::text(n, scale))
            }
            _ => hexadecimal(bytes),
        },
    }
}

/// What a number stands for by its logical type.
fn meaning(value: i64, logical: Logical) -> Option<String> {
    match logical {
        Logical::Date => instants::day(value),
        Logical::Time(unit) => instants::time(value, unit),
        Logical::Timestamp(unit) => Some(instants::instant(value, unit)? + "Z"),
        Logical::LocalTimestamp(unit) => instants::instant(value, unit),
        Logical::Decimal { .. } => None,
    }
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], text.len()),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::from("0x");
    for byte in bytes.iter().take(MAX_SHOWN) {
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > MAX_SHOWN {
        let _ = write!(text, "… ({} bytes)", bytes.len());
    }
    text
}

#[cfg(test)]
#[path = "explain/tests.rs"]
mod tests;
