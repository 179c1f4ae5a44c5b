//! `k2 try`, `k2 dlq` and what `k2 offsets` says of silver pipelines, over a few records of a mock broker.

use super::*;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use serde_json::json;
use std::io::Write;
use std::time::Duration;

const TOPIC: &str = "market.crypto.trades.kraken.raw";
/// 2026-01-01T00:00:00Z
const TIME_MS: i64 = 1_767_225_600_000;

/// A trade of Kraken in Confluent's frame.
fn trade(id: i32, price: &str, volume: &str, side: &str, pair: &str) -> Vec<u8> {
    fn long(into: &mut Vec<u8>, value: i64) {
        let mut rest = value.cast_unsigned() << 1;
        while rest >= 0x80 {
            into.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        into.push(u8::try_from(rest).unwrap());
    }
    let mut bytes = [&[0], id.to_be_bytes().as_slice()].concat();
    long(&mut bytes, 42);
    for text in [price, volume, "1767225600.123456789", side, "l", "", pair] {
        long(&mut bytes, i64::try_from(text.len()).unwrap());
        bytes.extend_from_slice(text.as_bytes());
    }
    long(&mut bytes, TIME_MS * 1000);
    bytes
}

/// A broker whose topic has five records in one partition: two good, a bad price, half a record, a tombstone.
struct World {
    folder: tempfile::TempDir,
    brokers: String,
    _cluster: MockCluster<'static, DefaultProducerContext>,
}

impl World {
    fn new() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let servers = cluster.bootstrap_servers();
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
        let whole = trade(2, "1.5", "2", "b", "XBT/USD");
        let values = [
            Some(whole.clone()),
            Some(trade(2, "1e5", "2", "s", "ETH/EUR")),
            Some(whole[..20].to_vec()),
            None,
            Some(trade(2, "0.00000001", "3", "s", "ETH/EUR")),
        ];
        for value in &values {
            let record = BaseRecord::<[u8], [u8]>::to(TOPIC).partition(1).key(b"pair").timestamp(TIME_MS);
            let record = value.iter().fold(record, |record, value| record.payload(value));
            producer.send(record).unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();
        let brokers = format!("kafka.brokers={servers}");
        Self { folder: tempfile::tempdir().unwrap(), brokers, _cluster: cluster }
    }

    fn k2(&self, args: &[&str]) -> Output {
        k2(self.folder.path(), &[args, &["--set", &self.brokers]].concat())
    }
}

#[test]
fn trying_records_of_the_topic_tells_rows_and_rejects_and_writes_nothing() {
    let world = World::new();
    let fates = objects(&world.k2(&["try", "silver-kraken", "--format", "json"]));
    let becomes: Vec<(i64, &str, Option<&str>)> = fates
        .iter()
        .map(|f| (f["offset"].as_i64().unwrap(), f["becomes"].as_str().unwrap(), f["error_reason"].as_str()))
        .collect();
    let expected = [
        (0, "silver", None),
        (1, "dlq", Some("price_not_a_decimal")),
        (2, "dlq", Some("avro_decode_failed")),
        (3, "dlq", Some("tombstone")),
        (4, "silver", None),
    ];
    assert_eq!(becomes, expected);
    let row = &fates[0]["row"];
    assert_eq!((&row["symbol"], &row["price"], &row["side"]), (&json!("BTCUSD"), &json!("1.50000000"), &json!("BUY")));
    assert_eq!(row["timestamp"], "1767225600123456", "cut off, not rounded");
    assert_eq!(fates[1]["row"], serde_json::Value::Null);
    assert!(fates[1]["error_detail"].as_str().unwrap().contains("1e5"), "{}", fates[1]);
    assert_eq!(fates[1]["kafka_timestamp"], "2026-01-01T00:00:00Z");
    assert_eq!((&fates[3]["schema_id"], &fates[4]["schema_id"]), (&serde_json::Value::Null, &json!(2)));

    // the same again, and only the last ones, for a person
    let output = world.k2(&["try", "silver-kraken", "--from-topic", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(
        out(&output).starts_with("partition 1 offset 3, 2026-01-01T00:00:00Z, no schema id: dead letter, tombstone\n"),
        "{}",
        out(&output)
    );
    assert!(
        out(&output).contains("\n2 records: 1 silver row, 1 dead letter (tombstone 1); rules version "),
        "{}",
        out(&output)
    );
    let csv = world.k2(&["try", "silver-kraken", "--from-topic", "2", "--format", "csv"]);
    assert_eq!(out(&csv).lines().count(), 3, "{}", out(&csv));
    assert!(out(&csv).starts_with("partition,offset,kafka_timestamp,schema_id,message_id,becomes,"), "{}", out(&csv));
    assert!(err(&csv).starts_with("2 records: "), "what is no row is not among them: {}", err(&csv));
    assert!(files_below(world.folder.path()).is_empty(), "{:?}", files_below(world.folder.path()));
}

#[test]
fn trying_records_of_a_file_needs_no_broker() {
    let folder = tempfile::tempdir().unwrap();
    let good = trade(2, "1.5", "2", "b", "XBT/USD");
    std::fs::write(folder.path().join("record"), &good).unwrap();
    let fates = objects(&k2(folder.path(), &["try", "silver-kraken", "--file", "record", "--format", "json"]));
    assert_eq!((fates.len(), &fates[0]["becomes"], &fates[0]["kafka_timestamp"]), (1, &json!("silver"), &json!(null)));

    let hex: String = good.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = json!({"value_hex": hex, "timestamp_ms": TIME_MS - 10_000_000, "partition": 7, "offset": 90});
    std::fs::write(folder.path().join("lines"), format!("{line}\n{}\n", json!({"value": null}))).unwrap();
    let args = ["try", "silver-kraken", "--file", "lines", "--form", "json", "--format", "json"];
    let fates = objects(&k2(folder.path(), &args));
    assert_eq!((&fates[0]["error_reason"], &fates[0]["offset"]), (&json!("timestamp_in_future"), &json!(90)));
    assert_eq!((&fates[1]["error_reason"], &fates[1]["offset"]), (&json!("tombstone"), &json!(1)));

    // standard input, and a pipeline that is turned off
    let mut child = Command::new(env!("CARGO_BIN_EXE_k2"))
        .args([
            "try",
            "silver-kraken",
            "--file",
            "-",
            "--form",
            "hex",
            "--set",
            "pipelines.silver-kraken.enabled=false",
        ])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(hex.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(out(&output).contains("\n1 record: 1 silver row, 0 dead letters; "), "{}", out(&output));
}

#[test]
fn what_cannot_be_tried_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lines"), "00\n0g\n").unwrap();
    for (args, code, expected) in [
        (&["try", "silver-kraken", "--file", "none"][..], 2, "error: cannot read the records [none]: "),
        (
            &["try", "silver-kraken", "--file", "lines", "--form", "hex"],
            2,
            "error: line 2: 'g' is no hexadecimal digit",
        ),
        (&["try", "silver-kraken", "--from-topic", "0"], 2, "error: --from-topic 0 is not between 1 and 10000"),
        (&["try", "bronze-kraken"], 2, "error: bronze-kraken is a bronze pipeline: "),
        (&["try", "silver-krakn"], 2, "error: there is no pipeline silver-krakn\n  did you mean silver-kraken?\n"),
        (&["try", "silver-kraken", "--set", NOBODY], 1, "error: cannot look at the topic "),
        (
            &["try", "silver-kraken", "--file", "lines", "--set", "registry.url=http://127.0.0.1:1"],
            1,
            "error: cannot connect to the schema registry",
        ),
        (
            &["try", "silver-kraken", "--file", "lines", "--set", "pipelines.silver-kraken.projection=p.sql"],
            2,
            "error: there is no file p.sql",
        ),
    ] {
        let output = k2(folder.path(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", err(&output));
        assert!(err(&output).starts_with(expected), "{args:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{args:?}");
    }
}

#[test]
fn dead_letters_are_counted_and_shown() {
    let world = World::new();
    let before = world.k2(&["dlq", "list"]);
    assert_eq!(before.status.code(), Some(0), "{}", err(&before));
    assert_eq!(out(&before), "no dead letters, in market_data.silver_dlq_trades (not there yet)\n");
    assert_eq!(objects(&world.k2(&["dlq", "show", "--format", "json"])), Vec::<serde_json::Value>::new());

    let run = world.k2(&["run", "silver-kraken", "--until-caught-up"]);
    assert_eq!(run.status.code(), Some(0), "{}\n{}", out(&run), err(&run));

    let counts = objects(&world.k2(&["dlq", "list", "--format", "json"]));
    assert_eq!(counts.len(), 3, "{counts:#?}");
    for count in &counts {
        assert_eq!(
            (&count["bronze_source"], &count["records"], &count["open"]),
            (&json!("bronze_kraken_trades"), &json!(1), &json!(1))
        );
    }
    let text = world.k2(&["dlq", "list", "--reason", "tombstone", "--reason", "avro_decode_failed", "--since", "1h"]);
    assert!(out(&text).ends_with("\n2 dead letters, 2 open, in market_data.silver_dlq_trades\n"), "{}", out(&text));
    for none in [
        &["--source", "silver-binance"][..],
        &["--schema-id", "9"],
        &["--day", "2020-01-01"],
        &["--status", "resolved"],
        &["--partition", "0"],
    ] {
        let output = world.k2(&[&["dlq", "list"], none].concat());
        assert_eq!(out(&output), "no dead letters that fit, in market_data.silver_dlq_trades\n", "{none:?}");
    }
    for one in [
        &["--source", "silver-kraken", "--type", "parse"][..],
        &["--schema-id", "none"],
        &["--schema-id", "2", "--type", "deserialization"],
    ] {
        assert_eq!(objects(&world.k2(&[&["dlq", "list", "--format", "json"], one].concat())).len(), 1, "{one:?}");
    }

    // a record that a rule refused: read whole, its value marked
    let page = world.k2(&["dlq", "show", "--reason", "price_not_a_decimal"]);
    let page = out(&page);
    assert!(page.starts_with(&format!("price_not_a_decimal (parse), open: {TOPIC} partition 1 offset 1\n")), "{page}");
    for expected in [
        "  key              \"pair\"\n",
        "    pair                 ",
        "  [ ] byte 6, field price: what the rule refused\n",
        "[06 31 65 35]",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    // half a record: read as far as it goes, and where it stops
    let torn = &objects(&world.k2(&["dlq", "show", "--offset", "2", "--format", "json"]))[0];
    assert_eq!(torn["raw_record"].as_str().unwrap().len(), 40);
    assert_eq!(torn["decoded"][1], json!({"path": "price", "value": "\"1.5\"", "from": 6, "to": 10}));
    assert_eq!(torn["marked"]["field"], "timestamp", "{torn}");
    assert!(!torn["marked"]["problem"].is_null());
    // by its id, which is the one that `try` tells
    let fates = objects(&world.k2(&["try", "silver-kraken", "--format", "json"]));
    let id = torn["message_id"].as_str().unwrap();
    assert_eq!(fates[2]["message_id"], id);
    assert!(out(&world.k2(&["dlq", "show", id])).starts_with("avro_decode_failed (deserialization), open: "));
    let all = world.k2(&["dlq", "show", "--latest", "10"]);
    assert_eq!(out(&all).matches("\n  message id ").count(), 3, "{}", out(&all));
    assert!(out(&all).contains("  record           null, a tombstone\n"), "{}", out(&all));
    let csv = world.k2(&["dlq", "show", "-n", "3", "--format", "csv"]);
    assert_eq!(out(&csv).lines().count(), 4, "{}", out(&csv));
}

#[test]
fn wrong_questions_about_dead_letters_are_code_2() {
    let folder = tempfile::tempdir().unwrap();
    for (args, expected) in [
        (&["dlq", "list", "--day", "31.1.2026"][..], "error: --day 31.1.2026 is no day\n"),
        (&["dlq", "list", "--since", "yesterday"], "error: --since yesterday is no time\n"),
        (&["dlq", "list", "--schema-id", "x"], "error: --schema-id x is neither a number nor none\n"),
        (&["dlq", "list", "--dlq", "rejects"], "error: no silver pipeline has the dead letter table rejects\n"),
        (&["dlq", "show", "1"], "error: 1 is no message id: "),
        (&["dlq", "show", "--offset", "1"], "error: there is no such dead letter "),
    ] {
        let output = k2(folder.path(), args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", err(&output));
        assert!(err(&output).starts_with(expected), "{args:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{args:?}");
    }
}

#[test]
fn offsets_tell_the_rate_of_dead_letters() {
    let world = World::new();
    assert_eq!(world.k2(&["run", "silver-kraken", "--until-caught-up"]).status.code(), Some(0));
    let text = out(&world.k2(&["offsets", "silver-kraken"]));
    assert!(
        text.contains("; dead letters 3 (60.00 %), last hour 3 (60.00 %): more than 1 %, `k2 dlq list` tells why\n"),
        "{text}"
    );
    let rows = objects(&world.k2(&["offsets", "silver-kraken", "--format", "json"]));
    for row in &rows {
        assert_eq!(
            (&row["dlq_rows"], &row["dlq_level"], &row["dlq"]),
            (&json!(3), &json!("alert"), &json!("silver_dlq_trades")),
            "{row}"
        );
    }
}
