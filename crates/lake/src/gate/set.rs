//! Moving a position by a person's decision (`k2 offsets set`, `reset`, `accept-loss`).
//!
//! As every commit: a snapshot, here an empty one, and the property, pinned to the head that was looked at. The snapshot's
//! summary tells what was moved ([`MOVED`]), so that `k2 verify` can tell a decision from a fault. A pipeline that runs
//! meanwhile is fenced at its next commit and goes on from the new position.

use super::Gate;
use crate::catalog::CommitFailure;
use crate::snapshot;
use iceberg::TableUpdate;
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use k2_model::patience::Patience;
use k2_model::{Error, Result, SnapshotId, SourceState};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The key of a snapshot's summary under which moves by hand are told: `{"topic/partition": [before, after]}`, null for no
/// position.
pub const MOVED: &str = "k2.moved";

/// Positions before and after, by `topic/partition`; only what changes.
pub type Moves = BTreeMap<String, (Option<i64>, Option<i64>)>;

/// How long a command tries.
const BOUND: Duration = Duration::from_secs(60);

impl Gate {
    /// The table and the position as they are, however the history runs. `replace_broken`: a property that cannot be read
    /// counts as none, unless a newer K2 wrote it.
    pub async fn position(&self, replace_broken: bool) -> Result<(Table, Option<SourceState>)> {
        let mut patience = Patience::new(format!("load table {}", self.door.ident));
        let table = tokio::time::timeout(BOUND, self.door.load(&mut patience)).await;
        let table = table.map_err(|_| Error::retry("the catalog does not answer").at(self.place()))??;
        let state = self.stands(table.metadata(), replace_broken)?;
        Ok((table, state))
    }

    /// Replaces the position by what `change` makes of it; none takes it away. Returns what has moved.
    pub async fn set_position(
        &self,
        replace_broken: bool,
        change: impl Fn(&TableMetadata, Option<SourceState>) -> Result<Option<SourceState>>,
    ) -> Result<Moves> {
        let attempts = self.try_to_set(replace_broken, change);
        let late = |_| Error::unknown("no answer from the catalog: the position may have been moved").at(self.place());
        tokio::time::timeout(BOUND, attempts).await.map_err(late)?
    }

    async fn try_to_set(
        &self,
        replace_broken: bool,
        change: impl Fn(&TableMetadata, Option<SourceState>) -> Result<Option<SourceState>>,
    ) -> Result<Moves> {
        let mut patience = Patience::new(format!("set the position of table {}", self.door.ident));
        let mut tried: Vec<(SnapshotId, Moves)> = Vec::new();
        loop {
            let table = self.door.load(&mut patience).await?;
            let metadata = table.metadata();
            if let Some((_, moves)) = tried.iter().find(|(id, _)| metadata.snapshot_by_id(id.0).is_some()) {
                return Ok(moves.clone());
            }
            let before = self.stands(metadata, replace_broken)?;
            let after = change(metadata, before.clone())?;
            let moves = moves(before.as_ref(), after.as_ref());
            let id = snapshot::fresh_id(metadata);
            let told = serde_json::to_string(&moves)
                .map_err(|e| Error::unknown("cannot write what was moved").caused_by(e))?;
            let summary = BTreeMap::from([("k2.source".to_owned(), self.source.to_string()), (MOVED.to_owned(), told)]);
            let key = self.source.property_key();
            let property = match after {
                Some(state) => {
                    let state = SourceState { snapshot: snapshot::sink_snapshot(metadata, id), ..state };
                    TableUpdate::SetProperties { updates: HashMap::from([(key, state.to_json()?)]) }
                }
                None => TableUpdate::RemoveProperties { removals: vec![key] },
            };
            let mut updates = snapshot::append(&table, id, &[], summary).await.map_err(|e| e.at(self.place()))?;
            updates.insert(0, property);
            tried.push((id, moves.clone()));
            match self.door.catalog.commit(&table, updates).await {
                Ok(_) => return Ok(moves),
                Err(CommitFailure::Refused(e)) => return Err(e.at(self.place())),
                Err(failure) => patience.wait(&failure.into_error().at(self.place())).await,
            }
        }
    }

    fn stands(&self, metadata: &TableMetadata, replace_broken: bool) -> Result<Option<SourceState>> {
        let key = self.source.property_key();
        let Some(text) = metadata.properties().get(&key) else { return Ok(None) };
        match SourceState::parse(&key, text) {
            Err(_) if replace_broken && !is_of_another_version(text) => Ok(None),
            other => other.map(Some).map_err(|e| e.at(self.place())),
        }
    }
}

fn is_of_another_version(text: &str) -> bool {
    let parsed: Option<serde_json::Value> = serde_json::from_str(text).ok();
    parsed.and_then(|v| v.get("version")?.as_u64()).is_some_and(|v| v != u64::from(k2_model::position::VERSION))
}

/// What differs between two positions.
pub fn moves(before: Option<&SourceState>, after: Option<&SourceState>) -> Moves {
    let flat = |state: Option<&SourceState>| -> BTreeMap<String, i64> {
        let topics = state.into_iter().flat_map(|s| &s.topics);
        topics.flat_map(|(t, at)| at.partitions.iter().map(move |(p, at)| (format!("{t}/{p}"), at.next.0))).collect()
    };
    let (before, after) = (flat(before), flat(after));
    let mut moves = Moves::new();
    for place in before.keys().chain(after.keys()) {
        let (from, to) = (before.get(place).copied(), after.get(place).copied());
        if from != to {
            moves.insert(place.clone(), (from, to));
        }
    }
    moves
}

#[cfg(test)]
#[path = "set/tests.rs"]
mod tests;
