#![allow(clippy::unwrap_used)]
use super::*;

fn state() -> SourceState {
    let batch = BatchId(uuid::Uuid::from_u128(7));
    let partitions = BTreeMap::from([
        (
            Partition(0),
            PartitionPosition {
                next: NextOffset(43),
                leader_epoch: Some(3),
                last: Some(Fingerprint { offset: 41, timestamp_ms: 1_700_000_000_000, crc: 99 }),
                batch,
            },
        ),
        (Partition(10), PartitionPosition { next: NextOffset(0), leader_epoch: None, last: None, batch }),
    ]);
    SourceState {
        version: VERSION,
        cluster_id: ClusterId::new("kraft-1"),
        snapshot: SinkSnapshot { id: SnapshotId(5), sequence: 9 },
        rules: None,
        intents: Vec::new(),
        topics: BTreeMap::from([(
            "trades".to_owned(),
            TopicPosition { topic_id: Some(TopicId::new("AAAAAAAAAAAAAAAAAAAAAQ")), partitions },
        )]),
    }
}

#[test]
fn json_form_is_the_golden_one() {
    let golden = include_str!("../../golden/source_state.json").trim();
    assert_eq!(state().to_json().unwrap(), golden);
    assert_eq!(SourceState::parse("k", golden).unwrap(), state());
}

/// What a silver table holds: the rules, and a batch's rejects on their way to the DLQ table.
fn silver() -> SourceState {
    let intent = Intent {
        batch: BatchId(uuid::Uuid::from_u128(8)),
        table: "market_data.silver_dlq_trades".to_owned(),
        uuid: uuid::Uuid::from_u128(9),
        topic: "trades".to_owned(),
        topic_id: Some(TopicId::new("AAAAAAAAAAAAAAAAAAAAAQ")),
        ranges: BTreeMap::from([(Partition(0), (NextOffset(40), NextOffset(43)))]),
        rules: Some("sha256:1f".to_owned()),
        rows: 2,
        schema: 0,
        spec: 1,
        files: vec![serde_json::json!({"file_path": "s3://b/dlq/data/a.parquet"})],
    };
    SourceState { rules: Some("sha256:1f".to_owned()), intents: vec![intent], ..state() }
}

#[test]
fn json_form_of_silver_is_the_golden_one() {
    let golden = include_str!("../../golden/source_state_silver.json").trim();
    assert_eq!(silver().to_json().unwrap(), golden);
    assert_eq!(SourceState::parse("k", golden).unwrap(), silver());
}

#[test]
fn newer_version_and_garbage_halt() {
    for text in [r#"{"version":2,"what":"ever"}"#, "{}", "", "17", r#"{"version":1}"#] {
        let error = SourceState::parse("k2.source.g", text).unwrap_err();
        assert_eq!(error.class(), crate::Class::Halt, "{text}");
        assert!(error.to_string().contains("k2.source.g"), "{error}");
    }
}

#[test]
fn fingerprint_tells_null_from_empty_and_key_from_value() {
    let all = [
        fingerprint_crc(None, None),
        fingerprint_crc(Some(b""), None),
        fingerprint_crc(None, Some(b"")),
        fingerprint_crc(Some(b"ab"), Some(b"c")),
        fingerprint_crc(Some(b"a"), Some(b"bc")),
    ];
    for (i, a) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|b| a != b));
    }
}
