#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;
use k2_engine::config::{Config, Sources};

fn scratch(name: &str) -> PathBuf {
    let base = std::env::temp_dir().join(format!("k2-demo-{name}-{}", uuid::Uuid::new_v4()));
    fs::create_dir_all(&base).unwrap();
    base
}

#[test]
fn every_run_has_a_new_folder_and_leaves_all_others_alone() {
    let base = scratch("runs");
    fs::write(base.join("mine.txt"), "keep").unwrap();
    let first = Folder::create(&base).unwrap();
    fs::write(first.config(), "first").unwrap();
    let second = Folder::create(&base).unwrap();
    assert_eq!(first.shown(), base.join("run-1"));
    assert_eq!(second.shown(), base.join("run-2"));
    assert_eq!(fs::read_to_string(first.config()).unwrap(), "first");
    assert_eq!(fs::read_to_string(base.join("mine.txt")).unwrap(), "keep");
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn a_file_in_the_way_is_named() {
    let base = scratch("file");
    let file = base.join("taken");
    fs::write(&file, "").unwrap();
    let error = Folder::create(&file).unwrap_err();
    assert_eq!(error.class(), k2_model::Class::Config);
    assert!(error.to_string().contains("taken") && error.to_string().contains("--dir"), "{error}");
    fs::remove_dir_all(base).unwrap();
}

#[test]
fn the_configuration_is_one_that_the_engine_takes() {
    let base = scratch("with \"quotes\" and blanks");
    let folder = Folder::create(&base).unwrap();
    folder.write_config("127.0.0.1:9092").unwrap();
    let text = fs::read_to_string(folder.config()).unwrap();
    let config = Config::load(&Sources { file: Some(("k2.toml".into(), text)), ..Sources::default() }).unwrap();
    assert_eq!(config.kafka.brokers, "127.0.0.1:9092");
    assert_eq!(config.catalog.warehouse, folder.warehouse().display().to_string());
    let wanted = super::super::PARTS
        .iter()
        .flat_map(|p| [(p.topic, p.group, p.table), (p.topic, p.silver_group, p.silver_table)]);
    let mut wanted: Vec<_> = wanted.collect();
    wanted.sort_by_key(|(_, _, table)| *table);
    let mut found: Vec<_> = config.enabled().map(|p| (&*p.topic, &*p.group, &*p.table)).collect();
    found.sort_by_key(|(_, _, table)| *table);
    assert_eq!(found, wanted);
    assert!(config.enabled().all(|p| p.commit_interval == std::time::Duration::from_secs(1)));
    fs::remove_dir_all(base).unwrap();
}
