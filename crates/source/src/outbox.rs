//! The way out: events in order, without ever blocking the thread that polls.
//!
//! A batch takes its bytes from the budget before it leaves. When the budget or the channel is full, the events wait
//! here; the poll loop then stops taking records in, so that no more than one batch and what one poll brought is held
//! beyond the budget.

use k2_model::{Budget, Event, RawBatch};
use std::collections::VecDeque;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// The receiving end is gone: the sink ended, and nobody wants to know more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SinkGone;

struct Outgoing {
    event: Event,
    /// What it still has to take from the budget.
    owes: u64,
}

/// Events that wait for the channel.
pub(crate) struct Outbox {
    waiting: VecDeque<Outgoing>,
    channel: Sender<Event>,
    budget: Budget,
}

impl Outbox {
    pub(crate) fn new(channel: Sender<Event>, budget: Budget) -> Self {
        Self { waiting: VecDeque::new(), channel, budget }
    }

    /// Adds a batch that takes so many bytes.
    pub(crate) fn push_batch(&mut self, batch: RawBatch, bytes: u64) {
        self.waiting.push_back(Outgoing { event: Event::Batch(batch), owes: bytes });
    }

    /// Adds any other event.
    pub(crate) fn push(&mut self, event: Event) {
        self.waiting.push_back(Outgoing { event, owes: 0 });
    }

    /// Drops the batches, keeps the other events.
    pub(crate) fn drop_batches(&mut self) {
        self.waiting.retain(|out| !matches!(out.event, Event::Batch(_)));
    }

    /// Hands over what the channel and the budget take. Returns whether everything went.
    pub(crate) fn deliver(&mut self) -> Result<bool, SinkGone> {
        while let Some(mut out) = self.waiting.pop_front() {
            if let Event::Batch(batch) = &mut out.event
                && out.owes > 0
            {
                match self.budget.try_take(out.owes) {
                    Some(permit) => (batch.permit, out.owes) = (permit, 0),
                    None => {
                        self.waiting.push_front(out);
                        return if self.channel.is_closed() { Err(SinkGone) } else { Ok(false) };
                    }
                }
            }
            match self.channel.try_send(out.event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.waiting.push_front(Outgoing { event, owes: 0 });
                    return Ok(false);
                }
                Err(TrySendError::Closed(_)) => return Err(SinkGone),
            }
        }
        if self.channel.is_closed() { Err(SinkGone) } else { Ok(true) }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the sink has nothing to do: what is sent now is taken at once.
    pub(crate) fn sink_is_idle(&self) -> bool {
        self.waiting.is_empty() && self.channel.capacity() == self.channel.max_capacity()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use arrow::array::RecordBatch;
    use k2_model::batch::RAW_SCHEMA;
    use k2_model::{ClusterId, Permit, TopicIdentity};
    use std::sync::Arc;

    fn batch() -> RawBatch {
        let identity = TopicIdentity { cluster_id: ClusterId::new("c"), topic: "t".into(), topic_id: None };
        RawBatch {
            identity: Arc::new(identity),
            records: RecordBatch::new_empty(Arc::clone(&RAW_SCHEMA)),
            received_at: 0,
            spans: Vec::new(),
            permit: Permit::default(),
        }
    }

    #[test]
    fn what_the_channel_or_the_budget_does_not_take_waits_in_order() {
        let budget = Budget::new(64 << 10);
        let (channel, mut received) = tokio::sync::mpsc::channel(2);
        let mut outbox = Outbox::new(channel, budget.clone());
        assert!(outbox.sink_is_idle());

        let held = budget.try_take(16 << 10).unwrap();
        let rest: Vec<_> = std::iter::from_fn(|| budget.try_take(16 << 10)).collect();
        outbox.push_batch(batch(), 16 << 10);
        outbox.push(Event::CaughtUp);
        assert_eq!(outbox.deliver(), Ok(false), "the budget is spent");
        assert!(received.try_recv().is_err(), "nothing overtakes the batch");

        drop(held);
        assert_eq!(outbox.deliver(), Ok(true));
        assert!(!outbox.sink_is_idle());
        outbox.push_batch(batch(), 1);
        drop(rest);
        assert_eq!(outbox.deliver(), Ok(false), "the channel is full");
        // its permit is kept, not taken twice
        let used = budget.used();
        assert_eq!(outbox.deliver(), Ok(false));
        assert_eq!(budget.used(), used);

        let Event::Batch(first) = received.try_recv().unwrap() else { panic!("the batch comes first") };
        assert_eq!(first.permit.bytes(), 16 << 10);
        assert!(matches!(received.try_recv().unwrap(), Event::CaughtUp));
        outbox.push(Event::CaughtUp);
        outbox.drop_batches();
        assert_eq!((outbox.len(), outbox.deliver()), (1, Ok(true)));
        drop(received);
        assert_eq!(outbox.deliver(), Err(SinkGone));
    }
}
