//! `k2 offsets`: where each pipeline stands, and moving it by hand. What moves something is a dry run unless `--execute`.

use crate::args::Format;
use crate::grid::{self, Grid};
use k2_engine::config::Config;
use k2_engine::offsets::change::{Change, change};
use k2_engine::offsets::{Row, show};
use k2_engine::verify::grouped;
use k2_model::{Error, NextOffset, Partition, Result};
use serde_json::json;
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
    let columns = [
        "pipeline",
        "table",
        "topic",
        "partition",
        "next",
        "low",
        "end",
        "lag",
        "group_offset",
        "commit_age_s",
        "status",
    ];
    let mut grid = Grid::new(&columns);
    for r in &offsets.rows {
        let status = if args.format == Format::Table { json!(r.status.text()) } else { json!(r.status) };
        grid.push(vec![
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
        ]);
    }
    grid.print(args.format)?;
    if args.format == Format::Table {
        grid::print(&totals(&offsets.rows))?;
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

/// One line a pipeline.
fn totals(rows: &[Row]) -> String {
    let mut text = String::new();
    for chunk in rows.chunk_by(|a, b| a.pipeline == b.pipeline) {
        let Some(first) = chunk.first() else { continue };
        let lag: Option<u64> = chunk.iter().map(|r| r.lag.and_then(|l| u64::try_from(l).ok())).sum();
        let lag = lag.map_or_else(|| "lag unknown".to_owned(), |lag| format!("lag {}", grouped(lag)));
        let age = chunk.iter().find_map(|r| r.commit_age_s);
        let age = age.map_or_else(|| "no commit known".to_owned(), |s| format!("last commit {s} s ago"));
        let partitions =
            if chunk.len() == 1 { "1 partition".to_owned() } else { format!("{} partitions", chunk.len()) };
        text += &format!("{}: {partitions}, {lag}, {age}\n", first.pipeline);
    }
    text
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
    for (place, (before, after)) in &changed.moves {
        grid.push(vec![
            json!(args.pipeline),
            json!(changed.table),
            json!(place),
            json!(before),
            json!(after),
            json!(effect(&wanted, *before, *after)),
        ]);
    }
    if !changed.moves.is_empty() || args.format != Format::Table {
        grid.print(args.format)?;
    }
    // beside the rows, for whoever reads them by program
    for warning in &changed.warnings {
        eprintln!("warning: {warning}");
    }
    eprintln!(
        "{}",
        match (changed.moves.is_empty(), args.execute) {
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
    fn pairs_are_pairs() {
        let set = pairs(&[0, 5, 3, 0]).unwrap();
        assert_eq!(set, BTreeMap::from([(Partition(0), NextOffset(5)), (Partition(3), NextOffset(0))]));
        for wrong in [&[0][..], &[-1, 5], &[1, 2, 1, 3], &[1 << 40, 1]] {
            assert!(pairs(wrong).is_err(), "{wrong:?}");
        }
    }
}
