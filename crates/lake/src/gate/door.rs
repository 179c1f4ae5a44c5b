//! A table behind its catalog: what every way to look at it before changing it has in common.

use crate::catalog::Catalog;
use crate::decision::Head;
use iceberg::TableIdent;
use iceberg::spec::DataFile;
use iceberg::table::Table;
use k2_model::patience::Patience;
use k2_model::{Class, Error, Result, SourceId, SourceState};
use std::sync::Arc;

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) ident: TableIdent,
}

impl Door {
    /// The table as it is now; waits for the catalog as long as it takes.
    pub(super) async fn load(&self, patience: &mut Patience) -> Result<Table> {
        loop {
            match self.catalog.load(&self.ident).await {
                Ok(Some(table)) => return Ok(table),
                Ok(None) => {
                    return Err(Error::halt("the table is gone")
                        .at(self.place())
                        .fix("if it was dropped on purpose, restart K2: it makes a new table and starts over"));
                }
                Err(e) if matches!(e.class(), Class::Retry | Class::Unknown) => {
                    patience.wait(&e.at(self.place())).await
                }
                Err(e) => return Err(e.at(self.place())),
            }
        }
    }

    /// The head of the table and a source's position in it, read afresh. Fails if the table was rolled back.
    pub(super) async fn head(&self, source: &SourceId) -> Result<(Table, Option<SourceState>)> {
        let mut patience = Patience::new(format!("load table {}", self.ident));
        let table = self.load(&mut patience).await?;
        patience.over();
        let head = self.facts(&table, source)?;
        head.check_lineage().map_err(|e| e.at(self.place()))?;
        Ok((table, head.state))
    }

    /// What a decision about a source needs to know of the table.
    pub(super) fn facts(&self, table: &Table, source: &SourceId) -> Result<Head> {
        Head::of(table.metadata(), source).map_err(|e| e.at(self.place()))
    }

    pub(super) fn place(&self) -> String {
        format!("table {}", self.ident)
    }
}

/// The first of some staged files that is not there any more.
pub(super) async fn first_missing<'a>(
    table: &Table,
    files: impl IntoIterator<Item = &'a DataFile>,
) -> Result<Option<&'a DataFile>> {
    for file in files {
        let there = table.file_io().exists(file.file_path()).await;
        if !there.map_err(|e| Error::retry("cannot look for a staged file").caused_by(e))? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}
