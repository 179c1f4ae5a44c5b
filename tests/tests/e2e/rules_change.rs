//! Promise: what was decided stays decided. A process dies between silver's commit and that of the dead letters, and the
//! next one has other rules: for the records in flight nothing changes, those after follow the new rules.

use k2_tests::trades::Limits;
use k2_tests::*;
use std::collections::BTreeMap;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);

/// Limits, and how the command line says them. The maker's strange trades lie on the widest limits exactly, so that each
/// narrower one rejects some of them.
fn versions() -> [(Limits, [&'static str; 2]); 3] {
    let wide = Limits::default();
    let hours = |h: i128| h * 3_600_000_000;
    [
        (wide, ["rules.max_future=5m", "rules.max_age=365d"]),
        (Limits { max_age: hours(240), ..wide }, ["rules.max_future=5m", "rules.max_age=10d"]),
        (Limits { max_future: 60_000_000, ..wide }, ["rules.max_future=1m", "rules.max_age=365d"]),
    ]
}

struct World {
    topic: Topic,
    pipeline: Pipeline,
    deployment: Deployment,
}

impl World {
    /// Runs under a version of the rules until the point kills it, or to the end.
    async fn run(&self, sets: [&str; 2], point: Option<&str>) {
        let mut launch = self.deployment.run_until_caught_up();
        for set in sets {
            launch = launch.arg("--set").arg(set);
        }
        match point {
            None => drop(launch.run(SOON).await.ok()),
            Some(point) => {
                let exit = launch.env("K2_KILL_AT", format!("{point}:1")).run(SOON).await;
                assert_eq!(exit.code, None, "it was to be killed at {point}; it said {}", exit.log);
            }
        }
    }

    async fn next(&self) -> BTreeMap<i32, i64> {
        self.deployment.table(&self.pipeline).await.unwrap().next_offsets(&self.topic.name)
    }

    async fn dlq_rows(&self) -> u64 {
        match self.deployment.dlq(&self.pipeline).await {
            Some(table) => table.row_count().await,
            None => 0,
        }
    }

    async fn load(&self, seed: u64) -> TradeLedger {
        TradeLoad::on(&self.topic, Exchange::Kraken).count(1_500).bad(60).days(0).seed(seed).run().await
    }
}

#[tokio::test]
async fn records_in_flight_keep_the_rules_that_decided_on_them() {
    let brokers = &services::kafka().brokers;
    let topic = Topic::create(brokers, "rules-change", 2).await;
    let pipeline = Pipeline::silver(&topic, Exchange::Kraken);
    let deployment = Deployment::local(brokers).with_schemas().pipeline(pipeline.clone());
    let world = World { topic, pipeline, deployment };
    let [a, b, c] = versions();

    // silver is in under rules A, the dead letters are not
    let mut ledger = world.load(1).await;
    world.run(a.1, Some("after_silver_commit")).await;
    let decided_by_a = world.next().await;
    assert!(decided_by_a.values().sum::<i64>() > 0);
    assert_eq!(world.dlq_rows().await, 0);
    // rules B find them: killed on the way in once more, before and after
    world.run(b.1, Some("before_dlq_commit")).await;
    assert_eq!((world.next().await, world.dlq_rows().await), (decided_by_a.clone(), 0));
    world.run(b.1, Some("after_dlq_commit")).await;
    assert_eq!(world.next().await, decided_by_a);
    let in_flight = world.dlq_rows().await;
    assert!(in_flight > 0, "they are rolled forward before anything new is read");
    // records for B, and again the process dies in between
    ledger.merge(world.load(2).await);
    world.run(b.1, Some("before_dlq_commit")).await;
    let decided_by_b = world.next().await;
    assert!(decided_by_b.values().sum::<i64>() > decided_by_a.values().sum::<i64>());
    assert_eq!(world.dlq_rows().await, in_flight);
    // rules C finish it
    ledger.merge(world.load(3).await);
    world.run(c.1, None).await;

    let below = |next: &BTreeMap<i32, i64>, partition: i32, offset: i64| {
        next.get(&partition).is_some_and(|next| offset < *next)
    };
    let limits = |partition, offset| {
        if below(&decided_by_a, partition, offset) {
            a.0
        } else if below(&decided_by_b, partition, offset) {
            b.0
        } else {
            c.0
        }
    };
    let verdict = world.deployment.judge_with(&world.pipeline, &ledger, limits).await.unwrap();
    println!("{verdict}; dead letters by version of the rules: {:?}", verdict.rules);
    verdict.assert_complete();
    assert_eq!(verdict.rules.len(), 3, "each dead letter names the rules that decided on it: {:?}", verdict.rules);
    // the test would not see a mistake if the versions agreed
    for one in [a.0, b.0, c.0] {
        let judged = world.deployment.judge_with(&world.pipeline, &ledger, |_, _| one).await.unwrap();
        assert!(judged.found > 0, "under {one:?} alone the tables would be as they are");
    }
    world.deployment.k2(["verify", "--kafka"]).run(SOON).await.ok();
}
