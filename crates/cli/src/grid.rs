//! Rows for a person, a script or a spreadsheet: the three forms of every reading command.

use crate::args::Format;
use k2_model::{Error, Result};
use serde_json::Value;
use std::io::{ErrorKind, Write};

/// Rows under named columns. Nulls are empty in a table and in CSV, an empty text is `""` in CSV.
#[derive(Debug)]
pub(crate) struct Grid {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Grid {
    /// No rows yet.
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|c| (*c).to_owned()).collect(), rows: Vec::new() }
    }

    /// One more row, a value for each column.
    pub(crate) fn push(&mut self, row: Vec<Value>) {
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
    }

    /// With these rows too.
    pub(crate) fn filled(mut self, rows: impl Iterator<Item = Vec<Value>>) -> Self {
        rows.for_each(|row| self.push(row));
        self
    }

    /// Prints to standard output.
    pub(crate) fn print(&self, format: Format) -> Result<()> {
        let text = match format {
            Format::Table => self.table(),
            Format::Json => self.json(),
            Format::Csv => self.csv(),
        };
        print(&text)
    }

    fn table(&self) -> String {
        let cells: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(|v| shown(&plain(v))).collect()).collect();
        let width = |at: usize| {
            let longest = cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
            longest.max(self.columns[at].chars().count())
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        // numbers to the right, as far as a whole column is numbers
        let right: Vec<bool> =
            (0..widths.len()).map(|at| self.rows.iter().all(|row| row[at].is_number() || row[at].is_null())).collect();
        let line = |row: Vec<&str>| {
            let mut text = String::new();
            for (at, cell) in row.into_iter().enumerate() {
                let gap = " ".repeat(widths[at].saturating_sub(cell.chars().count()));
                text += &if right[at] { format!("{gap}{cell}  ") } else { format!("{cell}{gap}  ") };
            }
            text.trim_end().to_owned() + "\n"
        };
        let mut text = line(self.columns.iter().map(String::as_str).collect());
        text += &line(widths.iter().map(|w| "-".repeat(*w)).collect::<Vec<_>>().iter().map(String::as_str).collect());
        for row in &cells {
            text += &line(row.iter().map(String::as_str).collect());
        }
        text
    }

    fn json(&self) -> String {
        objects(self.rows.iter().map(|row| self.columns.iter().map(String::as_str).zip(row.iter().cloned()).collect()))
    }

    fn csv(&self) -> String {
        let line = |cells: Vec<String>| cells.join(",") + "\n";
        let mut text = line(self.columns.iter().map(|c| quoted(c)).collect());
        for row in &self.rows {
            text += &line(row.iter().map(cell).collect());
        }
        text
    }
}

/// An array with an object a line, its fields in their order.
pub(crate) fn objects<'a>(all: impl Iterator<Item = Vec<(&'a str, Value)>>) -> String {
    // by hand: serde_json would sort the fields
    let object = |fields: Vec<(&str, Value)>| {
        let fields: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}:{value}", Value::from(*name))).collect();
        format!("{{{}}}", fields.join(","))
    };
    let all: Vec<String> = all.map(object).collect();
    if all.is_empty() { "[]\n".into() } else { format!("[\n  {}\n]\n", all.join(",\n  ")) }
}

/// A text for a person: control characters are escaped, for what comes from an exchange must not drive a terminal.
pub(crate) fn shown(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    if text.chars().any(char::is_control) { text.chars().map(escaped).collect() } else { text.to_owned() }
}

/// A time in µs as RFC 3339.
pub(crate) fn utc(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros)
        .map_or_else(|| format!("{micros} µs"), |t| t.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}

/// A null is empty and an empty text is `""`, as in `k2 sql`.
fn cell(value: &Value) -> String {
    if value.as_str() == Some("") { "\"\"".to_owned() } else { quoted(&plain(value)) }
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

/// Prints a text to standard output. A reader that has gone away (`k2 … | head`) is fine.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Error::unknown("cannot write to standard output").caused_by(e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
    use super::*;
    use serde_json::json;

    fn grid() -> Grid {
        let mut grid = Grid::new(&["table", "rows", "problems"]);
        grid.push(vec![json!("a"), json!(12), json!([])]);
        grid.push(vec![json!("long,er"), Value::Null, json!(["x is \"y\"", "z"])]);
        grid
    }

    #[test]
    fn for_a_person() {
        let expected = "\
table    rows  problems
-------  ----  -----------
a          12
long,er        x is \"y\"; z
";
        assert_eq!(grid().table(), expected);
    }

    #[test]
    fn what_an_exchange_sends_does_not_drive_the_terminal() {
        let mut grid = Grid::new(&["a"]);
        grid.push(vec![json!("x\u{1b}[2J\ny")]);
        assert_eq!(grid.table(), "a\n-------------\nx\\u{1b}[2J\\ny\n");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(utc(1_767_225_600_000_000), "2026-01-01T00:00:00Z");
        assert_eq!(utc(1), "1970-01-01T00:00:00.000001Z");
        assert_eq!(utc(i64::MAX), "9223372036854775807 µs");
    }

    #[test]
    fn for_a_script() {
        let back: Value = serde_json::from_str(&grid().json()).unwrap();
        assert_eq!(back[1], json!({"table": "long,er", "rows": null, "problems": ["x is \"y\"", "z"]}));
        assert_eq!(Grid::new(&["a"]).json(), "[]\n");
    }

    #[test]
    fn for_a_spreadsheet() {
        let mut empty = Grid::new(&["a", "b"]);
        empty.push(vec![json!(""), Value::Null]);
        assert_eq!(empty.csv(), "a,b\n\"\",\n");
        assert_eq!(grid().csv(), "table,rows,problems\na,12,\n\"long,er\",,\"x is \"\"y\"\"; z\"\n");
    }
}
