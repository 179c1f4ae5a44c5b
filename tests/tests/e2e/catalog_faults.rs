//! Promise: whatever the catalog answers to a commit - wrongly, late, or not at all - nothing is lost and nothing doubled.
//!
//! A real REST catalog with its warehouse on S3, behind a proxy that misbehaves by a script.

use k2_tests::*;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

const FAULTS: [Fault; 14] = [
    Fault::ApplyThenAnswer(500),
    Fault::ApplyThenAnswer(502),
    Fault::ApplyThenAnswer(504),
    Fault::ApplyThenAnswer(409),
    Fault::ApplyThenCut,
    Fault::ApplyThenHang,
    Fault::ApplyLate(Duration::from_millis(700)),
    Fault::Refuse(503),
    Fault::Refuse(500),
    Fault::Refuse(409),
    Fault::Cut,
    Fault::Hang,
    Fault::ApplyLate(Duration::from_secs(5)),
    Fault::Pass,
];

#[tokio::test]
async fn every_fault_of_the_catalog_in_turn() {
    let brokers = &services::kafka().brokers;
    let catalog = services::rest_catalog();
    let proxy = CatalogProxy::start(&catalog.uri).await;
    let topic = Topic::create(brokers, "catalog-faults", 3).await;
    let pipeline = Pipeline::bronze(&topic);
    let deployment = Deployment::rest(brokers, &proxy.uri(), catalog, services::s3())
        .pipeline(pipeline.clone())
        // how long an answer to a commit is waited for
        .set("catalog.request_timeout", "4s");
    let load = Load::on(&topic).rate(800).start();
    let process = deployment.run().start();
    wait_until("a first commit", SOON, || async { process.log().contains("\"committed\"") }).await;

    proxy.order(FAULTS);
    wait_until("every fault to be met", SOON, || async { proxy.is_spent() }).await;
    assert!(process.is_running(), "it ended: {}", process.log());
    let ledger = load.stop().await;
    wait_until("all records to be in the table", SOON, || async {
        let Some(table) = deployment.table(&pipeline).await else { return false };
        oracle::compare(&table, &ledger).await.outstanding == 0
    })
    .await;
    process.terminate(Duration::from_secs(10)).await.ok();
    let table = deployment.table(&pipeline).await.unwrap();
    let verdict = oracle::compare(&table, &ledger).await;
    println!("{} faults, {} commits by the proxy, {verdict}", FAULTS.len(), proxy.commits().len());
    verdict.assert_complete();
}

#[tokio::test]
async fn a_catalog_that_is_away_holds_everything_up_and_loses_nothing() {
    let brokers = &services::kafka().brokers;
    let catalog = services::rest_catalog();
    let proxy = CatalogProxy::start(&catalog.uri).await;
    let topic = Topic::create(brokers, "catalog-away", 2).await;
    let pipeline = Pipeline::bronze(&topic);
    let deployment = Deployment::rest(brokers, &proxy.uri(), catalog, services::s3())
        .pipeline(pipeline.clone())
        .set("catalog.request_timeout", "4s");
    let load = Load::on(&topic).rate(1_000).start();
    let process = deployment.run().start();
    wait_until("a first commit", SOON, || async { process.log().contains("\"committed\"") }).await;

    proxy.otherwise(Fault::Refuse(503));
    wait_until("it to say so", SOON, || async { process.log().contains("failed; trying again") }).await;
    let before = load.delivered();
    wait_until("records to pile up", SOON, || async { load.delivered() > before + 5_000 }).await;
    // asked to end while the catalog is away, it ends in time, and well: nothing counts before it is in the table
    let exit = process.terminate(Duration::from_secs(10)).await.ok();
    assert!(exit.log.contains("will be read again"), "it says what becomes of the rest: {}", exit.log);

    proxy.otherwise(Fault::Pass);
    let ledger = load.stop().await;
    deployment.run_until_caught_up().run(SOON).await.ok();
    oracle::compare(&deployment.table(&pipeline).await.unwrap(), &ledger).await.assert_complete();
}

/// Commits of silver and of its dead letters alternate, so that each fault is met by both.
#[tokio::test]
async fn every_fault_of_the_catalog_for_silver_and_its_dead_letters() {
    let brokers = &services::kafka().brokers;
    let catalog = services::rest_catalog();
    let proxy = CatalogProxy::start(&catalog.uri).await;
    let topic = Topic::create(brokers, "silver-faults", 2).await;
    let pipeline = Pipeline::silver(&topic, Exchange::Kraken);
    let deployment = Deployment::rest(brokers, &proxy.uri(), catalog, services::s3())
        .with_schemas()
        .pipeline(pipeline.clone())
        .set("catalog.request_timeout", "4s");
    let load = TradeLoad::on(&topic, Exchange::Kraken).rate(400).bad(200).days(2).start();
    let process = deployment.run().start();
    wait_until("a first commit of dead letters", SOON, || async { process.log().contains("rejects committed") }).await;

    // twice, the second time by one commit later
    proxy.order(FAULTS);
    proxy.order(FAULTS);
    wait_until("every fault to be met", SOON, || async { proxy.is_spent() }).await;
    assert!(process.is_running(), "it ended: {}", process.log());
    let ledger = load.stop().await;
    let verdict = deployment.settled(&pipeline, &ledger, SOON).await;
    println!("{} faults, {} commits by the proxy, {verdict}", 2 * FAULTS.len(), proxy.commits().len());
    process.terminate(Duration::from_secs(10)).await.ok();
    deployment.settled(&pipeline, &ledger, SOON).await;
}

#[tokio::test]
async fn a_stale_read_cannot_let_a_commit_in_twice() {
    let brokers = &services::kafka().brokers;
    let catalog = services::rest_catalog();
    let proxy = CatalogProxy::start(&catalog.uri).await;
    let topic = Topic::create(brokers, "catalog-stale", 2).await;
    let pipeline = Pipeline::bronze(&topic);
    let deployment = Deployment::rest(brokers, &proxy.uri(), catalog, services::s3())
        .pipeline(pipeline.clone())
        .set("catalog.request_timeout", "4s");
    let load = Load::on(&topic).rate(1_000).start();
    let process = deployment.run().start();
    let progress = || async { deployment.table(&pipeline).await.map_or(0, |t| t.progress(&topic.name)) };
    wait_until("the first commits", SOON, || async { progress().await > 1_000 }).await;

    // the head it is shown is old from the next commit on: every attempt must be refused by the pin
    proxy.freeze_reads();
    let commits = proxy.commits().len();
    wait_until("commits against the stale head", SOON, || async { proxy.commits().len() > commits + 4 }).await;
    proxy.thaw_reads();
    let thawed_at = progress().await;
    wait_until("progress again", SOON, || async { progress().await > thawed_at + 1_000 }).await;
    let ledger = load.stop().await;
    wait_until("all records to be in the table", SOON, || async {
        let Some(table) = deployment.table(&pipeline).await else { return false };
        oracle::compare(&table, &ledger).await.outstanding == 0
    })
    .await;
    process.terminate(Duration::from_secs(10)).await.ok();
    oracle::compare(&deployment.table(&pipeline).await.unwrap(), &ledger).await.assert_complete();
}
