//! One suite for every object store: a local folder always; S3 where `K2_TEST_S3_ENDPOINT` and `K2_TEST_S3_BUCKET`
//! (with the AWS keys) name one. And what only a local folder can be asked: a writer killed at any moment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;
use k2_lake::store::{Secret, StoreConfig, Stores, Warehouse, is_not_found};
use k2_model::Class;
use object_store::{ObjectStore, ObjectStoreExt};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const MIB: usize = 1 << 20;

#[allow(clippy::disallowed_methods, reason = "tests take their servers from the environment")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn local_folder() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("not there yet").display().to_string();
    conformance(&Stores::default(), Warehouse::parse(&root).unwrap().location()).await;
    assert_eq!(temporary_files(dir.path()), 0, "no temporary file is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn s3() {
    let (Some(endpoint), Some(bucket)) = (env("K2_TEST_S3_ENDPOINT"), env("K2_TEST_S3_BUCKET")) else {
        return println!("skipped: K2_TEST_S3_ENDPOINT is not set");
    };
    let config = StoreConfig {
        endpoint: Some(endpoint),
        access_key: env("AWS_ACCESS_KEY_ID"),
        secret_key: env("AWS_SECRET_ACCESS_KEY").map(Secret::new),
        ..StoreConfig::default()
    };
    let root = format!("s3://{bucket}/store-{}", uuid::Uuid::new_v4().simple());
    conformance(&Stores::new(config.clone()), &root).await;

    let missing = Stores::new(config.clone()).probe("s3://no-such-bucket-of-k2/x").await.unwrap_err();
    assert_eq!(missing.class(), Class::Config, "{missing}");
    assert!(missing.to_string().contains("bucket or folder does not exist"), "{missing}");

    let stranger = StoreConfig { secret_key: Some(Secret::new("wrong")), ..config.clone() };
    let denied = Stores::new(stranger).probe(&root).await.unwrap_err();
    assert_eq!(denied.class(), Class::Config, "{denied}");
    assert!(!denied.to_string().contains("wrong"), "secrets are not told: {denied}");

    let nowhere = StoreConfig { endpoint: Some("http://127.0.0.1:9".into()), ..config };
    let unreachable = Stores::new(nowhere).probe(&root).await.unwrap_err();
    assert_eq!(unreachable.class(), Class::Retry, "{unreachable}");
    assert!(unreachable.to_string().contains("cannot be reached"), "{unreachable}");
}

/// What every store has to do.
async fn conformance(stores: &Stores, root: &str) {
    stores.probe(root).await.unwrap();
    put_once(stores, root).await;
    through_iceberg(stores, root).await;
    multipart(stores, root).await;
    aborted(stores, root).await;
    listed(stores, root).await;
    stores.file_io().delete_prefix(root).await.unwrap();
    assert!(list(stores, root).await.is_empty(), "delete_prefix leaves nothing");
}

async fn put_once(stores: &Stores, root: &str) {
    let name = format!("{root}/once/day=2026-01-01/a file%20.json");
    let outcomes = join_all((0..8).map(|writer| stores.put_new(&name, Bytes::from(format!("writer {writer}"))))).await;
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "one of eight writers wins");
    for lost in outcomes.iter().filter_map(|o| o.as_ref().err()) {
        assert_eq!(lost.class(), Class::Reject, "{lost}");
    }
    let there = stores.get(&name).await.unwrap();
    let winner = outcomes.iter().position(Result::is_ok).unwrap();
    assert_eq!(there, format!("writer {winner}"));

    stores.put_new(&name, there.clone()).await.expect("the same bytes again: an answer was lost");
    assert_eq!(stores.put_new(&name, Bytes::from_static(b"other")).await.unwrap_err().class(), Class::Reject);
    assert_eq!(stores.get(&name).await.unwrap(), there, "nothing is ever overwritten");

    stores.delete(&name).await.unwrap();
    stores.delete(&name).await.expect("deleting twice is fine");
    let missing = stores.get(&name).await.unwrap_err();
    assert!(is_not_found(&missing), "{missing}");
}

async fn through_iceberg(stores: &Stores, root: &str) {
    let io = stores.file_io();
    let name = format!("{root}/metadata/v1.json");
    let output = io.new_output(&name).unwrap();
    assert!(!output.exists().await.unwrap());
    output.write(Bytes::from_static(b"0123456789")).await.unwrap();
    let mut late = io.new_output(&name).unwrap().writer().await.unwrap();
    late.write(Bytes::from_static(b"zombie")).await.unwrap();
    assert!(late.close().await.is_err(), "a zombie cannot replace a committed file");
    assert!(late.close().await.is_err(), "closing twice is an error");

    let input = io.new_input(&name).unwrap();
    assert!(input.exists().await.unwrap());
    assert_eq!(input.metadata().await.unwrap().size, 10);
    assert_eq!(input.read().await.unwrap(), "0123456789");
    assert_eq!(input.reader().await.unwrap().read(2..5).await.unwrap(), "234");
    io.delete(&name).await.unwrap();
    io.delete(&name).await.unwrap();
    assert!(!io.exists(&name).await.unwrap());
}

async fn multipart(stores: &Stores, root: &str) {
    let name = format!("{root}/data/large.parquet");
    let mut upload = stores.upload(&name).await.unwrap();
    let whole = pattern(40 * MIB + 12_345);
    // pieces of sizes that fit nothing
    let mut rest = whole.clone();
    let mut most = 0;
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(777_777));
        upload.write(piece).await.unwrap();
        most = most.max(upload.pending_bytes());
        assert!(!stores.file_io().exists(&name).await.unwrap(), "nothing is visible before the end");
    }
    assert!(most <= 5 * 8 * MIB as u64, "four parts in flight and one being filled, not {most}");
    assert_eq!(upload.finish().await.unwrap(), whole.len() as u64);
    assert!(stores.get(&name).await.unwrap() == whole, "read back byte for byte");

    let (store, path) = stores.resolve(&name).unwrap();
    let edge = 8 * MIB as u64;
    for range in [0..1, edge - 3..edge + 3, 40 * MIB as u64..whole.len() as u64] {
        let (from, to) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        assert!(store.get_range(&path, range).await.unwrap() == whole.slice(from..to));
    }

    for size in [0, 1, 8 * MIB - 1, 8 * MIB, 16 * MIB] {
        let name = format!("{root}/data/size-{size}.parquet");
        let mut upload = stores.upload(&name).await.unwrap();
        upload.write(pattern(size)).await.unwrap();
        assert_eq!(upload.finish().await.unwrap(), size as u64);
        assert!(stores.get(&name).await.unwrap() == pattern(size), "{size} bytes");
    }
}

async fn aborted(stores: &Stores, root: &str) {
    for size in [10, 20 * MIB] {
        let name = format!("{root}/aborted/{size}.parquet");
        let mut upload = stores.upload(&name).await.unwrap();
        upload.write(pattern(size)).await.unwrap();
        upload.abort().await;
        let mut dropped = stores.upload(&name).await.unwrap();
        dropped.write(pattern(size)).await.unwrap();
        drop(dropped);
        assert!(!stores.file_io().exists(&name).await.unwrap(), "an upload that is given up is never seen");
    }
    assert!(list(stores, &format!("{root}/aborted")).await.is_empty());
}

async fn listed(stores: &Stores, root: &str) {
    let names: Vec<_> = (0..5).map(|n| format!("{root}/list/day={n}/file")).collect();
    for name in &names {
        stores.put_new(name, Bytes::from_static(b"x")).await.unwrap();
    }
    assert_eq!(list(stores, &format!("{root}/list")).await.len(), 5);
    stores.file_io().delete_stream(futures::stream::iter(names[..3].to_vec())).await.unwrap();
    assert_eq!(list(stores, &format!("{root}/list")).await.len(), 2);
}

async fn list(stores: &Stores, location: &str) -> Vec<String> {
    let (store, path) = stores.resolve(location).unwrap();
    let found: Vec<_> = store.list(Some(&path)).map_ok(|o| o.location.to_string()).try_collect().await.unwrap();
    found
}

/// Bytes of which every 8 tell their place.
fn pattern(size: usize) -> Bytes {
    (0u64..).flat_map(u64::to_le_bytes).take(size).collect()
}

/// The child of [`a_killed_writer_leaves_whole_files_only`]: writes until it is killed.
#[tokio::test(flavor = "multi_thread")]
async fn writer_to_be_killed() {
    let Some(root) = env("K2_TEST_WRITE_UNTIL_KILLED") else { return };
    println!("\nwriting");
    loop {
        let stores = Stores::default();
        let size = 9 * MIB;
        let name = || format!("{root}/{}.parquet", uuid::Uuid::new_v4());
        let mut upload = stores.upload(&name()).await.unwrap();
        let small = stores.put_new(&format!("{root}/{}.json", uuid::Uuid::new_v4()), pattern(MIB)).await;
        small.unwrap();
        upload.write(pattern(size)).await.unwrap();
        upload.finish().await.unwrap();
    }
}

#[test]
fn a_killed_writer_leaves_whole_files_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut whole = 0;
    for kill in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer_to_be_killed", "--nocapture"])
            .env("K2_TEST_WRITE_UNTIL_KILLED", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("writing")), "the child has begun");
        // a moment that differs from kill to kill, anywhere in a few rounds of writing
        std::thread::sleep(std::time::Duration::from_millis(20 + kill * 17));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let path = file.unwrap().path();
        let size = match path.extension().and_then(|e| e.to_str()) {
            Some("parquet") => 9 * MIB,
            Some("json") => MIB,
            _ => {
                assert!(path.file_name().unwrap().to_str().unwrap().starts_with(".k2-"), "{}", path.display());
                continue;
            }
        };
        whole += 1;
        assert!(std::fs::read(&path).unwrap() == pattern(size), "{} is visible and broken", path.display());
    }
    println!("{whole} whole files, {} temporary ones", temporary_files(dir.path()));
    assert!(whole > 0, "the writers got to write");
}

fn temporary_files(root: &Path) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(root).into_iter().flatten().map(Result::unwrap) {
        if entry.path().is_dir() {
            found += temporary_files(&entry.path());
        } else if entry.file_name().to_string_lossy().ends_with(".tmp") {
            found += 1;
        }
    }
    found
}
