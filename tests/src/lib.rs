//! The bench that K2 is tested on from outside: real servers, a producer that keeps a ledger, an oracle, bad networks.
//!
//! Nothing here shares code with the engine. The oracle's truth is the producer's delivery reports ([`Ledger`]) and an
//! independent re-read of the topic ([`reread`]); tables are read from their metadata and Parquet files directly
//! ([`oracle`]). An error of the engine can therefore not hide itself in the check.
//!
//! Services come from the `K2_TEST_…` variables when they are set (`make test` sets them), else they are started once
//! per test binary ([`services`]). Everything that a test starts dies with the test process, however that ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test's way to fail is to panic")]

pub mod k2;
pub mod ledger;
pub mod oracle;
pub mod producer;
pub mod proxy;
pub mod record;
pub mod reread;
pub mod services;
pub mod topic;
pub mod trades;
pub mod wait;

pub use k2::{Deployment, Exit, Launch, Pipeline, Process, Signal, Silver};
pub use ledger::Ledger;
pub use oracle::{TableState, Verdict};
pub use producer::{Load, Producing, Shape, Transactions};
pub use proxy::{CatalogProxy, Fault, Link, TcpProxy, Weather, WebProxy};
pub use topic::Topic;
pub use trades::{Exchange, TradeLedger, TradeLoad};
pub use wait::{wait_for, wait_until};

/// A setting of a test run from the environment, `K2_TEST_…`; none if it is not there or does not parse.
pub fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::vars().find(|(key, _)| key == name)?.1.parse().ok()
}
