#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;

#[test]
fn uris_are_shown_without_secrets() {
    for (uri, shown) in [
        ("postgres://k2:p@ss@db:5432/lake?sslmode=require&password=x", "postgres://db:5432/lake"),
        ("sqlite:k2-data/catalog.db?mode=rwc", "sqlite:k2-data/catalog.db"),
        ("https://me:secret@host/api/catalog", "https://host/api/catalog"),
        ("http://127.0.0.1:8181", "http://127.0.0.1:8181"),
    ] {
        assert_eq!(without_secrets(uri), shown);
    }
}

#[test]
fn a_printed_configuration_tells_no_secret() {
    let config = CatalogConfig {
        kind: Kind::Rest,
        name: "iceberg".into(),
        uri: "https://me:hush@host".into(),
        warehouse: "wh".into(),
        properties: BTreeMap::from([("credential".into(), "id:hush".into())]),
        request_timeout: Duration::from_secs(1),
    };
    let shown = format!("{config:?}");
    assert!(!shown.contains("hush") && shown.contains("credential"), "{shown}");
}

#[test]
fn namespaces_are_dotted() {
    assert_eq!(namespace_ident("a.b").unwrap().to_url_string(), "a\u{1f}b");
    for bad in ["", ".", "a.", ".a", "a..b"] {
        assert!(namespace_ident(bad).is_err(), "{bad:?}");
    }
}
