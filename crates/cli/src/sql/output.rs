//! Rows of a query as text: a table for people, CSV and JSON for programs.
//!
//! - Nested values are JSON in CSV. There a null is empty and an empty text is `""`.
//! - In a table, control characters are escaped: what comes from an exchange must not drive a terminal.

use crate::args::Format;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::JsonFormat;
use arrow::json::{EncoderOptions, Writer, WriterBuilder, writer::make_encoder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use k2_model::{Error, Result};
use k2_query::QueryStream;
use std::io::{self, ErrorKind, Write};

/// A table ends here; its columns are as wide as their widest value, so all rows must be held.
pub(super) const MOST_ROWS: usize = 1_000;

/// Prints all rows. That nobody reads them any more (`k2 sql … | head`) is fine.
pub(super) async fn print(rows: QueryStream, format: Format, out: &mut impl Write) -> Result<()> {
    let written = match format {
        Format::Table => table(rows, out).await,
        Format::Csv => csv(rows, out).await,
        Format::Json => json(rows, out).await,
    };
    match written {
        Err(Stop::Output(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(Stop::Output(e)) => Err(Error::unknown("cannot write to standard output").caused_by(e)),
        Err(Stop::Query(e)) => Err(e),
        Ok(()) => Ok(()),
    }
}

/// Why printing ended early.
enum Stop {
    Output(io::Error),
    Query(Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Query(error)
    }
}

impl From<ArrowError> for Stop {
    fn from(error: ArrowError) -> Self {
        Self::Query(Error::unknown("a value can't be printed").caused_by(error))
    }
}

async fn table(mut rows: QueryStream, out: &mut impl Write) -> Result<(), Stop> {
    let schema = rows.schema();
    let mut cells: Vec<Vec<String>> = Vec::new();
    let mut cut = false;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let room = MOST_ROWS - cells.len();
        cut = batch.num_rows() > room;
        cells.extend(texts(&batch.slice(0, batch.num_rows().min(room)))?);
        if cut {
            break;
        }
    }
    out.write_all(laid_out(&schema, &cells).as_bytes())?;
    match (cut, cells.len()) {
        (true, n) => writeln!(out, "(the first {n} rows; --format csv or json prints all)")?,
        (false, 1) => writeln!(out, "(1 row)")?,
        (false, n) => writeln!(out, "({n} rows)")?,
    }
    out.flush()?;
    Ok(())
}

/// A value that has no text - a time beyond the year 262142, from a broken producer - is told in its cell.
fn display() -> FormatOptions<'static> {
    FormatOptions::default().with_display_error(true)
}

/// The cells of a batch, row by row.
fn texts(batch: &RecordBatch) -> Result<Vec<Vec<String>>, ArrowError> {
    let options = display();
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let text = |column: &ArrayFormatter<'_>, row| Ok(printable(&column.value(row).try_to_string()?));
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| text(column, row)).collect()).collect()
}

/// Line breaks stay: plans have them.
fn printable(text: &str) -> String {
    if !text.chars().any(|c| c.is_control() && c != '\n') {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() && c != '\n' { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}

/// Columns side by side, numbers to the right.
fn laid_out(schema: &SchemaRef, rows: &[Vec<String>]) -> String {
    let names: Vec<String> = schema.fields().iter().map(|field| printable(field.name())).collect();
    let right: Vec<bool> = schema.fields().iter().map(|field| field.data_type().is_numeric()).collect();
    let width = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..names.len())
        .map(|at| rows.iter().map(|row| width(&row[at])).max().unwrap_or(0).max(width(&names[at])))
        .collect();
    let mut text = String::new();
    let mut put = |cells: &[String]| {
        let height = cells.iter().map(|cell| cell.lines().count()).max().unwrap_or(0).max(1);
        for line in 0..height {
            let start = text.len();
            for (at, cell) in cells.iter().enumerate() {
                let cell = cell.lines().nth(line).unwrap_or("");
                let gap = " ".repeat(widths[at].saturating_sub(cell.chars().count()));
                text += &if right[at] { format!("{gap}{cell}  ") } else { format!("{cell}{gap}  ") };
            }
            text.truncate(start + text[start..].trim_end().len());
            text.push('\n');
        }
    };
    put(&names);
    put(&widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>());
    rows.iter().for_each(|row| put(row));
    text
}

async fn csv(mut rows: QueryStream, out: &mut impl Write) -> Result<(), Stop> {
    let schema = rows.schema();
    let names: Vec<String> = schema.fields().iter().map(|field| quoted(field.name())).collect();
    let mut out = io::BufWriter::new(out);
    writeln!(out, "{}", names.join(","))?;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| csv_column(field, column));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|column| column[row].as_str());
            writeln!(out, "{}", cells.collect::<Vec<_>>().join(","))?;
        }
    }
    out.flush()?;
    Ok(())
}

/// The cells of a column, ready to print.
fn csv_column(field: &FieldRef, column: &ArrayRef) -> Result<Vec<String>, ArrowError> {
    if column.data_type().is_nested() {
        let options = EncoderOptions::default().with_explicit_nulls(true);
        let mut encoder = make_encoder(field, column.as_ref(), &options)?;
        let cells = (0..column.len()).map(|row| {
            if encoder.is_null(row) {
                return String::new();
            }
            let mut json = Vec::new();
            encoder.encode(row, &mut json);
            quoted(&String::from_utf8_lossy(&json))
        });
        return Ok(cells.collect());
    }
    let options = display();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let cell = |row| match column.is_null(row) {
        true => Ok(String::new()),
        false => Ok(quoted(&formatter.value(row).try_to_string()?)),
    };
    (0..column.len()).map(cell).collect()
}

fn quoted(cell: &str) -> String {
    if cell.is_empty() || cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// An array with an object a line, as the other commands print it.
#[derive(Debug, Default)]
struct ObjectPerLine;

impl JsonFormat for ObjectPerLine {
    fn start_stream<W: Write>(&self, out: &mut W) -> Result<(), ArrowError> {
        Ok(out.write_all(b"[\n")?)
    }
    fn start_row<W: Write>(&self, out: &mut W, first: bool) -> Result<(), ArrowError> {
        Ok(out.write_all(if first { b"  " } else { b",\n  " })?)
    }
    fn end_stream<W: Write>(&self, out: &mut W) -> Result<(), ArrowError> {
        Ok(out.write_all(b"\n]\n")?)
    }
}

async fn json(mut rows: QueryStream, out: &mut impl Write) -> Result<(), Stop> {
    let mut writer: Writer<Vec<u8>, ObjectPerLine> = WriterBuilder::new().with_explicit_nulls(true).build(Vec::new());
    let mut any = false;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        if batch.num_rows() == 0 {
            continue;
        }
        any = true;
        // through our own buffer, so that what fails is either the value or the output
        writer.write(&batch)?;
        out.write_all(writer.get_ref())?;
        writer.get_mut().clear();
    }
    if any {
        writer.finish()?;
        out.write_all(writer.get_ref())?;
    } else {
        out.write_all(b"[]\n")?;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
#[path = "output/tests.rs"]
mod tests;
