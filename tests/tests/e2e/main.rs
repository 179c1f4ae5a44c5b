//! End to end: the `k2` binary against real servers. One module per promise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test's way to fail is to panic")]

mod bad_input;
mod catalog_faults;
mod harness;
mod kills;
mod readers;
mod verify;
mod zombie;
