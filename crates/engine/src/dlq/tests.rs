#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::config::{Config, Sources};
use crate::connect;
use k2_model::BatchId;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;

/// The way to a task that is gone.
async fn orphan(folder: &std::path::Path) -> DlqClient {
    let text = format!("[catalog]\nuri = \"sqlite:{0}/catalog.db\"\nwarehouse = \"{0}/warehouse\"\n", folder.display());
    let sources = Sources { file: Some(("k2.toml".into(), text)), ..Sources::default() };
    let config = Config::load(&sources).unwrap();
    let catalog = connect::catalog(&config, &connect::stores(&config)).await.unwrap();
    let settler = Settler::new(catalog, connect::ident(&config, "silver_dlq_trades").unwrap());
    let (requests, receiver) = mpsc::channel(1);
    drop(receiver);
    DlqClient { settler, requests, stop: CancellationToken::new() }
}

fn intent() -> Intent {
    Intent {
        batch: BatchId::fresh(),
        table: "market_data.silver_dlq_trades".into(),
        uuid: uuid::Uuid::new_v4(),
        topic: "t".into(),
        topic_id: None,
        ranges: BTreeMap::new(),
        rules: None,
        rows: 1,
        schema: 0,
        spec: 0,
        files: Vec::new(),
    }
}

/// Taken for settled, the intent would leave the silver table with the next commit, and its rejects with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_answers_is_never_taken_for_done() {
    let folder = tempfile::tempdir().unwrap();
    let client = orphan(folder.path()).await;
    let (source, cluster, intents) = (SourceId::new("g"), ClusterId::new("c"), [intent()]);
    let mut settled = std::pin::pin!(client.settle(&source, &cluster, &intents));
    let early = tokio::time::timeout(Duration::from_millis(50), &mut settled).await;
    assert!(early.is_err(), "the task that ended has to be named first: {early:?}");
    client.stop.cancel();
    let error = tokio::time::timeout(Duration::from_secs(10), settled).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("DLQ task ended"), "{error}");
}
