//! End to end: the `k2` binary against real servers. One module per promise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test's way to fail is to panic")]

mod bad_input;
mod catalog_faults;
mod dlq_task;
mod harness;
mod kills;
mod readers;
mod registry_faults;
mod rules_change;
mod secure_kafka;
mod shared_dlq;
mod silver;
mod silver_kills;
mod silver_memory;
mod third_exchange;
mod topic_lifecycle;
mod verify;
mod verify_silver;
mod zombie;
