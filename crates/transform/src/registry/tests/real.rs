//! Against the registry that `K2_TEST_SCHEMA_REGISTRY_URL` names (`make test` starts one).

use crate::registry::{HttpSettings, Lookup, Resolver, Schemas};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

fn url() -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "the tests' services are named by the environment")]
    let url = std::env::var("K2_TEST_SCHEMA_REGISTRY_URL").ok();
    if url.is_none() {
        println!("skipped: K2_TEST_SCHEMA_REGISTRY_URL is not set");
    }
    url
}

fn schemas(url: &str) -> Schemas {
    Schemas::http(HttpSettings::new(vec![url.to_owned()])).unwrap()
}

/// A name that no other test run has.
fn unique(name: &str) -> String {
    format!("{name}{}", rand::random::<u64>())
}

async fn register(url: &str, subject: &str, body: Value) -> i32 {
    let answer = reqwest::Client::new()
        .post(format!("{url}/subjects/{subject}/versions"))
        .header("content-type", "application/vnd.schemaregistry.v1+json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    i32::try_from(answer["id"].as_i64().unwrap_or_else(|| panic!("{answer}"))).unwrap()
}

fn record(name: &str, field_type: &str) -> Value {
    let text = json!({"type": "record", "name": name, "namespace": "n", "fields": [{"name": "f", "type": field_type}]});
    json!({ "schema": text.to_string() })
}

#[tokio::test]
async fn real_schemas_are_found_and_unknown_ids_are_clear() {
    let Some(url) = url() else { return };
    let schemas = schemas(&url);
    let (inner, outer, kind) = (unique("Inner"), unique("Outer"), unique("other"));
    let inner_id = register(&url, &inner, record(&inner, "int")).await;
    let mut whole = record(&outer, &format!("n.{inner}"));
    whole["references"] = json!([{"name": format!("n.{inner}"), "subject": inner, "version": 1}]);
    let outer_id = register(&url, &outer, whole).await;
    let other =
        json!({"schemaType": "PROTOBUF", "schema": format!("syntax = \"proto3\"; message {kind} {{ string a = 1; }}")});
    let other_id = register(&url, &kind, other).await;

    assert!(matches!(schemas.get(inner_id).await, Ok(Lookup::Avro(_))));
    let found = schemas.get(outer_id).await;
    assert!(matches!(found, Ok(Lookup::Avro(_))), "{found:?}");
    let found = schemas.get(other_id).await;
    assert!(matches!(found, Ok(Lookup::NotAvro(_))), "{found:?}");
    for id in [i32::MAX, i32::MIN, -1, 0] {
        let found = schemas.get(id).await;
        assert!(matches!(found, Ok(Lookup::Unknown)), "{id}: {found:?}");
    }
    let told = schemas.ping().await.unwrap();
    assert!(told.ends_with("subjects"), "{told}");
    let elsewhere = Schemas::http(HttpSettings::new(vec![format!("{url}/nowhere")])).unwrap();
    let error = elsewhere.ping().await.unwrap_err().to_string();
    assert!(error.contains("40403") && error.contains("registry.url must be the root"), "{error}");
}

#[tokio::test]
async fn a_real_schema_that_is_registered_within_the_grace_is_found() {
    let Some(url) = url() else { return };
    let schemas = schemas(&url);
    // ids are counted up: one of the next is the one that is registered now, the rest stay unknown or are another test's
    let last = register(&url, &unique("Now"), record(&unique("Now"), "int")).await;
    let ids: BTreeSet<i32> = (last + 1..last + 10).collect();
    let mut resolver = Resolver::new(schemas, Duration::from_secs(4), "test");
    let late = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        register(&url, &unique("Late"), record(&unique("Late"), "int")).await
    };
    let (done, late) = tokio::join!(resolver.resolve(&ids), late);
    done.unwrap();
    assert!(ids.contains(&late), "{late} of {ids:?}");
    assert!(matches!(resolver.verdict(late), Some(Lookup::Avro(_))));
    assert!(ids.iter().all(|id| resolver.verdict(*id).is_some()));
}
