//! Kafka → raw batches. The only room of the house that talks to Kafka.
//!
//! Owns one consumer per pipeline, on a thread of its own, and turns what it delivers into [`RawBatch`]es: Arrow columns
//! without a heap object per record. The rules are those of "Reading from Kafka" in the commit protocol:
//!
//! 1. The table's position is the truth. It is asked for at every assignment ([`Event::Assign`]) and given to librdkafka
//!    as absolute offsets, in one incremental assign. The group's committed offset is written for lag tools, never read.
//! 2. Before a partition starts, its topic id, log range and last record are checked (`start`); what does not fit halts.
//! 3. Every span carries the epoch of its assignment. Records of an assignment never appear under a later epoch.
//! 4. The poll thread never blocks on the sink: a full channel or budget pauses the partitions, not the polling.
//! 5. [`Event::Ended`] is the last event, whatever happens.
//! 6. No batch holds a record of another incarnation of the topic than its identity names (`incarnation`).
//!
//! A crash here leaves nothing behind but a member of the group, which times out after 30 s.
//!
//! | module | holds |
//! |---|---|
//! | `config` | settings, the properties that are refused |
//! | `native` | the C interface, all `unsafe` |
//! | `poll` | the loop: rebalances, back-pressure, faults |
//! | `intake`, `rows`, `outbox` | records → columns → events |
//! | `reading`, `start`, `fault`, `incarnation` | pure decisions: positions, where to start, what an error means, whether the topic is still the same |
//! | `admin`, `reader` | questions to the brokers; reading without a group |
//!
//! [`RawBatch`]: k2_model::RawBatch
//! [`Event::Assign`]: k2_model::Event::Assign
//! [`Event::Ended`]: k2_model::Event::Ended

mod admin;
mod config;
mod fault;
mod handle;
mod incarnation;
mod intake;
mod native;
mod outbox;
mod poll;
mod reader;
mod reading;
mod rows;
mod start;

pub use admin::{Admin, TopicRights, Watermarks};
pub use config::{ClientSettings, SourceConfig, Start, refused_property, validate_property};
pub use handle::{SourceHandle, SourceStats, spawn};
pub use native::{Headers, Record};
pub use reader::Reader;
