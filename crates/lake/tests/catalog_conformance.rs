//! One suite for every catalog: SQLite always; PostgreSQL, the reference REST catalog and Nessie where
//! `K2_TEST_PG_URL`, `K2_TEST_CATALOG_URI` (with `K2_TEST_CATALOG_WAREHOUSE`) and `K2_TEST_NESSIE_URI` name them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod catalog_tables;

use catalog_tables::{ident, pair, position, trades};
use futures::future::join_all;
use k2_lake::catalog::{self, Catalog, CatalogConfig, CommitFailure, Kind};
use k2_lake::store::{Secret, StoreConfig, Stores};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[allow(clippy::disallowed_methods, reason = "tests take their servers from the environment")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn stores() -> Stores {
    Stores::new(StoreConfig {
        endpoint: env("K2_TEST_S3_ENDPOINT"),
        access_key: env("AWS_ACCESS_KEY_ID"),
        secret_key: env("AWS_SECRET_ACCESS_KEY").map(Secret::new),
        ..StoreConfig::default()
    })
}

fn config(kind: Kind, uri: String, warehouse: String) -> CatalogConfig {
    CatalogConfig {
        kind,
        name: format!("k2-test-{}", uuid::Uuid::new_v4().simple()),
        uri,
        warehouse,
        properties: BTreeMap::new(),
        request_timeout: Duration::from_secs(30),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().display();
    let config = config(Kind::Sql, format!("sqlite:{root}/new/catalog.db"), format!("{root}/warehouse"));
    conformance(catalog::connect(&config, &stores()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let Some(uri) = env("K2_TEST_PG_URL") else { return println!("skipped: K2_TEST_PG_URL is not set") };
    let dir = tempfile::tempdir().unwrap();
    let config = config(Kind::Sql, uri, dir.path().display().to_string());
    conformance(catalog::connect(&config, &stores()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reference_rest() {
    let Some(uri) = env("K2_TEST_CATALOG_URI") else { return println!("skipped: K2_TEST_CATALOG_URI is not set") };
    let config = config(Kind::Rest, uri, env("K2_TEST_CATALOG_WAREHOUSE").unwrap_or_default());
    conformance(catalog::connect(&config, &stores()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nessie() {
    let Some(uri) = env("K2_TEST_NESSIE_URI") else { return println!("skipped: K2_TEST_NESSIE_URI is not set") };
    let config = config(Kind::Rest, uri, "warehouse".into());
    conformance(catalog::connect(&config, &stores()).await.unwrap()).await;
}

/// What every catalog has to do.
async fn conformance(catalog: Arc<dyn Catalog>) {
    let namespace = format!("k2_{}", uuid::Uuid::new_v4().simple());
    println!("{}", catalog.describe());
    namespaces(&catalog, &namespace).await;
    creation(&catalog, &namespace).await;
    commits(&catalog, &namespace).await;
    one_of_ten(&catalog, &namespace).await;
    creation_race(&catalog, &namespace).await;
    odd_names(&catalog, &namespace).await;
}

async fn namespaces(catalog: &Arc<dyn Catalog>, namespace: &str) {
    assert!(!catalog.namespace_exists(namespace).await.unwrap());
    assert_eq!(catalog.tables(namespace).await.unwrap(), Vec::<String>::new());
    assert!(catalog.load(&ident(namespace, "nothing")).await.unwrap().is_none(), "no namespace, no table");
    catalog.ensure_namespace(namespace).await.unwrap();
    catalog.ensure_namespace(namespace).await.unwrap();
    assert!(catalog.namespace_exists(namespace).await.unwrap());
    let raced: Vec<String> = (0..4).map(|_| format!("{namespace}_raced")).collect();
    for outcome in join_all(raced.iter().map(|name| catalog.ensure_namespace(name))).await {
        outcome.unwrap();
    }
    assert!(catalog.load(&ident(namespace, "nothing")).await.unwrap().is_none());
    assert!(catalog.ensure_namespace("a..b").await.is_err());
}

async fn creation(catalog: &Arc<dyn Catalog>, namespace: &str) {
    let made = catalog.create(namespace, trades("created")).await.unwrap();
    let loaded = catalog.load(&ident(namespace, "created")).await.unwrap().unwrap();
    assert_eq!(loaded.metadata().uuid(), made.metadata().uuid());
    assert_eq!(loaded.metadata_location(), made.metadata_location());
    assert_eq!(loaded.metadata().format_version(), iceberg::spec::FormatVersion::V2);
    assert_eq!(loaded.metadata().properties().get("owner").map(String::as_str), Some("k2"));
    assert_eq!(loaded.metadata().default_partition_spec().fields().len(), 1);
    let names: Vec<_> = loaded.metadata().current_schema().as_struct().fields().iter().map(|f| &f.name).collect();
    assert_eq!(names, ["offset", "day"]);
    assert!(loaded.metadata().current_snapshot().is_none());

    catalog.create(namespace, trades("another")).await.unwrap();
    assert_eq!(catalog.tables(namespace).await.unwrap(), ["another", "created"]);
    let again = catalog.create(namespace, trades("created")).await.unwrap();
    assert_eq!(again.metadata().uuid(), made.metadata().uuid(), "an existing table is returned, not replaced");
}

async fn commits(catalog: &Arc<dyn Catalog>, namespace: &str) {
    let base = catalog.create(namespace, trades("committed")).await.unwrap();
    let first = catalog.commit(&base, pair(&base, "1").await).await.unwrap();
    assert_eq!(position(&first), Some("1"));
    assert!(first.metadata().current_snapshot().is_some(), "property and snapshot come together");

    let loaded = catalog.load(base.identifier()).await.unwrap().unwrap();
    assert_eq!(position(&loaded), Some("1"));
    assert_eq!(loaded.metadata().current_snapshot_id(), first.metadata().current_snapshot_id());
    let summary = &loaded.metadata().current_snapshot().unwrap().summary().additional_properties;
    assert_eq!(summary.get("k2.batch-uuid").map(String::as_str), Some("1"));

    // on the answer of a commit, without loading in between
    let second = catalog.commit(&first, pair(&first, "2").await).await.unwrap();
    assert_eq!(position(&second), Some("2"));

    for (stale, name) in [(&base, "the empty table"), (&first, "the first commit")] {
        let refused = catalog.commit(stale, pair(stale, "stale").await).await;
        assert!(matches!(refused, Err(CommitFailure::Conflict(_))), "on {name}: {refused:?}");
    }
    let loaded = catalog.load(base.identifier()).await.unwrap().unwrap();
    assert_eq!(position(&loaded), Some("2"), "a refused commit changes nothing");
    assert_eq!(loaded.metadata().current_snapshot_id(), second.metadata().current_snapshot_id());
}

async fn one_of_ten(catalog: &Arc<dyn Catalog>, namespace: &str) {
    let mut base = catalog.create(namespace, trades("contended")).await.unwrap();
    for round in 0..3 {
        let outcomes = join_all((0..10).map(|writer| {
            let base = &base;
            async move { catalog.commit(base, pair(base, &format!("{round}-{writer}")).await).await }
        }))
        .await;
        let mut won = Vec::new();
        for outcome in outcomes {
            match outcome {
                Ok(table) => won.push(table),
                Err(CommitFailure::Conflict(_)) => {}
                // a server under contention may answer 5xx: then it must not have happened
                Err(CommitFailure::Unknown(e)) => println!("unknown: {e}"),
                Err(other) => panic!("{other}"),
            }
        }
        base = catalog.load(base.identifier()).await.unwrap().unwrap();
        assert_eq!(won.len(), 1, "exactly one of ten commits on one base");
        assert_eq!(position(&base), position(&won[0]));
        assert_eq!(base.metadata().last_sequence_number(), round + 1);
    }
}

async fn creation_race(catalog: &Arc<dyn Catalog>, namespace: &str) {
    let made = join_all((0..6).map(|_| catalog.create(namespace, trades("raced")))).await;
    let uuids: Vec<_> = made.into_iter().map(|table| table.unwrap().metadata().uuid()).collect();
    assert!(uuids.iter().all(|uuid| *uuid == uuids[0]), "all see the same table: {uuids:?}");
}

async fn odd_names(catalog: &Arc<dyn Catalog>, namespace: &str) {
    for name in ["Trades_2026-q1", "with space", "ümlaut"] {
        let table = catalog.create(namespace, trades(name)).await.unwrap();
        catalog.commit(&table, pair(&table, "odd").await).await.unwrap();
        let loaded = catalog.load(&ident(namespace, name)).await.unwrap().unwrap();
        assert_eq!(position(&loaded), Some("odd"), "{name}");
    }
}
