//! `k2 check`: what works, what does not, what could not be tried.

use super::*;

#[test]
fn check_tells_what_works_what_does_not_and_what_could_not_be_tried() {
    let folder = tempfile::tempdir().unwrap();
    let output = k2(folder.path(), &["--set", NOBODY, "check", "bronze-binance", "--set", "memory.budget=64MiB"]);
    assert_eq!(output.status.code(), Some(4), "{}\n{}", out(&output), err(&output));
    assert_eq!(err(&output), "");
    let lines: Vec<String> = out(&output).lines().map(str::to_owned).collect();
    let line =
        |start: &str| lines.iter().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("{start}: {lines:#?}"));
    assert_eq!(line("ok   configuration"), "ok   configuration: bronze-binance");
    line("ok   memory budget 64MiB");
    let brokers = line("FAIL brokers");
    assert!(brokers.contains("kafka.brokers (--set)"), "{brokers}");
    assert_eq!(line("skip topic"), "skip topic and group of bronze-binance: no broker answers");
    line("ok   catalog: ");
    let table = "ok   table market_data.bronze_binance_trades of bronze-binance: not there yet, run makes it";
    assert_eq!(line("ok   table"), table);
    line("ok   warehouse file:///");
    // the probe leaves no file behind
    assert_eq!(files_below(&folder.path().join("k2-data/warehouse")), Vec::<String>::new());
}

#[test]
fn check_asks_the_brokers_about_topics_and_groups() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
    cluster.create_topic("market.crypto.trades.binance.raw", 3, 1).unwrap();
    let brokers = format!("kafka.brokers={}", cluster.bootstrap_servers());

    let output = k2(folder.path(), &["--set", &brokers, "check", "bronze-binance"]);
    assert_eq!(output.status.code(), Some(0), "{}\n{}", out(&output), err(&output));
    assert!(out(&output).lines().all(|line| line.starts_with("ok   ")), "{}", out(&output));
    for expected in [
        "topic market.crypto.trades.binance.raw of bronze-binance: 3 partitions\n",
        "group k2-bronze-binance-ingestion of bronze-binance\n",
    ] {
        assert!(out(&output).contains(expected), "{}", out(&output));
    }

    let output = k2(folder.path(), &["--set", &brokers, "check"]);
    assert_eq!(output.status.code(), Some(4), "{}\n{}", out(&output), err(&output));
    let wrong: Vec<String> = out(&output).lines().filter(|l| !l.starts_with("ok ")).map(str::to_owned).collect();
    assert_eq!(wrong.len(), 2, "{wrong:#?}");
    for (line, pipeline) in wrong.iter().zip(["bronze-kraken", "silver-kraken"]) {
        assert!(line.starts_with(&format!("FAIL topic market.crypto.trades.kraken.raw of {pipeline}: ")), "{line}");
        assert!(line.ends_with(" - check the topic's name, and create it if it is new"), "{line}");
    }
}

#[test]
fn check_names_a_rest_catalog_that_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let rest = ["--set", "catalog.type=rest", "--set", "catalog.uri=http://127.0.0.1:1"];
    let output = k2(folder.path(), &[&["--set", NOBODY, "check", "bronze-kraken"], &rest[..]].concat());
    assert_eq!(output.status.code(), Some(4), "{}\n{}", out(&output), err(&output));
    let text = out(&output);
    assert!(text.contains("\nFAIL catalog: ") && text.contains("catalog.uri (--set)"), "{text}");
    assert!(
        text.contains("\nskip table bronze_kraken_trades of bronze-kraken: the catalog does not answer\n"),
        "{text}"
    );
    assert!(text.contains("\nskip warehouse: "), "{text}");
}

#[test]
fn check_finds_a_warehouse_that_cannot_be_written_to() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let args = ["--set", NOBODY, "check", "--format", "json", "--set", "catalog.warehouse=file/warehouse"];
    let output = k2(folder.path(), &args);
    assert_eq!(output.status.code(), Some(4), "{}\n{}", out(&output), err(&output));
    let findings: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    let of = |what: &str| {
        let all = findings.as_array().unwrap();
        all.iter()
            .find(|f| f["what"].as_str().unwrap().starts_with(what))
            .unwrap_or_else(|| panic!("{what}: {findings:#}"))
    };
    assert_eq!(of("warehouse")["status"], "FAIL");
    assert!(of("warehouse")["what"].as_str().unwrap().contains("catalog.warehouse (--set)"), "{findings:#}");
    assert_eq!(of("catalog")["status"], "ok");
}

/// The lines of a check that are about something.
fn check(folder: &Path, args: &[&str], about: &str) -> Vec<String> {
    // a broker that answers: without one, each check waits for it
    let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
    for exchange in ["binance", "kraken"] {
        cluster.create_topic(&format!("market.crypto.trades.{exchange}.raw"), 1, 1).unwrap();
    }
    let brokers = format!("kafka.brokers={}", cluster.bootstrap_servers());
    let output = k2(folder, &[&["--set", &brokers, "check"], args].concat());
    let found = out(&output).lines().any(|line| line.starts_with("FAIL "));
    assert_eq!(output.status.code(), Some(if found { 4 } else { 0 }), "{}\n{}", out(&output), err(&output));
    out(&output).lines().filter(|line| line.contains(about)).map(str::to_owned).collect()
}

#[test]
fn check_compiles_what_silver_pipelines_do() {
    let folder = tempfile::tempdir().unwrap();
    let lines = check(folder.path(), &[], "transform of ");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines.iter().all(|line| line.starts_with("ok   ") && line.contains("rules version ")), "{lines:#?}");
    let lines = check(folder.path(), &[], "schema folder");
    assert!(lines.len() == 1 && lines[0].starts_with("ok   schema folder config/schemas"), "{lines:#?}");
    // a bronze pipeline needs none of it
    assert!(check(folder.path(), &["bronze-binance"], "transform of ").is_empty());
    assert!(check(folder.path(), &["bronze-binance"], "schema folder").is_empty());

    std::fs::write(folder.path().join("wrong.sql"), "SELECT\n  prise AS price\nFROM record\n").unwrap();
    let wrong = ["silver-kraken", "--set", "pipelines.silver-kraken.projection=wrong.sql"];
    let lines = check(folder.path(), &wrong, "FAIL transform of silver-kraken");
    assert!(lines.len() == 1 && lines[0].contains("wrong.sql"), "{lines:#?}");
    assert!(lines[0].contains("prise"), "{lines:#?}");

    let missing = ["silver-kraken", "--set", "pipelines.silver-kraken.reader_schema=none.avsc"];
    let lines = check(folder.path(), &missing, "FAIL transform of silver-kraken");
    assert!(lines.len() == 1 && lines[0].contains("none.avsc"), "{lines:#?}");
    assert!(lines[0].contains("pipelines.silver-kraken.reader_schema (--set)"), "{lines:#?}");
}

#[test]
fn check_asks_the_registry() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = ["bronze-binance", "--set", "registry.url=http://user:hunter2@127.0.0.1:1"];
    let lines = check(folder.path(), &nobody, "schema registry");
    assert!(lines.len() == 1 && lines[0].starts_with("FAIL "), "{lines:#?}");
    assert!(lines[0].contains("registry.url (--set)") && !lines[0].contains("hunter2"), "{lines:#?}");
}

#[test]
fn check_looks_at_every_table_once_by_its_contract() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(k2(folder.path(), &["tables", "create", "bronze_kraken_trades"]).status.code(), Some(0));
    let lines = check(folder.path(), &[], " table market_data.");
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(
        lines[4].starts_with("ok   table market_data.silver_dlq_trades of silver-binance, silver-kraken: "),
        "{lines:#?}"
    );
    // a bronze table is no table for dead letters
    let wrong = [
        "silver-kraken",
        "--set",
        "pipelines.bronze-kraken.enabled=false",
        "--set",
        "pipelines.silver-kraken.bronze=",
        "--set",
        "pipelines.silver-kraken.dlq=bronze_kraken_trades",
    ];
    let lines = check(folder.path(), &wrong, "FAIL table market_data.bronze_kraken_trades of silver-kraken");
    assert!(lines.len() == 1 && lines[0].contains("column raw_record (binary) is missing"), "{lines:#?}");
    assert!(lines[0].contains("pipelines.silver-kraken.dlq (--set)"), "{lines:#?}");
}

#[test]
fn check_compares_a_silver_pipeline_with_its_bronze_table() {
    let folder = tempfile::tempdir().unwrap();
    let other = ["silver-kraken", "--set", "pipelines.silver-kraken.bronze=bronze_binance_trades"];
    let lines = check(folder.path(), &other, "bronze table bronze_binance_trades of silver-kraken");
    assert!(lines.len() == 1 && lines[0].starts_with("FAIL "), "{lines:#?}");
    assert!(lines[0].contains("bronze-binance fills it from topic market.crypto.trades.binance.raw"), "{lines:#?}");

    let elsewhere = ["silver-kraken", "--set", "pipelines.bronze-kraken.enabled=false"];
    let lines = check(folder.path(), &elsewhere, "bronze table");
    assert_eq!(
        lines,
        [
            "skip bronze table market_data.bronze_kraken_trades of silver-kraken: it is not there, and no pipeline here fills it"
        ]
    );
}
