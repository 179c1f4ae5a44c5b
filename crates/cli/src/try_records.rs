//! `k2 try`: what would become of some records - a silver row, or a dead letter and why. Writes nothing.

use crate::args::Format;
use crate::grid::{self, Grid};
use k2_engine::config::Config;
use k2_engine::trial::{self, Form, MOST_RECORDS, Origin, Trial};
use k2_engine::verify::grouped;
use k2_model::{Error, Result};
use k2_transform::{Fate, Rejected, silver_schema};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Records that are tried where nobody says how many.
const SOME: usize = 10;
/// The largest file that is read, in bytes.
const MOST_BYTES: u64 = 256 << 20;

/// `k2 try`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing is written, no offset is committed, no table is looked at. A schema id that the registry does not know is told at \
once; `run` would wait for it (registry.unknown_id_grace). Of records from a file, message_id and kafka_… are made up, and \
without a timestamp_ms the two rules about time in the future and the past do not apply.

Examples:
  k2 try silver-binance --from-topic 100 --format json
  k2 try silver-kraken --file record.bin
  echo '{\"value_hex\": \"0000000001…\", \"timestamp_ms\": 1767225600000}' | k2 try silver-binance --file - --form json")]
pub(crate) struct TryArgs {
    /// A silver pipeline; it may be turned off
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// The last N records of its topic, over all partitions [default: 10]
    #[arg(long, value_name = "N", conflicts_with = "file")]
    from_topic: Option<usize>,
    /// Records from a file; - is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How records are written in the file
    #[arg(long, value_enum, requires = "file", default_value_t)]
    form: FileForm,
    /// How to print what would become of them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `--form`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum FileForm {
    /// The file is the value of one record, byte for byte
    #[default]
    Raw,
    /// A value a line, in hexadecimal digits
    Hex,
    /// A value a line, in base64
    Base64,
    /// A JSON object a line: value (base64) or value_hex, and if wanted key, key_hex, timestamp_ms, partition, offset
    Json,
}

/// Tries them. What becomes of them is no failure: code 0.
pub(crate) async fn run(config: &Config, args: &TryArgs) -> Result<ExitCode> {
    let origin = match &args.file {
        None => Origin::Topic(count(args.from_topic.unwrap_or(SOME))?),
        Some(path) => Origin::File { bytes: read(path)?, form: form(args.form) },
    };
    let trial = trial::run(config, &args.pipeline, origin).await?;
    let summary = summary(&trial);
    match args.format {
        Format::Table => grid::print(&(blocks(&trial.fates) + &summary))?,
        Format::Json => {
            grid::print(&grid::objects(trial.fates.iter().map(object)))?;
            eprint!("{summary}");
        }
        Format::Csv => {
            rows(&trial.fates).print(Format::Csv)?;
            eprint!("{summary}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn count(wanted: usize) -> Result<usize> {
    if (1..=MOST_RECORDS).contains(&wanted) {
        return Ok(wanted);
    }
    Err(Error::config(format!("--from-topic {wanted} is not between 1 and {MOST_RECORDS}")))
}

fn form(form: FileForm) -> Form {
    match form {
        FileForm::Raw => Form::Raw,
        FileForm::Hex => Form::Hex,
        FileForm::Base64 => Form::Base64,
        FileForm::Json => Form::Json,
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let place = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let failed = |e: std::io::Error| Error::config("cannot read the records").at(place.clone()).caused_by(e);
    let mut bytes = Vec::new();
    let mut source: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    source.by_ref().take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES {
        let error = Error::config(format!("the file is larger than {}", k2_engine::config::shown_size(MOST_BYTES)));
        return Err(error.at(place).fix("try a part of it"));
    }
    Ok(bytes)
}

/// A block a record: where it is and what becomes of it, then its row or the reason, a line a column.
fn blocks(fates: &[Fate]) -> String {
    fates.iter().map(block).collect()
}

fn block(fate: &Fate) -> String {
    let mut text = format!("partition {} offset {}", fate.partition, fate.offset);
    text += &fate.timestamp.map_or_else(|| ", no timestamp".to_owned(), |t| format!(", {}", grid::utc(t)));
    text += &fate.schema_id.map_or_else(|| ", no schema id".to_owned(), |id| format!(", schema id {id}"));
    let lines: Vec<(&str, String)> = match &fate.outcome {
        Ok(row) => {
            text += ": silver\n";
            row.iter()
                .map(|(name, value)| (name.as_str(), value.as_deref().map_or("null".into(), grid::shown)))
                .collect()
        }
        Err(Rejected { reason, error_type, detail }) => {
            text += &format!(": dead letter, {reason}\n");
            vec![
                ("error_type", error_type.clone()),
                ("error_detail", detail.as_deref().map_or("null".into(), grid::shown)),
                ("message_id", fate.message_id.clone()),
            ]
        }
    };
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in lines {
        text += &format!("  {name:<width$}  {value}\n");
    }
    if !fate.notices.is_empty() {
        text += &format!("  {:<width$}  {}\n", "noticed", fate.notices.join(", "));
    }
    text + "\n"
}

/// How many become what.
fn summary(trial: &Trial) -> String {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    let mut rows = 0u64;
    for fate in &trial.fates {
        match &fate.outcome {
            Ok(_) => rows += 1,
            Err(rejected) => *reasons.entry(&rejected.reason).or_default() += 1,
        }
    }
    let rejects: u64 = reasons.values().sum();
    let of = |count: u64, one: &str, many: &str| format!("{} {}", grouped(count), if count == 1 { one } else { many });
    let mut text = match trial.fates.len() as u64 {
        0 => "there is no record".to_owned(),
        all => format!(
            "{}: {}, {}",
            of(all, "record", "records"),
            of(rows, "silver row", "silver rows"),
            of(rejects, "dead letter", "dead letters")
        ),
    };
    if !reasons.is_empty() {
        let each: Vec<String> = reasons.iter().map(|(reason, count)| format!("{reason} {}", grouped(*count))).collect();
        text += &format!(" ({})", each.join(", "));
    }
    format!("{text}; rules version {}; nothing was written\n", trial.rules_version)
}

/// What is the same in JSON and CSV.
const COLUMNS: [&str; 10] = [
    "partition",
    "offset",
    "kafka_timestamp",
    "schema_id",
    "message_id",
    "becomes",
    "error_reason",
    "error_type",
    "error_detail",
    "notices",
];

fn common(fate: &Fate) -> [Value; 10] {
    let rejected = fate.outcome.as_ref().err();
    [
        json!(fate.partition),
        json!(fate.offset),
        json!(fate.timestamp.map(grid::utc)),
        json!(fate.schema_id),
        json!(fate.message_id),
        json!(if rejected.is_none() { "silver" } else { "dlq" }),
        json!(rejected.map(|r| &r.reason)),
        json!(rejected.map(|r| &r.error_type)),
        json!(rejected.and_then(|r| r.detail.as_ref())),
        json!(fate.notices),
    ]
}

/// An object with the row, or null, in `row`.
fn object(fate: &Fate) -> Vec<(&'static str, Value)> {
    let row = fate.outcome.as_ref().ok().map(|row| {
        let row = row.iter().map(|(name, value)| (name.clone(), json!(value)));
        Value::Object(row.collect::<Map<_, _>>())
    });
    let mut fields: Vec<(&'static str, Value)> = COLUMNS.into_iter().zip(common(fate)).collect();
    fields.push(("row", row.unwrap_or(Value::Null)));
    fields
}

/// A line a record, with the columns of a silver row after what is common.
fn rows(fates: &[Fate]) -> Grid {
    let schema = silver_schema();
    // what both have is there once
    let of_row: Vec<&str> =
        schema.fields().iter().map(|f| f.name().as_str()).filter(|name| !COLUMNS.contains(name)).collect();
    let columns: Vec<&str> = COLUMNS.into_iter().chain(of_row.iter().copied()).collect();
    let mut grid = Grid::new(&columns);
    for fate in fates {
        let row = fate.outcome.as_ref().ok();
        let value = |name: &str| row.and_then(|row| row.iter().find(|(n, _)| n == name)?.1.as_ref());
        grid.push(common(fate).into_iter().chain(of_row.iter().map(|name| json!(value(name)))).collect());
    }
    grid
}

#[cfg(test)]
#[path = "try_records/tests.rs"]
mod tests;
