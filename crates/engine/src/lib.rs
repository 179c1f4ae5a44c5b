//! The engine: configuration, and the wiring and supervision of pipelines.

pub mod config;
