//! What the tables hold at the moment, read from their metadata in the catalog - the way any other reader would.
//!
//! A look that fails changes nothing: the engine may be making the table just now, or have deleted the metadata file that
//! was about to be read. The next look comes a moment later.

use super::Part;
use super::folder::Folder;
use crate::generator::producer::Ledger;
use iceberg::table::Table;
use k2_engine::config::{Config, Sources};
use k2_engine::connect;
use k2_lake::catalog::Catalog;
use k2_lake::store::Stores;
use k2_model::{Error, NextOffset, Partition, Result, SourceId, SourceState};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The state of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TableState {
    /// Rows in the current snapshot.
    pub(super) rows: u64,
    /// Data files in the current snapshot.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Commits so far.
    pub(super) commits: u64,
    /// Per partition of the topic.
    pub(super) next_offsets: BTreeMap<Partition, NextOffset>,
}

/// Ledger and tables of one exchange, side by side.
#[derive(Debug, Clone)]
pub(super) struct Observed {
    /// The exchange.
    pub(super) name: &'static str,
    /// Records that the broker acknowledged.
    pub(super) delivered: u64,
    /// Offsets acknowledged that the position of one of the tables has not reached. Not «delivered − rows»: a row that is lost or
    /// doubled must not look like lag, the report is to find it.
    pub(super) lag: u64,
    /// Rows in the bronze table.
    pub(super) bronze: u64,
    /// Rows in the silver table.
    pub(super) silver: u64,
    /// Data files of both.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Commits.
    pub(super) commits: u64,
    /// Whether the feed waits for the engine.
    pub(super) held_back: bool,
}

impl Observed {
    /// Puts them side by side.
    pub(super) fn new(part: &Part, ledger: &Ledger, bronze: &TableState, silver: &TableState, held_back: bool) -> Self {
        let position = |number: i32| {
            let of = |table: &TableState| table.next_offsets.get(&Partition(number)).map_or(0, |next| next.0);
            of(bronze).min(of(silver))
        };
        let behind = (0i32..).zip(ledger.partitions()).map(|(number, p)| p.next_offset() - position(number));
        Self {
            name: part.exchange.name(),
            delivered: ledger.records(),
            // the report of a delivery may arrive after its commit
            lag: behind.filter_map(|offsets| u64::try_from(offsets).ok()).sum(),
            bronze: bronze.rows,
            silver: silver.rows,
            files: bronze.files + silver.files,
            bytes: bronze.bytes + silver.bytes,
            commits: bronze.commits + silver.commits,
            held_back,
        }
    }
}

/// The demo's tables, seen through the catalog.
pub(super) struct Tables {
    config: Config,
    stores: Stores,
    catalog: Option<Arc<dyn Catalog>>,
    last: BTreeMap<&'static str, TableState>,
    names: Vec<&'static str>,
}

impl Tables {
    /// Reads the configuration; the catalog is opened once the engine has made it.
    pub(super) fn new(folder: &Folder, parts: &[Part]) -> Result<Self> {
        let path = folder.config();
        let text =
            std::fs::read_to_string(&path).map_err(|e| super::failed("cannot read the demo's configuration", e))?;
        // the file alone: what the environment says is for the user's own K2
        let sources = Sources { file: Some((path.display().to_string(), text)), ..Sources::default() };
        let config = Config::load(&sources).map_err(Error::from)?;
        let stores = connect::stores(&config);
        Ok(Self {
            config,
            stores,
            catalog: None,
            last: BTreeMap::new(),
            names: parts.iter().map(|p| p.table).collect(),
        })
    }

    /// The state of a table as it is now; as it was last seen if it cannot be read just now.
    pub(super) async fn look(&mut self, name: &'static str, group: &str) -> TableState {
        if let Ok(Some(table)) = self.load(name).await
            && let Ok(state) = state_of(&table, group)
        {
            self.last.insert(name, state);
        }
        self.last.get(name).cloned().unwrap_or_default()
    }

    /// Where each table's current metadata file lies.
    pub(super) async fn metadata_locations(&mut self) -> Result<Vec<String>> {
        let mut locations = Vec::new();
        for name in self.names.clone() {
            let table =
                self.load(name).await?.ok_or_else(|| Error::unknown("the table is not in the catalog").at(name))?;
            locations.push(table.metadata_location_result().map_err(|e| super::failed("no metadata", e))?.to_owned());
        }
        Ok(locations)
    }

    async fn load(&mut self, name: &str) -> Result<Option<Table>> {
        let catalog = match &self.catalog {
            Some(catalog) => Arc::clone(catalog),
            None => Arc::clone(self.catalog.insert(connect::catalog(&self.config, &self.stores).await?)),
        };
        catalog.load(&connect::ident(&self.config, name)?).await
    }
}

fn state_of(table: &Table, group: &str) -> Result<TableState> {
    let metadata = table.metadata();
    let Some(head) = metadata.current_snapshot() else { return Ok(TableState::default()) };
    let total = |name: &str| {
        let told = head.summary().additional_properties.get(name).and_then(|v| v.parse().ok());
        told.ok_or_else(|| Error::unknown(format!("the snapshot's summary lacks {name}")))
    };
    let key = SourceId::new(group).property_key();
    let mut next_offsets = BTreeMap::new();
    if let Some(property) = metadata.properties().get(&key) {
        for topic in SourceState::parse(&key, property)?.topics.into_values() {
            next_offsets.extend(topic.partitions.into_iter().map(|(partition, position)| (partition, position.next)));
        }
    }
    Ok(TableState {
        rows: total("total-records")?,
        files: total("total-data-files")?,
        bytes: total("total-files-size")?,
        commits: u64::try_from(metadata.snapshots().count()).unwrap_or(u64::MAX),
        next_offsets,
    })
}

#[cfg(test)]
#[path = "progress/tests.rs"]
mod tests;
