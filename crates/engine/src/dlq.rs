//! The DLQ task: the one writer that this process has to a DLQ table, shared by all silver sinks that feed it.
//!
//! ## Overview
//! A silver sink decides with its own commit what goes to the DLQ ([`k2_model::Intent`]) and then asks this task to carry it
//! out. Requests that wait are joined into one commit, so pipelines don't compete for the head of the table and none starves.
//!
//! ## Consistency
//! 1. A request is answered when its rows are in the table, once, whoever put them there ([`k2_lake::gate::Settler`]).
//! 2. The task ends only after the last sink that could ask: sinks drain through it.
//! 3. It never goes missing in silence: a sink whose request gets no answer waits until the supervisor, who has seen the
//!    task end and names it, stops the sink as well.
//!
//! A crash here leaves intents in the silver tables; the next start, or the next owner of the partitions, carries them out.

use k2_lake::gate::Settler;
use k2_model::{ClusterId, Error, Intent, Result, SourceId, SourceState};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Requests that are joined into one commit at most.
const JOINED: usize = 64;

/// Intents of one source, to be in the DLQ table before the answer.
#[derive(Debug)]
pub(crate) struct Request {
    source: SourceId,
    cluster: ClusterId,
    intents: Vec<Intent>,
    reply: oneshot::Sender<()>,
}

/// The task.
#[derive(Debug)]
pub(crate) struct Dlq {
    pub(crate) settler: Settler,
    pub(crate) requests: Receiver<Request>,
}

impl Dlq {
    /// Serves until nobody is left who could ask.
    pub(crate) async fn run(mut self) -> Result<()> {
        let mut waiting = Vec::new();
        while self.requests.recv_many(&mut waiting, JOINED).await > 0 {
            fail::fail_point!("dlq_task");
            let intents: Vec<_> = waiting
                .iter()
                .flat_map(|r| r.intents.iter().map(|i| (r.source.clone(), r.cluster.clone(), i.clone())))
                .collect();
            self.settler.settle(&intents).await?;
            for request in waiting.drain(..) {
                // a sink that no longer waits has been stopped; what it asked for is done all the same
                let _ = request.reply.send(());
            }
        }
        Ok(())
    }
}

/// A silver sink's way to the DLQ table.
#[derive(Debug, Clone)]
pub(crate) struct DlqClient {
    pub(crate) settler: Settler,
    pub(crate) requests: Sender<Request>,
    pub(crate) stop: CancellationToken,
}

impl DlqClient {
    /// Returns when the intents are in the table.
    pub(crate) async fn settle(&self, source: &SourceId, cluster: &ClusterId, intents: &[Intent]) -> Result<()> {
        if intents.is_empty() {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        let request = Request { source: source.clone(), cluster: cluster.clone(), intents: intents.to_vec(), reply };
        if self.requests.send(request).await.is_ok() && answer.await.is_ok() {
            return Ok(());
        }
        // the supervisor knows why; the first to be named is the task that ended, not the one that missed it
        self.stop.cancelled().await;
        Err(Error::unknown("the DLQ task ended before the rejects were committed; they will be at the next start"))
    }

    /// The table's own position of a source, read afresh. Fails if the table was rolled back.
    pub(crate) async fn state(&self, source: &SourceId) -> Result<Option<SourceState>> {
        Ok(self.settler.head(source).await?.1)
    }
}

#[cfg(test)]
#[path = "dlq/tests.rs"]
mod tests;
