//! The bench itself, before anything is believed that it says: ledger against re-read, every fault of the proxies.

use k2_tests::proxy::Commit;
use k2_tests::*;
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn the_ledger_equals_an_independent_re_read() {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create(brokers, "ledger", 3).await;
    let ledger = Load::on(&topic).shape(Shape::Odd).count(3_000).run().await;
    assert_eq!((ledger.len(), ledger.unsure), (3_000, 0));
    assert_eq!(ledger.records, reread::committed(brokers, &topic.name).await.records);
}

#[tokio::test]
async fn aborted_transactions_are_not_in_the_ledger() {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create(brokers, "transactions", 2).await;
    let load = Load::on(&topic).count(2_000).transactions(100, 4);
    let ledger = load.run().await;
    assert_eq!((ledger.len(), ledger.aborted), (1_500, 500));
    assert_eq!(ledger.records, reread::committed(brokers, &topic.name).await.records);
    // aborted records and the markers take offsets of their own
    assert!(topic.ends().values().sum::<i64>() >= 2_000 + 20);
}

#[tokio::test]
async fn a_load_in_the_background_keeps_its_rate_and_stops() {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create_with(brokers, "rate", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let load = Load::on(&topic).rate(500).start();
    wait_until("300 deliveries", SOON, || async { load.delivered() >= 300 }).await;
    let ledger = load.stop().await;
    let held = reread::committed(brokers, &topic.name).await;
    assert_eq!(ledger.clone().confirmed_by(held).records, ledger.records);
}

#[tokio::test]
async fn a_topic_can_be_recreated_grown_and_trimmed() {
    let brokers = &services::kafka().brokers;
    let mut topic = Topic::create(brokers, "changing", 1).await;
    Load::on(&topic).count(10).run().await;
    topic.recreate().await;
    assert_eq!(topic.ends()[&0], 0);
    topic.grow(2).await;
    let ledger = Load::on(&topic).count(50).run().await;
    topic.trim(0, 5).await;
    let left = reread::committed(brokers, &topic.name).await;
    assert_eq!(left.records[&0], ledger.records[&0][5..]);
}

#[tokio::test]
async fn a_proxied_broker_can_be_blacked_out_and_cut() {
    let (kafka, _lent) = services::own_kafka();
    let listen = kafka.proxy_listen.clone();
    let proxy = TcpProxy::start(listen.as_deref(), kafka.behind_proxy.as_deref().unwrap()).await;
    let mut topic = Topic::create(&kafka.brokers, "proxied", 1).await;
    topic.brokers = proxy.address();

    let load = Load::on(&topic).rate(1_000).start();
    wait_until("deliveries through the proxy", SOON, || async { load.delivered() > 100 }).await;
    for link in [Link::Black, Link::Cut, Link::Slow(Duration::from_millis(20))] {
        proxy.set(link);
        if !matches!(link, Link::Slow(_)) {
            // what was on its way arrives, then nothing more
            let mut before = load.delivered();
            wait_until("the link to fall silent", SOON, || {
                let now = load.delivered();
                let silent = std::mem::replace(&mut before, now) == now;
                async move { silent }
            })
            .await;
            proxy.set(Link::Up);
        }
        let before = load.delivered();
        wait_until("deliveries again", SOON, || async { load.delivered() > before + 500 }).await;
    }
    let ledger = load.stop().await;
    let held = reread::committed(&kafka.brokers, &topic.name).await;
    assert_eq!(ledger.clone().confirmed_by(held).records, ledger.records);
}

#[tokio::test]
async fn a_lent_service_ends_with_its_borrower() {
    let (kafka, lent) = services::own_kafka();
    assert!(tokio::net::TcpStream::connect(&kafka.brokers).await.is_ok());
    drop(lent);
    assert!(tokio::net::TcpStream::connect(&kafka.brokers).await.is_err());
}

/// A table behind a proxy whose commits set one property.
struct Table {
    proxy: CatalogProxy,
    /// Past the proxy.
    direct: String,
    path: String,
    client: reqwest::Client,
}

impl Table {
    async fn create() -> Self {
        let direct = services::rest_catalog().uri.clone();
        let proxy = CatalogProxy::start(&direct).await;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build().unwrap();
        let namespace = format!("proxy_{}", uuid::Uuid::new_v4().simple());
        let schema = json!({"type": "struct", "schema-id": 0, "fields": [
            {"id": 1, "name": "a", "required": false, "type": "long"}]});
        for (path, body) in [
            ("/v1/namespaces".to_owned(), json!({"namespace": [namespace], "properties": {}})),
            (format!("/v1/namespaces/{namespace}/tables"), json!({"name": "t", "schema": schema})),
        ] {
            let url = format!("{}{path}", proxy.uri());
            let answer = client.post(url).timeout(SOON).json(&body).send().await.unwrap();
            assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        }
        assert_eq!(proxy.commits(), [], "making a table is no commit");
        Self { proxy, direct, path: format!("/v1/namespaces/{namespace}/tables/t"), client }
    }

    /// Sets the property through the proxy; the status of the answer, or none if none came.
    async fn commit(&self, value: u32) -> Option<u16> {
        let body = json!({"requirements": [], "updates": [
            {"action": "set-properties", "updates": {"x": value.to_string()}}]});
        let answer = self.client.post(format!("{}{}", self.proxy.uri(), self.path)).json(&body).send().await;
        answer.ok().map(|a| a.status().as_u16())
    }

    /// The property as a reader at this address sees it.
    async fn value(&self, uri: &str) -> Option<u32> {
        let table: Value = self.client.get(format!("{uri}{}", self.path)).send().await.unwrap().json().await.unwrap();
        table["metadata"]["properties"]["x"].as_str().map(|x| x.parse().unwrap())
    }
}

#[tokio::test]
async fn each_fault_of_the_catalog_does_what_it_says() {
    let table = Table::create().await;
    let proxy = &table.proxy;
    let late = Fault::ApplyLate(Duration::from_millis(300));
    let script = [
        // the fault, the answer, whether it is applied
        (Fault::Pass, Some(200), true),
        (Fault::ApplyThenAnswer(500), Some(500), true),
        (Fault::ApplyThenAnswer(409), Some(409), true),
        (Fault::ApplyThenHang, None, true),
        (Fault::ApplyThenCut, None, true),
        (late, None, true),
        (Fault::Refuse(503), Some(503), false),
        (Fault::Cut, None, false),
        (Fault::Hang, None, false),
    ];
    proxy.order(script.map(|(fault, _, _)| fault));
    let mut holds = None;
    for (value, (fault, answer, applied)) in (1..).zip(script) {
        assert_eq!(table.commit(value).await, answer, "{fault:?}");
        if fault == late {
            assert_eq!(table.value(&table.direct).await, holds, "late means later");
            wait_until("the late commit", SOON, || async { table.value(&table.direct).await == Some(value) }).await;
        }
        if applied {
            holds = Some(value);
        }
        assert_eq!(table.value(&table.direct).await, holds, "{fault:?}");
        let said = applied.then_some(200);
        assert_eq!(proxy.commits().last(), Some(&Commit { fault, catalog_said: said }), "{fault:?}");
    }
    assert!(proxy.is_spent());
    assert_eq!(table.commit(99).await, Some(200), "without orders everything passes");
}

#[tokio::test]
async fn frozen_reads_are_stale() {
    let table = Table::create().await;
    let through = table.proxy.uri();
    assert_eq!(table.commit(1).await, Some(200));
    table.proxy.freeze_reads();
    assert_eq!(table.value(&through).await, Some(1));
    assert_eq!(table.commit(2).await, Some(200));
    assert_eq!((table.value(&through).await, table.value(&table.direct).await), (Some(1), Some(2)));
    table.proxy.thaw_reads();
    assert_eq!(table.value(&through).await, Some(2));
}
