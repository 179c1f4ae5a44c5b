//! Raw Kafka records into silver rows and DLQ rows. Pure but for the schema registry.
//!
//! ```text
//!     value ─► frame ─► Avro ─► SQL projection ─► rules ─► silver row
//!                │        │           │             └────► DLQ row, with the first reason in the contract's order
//!                └────────┴───────────┴──────────────────► DLQ row
//! ```
//!
//! What a pipeline does is configuration - an Avro reader schema, a SELECT, a list of rules - and is compiled once into a
//! [`Plan`]. A [`Transformer`] applies it to batches, column by column; there is no heap object per record. Not here: Kafka,
//! Iceberg, files of data.

mod assets;
mod codec;
mod contract;
mod dlq;
mod evaluate;
mod frame;
mod functions;
mod input;
mod message_id;
mod number;
mod plan;
mod projection;
pub mod registry;
mod rules;
mod sql;
mod transformer;

pub use assets::{Text, asset};
pub use contract::{PRECISION, SCALE, dlq_schema, silver_schema};
pub use plan::{Definition, Plan};
pub use registry::{HttpSettings, Lookup, Resolver, Schemas};
pub use transformer::{Fate, Rejected, Routed, Transformer};
