#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use k2_model::Class;

#[tokio::test]
async fn first_failure_cancels_the_rest_and_is_named() {
    let mut supervisor = Supervisor::default();
    let stop = supervisor.token();
    supervisor.spawn("silver", async move {
        stop.cancelled().await;
        Ok(())
    });
    supervisor.spawn("dlq", async { Err(Error::halt("no")) });
    let failure = supervisor.run(false).await.unwrap_err();
    assert_eq!((failure.task.as_str(), failure.error.class()), ("dlq", Class::Halt));
    assert!(failure.hanging.is_empty());
}

#[tokio::test]
async fn a_panic_is_a_failure_with_its_text() {
    let mut supervisor = Supervisor::default();
    supervisor.spawn("dlq", async { panic!("out of range: {}", 7) });
    let failure = supervisor.run(false).await.unwrap_err();
    assert!(failure.to_string().contains("task dlq failed: the task panicked: out of range: 7"), "{failure}");
}

#[tokio::test]
async fn ending_early_is_a_failure_unless_the_work_is_finite() {
    for finite in [true, false] {
        let mut supervisor = Supervisor::default();
        supervisor.spawn("bronze", async { Ok(()) });
        assert_eq!(supervisor.run(finite).await.is_ok(), finite);
    }
}

#[tokio::test]
async fn a_task_that_does_not_drain_does_not_hold_the_process() {
    let mut supervisor = Supervisor { drain: Duration::from_millis(50), ..Supervisor::default() };
    supervisor.spawn("stuck", std::future::pending());
    supervisor.spawn("dlq", async { Err(Error::unknown("x")) });
    let failure = supervisor.run(false).await.unwrap_err();
    assert_eq!(failure.hanging, ["stuck"]);
    const { assert!(DRAIN.as_secs() < 10) };
}
