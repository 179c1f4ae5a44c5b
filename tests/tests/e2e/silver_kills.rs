//! Promise: kill -9 at any moment of any of the four pipelines, and every record is in exactly one of silver and the dead
//! letters, once.
//!
//! Two processes share the four consumer groups while good and bad records flow; they are killed at seeded random moments
//! and at every named point. `K2_TEST_SILVER_KILLS` sets the number of random kills (30), `K2_TEST_SEED` the seed.

use k2_tests::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);

/// Every named point, in the order in which a batch passes them; the second half is silver's alone.
const POINTS: [&str; 12] = [
    "before_write",
    "before_finish",
    "after_files",
    "before_commit",
    "sql-commit-metadata-written",
    "sql-commit-swapped",
    "after_commit",
    "before_group_commit",
    "after_silver_files",
    "after_silver_commit",
    "before_dlq_commit",
    "after_dlq_commit",
];

/// Four pipelines, and what flows into them.
struct Four {
    deployment: Deployment,
    exchanges: Vec<(Exchange, Topic, Pipeline, Pipeline)>,
}

impl Four {
    async fn deployed(prefix: &str, partitions: i32) -> Self {
        let brokers = &services::kafka().brokers;
        let mut deployment =
            Deployment::local(brokers).with_schemas().set("kafka.properties.session.timeout.ms", "6000");
        let mut exchanges = Vec::new();
        for exchange in Exchange::BOTH {
            let topic = Topic::create(brokers, &format!("{prefix}-{}", exchange.name()), partitions).await;
            let (bronze, silver) = (Pipeline::bronze_of(&topic, exchange), Pipeline::silver(&topic, exchange));
            deployment = deployment.pipeline(bronze.clone()).pipeline(silver.clone());
            exchanges.push((exchange, topic, bronze, silver));
        }
        Self { deployment, exchanges }
    }

    /// One of two processes. A static member id lets a restarted process have its partitions back at once instead of
    /// after the session timeout.
    fn member(&self, name: &str) -> Launch {
        self.deployment.run().arg("--set").arg(format!("kafka.properties.group.instance.id={name}"))
    }

    fn load(&self, per_second: u64) -> Vec<trades::ProducingTrades> {
        let loads = self.exchanges.iter().map(|(exchange, topic, ..)| TradeLoad::on(topic, *exchange).days(3));
        loads.map(|load| load.rate(per_second).start()).collect()
    }

    /// Stops the loads, waits until all is in, and checks all promises.
    async fn settle(&self, loads: Vec<trades::ProducingTrades>, kills: u32) {
        for ((exchange, _, bronze, silver), load) in self.exchanges.iter().zip(loads) {
            let ledger = load.stop().await;
            let verdict = self.deployment.settled(silver, &ledger, SOON).await;
            println!("{kills} kills, {}: {verdict}", exchange.name());
            assert!(verdict.dlq > 0 && verdict.silver > verdict.dlq, "{verdict}");
            wait_until("bronze to have read all", SOON, || async {
                let Some(table) = self.deployment.table(bronze).await else { return false };
                let next = table.next_offsets(&ledger.topic);
                ledger.last_offsets().iter().all(|(p, last)| next.get(p).is_some_and(|next| next > last))
            })
            .await;
            let rows = self.deployment.table(bronze).await.unwrap().row_count().await;
            assert_eq!(rows, ledger.count, "bronze of {}", exchange.name());
        }
        // and K2 comes to the same conclusion from the tables alone, and against Kafka
        let verified = self.deployment.k2(["verify", "--kafka"]).run(SOON).await;
        assert_eq!(verified.code, Some(0), "k2 verify found something: {}\n{}", verified.stdout, verified.log);
    }
}

#[tokio::test]
async fn at_random_moments_with_two_processes_in_four_groups() {
    let seed: u64 = setting("K2_TEST_SEED").unwrap_or(20_261_124);
    let kills: u32 = setting("K2_TEST_SILVER_KILLS").unwrap_or(30);
    let mut rng = StdRng::seed_from_u64(seed);
    let four = Four::deployed("four-kills", 4).await;
    let loads = four.load(700);

    let mut running = [Some(four.member("a").start()), Some(four.member("b").start())];
    wait_until("a first commit of each silver", SOON, || async {
        for (_, topic, _, silver) in &four.exchanges {
            if four.deployment.table(silver).await.is_none_or(|t| t.progress(&topic.name) == 0) {
                return false;
            }
        }
        true
    })
    .await;
    for kill in 0..kills {
        // the moment is what the seed says; nothing waits for it to be a good one
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..2_200))).await;
        let victim = usize::from(rng.random_bool(0.5));
        let name = ["a", "b"][victim];
        let process = running[victim].take().unwrap();
        assert!(process.is_running(), "{name} ended by itself before kill {kill} (seed {seed}): {}", process.log());
        process.kill().await;
        running[victim] = Some(four.member(name).start());
    }
    // Kafka gives a static member that returns what it had, without a rebalance: if one was killed between the two steps
    // of a rebalance, partitions have no owner until the group rebalances again. A member without a static id sees to it.
    let third = four.deployment.run().start();
    four.settle(loads, kills).await;
    for process in running.into_iter().flatten().chain([third]) {
        process.terminate(Duration::from_secs(10)).await.ok();
    }
}

#[tokio::test]
async fn at_every_named_point() {
    let four = Four::deployed("four-points", 2).await;
    let loads = four.load(400);
    let mut kills = 0;
    for count in 1..=2 {
        for point in POINTS {
            // the second time by silver: bronze alone has its own test
            let process = match count {
                1 => four.member("a"),
                _ => {
                    let silvers = four.exchanges.iter().map(|(.., silver)| silver.name.clone());
                    let member = "kafka.properties.group.instance.id=a";
                    four.deployment.k2(["run"]).args(silvers).arg("--set").arg(member)
                }
            };
            let process = process.env("K2_KILL_AT", format!("{point}:{count}")).start();
            let exit = process.wait(SOON).await;
            assert_eq!(exit.code, None, "the process was to be killed at {point}:{count}; it said {}", exit.log);
            kills += 1;
        }
    }
    let last = four.member("a").start();
    four.settle(loads, kills).await;
    last.terminate(Duration::from_secs(10)).await.ok();
}
