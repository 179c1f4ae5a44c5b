#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::location::{Authority, Location};
use super::*;
use async_trait::async_trait;
use futures::stream::BoxStream;
use k2_model::Class;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutResult, UploadPart,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

type StoreResult<T> = object_store::Result<T>;

#[test]
fn locations_are_taken_apart_and_never_decoded() {
    let s3 = |bucket: &str| Authority::S3 { bucket: bucket.into() };
    let cases = [
        ("/tmp/a b/c%20d.parquet", Authority::Local, "tmp/a b/c%20d.parquet"),
        ("file:///tmp/x", Authority::Local, "tmp/x"),
        ("file:/tmp/x", Authority::Local, "tmp/x"),
        ("file://localhost/tmp/x", Authority::Local, "tmp/x"),
        ("s3://b/wh/day=2026-01-01/f", s3("b"), "wh/day=2026-01-01/f"),
        ("s3a://b/k", s3("b"), "k"),
        ("s3://b", s3("b"), ""),
        ("gs://b/k", Authority::Google { bucket: "b".into() }, "k"),
        ("az://c/k", Authority::Azure { container: "c".into(), account: None }, "k"),
        (
            "abfss://c@acc.dfs.core.windows.net/k/l",
            Authority::Azure { container: "c".into(), account: Some("acc".into()) },
            "k/l",
        ),
    ];
    for (text, authority, path) in cases {
        let got = Location::parse(text).unwrap();
        assert_eq!((got.authority, got.path.as_ref()), (authority, path), "{text}");
    }
    for bad in ["", "folder/file", "file:folder", "s3:///k", "hdfs://h/k", "/a/../b", "s3://b/a//b"] {
        assert_eq!(Location::parse(bad).unwrap_err().class(), Class::Config, "{bad}");
    }
}

#[test]
fn a_warehouse_is_a_url_that_every_engine_opens() {
    let here = std::env::current_dir().unwrap();
    let here = here.to_str().unwrap();
    for (text, location) in [
        ("k2-data/warehouse", format!("file://{here}/k2-data/warehouse")),
        ("./k2-data//warehouse/", format!("file://{here}/k2-data/warehouse")),
        ("a/../b", format!("file://{here}/b")),
        ("/srv/lake", "file:///srv/lake".to_owned()),
        ("file:/srv/lake/", "file:///srv/lake".to_owned()),
        ("s3://bucket/lake/", "s3://bucket/lake".to_owned()),
    ] {
        assert_eq!(Warehouse::parse(text).unwrap().location(), location, "{text}");
    }
    assert_eq!(Warehouse::parse("/srv/lake").unwrap().folder().unwrap().to_str(), Some("/srv/lake"));
    assert_eq!(Warehouse::parse("s3://bucket/lake").unwrap().folder(), None);
    for bad in ["", "  ", "hdfs://h/k", "/srv/what?", "s3://b/#1"] {
        assert_eq!(Warehouse::parse(bad).unwrap_err().class(), Class::Config, "{bad}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let config = StoreConfig {
        access_key: Some("id".into()),
        secret_key: Some(Secret::new("hush")),
        session_token: Some(Secret::new("hush")),
        ..StoreConfig::default()
    };
    let stores = Stores::new(config);
    assert!(!format!("{stores:?}").contains("hush"));
    assert!(format!("{stores:?}").contains("***"));
}

#[test]
fn one_client_per_bucket() {
    let config = StoreConfig {
        endpoint: Some("http://127.0.0.1:1".into()),
        access_key: Some("id".into()),
        secret_key: Some(Secret::new("s")),
        path_style: false,
        ..StoreConfig::default()
    };
    let stores = Stores::new(config);
    let client = |location: &str| stores.resolve(location).unwrap().0;
    assert!(Arc::ptr_eq(&client("s3://a/x"), &client("s3a://a/y")));
    assert!(!Arc::ptr_eq(&client("s3://a/x"), &client("s3://b/x")));
    assert!(Arc::ptr_eq(&client("/tmp/x"), &client("file:///var/y")));
    let no_url = Stores::new(StoreConfig { endpoint: Some("minio:9000".into()), ..StoreConfig::default() });
    assert_eq!(no_url.resolve("s3://a/x").unwrap_err().class(), Class::Config);
}

#[test]
fn lent_keys_replace_ours_and_nothing_else() {
    let own = StoreConfig { endpoint: Some("http://mine".into()), max_uploads: 7, ..StoreConfig::default() };
    let stores = Stores::new(own.clone());
    let lent = |pairs: &[(&str, &str)]| {
        vended::relevant(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    };
    assert!(lent(&[("s3.endpoint", "http://theirs"), ("owner", "x")]).is_empty(), "without keys nothing changes");
    let keys = lent(&[
        ("s3.access-key-id", "id"),
        ("s3.secret-access-key", "secret"),
        ("s3.session-token", "token"),
        ("s3.endpoint", "http://theirs"),
        ("client.region", "eu-1"),
        ("s3.path-style-access", "false"),
    ]);
    let derived = stores.with_vended(&keys);
    let expected = StoreConfig {
        access_key: Some("id".into()),
        secret_key: Some(Secret::new("secret")),
        session_token: Some(Secret::new("token")),
        region: "eu-1".into(),
        path_style: false,
        ..own
    };
    assert_eq!(*derived.config(), expected);
    assert!(Arc::ptr_eq(&stores.0.uploads, &derived.0.uploads), "one limit for the process");
}

#[test]
fn classes() {
    let http = |kind| object_store::Error::Generic {
        store: "S3",
        source: Box::new(HttpError::new(kind, std::io::Error::other("x"))),
    };
    let io = |kind: std::io::ErrorKind| object_store::Error::Generic {
        store: "disk",
        source: Box::new(std::io::Error::from(kind)),
    };
    let missing = || object_store::Error::NotFound { path: "p".into(), source: "x".into() };
    let denied = object_store::Error::PermissionDenied { path: "p".into(), source: "x".into() };
    let cases = [
        (Doing::Read, missing(), Class::Reject),
        (Doing::Write, missing(), Class::Config),
        (Doing::Read, denied, Class::Config),
        (Doing::Read, http(HttpErrorKind::Connect), Class::Retry),
        (Doing::Write, http(HttpErrorKind::Timeout), Class::Retry),
        (Doing::Write, io(std::io::ErrorKind::StorageFull), Class::Retry),
        (Doing::Write, io(std::io::ErrorKind::ReadOnlyFilesystem), Class::Config),
        (Doing::List, io(std::io::ErrorKind::Other), Class::Retry),
    ];
    for (doing, e, class) in cases {
        let error = store_error(doing, "s3://b/k", e);
        assert_eq!(error.class(), class, "{error}");
        assert!(error.to_string().contains("[s3://b/k]"), "{error}");
    }
}

#[test]
fn an_error_keeps_its_class_through_iceberg() {
    let inner =
        store_error(Doing::Read, "s3://b/k", object_store::Error::NotFound { path: "k".into(), source: "x".into() });
    let outer = iceberg_error("cannot load", error::to_iceberg(inner));
    assert_eq!(outer.class(), Class::Reject);
    assert!(is_not_found(&outer));
    let unknown = iceberg_error("x", iceberg::Error::new(iceberg::ErrorKind::Unexpected, "y"));
    assert_eq!(unknown.class(), Class::Unknown);
    assert!(!is_not_found(&unknown));
}

#[tokio::test]
async fn a_put_whose_answer_is_lost_is_looked_up() {
    let (store, path) = (Flaky::default(), Path::from("f"));
    let put =
        |text: &'static str| put_new(&store, &path, "mem://f", vec![Bytes::from_static(b"k2 "), Bytes::from(text)]);

    store.lose_requests.store(true, Ordering::Relaxed);
    assert_eq!(put("one").await.unwrap_err().class(), Class::Retry, "lost on the way there: not applied");
    store.lose_requests.store(false, Ordering::Relaxed);

    store.lose_answers.store(true, Ordering::Relaxed);
    put("one").await.expect("lost on the way back: applied");
    store.lose_answers.store(false, Ordering::Relaxed);

    put("one").await.expect("the client's own retry meets its first attempt");
    assert_eq!(put("two").await.unwrap_err().class(), Class::Reject);
    assert_eq!(read(&store, &path).await.unwrap(), "k2 one");
}

#[tokio::test]
async fn a_store_without_conditional_put_gets_a_plain_one() {
    let store = Flaky { no_conditions: true, ..Flaky::default() };
    put_new(&store, &Path::from("f"), "mem://f", vec![Bytes::from_static(b"x")]).await.unwrap();
    assert_eq!(read(&store, &Path::from("f")).await.unwrap(), "x");
}

fn upload(store: &Arc<Flaky>, name: &str, slots: &Arc<Semaphore>) -> Upload {
    Upload::new(Arc::clone(store) as _, Path::from(name), name, Arc::clone(slots))
}

#[tokio::test]
async fn a_small_file_is_one_conditional_put() {
    let (store, slots) = (Arc::new(Flaky::default()), Arc::new(Semaphore::new(1)));
    let mut small = upload(&store, "small", &slots);
    small.write(Bytes::from_static(b"abc")).await.unwrap();
    assert_eq!((small.pending_bytes(), small.size()), (3, 3));
    assert_eq!(small.finish().await.unwrap(), 3);
    assert_eq!((store.puts.load(Ordering::Relaxed), store.parts.load(Ordering::Relaxed)), (1, 0));
    let mut zombie = upload(&store, "small", &slots);
    zombie.write(Bytes::from_static(b"abd")).await.unwrap();
    assert_eq!(zombie.finish().await.unwrap_err().class(), Class::Reject);
}

#[tokio::test]
async fn part_uploads_are_bounded_per_file_and_per_process() {
    let (store, slots) = (Arc::new(Flaky { slow: true, ..Flaky::default() }), Arc::new(Semaphore::new(3)));
    let files = (0..4).map(|n| {
        let mut file = upload(&store, &format!("file-{n}"), &slots);
        async move {
            for _ in 0..6 {
                file.write(Bytes::from(vec![n; upload::PART])).await.unwrap();
                assert!(file.pending_bytes() <= 4 * upload::PART as u64);
            }
            file.finish().await.unwrap()
        }
    });
    let sizes = futures::future::join_all(files).await;
    assert_eq!(sizes, [6 * upload::PART as u64; 4]);
    assert_eq!(store.parts.load(Ordering::Relaxed), 24);
    assert_eq!(store.most_at_once.load(Ordering::Relaxed), 3, "as many as allowed, and not one more");
}

#[tokio::test]
async fn a_dropped_write_loses_nothing() {
    let (store, slots) = (Arc::new(Flaky { slow: true, ..Flaky::default() }), Arc::new(Semaphore::new(1)));
    let mut file = upload(&store, "f", &slots);
    let part = |byte| Bytes::from(vec![byte; upload::PART]);
    let mut dropped = 0;
    for byte in 0..8 {
        // too short to wait for a slot
        let write = tokio::time::timeout(Duration::from_millis(1), file.write(part(byte)));
        dropped += usize::from(write.await.is_err());
    }
    assert!(dropped > 0, "some writes were cut off");
    assert_eq!(file.finish().await.unwrap(), 8 * upload::PART as u64);
    let there = read(store.as_ref(), &Path::from("f")).await.unwrap();
    let expected: Vec<u8> = (0..8).flat_map(|byte| vec![byte; upload::PART]).collect();
    assert!(there == expected, "every byte, in order");
}

#[tokio::test]
async fn a_failed_part_ends_the_upload_and_cleans_up() {
    let (store, slots) = (Arc::new(Flaky { bad_part: Some(2), ..Flaky::default() }), Arc::new(Semaphore::new(20)));
    let mut file = upload(&store, "f", &slots);
    let mut failed = false;
    for _ in 0..8 {
        failed |= file.write(Bytes::from(vec![0; upload::PART])).await.is_err();
    }
    assert!(failed, "the writer hears of it");
    assert_eq!(file.finish().await.unwrap_err().class(), Class::Retry);
    assert!(store.aborted.load(Ordering::Relaxed));
    assert!(matches!(read(store.as_ref(), &Path::from("f")).await, Err(object_store::Error::NotFound { .. })));
}

#[tokio::test]
async fn a_completed_upload_whose_answer_is_lost_is_looked_up() {
    let (store, slots) = (Arc::new(Flaky::default()), Arc::new(Semaphore::new(20)));
    let mut file = upload(&store, "f", &slots);
    file.write(Bytes::from(vec![7; 2 * upload::PART])).await.unwrap();
    store.lose_answers.store(true, Ordering::Relaxed);
    assert_eq!(file.finish().await.unwrap(), 2 * upload::PART as u64);
}

/// A store in memory that behaves badly on demand.
#[derive(Debug, Default)]
struct Flaky {
    inner: InMemory,
    lose_requests: AtomicBool,
    lose_answers: Arc<AtomicBool>,
    no_conditions: bool,
    slow: bool,
    bad_part: Option<usize>,
    puts: AtomicUsize,
    parts: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
    aborted: Arc<AtomicBool>,
}

fn lost() -> object_store::Error {
    let e = HttpError::new(HttpErrorKind::Timeout, std::io::Error::other("no answer"));
    object_store::Error::Generic { store: "flaky", source: Box::new(e) }
}

impl fmt::Display for Flaky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("flaky")
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        if self.no_conditions && opts.mode == PutMode::Create {
            return Err(object_store::Error::NotImplemented { operation: "create".into(), implementer: "old".into() });
        }
        if self.lose_requests.load(Ordering::Relaxed) {
            return Err(lost());
        }
        self.puts.fetch_add(1, Ordering::Relaxed);
        let put = self.inner.put_opts(location, payload, opts).await?;
        if self.lose_answers.load(Ordering::Relaxed) { Err(lost()) } else { Ok(put) }
    }

    async fn put_multipart_opts(&self, to: &Path, opts: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        Ok(Box::new(FlakyUpload {
            inner: self.inner.put_multipart_opts(to, opts).await?,
            lose_answers: Arc::clone(&self.lose_answers),
            slow: self.slow,
            bad_part: self.bad_part,
            parts: Arc::clone(&self.parts),
            at_once: Arc::clone(&self.at_once),
            most_at_once: Arc::clone(&self.most_at_once),
            aborted: Arc::clone(&self.aborted),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, all: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(all)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FlakyUpload {
    inner: Box<dyn MultipartUpload>,
    lose_answers: Arc<AtomicBool>,
    slow: bool,
    bad_part: Option<usize>,
    parts: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
    aborted: Arc<AtomicBool>,
}

#[async_trait]
impl MultipartUpload for FlakyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let sent = self.inner.put_part(data);
        let (slow, bad) = (self.slow, self.bad_part == Some(number));
        let (at_once, most) = (Arc::clone(&self.at_once), Arc::clone(&self.most_at_once));
        Box::pin(async move {
            most.fetch_max(at_once.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            if slow {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            at_once.fetch_sub(1, Ordering::Relaxed);
            if bad { Err(lost()) } else { sent.await }
        })
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let done = self.inner.complete().await?;
        if self.lose_answers.load(Ordering::Relaxed) { Err(lost()) } else { Ok(done) }
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.aborted.store(true, Ordering::Relaxed);
        self.inner.abort().await
    }
}
