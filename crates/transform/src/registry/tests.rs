#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "tests/fake.rs"]
pub(super) mod fake;
#[path = "tests/real.rs"]
mod real;

use super::*;
use fake::{Fake, record, reply, unknown};
use k2_model::Class;
use std::time::Duration;

fn schemas(fake: &Fake) -> Schemas {
    Schemas::http(HttpSettings::new(vec![fake.uri.clone()])).unwrap()
}

/// So many askers at the same time.
async fn all_at_once(schemas: &Schemas, askers: usize) -> Vec<Result<Lookup>> {
    futures::future::join_all((0..askers).map(|_| schemas.get(7))).await
}

#[tokio::test]
async fn an_id_is_asked_for_once_and_known_for_good() {
    let fake = Fake::start(|seen, _| match seen.path.as_str() {
        "/schemas/ids/7" => record().after(Duration::from_millis(100)),
        "/schemas/ids/8" => reply(200, r#"{"schema":"syntax = \"proto3\";","schemaType":"PROTOBUF"}"#),
        "/schemas/ids/9" => fake::schema("no json"),
        "/schemas/ids/10" => fake::schema("\"string\""),
        _ => unknown(),
    })
    .await;
    let schemas = schemas(&fake);
    for answer in all_at_once(&schemas, 50).await {
        assert!(matches!(answer, Ok(Lookup::Avro(_))), "{answer:?}");
    }
    assert_eq!(fake.asked(7), 1);
    for (id, why) in [(8, "PROTOBUF"), (9, "no Avro schema"), (10, "no record")] {
        for _ in 0..3 {
            let Ok(Lookup::NotAvro(told)) = schemas.clone().get(id).await else { panic!("{id}") };
            assert!(told.contains(why), "{told}");
        }
        assert_eq!(fake.asked(id), 1);
    }
    for id in [-1, 0, i32::MIN, i32::MAX] {
        assert!(matches!(schemas.get(id).await, Ok(Lookup::Unknown)));
        assert_eq!(fake.asked(id), 1, "each id is an id, {id} too");
    }
    assert!(lock(&schemas.0.flights).is_empty(), "nothing is kept of a question that was answered");
}

#[tokio::test]
async fn unknown_and_trouble_are_asked_again_but_one_at_a_time() {
    let fake = Fake::start(|seen, before| match seen.path.as_str() {
        "/schemas/ids/7" if before < 2 => unknown().after(Duration::from_millis(100)),
        "/schemas/ids/7" => record(),
        _ => reply(503, "").after(Duration::from_millis(50)),
    })
    .await;
    let schemas = schemas(&fake);
    // the second answer counts for all that came while the first was under way
    for answer in all_at_once(&schemas, 50).await {
        assert!(matches!(answer, Ok(Lookup::Unknown)), "{answer:?}");
    }
    assert_eq!(fake.asked(7), 2);
    assert!(matches!(schemas.get(7).await, Ok(Lookup::Avro(_))), "unknown is never kept");
    let failures = futures::future::join_all((0..20).map(|_| schemas.get(8))).await;
    assert!(failures.iter().all(|f| f.as_ref().is_err_and(|e| e.class() == Class::Retry)));
    assert_eq!(fake.most_at_once(), 1);
    assert!(lock(&schemas.0.flights).is_empty());
}

#[tokio::test]
async fn who_stops_waiting_holds_nobody_up() {
    let fake =
        Fake::start(|_, before| if before == 0 { record().after(Duration::from_secs(60)) } else { record() }).await;
    let schemas = schemas(&fake);
    let gone = tokio::time::timeout(Duration::from_millis(100), schemas.get(7)).await;
    assert!(gone.is_err());
    assert!(lock(&schemas.0.flights).is_empty());
    let answer = tokio::time::timeout(Duration::from_secs(20), schemas.get(7)).await.unwrap();
    assert!(matches!(answer, Ok(Lookup::Avro(_))), "{answer:?}");
}
