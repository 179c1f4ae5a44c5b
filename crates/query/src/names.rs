//! What a table's name in SQL can stand for, and how that is written inside one identifier.
//!
//! DataFusion's names have at most three parts. Everything that is more than a plain table - a metadata table, a table
//! as of a snapshot - is therefore carried in the last part, in a form that may also be typed by hand:
//! `"t$files"`, `"t$at_4711"`, `"t$files$at_4711"`.

use std::fmt;

/// A metadata table, by Iceberg's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MetadataTable {
    /// Every snapshot that the table still knows.
    Snapshots,
    /// Which snapshot was current from when on.
    History,
    /// Branches and tags.
    Refs,
    /// The metadata files that led here.
    MetadataLogEntries,
    /// Live files, of data and of deletes.
    Files,
    /// Live data files.
    DataFiles,
    /// Live delete files.
    DeleteFiles,
    /// The manifests of a snapshot.
    Manifests,
    /// What the manifests say: added, existing and deleted files.
    Entries,
    /// Totals per partition.
    Partitions,
}

impl MetadataTable {
    /// All of them, in the order in which they are listed to a user.
    pub(crate) const ALL: [(&'static str, Self); 10] = [
        ("snapshots", Self::Snapshots),
        ("history", Self::History),
        ("refs", Self::Refs),
        ("metadata_log_entries", Self::MetadataLogEntries),
        ("files", Self::Files),
        ("data_files", Self::DataFiles),
        ("delete_files", Self::DeleteFiles),
        ("manifests", Self::Manifests),
        ("entries", Self::Entries),
        ("partitions", Self::Partitions),
    ];

    /// The one of this name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, table)| *table)
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, table)| *table == self).map_or("", |(name, _)| name)
    }

    /// The names of all, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }
}

/// What the last part of a name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// The table in the catalog.
    pub(crate) table: String,
    /// One of its metadata tables instead of its rows.
    pub(crate) metadata: Option<MetadataTable>,
    /// As of this snapshot instead of the current one.
    pub(crate) snapshot: Option<i64>,
}

/// Opens the part of a name that says "as of this snapshot".
const AT: &str = "$at_";

impl Target {
    /// Reads an identifier. What is none of ours is a table's plain name: a `$` may be part of it.
    pub(crate) fn parse(name: &str) -> Self {
        let (rest, snapshot) = match name.rsplit_once(AT) {
            Some((rest, id)) if !rest.is_empty() => match id.parse() {
                Ok(id) => (rest, Some(id)),
                Err(_) => (name, None),
            },
            _ => (name, None),
        };
        match rest.rsplit_once('$') {
            Some((table, metadata)) if !table.is_empty() => match MetadataTable::by_name(metadata) {
                Some(metadata) => Self { table: table.to_owned(), metadata: Some(metadata), snapshot },
                None => Self { table: rest.to_owned(), metadata: None, snapshot },
            },
            _ => Self { table: rest.to_owned(), metadata: None, snapshot },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table)?;
        if let Some(metadata) = self.metadata {
            write!(f, "${}", metadata.name())?;
        }
        if let Some(snapshot) = self.snapshot {
            write!(f, "{AT}{snapshot}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_and_what_it_stands_for() {
        let snapshots = Some(MetadataTable::Snapshots);
        for (name, table, metadata, snapshot) in [
            ("t", "t", None, None),
            ("t$snapshots", "t", snapshots, None),
            ("t$at_42", "t", None, Some(42)),
            ("t$snapshots$at_42", "t", snapshots, Some(42)),
            ("a$b", "a$b", None, None),
            ("a$b$snapshots", "a$b", snapshots, None),
            ("t$at_x", "t$at_x", None, None),
            ("$snapshots", "$snapshots", None, None),
        ] {
            let target = Target::parse(name);
            assert_eq!(target, Target { table: table.into(), metadata, snapshot }, "{name}");
            assert_eq!(target.to_string(), name);
        }
    }
}
