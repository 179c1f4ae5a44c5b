//! Catalog, tables by contract, and a warehouse that can be written to.

use super::{Finding, Tell};
use crate::config::{CatalogKind, Config, Pipeline};
use crate::connect;
use crate::tables::{self, PipelineTable};
use k2_lake::catalog::Catalog;
use k2_lake::store::{Stores, Warehouse};
use k2_model::Error;
use std::collections::BTreeSet;

/// Catalog, tables and warehouse.
pub(super) async fn lake(config: &Config, pipelines: &[&Pipeline], tell: Tell<'_>) {
    let stores = connect::stores(config);
    // a SQL catalog needs nothing of the warehouse to be opened, and the other way round
    let warehouse = match config.catalog.kind {
        CatalogKind::Sql => Some(Warehouse::parse(&config.catalog.warehouse).map(|w| w.location().to_owned())),
        CatalogKind::Rest => None,
    };
    let mut locations = BTreeSet::new();
    match connect::catalog(config, &stores).await {
        Err(error) => {
            tell(Finding::new("catalog", Err(error)));
            for table in tables::of(pipelines.iter().copied()) {
                tell(Finding::skipped(
                    format!("table {} of {}", table.name, table.pipelines.join(", ")),
                    "the catalog does not answer",
                ));
            }
        }
        Ok(catalog) => {
            tell(Finding::new(format!("catalog: {}", catalog.describe()), Ok(())));
            for table in tables::of(pipelines.iter().copied()) {
                let (finding, location) = of_table(config, catalog.as_ref(), &table).await;
                tell(finding);
                if let Some((stores, location)) = location {
                    // what lies in the SQL catalog's warehouse is tried with it
                    let apart = warehouse.as_ref().is_none_or(|w| w.as_ref().is_ok_and(|w| !location.starts_with(w)));
                    if apart && locations.insert(location.clone()) {
                        tell(of_store(config, &stores, &location).await);
                    }
                }
            }
            bronze_of_silver(config, catalog.as_ref(), pipelines, tell).await;
        }
    }
    match warehouse {
        Some(Ok(location)) => tell(of_store(config, &stores, &location).await),
        Some(Err(error)) => tell(Finding::new("warehouse", Err(error.at(config.origin("catalog.warehouse"))))),
        None if locations.is_empty() => {
            tell(Finding::skipped(
                "warehouse",
                "a REST catalog tells where it is once a table is there: `k2 tables create`",
            ));
        }
        None => {}
    }
}

/// A pipeline's table; and where it lies, with the stores to write there.
async fn of_table(
    config: &Config,
    catalog: &dyn Catalog,
    table: &PipelineTable<'_>,
) -> (Finding, Option<(Stores, String)>) {
    let what = format!("table {}.{} of {}", config.catalog.namespace, table.name, table.pipelines.join(", "));
    let first = table.pipelines.first().copied().unwrap_or_default();
    let at = config.origin(&format!("pipelines.{first}.{}", table.role.key()));
    let loaded = async {
        let ident = connect::ident(config, table.name)?;
        Ok((catalog.load(&ident).await?, ident))
    };
    match loaded.await {
        Err(error) => (Finding::new(what, Err::<(), _>(Error::at(error, at))), None),
        Ok((None, _)) if config.catalog.create_tables => {
            (Finding::new(format!("{what}: not there yet, run makes it"), Ok(())), None)
        }
        Ok((None, _)) => {
            let error = Error::config("the table does not exist").at(at);
            (
                Finding::new(
                    what,
                    Err(error.fix("make it with `k2 tables create`, or set catalog.create_tables = true")),
                ),
                None,
            )
        }
        Ok((Some(loaded), ident)) => {
            let departures = table.role.contract().departures(loaded.metadata());
            let location = Some((catalog.stores(&ident), loaded.metadata().location().to_owned()));
            if departures.is_empty() {
                return (Finding::new(format!("{what}: by contract"), Ok(())), location);
            }
            let error =
                Error::config(format!("the table does not follow its contract: {}", departures.join("; "))).at(at);
            let error = error.fix("change the table, or name another table in the pipeline");
            (Finding::new(what, Err(error)), location)
        }
    }
}

/// The bronze tables that silver pipelines name and nobody here fills: another process may, or it is a mistake.
async fn bronze_of_silver(config: &Config, catalog: &dyn Catalog, pipelines: &[&Pipeline], tell: Tell<'_>) {
    let filled = |table: &str| config.enabled().any(|p| p.silver().is_none() && p.table == table);
    for pipeline in pipelines {
        let Some(bronze) = pipeline.silver().map(|s| s.bronze.as_str()).filter(|b| !b.is_empty() && !filled(b)) else {
            continue;
        };
        let what = format!("bronze table {}.{bronze} of {}", config.catalog.namespace, pipeline.name);
        let loaded = async { catalog.load(&connect::ident(config, bronze)?).await };
        tell(match loaded.await {
            Ok(Some(_)) => Finding::new(format!("{what}: filled by another process"), Ok(())),
            Ok(None) => Finding::skipped(what, "it is not there, and no pipeline here fills it"),
            Err(error) => Finding::new(what, Err(error)),
        });
    }
}

/// A put, a get and a delete.
async fn of_store(config: &Config, stores: &Stores, location: &str) -> Finding {
    let result = stores.probe(location).await.map_err(|e| e.at(config.origin("catalog.warehouse")));
    Finding::new(format!("warehouse {location}: put, get and delete"), result)
}
