//! The bodies of the REST protocol, as far as they concern us.

use iceberg::spec::{FormatVersion, Schema, SortOrder, TableMetadata, UnboundPartitionSpec};
use iceberg::{TableCreation, TableIdent, TableRequirement, TableUpdate};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;

#[derive(Deserialize)]
pub(super) struct ConfigAnswer {
    #[serde(default)]
    pub(super) defaults: HashMap<String, Value>,
    #[serde(default)]
    pub(super) overrides: HashMap<String, Value>,
}

/// Properties are texts; some servers send numbers, booleans or nulls.
pub(super) fn texts(properties: HashMap<String, Value>) -> impl Iterator<Item = (String, String)> {
    properties.into_iter().filter_map(|(key, value)| match value {
        Value::Null => None,
        Value::String(text) => Some((key, text)),
        other => Some((key, other.to_string())),
    })
}

#[derive(Serialize)]
pub(super) struct CreateNamespace<'a> {
    pub(super) namespace: &'a [String],
    pub(super) properties: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct NamespaceNames {
    #[serde(default)]
    pub(super) identifiers: Vec<TableIdent>,
    #[serde(default)]
    pub(super) next_page_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CreateTable {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    schema: Schema,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_spec: Option<UnboundPartitionSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_order: Option<SortOrder>,
    stage_create: bool,
    properties: HashMap<String, String>,
}

impl CreateTable {
    /// Some catalogs (Nessie) want the ids of partition fields, which iceberg leaves out: they are as bound here.
    pub(super) fn of(creation: TableCreation) -> iceberg::Result<Self> {
        let partition_spec = match creation.partition_spec {
            Some(spec) => Some(spec.with_spec_id(0).bind(creation.schema.clone())?.into_unbound()),
            None => None,
        };
        let version = match creation.format_version {
            FormatVersion::V1 => "1",
            FormatVersion::V2 => "2",
            FormatVersion::V3 => "3",
        };
        let mut properties = creation.properties;
        properties.insert("format-version".into(), version.into());
        Ok(Self {
            name: creation.name,
            location: creation.location,
            schema: creation.schema,
            partition_spec,
            write_order: creation.sort_order,
            stage_create: false,
            properties,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LoadedTable {
    #[serde(default)]
    pub(super) metadata_location: Option<String>,
    pub(super) metadata: TableMetadata,
    #[serde(default)]
    config: Option<HashMap<String, Value>>,
    #[serde(default)]
    storage_credentials: Option<Vec<StorageCredential>>,
}

#[derive(Deserialize)]
struct StorageCredential {
    prefix: String,
    #[serde(default)]
    config: HashMap<String, Value>,
}

impl LoadedTable {
    /// The table's own properties for reaching its files: `config`, and above it the credential with the longest
    /// prefix that fits the table's location.
    pub(super) fn keys(&self) -> HashMap<String, String> {
        let location = self.metadata.location();
        let credentials = self.storage_credentials.iter().flatten();
        let fitting = credentials.filter(|c| location.starts_with(&c.prefix)).max_by_key(|c| c.prefix.len());
        let mut keys: HashMap<_, _> = texts(self.config.clone().unwrap_or_default()).collect();
        keys.extend(fitting.into_iter().flat_map(|c| texts(c.config.clone())));
        keys
    }
}

#[derive(Serialize)]
pub(super) struct CommitTable<'a> {
    pub(super) identifier: &'a TableIdent,
    pub(super) requirements: Vec<TableRequirement>,
    pub(super) updates: Vec<TableUpdate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CommittedTable {
    #[serde(default)]
    pub(super) metadata_location: Option<String>,
    pub(super) metadata: TableMetadata,
}

/// Every answer that is no success should have this body.
#[derive(Deserialize)]
pub(super) struct ErrorAnswer {
    pub(super) error: ErrorBody,
}

#[derive(Deserialize)]
pub(super) struct ErrorBody {
    #[serde(default)]
    pub(super) message: Option<String>,
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
}
