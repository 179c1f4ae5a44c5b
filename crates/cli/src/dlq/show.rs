//! `k2 dlq show`: single dead letters, decoded as far as possible, with the place that failed.

use super::filter::{Filter, clause, literal};
use super::letter::{COLUMNS, Letter, letters};
use super::{TableArgs, Tables, hex};
use crate::args::Format;
use crate::grid::{self, Grid};
use k2_engine::config::Config;
use k2_engine::dead_letters::{Letters, Mark, Reading};
use k2_model::{Error, Result};
use serde_json::{Value, json};

/// Decoded values that are listed of one letter, unless `--full`.
const MOST_VALUES: usize = 100;

/// `k2 dlq show`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Bytes are marked with [ ]: where the record stops to make sense, or, where a rule refused a good record, the value that \
error_detail names. They are read with the schema that the registry has for the record's schema id.

Examples:
  k2 dlq show                                   the latest one
  k2 dlq show --reason avro_decode_failed --latest 3
  k2 dlq show 5b1b0a3e-5a0c-5b0e-8f5f-0d9f3f2f6c11
  k2 dlq show --topic market.crypto.trades.kraken.raw --partition 3 --offset 1234")]
pub(crate) struct ShowArgs {
    /// The message_id of one [default: the latest that fit]
    #[arg(value_name = "MESSAGE_ID")]
    message_id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// The offset of the record
    #[arg(long, value_name = "N")]
    offset: Option<i64>,
    /// How many, the latest first
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    latest: u32,
    /// All bytes and values of long records
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    table: TableArgs,
    /// How to print them; csv has no decoded values
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Shows them. One that was named and is not there is an error; that none fits the filters is none.
pub(super) async fn run(config: &Config, args: &ShowArgs) -> Result<()> {
    let mut conditions = args.filter.conditions(config)?;
    if let Some(id) = &args.message_id {
        let id: uuid::Uuid = id.parse().map_err(|e| {
            let error = Error::config(format!("{id} is no message id")).caused_by(e);
            error.fix("it is a UUID; other ways to name a record: --topic, --partition and --offset")
        })?;
        conditions.push(format!("message_id = {}", literal(&id.hyphenated().to_string())));
    }
    conditions.extend(args.offset.map(|offset| format!("kafka_offset = {offset}")));
    let tables = Tables::find(config, &args.table).await?;
    let mut found = Vec::new();
    if let Some(from) = tables.from(&[&COLUMNS[..], &["dlq_date"]].concat()) {
        let query = format!(
            "SELECT {} FROM {from}{} ORDER BY error_timestamp DESC, kafka_timestamp DESC, kafka_offset DESC, message_id LIMIT {}",
            COLUMNS.join(", "),
            clause(&conditions),
            args.latest
        );
        for batch in tables.queries.run(&query).await?.collect().await? {
            found.extend(letters(&batch)?);
        }
    }
    if found.is_empty() && (args.message_id.is_some() || args.offset.is_some()) {
        let error = Error::config("there is no such dead letter").at(tables.text());
        return Err(error.fix("`k2 dlq list` counts those that there are"));
    }
    match args.format {
        Format::Csv => {
            rows(&found).print(Format::Csv)?;
            tables.tell_missing();
        }
        Format::Json => {
            let mut objects = Vec::new();
            let mut reader = Letters::new(config);
            for letter in &found {
                objects.push(object(letter, &read(&mut reader, letter).await));
            }
            grid::print(&grid::objects(objects.into_iter()))?;
            tables.tell_missing();
        }
        Format::Table if found.is_empty() => {
            let fit = if conditions.is_empty() { "" } else { " that fit" };
            grid::print(&format!("no dead letters{fit}, in {}\n", tables.text()))?;
        }
        Format::Table => {
            let mut reader = Letters::new(config);
            for (n, letter) in found.iter().enumerate() {
                let gap = if n == 0 { "" } else { "\n" };
                grid::print(&format!("{gap}{}", page(letter, &read(&mut reader, letter).await, args.full)))?;
            }
        }
    }
    Ok(())
}

async fn read(reader: &mut Letters<'_>, letter: &Letter) -> Reading {
    match &letter.raw_record {
        Some(bytes) => {
            reader.read(letter.kafka_topic.as_deref().unwrap_or_default(), bytes, letter.error_detail.as_deref()).await
        }
        None => Reading::default(),
    }
}

/// The columns that are no bytes, as they are printed in every format.
fn facts(letter: &Letter) -> Vec<(&'static str, Value)> {
    let time = |micros: Option<i64>| json!(micros.map(grid::utc));
    vec![
        ("message_id", json!(letter.message_id)),
        ("bronze_source", json!(letter.bronze_source)),
        ("kafka_topic", json!(letter.kafka_topic)),
        ("kafka_partition", json!(letter.kafka_partition)),
        ("kafka_offset", json!(letter.kafka_offset)),
        ("kafka_timestamp", time(letter.kafka_timestamp)),
        ("ingestion_timestamp", time(letter.ingestion_timestamp)),
        ("error_timestamp", time(letter.error_timestamp)),
        ("error_reason", json!(letter.error_reason)),
        ("error_type", json!(letter.error_type)),
        ("error_detail", json!(letter.error_detail)),
        ("schema_id", json!(letter.schema_id)),
        ("rules_version", json!(letter.rules_version)),
        ("status", json!(letter.status)),
        ("key", json!(letter.key.as_deref().map(hex::word))),
        ("raw_record", json!(letter.raw_record.as_deref().map(hex::word))),
    ]
}

fn rows(found: &[Letter]) -> Grid {
    let mut grid = Grid::new(&COLUMNS);
    for letter in found {
        grid.push(facts(letter).into_iter().map(|(_, value)| value).collect());
    }
    grid
}

/// The columns, and what was read in the bytes: `decoded` and `marked`, places counted from the first byte of the record.
fn object(letter: &Letter, reading: &Reading) -> Vec<(&'static str, Value)> {
    let mut fields = facts(letter);
    let values = reading.values.iter();
    let decoded = values.map(|v| json!({"path": v.path, "value": v.value, "from": v.bytes.start, "to": v.bytes.end}));
    fields.push(("schema", json!(reading.schema)));
    fields.push(("decoded", decoded.collect()));
    let marked = reading.mark.as_ref();
    let marked =
        marked.map(|m| json!({"from": m.bytes.start, "to": m.bytes.end, "field": m.field, "problem": m.problem}));
    fields.push(("marked", marked.unwrap_or(Value::Null)));
    fields
}

/// A page for a person.
fn page(letter: &Letter, reading: &Reading, full: bool) -> String {
    let or_null = |text: &Option<String>| text.as_deref().map_or("null".to_owned(), grid::shown);
    let number = |n: Option<i64>| n.map_or("null".to_owned(), |n| n.to_string());
    let time = |t: Option<i64>| t.map_or("none".to_owned(), grid::utc);
    let mut text = format!(
        "{} ({}), {}: {} partition {} offset {}\n",
        or_null(&letter.error_reason),
        or_null(&letter.error_type),
        or_null(&letter.status),
        or_null(&letter.kafka_topic),
        number(letter.kafka_partition),
        number(letter.kafka_offset),
    );
    let mut line = |name: &str, value: String| text += &format!("  {name:<15}  {value}\n");
    line("detail", or_null(&letter.error_detail));
    line("message id", or_null(&letter.message_id));
    line("bronze source", or_null(&letter.bronze_source));
    line("Kafka timestamp", time(letter.kafka_timestamp));
    line("received", time(letter.ingestion_timestamp));
    line("rejected", format!("{}, by rules version {}", time(letter.error_timestamp), or_null(&letter.rules_version)));
    line("key", letter.key.as_deref().map_or("null".to_owned(), key));
    line("schema id", reading.schema.clone().unwrap_or_else(|| number(letter.schema_id)));
    let Some(bytes) = &letter.raw_record else {
        line("record", "null, a tombstone".to_owned());
        return text;
    };
    line("record", if bytes.len() == 1 { "1 byte".into() } else { format!("{} bytes", bytes.len()) });
    text += &decoded(reading, if full { usize::MAX } else { MOST_VALUES });
    text += &marked(reading.mark.as_ref(), bytes.len());
    for line in hex::view(bytes, reading.mark.as_ref().map(|m| &m.bytes), full) {
        text += &format!("  {line}\n");
    }
    text
}

/// The values, with their bytes.
fn decoded(reading: &Reading, most: usize) -> String {
    let shown = &reading.values[..reading.values.len().min(most)];
    let width = shown.iter().map(|v| v.path.chars().count()).max().unwrap_or(0).min(40);
    let mut text = String::new();
    for value in shown {
        let bytes = format!("{}..{}", value.bytes.start, value.bytes.end);
        text += &format!("    {:<width$}  {bytes:>9}  {}\n", grid::shown(&value.path), grid::shown(&value.value));
    }
    if reading.values.len() > most {
        text += &format!("    … {} more values, all with --full\n", reading.values.len() - most);
    }
    text
}

/// What the brackets in the bytes say.
fn marked(mark: Option<&Mark>, length: usize) -> String {
    let Some(mark) = mark else { return String::new() };
    let place = match (mark.bytes.start, mark.field.as_str()) {
        (at, "") if at >= length => "at the end".to_owned(),
        (at, field) if at >= length => format!("at the end, field {}", grid::shown(field)),
        (at, "") => format!("byte {at}"),
        (at, field) => format!("byte {at}, field {}", grid::shown(field)),
    };
    match &mark.problem {
        Some(problem) => format!("  [ ] {place}: {}\n", grid::shown(problem)),
        None => format!("  [ ] {place}: what the rule refused\n"),
    }
}

/// A key as text where it is text, else its bytes.
fn key(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => format!("0x{}", hex::word(bytes)),
    }
}

#[cfg(test)]
#[path = "show/tests.rs"]
mod tests;
