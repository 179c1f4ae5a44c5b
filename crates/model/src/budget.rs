//! One hard budget of bytes for the whole process (ARCHITECTURE.md, invariant 7).
//!
//! Whoever brings bytes into the process takes a [`Permit`] first: the source, for a batch of records. The permit
//! travels with the bytes and *shrinks* on the way - rows become encoded pages, pages become uploaded parts - until it
//! is dropped. Nobody downstream of the source ever takes more, so no two stages can wait for each other.
//! A stage that makes more of the bytes before they are encoded has its source take the larger share at once
//! (`SourceConfig::budget_percent`).
//! Fixed costs (librdkafka's prefetch queues) are reserved once at the start.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are counted in units of this many bytes.
const UNIT: u64 = 1024;

/// A share-able budget. Clones are handles on the same one.
#[derive(Debug, Clone)]
pub struct Budget {
    units: Arc<Semaphore>,
    total: u64,
}

impl Budget {
    /// A budget of so many bytes (rounded up to a KiB).
    pub fn new(bytes: u64) -> Self {
        let units = bytes.div_ceil(UNIT);
        Self { units: Arc::new(Semaphore::new(usize::try_from(units).unwrap_or(usize::MAX >> 3))), total: bytes }
    }

    /// The whole budget in bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes taken at the moment.
    pub fn used(&self) -> u64 {
        self.total.saturating_sub(self.units.available_permits() as u64 * UNIT)
    }

    /// What a request of `bytes` really takes: never more than a quarter of the budget, or one record that is larger
    /// than that could never pass.
    fn clamp(&self, bytes: u64) -> u32 {
        let most = (self.total / 4).max(UNIT);
        u32::try_from(bytes.clamp(1, most).div_ceil(UNIT)).unwrap_or(u32::MAX)
    }

    /// Takes the bytes if they are free right now.
    pub fn try_take(&self, bytes: u64) -> Option<Permit> {
        let permit = Arc::clone(&self.units).try_acquire_many_owned(self.clamp(bytes)).ok()?;
        Some(Permit(Some(permit)))
    }

    /// Waits until the bytes are free.
    pub async fn take(&self, bytes: u64) -> Permit {
        // the semaphore is never closed
        Permit(Arc::clone(&self.units).acquire_many_owned(self.clamp(bytes)).await.ok())
    }
}

/// Bytes taken from the budget; given back when dropped.
#[derive(Debug, Default)]
pub struct Permit(Option<OwnedSemaphorePermit>);

impl Permit {
    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |p| p.num_permits() as u64 * UNIT)
    }

    /// Gives back all but `bytes` (rounded up to a KiB). Never grows.
    pub fn shrink_to(&mut self, bytes: u64) {
        if let Some(permit) = &mut self.0 {
            let keep = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX);
            drop(permit.split(permit.num_permits().saturating_sub(keep)));
        }
    }

    /// Joins another permit to this one.
    pub fn merge(&mut self, other: Permit) {
        match (&mut self.0, other.0) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, theirs) => *mine = theirs,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn permits_shrink_merge_and_return() {
        let budget = Budget::new(100 * 1024);
        let mut a = budget.try_take(20 * 1024).unwrap();
        let b = budget.try_take(10 * 1024).unwrap();
        assert_eq!(budget.used(), 30 * 1024);
        a.merge(b);
        a.shrink_to(5000);
        assert_eq!(budget.used(), 5 * 1024);
        a.shrink_to(90_000);
        assert_eq!(a.bytes(), 5 * 1024);
        drop(a);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_giant_takes_a_quarter_and_the_budget_is_hard() {
        let budget = Budget::new(100 * 1024);
        let held: Vec<_> = (0..4).map(|_| budget.try_take(u64::MAX).unwrap()).collect();
        assert!(budget.try_take(1).is_none());
        drop(held);
        assert!(budget.try_take(1).is_some());
    }
}
