//! Bad networks: an HTTP proxy before a REST catalog with faults to order, and a TCP proxy for everything else.
//!
//! Both run on a runtime of their own, so that a test which blocks does not stall them.

mod catalog;
mod http;
mod tcp;

pub use catalog::{CatalogProxy, Commit, Fault};
pub use tcp::{Link, TcpProxy};

use std::sync::LazyLock;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("proxy").enable_all().build().unwrap()
});
