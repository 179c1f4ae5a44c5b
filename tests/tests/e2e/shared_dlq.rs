//! Promise: the DLQ table is shared by all silver pipelines, and none starves another.
//!
//! Four silver pipelines in two processes, half of all records bad, a commit every second: the worst case for one table.

use k2_tests::*;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(120);
/// Commits with dead letters that every pipeline has to get through.
const COMMITS: usize = 8;
/// How long they may take; at one a second, and two cores for everything.
const FAIR: Duration = Duration::from_secs(60);

#[tokio::test]
async fn no_pipeline_starves_another_on_the_shared_table() {
    let brokers = &services::kafka().brokers;
    let mut deployment = Deployment::local(brokers).with_schemas();
    let mut silvers = Vec::new();
    for number in 0..4 {
        let exchange = Exchange::BOTH[number % 2];
        let topic = Topic::create(brokers, &format!("shared-{number}"), 2).await;
        let silver = Pipeline {
            name: format!("silver-{number}"),
            table: format!("silver_{number}_trades"),
            ..Pipeline::silver(&topic, exchange)
        };
        deployment = deployment.pipeline(silver.clone());
        silvers.push((silver, topic.clone(), TradeLoad::on(&topic, exchange).rate(250).bad(500).days(2).start()));
    }
    let two = |from: usize| deployment.k2(["run"]).args(silvers[from..from + 2].iter().map(|(p, ..)| &p.name)).start();
    let processes = [two(0), two(2)];
    wait_until("the table", SOON, || async { deployment.dlq(&silvers[0].0).await.is_some() }).await;

    let begun = Instant::now();
    let positions = tokio::sync::Mutex::new(vec![BTreeSet::new(); silvers.len()]);
    wait_until("every pipeline to get its dead letters in", FAIR, || async {
        let mut positions = positions.lock().await;
        for ((silver, topic, _), seen) in silvers.iter().zip(positions.iter_mut()) {
            seen.insert(deployment.dlq(silver).await.unwrap().progress(&topic.name));
        }
        positions.iter().all(|seen| seen.len() > COMMITS)
    })
    .await;
    let seen: Vec<usize> = positions.lock().await.iter().map(BTreeSet::len).collect();
    println!("positions of the dead letters seen in {:?}: {seen:?}", begun.elapsed());

    for (silver, _, load) in silvers {
        let ledger = load.stop().await;
        let verdict = deployment.settled(&silver, &ledger, SOON).await;
        println!("{}: {verdict}", silver.name);
    }
    for process in processes {
        process.terminate(Duration::from_secs(10)).await.ok();
    }
    deployment.k2(["verify", "--kafka"]).run(SOON).await.ok();
}
