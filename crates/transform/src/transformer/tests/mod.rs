#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;

mod encode;
mod evolution;
mod fixture;
mod golden;
mod isolation;
mod property;
mod third_exchange;
mod throughput;

use encode::{Binance, Coinbase, Kraken};
use fixture::{KAFKA_MICROS, Outcome, Raw, Routing};
