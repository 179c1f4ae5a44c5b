//! Promise: no part dies unnoticed. When the DLQ task panics the whole process ends within 10 s, non-zero, and names it;
//! silver does not go on alone.

use k2_tests::*;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(90);
/// From the panic to the end of the process.
const BOUND: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_panic_in_the_dlq_task_ends_the_process_and_is_named() {
    let brokers = &services::kafka().brokers;
    let mut deployment = Deployment::local(brokers).with_schemas();
    let mut silvers = Vec::new();
    for exchange in Exchange::BOTH {
        let topic = Topic::create(brokers, &format!("dlq-task-{}", exchange.name()), 2).await;
        let silver = Pipeline::silver(&topic, exchange);
        deployment = deployment.pipeline(Pipeline::bronze_of(&topic, exchange)).pipeline(silver.clone());
        silvers.push((silver, TradeLoad::on(&topic, exchange).rate(400).bad(100).start()));
    }

    let process = deployment.run().env("K2_PANIC_AT", "dlq_task:3").start();
    wait_until("the panic", SOON, || async { process.log().contains("K2_PANIC_AT") }).await;
    let panicked = Instant::now();
    let exit = process.wait(BOUND).await;
    println!("ended {:?} after the panic", panicked.elapsed());
    assert_eq!(exit.code, Some(1), "{}", exit.log);
    let last = exit.log.lines().rev().find(|line| line.contains("ERROR")).unwrap_or_default().to_lowercase();
    assert!(last.contains("dlq") && last.contains("panic"), "the last error names the task and the cause: {last}");

    // what was decided meanwhile is carried out by the next start
    let again = deployment.run().start();
    for (silver, load) in silvers {
        let ledger = load.stop().await;
        let verdict = deployment.settled(&silver, &ledger, SOON).await;
        assert!(verdict.dlq > 0, "{verdict}");
    }
    again.terminate(BOUND).await.ok();
    deployment.k2(["verify", "--kafka"]).run(SOON).await.ok();
}
