#![allow(clippy::unwrap_used)]

use super::*;
use crate::fixture::{Lake, trades_schema};
use iceberg::spec::{PrimitiveType, Type};
use iceberg::transaction::{AddColumn, ApplyTransactionAction, Transaction};

#[tokio::test]
async fn rows_are_counted_from_the_manifest_list() {
    let lake = Lake::new().await;
    let snapshots = lake.with_trades().await;
    let table = lake.table("trades").await;
    let mut counted = Vec::new();
    for id in snapshots {
        counted.push(count_rows(&table, table.metadata().snapshot_by_id(id).unwrap()).await.unwrap());
    }
    assert_eq!(counted, [Some(10), Some(20), Some(35)]);
}

#[tokio::test]
async fn a_column_that_the_snapshot_lacks_is_not_pushed_down() {
    let lake = Lake::new().await;
    lake.create("t", trades_schema(), None).await;
    let before = DataTable::new(lake.table("t").await, None).unwrap();
    assert!(before.columns.contains_key("offset"), "an empty table has all columns");
    lake.append("t", &[crate::fixture::Rows { partition: 0, offsets: 0..3, day: 0 }]).await;
    let table = lake.table("t").await;
    let transaction = Transaction::new(&table);
    let added =
        transaction.update_schema().add_column(AddColumn::optional("venue", Type::Primitive(PrimitiveType::String)));
    added.apply(transaction).unwrap().commit(&lake.iceberg).await.unwrap();
    let after = DataTable::new(lake.table("t").await, None).unwrap();
    assert!(after.arrow_schema.field_with_name("venue").is_ok());
    assert!(!after.columns.contains_key("venue"));
    assert!(after.columns.contains_key("offset"));
}
