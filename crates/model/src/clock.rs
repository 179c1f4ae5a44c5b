//! The only place that reads the wall clock (clippy.toml bans it elsewhere).

use std::time::{SystemTime, UNIX_EPOCH};

/// Microseconds since 1970-01-01 UTC.
pub fn now_micros() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "this is the clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970-01-01 UTC.
pub fn now_millis() -> i64 {
    now_micros() / 1000
}

/// The UTC day of a time in microseconds, as days since 1970-01-01 (Arrow `Date32`, Iceberg `date`).
pub fn day_of(micros: i64) -> i32 {
    i32::try_from(micros.div_euclid(86_400_000_000)).unwrap_or(if micros < 0 { i32::MIN } else { i32::MAX })
}
