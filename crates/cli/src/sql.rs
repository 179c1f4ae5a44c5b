//! `k2 sql`: one query from the command line, statements from standard input, or a prompt on a terminal.
//!
//! Rows are printed as they come, in csv and json without limit and without holding them. Binary values are hex and
//! times RFC 3339 in every form.

mod output;
mod prompt;

use crate::args::Format;
use clap::Args;
use k2_engine::config::Config;
use k2_engine::connect;
use k2_model::{Error, Result};
use k2_query::{Queries, split};
use std::io::{IsTerminal, Read};
use std::process::ExitCode;

/// `k2 sql`
#[derive(Debug, Args)]
#[command(after_help = "\
Tables are those of the catalog: t, market_data.t or iceberg.market_data.t. Each has metadata tables: \
t.snapshots, t.history, t.refs, t.files, t.data_files, t.delete_files, t.manifests, t.entries, t.partitions, \
t.metadata_log_entries. Earlier states: t VERSION AS OF <snapshot id>, t TIMESTAMP AS OF '2026-01-31 12:00:00' (UTC). \
Nothing can be changed.

json is an array with one object a line. Binary values are printed in hex, times as RFC 3339.")]
pub(crate) struct SqlArgs {
    /// The query, or several with ; between [default: standard input; on a terminal a prompt]
    #[arg(value_name = "QUERY")]
    query: Option<String>,
    /// How to print the rows
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs it.
pub(crate) async fn run(config: &Config, args: &SqlArgs) -> Result<ExitCode> {
    let queries = open(config).await?;
    match &args.query {
        Some(text) => answer_all(&queries, text, args.format).await?,
        None if std::io::stdin().is_terminal() => prompt::run(&queries, args.format).await?,
        None => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|e| Error::config("standard input is not text").caused_by(e))?;
            answer_all(&queries, &text, args.format).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// SQL over the configured catalog.
pub(crate) async fn open(config: &Config) -> Result<Queries> {
    let stores = connect::stores(config);
    let catalog = connect::catalog(config, &stores).await?;
    Queries::open(catalog, &config.catalog.name, &config.catalog.namespace, config.memory.budget)
}

/// Answers the statements of a text, one after the other; the first that fails is the last.
async fn answer_all(queries: &Queries, text: &str, format: Format) -> Result<()> {
    let (mut statements, rest) = split::statements(text);
    if !split::is_blank(rest) {
        statements.push(rest);
    }
    if statements.is_empty() {
        return Err(Error::config("there is no query").fix("Write k2 sql \"SELECT …\"; k2 sql alone opens a prompt"));
    }
    for statement in statements {
        answer(queries, statement, format).await?;
    }
    Ok(())
}

/// Answers one statement on standard output.
pub(crate) async fn answer(queries: &Queries, statement: &str, format: Format) -> Result<()> {
    let rows = queries.run(statement).await?;
    output::print(rows, format, &mut std::io::stdout()).await
}
