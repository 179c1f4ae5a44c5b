#![allow(clippy::unwrap_used)]

use super::*;
use crate::fixture::{Lake, Rows};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;

/// The offsets that a task yields.
async fn offsets(table: &Table, task: FileScanTask) -> Vec<i64> {
    let reader = table.reader_builder().with_data_file_concurrency_limit(1).build();
    let batches = reader.read(stream::iter([Ok(task)]).boxed()).unwrap().stream();
    let batches: Vec<RecordBatch> = batches.try_collect().await.unwrap();
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test]
async fn every_row_group_belongs_to_one_piece() {
    let lake = Lake::new().await;
    lake.with_trades().await;
    lake.append("trades", &[Rows { partition: 2, offsets: 0..50, day: 0 }]).await;
    let table = lake.table("trades").await;
    let field = table.metadata().current_schema().field_by_name("offset").unwrap().id;
    let scan = table.scan().select(["offset"]).build().unwrap();
    let tasks: Vec<FileScanTask> = scan.plan_files().await.unwrap().try_collect().await.unwrap();
    let task = tasks.into_iter().find(|task| task.record_count == Some(50)).unwrap();
    assert_eq!(task.project_field_ids, [field]);
    for most in [1_000, 1_500, 3_333, 1 << 20] {
        let pieces = cut(task.clone(), most);
        assert!(pieces.iter().all(|piece| piece.length <= most));
        let mut seen = Vec::new();
        for piece in pieces {
            seen.extend(offsets(&table, piece).await);
        }
        assert_eq!(seen, (0..50).collect::<Vec<_>>(), "pieces of {most} bytes");
    }
}

#[tokio::test]
async fn files_are_dealt_out_evenly() {
    let lake = Lake::new().await;
    lake.with_trades().await;
    let table = lake.table("trades").await;
    let scan = table.scan().build().unwrap();
    let tasks: Vec<FileScanTask> = scan.plan_files().await.unwrap().try_collect().await.unwrap();
    assert_eq!(tasks.len(), 4);
    let shares = deal(tasks.clone(), 2);
    assert_eq!(shares.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    let mut large = tasks[0].clone();
    large.file_size_in_bytes = 4 * SMALLEST_PIECE + 1;
    let shares = deal(vec![large], 2);
    let bytes: Vec<u64> = shares.iter().map(|share| share.iter().map(|piece| piece.length).sum()).collect();
    assert_eq!(bytes.iter().sum::<u64>(), 4 * SMALLEST_PIECE + 1);
    assert!(bytes.iter().all(|bytes| *bytes >= 2 * SMALLEST_PIECE), "{bytes:?}");
    assert_eq!(deal(Vec::new(), 3).len(), 3);
}
