//! The engine: configuration, wiring, the sinks and their supervision.
//!
//! [`wiring`] reads like the diagram in ARCHITECTURE.md; it alone makes channels between stages. [`supervisor`] alone
//! spawns tasks. A pipeline is a source thread (k2-source) and a [`bronze`] sink task with one bounded channel between.

pub mod bronze;
pub mod check;
pub mod config;
pub mod connect;
pub mod offsets;
pub mod supervisor;
pub mod verify;
pub mod wiring;

mod pending;
