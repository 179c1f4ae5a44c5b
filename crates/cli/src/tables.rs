//! `k2 tables create` and `k2 tables show`: the tables of the pipelines, by contract.

use crate::args::{TablesArgs, TablesCommand};
use crate::exit;
use crate::grid::Grid;
use iceberg::spec::TableMetadata;
use k2_engine::config::Config;
use k2_engine::connect;
use k2_engine::tables::{self, PipelineTable, Role};
use k2_lake::catalog::Catalog;
use k2_model::{Error, Result};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Runs either.
pub(crate) async fn run(config: &Config, command: &TablesCommand) -> Result<ExitCode> {
    let stores = connect::stores(config);
    match command {
        TablesCommand::Create(args) => {
            let tables = wanted(config, &args.tables)?;
            create(config, connect::catalog(config, &stores).await?.as_ref(), &tables, args).await
        }
        TablesCommand::Show(args) => {
            let tables = wanted(config, &args.tables)?;
            show(config, connect::catalog(config, &stores).await?.as_ref(), &tables, args).await
        }
    }
}

/// The tables of all pipelines that run, or those of any pipeline that were named.
fn wanted<'a>(config: &'a Config, named: &[String]) -> Result<Vec<PipelineTable<'a>>> {
    let running = tables::of(config.enabled());
    if named.is_empty() {
        return Ok(running);
    }
    let known = tables::of(&config.pipelines);
    let find = |name: &String| {
        known.iter().find(|table| table.name == *name).cloned().ok_or_else(|| {
            let there: Vec<&str> = running.iter().map(|table| table.name).collect();
            Error::config(format!("no pipeline has a table {name}")).fix(format!("there are: {}", there.join(", ")))
        })
    };
    named.iter().map(find).collect()
}

/// Makes what is missing. A table that cannot be made or departs from its contract does not keep others from being made.
async fn create(
    config: &Config,
    catalog: &dyn Catalog,
    tables: &[PipelineTable<'_>],
    args: &TablesArgs,
) -> Result<ExitCode> {
    let mut grid = Grid::new(&["table", "result"]);
    let mut failed: Option<Error> = None;
    for table in tables {
        let ident = connect::ident(config, table.name)?;
        let made = async {
            let there = catalog.load(&ident).await?.is_some();
            table.role.contract().open(catalog, &ident, true).await?;
            Ok(if there { "was there" } else { "created" })
        };
        match made.await {
            Ok(result) => grid.push(vec![json!(ident.to_string()), json!(result)]),
            Err(error) => {
                grid.push(vec![json!(ident.to_string()), json!("failed")]);
                if let Some(earlier) = failed.replace(error) {
                    // only one can be the command's; the others are told here
                    exit::tell(&earlier);
                }
            }
        }
    }
    grid.print(args.format)?;
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Shows what is there.
async fn show(
    config: &Config,
    catalog: &dyn Catalog,
    tables: &[PipelineTable<'_>],
    args: &TablesArgs,
) -> Result<ExitCode> {
    let columns = ["table", "rows", "files", "bytes", "snapshots", "partitioned_by", "location", "problems"];
    let mut grid = Grid::new(&columns);
    for table in tables {
        let ident = connect::ident(config, table.name)?;
        let mut row = vec![json!(ident.to_string())];
        match catalog.load(&ident).await? {
            Some(loaded) => row.extend(facts(loaded.metadata(), table.role)),
            None => {
                row.extend(std::iter::repeat_n(Value::Null, columns.len() - 2));
                row.push(json!(["does not exist; make it with `k2 tables create`"]));
            }
        }
        grid.push(row);
    }
    grid.print(args.format)?;
    Ok(ExitCode::SUCCESS)
}

/// What a table's metadata say: rows, files, bytes, snapshots, partitioning, location, problems.
fn facts(table: &TableMetadata, role: Role) -> Vec<Value> {
    // a table without a snapshot has none of anything; a writer that keeps no totals leaves them unknown
    let total = |name: &str| match table.current_snapshot() {
        None => json!(0),
        Some(snapshot) => {
            let text = snapshot.summary().additional_properties.get(name);
            text.and_then(|t| t.parse::<u64>().ok()).map_or(Value::Null, |n| json!(n))
        }
    };
    vec![
        total("total-records"),
        total("total-data-files"),
        total("total-files-size"),
        json!(table.snapshots().len()),
        json!(partitioning(table)),
        json!(table.location()),
        json!(role.contract().departures(table)),
    ]
}

/// The partition spec as SQL would write it: `day(ingestion_date)`.
fn partitioning(table: &TableMetadata) -> String {
    let schema = table.current_schema();
    let fields = table.default_partition_spec().fields().iter().map(|field| {
        let column = schema.name_by_field_id(field.source_id).unwrap_or(&field.name);
        format!("{}({column})", field.transform)
    });
    fields.collect::<Vec<_>>().join(", ")
}
