//! Rows for a person, a script or a spreadsheet: the three forms of every reading command.

use crate::args::Format;
use k2_model::{Error, Result};
use serde_json::Value;
use std::io::{ErrorKind, Write};

/// Rows under named columns. Nulls are empty in a table and in CSV.
#[derive(Debug)]
pub(crate) struct Grid {
    columns: Vec<&'static str>,
    rows: Vec<Vec<Value>>,
}

impl Grid {
    /// No rows yet.
    pub(crate) fn new(columns: &[&'static str]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// One more row, a value for each column.
    pub(crate) fn push(&mut self, row: Vec<Value>) {
        debug_assert_eq!(row.len(), self.columns.len());
        self.rows.push(row);
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
        let cells: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(plain).collect()).collect();
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
        let mut text = line(self.columns.clone());
        text += &line(widths.iter().map(|w| "-".repeat(*w)).collect::<Vec<_>>().iter().map(String::as_str).collect());
        for row in &cells {
            text += &line(row.iter().map(String::as_str).collect());
        }
        text
    }

    fn json(&self) -> String {
        // by hand: the fields in the order of the columns
        let object = |row: &Vec<Value>| {
            let fields =
                self.columns.iter().zip(row).map(|(column, value)| format!("{}:{value}", Value::from(*column)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        };
        let rows: Vec<String> = self.rows.iter().map(object).collect();
        if rows.is_empty() { "[]\n".into() } else { format!("[\n  {}\n]\n", rows.join(",\n  ")) }
    }

    fn csv(&self) -> String {
        let line = |cells: Vec<String>| cells.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(",") + "\n";
        let mut text = line(self.columns.iter().map(|c| (*c).to_owned()).collect());
        for row in &self.rows {
            text += &line(row.iter().map(plain).collect());
        }
        text
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
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
    fn for_a_script() {
        let back: Value = serde_json::from_str(&grid().json()).unwrap();
        assert_eq!(back[1], json!({"table": "long,er", "rows": null, "problems": ["x is \"y\"", "z"]}));
        assert_eq!(Grid::new(&["a"]).json(), "[]\n");
    }

    #[test]
    fn for_a_spreadsheet() {
        assert_eq!(grid().csv(), "table,rows,problems\na,12,\n\"long,er\",,\"x is \"\"y\"\"; z\"\n");
    }
}
