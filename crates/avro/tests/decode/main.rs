//! The decoder from outside: bytes in, rows or reasons out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod hostile;
mod isolation;
mod mutation;
mod oracle;
mod random;
mod resolution;
mod rows;
