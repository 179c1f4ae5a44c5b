//! Promise: kill -9 at any moment loses nothing and doubles nothing.
//!
//! Two processes share the consumer group while records flow; they are killed at seeded random moments and at every
//! named point of the commit. The oracle is the producer's ledger of delivery reports. `K2_TEST_KILLS` sets the number
//! of random kills (40), `K2_TEST_SEED` the seed.

use k2_tests::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);

/// Every named point where a process can be killed, in the order in which a batch passes them.
const POINTS: [&str; 8] = [
    "before_write",
    "before_finish",
    "after_files",
    "before_commit",
    "sql-commit-metadata-written",
    "sql-commit-swapped",
    "after_commit",
    "before_group_commit",
];

/// One of two processes of a deployment. A static member id lets a restarted process have its partitions back at once
/// instead of after the session timeout.
fn member(deployment: &Deployment, name: &str) -> Launch {
    deployment.run().arg("--set").arg(format!("kafka.properties.group.instance.id={name}"))
}

async fn deployed(partitions: i32, prefix: &str) -> (Topic, Pipeline, Deployment) {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create(brokers, prefix, partitions).await;
    let pipeline = Pipeline::bronze(&topic);
    let deployment =
        Deployment::local(brokers).pipeline(pipeline.clone()).set("kafka.properties.session.timeout.ms", "6000");
    (topic, pipeline, deployment)
}

/// Waits until every record of the ledger is in the table, and checks all promises on the way out.
async fn settle(deployment: &Deployment, pipeline: &Pipeline, ledger: &Ledger) {
    wait_until("all records to be in the table", SOON, || async {
        let Some(table) = deployment.table(pipeline).await else { return false };
        let next = table.next_offsets(&ledger.topic);
        ledger
            .records
            .iter()
            .all(|(p, records)| records.last().is_none_or(|(last, _)| next.get(p).is_some_and(|next| next > last)))
    })
    .await;
    let table = deployment.table(pipeline).await.unwrap();
    oracle::compare(&table, ledger).await.assert_complete();
    // and K2 comes to the same conclusion from the tables alone, and against Kafka
    let verified = deployment.k2(["verify", "--kafka"]).run(SOON).await;
    assert_eq!(verified.code, Some(0), "k2 verify found something: {}\n{}", verified.stdout, verified.log);
}

#[tokio::test]
async fn at_random_moments_with_two_processes_in_the_group() {
    let seed: u64 = setting("K2_TEST_SEED").unwrap_or(20_261_123);
    let kills: u32 = setting("K2_TEST_KILLS").unwrap_or(40);
    let mut rng = StdRng::seed_from_u64(seed);
    let (topic, pipeline, deployment) = deployed(4, "kills").await;
    let load = Load::on(&topic).rate(3_000).start();

    let mut running = [Some(member(&deployment, "a").start()), Some(member(&deployment, "b").start())];
    wait_until("a first commit", SOON, || async { deployment.table(&pipeline).await.is_some() }).await;
    for kill in 0..kills {
        // the moment is what the seed says; nothing waits for it to be a good one
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..1_200))).await;
        let victim = usize::from(rng.random_bool(0.5));
        let process = running[victim].take().unwrap();
        assert!(process.is_running(), "{} ended by itself before kill {kill}: {}", ["a", "b"][victim], process.log());
        process.kill().await;
        running[victim] = Some(member(&deployment, ["a", "b"][victim]).start());
    }
    let ledger = load.stop().await;
    println!("{kills} kills at random moments (seed {seed}), {} records", ledger.len());
    // Kafka gives a static member that returns what it had, without a rebalance: if one was killed between the two steps
    // of a rebalance, partitions have no owner until the group rebalances again. A member without a static id sees to it.
    let third = deployment.run().start();
    settle(&deployment, &pipeline, &ledger).await;
    for process in running.into_iter().flatten().chain([third]) {
        process.terminate(Duration::from_secs(10)).await.ok();
    }
}

#[tokio::test]
async fn at_every_named_point() {
    let (topic, pipeline, deployment) = deployed(2, "points").await;
    let load = Load::on(&topic).rate(2_000).start();
    let mut kills = 0;
    for count in 1..=2 {
        for point in POINTS {
            let process = member(&deployment, "a").env("K2_KILL_AT", format!("{point}:{count}")).start();
            let exit = process.wait(SOON).await;
            assert_eq!(exit.code, None, "the process was to be killed at {point}:{count}; it said {}", exit.log);
            kills += 1;
        }
    }
    let ledger = load.stop().await;
    println!("{kills} kills at named points, {} records", ledger.len());
    let last = member(&deployment, "a").start();
    settle(&deployment, &pipeline, &ledger).await;
    last.terminate(Duration::from_secs(10)).await.ok();
}
