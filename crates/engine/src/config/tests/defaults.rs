#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use std::collections::BTreeSet;

fn config_folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config")
}

#[test]
fn the_defaults_are_the_contract() {
    let config = load("", &[], &[]);
    assert_eq!(config.kafka.brokers, "localhost:9092");
    assert_eq!(config.kafka.properties.iter().count(), 0);
    assert_eq!(config.registry.urls, []);
    assert_eq!(config.registry.auth, RegistryAuth::None);
    assert_eq!(config.registry.ca_file, None);
    assert_eq!(config.registry.connect_timeout, Duration::from_secs(5));
    assert_eq!(config.registry.request_timeout, Duration::from_secs(10));
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
    assert_eq!(names, ["bronze-binance", "bronze-kraken", "silver-binance", "silver-kraken"]);
    for exchange in ["binance", "kraken"] {
        let bronze = pipeline(&config, &format!("bronze-{exchange}"));
        let silver = pipeline(&config, &format!("silver-{exchange}"));
        assert_eq!(bronze.kind, PipelineKind::Bronze);
        assert_eq!(bronze.group, format!("k2-bronze-{exchange}-ingestion"));
        assert_eq!(bronze.table, format!("bronze_{exchange}_trades"));
        assert_eq!(bronze.commit_interval, Duration::from_secs(10));
        let expected = Silver {
            dlq: "silver_dlq_trades".into(),
            bronze: format!("bronze_{exchange}_trades"),
            reader_schema: format!("config/schemas/{exchange}_raw_trade.avsc"),
            projection: format!("config/transforms/{exchange}.sql"),
            rules_file: "config/rules/trades.toml".into(),
        };
        assert_eq!(silver.silver(), Some(&expected));
        assert_eq!(silver.group, format!("k2-silver-{exchange}-transformation"));
        assert_eq!(silver.table, format!("silver_{exchange}_trades"));
        assert_eq!(silver.commit_interval, Duration::from_secs(30));
        for pipeline in [bronze, silver] {
            assert_eq!(pipeline.topic, format!("market.crypto.trades.{exchange}.raw"));
            assert!(pipeline.enabled);
            assert_eq!(pipeline.start, Start::Earliest);
            assert_eq!(pipeline.rate_limit, None);
        }
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
            let is_default = |kind: &str| {
                let default = key.replace("pipelines.*.", &format!("defaults.{kind}."));
                schema::KEYS.iter().any(|k| k.name == default)
            };
            // the bronze tables of the silver pipelines that come with K2 are named there
            !key.starts_with("pipelines.")
                || key == "pipelines.*.bronze"
                || !(is_default("bronze") || is_default("silver"))
        })
        .collect();
    assert_eq!(written, known);
    // and every default that can be set for a kind can be set for one pipeline
    let of_kind = |key: &&'static str| Some(key.strip_prefix("defaults.")?.split_once('.')?.1);
    for key in schema::KEYS.iter().filter_map(|k| of_kind(&k.name)) {
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
    assert_eq!(config.pipelines.len(), 4);
}

#[test]
fn every_example_is_valid() {
    let mut seen = 0;
    for entry in std::fs::read_dir(config_folder().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        // beside them lie the schemas and projections that they name
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let file = Some((path.display().to_string(), text));
        let config = match Config::load(&Sources { file, ..Sources::default() }) {
            Ok(config) => config,
            Err(errors) => panic!("{errors}"),
        };
        for pipeline in config.enabled() {
            let Some(silver) = pipeline.silver() else { continue };
            let definition = crate::connect::definition(&config, pipeline, silver).unwrap();
            k2_transform::Plan::compile(&definition).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
        seen += 1;
    }
    assert!(seen >= 3, "{seen} examples");
}

/// The pipelines of the contract's example are the ones of the defaults: setting them again changes nothing.
#[test]
fn the_file_of_the_contract_is_taken() {
    let text = r#"
        [registry]
        url = ""
        folder = "config/schemas"
        unknown_id_grace = "1m"
        [pipelines.silver-binance]
        kind = "silver"
        topic = "market.crypto.trades.binance.raw"
        group = "k2-silver-binance-transformation"
        table = "silver_binance_trades"
        dlq = "silver_dlq_trades"
        bronze = "bronze_binance_trades"
        reader_schema = "config/schemas/binance_raw_trade.avsc"
        projection = "config/transforms/binance.sql"
        rules_file = "config/rules/trades.toml"
        commit_interval = "30s"
    "#;
    let (ours, theirs) = (load("", &[], &[]), load(text, &[], &[]));
    assert_eq!(format!("{:?}", ours.pipelines), format!("{:?}", theirs.pipelines));
}
