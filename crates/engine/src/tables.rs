//! The tables that pipelines write, and the contract of each.

use crate::config::{Pipeline, PipelineKind};
use k2_lake::contract::{self, TableContract};

/// What a pipeline writes into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Raw records.
    Bronze,
    /// Rows that have passed every rule.
    Silver,
    /// What has not.
    DeadLetters,
}

impl Role {
    /// What such a table must look like.
    pub fn contract(self) -> TableContract {
        match self {
            Self::Bronze => contract::bronze(),
            Self::Silver => contract::silver(),
            Self::DeadLetters => contract::dlq(),
        }
    }

    /// The pipeline's key that names it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Bronze | Self::Silver => "table",
            Self::DeadLetters => "dlq",
        }
    }
}

/// A table with those who write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineTable<'a> {
    /// Its name in the namespace.
    pub name: &'a str,
    /// What is in it.
    pub role: Role,
    /// Who writes it, by name.
    pub pipelines: Vec<&'a str>,
}

/// The tables of these pipelines, each once, in the order of the pipelines; dead letters at the end.
pub fn of<'a>(pipelines: impl IntoIterator<Item = &'a Pipeline>) -> Vec<PipelineTable<'a>> {
    let mut all: Vec<PipelineTable<'a>> = Vec::new();
    for pipeline in pipelines {
        let written = match &pipeline.kind {
            PipelineKind::Bronze => vec![(pipeline.table.as_str(), Role::Bronze)],
            PipelineKind::Silver(silver) => {
                vec![(pipeline.table.as_str(), Role::Silver), (silver.dlq.as_str(), Role::DeadLetters)]
            }
        };
        for (name, role) in written {
            match all.iter_mut().find(|table| table.name == name) {
                Some(table) => table.pipelines.push(&pipeline.name),
                None => all.push(PipelineTable { name, role, pipelines: vec![&pipeline.name] }),
            }
        }
    }
    // stable: within a role the order of the pipelines stays
    all.sort_by_key(|table| table.role);
    all
}
