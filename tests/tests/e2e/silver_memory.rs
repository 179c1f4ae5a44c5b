//! Promise: four pipelines on one budget. With 384 MiB and both exchanges draining a backlog, the process stays under
//! 512 MiB.
//!
//! `K2_TEST_BACKLOG` sets the records per exchange (400,000); the figures of a shipped build are in `make bench`.

use k2_tests::*;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(400);
const LIMIT: u64 = 512 << 20;

#[tokio::test]
async fn four_pipelines_drain_within_the_budget() {
    let backlog: u64 =
        std::env::vars().find(|(key, _)| key == "K2_TEST_BACKLOG").map_or(400_000, |(_, n)| n.parse().unwrap());
    let brokers = &services::kafka().brokers;
    let mut deployment = Deployment::local(brokers).with_schemas().set("memory.budget", "384MiB");
    let mut exchanges = Vec::new();
    for exchange in Exchange::BOTH {
        let topic = Topic::create(brokers, &format!("memory-{}", exchange.name()), 4).await;
        let load = TradeLoad::on(&topic, exchange).count(backlog).bad(20).days(30).forget().start();
        let (bronze, silver) = (Pipeline::bronze_of(&topic, exchange), Pipeline::silver(&topic, exchange));
        // as in production: large batches
        let interval = "10s".to_owned();
        let (bronze, silver) = (
            Pipeline { commit_interval: interval.clone(), ..bronze },
            Pipeline { commit_interval: interval, ..silver },
        );
        deployment = deployment.pipeline(bronze.clone()).pipeline(silver.clone());
        exchanges.push((topic, bronze, silver, load));
    }
    let mut tables = Vec::new();
    for (topic, bronze, silver, load) in exchanges {
        load.finish().await;
        tables.push((topic, bronze, silver));
    }

    let process = deployment.run_until_caught_up().start();
    let peak = std::sync::atomic::AtomicU64::new(0);
    wait_until("all to be drained", SOON, || async {
        peak.fetch_max(process.peak_rss(), std::sync::atomic::Ordering::Relaxed);
        !process.is_running()
    })
    .await;
    let peak = peak.into_inner();
    process.wait(SOON).await.ok();
    println!("peak {} MiB for {backlog} records of each exchange", peak >> 20);
    assert!(peak > 50 << 20, "the figure is none: {peak}");
    assert!(peak < LIMIT, "peak {} MiB", peak >> 20);

    let mut dead = 0;
    let mut routed = 0;
    for (topic, bronze, silver) in &tables {
        let bronze = deployment.table(bronze).await.unwrap();
        assert_eq!(bronze.row_count().await, backlog);
        assert_eq!(bronze.progress(&topic.name), i64::try_from(backlog).unwrap());
        routed += deployment.table(silver).await.unwrap().row_count().await;
        dead = deployment.dlq(silver).await.unwrap().row_count().await;
    }
    assert_eq!(routed + dead, 2 * backlog, "{routed} rows and {dead} dead letters");
    assert!(dead > backlog / 50, "{dead} dead letters of {} bad in a thousand", 20);
}
