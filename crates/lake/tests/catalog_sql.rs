//! What only the SQL catalog can be asked: files, layouts, locks. On SQLite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod catalog_tables;

use catalog_tables::{ident, pair, position, trades};
use iceberg::TableUpdate;
use iceberg::spec::Snapshot;
use k2_lake::catalog::{self, Catalog, CatalogConfig, CommitFailure, Kind};
use k2_lake::store::Stores;
use k2_model::{Class, Result};
use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, Connection, Executor};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn config(&self) -> CatalogConfig {
        CatalogConfig {
            kind: Kind::Sql,
            name: "iceberg".into(),
            uri: format!("sqlite:{}/catalog.db", self.0.path().display()),
            warehouse: format!("{}/warehouse", self.0.path().display()),
            properties: BTreeMap::new(),
            request_timeout: Duration::from_secs(10),
        }
    }

    async fn catalog(&self) -> Arc<dyn Catalog> {
        open(&self.config()).await.unwrap()
    }

    async fn sql(&self) -> AnyConnection {
        install_default_drivers();
        AnyConnection::connect(&format!("{}?mode=rwc", self.config().uri)).await.unwrap()
    }

    fn metadata_files(&self, table: &str) -> usize {
        let folder = self.0.path().join("warehouse/ns").join(table).join("metadata");
        let files = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path());
        files.filter(|path| path.to_string_lossy().ends_with(".metadata.json")).count()
    }
}

async fn open(config: &CatalogConfig) -> Result<Arc<dyn Catalog>> {
    catalog::connect(config, &Stores::default()).await
}

#[tokio::test]
async fn old_metadata_goes_if_the_table_says_so_and_a_conflict_leaves_no_file() {
    let place = Place::new();
    let catalog = place.catalog().await;
    for (name, delete, expected) in [("kept", "false", 11), ("deleted", "true", 6)] {
        let mut creation = trades(name);
        creation.properties.extend(
            [("write.metadata.delete-after-commit.enabled", delete), ("write.metadata.previous-versions-max", "5")]
                .map(|(k, v)| (k.to_owned(), v.to_owned())),
        );
        let first = catalog.create("ns", creation).await.unwrap();
        let mut head = first.clone();
        for n in 0..10 {
            head = catalog.commit(&head, pair(&head, &n.to_string()).await).await.unwrap();
        }
        assert_eq!(place.metadata_files(name), expected, "{name}");
        assert_eq!(head.metadata().metadata_log().len(), 5);

        let stale = catalog.commit(&first, pair(&first, "stale").await).await;
        assert!(matches!(stale, Err(CommitFailure::Conflict(_))), "{stale:?}");
        assert_eq!(place.metadata_files(name), expected, "{name}: the loser's file is gone");
        assert_eq!(position(&catalog.load(&ident("ns", name)).await.unwrap().unwrap()), Some("9"));
    }
}

#[tokio::test]
async fn the_loser_of_a_creation_leaves_no_file() {
    let place = Place::new();
    let (one, two) = (place.catalog().await, place.catalog().await);
    let (a, b) = futures::join!(one.create("ns", trades("raced")), two.create("ns", trades("raced")));
    assert_eq!(a.unwrap().metadata().uuid(), b.unwrap().metadata().uuid());
    assert_eq!(place.metadata_files("raced"), 1);
}

#[tokio::test]
async fn tables_lie_in_the_warehouse_as_absolute_file_urls() {
    let place = Place::new();
    let catalog = place.catalog().await;
    let table = catalog.create("a.b", trades("t")).await.unwrap();
    let root = place.0.path().display();
    assert_eq!(table.metadata().location(), format!("file://{root}/warehouse/a/b/t"));

    // a namespace with a location of its own, as other engines make it
    place
        .sql()
        .await
        .execute("INSERT INTO iceberg_namespace_properties VALUES ('iceberg', 'own', 'location', '/srv/own')")
        .await
        .unwrap();
    assert!(catalog.namespace_exists("own").await.unwrap());
    let elsewhere = format!("{root}/elsewhere");
    let update =
        format!("UPDATE iceberg_namespace_properties SET property_value = '{elsewhere}' WHERE namespace = 'own'");
    place.sql().await.execute(&*update).await.unwrap();
    let table = catalog.create("own", trades("t")).await.unwrap();
    assert_eq!(table.metadata().location(), format!("file://{elsewhere}/t"));
}

#[tokio::test]
async fn catalogs_share_a_database_and_tables_are_no_views() {
    let place = Place::new();
    let ours = place.catalog().await;
    let other = open(&CatalogConfig { name: "other".into(), ..place.config() }).await.unwrap();
    ours.create("ns", trades("t")).await.unwrap();
    assert!(other.load(&ident("ns", "t")).await.unwrap().is_none(), "rows belong to a catalog name");
    assert!(!other.namespace_exists("ns").await.unwrap());
    let again = place.catalog().await;
    assert!(again.load(&ident("ns", "t")).await.unwrap().is_some(), "a second process sees the table");
    let view = "INSERT INTO iceberg_tables VALUES ('iceberg', 'ns', 'v', 'file:///x', NULL, 'VIEW')";
    place.sql().await.execute(view).await.unwrap();
    assert_eq!(ours.tables("ns").await.unwrap(), ["t"]);
    assert!(ours.load(&ident("ns", "v")).await.unwrap().is_none());
}

#[tokio::test]
async fn the_older_layout_is_served() {
    let place = Place::new();
    let create =
        "CREATE TABLE iceberg_tables (catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
        table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
        PRIMARY KEY (catalog_name, table_namespace, table_name))";
    place.sql().await.execute(create).await.unwrap();
    let catalog = place.catalog().await;
    let table = catalog.create("ns", trades("t")).await.unwrap();
    catalog.commit(&table, pair(&table, "1").await).await.unwrap();
    assert!(matches!(catalog.commit(&table, pair(&table, "2").await).await, Err(CommitFailure::Conflict(_))));
    assert_eq!(catalog.tables("ns").await.unwrap(), ["t"]);
    assert_eq!(position(&catalog.load(&ident("ns", "t")).await.unwrap().unwrap()), Some("1"));
}

#[tokio::test]
async fn what_is_no_catalog_is_refused_by_name() {
    let place = Place::new();
    place.sql().await.execute("CREATE TABLE iceberg_tables (id INTEGER, name TEXT)").await.unwrap();
    let foreign = open(&place.config()).await.unwrap_err();
    assert_eq!(foreign.class(), Class::Config);
    assert!(foreign.to_string().contains("catalog_name") && foreign.way_out().is_some(), "{foreign}");

    let place = Place::new();
    std::fs::write(place.0.path().join("catalog.db"), vec![b'x'; 4096]).unwrap();
    let garbage = open(&place.config()).await.unwrap_err();
    assert_eq!(garbage.class(), Class::Config, "{garbage}");

    let file = place.0.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (uri, warehouse) in [
        ("mysql://host/db", "wh"),
        ("sqlite:", "wh"),
        ("http://host", "wh"),
        (&*format!("sqlite:{}/db", file.display()), "wh"),
        (&*place.config().uri, "hdfs://host/wh"),
    ] {
        let config = CatalogConfig { uri: uri.into(), warehouse: warehouse.into(), ..place.config() };
        let error = open(&config).await.unwrap_err();
        assert_eq!(error.class(), Class::Config, "{uri} {warehouse}: {error}");
    }
    let nobody = CatalogConfig { uri: "postgres://me:hush@127.0.0.1:1/db".into(), ..place.config() };
    let error = open(&CatalogConfig { request_timeout: Duration::from_secs(2), ..nobody }).await.unwrap_err();
    assert_eq!(error.class(), Class::Retry, "{error}");
    assert!(!error.to_string().contains("hush"), "{error}");
}

#[tokio::test]
async fn a_metadata_file_that_is_gone_halts() {
    let place = Place::new();
    let catalog = place.catalog().await;
    let table = catalog.create("ns", trades("t")).await.unwrap();
    let file = table.metadata_location().unwrap().strip_prefix("file://").unwrap();
    std::fs::remove_file(Path::new(file)).unwrap();
    let error = catalog.load(&ident("ns", "t")).await.unwrap_err();
    assert_eq!(error.class(), Class::Halt, "{error}");
    std::fs::write(Path::new(file), "{\"format-version\": 2}").unwrap();
    let error = catalog.load(&ident("ns", "t")).await.unwrap_err();
    assert_eq!(error.class(), Class::Halt, "{error}");
}

#[tokio::test]
async fn a_clock_that_is_behind_and_updates_without_sense() {
    let place = Place::new();
    let catalog = place.catalog().await;
    let table = catalog.create("ns", trades("t")).await.unwrap();
    let mut late = pair(&table, "1").await;
    if let TableUpdate::AddSnapshot { snapshot } = &mut late[0] {
        *snapshot = Snapshot::builder()
            .with_snapshot_id(snapshot.snapshot_id())
            .with_sequence_number(snapshot.sequence_number())
            .with_timestamp_ms(table.metadata().last_updated_ms() - 90_000)
            .with_manifest_list(snapshot.manifest_list().to_owned())
            .with_summary(snapshot.summary().clone())
            .build();
    }
    match catalog.commit(&table, late).await {
        Err(CommitFailure::NotApplied(e)) => {
            assert!(e.class() == Class::Retry && e.to_string().contains("90 s"), "{e}")
        }
        other => panic!("{other:?}"),
    }
    let nonsense = vec![TableUpdate::SetDefaultSpec { spec_id: 77 }];
    assert!(matches!(catalog.commit(&table, nonsense).await, Err(CommitFailure::Refused(_))));
    assert_eq!(place.metadata_files("t"), 1, "neither wrote a file");
}

/// A commit without an answer: it lands on its base later or not at all, and no file of it is deleted.
#[tokio::test]
async fn a_locked_database_makes_a_commit_unknown_and_harmless() {
    let place = Place::new();
    let patient = place.catalog().await;
    let hasty = open(&CatalogConfig { request_timeout: Duration::from_millis(300), ..place.config() }).await.unwrap();
    let base = patient.create("ns", trades("t")).await.unwrap();
    let mut lock = place.sql().await;
    lock.execute("BEGIN IMMEDIATE").await.unwrap();
    let outcome = hasty.commit(&base, pair(&base, "late").await).await;
    assert!(matches!(&outcome, Err(CommitFailure::Unknown(_))), "{outcome:?}");
    assert_eq!(place.metadata_files("t"), 2, "the row may yet name it");
    lock.execute("COMMIT").await.unwrap();

    // the statement may still be waiting for the lock: settle who is first
    let deadline = Instant::now() + Duration::from_secs(15);
    let mine = patient.commit(&base, pair(&base, "mine").await).await;
    let expected = match &mine {
        Ok(_) => "mine",
        Err(CommitFailure::Conflict(_)) => "late",
        other => panic!("{other:?}"),
    };
    while Instant::now() < deadline {
        let head = patient.load(&ident("ns", "t")).await.unwrap().unwrap();
        assert_eq!(position(&head), Some(expected), "one of the two, and for good");
        assert_eq!(head.metadata().snapshots().len(), 1);
        if hasty.commit(&head, pair(&head, "after").await).await.is_ok() {
            break;
        }
    }
    let head = patient.load(&ident("ns", "t")).await.unwrap().unwrap();
    assert_eq!(position(&head), Some("after"));
}

/// Where `K2_TEST_PYTHON` names a Python that has pyiceberg with pyarrow and sql-sqlite.
#[tokio::test]
async fn pyiceberg_shares_the_database() {
    #[allow(clippy::disallowed_methods, reason = "tests take their tools from the environment")]
    let Ok(python) = std::env::var("K2_TEST_PYTHON") else { return println!("skipped: K2_TEST_PYTHON is not set") };
    let place = Place::new();
    let run = |script: &str| {
        let start = "
import sys, pyarrow as pa, datetime
from pyiceberg.catalog.sql import SqlCatalog
root = sys.argv[1]
catalog = SqlCatalog('iceberg', uri=f'sqlite:///{root}/catalog.db', warehouse=f'file://{root}/warehouse')
";
        let root = place.0.path();
        let out = std::process::Command::new(&python).arg("-c").arg(format!("{start}{script}")).arg(root).output();
        let out = out.unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    // theirs first: they make the database, a namespace and a table
    run("
catalog.create_namespace('ns')
rows = pa.table({'offset': pa.array([1, 2, 3], pa.int64())})
catalog.create_table('ns.theirs', schema=rows.schema).append(rows)
");
    let catalog = place.catalog().await;
    assert!(catalog.namespace_exists("ns").await.unwrap());
    assert_eq!(catalog.tables("ns").await.unwrap(), ["theirs"]);
    let theirs = catalog.load(&ident("ns", "theirs")).await.unwrap().unwrap();
    catalog.commit(&theirs, pair(&theirs, "k2 was here").await).await.unwrap();
    let ours = catalog.create("ns", trades("ours")).await.unwrap();
    let ours = catalog.commit(&ours, pair(&ours, "1").await).await.unwrap();

    let seen = run("
theirs = catalog.load_table('ns.theirs')
print(theirs.properties['k2.source.test'], len(theirs.snapshots()), sorted(t[1] for t in catalog.list_tables('ns')))
ours = catalog.load_table('ns.ours')
day = datetime.date(2026, 1, 1)
required = pa.schema([pa.field('offset', pa.int64(), False), pa.field('day', pa.date32(), False)])
ours.append(pa.table({'offset': [7, 8], 'day': [day, day]}, schema=required))
print(catalog.load_table('ns.ours').scan().to_arrow().num_rows)
");
    assert_eq!(seen, "k2 was here 2 ['ours', 'theirs']\n2");
    let stale = catalog.commit(&ours, pair(&ours, "2").await).await;
    assert!(matches!(stale, Err(CommitFailure::Conflict(_))), "their append has moved the head: {stale:?}");
    let head = catalog.load(&ident("ns", "ours")).await.unwrap().unwrap();
    assert_eq!(position(&head), Some("1"), "their append keeps our position");
    catalog.commit(&head, pair(&head, "3").await).await.unwrap();
}
