//! The engine: configuration, wiring, the sinks and their supervision.
//!
//! [`wiring`] reads like the diagram in ARCHITECTURE.md; it alone makes channels between stages. [`supervisor`] alone
//! spawns tasks. A bronze pipeline is a source thread (k2-source) and a [`sink`] task; a silver one has a [`stage`] between them
//! that decodes and routes, and shares a [`dlq`] task.

pub mod check;
pub mod config;
pub mod connect;
pub mod dead_letters;
pub mod offsets;
pub mod supervisor;
pub mod tables;
pub mod trial;
pub mod verify;
pub mod wiring;

mod bronze;
mod dlq;
mod pending;
mod rate;
mod silver;
mod sink;
mod stage;
