//! The binary from outside: exit codes, what goes where, one clear message for each wrong thing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod check;
mod silver;

use std::path::Path;
use std::process::{Command, Output, Stdio};

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
    command.env("K2_LOG", "error").current_dir(folder).args(args).stdin(Stdio::null()).output().unwrap()
}

/// The objects that a command prints as JSON.
fn objects(output: &Output) -> Vec<serde_json::Value> {
    assert_eq!(output.status.code(), Some(0), "{}\n{}", out(output), err(output));
    serde_json::from_str::<serde_json::Value>(&out(output)).unwrap().as_array().unwrap().clone()
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
    for command in ["run", "demo", "check", "try", "tables", "offsets", "verify", "dlq", "sql"] {
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

    let tables = [
        "bronze_binance_trades",
        "bronze_kraken_trades",
        "silver_binance_trades",
        "silver_kraken_trades",
        "silver_dlq_trades",
    ];
    for result in ["created", "was there"] {
        let create = k2(folder.path(), &["tables", "create", "--format", "csv"]);
        assert_eq!(create.status.code(), Some(0), "{}", err(&create));
        let lines = tables.map(|table| format!("market_data.{table},{result}\n"));
        assert_eq!(out(&create), format!("table,result\n{}", lines.concat()));
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

    for (table, partitioned_by) in
        [("silver_kraken_trades", "identity(exchange_date)"), ("silver_dlq_trades", "day(dlq_date)")]
    {
        let row = &objects(&k2(folder.path(), &["tables", "show", table, "--format", "json"]))[0];
        assert_eq!(
            (&row["partitioned_by"], &row["problems"]),
            (&partitioned_by.into(), &serde_json::json!([])),
            "{row}"
        );
    }

    let unknown = k2(folder.path(), &["tables", "show", "bronze_kraken"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert_eq!(
        err(&unknown),
        format!("error: no pipeline has a table bronze_kraken\n  there are: {}\n", tables.join(", "))
    );
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
