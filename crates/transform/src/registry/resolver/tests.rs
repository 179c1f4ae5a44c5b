#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;
use crate::registry::HttpSettings;
use crate::registry::tests::fake::{Fake, Reply, nobody, record, reply, unknown};
use std::sync::{Arc, Mutex};

const GRACE: Duration = Duration::from_millis(400);
/// Whatever must happen has happened by then.
const DEADLINE: Duration = Duration::from_secs(30);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn set(ids: impl IntoIterator<Item = i32>) -> BTreeSet<i32> {
    ids.into_iter().collect()
}

fn resolver_at(uri: &str, grace: Duration) -> Resolver {
    Resolver::new(Schemas::http(HttpSettings::new(vec![uri.to_owned()])).unwrap(), grace, "silver-test")
}

async fn resolve(resolver: &mut Resolver, ids: impl IntoIterator<Item = i32>) {
    tokio::time::timeout(DEADLINE, resolver.resolve(&set(ids))).await.expect("it wedges").unwrap();
}

/// It is still waiting after this time.
async fn waits(resolver: &mut Resolver, ids: impl IntoIterator<Item = i32>, time: Duration) {
    let waited = tokio::time::timeout(time, resolver.resolve(&set(ids))).await;
    assert!(waited.is_err(), "it did not wait: {:?}", resolver.found);
}

/// A registry that gives one answer to all, which can be exchanged.
async fn says(first: Reply) -> (Fake, Arc<Mutex<Reply>>) {
    let now = Arc::new(Mutex::new(first));
    let answer = now.clone();
    (Fake::start(move |_, _| answer.lock().unwrap().clone()).await, now)
}

#[tokio::test]
async fn a_schema_that_comes_within_the_grace_is_found() {
    let fake = Fake::start(|_, before| if before < 3 { unknown() } else { record() }).await;
    let mut resolver = resolver_at(&fake.uri, DEADLINE);
    resolve(&mut resolver, [7]).await;
    assert!(matches!(resolver.verdict(7), Some(Lookup::Avro(_))));
    assert_eq!(fake.asked(7), 4);
    resolve(&mut resolver, [7]).await;
    assert_eq!(fake.asked(7), 4, "known for good");
    assert!(resolver.verdict(8).is_none());
}

#[tokio::test]
async fn an_unknown_id_has_its_grace_and_then_one_more_clear_answer() {
    let fake = Fake::start(|seen, _| if seen.path.ends_with("/1") { record() } else { unknown() }).await;
    let mut resolver = resolver_at(&fake.uri, GRACE);
    let began = Instant::now();
    resolve(&mut resolver, [1, 7, -7]).await;
    assert!(began.elapsed() >= GRACE, "{:?}", began.elapsed());
    for id in [7, -7] {
        assert!(matches!(resolver.verdict(id), Some(Lookup::Unknown)));
        let path = format!("/schemas/ids/{id}");
        let last = fake.seen().into_iter().rfind(|seen| seen.path == path).unwrap();
        assert!(last.at.duration_since(began) >= GRACE, "the answer that decides is asked for after the grace");
    }
    assert!(matches!(resolver.verdict(1), Some(Lookup::Avro(_))));
    assert_eq!(fake.asked(1), 1);
    let asked = fake.asked(7);
    let began = Instant::now();
    resolve(&mut resolver, [7]).await;
    assert!(began.elapsed() < GRACE / 2 && fake.asked(7) == asked, "its grace is counted once");
}

#[tokio::test]
async fn no_help_is_no_verdict_however_long_it_lasts() {
    for no_help in [
        reply(500, ""),
        reply(503, "<html>"),
        reply(401, ""),
        reply(403, ""),
        reply(429, ""),
        reply(200, "garbage"),
        reply(200, "{}"),
        reply(404, "<html>nginx</html>"),
        reply(404, r#"{"error_code":40401}"#),
    ] {
        let (fake, now) = says(no_help).await;
        let mut resolver = resolver_at(&fake.uri, ms(50));
        waits(&mut resolver, [7], ms(500)).await;
        assert!(resolver.verdict(7).is_none(), "no verdict from {now:?}");
        *now.lock().unwrap() = record();
        resolve(&mut resolver, [7]).await;
        assert!(matches!(resolver.verdict(7), Some(Lookup::Avro(_))));
    }
}

#[tokio::test]
async fn a_registry_that_is_down_is_waited_for() {
    let address = nobody();
    let mut resolver = resolver_at(&format!("http://{address}"), ms(50));
    waits(&mut resolver, [7], ms(500)).await;
    assert!(resolver.verdict(7).is_none());
    let _fake = Fake::start_at(address, |_, _| record()).await;
    resolve(&mut resolver, [7]).await;
    assert!(matches!(resolver.verdict(7), Some(Lookup::Avro(_))));
}

#[tokio::test]
async fn the_grace_does_not_decide_while_the_registry_is_away() {
    let (fake, now) = says(unknown()).await;
    let mut resolver = resolver_at(&fake.uri, GRACE);
    waits(&mut resolver, [7], GRACE / 2).await;
    assert!(fake.asked(7) > 0);
    *now.lock().unwrap() = reply(500, "");
    waits(&mut resolver, [7], GRACE * 2).await;
    assert!(resolver.verdict(7).is_none(), "the grace has passed, but nobody said since then that there is no such id");
    *now.lock().unwrap() = unknown();
    resolve(&mut resolver, [7]).await;
    assert!(matches!(resolver.verdict(7), Some(Lookup::Unknown)));
}

#[tokio::test]
async fn a_wait_that_is_dropped_leaves_the_clock_running() {
    let (fake, _) = says(unknown()).await;
    let mut resolver = resolver_at(&fake.uri, GRACE * 3);
    let began = Instant::now();
    for _ in 0..4 {
        waits(&mut resolver, [7], GRACE / 2).await;
    }
    resolve(&mut resolver, [7]).await;
    let took = began.elapsed();
    assert!((GRACE * 3..GRACE * 5).contains(&took), "{took:?}");
}

#[tokio::test]
async fn ids_of_one_batch_share_the_wait() {
    let (fake, _) = says(unknown()).await;
    let mut resolver = resolver_at(&fake.uri, GRACE);
    resolve(&mut resolver, 0..1_000).await;
    assert!((0..1_000).all(|id| matches!(resolver.verdict(id), Some(Lookup::Unknown))));
    assert!(fake.seen().len() <= 5_000, "{} requests", fake.seen().len());
}

#[tokio::test]
async fn a_flood_of_ids_that_come_one_after_the_other_is_bounded() {
    let (fake, _) = says(unknown()).await;
    let mut resolver = resolver_at(&fake.uri, GRACE);
    let began = Instant::now();
    for id in 0..100 {
        resolve(&mut resolver, [id]).await;
        assert!(matches!(resolver.verdict(id), Some(Lookup::Unknown)));
    }
    let took = began.elapsed();
    // a grace for each would be 40 s; two are due
    assert!((GRACE * 2..GRACE * 8).contains(&took), "{took:?}");
    assert!((10..100).all(|id| fake.asked(id) == 1), "beyond the bound an id is asked for once");
}

#[tokio::test]
async fn the_bound_counts_waits_that_were_dropped_too() {
    let (fake, _) = says(unknown()).await;
    let mut resolver = resolver_at(&fake.uri, GRACE);
    let began = Instant::now();
    for id in 0..100 {
        // as a pipeline does that has something else to do in between
        while tokio::time::timeout(ms(90), resolver.resolve(&set([id]))).await.is_err() {
            assert!(began.elapsed() < DEADLINE);
        }
    }
    assert!(began.elapsed() < GRACE * 8, "{:?}", began.elapsed());
}

#[tokio::test]
async fn nothing_is_waited_for_that_cannot_come() {
    let mut resolver = Resolver::new(Schemas::folder("config/schemas").unwrap(), DEADLINE * 2, "silver-test");
    resolve(&mut resolver, [1, 99]).await;
    assert!(matches!(resolver.verdict(1), Some(Lookup::Avro(_))));
    assert!(matches!(resolver.verdict(99), Some(Lookup::Unknown)));
}

#[tokio::test]
async fn an_unknown_id_is_asked_for_again_later() {
    let (fake, now) = says(unknown()).await;
    let mut resolver = resolver_at(&fake.uri, Duration::ZERO);
    resolver.unknown = Sights::new(Duration::ZERO, ms(200));
    resolve(&mut resolver, [7]).await;
    for _ in 0..50 {
        resolve(&mut resolver, [7]).await;
    }
    assert!(fake.asked(7) < 10, "not for each batch: {}", fake.asked(7));
    // a verdict that is out of date needs an answer, and who is no help gives none
    *now.lock().unwrap() = reply(500, "");
    tokio::time::sleep(ms(200)).await;
    waits(&mut resolver, [7], ms(300)).await;
    *now.lock().unwrap() = record();
    resolve(&mut resolver, [7]).await;
    assert!(matches!(resolver.verdict(7), Some(Lookup::Avro(_))));
}

#[tokio::test]
async fn many_pipelines_ask_for_an_id_once() {
    let fake = Fake::start(|_, _| record().after(ms(100))).await;
    let schemas = Schemas::http(HttpSettings::new(vec![fake.uri.clone()])).unwrap();
    let mut pipelines: Vec<Resolver> = (0..4).map(|_| Resolver::new(schemas.clone(), GRACE, "p")).collect();
    futures::future::join_all(pipelines.iter_mut().map(|p| resolve(p, 1..20))).await;
    assert!(pipelines.iter().all(|p| (1..20).all(|id| matches!(p.verdict(id), Some(Lookup::Avro(_))))));
    assert_eq!(fake.seen().len(), 19);
    assert_eq!(fake.most_at_once(), 1);
}

#[test]
fn a_line_is_short_and_rare() {
    let mut notice = Notice::default();
    assert_eq!(notice.say(&set([])), None);
    assert_eq!(notice.say(&set(0..10)), Some(("0,1,2,3,4,5,6,7 and 2 more".into(), 0)));
    assert_eq!(notice.say(&set([5])), None);
    notice.last = None;
    assert_eq!(notice.say(&set([5])), Some(("5".into(), 1)));
}
