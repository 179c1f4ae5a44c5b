#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::config::Sources;

const TOPIC: &str = "market.crypto.trades.kraken.raw";

/// Two schemas in a folder: 1 is the reader's too, 2 has a `pair` that may be of another type.
struct World {
    _folder: tempfile::TempDir,
    config: Config,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let record = |fields: &str| format!(r#"{{"type":"record","name":"T","fields":[{fields}]}}"#);
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        // a young file may still be on its way into the folder, and says nothing definite
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    };
    write("1-t.avsc", record(r#"{"name":"pair","type":"string"},{"name":"price","type":"string"}"#));
    write("2-t.avsc", record(r#"{"name":"pair","type":["string","long"]}"#));
    write("3-t.avsc", "\"string\"".into());
    write("reader.avsc", record(r#"{"name":"pair","type":"string"},{"name":"price","type":"string","default":"0"}"#));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let set = vec![
        format!("registry.folder={}", folder.path().display()),
        format!("pipelines.silver-kraken.reader_schema={}", path("reader.avsc")),
    ];
    let config = Config::load(&Sources { set, ..Sources::default() }).unwrap();
    World { _folder: folder, config }
}

fn letter(id: i32, body: &[u8]) -> Vec<u8> {
    [&[0], id.to_be_bytes().as_slice(), body].concat()
}

async fn read(letter: &[u8], detail: Option<&str>) -> Reading {
    let world = world();
    Letters::new(&world.config).read(TOPIC, letter, detail).await
}

#[tokio::test]
async fn a_good_letter_is_read_whole_and_the_refused_value_is_marked() {
    let reading = read(&letter(1, b"\x06a/b\x061e5"), Some("price is \"1e5\"; a number is")).await;
    assert_eq!(reading.schema.as_deref(), Some("1, an Avro record"));
    let values: Vec<(&str, &str)> = reading.values.iter().map(|v| (v.path.as_str(), v.value.as_str())).collect();
    assert_eq!(values, [("pair", "\"a/b\""), ("price", "\"1e5\"")]);
    assert_eq!(reading.mark, Some(Mark { bytes: 9..13, field: "price".into(), problem: None }));
    // by its value where the detail has another name for it, if no other value is the same
    let amount = read(&letter(1, b"\x06a/b\x061e5"), Some("quantity is \"1e5\"; a number is [0-9]+")).await;
    assert_eq!(amount.mark.unwrap().field, "price");
    assert_eq!(read(&letter(1, b"\x061e5\x061e5"), Some("quantity is \"1e5\"; a number")).await.mark, None);
    // a word that only begins like a field is none
    assert_eq!(read(&letter(1, b"\x06a/b\x061e5"), Some("prices are low")).await.mark, None);
    assert_eq!(read(&letter(1, b"\x06a/b\x061e5"), None).await.mark, None);
}

#[tokio::test]
async fn a_torn_letter_is_read_as_far_as_it_goes() {
    let reading = read(&letter(1, b"\x06a/b\x061"), None).await;
    assert_eq!(reading.values.len(), 1);
    let mark = reading.mark.unwrap();
    assert_eq!(mark.field, "price");
    assert!(mark.bytes.start >= 9 && mark.problem.is_some(), "{mark:?}");
    let reading = read(&letter(1, b"\x06a/b\x061e5\x00"), None).await;
    assert_eq!(reading.mark.unwrap().bytes, 13..14, "what follows the record");
}

#[tokio::test]
async fn what_the_reader_has_no_place_for_is_marked() {
    let reading = read(&letter(2, b"\x02\x02"), None).await;
    assert_eq!(reading.values.len(), 1, "the writer's schema reads it");
    let mark = reading.mark.unwrap();
    assert_eq!((mark.bytes.clone(), mark.field.as_str(), mark.problem.is_some()), (6..7, "pair", true), "{mark:?}");
}

#[tokio::test]
async fn what_is_no_frame_or_has_no_schema_says_so() {
    for (letter, bytes) in [
        (vec![], 0..0),
        (vec![0, 0, 0], 3..3),
        (b"{\"a\":1}".to_vec(), 0..1),
        (letter(3, b""), 1..5),
        (letter(99, b""), 1..5),
        (letter(-1, b""), 1..5),
    ] {
        let reading = read(&letter, None).await;
        assert_eq!(reading.mark.as_ref().map(|m| m.bytes.clone()), Some(bytes), "{letter:?} {reading:?}");
        assert!(reading.values.is_empty());
    }
}

#[tokio::test]
async fn a_registry_that_does_not_answer_is_asked_once() {
    let set = vec!["registry.url=http://127.0.0.1:1".to_owned(), "registry.request_timeout=1s".to_owned()];
    let config = Config::load(&Sources { set, ..Sources::default() }).unwrap();
    let mut letters = Letters::new(&config);
    for _ in 0..2 {
        let reading = letters.read(TOPIC, &letter(1, b""), None).await;
        assert!(reading.schema.as_ref().unwrap().starts_with("1, which cannot be had: "), "{reading:?}");
        assert_eq!(reading.mark, None);
    }
    assert!(letters.schemas.is_none());
}
