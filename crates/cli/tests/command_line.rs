//! The binary from outside: exit codes, what goes where, one clear message for each wrong thing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::path::Path;
use std::process::{Command, Output};

/// A port that nobody listens on: connections are refused at once.
const NOBODY: &str = "kafka.brokers=127.0.0.1:1";

fn k2(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_k2"));
    // what the developer has set is no part of the test
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("K2_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.env("K2_LOG", "error").current_dir(folder).args(args).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let help = k2(folder.path(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for command in ["run", "demo", "check", "tables", "offsets", "verify", "sql"] {
        assert!(out(&help).contains(&format!("\n  {command} ")), "{command} is not in\n{}", out(&help));
    }
}

#[test]
fn wrong_usage_is_code_2() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["rum"][..], &["run", "--nonsense"], &["tables"], &["tables", "show", "--format", "xml"], &[]] {
        let output = k2(folder.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{args:?}");
        assert!(!err(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn every_error_of_a_configuration_is_told_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("k2.toml"), "[kafka]\nbroker = \"a:1\"\n[store]\nsecret_key = 7\n").unwrap();
    for command in [&["run"][..], &["check"], &["tables", "show"]] {
        let output = k2(folder.path(), &[&["--log-format", "text", "--set", "catalog.type=sqll"], command].concat());
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert_eq!(
            err(&output),
            "error: 3 errors in the configuration\n  \
             k2.toml:2:1: kafka.broker: unknown key; did you mean kafka.brokers?\n  \
             k2.toml:4:14: store.secret_key: wants a text in quotes, not an integer\n  \
             --set catalog.type: \"sqll\" is not one of \"sql\", \"rest\"; did you mean \"sql\"?\n"
        );
    }
    let made: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(made, ["k2.toml"]);
}

#[test]
fn a_service_tells_its_error_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let output = k2(folder.path(), &["run", "--set", "catalog.type=rest"]);
    assert_eq!(output.status.code(), Some(2));
    let line: serde_json::Value = serde_json::from_str(err(&output).trim()).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["exit_code"], 2);
    assert!(line["message"].as_str().unwrap().starts_with("--set catalog.type: is \"rest\""), "{line}");
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let output = k2(folder.path(), &["-c", "none.toml", "check"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).starts_with("error: cannot read the configuration [none.toml]: "), "{}", err(&output));
}

#[test]
fn librdkafka_properties_are_checked_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    for (set, expected) in [
        ("kafka.properties.auto.offset.reset=latest", "cannot be set: a position outside of the log must halt"),
        ("kafka.properties.no.such=1", "librdkafka does not take it: "),
        ("kafka.properties.session.timeout.ms=soon", "librdkafka does not take it: "),
    ] {
        let output = k2(folder.path(), &["check", "--set", set]);
        assert_eq!(output.status.code(), Some(2), "{}", err(&output));
        assert!(err(&output).contains(expected), "{}", err(&output));
    }
}

#[test]
fn tables_are_made_once_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let show = k2(folder.path(), &["tables", "show"]);
    assert_eq!(show.status.code(), Some(0), "{}", err(&show));
    assert!(out(&show).contains("does not exist; make it with `k2 tables create`"), "{}", out(&show));

    for result in ["created", "was there"] {
        let create = k2(folder.path(), &["tables", "create", "--format", "csv"]);
        assert_eq!(create.status.code(), Some(0), "{}", err(&create));
        assert_eq!(
            out(&create),
            format!(
                "table,result\nmarket_data.bronze_binance_trades,{result}\nmarket_data.bronze_kraken_trades,{result}\n"
            )
        );
    }
    let show = k2(folder.path(), &["tables", "show", "bronze_kraken_trades", "--format", "json"]);
    let rows: serde_json::Value = serde_json::from_str(&out(&show)).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 1);
    let row = &rows[0];
    assert_eq!(row["table"], "market_data.bronze_kraken_trades");
    assert_eq!((&row["rows"], &row["files"], &row["snapshots"]), (&0.into(), &0.into(), &0.into()));
    assert_eq!(row["partitioned_by"], "day(ingestion_date)");
    assert_eq!(row["problems"], serde_json::json!([]));
    assert!(
        row["location"].as_str().unwrap().ends_with("/k2-data/warehouse/market_data/bronze_kraken_trades"),
        "{row}"
    );

    let unknown = k2(folder.path(), &["tables", "show", "bronze_kraken"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert_eq!(
        err(&unknown),
        "error: no pipeline has a table bronze_kraken\n  there are: bronze_binance_trades, bronze_kraken_trades\n"
    );
}

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
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    assert!(wrong[0].starts_with("FAIL topic market.crypto.trades.kraken.raw of bronze-kraken: "), "{wrong:#?}");
    assert!(wrong[0].ends_with(" - check the topic's name, and create it if it is new"), "{wrong:#?}");
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

fn files_below(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { files_below(&path) } else { vec![path.display().to_string()] }
        })
        .collect()
}
