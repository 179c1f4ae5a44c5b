#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::golden::{Case, tell};
use super::*;

/// What is wrong with pipelines: alone, by their kind, and beside each other.
const GOLDEN: &[Case] = &[
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
        "",
        &[],
        &["pipelines.bronze-kraken.kind=gold"],
        &[
            "--set pipelines.bronze-kraken.kind: \"gold\" is not a kind of pipeline; there are \"bronze\" and \"silver\"",
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
    (
        "[pipelines.silver-x]\nkind = \"silver\"\ntopic = \"x\"\ngroup = \"x\"\ntable = \"x\"",
        &[],
        &[],
        &["k2.toml:1:12: pipelines.silver-x: lacks reader_schema, projection"],
    ),
    (
        "[pipelines.bronze-binance]\ndlq = \"rejects\"\nprojection = \"p.sql\"",
        &[],
        &[],
        &[
            "k2.toml:2:7: pipelines.bronze-binance.dlq: is for silver pipelines: bronze keeps the raw bytes and decodes nothing; take it out, or set kind = \"silver\"",
            "k2.toml:3:14: pipelines.bronze-binance.projection: is for silver pipelines: bronze keeps the raw bytes and decodes nothing; take it out, or set kind = \"silver\"",
        ],
    ),
    (
        "",
        &[],
        &["pipelines.silver-kraken.kind=bronze"],
        &[
            "--set pipelines.silver-kraken.kind: cannot become \"bronze\": it is a silver pipeline of the defaults; turn it off with enabled = false and add a pipeline of your own",
        ],
    ),
    (
        "",
        &[],
        &["pipelines.silver-kraken.dlq=silver_kraken_trades"],
        &[
            "--set pipelines.silver-kraken.dlq: silver_kraken_trades would be the silver table of silver-kraken and the dead letters of silver-kraken; one table has one contract: name another table",
        ],
    ),
    (
        "",
        &[],
        &["defaults.silver.dlq=bronze_kraken_trades"],
        &[
            "--set defaults.silver.dlq: bronze_kraken_trades would be the bronze table of bronze-kraken and the dead letters of silver-binance; one table has one contract: name another table",
        ],
    ),
    (
        "",
        &[],
        &["pipelines.silver-kraken.bronze=silver_binance_trades"],
        &[
            "--set pipelines.silver-kraken.bronze: silver_binance_trades would be the silver table of silver-binance and the bronze table of silver-kraken; one table has one contract: name another table",
        ],
    ),
    (
        "",
        &[],
        &["pipelines.silver-kraken.group=k2-silver-binance-transformation"],
        &[
            "--set pipelines.silver-kraken.group: silver-binance and silver-kraken have the same group and dlq: the table keeps its offsets under the group's name; give one of them another group",
        ],
    ),
    (
        "",
        &[],
        &["pipelines.silver-kraken.topic=market.crypto.trades.binance.raw"],
        &[
            "--set pipelines.silver-kraken.topic: silver-binance and silver-kraken have the same topic and dlq: every reject would be among the dead letters twice; give one of them another dlq",
        ],
    ),
    ("", &[], &["pipelines.silver-kraken.dlq="], &["--set pipelines.silver-kraken.dlq: must not be empty"]),
    (
        "[pipelines.silver-kraken]\nreader_shema = \"x\"",
        &[],
        &[],
        &[
            "k2.toml:2:1: pipelines.silver-kraken.reader_shema: unknown key; did you mean pipelines.silver-kraken.reader_schema?",
        ],
    ),
];

#[test]
fn every_error_about_pipelines_says_where_what_and_what_else() {
    tell(GOLDEN);
}

#[test]
fn a_silver_pipeline_takes_the_defaults_of_its_kind() {
    let file = r#"
        [defaults.bronze]
        commit_interval = "7s"
        [defaults.silver]
        commit_interval = "9s"
        dlq = "rejects"
        rules_file = "rules.toml"
        [pipelines.coinbase]
        kind = "silver"
        topic = "coinbase.raw"
        group = "k2-coinbase"
        table = "silver_coinbase_trades"
        reader_schema = "coinbase.avsc"
        projection = "coinbase.sql"
    "#;
    let config = load(file, &[("K2_PIPELINES__SILVER_KRAKEN__DLQ", "rejects_kraken")], &[]);
    let coinbase = pipeline(&config, "coinbase");
    assert_eq!(coinbase.commit_interval, Duration::from_secs(9));
    let silver = coinbase.silver().unwrap();
    assert_eq!(
        (silver.dlq.as_str(), silver.bronze.as_str(), silver.rules_file.as_str()),
        ("rejects", "", "rules.toml")
    );
    assert_eq!(pipeline(&config, "silver-kraken").silver().unwrap().dlq, "rejects_kraken");
    assert_eq!(config.origin("pipelines.coinbase.dlq"), "pipelines.coinbase.dlq (k2.toml:6)");
    assert_eq!(
        config.origin("pipelines.bronze-kraken.commit_interval"),
        "pipelines.bronze-kraken.commit_interval (k2.toml:3)"
    );
}

#[test]
fn the_registry_has_several_addresses_and_one_login() {
    let file = "[registry]\nurl = \"http://a:8081, https://b/apis/ccompat/v7\"\nuser = \"u\"\nca_file = \"ca.pem\"";
    let registry = load(file, &[("K2_REGISTRY__PASSWORD", "hunter2")], &["registry.request_timeout=2s"]).registry;
    let urls: Vec<&str> = registry.urls.iter().map(Uri::expose).collect();
    assert_eq!(urls, ["http://a:8081", "https://b/apis/ccompat/v7"]);
    assert_eq!(registry.auth, RegistryAuth::Basic { user: "u".into(), password: Secret::new("hunter2") });
    assert_eq!(registry.ca_file.as_deref(), Some("ca.pem"));
    assert_eq!(registry.request_timeout, Duration::from_secs(2));
    assert_eq!(load("", &[], &["registry.token=t"]).registry.auth, RegistryAuth::Bearer(Secret::new("t")));
}

#[test]
fn a_disabled_pipeline_clashes_with_nothing() {
    let file = "[pipelines.bronze-binance]\nenabled = false\n[pipelines.two]\nkind = \"bronze\"\n\
                topic = \"market.crypto.trades.binance.raw\"\ngroup = \"k2-bronze-binance-ingestion\"\ntable = \"two\"";
    assert_eq!(load(file, &[], &[]).enabled().count(), 4);
}
