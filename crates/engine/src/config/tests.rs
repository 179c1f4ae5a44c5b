#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use std::collections::BTreeSet;

/// A file, variables and `--set`s.
fn sources(file: &str, environment: &[(&str, &str)], set: &[&str]) -> Sources {
    Sources {
        file: (!file.is_empty()).then(|| ("k2.toml".to_owned(), file.to_owned())),
        environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        set: set.iter().map(|s| (*s).to_owned()).collect(),
    }
}

fn load(file: &str, environment: &[(&str, &str)], set: &[&str]) -> Config {
    Config::load(&sources(file, environment, set)).unwrap()
}

fn errors(file: &str, environment: &[(&str, &str)], set: &[&str]) -> Vec<String> {
    Config::load(&sources(file, environment, set)).unwrap_err().0.iter().map(ToString::to_string).collect()
}

fn pipeline<'a>(config: &'a Config, name: &str) -> &'a Pipeline {
    config.pipelines.iter().find(|p| p.name == name).unwrap()
}

fn config_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config")
}

#[test]
fn the_defaults_are_the_contract() {
    let config = load("", &[], &[]);
    assert_eq!(config.kafka.brokers, "localhost:9092");
    assert_eq!(config.kafka.properties.iter().count(), 0);
    assert_eq!(config.registry.url, None);
    assert_eq!(config.registry.folder, "config/schemas");
    assert_eq!(config.registry.unknown_id_grace, Duration::from_secs(60));
    assert_eq!(config.catalog.name, "iceberg");
    assert_eq!(config.catalog.kind, CatalogKind::Sql);
    assert_eq!(config.catalog.uri.expose(), "sqlite:k2-data/catalog.db");
    assert_eq!(config.catalog.warehouse, "k2-data/warehouse");
    assert_eq!(config.catalog.namespace, "market_data");
    assert!(config.catalog.create_tables);
    assert_eq!(config.store.endpoint, None);
    assert_eq!(config.store.region, "us-east-1");
    assert!(config.store.keys.is_none());
    assert!(config.store.path_style);
    assert_eq!((config.store.max_connections, config.store.max_uploads), (50, 20));
    assert_eq!(config.store.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.store.request_timeout, Duration::from_secs(200));
    assert_eq!(config.memory.budget, 384 << 20);
    assert_eq!(config.http.listen.as_deref(), Some("127.0.0.1:9464"));
    assert_eq!(config.rules.max_future, Duration::from_secs(300));
    assert_eq!(config.rules.max_age, Duration::from_secs(365 * 86_400));
    assert_eq!(config.rules.max_record, 8 << 20);
    let names: Vec<_> = config.pipelines.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["bronze-binance", "bronze-kraken"]);
    for (pipeline, exchange) in config.pipelines.iter().zip(["binance", "kraken"]) {
        assert_eq!(pipeline.kind, PipelineKind::Bronze);
        assert_eq!(pipeline.topic, format!("market.crypto.trades.{exchange}.raw"));
        assert_eq!(pipeline.group, format!("k2-bronze-{exchange}-ingestion"));
        assert_eq!(pipeline.table, format!("bronze_{exchange}_trades"));
        assert!(pipeline.enabled);
        assert_eq!(pipeline.start, Start::Earliest);
        assert_eq!(pipeline.commit_interval, Duration::from_secs(10));
        assert_eq!(pipeline.rate_limit, None);
    }
}

#[test]
fn the_stronger_layer_wins_key_by_key() {
    let file = "[kafka]\nbrokers = \"file:1\"\n[memory]\nbudget = \"100MiB\"\n[http]\nlisten = \"\"\n";
    let environment =
        [("K2_KAFKA__BROKERS", "env:1"), ("K2_MEMORY__BUDGET", "200MiB"), ("K2_TEST_KAFKA", "x"), ("K2_LOG", "x")];
    let config = load(file, &environment, &["kafka.brokers=first:1", "kafka.brokers=set:1"]);
    assert_eq!(config.kafka.brokers, "set:1");
    assert_eq!(config.memory.budget, 200 << 20);
    assert_eq!(config.http.listen, None);
    assert_eq!(config.store.region, "us-east-1");
    assert_eq!(config.origin("kafka.brokers"), "kafka.brokers (--set)");
    assert_eq!(config.origin("memory.budget"), "memory.budget (environment K2_MEMORY__BUDGET)");
    assert_eq!(config.origin("http.listen"), "http.listen (k2.toml:6)");
    assert_eq!(config.origin("store.region"), "store.region (default)");
    assert_eq!(config.origin("pipelines.bronze-kraken.start"), "pipelines.bronze-kraken.start (default)");
}

#[test]
fn pipelines_are_changed_key_by_key_added_and_turned_off() {
    let file = r#"
        [defaults.bronze]
        commit_interval = "30s"
        [pipelines.bronze-kraken]
        enabled = false
        [pipelines.bronze-coinbase]
        kind = "bronze"
        topic = "coinbase.raw"
        group = "k2-coinbase"
        table = "bronze_coinbase_trades"
        rate_limit = 1000
    "#;
    let environment = [("K2_PIPELINES__BRONZE_BINANCE__COMMIT_INTERVAL", "1s")];
    let config = load(file, &environment, &["pipelines.bronze-coinbase.start=latest"]);
    let binance = pipeline(&config, "bronze-binance");
    assert_eq!(binance.commit_interval, Duration::from_secs(1));
    assert_eq!(binance.topic, "market.crypto.trades.binance.raw");
    assert!(!pipeline(&config, "bronze-kraken").enabled);
    let coinbase = pipeline(&config, "bronze-coinbase");
    assert_eq!(coinbase.commit_interval, Duration::from_secs(30));
    assert_eq!(coinbase.start, Start::Latest);
    assert_eq!(coinbase.rate_limit.unwrap().get(), 1000);
    let running: Vec<_> = config.enabled().map(|p| p.name.as_str()).collect();
    assert_eq!(running, ["bronze-binance", "bronze-coinbase"]);
}

#[test]
fn a_pipeline_can_come_from_the_environment_alone() {
    let environment = [
        ("K2_PIPELINES__BRONZE_X__KIND", "bronze"),
        ("K2_PIPELINES__BRONZE_X__TOPIC", "x"),
        ("K2_PIPELINES__BRONZE_X__GROUP", "x"),
        ("K2_PIPELINES__BRONZE_X__TABLE", "x"),
    ];
    assert_eq!(pipeline(&load("", &environment, &[]), "bronze-x").topic, "x");
}

#[test]
fn properties_merge_by_name_in_every_spelling() {
    let file = r#"
        [kafka.properties]
        "security.protocol" = "SASL_SSL"
        ssl.ca.location = "/ca.pem"
        "socket.keepalive.enable" = true
        [catalog]
        properties = { scope = "all" }
    "#;
    let environment = [
        ("K2_KAFKA__PROPERTIES__SASL_PASSWORD", "p"),
        ("K2_KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SSL"),
        ("K2_CATALOG__PROPERTIES__OAUTH2_SERVER_URI", "http://o"),
        ("K2_CATALOG__PROPERTIES__HEADER_X_REALM", "r"),
    ];
    let config = load(file, &environment, &["kafka.properties.sasl.username=u=v"]);
    let kafka: Vec<_> = config.kafka.properties.iter().collect();
    let expected = [
        ("sasl.password", "p"),
        ("sasl.username", "u=v"),
        ("security.protocol", "SSL"),
        ("socket.keepalive.enable", "true"),
        ("ssl.ca.location", "/ca.pem"),
    ];
    assert_eq!(kafka, expected);
    let catalog: Vec<_> = config.catalog.properties.iter().collect();
    assert_eq!(catalog, [("header.x-realm", "r"), ("oauth2-server-uri", "http://o"), ("scope", "all")]);
}

/// File, variables, `--set`s; then the whole text of every error, in order.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str], &'static [&'static str]);

const GOLDEN: &[Case] = &[
    // names
    ("[kafka]\nbroker = \"a:1\"", &[], &[], &["k2.toml:2:1: kafka.broker: unknown key; did you mean kafka.brokers?"]),
    ("[kafak]\nbrokers = \"a:1\"\nx = 1", &[], &[], &["k2.toml:1:2: kafak: unknown key; did you mean kafka?"]),
    ("brokers = \"a:1\"", &[], &[], &["k2.toml:1:1: brokers: unknown key; did you mean kafka.brokers?"]),
    (
        "[kafka]\nretries = 3",
        &[],
        &[],
        &["k2.toml:2:1: kafka.retries: unknown key; in kafka there are brokers, properties"],
    ),
    ("", &[], &["kafka.broker=a:1"], &["--set kafka.broker: unknown key; did you mean kafka.brokers?"]),
    (
        "",
        &[("K2_KAFKA__BROKER", "a:1")],
        &[],
        &["environment K2_KAFKA__BROKER: kafka.broker: unknown key; did you mean K2_KAFKA__BROKERS?"],
    ),
    ("", &[], &["kafka.brokers.x=1"], &["--set kafka.brokers.x: unknown key; kafka.brokers has no keys below it"]),
    ("", &[], &["kafka=1"], &["--set kafka: is a section; name a key of it"]),
    ("", &[], &["kafka.brokers"], &["--set kafka.brokers: has no value; write --set KEY=VALUE"]),
    (
        "",
        &[],
        &["kafka.properties={}"],
        &["--set kafka.properties: is a table; set one of its properties: kafka.properties.NAME"],
    ),
    ("kafka = \"a:1\"", &[], &[], &["k2.toml:1:1: kafka: is a section; write [kafka] and its keys below"]),
    (
        "[[pipelines]]\nkind = \"bronze\"",
        &[],
        &[],
        &["k2.toml:1:3: pipelines: is a section; write [pipelines] and its keys below"],
    ),
    // syntax
    (
        "[kafka]\nbrokers = \n",
        &[],
        &[],
        &["k2.toml:2:11: this is not TOML: string values must be quoted, expected literal string"],
    ),
    // types
    ("[kafka]\nbrokers = 9092", &[], &[], &["k2.toml:2:11: kafka.brokers: wants a text in quotes, not an integer"]),
    (
        "[catalog]\ncreate_tables = \"yes\"",
        &[],
        &[],
        &["k2.toml:2:17: catalog.create_tables: wants true or false, not a string"],
    ),
    ("", &[], &["catalog.create_tables=yes"], &["--set catalog.create_tables: \"yes\" is neither true nor false"]),
    (
        "[store]\nconnect_timeout = 5\nrequest_timeout = \"5\"\n",
        &[],
        &["store.connect_timeout=5 fortnights"],
        &[
            "k2.toml:2:19: store.connect_timeout: wants a duration such as \"10s\", not an integer",
            "k2.toml:3:19: store.request_timeout: \"5\" has no unit; write a whole number with a unit: 200ms, 10s, 1m, 2h, 7d",
            "--set store.connect_timeout: \"5 fortnights\" has an unknown unit \"fortnights\"; write a whole number with a unit: 200ms, 10s, 1m, 2h, 7d",
        ],
    ),
    (
        "[memory]\nbudget = \"384M\"",
        &[],
        &["rules.max_record=big"],
        &[
            "k2.toml:2:10: memory.budget: \"384M\" has an unknown unit \"M\"; write a whole number with a unit: 64KiB, 384MiB, 1GiB (1024s), 8MB (1000s), or bytes",
            "--set rules.max_record: \"big\" is not a size; write a whole number with a unit: 64KiB, 384MiB, 1GiB (1024s), 8MB (1000s), or bytes",
        ],
    ),
    (
        "[kafka.properties]\nx = [1]",
        &[],
        &[],
        &["k2.toml:2:5: kafka.properties.x: wants a text, a number or true/false, not an array"],
    ),
    // limits
    ("[memory]\nbudget = 1048576", &[], &[], &["k2.toml:2:10: memory.budget: 1MiB is less than the least, 64MiB"]),
    ("[memory]\nbudget = -1", &[], &[], &["k2.toml:2:10: memory.budget: must not be negative"]),
    ("", &[], &["store.max_uploads=0"], &["--set store.max_uploads: 0 is less than the least, 1"]),
    (
        "",
        &[],
        &["pipelines.bronze-binance.commit_interval=200ms", "defaults.bronze.commit_interval=2h"],
        &[
            "--set pipelines.bronze-binance.commit_interval: 200ms is less than the least, 1s",
            "--set defaults.bronze.commit_interval: 2h is more than the most, 1h",
        ],
    ),
    // words
    (
        "[catalog]\ntype = \"sqll\"",
        &[],
        &[],
        &["k2.toml:2:8: catalog.type: \"sqll\" is not one of \"sql\", \"rest\"; did you mean \"sql\"?"],
    ),
    (
        "",
        &[],
        &["pipelines.bronze-kraken.start=newest"],
        &["--set pipelines.bronze-kraken.start: \"newest\" is not one of \"earliest\", \"latest\""],
    ),
    // addresses and names
    ("", &[], &["kafka.brokers="], &["--set kafka.brokers: must not be empty"]),
    (
        "",
        &[],
        &["kafka.brokers=http://a"],
        &["--set kafka.brokers: brokers have no scheme; write host:port, several with commas between them"],
    ),
    (
        "",
        &[],
        &["kafka.brokers=a:1,,b:1"],
        &[
            "--set kafka.brokers: there is an empty broker in the list; write host:port, several with commas between them",
        ],
    ),
    (
        "",
        &[],
        &["kafka.brokers=a:x"],
        &[
            "--set kafka.brokers: \"a:x\" has no good port (1 to 65535); write host:port, several with commas between them",
        ],
    ),
    (
        "",
        &[],
        &["http.listen=9464"],
        &["--set http.listen: \"9464\" has no port; write address:port, or nothing to turn it off"],
    ),
    (
        "",
        &[],
        &["registry.url=registry:8081"],
        &["--set registry.url: has the scheme \"registry\"; write http://… or https://…"],
    ),
    (
        "",
        &[],
        &["store.endpoint=//s3"],
        &["--set store.endpoint: is not an address (relative URL without a base); write http://host:port"],
    ),
    (
        "",
        &[],
        &["catalog.uri=catalog.db"],
        &["--set catalog.uri: has no scheme; write sqlite:FILE, postgres://USER@HOST/DB or http(s)://HOST"],
    ),
    (
        "",
        &[],
        &["catalog.uri=sqlite::memory:"],
        &["--set catalog.uri: a catalog in memory forgets its tables, and the rows with them; write sqlite:FILE"],
    ),
    (
        "",
        &[],
        &["catalog.warehouse=hdfs://n/x"],
        &[
            "--set catalog.warehouse: has the scheme \"hdfs\", which K2 cannot write to; write a folder, file:///FOLDER, s3://BUCKET/…, gs://BUCKET/… or az://CONTAINER/…",
        ],
    ),
    (
        "",
        &[],
        &["catalog.warehouse=s3a://b/x"],
        &["--set catalog.warehouse: is a scheme of Hadoop; write s3://BUCKET/…"],
    ),
    (
        "",
        &[],
        &["catalog.namespace=a/b"],
        &["--set catalog.namespace: \"a/b\" has a '/' in it; letters, digits, `_` and `-` are allowed"],
    ),
    (
        "",
        &[],
        &["pipelines.bronze-kraken.topic=a b"],
        &[
            "--set pipelines.bronze-kraken.topic: \"a b\" is no name for a topic; Kafka allows letters, digits, `.`, `_` and `-`",
        ],
    ),
    ("", &[], &["pipelines.bronze-kraken.table= "], &["--set pipelines.bronze-kraken.table: must not be empty"]),
    // several together
    (
        "[catalog]\nuri = \"http://c\"",
        &[],
        &[],
        &[
            "k2.toml:2:7: catalog.uri: is an http address, but catalog.type is \"sql\"; write sqlite:FILE or postgres://…, or set type = \"rest\"",
        ],
    ),
    (
        "",
        &[],
        &["catalog.type=rest"],
        &["--set catalog.type: is \"rest\", but catalog.uri is not set to match: http(s)://…"],
    ),
    ("[store]\naccess_key = \"a\"", &[], &[], &["k2.toml:2:14: store.access_key: needs store.secret_key beside it"]),
    ("", &[], &["store.secret_key=hunter2"], &["--set store.secret_key: needs store.access_key beside it"]),
    ("", &[], &["catalog.properties.uri=x"], &["--set catalog.properties.uri: is set by catalog.uri"]),
    (
        "",
        &[],
        &["kafka.properties.group.id=x"],
        &["--set kafka.properties.group.id: cannot be set: each pipeline has its own fixed `group`"],
    ),
    // pipelines
    (
        "[pipelines.bronze-binanc]\nstart = \"latest\"",
        &[],
        &[],
        &[
            "k2.toml:1:12: pipelines.bronze-binanc: there is no such pipeline; did you mean bronze-binance? A new one needs kind, topic, group, table",
        ],
    ),
    ("[pipelines.x]\nkind = \"bronze\"\ntopic = \"x\"", &[], &[], &["k2.toml:1:12: pipelines.x: lacks group, table"]),
    ("[pipelines.x]", &[], &[], &["k2.toml:1:12: pipelines.x: lacks kind, topic, group, table"]),
    (
        "[pipelines.bronze_binance]\nstart = \"latest\"",
        &[],
        &[],
        &[
            "k2.toml:1:12: pipelines.bronze_binance: differs from bronze-binance only in case, `-` or `_`; the environment could not tell them apart",
        ],
    ),
    (
        "[pipelines.\"a b\"]",
        &[],
        &[],
        &[
            "k2.toml:1:12: pipelines.a b: a pipeline's name: \"a b\" has a ' ' in it; letters, digits, `_` and `-` are allowed",
        ],
    ),
    (
        "[pipelines.silver-binance]\nkind = \"silver\"\ndlq = \"silver_dlq_trades\"",
        &[],
        &[],
        &[
            "k2.toml:2:8: pipelines.silver-binance.kind: this version runs bronze pipelines only; take the silver block out of the configuration",
        ],
    ),
    (
        "",
        &[],
        &["pipelines.bronze-kraken.kind=gold"],
        &[
            "--set pipelines.bronze-kraken.kind: \"gold\" is not a kind of pipeline; the only one in this version is \"bronze\"",
        ],
    ),
    (
        "[pipelines.two]\nkind = \"bronze\"\ntopic = \"market.crypto.trades.binance.raw\"\ngroup = \"k2-bronze-binance-ingestion\"\ntable = \"two\"",
        &[],
        &[],
        &[
            "k2.toml:4:9: pipelines.two.group: bronze-binance and two have the same topic and group: two readers in one group take each other's partitions; give one of them another group",
        ],
    ),
    (
        "",
        &[],
        &[
            "pipelines.bronze-kraken.topic=t",
            "pipelines.bronze-binance.topic=t",
            "pipelines.bronze-binance.table=bronze_kraken_trades",
        ],
        &[
            "--set pipelines.bronze-binance.table: bronze-binance and bronze-kraken have the same topic and table: every record would be in the table twice; give one of them another table",
        ],
    ),
    (
        "[pipelines.bronze-kraken]\ngroup = \"k2-bronze-binance-ingestion\"\ntable = \"bronze_binance_trades\"",
        &[],
        &[],
        &[
            "k2.toml:3:9: pipelines.bronze-kraken.table: bronze-binance and bronze-kraken have the same group and table: the table keeps its offsets under the group's name; give one of them another group",
        ],
    ),
];

#[test]
fn every_error_says_where_what_and_what_else() {
    let mut wrong = Vec::new();
    for (file, environment, set, expected) in GOLDEN {
        let got = match Config::load(&sources(file, environment, set)) {
            Ok(_) => vec!["no error".to_owned()],
            Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
        };
        if got != *expected {
            wrong.push(format!("{file:?} {environment:?} {set:?}\n  got  {got:#?}\n  not  {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_errors_are_told_at_once_in_the_order_of_the_layers() {
    let file = "[kafka]\nbroker = \"a\"\n[memory]\nbudget = 1\n";
    let all = Config::load(&sources(file, &[("K2_HTTP__LISTEN", "x")], &["catalog.type=no"])).unwrap_err();
    let error = Error::from(all);
    assert_eq!(error.class(), k2_model::Class::Config);
    assert_eq!(
        error.to_string(),
        "4 errors in the configuration\n  \
         k2.toml:2:1: kafka.broker: unknown key; did you mean kafka.brokers?\n  \
         k2.toml:4:10: memory.budget: 1 bytes is less than the least, 64MiB\n  \
         environment K2_HTTP__LISTEN: http.listen: \"x\" has no port; write address:port, or nothing to turn it off\n  \
         --set catalog.type: \"no\" is not one of \"sql\", \"rest\""
    );
}

#[test]
fn a_disabled_pipeline_clashes_with_nothing() {
    let file = "[pipelines.bronze-binance]\nenabled = false\n[pipelines.two]\nkind = \"bronze\"\n\
                topic = \"market.crypto.trades.binance.raw\"\ngroup = \"k2-bronze-binance-ingestion\"\ntable = \"two\"";
    assert_eq!(load(file, &[], &[]).enabled().count(), 2);
}

#[test]
fn secrets_are_never_printed() {
    let file = r#"
        [kafka.properties]
        "sasl.password" = "hunter2"
        "ssl.key.password" = "hunter2"
        [registry]
        url = "http://user:hunter2@registry"
        [catalog]
        uri = "postgres://k2:hun%2Fter2@host/db?password=hunter2"
        properties = { credential = "id:hunter2", token = "hunter2", "oauth2-server-uri" = "http://o/token" }
        [store]
        access_key = "AK"
        secret_key = "hunter2"
    "#;
    let config = load(file, &[], &[]);
    assert_eq!(config.store.keys.as_ref().unwrap().secret_key.expose(), "hunter2");
    assert_eq!(config.catalog.uri.to_string(), "postgres://k2:***@host/db?password=***");
    for shown in [format!("{config:?}"), format!("{config:#?}"), config.to_string()] {
        assert!(!shown.contains("ter2"), "{shown}");
        assert!(shown.contains("http://o/token"), "{shown}");
    }
    assert_eq!(Uri::new("postgres://k2:hun/ter2@host/db").to_string(), "postgres://k2:***@host/db");
    // error texts neither
    for (key, value) in [
        ("registry.url", "ftp://u:hunter2@h"),
        ("catalog.uri", "mysql://u:hunter2@h"),
        ("catalog.uri", "postgres://u:hunter2@"),
        ("catalog.uri", "postgres://u:p/hunter2@host"),
        ("store.secret_key", "hunter2"),
    ] {
        let errors = errors("", &[], &[&format!("{key}={value}")]);
        assert!(errors.iter().all(|e| !e.contains("hunter2")), "{errors:?}");
    }
    let mistyped = errors("[store]\nsecret_key = 123456\n", &[], &[]);
    assert_eq!(mistyped, ["k2.toml:2:14: store.secret_key: wants a text in quotes, not an integer"]);
}

#[test]
fn pipelines_are_selected_by_name() {
    let config = load("[pipelines.bronze-kraken]\nenabled = false", &[], &[]);
    let names = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        config
            .select(&names)
            .map(|all| all.iter().map(|p| p.name.clone()).collect::<Vec<_>>())
            .map_err(|e| e.to_string())
    };
    assert_eq!(names(&[]).unwrap(), ["bronze-binance"]);
    assert_eq!(names(&["bronze-binance", "bronze-binance"]).unwrap(), ["bronze-binance"]);
    assert_eq!(
        names(&["bronze-binence"]).unwrap_err(),
        "there is no pipeline bronze-binence. did you mean bronze-binance?"
    );
    assert_eq!(
        names(&["bronze-kraken"]).unwrap_err(),
        "the pipeline bronze-kraken is turned off [pipelines.bronze-kraken.enabled (k2.toml:2)]. \
         turn it on: --set pipelines.bronze-kraken.enabled=true"
    );
}

#[test]
fn durations_and_sizes() {
    for (text, expected) in
        [("0s", 0), ("200ms", 200), ("10s", 10_000), ("1m", 60_000), ("2h", 7_200_000), ("7d", 604_800_000)]
    {
        assert_eq!(value::duration(text).unwrap(), Duration::from_millis(expected), "{text}");
    }
    for text in ["", "s", "-1s", "1.5s", "1w", "18446744073709551615d", "300000000d", "1S"] {
        assert!(value::duration(text).is_err(), "{text}");
    }
    for (text, expected) in [("0", 0), ("7", 7), ("8MB", 8_000_000), ("64KiB", 65_536), ("1 GiB", 1 << 30), ("5B", 5)] {
        assert_eq!(value::size(text).unwrap(), expected, "{text}");
    }
    for text in ["", "MiB", "-1", "1.5GiB", "1mib", "99999999TiB"] {
        assert!(value::size(text).is_err(), "{text}");
    }
    for text in ["200ms", "10s", "90s", "1m", "36h", "7d"] {
        assert_eq!(shown_duration(value::duration(text).unwrap()), text);
    }
    for text in ["384MiB", "1GiB", "1025KiB"] {
        assert_eq!(shown_size(value::size(text).unwrap()), text);
    }
}

/// Every key that a document sets, pipelines' names as `*`.
fn keys_of(table: &dyn toml_edit::TableLike, path: &str, into: &mut BTreeSet<String>) {
    for (name, item) in table.iter() {
        let name = if path == "pipelines." { "*" } else { name };
        match item.as_table_like() {
            Some(below) if !below.is_empty() => keys_of(below, &format!("{path}{name}."), into),
            _ => {
                into.insert(format!("{path}{name}"));
            }
        }
    }
}

#[test]
fn the_default_file_has_every_key_and_no_other() {
    let document = toml_edit::Document::parse(DEFAULTS).unwrap();
    let mut written = BTreeSet::new();
    keys_of(document.as_table(), "", &mut written);
    // what a pipeline may leave to its kind's defaults stands there
    let known: BTreeSet<String> = schema::KEYS
        .iter()
        .map(|key| key.name.to_owned())
        .filter(|key| {
            let default = key.replace("pipelines.*.", "defaults.bronze.");
            !key.starts_with("pipelines.") || schema::KEYS.iter().all(|k| k.name != default)
        })
        .collect();
    assert_eq!(written, known);
    // and every default that can be set for a kind can be set for one pipeline
    for key in schema::KEYS.iter().filter_map(|k| k.name.strip_prefix("defaults.bronze.")) {
        assert!(schema::KEYS.iter().any(|k| k.name == format!("pipelines.*.{key}")), "{key}");
    }
}

#[test]
fn the_default_file_fits_a_terminal() {
    assert!(DEFAULTS.lines().all(|line| line.chars().count() <= 120));
}

#[test]
fn the_default_file_is_a_valid_file_of_a_user() {
    let config = Config::load(&sources(DEFAULTS, &[], &[])).unwrap();
    assert_eq!(config.pipelines.len(), 2);
}

#[test]
fn every_example_is_valid() {
    let mut seen = 0;
    for entry in std::fs::read_dir(config_folder().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let file = Some((path.display().to_string(), text));
        if let Err(errors) = Config::load(&Sources { file, ..Sources::default() }) {
            panic!("{errors}");
        }
        seen += 1;
    }
    assert!(seen >= 3, "{seen} examples");
}

#[test]
fn the_file_of_the_contract_is_taken_but_for_silver() {
    let text = DEFAULTS.to_owned()
        + "\n[pipelines.silver-binance]\nkind = \"silver\"\nreader_schema = \"config/schemas/x.avsc\"\n";
    let errors = errors(&text, &[], &[]);
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[test]
fn an_unreadable_file_is_named() {
    let error = Sources::of_process(Some(Path::new("no/such/file.toml")), vec![]).unwrap_err();
    assert_eq!(error.class(), k2_model::Class::Config);
    assert!(error.to_string().starts_with("cannot read the configuration [no/such/file.toml]: "), "{error}");
}
