#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;

#[path = "tests/defaults.rs"]
mod defaults;
#[path = "tests/golden.rs"]
mod golden;
#[path = "tests/silver.rs"]
mod silver;

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
    assert_eq!(running, ["bronze-binance", "bronze-coinbase", "silver-binance", "silver-kraken"]);
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

#[test]
fn secrets_are_never_printed() {
    let file = r#"
        [kafka.properties]
        "sasl.password" = "hunter2"
        "ssl.key.password" = "hunter2"
        [registry]
        url = "http://user:hunter2@registry,http://user:hunter2@other"
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
        ("registry.url", "http://a,ftp://u:hunter2@h"),
        ("registry.url", "http://u:hunter2,x@h"),
        ("registry.token", "hunter2,"),
        ("registry.password", "hunter2"),
        ("catalog.uri", "mysql://u:hunter2@h"),
        ("catalog.uri", "postgres://u:hunter2@"),
        ("catalog.uri", "postgres://u:p/hunter2@host"),
        ("store.secret_key", "hunter2"),
    ] {
        let Err(errors) = Config::load(&sources("", &[], &[&format!("{key}={value}")])) else { continue };
        let errors: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
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
    assert_eq!(names(&[]).unwrap(), ["bronze-binance", "silver-binance", "silver-kraken"]);
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

#[test]
fn an_unreadable_file_is_named() {
    let error = Sources::of_process(Some(Path::new("no/such/file.toml")), vec![]).unwrap_err();
    assert_eq!(error.class(), k2_model::Class::Config);
    assert!(error.to_string().starts_with("cannot read the configuration [no/such/file.toml]: "), "{error}");
}
