//! `k2 verify`: the promises, from the tables, and from Kafka if asked. Code 4 if one does not hold.

use crate::args::Format;
use crate::exit;
use crate::grid::{self, Grid};
use k2_engine::config::Config;
use k2_engine::verify::{self, BalanceReport, Check, Options, Phase, Progress, Report, TableReport, Watch, grouped};
use k2_model::{Error, Result};
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// `k2 verify`
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// The pipelines whose tables are meant [default: all that are enabled]
    #[arg(value_name = "PIPELINE")]
    pub(crate) pipelines: Vec<String>,
    /// Compare every record that Kafka still has, byte for byte
    #[arg(long)]
    pub(crate) kafka: bool,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// How often the line of progress changes.
const TICK: Duration = Duration::from_millis(150);

/// Verifies and prints.
pub(crate) async fn run(config: &Config, args: &VerifyArgs) -> Result<ExitCode> {
    let options = Options { pipelines: args.pipelines.clone(), kafka: args.kafka };
    let line = std::io::stderr().is_terminal().then(Line::default).map(Arc::new);
    let report = verify::verify(config, &options, &watch(line.clone())).await;
    if let Some(line) = line {
        line.clear();
    }
    let report = report?;
    match args.format {
        Format::Table => grid::print(&text(&report))?,
        Format::Json => {
            let json = json!({ "ok": report.ok(), "tables": report.tables, "balances": report.balances });
            let json = serde_json::to_string_pretty(&json);
            let json = json.map_err(|e| Error::unknown("cannot write the report as JSON").caused_by(e))?;
            grid::print(&(json + "\n"))?;
        }
        Format::Csv => checks(&report).print(Format::Csv)?,
    }
    Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::from(exit::FOUND) })
}

/// For people: a line a table and a line a balance, a line a promise, and what is wrong below it.
fn text(report: &Report) -> String {
    let mut text = String::new();
    for table in &report.tables {
        text += &heading(table);
        text += &body(&table.checks, &table.notes);
    }
    for balance in &report.balances {
        text += &equation(balance);
        text += &body(&balance.checks, &balance.notes);
    }
    let broken = all_checks(report).filter(|(_, c)| !c.ok).count();
    text += &match broken {
        0 => "all promises hold\n".to_owned(),
        1 => "1 promise does not hold\n".to_owned(),
        n => format!("{n} promises do not hold\n"),
    };
    text
}

fn body(checks: &[Check], notes: &[String]) -> String {
    let notes = notes.iter().map(|note| format!("  note  {note}\n"));
    checks.iter().map(promise).chain(notes).collect()
}

/// Every check with the name of the table or pipeline that it is about.
fn all_checks(report: &Report) -> impl Iterator<Item = (&str, &Check)> {
    let tables = report.tables.iter().flat_map(|t| t.checks.iter().map(|c| (t.table.as_str(), c)));
    let balances = report.balances.iter().flat_map(|b| b.checks.iter().map(|c| (b.pipeline.as_str(), c)));
    tables.chain(balances)
}

/// `silver-binance: 1,000 bronze = 999 silver + 1 dlq (0.1000 % rejected), partitions 0..39, offsets 0..1,000`
fn equation(balance: &BalanceReport) -> String {
    let (bronze, silver, dlq) = balance.totals();
    let (Some(first), Some(last)) = (balance.partitions.first(), balance.partitions.last()) else {
        return format!("{}: {} and {}\n", balance.pipeline, balance.silver, balance.dlq);
    };
    let sign = if bronze == silver + dlq { "=" } else { "≠" };
    let rate = balance.rate.map_or_else(String::new, |rate| format!(" ({:.4} % rejected)", rate * 100.0));
    let partitions = match first.partition == last.partition {
        true => format!("partition {} {}..{}", first.partition, grouped_offset(first.from), grouped_offset(first.to)),
        false => {
            let from = balance.partitions.iter().map(|p| p.from).min().unwrap_or(0);
            let to = balance.partitions.iter().map(|p| p.to).max().unwrap_or(0);
            format!(
                "partitions {} to {}, offsets {}..{}",
                first.partition,
                last.partition,
                grouped_offset(from),
                grouped_offset(to)
            )
        }
    };
    format!(
        "{}: {} bronze {sign} {} silver + {} dlq{rate}, {partitions}\n",
        balance.pipeline,
        grouped(bronze),
        grouped(silver),
        grouped(dlq)
    )
}

fn grouped_offset(offset: i64) -> String {
    u64::try_from(offset).map_or_else(|_| offset.to_string(), grouped)
}

fn heading(table: &TableReport) -> String {
    let several = |n: u64, noun: &str| format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" });
    let each = |n: usize, noun: &str| several(n as u64, noun);
    format!(
        "{}: {} in {} ({}), {}, {}, {:.1} s\n",
        table.table,
        several(table.rows, "row"),
        each(table.files, "file"),
        size(table.bytes),
        each(table.snapshots, "snapshot"),
        each(table.partitions, "partition"),
        table.seconds
    )
}

fn promise(check: &Check) -> String {
    if check.ok {
        return format!("  ok    {} ({})\n", check.promise.text(), check.summary);
    }
    let mut text = format!("  FAIL  {}: {} found ({})\n", check.promise.text(), grouped(check.found), check.summary);
    for finding in &check.first {
        text += &format!("          {finding}\n");
    }
    if check.is_cut() {
        text += "          … and more\n";
    }
    text
}

fn checks(report: &Report) -> Grid {
    let mut grid = Grid::new(&["table", "promise", "ok", "found", "summary", "first"]);
    for (name, check) in all_checks(report) {
        let first: Vec<String> = check.first.iter().map(ToString::to_string).collect();
        grid.push(vec![
            json!(name),
            json!(check.promise),
            json!(check.ok),
            json!(check.found),
            json!(check.summary),
            json!(first),
        ]);
    }
    grid
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut left = bytes;
    let mut unit = "bytes";
    let mut tenths = 0;
    for next in UNITS {
        if left < 1024 {
            break;
        }
        tenths = left % 1024 * 10 / 1024;
        (left, unit) = (left / 1024, next);
    }
    if unit == "bytes" { format!("{left} bytes") } else { format!("{left}.{tenths} {unit}") }
}

/// One line on the terminal that is written over.
#[derive(Debug)]
struct Line(Mutex<Instant>);

impl Default for Line {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Line {
    fn show(&self, progress: Progress<'_>) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < TICK {
            return;
        }
        *last = Instant::now();
        let Progress { table, phase, done, of, rows } = progress;
        let what = match phase {
            Phase::Files => format!("file {} of {}", grouped(done), grouped(of)),
            Phase::Kafka => format!("Kafka: offset {} of {}", grouped(done), grouped(of)),
            Phase::Content => format!("comparing: file {} of {}", grouped(done), grouped(of)),
        };
        // a terminal that is gone stops nothing
        let _ = write!(std::io::stderr(), "\r\x1b[K{table}: {what}, {} rows", grouped(rows));
    }

    fn clear(&self) {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

fn watch(line: Option<Arc<Line>>) -> Watch {
    match line {
        Some(line) => Arc::new(move |progress: Progress<'_>| line.show(progress)),
        None => Arc::new(|_: Progress<'_>| {}),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1023, 1024, 1_572_864, 5 << 40].map(size),
            ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 MiB", "5.0 TiB"]
        );
    }
}
