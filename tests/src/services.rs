//! The servers of the tests: taken from the environment, or started once per test binary.
//!
//! `tests/services/lend` starts them and waits on a pipe whose other end this process holds: when the process is gone -
//! done, panicked or killed - the pipe closes and the servers stop. Nothing is leaked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::LazyLock;

/// A Kafka broker.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// `host:port`.
    pub brokers: String,
    /// Where clients look that come through a proxy: put a [`crate::TcpProxy`] there that leads to `behind_proxy`. None
    /// where the environment names a broker without such a listener.
    pub proxy_listen: Option<String>,
    /// The broker's listener for them.
    pub behind_proxy: Option<String>,
}

/// An S3 server with a bucket.
#[derive(Debug, Clone)]
pub struct S3 {
    /// Its URL.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The access key id.
    pub key: String,
    /// The secret access key.
    pub secret: String,
    /// The region.
    pub region: String,
}

/// An Iceberg REST catalog.
#[derive(Debug, Clone)]
pub struct RestCatalog {
    /// Its URL, without `/v1`.
    pub uri: String,
    /// Its warehouse: in the bucket of [`s3`] unless the environment says otherwise.
    pub warehouse: String,
}

/// A schema registry with Confluent's API.
#[derive(Debug, Clone)]
pub struct Registry {
    /// The root of its API.
    pub url: String,
}

impl Registry {
    /// Registers an Avro schema under a subject; the id that records carry in their frame.
    pub async fn register(&self, subject: &str, avsc: &str) -> i32 {
        self.register_as(subject, serde_json::json!({ "schema": avsc })).await
    }

    /// The same with a body of the test's own: `schemaType`, `references` …
    pub async fn register_as(&self, subject: &str, body: serde_json::Value) -> i32 {
        let mut url = reqwest::Url::parse(&self.url).unwrap();
        url.path_segments_mut().unwrap().pop_if_empty().extend(["subjects", subject, "versions"]);
        let request = reqwest::Client::new().post(url).header("content-type", "application/vnd.schemaregistry.v1+json");
        let answer = request.body(body.to_string()).send().await.unwrap().text().await.unwrap();
        let id = serde_json::from_str::<serde_json::Value>(&answer).ok().and_then(|answer| answer["id"].as_i64());
        i32::try_from(id.unwrap_or_else(|| panic!("{subject} was not registered: {answer}"))).unwrap()
    }
}

/// The broker of this test run.
pub fn kafka() -> &'static Kafka {
    static KAFKA: LazyLock<Kafka> = LazyLock::new(|| read_kafka(&vars("kafka", "K2_TEST_KAFKA")));
    &KAFKA
}

/// The S3 server of this test run.
pub fn s3() -> &'static S3 {
    static SERVER: LazyLock<S3> = LazyLock::new(|| {
        let vars = vars("s3", "K2_TEST_S3_ENDPOINT");
        S3 {
            endpoint: get(&vars, "K2_TEST_S3_ENDPOINT"),
            bucket: vars.get("K2_TEST_S3_BUCKET").cloned().unwrap_or_else(|| "warehouse".into()),
            key: get(&vars, "AWS_ACCESS_KEY_ID"),
            secret: get(&vars, "AWS_SECRET_ACCESS_KEY"),
            region: vars.get("AWS_REGION").cloned().unwrap_or_else(|| "us-east-1".into()),
        }
    });
    &SERVER
}

/// The REST catalog of this test run; its warehouse is in [`s3`].
pub fn rest_catalog() -> &'static RestCatalog {
    static CATALOG: LazyLock<RestCatalog> = LazyLock::new(|| {
        let vars = vars("rest-catalog", "K2_TEST_CATALOG_URI");
        RestCatalog { uri: get(&vars, "K2_TEST_CATALOG_URI"), warehouse: get(&vars, "K2_TEST_CATALOG_WAREHOUSE") }
    });
    &CATALOG
}

/// A PostgreSQL database of this test run, as a URL.
pub fn postgres() -> &'static str {
    static URL: LazyLock<String> = LazyLock::new(|| get(&vars("postgres", "K2_TEST_PG_URL"), "K2_TEST_PG_URL"));
    &URL
}

/// The schema registry of this test run.
pub fn registry() -> &'static Registry {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
        let vars = vars("registry", "K2_TEST_SCHEMA_REGISTRY_URL");
        Registry { url: get(&vars, "K2_TEST_SCHEMA_REGISTRY_URL") }
    });
    &REGISTRY
}

/// A broker for one test alone, which may disturb it. Stops when dropped.
pub fn own_kafka() -> (Kafka, Lent) {
    let lent = Lent::start("kafka", &[]);
    (read_kafka(&lent.vars), lent)
}

/// A registry for one test alone, which may disturb it. Stops when dropped.
pub fn own_registry() -> (Registry, Lent) {
    let lent = Lent::start("registry", &[]);
    (Registry { url: get(&lent.vars, "K2_TEST_SCHEMA_REGISTRY_URL") }, lent)
}

/// A Kafka broker behind TLS.
#[derive(Debug, Clone)]
pub struct SecureKafka {
    /// `host:port` without security, for the bench itself.
    pub plain: String,
    /// SASL over TLS: SCRAM-SHA-256, SCRAM-SHA-512, PLAIN.
    pub sasl: String,
    /// TLS with client certificates.
    pub mtls: String,
    /// The user that SASL knows, and the password.
    pub user: (String, String),
    /// The folder with `ca.pem`, `client.pem` and `client.key`.
    pub tls: PathBuf,
}

/// A broker behind TLS for one test. Stops when dropped.
pub fn own_secure_kafka() -> (SecureKafka, Lent) {
    let lent = Lent::start("kafka-secure", &[]);
    let get = |key: &str| get(&lent.vars, &format!("K2_TEST_SECURE_KAFKA_{key}"));
    let kafka = SecureKafka {
        plain: get("PLAIN"),
        sasl: get("SASL"),
        mtls: get("MTLS"),
        user: (get("USER"), get("PASSWORD")),
        tls: get("TLS").into(),
    };
    (kafka, lent)
}

fn read_kafka(vars: &Vars) -> Kafka {
    Kafka {
        brokers: get(vars, "K2_TEST_KAFKA"),
        proxy_listen: vars.get("K2_TEST_KAFKA_PROXY_LISTEN").cloned(),
        behind_proxy: vars.get("K2_TEST_KAFKA_PROXY_TO").cloned(),
    }
}

type Vars = BTreeMap<String, String>;

/// The variables of a service: the environment's if it names the service, else those of one that is started now.
fn vars(service: &str, key: &str) -> Vars {
    let environment: Vars = std::env::vars().collect();
    if environment.contains_key(key) {
        return environment;
    }
    let before = match service {
        "rest-catalog" => {
            let s3 = s3();
            vec![
                ("K2_TEST_S3_ENDPOINT", s3.endpoint.as_str()),
                ("K2_TEST_S3_BUCKET", &s3.bucket),
                ("AWS_ACCESS_KEY_ID", &s3.key),
                ("AWS_SECRET_ACCESS_KEY", &s3.secret),
                ("AWS_REGION", &s3.region),
            ]
        }
        _ => Vec::new(),
    };
    let lent = Lent::start(service, &before);
    let vars = lent.vars.clone();
    // statics are never dropped: the pipe closes when the process ends
    std::mem::forget(lent);
    vars
}

fn get(vars: &Vars, key: &str) -> String {
    vars.get(key).unwrap_or_else(|| panic!("the variable {key} is not set, though the service is named")).clone()
}

/// A service that lives as long as this value and this process do.
#[derive(Debug)]
pub struct Lent {
    vars: Vars,
    hold: Option<ChildStdin>,
    keeper: Child,
}

impl Lent {
    fn start(service: &str, environment: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("k2-{service}-{}", uuid::Uuid::new_v4().simple()));
        let mut keeper = Command::new(scripts().join("lend"))
            .args([folder.as_os_str(), service.as_ref()])
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0) // a ctrl-C at the terminal must not reach it before the pipe closes
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run tests/services/lend: {e}"));
        let hold = keeper.stdin.take();
        let mut vars = Vars::new();
        let mut ready = false;
        for line in BufReader::new(keeper.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if line == "ready" {
                ready = true;
                break;
            }
            if let Some((key, value)) = line.strip_prefix("export ").and_then(|l| l.split_once('=')) {
                vars.insert(key.into(), value.into());
            }
        }
        assert!(ready, "the service {service} did not start; what it said is above");
        Self { vars, hold, keeper }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.hold.take();
        let _ = self.keeper.wait();
    }
}

fn scripts() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("services")
}
