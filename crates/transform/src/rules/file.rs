//! The rules file: TOML with a `name`, `[[rule]]`s in order and `[[notice]]`s. Each text keeps its place in the file, so
//! that a mistake in its SQL is told with line and column.

use crate::Text;
use crate::sql::{Snippet, nearest};
use k2_model::{Error, Result};
use std::ops::Range;
use toml_edit::{Document, Item, Table};

/// A rules file, read but not compiled.
#[derive(Debug)]
pub(crate) struct File {
    /// The name in `rules_version`.
    pub(crate) name: String,
    /// The rules, in order.
    pub(crate) rules: Vec<Entry>,
    /// The notices.
    pub(crate) notices: Vec<Entry>,
}

/// One rule or notice.
#[derive(Debug)]
pub(crate) struct Entry {
    /// `error_reason`, or the notice's name.
    pub(crate) name: String,
    /// `error_type`; empty for a notice.
    pub(crate) error_type: String,
    /// The condition.
    pub(crate) when: Snippet,
    /// The message.
    pub(crate) detail: Option<Snippet>,
}

/// Reasons that the engine itself gives: no rule may take them.
pub(crate) const RESERVED: [&str; 6] = [
    "tombstone",
    "not_confluent_framed",
    "record_too_large",
    "unknown_schema_id",
    "avro_decode_failed",
    "projection_failed",
];

impl File {
    /// Reads a rules file.
    pub(crate) fn parse(text: &Text) -> Result<Self> {
        let source = Source(text);
        let document = Document::parse(text.text.as_str())
            .map_err(|e| source.error(format!("this is not TOML: {}", e.message().replace('\n', " ")), e.span()))?;
        let root = document.as_table();
        source.known_keys(root, &["name", "rule", "notice"])?;
        let name = source.text(root, "name")?.0;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(source.error("name must be letters, digits, `-`, `_` and `.`", None));
        }
        let rules = source.entries(root, "rule", &["name", "error_type", "when", "detail"])?;
        let notices = source.entries(root, "notice", &["name", "when"])?;
        let mut seen = std::collections::BTreeSet::new();
        for entry in rules.iter().chain(&notices) {
            if RESERVED.contains(&entry.name.as_str()) {
                return Err(entry.when.error(format!("{} is a reason that K2 itself gives", entry.name), None));
            }
            if !seen.insert(&entry.name) {
                return Err(entry.when.error(format!("there are two of the name {}", entry.name), None));
            }
        }
        Ok(Self { name, rules, notices })
    }
}

/// The text, for places in it.
struct Source<'a>(&'a Text);

impl Source<'_> {
    fn entries(&self, root: &Table, key: &str, keys: &[&str]) -> Result<Vec<Entry>> {
        let tables = match root.get(key) {
            None => return Ok(Vec::new()),
            Some(Item::ArrayOfTables(tables)) => tables,
            Some(other) => return Err(self.error(format!("write {key}s as [[{key}]] blocks"), other.span())),
        };
        tables.iter().map(|table| self.entry(table, keys)).collect()
    }

    fn entry(&self, table: &Table, keys: &[&str]) -> Result<Entry> {
        self.known_keys(table, keys)?;
        let snippet = |key: &str| -> Result<Snippet> {
            let (text, span) = self.text(table, key)?;
            let (line, column) = self.inside(&span);
            Ok(Snippet::within(&self.0.label, &text, line, column))
        };
        let name = self.text(table, "name")?.0;
        let error_type = if keys.contains(&"error_type") { self.text(table, "error_type")?.0 } else { String::new() };
        let detail = table.contains_key("detail").then(|| snippet("detail")).transpose()?;
        Ok(Entry { name, error_type, when: snippet("when")?, detail })
    }

    fn known_keys(&self, table: &Table, keys: &[&str]) -> Result<()> {
        for (key, _) in table {
            if !keys.contains(&key) {
                let hint =
                    nearest(key, keys.iter().copied()).map_or(String::new(), |near| format!("; did you mean {near}?"));
                let span = table.key(key).and_then(toml_edit::Key::span);
                return Err(self
                    .error(format!("there is no key {key}{hint}"), span)
                    .fix(format!("the keys there are: {}", keys.join(", "))));
            }
        }
        Ok(())
    }

    fn text(&self, table: &Table, key: &str) -> Result<(String, Range<usize>)> {
        match table.get(key) {
            Some(item) => match item.as_str() {
                Some(text) => Ok((text.to_owned(), item.span().unwrap_or_default())),
                None => Err(self.error(format!("{key} must be text"), item.span())),
            },
            None => Err(self.error(format!("{key} is missing"), table.span())),
        }
    }

    /// Where the text inside a string literal begins.
    fn inside(&self, span: &Range<usize>) -> (usize, usize) {
        let literal = self.0.text.get(span.clone()).unwrap_or_default();
        let opening = ["\"\"\"\n", "'''\n", "\"\"\"", "'''"].iter().find(|opening| literal.starts_with(**opening));
        self.place(span.start + opening.map_or(1, |opening| opening.len()))
    }

    /// Line and column of a byte, from 1.
    fn place(&self, byte: usize) -> (usize, usize) {
        let before = self.0.text.get(..byte).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    fn error(&self, what: impl Into<String>, span: Option<Range<usize>>) -> Error {
        let (line, column) = self.place(span.map_or(0, |span| span.start));
        Error::config(what).at(format!("{}:{line}:{column}", self.0.label))
    }
}
