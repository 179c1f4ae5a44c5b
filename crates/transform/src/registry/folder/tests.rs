#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;
use crate::registry::Schemas;
use k2_model::Class;

const RECORD: &str = r#"{"type":"record","name":"R","fields":[{"name":"x","type":"int"}]}"#;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        put(dir.path(), name, text, SETTLED * 2);
    }
    dir
}

/// Writes a file that is some time old.
fn put(dir: &Path, name: &str, text: &str, age: Duration) {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let now = file.metadata().unwrap().modified().unwrap();
    file.set_modified(now - age).unwrap();
}

fn open(dir: &tempfile::TempDir) -> Schemas {
    Schemas::folder(dir.path().to_str().unwrap()).unwrap()
}

#[test]
fn the_id_is_in_front_of_the_name() {
    for (name, id) in [
        ("7.avsc", Some(7)),
        ("7-trades.avsc", Some(7)),
        ("7-trades-v2.avsc", Some(7)),
        ("7-.avsc", Some(7)),
        ("007.avsc", Some(7)),
        ("-1.avsc", Some(-1)),
        ("-2147483648-x.avsc", Some(i32::MIN)),
        ("2147483647.avsc", Some(i32::MAX)),
        ("2147483648.avsc", None),
        ("7x.avsc", None),
        ("7_x.avsc", None),
        ("7.json", None),
        ("trades.avsc", None),
        ("-.avsc", None),
        (".avsc", None),
        ("trades-7.avsc", None),
        ("+7.avsc", None),
        ("7é.avsc", None),
        ("١.avsc", None),
    ] {
        assert_eq!(id_of(name), id, "{name}");
    }
}

#[tokio::test]
async fn files_mean_what_they_hold() {
    let dir = folder(&[
        ("1.avsc", RECORD),
        ("2-broken.avsc", "{"),
        ("3.avsc", "\"string\""),
        ("reader.avsc", RECORD),
        ("-4.avsc", RECORD),
    ]);
    let schemas = open(&dir);
    assert!(matches!(schemas.get(1).await, Ok(Lookup::Avro(_))));
    assert!(matches!(schemas.get(-4).await, Ok(Lookup::Avro(_))));
    for id in [2, 3] {
        assert!(matches!(schemas.get(id).await, Ok(Lookup::NotAvro(_))), "{id}");
    }
    assert!(matches!(schemas.get(5).await, Ok(Lookup::Unknown)));
    assert_eq!(schemas.ping().await.unwrap(), "4 schemas");
}

#[tokio::test]
async fn a_file_that_comes_later_is_found() {
    let dir = folder(&[]);
    let schemas = open(&dir);
    assert!(matches!(schemas.get(9).await, Ok(Lookup::Unknown)));
    put(dir.path(), "9-late.avsc", RECORD, Duration::ZERO);
    assert!(matches!(schemas.get(9).await, Ok(Lookup::Avro(_))));
}

#[tokio::test]
async fn a_file_that_is_being_written_decides_nothing() {
    let dir = folder(&[]);
    let schemas = open(&dir);
    put(dir.path(), "9.avsc", &RECORD[..20], Duration::ZERO);
    let error = schemas.get(9).await.unwrap_err();
    assert_eq!(error.class(), Class::Retry, "{error}");
    put(dir.path(), "9.avsc", RECORD, Duration::ZERO);
    assert!(matches!(schemas.get(9).await, Ok(Lookup::Avro(_))));
}

#[tokio::test]
async fn two_files_of_one_id_are_for_a_person_to_decide() {
    let dir = folder(&[("7.avsc", RECORD), ("7-again.avsc", RECORD)]);
    let error = Schemas::folder(dir.path().to_str().unwrap()).unwrap_err();
    assert_eq!(error.class(), Class::Config);
    let text = error.to_string();
    assert!(text.contains("7.avsc") && text.contains("7-again.avsc") && text.contains("id 7"), "{text}");

    std::fs::remove_file(dir.path().join("7.avsc")).unwrap();
    let schemas = open(&dir);
    put(dir.path(), "007.avsc", RECORD, SETTLED * 2);
    assert_eq!(schemas.get(7).await.unwrap_err().class(), Class::Retry, "later on, the pipeline waits for that person");
}

#[tokio::test]
async fn a_folder_that_is_gone_is_no_verdict() {
    let dir = folder(&[("1.avsc", RECORD)]);
    let schemas = open(&dir);
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert_eq!(schemas.get(2).await.unwrap_err().class(), Class::Retry);
}

#[tokio::test]
async fn the_default_is_built_in() {
    let schemas = Schemas::folder("config/schemas").unwrap();
    assert!(matches!(schemas.get(1).await, Ok(Lookup::Avro(_))));
    assert!(matches!(schemas.get(99).await, Ok(Lookup::Unknown)));
    assert_eq!(schemas.to_string(), "config/schemas (built in)");
    let error = Schemas::folder("no/such/folder").unwrap_err();
    assert!(error.class() == Class::Config && error.to_string().contains("no/such/folder"), "{error}");
}
