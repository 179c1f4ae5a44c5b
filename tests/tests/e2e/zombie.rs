//! Promise: a process that was frozen while another took its partitions over is fenced when it thaws.

use k2_tests::*;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_process_frozen_through_a_rebalance_is_fenced() {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create(brokers, "zombie", 2).await;
    // a long interval, so that the frozen process holds rows it has not committed
    let pipeline = Pipeline { commit_interval: "3s".into(), ..Pipeline::bronze(&topic) };
    let deployment =
        Deployment::local(brokers).pipeline(pipeline.clone()).set("kafka.properties.session.timeout.ms", "6000");
    let load = Load::on(&topic).rate(1_000).start();

    let zombie = deployment.run().start();
    let progress = || async { deployment.table(&pipeline).await.map_or(0, |t| t.progress(&topic.name)) };
    wait_until("the first commits", SOON, || async { progress().await > 2_000 }).await;
    // it now reads towards its next commit: freeze it with uncommitted rows in hand
    let delivered = load.delivered();
    wait_until("rows that are not committed yet", SOON, || async { load.delivered() > delivered + 500 }).await;
    zombie.signal(Signal::Stop);
    let frozen_at = progress().await;

    let heir = deployment.run().start();
    wait_until("the heir to take over and go past the zombie", SOON, || async { progress().await > frozen_at + 4_000 })
        .await;
    zombie.signal(Signal::Cont);
    // it must notice (fenced at the gate or lost in the group), drop what it holds, and go on as a member
    wait_until("the zombie to notice", SOON, || async {
        let log = zombie.log();
        log.contains("fenced; reading again") || log.contains("\"lost\"")
    })
    .await;
    assert!(zombie.is_running(), "the zombie ended: {}", zombie.log());
    let ledger = load.stop().await;
    wait_until("all records to be in the table", SOON, || async {
        let Some(table) = deployment.table(&pipeline).await else { return false };
        oracle::compare(&table, &ledger).await.outstanding == 0
    })
    .await;
    for process in [zombie, heir] {
        process.terminate(Duration::from_secs(10)).await.ok();
    }
    let table = deployment.table(&pipeline).await.unwrap();
    oracle::compare(&table, &ledger).await.assert_complete();
    assert!(table.next_offsets(&topic.name).len() == 2);
}

#[tokio::test]
async fn a_frozen_silver_process_is_fenced_and_its_rejects_are_there_once() {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create(brokers, "silver-zombie", 2).await;
    let pipeline = Pipeline { commit_interval: "3s".into(), ..Pipeline::silver(&topic, Exchange::Binance) };
    let deployment = Deployment::local(brokers)
        .with_schemas()
        .pipeline(pipeline.clone())
        .set("kafka.properties.session.timeout.ms", "6000");
    let load = TradeLoad::on(&topic, Exchange::Binance).rate(600).bad(100).start();

    let zombie = deployment.run().start();
    let progress = || async { deployment.table(&pipeline).await.map_or(0, |t| t.progress(&topic.name)) };
    wait_until("the first commits", SOON, || async { progress().await > 1_000 }).await;
    let delivered = load.delivered();
    wait_until("rows that are not committed yet", SOON, || async { load.delivered() > delivered + 300 }).await;
    zombie.signal(Signal::Stop);
    let frozen_at = progress().await;

    let heir = deployment.run().start();
    wait_until("the heir to take over and go past the zombie", SOON, || async { progress().await > frozen_at + 3_000 })
        .await;
    zombie.signal(Signal::Cont);
    wait_until("the zombie to notice", SOON, || async {
        let log = zombie.log();
        log.contains("fenced; reading again") || log.contains("\"lost\"")
    })
    .await;
    assert!(zombie.is_running(), "the zombie ended: {}", zombie.log());
    let ledger = load.stop().await;
    let verdict = deployment.settled(&pipeline, &ledger, SOON).await;
    println!("{verdict}");
    for process in [zombie, heir] {
        process.terminate(Duration::from_secs(10)).await.ok();
    }
    deployment.settled(&pipeline, &ledger, SOON).await;
}
