//! `k2 offsets`: where each pipeline stands, and moving it by hand. What moves something is a dry run unless `--execute`.

use crate::args::Format;
use crate::grid::{self, Grid};
use k2_engine::config::Config;
use k2_engine::offsets::change::{Change, change};
use k2_engine::offsets::{RateLevel, Rejects, Row, show};
use k2_engine::verify::grouped;
use k2_model::{Error, NextOffset, Partition, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// `k2 offsets`
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct OffsetsArgs {
    #[command(subcommand)]
    command: Option<OffsetsCommand>,
    #[command(flatten)]
    show: ShowArgs,
}

/// What can be done with positions.
#[derive(Debug, clap::Subcommand)]
enum OffsetsCommand {
    /// Show positions and lag (what `k2 offsets` alone does)
    Show(ShowArgs),
    /// Go on at other offsets
    Set(SetArgs),
    /// Forget positions: the pipeline begins at its `start` again
    Reset(ResetArgs),
    /// Go on at the log's start where retention has deleted what was not read
    AcceptLoss(MoveArgs),
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The pipelines by name [default: all that are enabled]
    #[arg(value_name = "PIPELINE")]
    pipelines: Vec<String>,
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct MoveArgs {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    /// Do it; without, only show what would be done
    #[arg(long)]
    execute: bool,
    /// How to print the moves
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct SetArgs {
    #[command(flatten)]
    moves: MoveArgs,
    /// Partition and next offset, one pair or more
    #[arg(value_name = "PARTITION OFFSET", required_unless_present = "as_table", conflicts_with = "as_table")]
    pairs: Vec<i64>,
    /// Go on where the commits in the table's history end: after a rollback
    #[arg(long)]
    as_table: bool,
}

#[derive(Debug, clap::Args)]
struct ResetArgs {
    #[command(flatten)]
    moves: MoveArgs,
    /// Only these partitions [default: the whole position]
    #[arg(long = "partition", short = 'p', value_name = "N")]
    partitions: Vec<i32>,
}

/// Runs any of them.
pub(crate) async fn run(config: &Config, args: OffsetsArgs) -> Result<ExitCode> {
    match args.command.unwrap_or(OffsetsCommand::Show(args.show)) {
        OffsetsCommand::Show(args) => shown(config, &args).await,
        OffsetsCommand::Set(args) if args.as_table => moved(config, &args.moves, Change::AsTable).await,
        OffsetsCommand::Set(args) => moved(config, &args.moves, Change::Set(pairs(&args.pairs)?)).await,
        OffsetsCommand::Reset(args) => {
            let partitions = args.partitions.into_iter().map(Partition).collect();
            moved(config, &args.moves, Change::Reset(partitions)).await
        }
        OffsetsCommand::AcceptLoss(args) => moved(config, &args, Change::AcceptLoss).await,
    }
}

/// Shows what is known; code 1 if some of it could not be learned.
async fn shown(config: &Config, args: &ShowArgs) -> Result<ExitCode> {
    let offsets = show(config, &args.pipelines).await?;
    if args.format == Format::Table {
        positions(&offsets.rows).print(args.format)?;
        grid::print(&totals(&offsets.rows, &offsets.rejects))?;
    } else {
        positions_for_programs(&offsets.rows, &offsets.rejects).print(args.format)?;
    }
    let mut problems = offsets.problems.into_iter();
    match problems.next() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => {
            problems.for_each(|other| tracing::error!("{other}"));
            Err(first)
        }
    }
}

const COLUMNS: [&str; 11] =
    ["pipeline", "table", "topic", "partition", "next", "low", "end", "lag", "group_offset", "commit_age_s", "status"];

/// What is added for programs: figures of the whole pipeline, the same in each of its rows, null of a bronze one.
const OF_DLQ: [&str; 7] =
    ["dlq", "dlq_rows", "dlq_rate", "dlq_last_hour", "dlq_last_hour_rate", "dlq_level", "dlq_pending_rows"];

/// A row a partition.
fn positions(rows: &[Row]) -> Grid {
    Grid::new(&COLUMNS).filled(rows.iter().map(|row| cells(row, json!(row.status.text()))))
}

fn positions_for_programs(rows: &[Row], rejects: &[Rejects]) -> Grid {
    let row = |row: &Row| {
        let mut cells = cells(row, json!(row.status));
        cells.extend(match rejects.iter().find(|r| r.pipeline == row.pipeline) {
            Some(r) => [
                json!(r.dlq),
                json!(r.rows),
                json!(r.rate),
                json!(r.last_hour),
                json!(r.last_hour_rate),
                json!(r.level),
                json!(r.pending_rows),
            ],
            None => [const { Value::Null }; OF_DLQ.len()],
        });
        cells
    };
    Grid::new(&[&COLUMNS[..], &OF_DLQ].concat()).filled(rows.iter().map(row))
}

fn cells(r: &Row, status: Value) -> Vec<Value> {
    vec![
        json!(r.pipeline),
        json!(r.table),
        json!(r.topic),
        json!(r.partition),
        json!(r.next),
        json!(r.low),
        json!(r.end),
        json!(r.lag),
        json!(r.group_offset),
        json!(r.commit_age_s),
        status,
    ]
}

/// One line a pipeline.
fn totals(rows: &[Row], rejects: &[Rejects]) -> String {
    let mut text = String::new();
    for chunk in rows.chunk_by(|a, b| a.pipeline == b.pipeline) {
        let Some(first) = chunk.first() else { continue };
        let lag: Option<u64> = chunk.iter().map(|r| r.lag.and_then(|l| u64::try_from(l).ok())).sum();
        let lag = lag.map_or_else(|| "lag unknown".to_owned(), |lag| format!("lag {}", grouped(lag)));
        let age = chunk.iter().find_map(|r| r.commit_age_s);
        let age = age.map_or_else(|| "no commit known".to_owned(), |s| format!("last commit {s} s ago"));
        let partitions =
            if chunk.len() == 1 { "1 partition".to_owned() } else { format!("{} partitions", chunk.len()) };
        let dead = rejects.iter().find(|r| r.pipeline == first.pipeline).map(dead_letters).unwrap_or_default();
        text += &format!("{}: {partitions}, {lag}, {age}{dead}\n", first.pipeline);
    }
    text
}

/// The part of a silver pipeline's line about its rejects.
fn dead_letters(r: &Rejects) -> String {
    let of = |rate: Option<f64>| rate.map_or_else(String::new, |rate| format!(" ({} %)", percent(rate)));
    let mut text = format!("; dead letters {}{}", grouped(r.rows), of(r.rate));
    text += &format!(", last hour {}{}", grouped(r.last_hour), of(r.last_hour_rate));
    match r.level {
        RateLevel::Healthy => {}
        RateLevel::Raised => text += ": raised, healthy is below 0.1 %",
        RateLevel::Alert => text += ": more than 1 %, `k2 dlq list` tells why",
    }
    if r.pending > 0 {
        text += &format!("; {} more on their way to {}", grouped(r.pending_rows), r.dlq);
    }
    text
}

/// Two digits after the point, more where these would be zeros.
fn percent(rate: f64) -> String {
    let percent = rate * 100.0;
    if percent == 0.0 || percent >= 0.01 { format!("{percent:.2}") } else { format!("{percent:.1e}") }
}

fn pairs(numbers: &[i64]) -> Result<BTreeMap<Partition, NextOffset>> {
    let wrong = |what: String| Error::config(what).fix("give pairs: k2 offsets set PIPELINE PARTITION OFFSET …");
    let mut out = BTreeMap::new();
    for pair in numbers.chunks(2) {
        let [partition, offset] = *pair else { return Err(wrong("a partition has no offset".to_owned())) };
        let partition = i32::try_from(partition).ok().filter(|p| *p >= 0);
        let partition = partition.ok_or_else(|| wrong(format!("{} is no partition", pair[0])))?;
        if out.insert(Partition(partition), NextOffset(offset)).is_some() {
            return Err(wrong(format!("partition {partition} is named twice")));
        }
    }
    Ok(out)
}

async fn moved(config: &Config, args: &MoveArgs, wanted: Change) -> Result<ExitCode> {
    let changed = change(config, &args.pipeline, &wanted, args.execute).await?;
    let mut grid = Grid::new(&["pipeline", "table", "partition", "before", "after", "effect"]);
    let mut tables = vec![(&changed.table, &changed.moves)];
    tables.extend(changed.dlq.as_ref().map(|dlq| (&dlq.table, &dlq.moves)));
    for (table, moves) in &tables {
        for (place, (before, after)) in *moves {
            grid.push(vec![
                json!(args.pipeline),
                json!(table),
                json!(place),
                json!(before),
                json!(after),
                json!(effect(&wanted, *before, *after)),
            ]);
        }
    }
    let nothing = tables.iter().all(|(_, moves)| moves.is_empty());
    if !nothing || args.format != Format::Table {
        grid.print(args.format)?;
    }
    // beside the rows, for whoever reads them by program
    for warning in &changed.warnings {
        eprintln!("warning: {warning}");
    }
    eprintln!(
        "{}",
        match (nothing && changed.warnings.is_empty(), args.execute) {
            (true, _) => "nothing to move",
            (false, true) => "done",
            (false, false) => "dry run: nothing was changed; repeat it with --execute",
        }
    );
    Ok(ExitCode::SUCCESS)
}

fn effect(wanted: &Change, before: Option<i64>, after: Option<i64>) -> String {
    match (before, after) {
        (Some(_), None) => "begins at the pipeline's `start`".to_owned(),
        (Some(before), Some(after)) if after > before && *wanted == Change::AcceptLoss => {
            format!("{} offsets lost: {before}..{after}", grouped(before.abs_diff(after)))
        }
        (Some(before), Some(after)) if after > before => {
            format!("{} offsets skipped: {before}..{after}", grouped(before.abs_diff(after)))
        }
        (Some(before), Some(after)) => {
            format!("{} offsets read again: {after}..{before}", grouped(before.abs_diff(after)))
        }
        (None, _) => "begins there".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
    use super::*;

    #[test]
    fn dead_letters_are_told_with_their_rate() {
        let rejects = Rejects {
            pipeline: "silver-x".into(),
            dlq: "rejects".into(),
            pending: 0,
            pending_rows: 0,
            rows: 1234,
            rate: Some(0.000_5),
            last_hour: 12,
            last_hour_rate: Some(0.034),
            level: RateLevel::Alert,
        };
        assert_eq!(
            dead_letters(&rejects),
            "; dead letters 1,234 (0.05 %), last hour 12 (3.40 %): more than 1 %, `k2 dlq list` tells why"
        );
        let quiet = Rejects {
            rate: None,
            last_hour: 0,
            last_hour_rate: None,
            level: RateLevel::Healthy,
            pending: 1,
            pending_rows: 7,
            ..rejects
        };
        assert_eq!(dead_letters(&quiet), "; dead letters 1,234, last hour 0; 7 more on their way to rejects");
        assert_eq!((percent(0.0), percent(0.000_001)), ("0.00".to_owned(), "1.0e-4".to_owned()));
    }

    #[test]
    fn pairs_are_pairs() {
        let set = pairs(&[0, 5, 3, 0]).unwrap();
        assert_eq!(set, BTreeMap::from([(Partition(0), NextOffset(5)), (Partition(3), NextOffset(0))]));
        for wrong in [&[0][..], &[-1, 5], &[1, 2, 1, 3], &[1 << 40, 1]] {
            assert!(pairs(wrong).is_err(), "{wrong:?}");
        }
    }
}
