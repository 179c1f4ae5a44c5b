//! Bad networks: an HTTP proxy before a REST catalog with faults to order, one before any other web server, and a TCP
//! proxy for everything else.
//!
//! They run on a runtime of their own, so that a test which blocks does not stall them.

mod catalog;
mod http;
mod tcp;
mod upstream;
mod web;

pub use catalog::{CatalogProxy, Commit, Fault};
pub use tcp::{Link, TcpProxy};
pub use web::{Weather, WebProxy};

use std::sync::LazyLock;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("proxy").enable_all().build().unwrap()
});
