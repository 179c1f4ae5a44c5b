//! Waiting for a condition with a deadline: the only way in which a test waits.

use std::future::Future;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until `condition` holds; panics with `what` when `deadline` has passed.
pub async fn wait_until<F, C>(what: &str, deadline: Duration, mut condition: F)
where
    F: FnMut() -> C,
    C: Future<Output = bool>,
{
    wait_for(what, deadline, || {
        let holds = condition();
        async move { holds.await.then_some(()) }
    })
    .await;
}

/// Waits until `probe` yields something, and hands it out; panics with `what` when `deadline` has passed.
pub async fn wait_for<T, F, C>(what: &str, deadline: Duration, mut probe: F) -> T
where
    F: FnMut() -> C,
    C: Future<Output = Option<T>>,
{
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < end, "waited {deadline:?} in vain for: {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
