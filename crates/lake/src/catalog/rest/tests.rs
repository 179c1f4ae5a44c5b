#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
//! A catalog that answers as it is told: what a real one will not do on demand.

use super::*;
use crate::store::StoreConfig;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use iceberg::spec::{
    NestedField, PrimitiveType, Schema, SortOrder, TableMetadata, TableMetadataBuilder, Type, UnboundPartitionSpec,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// One request as it came in: `METHOD /path?query`, the headers that matter, and the body.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    authorization: Option<String>,
    delegation: Option<String>,
    extra: Option<String>,
    body: String,
}

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

enum Reply {
    Json(u16, Value),
    Text(u16, &'static str),
    Redirect(&'static str),
    Hang,
}

#[derive(Clone)]
struct Fake {
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

struct Server {
    uri: String,
    fake: Fake,
    _task: JoinSet<()>,
}

impl Server {
    /// The script gets the request and how many with the same line came before it; None falls to [`normal`].
    async fn start(script: impl Fn(&Seen, usize) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let script = move |seen: &Seen, before| script(seen, before).unwrap_or_else(|| normal(seen));
        let fake = Fake { script: Arc::new(script), seen: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(answer).with_state(fake.clone());
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { uri, fake, _task: task }
    }

    fn count(&self, start: &str) -> usize {
        self.fake.seen.lock().unwrap().iter().filter(|seen| seen.line.starts_with(start)).count()
    }

    fn last(&self, start: &str) -> Seen {
        let seen = self.fake.seen.lock().unwrap();
        seen.iter().rfind(|seen| seen.line.starts_with(start)).cloned().expect(start)
    }

    async fn connect(&self, properties: &[(&str, &str)]) -> Result<RestCatalog> {
        RestCatalog::connect(&config(&self.uri, properties), &Stores::default()).await
    }
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response<Body> {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let seen = Seen {
        line: format!("{} {}", head.method, head.uri),
        authorization: header("authorization"),
        delegation: header("x-iceberg-access-delegation"),
        extra: header("x-extra"),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let before = {
        let mut all = fake.seen.lock().unwrap();
        let before = all.iter().filter(|s| s.line == seen.line).count();
        all.push(seen.clone());
        before
    };
    let (status, body) = match (fake.script)(&seen, before) {
        Reply::Json(status, value) => (status, value.to_string()),
        Reply::Text(status, text) => (status, text.to_owned()),
        Reply::Redirect(to) => {
            return Response::builder().status(307).header("location", to).body(Body::empty()).unwrap();
        }
        Reply::Hang => std::future::pending().await,
    };
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(Body::from(body)).unwrap()
}

fn config(uri: &str, properties: &[(&str, &str)]) -> CatalogConfig {
    CatalogConfig {
        kind: super::super::Kind::Rest,
        name: "test".into(),
        uri: uri.into(),
        warehouse: "wh 1".into(),
        properties: properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        request_timeout: Duration::from_millis(500),
    }
}

fn metadata() -> TableMetadata {
    let field = NestedField::required(1, "offset", Type::Primitive(PrimitiveType::Long));
    let schema = Schema::builder().with_fields([field.into()]).build().unwrap();
    let spec = UnboundPartitionSpec::builder().build();
    let properties = HashMap::new();
    let version = iceberg::spec::FormatVersion::V2;
    let order = SortOrder::unsorted_order();
    TableMetadataBuilder::new(schema, spec, order, "s3://bucket/t".into(), version, properties)
        .unwrap()
        .build()
        .unwrap()
        .metadata
}

fn table_body() -> Value {
    json!({"metadata-location": "s3://bucket/t/metadata/1.json", "metadata": metadata()})
}

fn error_body(status: u16, kind: &str) -> Value {
    json!({"error": {"message": "because", "type": kind, "code": status}})
}

fn normal(seen: &Seen) -> Reply {
    match seen.line.as_str() {
        line if line.starts_with("GET /v1/config") => {
            Reply::Json(200, json!({"defaults": {"prefix": "no"}, "overrides": {"prefix": "main%7Cwh"}}))
        }
        line if line.contains("/tables/missing") => Reply::Json(404, error_body(404, "NoSuchTableException")),
        line if line.contains("/tables/t") => Reply::Json(200, table_body()),
        _ => Reply::Json(404, error_body(404, "")),
    }
}

fn ident(name: &str) -> TableIdent {
    TableIdent::from_strs(["ns", name]).unwrap()
}

const COMMIT: &str = "POST /v1/main%7Cwh/namespaces/ns/tables/t";
const LOAD: &str = "GET /v1/main%7Cwh/namespaces/ns/tables/t";

/// Loads a table from a server that answers a commit as told, and commits once.
async fn commit(reply: impl Fn() -> Reply + Send + Sync + 'static) -> (Result<Table, CommitFailure>, Server) {
    let server = Server::start(move |seen, _| seen.line.starts_with("POST").then(&reply)).await;
    let catalog = server.connect(&[]).await.unwrap();
    let base = catalog.load(&ident("t")).await.unwrap().unwrap();
    (catalog.commit(&base, Vec::new()).await, server)
}

#[tokio::test]
async fn what_an_answer_means_for_a_commit() {
    let name = |outcome: &Result<Table, CommitFailure>| match outcome {
        Ok(_) => "done",
        Err(CommitFailure::Conflict(_)) => "conflict",
        Err(CommitFailure::Refused(_)) => "refused",
        Err(CommitFailure::NotApplied(_)) => "not applied",
        Err(CommitFailure::Unknown(_)) => "unknown",
    };
    for (status, expected) in [
        (400, "refused"),
        (401, "refused"),
        (403, "refused"),
        (404, "refused"),
        (409, "conflict"),
        (418, "unknown"),
        (422, "refused"),
        (429, "unknown"),
        (500, "unknown"),
        (502, "unknown"),
        (503, "unknown"),
        (504, "unknown"),
    ] {
        let (outcome, server) = commit(move || Reply::Json(status, error_body(status, ""))).await;
        assert_eq!(name(&outcome), expected, "{status}: {outcome:?}");
        assert_eq!(server.count("POST"), 1, "{status}: a commit is sent once");
    }
    for (what, reply) in [
        ("a success that cannot be read", (|| Reply::Text(200, "<html>")) as fn() -> Reply),
        ("an empty success", || Reply::Text(200, "")),
        ("no answer in time", || Reply::Hang),
        ("a gateway's page", || Reply::Text(502, "<html>bad gateway</html>")),
    ] {
        let (outcome, server) = commit(reply).await;
        assert_eq!(name(&outcome), "unknown", "{what}: {outcome:?}");
        assert_eq!(server.count("POST"), 1, "{what}: a commit is sent once");
    }
    // followed, it would become a GET and look like a success
    let (outcome, server) = commit(|| Reply::Redirect("/v1/main%7Cwh/namespaces/ns/tables/t")).await;
    assert_eq!((name(&outcome), server.count(COMMIT)), ("refused", 1), "{outcome:?}");
}

/// A commit of a snapshot that was made at a time, refused with this status by a server whose clock is right.
async fn refused_at(timestamp_ms: i64, status: u16) -> CommitFailure {
    let server = Server::start(move |seen, _| {
        seen.line.starts_with("POST").then(|| Reply::Json(status, error_body(status, "ValidationException")))
    });
    let server = server.await;
    let catalog = server.connect(&[]).await.unwrap();
    let base = catalog.load(&ident("t")).await.unwrap().unwrap();
    let snapshot = iceberg::spec::Snapshot::builder()
        .with_snapshot_id(1)
        .with_sequence_number(1)
        .with_timestamp_ms(timestamp_ms)
        .with_manifest_list("s3://bucket/t/metadata/l.avro")
        .with_summary(iceberg::spec::Summary {
            operation: iceberg::spec::Operation::Append,
            additional_properties: HashMap::new(),
        })
        .build();
    catalog.commit(&base, vec![TableUpdate::AddSnapshot { snapshot }]).await.unwrap_err()
}

#[tokio::test]
async fn a_clock_ahead_of_the_servers_is_no_mistake_in_the_configuration() {
    let now = k2_model::clock::now_millis();
    for status in [400, 422] {
        let failure = refused_at(now + 3_600_000, status).await;
        let CommitFailure::NotApplied(e) = failure else { panic!("{failure}") };
        assert_eq!(e.class(), Class::Retry);
        let told = e.to_string();
        assert!(told.contains("s ahead of its clock") && told.contains("because") && told.contains("clocks"), "{told}");
    }
    // refused for another reason, or by a server that does not look at snapshots before it knows who asks
    for (at, status) in [(now, 400), (now - 3_600_000, 400), (now + 3_600_000, 403), (now + 3_600_000, 413)] {
        let failure = refused_at(at, status).await;
        assert!(matches!(failure, CommitFailure::Refused(_)), "{at} {status}: {failure}");
    }
    assert!(matches!(refused_at(now + 3_600_000, 409).await, CommitFailure::Conflict(_)));
    assert_eq!(seconds_ahead(Some(100_000), Some(0)), Some(100));
    for (stamp, server) in [(Some(30_999), Some(0)), (None, Some(0)), (Some(100_000), None), (Some(0), Some(100_000))] {
        assert_eq!(seconds_ahead(stamp, server), None);
    }
}

#[tokio::test]
async fn a_commit_says_what_it_is_pinned_to() {
    let (outcome, server) = commit(|| Reply::Json(200, table_body())).await;
    assert_eq!(outcome.unwrap().metadata_location(), Some("s3://bucket/t/metadata/1.json"));
    let body: Value = serde_json::from_str(&server.last(COMMIT).body).unwrap();
    assert_eq!(body["identifier"], json!({"namespace": ["ns"], "name": "t"}));
    let kinds: Vec<_> = body["requirements"].as_array().unwrap().iter().map(|r| r["type"].as_str().unwrap()).collect();
    let all = ["assert-table-uuid", "assert-ref-snapshot-id", "assert-current-schema-id", "assert-default-spec-id"];
    assert_eq!(kinds, all);
    assert_eq!(body["requirements"][1]["ref"], "main");
    assert!(body["requirements"][1]["snapshot-id"].is_null(), "no snapshot yet: it must still be so");
}

#[tokio::test]
async fn a_commit_to_nessie_is_pinned_to_its_history() {
    for (prefix, pinned) in [
        ("main%7Cwh", "main@c0ffee%7Cwh"),
        ("main|wh", "main@c0ffee|wh"),
        ("main", "main@c0ffee"),
        ("main@1|wh", "main@1|wh"),
    ] {
        let server = Server::start(move |seen, _| match seen.line.as_str() {
            line if line.starts_with("GET /v1/config") => {
                Some(Reply::Json(200, json!({"overrides": {"prefix": prefix, "nessie.is-nessie-catalog": "true"}})))
            }
            _ => {
                let mut body = table_body();
                body["metadata"]["properties"] = json!({"nessie.commit.id": "c0ffee"});
                Some(Reply::Json(200, body))
            }
        })
        .await;
        let catalog = server.connect(&[]).await.unwrap();
        let base = catalog.load(&ident("t")).await.unwrap().unwrap();
        catalog.commit(&base, Vec::new()).await.unwrap();
        assert_eq!(server.last("POST").line, format!("POST /v1/{pinned}/namespaces/ns/tables/t"));
    }
}

#[tokio::test]
async fn nobody_there() {
    let (outcome, server) = commit(|| Reply::Hang).await;
    drop(outcome);
    let catalog = server.connect(&[]).await.unwrap();
    let base = catalog.load(&ident("t")).await.unwrap().unwrap();
    drop(server);
    // the connection of before may still have to find out
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        match catalog.commit(&base, Vec::new()).await {
            Err(CommitFailure::NotApplied(e)) => break assert_eq!(e.class(), Class::Retry, "{e}"),
            Err(CommitFailure::Unknown(_)) if std::time::Instant::now() < deadline => {}
            other => panic!("{other:?}"),
        }
    }
    let unreachable = catalog.load(&ident("t")).await.unwrap_err();
    assert_eq!(unreachable.class(), Class::Retry, "{unreachable}");
    assert!(unreachable.way_out().is_some());
}

#[tokio::test]
async fn the_catalogs_configuration_is_asked_for_and_obeyed() {
    let server = Server::start(|_, _| None).await;
    let catalog = server.connect(&[("prefix", "mine"), ("header.x-extra", "42"), ("token", "tok")]).await.unwrap();
    assert!(server.count("GET /v1/config?warehouse=wh+1") == 1);
    assert!(catalog.load(&ident("t")).await.unwrap().is_some());
    let seen = server.last(LOAD);
    assert_eq!(seen.extra.as_deref(), Some("42"));
    assert_eq!(seen.authorization.as_deref(), Some("Bearer tok"));
    assert_eq!(seen.delegation.as_deref(), Some("vended-credentials"));
    catalog.load(&TableIdent::from_strs(["a", "b", "t /%"]).unwrap()).await.unwrap();
    assert_eq!(server.count("GET /v1/main%7Cwh/namespaces/a%1Fb/tables/t%20%2F%25"), 1, "names are encoded");
}

#[tokio::test]
async fn a_read_is_tried_again_and_a_missing_table_is_no_error() {
    let flaky = |seen: &Seen, before: usize| {
        (seen.line.starts_with(LOAD) && before < 2).then_some(Reply::Text(503, "warming up"))
    };
    let server = Server::start(flaky).await;
    let catalog = server.connect(&[]).await.unwrap();
    assert!(catalog.load(&ident("t")).await.unwrap().is_some());
    assert_eq!(server.count(LOAD), 3);
    assert!(catalog.load(&ident("missing")).await.unwrap().is_none());
    assert!(!catalog.namespace_exists("nowhere").await.unwrap());

    let down = Server::start(|seen, _| seen.line.contains("/tables/t").then_some(Reply::Text(500, "no"))).await;
    let catalog = down.connect(&[]).await.unwrap();
    assert_eq!(catalog.load(&ident("t")).await.unwrap_err().class(), Class::Retry);
    assert_eq!(down.count(LOAD), 4, "a bounded number of times");
}

#[tokio::test]
async fn a_web_server_that_is_no_catalog_has_no_missing_tables() {
    let server = Server::start(|seen, _| seen.line.contains("/tables").then_some(Reply::Text(404, "<html>"))).await;
    let catalog = server.connect(&[]).await.unwrap();
    let error = catalog.load(&ident("t")).await.unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error}");

    let elsewhere = Server::start(|_, _| Some(Reply::Redirect("https://host/catalog/v1/config?x=y"))).await;
    let error = elsewhere.connect(&[]).await.unwrap_err();
    assert_eq!(error.class(), Class::Config);
    assert!(error.to_string().contains("https://host/catalog/v1/config"), "{error}");

    for (uri, properties) in
        [("localhost:8181", &[][..]), ("ftp://x", &[]), ("http://127.0.0.1:1", &[("rest.sigv4-enabled", "true")])]
    {
        let error = RestCatalog::connect(&config(uri, properties), &Stores::default()).await.unwrap_err();
        assert_eq!(error.class(), Class::Config, "{error}");
    }
}

fn tokens(seen: &Seen, before: usize, life: u64) -> Option<Reply> {
    seen.line.starts_with("POST /v1/oauth/tokens").then(|| {
        Reply::Json(200, json!({"access_token": format!("t{before}"), "token_type": "bearer", "expires_in": life}))
    })
}

#[tokio::test]
async fn a_token_is_fetched_once_and_renewed_before_it_ends() {
    let server = Server::start(|seen, before| tokens(seen, before, 3600)).await;
    let catalog = server.connect(&[("credential", "me:s&cret"), ("scope", "all of it")]).await.unwrap();
    catalog.load(&ident("t")).await.unwrap();
    catalog.load(&ident("t")).await.unwrap();
    let request = server.last("POST /v1/oauth/tokens");
    assert_eq!(request.authorization, None);
    for part in ["grant_type=client_credentials", "client_id=me", "client_secret=s%26cret", "scope=all+of+it"] {
        assert!(request.body.contains(part), "{part}");
    }
    assert_eq!(server.count("POST /v1/oauth/tokens"), 2, "one for the configuration, one for the rest");
    assert_eq!(server.last(LOAD).authorization.as_deref(), Some("Bearer t1"));

    let short = Server::start(|seen, before| tokens(seen, before, 0)).await;
    let catalog = short.connect(&[("credential", "secret-only")]).await.unwrap();
    let before = short.count("POST /v1/oauth/tokens");
    catalog.load(&ident("t")).await.unwrap();
    catalog.load(&ident("t")).await.unwrap();
    assert_eq!(short.count("POST /v1/oauth/tokens"), before + 2, "a token at its end is not used");
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced() {
    let script = |seen: &Seen, before: usize| {
        let stale = seen.authorization.as_deref() != Some("Bearer t2");
        let guarded = seen.line.contains("/tables/t");
        tokens(seen, before, 3600).or_else(|| (guarded && stale).then(|| Reply::Json(401, error_body(401, "expired"))))
    };
    let server = Server::start(script).await;
    let catalog = server.connect(&[("credential", "me:secret")]).await.unwrap();
    let base = catalog.load(&ident("t")).await.unwrap().expect("the read went on with a new token");

    let server = Server::start(move |seen, before| {
        if seen.line.starts_with(COMMIT) {
            Some(Reply::Json(401, error_body(401, "")))
        } else {
            tokens(seen, before, 3600)
        }
    })
    .await;
    let catalog = server.connect(&[("credential", "me:secret")]).await.unwrap();
    let outcome = catalog.commit(&base, Vec::new()).await;
    assert!(matches!(&outcome, Err(CommitFailure::NotApplied(e)) if e.class() == Class::Retry), "{outcome:?}");
    assert_eq!(server.count(COMMIT), 1, "sent once all the same: the gate decides");

    let wrong = Server::start(|seen, _| {
        let refusal = json!({"error": "invalid_client", "error_description": "who are you"});
        seen.line.starts_with("POST /v1/oauth").then_some(Reply::Json(401, refusal))
    })
    .await;
    let error = wrong.connect(&[("credential", "me:hush")]).await.unwrap_err();
    assert_eq!(error.class(), Class::Config);
    assert!(error.to_string().contains("who are you") && !error.to_string().contains("hush"), "{error}");
    let fixed =
        Server::start(|seen, _| seen.line.contains("config").then(|| Reply::Json(401, error_body(401, "")))).await;
    assert_eq!(fixed.connect(&[("token", "x")]).await.unwrap_err().class(), Class::Config);
}

#[tokio::test]
async fn lent_keys_make_stores_of_their_own() {
    let with_keys = |id: usize| {
        let mut body = table_body();
        body["config"] = json!({"s3.access-key-id": "general", "s3.secret-access-key": "s", "owner": 1});
        body["storage-credentials"] = json!([
            {"prefix": "s3://bucket/t", "config": {"s3.access-key-id": format!("id{id}"), "s3.secret-access-key": "s"}},
            {"prefix": "s3://bucket", "config": {"s3.access-key-id": "wide", "s3.secret-access-key": "s"}},
            {"prefix": "s3://other", "config": {"s3.access-key-id": "other", "s3.secret-access-key": "s"}},
        ]);
        Reply::Json(200, body)
    };
    let server = Server::start(move |seen, before| seen.line.starts_with(LOAD).then(|| with_keys(before / 2))).await;
    let catalog = server.connect(&[]).await.unwrap();
    let key = || catalog.stores(&ident("t")).config().access_key.clone();
    assert_eq!(key(), None, "nothing is lent before the table is loaded");
    for expected in ["id0", "id0", "id1"] {
        catalog.load(&ident("t")).await.unwrap();
        assert_eq!(key().as_deref(), Some(expected));
    }
    let own = StoreConfig { access_key: Some("mine".into()), ..StoreConfig::default() };
    let catalog = RestCatalog::connect(&config(&server.uri, &[]), &Stores::new(own)).await.unwrap();
    catalog.load(&ident("missing")).await.unwrap();
    assert_eq!(server.last("GET /v1/main%7Cwh/namespaces/ns/tables/missing").delegation, None, "we have keys");
}

#[tokio::test]
async fn pages_are_followed_and_faster_creators_accepted() {
    let pages = |seen: &Seen, _: usize| {
        let names = |names: &[&str]| names.iter().map(|n| json!({"namespace": ["ns"], "name": n})).collect::<Vec<_>>();
        match seen.line.as_str() {
            "GET /v1/main%7Cwh/namespaces/ns/tables" => {
                Some(Reply::Json(200, json!({"identifiers": names(&["b", "c"]), "next-page-token": "p2"})))
            }
            "GET /v1/main%7Cwh/namespaces/ns/tables?pageToken=p2" => {
                Some(Reply::Json(200, json!({"identifiers": names(&["a"]), "next-page-token": null})))
            }
            _ => None,
        }
    };
    let server = Server::start(pages).await;
    let catalog = server.connect(&[]).await.unwrap();
    assert_eq!(catalog.tables("ns").await.unwrap(), ["a", "b", "c"]);
    assert_eq!(catalog.tables("nowhere").await.unwrap(), Vec::<String>::new());

    // missing at first; then the creation fails, for somebody else has made it
    let raced = |seen: &Seen, before: usize| match seen.line.as_str() {
        LOAD if before == 0 => Some(Reply::Json(404, error_body(404, "NoSuchTableException"))),
        line if line.starts_with("POST") => Some(Reply::Json(500, error_body(500, "duplicate key"))),
        _ => None,
    };
    let server = Server::start(raced).await;
    let catalog = server.connect(&[]).await.unwrap();
    let schema = metadata().current_schema().as_ref().clone();
    let creation = TableCreation::builder().name("t".into()).schema(schema).build();
    assert_eq!(catalog.create("ns", creation).await.unwrap().identifier(), &ident("t"));
}
