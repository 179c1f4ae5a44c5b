//! The shared nouns of K2: ids, offsets, positions, batches, the byte budget, error classes and the clock.
//!
//! Owns no I/O. Everything that two rooms of the house must agree upon lives here; everything else does not.
//! The direction of dependencies is `model` ← {source, transform, lake} ← engine ← cli (ARCHITECTURE.md); a test holds it.

pub mod batch;
pub mod budget;
pub mod clock;
pub mod error;
pub mod ids;
pub mod patience;
pub mod position;
pub mod retry;

pub use batch::{Batch, Command, Event, PartitionSpan, RawBatch, StartAt, StartPosition, TopicIdentity};
pub use budget::{Budget, Permit};
pub use error::{Class, Error, Result};
pub use ids::{BatchId, ClusterId, Epoch, NextOffset, Partition, SnapshotId, SourceId, TopicId};
pub use position::{Fingerprint, Intent, PartitionPosition, SinkSnapshot, SourceState, TopicPosition};
