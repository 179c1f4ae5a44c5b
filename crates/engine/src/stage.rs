//! The transform stage: between source and silver sink, it turns batches of raw records into rows and rejects, and passes
//! every other event on, in order. A task of its own, so that decoding and encoding use two cores.
//!
//! Holds nothing: what is on its way when the process ends is read again. While the schema registry is no help it waits,
//! the channels fill up, and the source pauses.

use k2_model::{Batch, Error, Event, Result, clock};
use k2_transform::{Routed, Transformer};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

/// See the module.
pub(crate) struct Stage {
    pub(crate) transformer: Transformer,
    pub(crate) events: Receiver<Event>,
    pub(crate) rows: Sender<Event<Routed>>,
    /// The work is finite: the sink's end is no failure.
    pub(crate) until_caught_up: bool,
}

impl Stage {
    /// Runs until the source or the sink has ended.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<()> {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            result = self.work() => result?,
        }
        // whoever ended tells why; this task is not the one to be named
        if !self.until_caught_up {
            stop.cancelled().await;
        }
        Ok(())
    }

    async fn work(&mut self) -> Result<()> {
        while let Some(event) = self.events.recv().await {
            let event = match event {
                Event::Batch(batch) => Event::Batch(self.route(batch).await?),
                Event::Assign { epoch, partitions, reply } => Event::Assign { epoch, partitions, reply },
                Event::Revoke { partitions, reply } => Event::Revoke { partitions, reply },
                Event::Lost { partitions } => Event::Lost { partitions },
                Event::CaughtUp => Event::CaughtUp,
                Event::Ended(result) => Event::Ended(result),
            };
            if self.rows.send(event).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn route(&mut self, batch: Batch<arrow::array::RecordBatch>) -> Result<Batch<Routed>> {
        let Batch { identity, records, received_at, spans, permit } = batch;
        self.transformer.prepare(&records).await?;
        let transformer = &mut self.transformer;
        let place = |e: Error| e.at(format!("topic {}", identity.topic));
        // CPU work of some milliseconds
        let routed =
            tokio::task::block_in_place(|| transformer.route(&identity, &records, received_at, clock::now_micros()))
                .map_err(place)?;
        Ok(Batch { identity, records: routed, received_at, spans, permit })
    }
}
