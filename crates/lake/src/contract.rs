//! The tables by contract: names, types, partitioning and properties that the outside world relies on.
//!
//! A missing table is made as written here. A table that is there is compared by column *name*: extra optional columns
//! are fine, a missing or mistyped one is an error that names it. Data files are written with the field ids of the
//! table as it is, never with ours. `golden/*.json` pins the schemas.

use crate::catalog::Catalog;
use iceberg::spec::{
    FormatVersion, ListType, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, TableMetadata, Transform,
    Type, UnboundPartitionSpec,
};
use iceberg::table::Table;
use iceberg::{TableCreation, TableIdent};
use k2_model::{Error, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// What a table must look like.
#[derive(Debug, Clone)]
pub struct TableContract {
    /// The columns, in order; field ids count from 1.
    pub fields: Vec<NestedFieldRef>,
    /// The partition field: source column, transform and name.
    pub partition: (&'static str, Transform, &'static str),
    /// `write.target-file-size-bytes`.
    pub target_file_bytes: u64,
    /// What a table that is there may be partitioned by.
    pub partitioning: Partitioning,
}

/// What the partition value of a row follows from; a table may be partitioned by nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioning {
    /// The time of ingestion, the same for all rows of a batch ([`crate::files::partition_of`]).
    Ingestion,
    /// Columns of the row itself ([`crate::files::split`]).
    Columns,
}

/// Bronze: the raw Kafka records, byte for byte.
pub fn bronze() -> TableContract {
    use PrimitiveType::{Binary, Date, Int, Long, String, Timestamptz};
    let header = Type::Struct(StructType::new(vec![
        NestedField::required(12, "key", Type::Primitive(String)).into(),
        NestedField::optional(13, "value", Type::Primitive(Binary)).into(),
    ]));
    let headers = Type::List(ListType::new(NestedField::list_element(11, header, true).into()));
    TableContract {
        fields: vec![
            optional(1, "raw_bytes", Binary),
            required(2, "topic", String),
            required(3, "partition", Int),
            required(4, "offset", Long),
            optional(5, "kafka_timestamp", Timestamptz),
            required(6, "ingestion_timestamp", Timestamptz),
            required(7, "ingestion_date", Date),
            optional(8, "topic_id", String),
            optional(9, "key", Binary),
            NestedField::optional(10, "headers", headers).into(),
        ],
        partition: ("ingestion_date", Transform::Day, "ingestion_date_day"),
        target_file_bytes: 128 << 20,
        partitioning: Partitioning::Ingestion,
    }
}

/// Silver: trades in the unified form.
pub fn silver() -> TableContract {
    use PrimitiveType::{Date, Decimal, Int, Long, String, Timestamptz};
    let amount = Decimal { precision: 18, scale: 8 };
    let conditions = ListType::new(NestedField::list_element(23, Type::Primitive(String), true).into());
    TableContract {
        fields: vec![
            required(1, "message_id", String),
            required(2, "trade_id", String),
            required(3, "symbol", String),
            required(4, "exchange", String),
            required(5, "asset_class", String),
            required(6, "timestamp", Long),
            required(7, "price", amount.clone()),
            required(8, "quantity", amount),
            required(9, "currency", String),
            required(10, "side", String),
            NestedField::required(11, "trade_conditions", Type::List(conditions)).into(),
            optional(12, "source_sequence", Long),
            required(13, "ingestion_timestamp", Long),
            optional(14, "platform_sequence", Long),
            optional(15, "vendor_data", String),
            required(16, "validation_timestamp", Timestamptz),
            required(17, "bronze_ingestion_timestamp", Timestamptz),
            required(18, "schema_id", Int),
            required(19, "exchange_date", Date),
            required(20, "kafka_topic", String),
            required(21, "kafka_partition", Int),
            required(22, "kafka_offset", Long),
        ],
        // by the trade's own day: a replay lands where the live row would
        partition: ("exchange_date", Transform::Identity, "exchange_date"),
        target_file_bytes: 128 << 20,
        partitioning: Partitioning::Columns,
    }
}

/// The dead letter queue: what silver rejects, of all pipelines, with the reason and the whole record.
pub fn dlq() -> TableContract {
    use PrimitiveType::{Binary, Date, Int, Long, String, Timestamptz};
    TableContract {
        fields: vec![
            optional(1, "raw_record", Binary),
            required(2, "error_reason", String),
            required(3, "error_type", String),
            required(4, "error_timestamp", Timestamptz),
            required(5, "bronze_source", String),
            required(6, "kafka_offset", Long),
            optional(7, "schema_id", Int),
            required(8, "dlq_date", Date),
            required(9, "message_id", String),
            required(10, "kafka_topic", String),
            required(11, "kafka_partition", Int),
            optional(12, "kafka_timestamp", Timestamptz),
            optional(13, "key", Binary),
            optional(14, "error_detail", String),
            required(15, "rules_version", String),
            required(16, "status", String),
            required(17, "ingestion_timestamp", Timestamptz),
        ],
        partition: ("dlq_date", Transform::Day, "dlq_date_day"),
        target_file_bytes: 32 << 20,
        partitioning: Partitioning::Columns,
    }
}

fn required(id: i32, name: &str, kind: PrimitiveType) -> NestedFieldRef {
    NestedField::required(id, name, Type::Primitive(kind)).into()
}

fn optional(id: i32, name: &str, kind: PrimitiveType) -> NestedFieldRef {
    NestedField::optional(id, name, Type::Primitive(kind)).into()
}

/// The columns that are the same for all rows of a bronze batch.
const INGESTION_COLUMNS: [&str; 2] = ["ingestion_date", "ingestion_timestamp"];

/// Where a table that is there departs from its contract; each line names a column or setting.
pub type Departures = Vec<String>;

impl TableContract {
    fn schema(&self) -> Result<Schema> {
        Schema::builder().with_fields(self.fields.clone()).build().map_err(broken)
    }

    /// What to ask a catalog for when the table is missing.
    pub fn creation(&self, name: &str) -> Result<TableCreation> {
        let schema = self.schema()?;
        let (column, transform, field) = self.partition;
        let source = schema.field_id_by_name(column).ok_or_else(|| broken(column))?;
        let spec = UnboundPartitionSpec::builder()
            .with_spec_id(0)
            .add_partition_field(source, field, transform)
            .map_err(broken)?
            .build();
        let properties = [
            ("write.format.default", "parquet".to_owned()),
            ("write.parquet.compression-codec", "zstd".to_owned()),
            ("write.parquet.compression-level", "1".to_owned()),
            ("write.parquet.row-group-size-bytes", (16 << 20).to_string()),
            ("write.target-file-size-bytes", self.target_file_bytes.to_string()),
            ("write.metadata.delete-after-commit.enabled", "true".to_owned()),
            ("write.metadata.previous-versions-max", "5".to_owned()),
            ("history.expire.max-snapshot-age-ms", (7 * 86_400_000_i64).to_string()),
            ("history.expire.min-snapshots-to-keep", "100".to_owned()),
        ];
        Ok(TableCreation::builder()
            .name(name.to_owned())
            .schema(schema)
            .partition_spec(spec)
            .format_version(FormatVersion::V2)
            .properties(properties.map(|(k, v)| (k.to_owned(), v)))
            .build())
    }

    /// Compares a table with the contract.
    pub fn departures(&self, table: &TableMetadata) -> Departures {
        let schema = table.current_schema();
        let mut found = Departures::new();
        for want in &self.fields {
            let Some(have) = schema.field_by_name(&want.name) else {
                found.push(format!("column {} ({}) is missing", want.name, type_name(&want.field_type)));
                continue;
            };
            if !same_type(&want.field_type, &have.field_type) {
                let (want_type, have_type) = (type_name(&want.field_type), type_name(&have.field_type));
                found.push(format!("column {} is {have_type}, must be {want_type}", want.name));
            } else if have.required && !want.required {
                found.push(format!("column {} is required, must allow null", want.name));
            }
        }
        for have in schema.as_struct().fields() {
            if have.required && !self.fields.iter().any(|f| f.name == have.name) {
                found.push(format!("column {} is required, but K2 does not know it", have.name));
            }
        }
        if table.format_version() != FormatVersion::V2 {
            found.push(format!("format version is {}, must be v2", table.format_version()));
        }
        found.extend(self.stray_partitions(table));
        found
    }

    /// Partition fields that do not follow from what the contract says they follow from.
    fn stray_partitions(&self, table: &TableMetadata) -> Departures {
        let schema = table.current_schema();
        let fields = table.default_partition_spec().fields().iter().filter_map(|field| {
            let column = schema.field_by_id(field.source_id).map(|f| f.name.as_str());
            let written = column.is_some_and(|c| self.fields.iter().any(|f| f.name == c));
            match self.partitioning {
                Partitioning::Ingestion if column.is_some_and(|c| INGESTION_COLUMNS.contains(&c)) => None,
                Partitioning::Ingestion => Some(format!(
                    "partition field {} does not follow from {}",
                    field.name,
                    INGESTION_COLUMNS.join(" or ")
                )),
                // what a dropped column leaves in the spec
                Partitioning::Columns if field.transform == Transform::Void => None,
                Partitioning::Columns if field.transform == Transform::Unknown => {
                    Some(format!("partition field {} has a transform that K2 does not know", field.name))
                }
                Partitioning::Columns if written => None,
                Partitioning::Columns => Some(format!(
                    "partition field {} follows from column {}, which K2 does not write",
                    field.name,
                    column.map_or_else(|| field.source_id.to_string(), str::to_owned)
                )),
            }
        });
        fields.collect()
    }

    /// Loads the table and checks it; makes namespace and table first if `create`.
    pub async fn open(&self, catalog: &dyn Catalog, ident: &TableIdent, create: bool) -> Result<Table> {
        let place = || format!("table {ident}");
        let namespace = ident.namespace().to_url_string();
        let table = match catalog.load(ident).await.map_err(|e| e.at(place()))? {
            Some(table) => table,
            None if create => {
                catalog.ensure_namespace(&namespace).await.map_err(|e| e.at(place()))?;
                catalog.create(&namespace, self.creation(ident.name())?).await.map_err(|e| e.at(place()))?
            }
            None => {
                return Err(Error::config("the table does not exist")
                    .at(place())
                    .at(catalog.describe())
                    .fix("create it with `k2 tables create`, or set catalog.create_tables = true"));
            }
        };
        let departures = self.departures(table.metadata());
        if departures.is_empty() {
            return Ok(table);
        }
        Err(Error::config(format!("the table does not follow its contract: {}", departures.join("; ")))
            .at(place())
            .fix("change the table (ALTER TABLE … ADD COLUMN / ALTER COLUMN), or name another table in the pipeline"))
    }
}

fn broken(e: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::unknown("a table contract of this binary is broken").caused_by(e)
}

/// Same type, nested names included; field ids and docs don't matter, and an optional part may be required by us.
fn same_type(want: &Type, have: &Type) -> bool {
    match (want, have) {
        (Type::Primitive(a), Type::Primitive(b)) => a == b,
        (Type::List(a), Type::List(b)) => same_type(&a.element_field.field_type, &b.element_field.field_type),
        (Type::Struct(a), Type::Struct(b)) => {
            a.fields().len() == b.fields().len()
                && a.fields().iter().zip(b.fields()).all(|(a, b)| {
                    a.name == b.name && same_type(&a.field_type, &b.field_type) && (a.required || !b.required)
                })
        }
        _ => false,
    }
}

fn type_name(t: &Type) -> Arc<str> {
    match t {
        Type::Primitive(p) => p.to_string().into(),
        Type::List(list) => format!("list<{}>", type_name(&list.element_field.field_type)).into(),
        Type::Struct(s) => {
            let fields: Vec<_> =
                s.fields().iter().map(|f| format!("{}: {}", f.name, type_name(&f.field_type))).collect();
            format!("struct<{}>", fields.join(", ")).into()
        }
        Type::Map(_) => "map".into(),
    }
}

/// The properties of a table as a plain map, for those who map settings from them.
pub(crate) fn property<T: std::str::FromStr>(properties: &HashMap<String, String>, key: &str, default: T) -> T {
    properties.get(key).and_then(|v| v.trim().parse().ok()).unwrap_or(default)
}

#[cfg(test)]
#[path = "contract/tests.rs"]
mod tests;
