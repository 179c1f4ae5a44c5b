//! Tables and commits for the catalog tests.

use iceberg::spec::{
    ManifestListWriter, NestedField, Operation, PrimitiveType, Schema, Snapshot, SnapshotReference, SnapshotRetention,
    Summary, Transform, Type, UnboundPartitionSpec,
};
use iceberg::table::Table;
use iceberg::{NamespaceIdent, TableCreation, TableIdent, TableUpdate};
use k2_lake::catalog::MAIN;
use k2_model::clock;
use std::collections::HashMap;

pub(crate) fn ident(namespace: &str, name: &str) -> TableIdent {
    TableIdent::new(NamespaceIdent::new(namespace.into()), name.into())
}

pub(crate) fn trades(name: &str) -> TableCreation {
    let field = |id, name, kind| NestedField::required(id, name, Type::Primitive(kind)).into();
    let schema = Schema::builder()
        .with_fields([field(1, "offset", PrimitiveType::Long), field(2, "day", PrimitiveType::Date)])
        .build()
        .unwrap();
    let spec = UnboundPartitionSpec::builder().add_partition_field(2, "day_day", Transform::Day).unwrap().build();
    TableCreation::builder()
        .name(name.into())
        .schema(schema)
        .partition_spec(spec)
        .properties(HashMap::from([("owner".to_owned(), "k2".to_owned())]))
        .build()
}

pub(crate) fn position(table: &Table) -> Option<&str> {
    table.metadata().properties().get("k2.source.test").map(String::as_str)
}

/// The smallest commit that the gate ever makes: an empty snapshot and a property.
pub(crate) async fn pair(base: &Table, value: &str) -> Vec<TableUpdate> {
    let metadata = base.metadata();
    let id = i64::from(uuid::Uuid::new_v4().as_fields().0) + 1;
    let parent = metadata.current_snapshot_id();
    let sequence = metadata.next_sequence_number();
    let list = format!("{}/metadata/snap-{id}-{}.avro", metadata.location(), uuid::Uuid::new_v4());
    let output = base.file_io().new_output(&list).unwrap();
    ManifestListWriter::v2(output.writer().await.unwrap(), id, parent, sequence).close().await.unwrap();
    let summary = [("k2.batch-uuid", value), ("total-records", "0"), ("total-data-files", "0")];
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(parent)
        .with_sequence_number(sequence)
        .with_timestamp_ms(clock::now_millis().max(metadata.last_updated_ms()))
        .with_manifest_list(list)
        .with_schema_id(metadata.current_schema_id())
        .with_summary(Summary {
            operation: Operation::Append,
            additional_properties: summary.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        })
        .build();
    let reference = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
    vec![
        TableUpdate::AddSnapshot { snapshot },
        TableUpdate::SetSnapshotRef { ref_name: MAIN.into(), reference },
        TableUpdate::SetProperties { updates: HashMap::from([("k2.source.test".to_owned(), value.to_owned())]) },
    ]
}
