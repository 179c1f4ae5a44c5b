//! The direction of dependencies between the rooms (ARCHITECTURE.md) holds.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::Path;

/// Who may know whom, besides `model`, which everybody may know and which knows nobody.
const ALLOWED: [(&str, &[&str]); 8] = [
    ("model", &[]),
    ("source", &["model"]),
    ("avro", &[]),
    ("transform", &["model", "avro"]),
    ("lake", &["model"]),
    ("query", &["model", "lake"]),
    ("engine", &["model", "source", "avro", "transform", "lake"]),
    ("cli", &["model", "source", "transform", "lake", "query", "engine"]),
];

fn rooms() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    std::fs::read_dir(crates).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn known_by(room: &str) -> BTreeSet<String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates").join(room).join("Cargo.toml");
    let text = std::fs::read_to_string(manifest).unwrap();
    // what the tests of a crate need is no arrow of the house
    let shipped = text.split("[dev-dependencies]").next().unwrap();
    shipped.lines().filter_map(|l| l.strip_prefix("k2-")?.split([' ', '.', '=']).next()).map(str::to_owned).collect()
}

#[test]
fn every_room_is_listed() {
    let listed: BTreeSet<String> = ALLOWED.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(rooms(), listed, "a room was added or removed: say in ALLOWED and ARCHITECTURE.md whom it may know");
}

#[test]
fn arrows_point_one_way() {
    for (room, allowed) in ALLOWED {
        let allowed: BTreeSet<String> = allowed.iter().map(|s| (*s).to_owned()).collect();
        let strange: Vec<_> = known_by(room).difference(&allowed).cloned().collect();
        assert!(strange.is_empty(), "{room} must not know {strange:?}");
    }
}

#[test]
fn one_arrow_in_the_tree() {
    let lock = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock")).unwrap();
    for name in ["arrow-array", "parquet", "datafusion", "iceberg", "object_store", "rdkafka-sys"] {
        let copies = lock.matches(&format!("name = \"{name}\"\n")).count();
        assert_eq!(copies, 1, "{copies} versions of {name} in Cargo.lock");
    }
}

#[test]
fn unsafe_lives_in_audited_places_only() {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                if text.contains("allow(unsafe_code") {
                    found.push(path.to_string_lossy().into_owned());
                }
            }
        }
    }
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut found = Vec::new();
    walk(&crates, &mut found);
    // a system call or two each, in the binary: what the safe wrappers lack
    let small = ["/cli/src/run.rs", "/cli/src/memory.rs", "/cli/src/demo/engine.rs", "/cli/src/demo/broker.rs"];
    found.retain(|p| !p.contains("/source/src/native") && !small.iter().any(|s| p.ends_with(s)));
    assert!(found.is_empty(), "unsafe outside of source::native: {found:?}");
}
