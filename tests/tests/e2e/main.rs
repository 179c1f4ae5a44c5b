//! End to end: the `k2` binary against real servers. One module per promise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test's way to fail is to panic")]

mod harness;
mod readers;
mod kills;
mod zombie;
mod verify;
