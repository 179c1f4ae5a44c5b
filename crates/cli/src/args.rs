//! The command line. Names, defaults and the order of commands are a contract (docs of the command line).
//!
//! `--set` may stand before or after the command, as often as needed; both places add up.

use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Kafka to Iceberg, exactly once.
#[derive(Debug, Parser)]
#[command(name = "k2", version, about, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 a task failed, 2 wrong usage or configuration, 3 halted: a person must \
                        decide, 4 a check or verification found something.")]
pub(crate) struct Cli {
    /// Configuration file [default: k2.toml if it is there]
    #[arg(short = 'c', long = "config", value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Sets one configuration key, over environment and file
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// How to log [default: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT", global = true)]
    pub(crate) log_format: Option<LogFormat>,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// How a reading command prints its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// An array of objects
    Json,
    /// With a header line
    Csv,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ingest until stopped
    Run(RunArgs),
    /// Everything in one: a broker, trades, a crash and the proof; no server needed
    Demo(crate::demo::DemoArgs),
    /// Try all that `run` needs
    Check(CheckArgs),
    /// Show what would become of some records of a silver pipeline; writes nothing
    Try(crate::try_records::TryArgs),
    /// Make and show the tables
    #[command(subcommand)]
    Tables(TablesCommand),
    /// Query the tables: one query, or a prompt
    Sql(crate::sql::SqlArgs),
    /// Show where each pipeline stands, or move it by hand
    Offsets(crate::offsets::OffsetsArgs),
    /// Check the promises, from the tables alone or against Kafka
    Verify(crate::verify::VerifyArgs),
    /// Look at what could not become a silver row
    #[command(subcommand)]
    Dlq(crate::dlq::DlqCommand),
    /// Fill a topic with generated trades
    #[command(hide = true)]
    BenchLoad(crate::generator::load::BenchLoadArgs),
}

/// `k2 run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The pipelines by name [default: all that are enabled]
    #[arg(value_name = "PIPELINE")]
    pub(crate) pipelines: Vec<String>,
    /// Stop when everything is committed that was in Kafka at the start
    #[arg(long)]
    pub(crate) until_caught_up: bool,
}

/// `k2 check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The pipelines by name [default: all that are enabled]
    #[arg(value_name = "PIPELINE")]
    pub(crate) pipelines: Vec<String>,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// `k2 tables`
#[derive(Debug, Subcommand)]
pub(crate) enum TablesCommand {
    /// Make the namespace and the tables that are missing, by contract
    Create(TablesArgs),
    /// Show the tables and where they depart from their contract
    Show(TablesArgs),
}

/// What both take.
#[derive(Debug, Args)]
pub(crate) struct TablesArgs {
    /// The tables by name [default: those of all pipelines]
    #[arg(value_name = "TABLE")]
    pub(crate) tables: Vec<String>,
    /// How to print them
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

const LATE: &str = "set-after-the-command";

impl Cli {
    /// Reads the command line of this process. Wrong usage ends it, with code 2.
    pub(crate) fn of_process() -> Self {
        Self::read(std::env::args_os()).unwrap_or_else(|e| e.exit())
    }

    /// Reads a command line, the program's name first.
    pub(crate) fn read<I>(line: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator,
        I::Item: Into<std::ffi::OsString> + Clone,
    {
        // clap's global arguments keep only the last place that has them, and would lose a setting
        let matches = with_late_set(Self::command()).try_get_matches_from(line)?;
        let mut cli = Self::from_arg_matches(&matches)?;
        collect_late(&matches, &mut cli.set);
        Ok(cli)
    }
}

fn with_late_set(command: clap::Command) -> clap::Command {
    let late = || {
        Arg::new(LATE)
            .long("set")
            .value_name("KEY=VALUE")
            .action(ArgAction::Append)
            .help("Sets one configuration key, over environment and file")
    };
    command.mut_subcommands(|c| with_late_set(c.arg(late())))
}

fn collect_late(matches: &ArgMatches, into: &mut Vec<String>) {
    if let Some((_, below)) = matches.subcommand() {
        if let Ok(Some(late)) = below.try_get_many::<String>(LATE) {
            into.extend(late.cloned());
        }
        collect_late(below, into);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        with_late_set(Cli::command()).debug_assert();
    }

    #[test]
    fn settings_add_up_wherever_they_stand() {
        let cli = Cli::read(["k2", "--set", "a=1", "run", "--set", "b=2", "x", "--set", "c=3", "-c", "f"]).unwrap();
        assert_eq!(cli.set, ["a=1", "b=2", "c=3"]);
        assert_eq!(cli.config.unwrap(), PathBuf::from("f"));
        let cli = Cli::read(["k2", "tables", "show", "t", "--set", "a=1"]).unwrap();
        assert_eq!(cli.set, ["a=1"]);
    }

    #[test]
    fn wrong_usage_is_told_with_code_2() {
        for line in [
            &["k2", "rum"][..],
            &["k2", "run", "--no"],
            &["k2", "dlq"],
            &["k2", "dlq", "show", "--latest", "0"],
            &["k2", "try"],
            &["k2", "try", "p", "--from-topic", "1", "--file", "f"],
            &["k2", "try", "p", "--form", "hex"],
            &["k2", "check", "--format", "xml"],
            &["k2"],
        ] {
            assert_eq!(Cli::read(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }
}
