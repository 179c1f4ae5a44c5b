//! `k2 dlq`: what could not become a row, counted (`list`) and one by one (`show`). Reads only.
//!
//! Rows come through SQL, from all dead letter tables of the configuration or the one that is named. A table that is not
//! there yet has no dead letters: that is said, and is no failure.

mod filter;
mod hex;
mod letter;
mod show;

use crate::args::Format;
use crate::grid::{self, Grid};
use crate::sql;
use filter::{Filter, clause};
use k2_engine::config::Config;
use k2_engine::verify::grouped;
use k2_model::{Error, Result};
use k2_query::Queries;
use letter::Column;
use serde_json::json;
use std::process::ExitCode;

/// `k2 dlq`
#[derive(Debug, clap::Subcommand)]
pub(crate) enum DlqCommand {
    /// Count them by source, reason, type, schema id and day
    List(ListArgs),
    /// Show single ones, decoded as far as possible, with their bytes
    Show(show::ShowArgs),
}

/// `k2 dlq list`
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    table: TableArgs,
    /// How to print the counts
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Which tables.
#[derive(Debug, Clone, clap::Args)]
struct TableArgs {
    /// The dead letter table [default: those of all silver pipelines]
    #[arg(long = "dlq", value_name = "TABLE")]
    named: Option<String>,
}

/// Runs either.
pub(crate) async fn run(config: &Config, command: &DlqCommand) -> Result<ExitCode> {
    match command {
        DlqCommand::List(args) => list(config, args).await?,
        DlqCommand::Show(args) => show::run(config, args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(config: &Config, args: &ListArgs) -> Result<()> {
    const BY: [&str; 5] = ["bronze_source", "error_reason", "error_type", "schema_id", "dlq_date"];
    let columns = [&BY[..], &["records", "open"]].concat();
    let mut counts = Grid::new(&columns);
    let (mut records, mut open) = (0, 0);
    let conditions = args.filter.conditions(config)?;
    let tables = Tables::find(config, &args.table).await?;
    if let Some(from) =
        tables.from(&[&BY[..], &["status", "kafka_topic", "kafka_partition", "error_timestamp"]].concat())
    {
        let by = BY.join(", ");
        let query = format!(
            "SELECT {by}, count(*) AS records, sum(CASE WHEN status = 'open' THEN 1 ELSE 0 END) AS open FROM {from}{} \
             GROUP BY {by} ORDER BY dlq_date DESC, records DESC, {by}",
            clause(&conditions)
        );
        for batch in tables.queries.run(&query).await?.collect().await? {
            let text = |name: &str| Column::text(&batch, name);
            let (source, reason, kind, day) =
                (text("bronze_source")?, text("error_reason")?, text("error_type")?, text("dlq_date")?);
            let number = |name: &str| Column::number(&batch, name);
            let (schema, all, still) = (number("schema_id")?, number("records")?, number("open")?);
            for row in 0..batch.num_rows() {
                let (all, still) = (all.at(row).unwrap_or(0), still.at(row).unwrap_or(0));
                records += all;
                open += still;
                counts.push(vec![
                    json!(source.at(row)),
                    json!(reason.at(row)),
                    json!(kind.at(row)),
                    json!(schema.at(row)),
                    json!(day.at(row)),
                    json!(all),
                    json!(still),
                ]);
            }
        }
    }
    if args.format != Format::Table {
        counts.print(args.format)?;
        tables.tell_missing();
        return Ok(());
    }
    if records > 0 {
        counts.print(Format::Table)?;
    }
    let number = |n: i64| grouped(n.unsigned_abs());
    let total = match (records, conditions.is_empty()) {
        (0, true) => "no dead letters".to_owned(),
        (0, false) => "no dead letters that fit".to_owned(),
        (1, _) => format!("1 dead letter, {} open", number(open)),
        _ => format!("{} dead letters, {} open", number(records), number(open)),
    };
    grid::print(&format!("{total}, in {}\n", tables.text()))
}

/// The dead letter tables that are meant.
struct Tables {
    queries: Queries,
    namespace: String,
    there: Vec<String>,
    missing: Vec<String>,
}

impl Tables {
    async fn find(config: &Config, args: &TableArgs) -> Result<Self> {
        let mut known: Vec<&str> =
            config.pipelines.iter().filter_map(|p| p.silver()).map(|silver| silver.dlq.as_str()).collect();
        known.sort_unstable();
        known.dedup();
        let wanted = match &args.named {
            None if known.is_empty() => {
                return Err(Error::config("no silver pipeline is configured, so there is no dead letter table"));
            }
            None => known,
            Some(named) if known.contains(&named.as_str()) => vec![named.as_str()],
            Some(named) => {
                let error = Error::config(format!("no silver pipeline has the dead letter table {named}"));
                return Err(error.fix(format!("there are: {}", known.join(", "))));
            }
        };
        let queries = sql::open(config).await?;
        let all = queries.tables().await?;
        let (there, missing) = wanted.into_iter().map(str::to_owned).partition(|name| all.contains(name));
        Ok(Self { queries, namespace: config.catalog.namespace.clone(), there, missing })
    }

    /// What to select from; none if there is no table.
    fn from(&self, columns: &[&str]) -> Option<String> {
        let one = |name: &String| format!("SELECT {} FROM \"{name}\"", columns.join(", "));
        let all: Vec<String> = self.there.iter().map(one).collect();
        (!all.is_empty()).then(|| format!("({}) AS letters", all.join(" UNION ALL ")))
    }

    /// As a sentence's end.
    fn text(&self) -> String {
        let name = |name: &String| format!("{}.{name}", self.namespace);
        let missing = |table: &String| format!("{} (not there yet)", name(table));
        self.there.iter().map(name).chain(self.missing.iter().map(missing)).collect::<Vec<_>>().join(", ")
    }

    /// Beside rows for a program, where no text says it.
    fn tell_missing(&self) {
        for table in &self.missing {
            eprintln!("the table {}.{table} is not there yet; `k2 run` makes it", self.namespace);
        }
    }
}
