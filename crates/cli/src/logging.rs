//! Logs: to standard error, for people on a terminal and as JSON otherwise.
//!
//! The level is `K2_LOG`'s, else `RUST_LOG`'s (`debug`, `k2_lake=debug,info` …), else info; the libraries below say only
//! what is a warning.

use crate::args::LogFormat;
use k2_model::{Error, Result};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// What is logged where nobody says otherwise.
const DEFAULT: &str = "info";

/// Libraries that tell more than anybody wants to know at info.
const QUIET: [&str; 10] = [
    "rdkafka",
    "librdkafka",
    "sqlx",
    "object_store",
    "iceberg",
    "datafusion",
    "hyper",
    "hyper_util",
    "reqwest",
    "rustls",
];

/// The format that was asked for; else by where standard error goes.
pub(crate) fn format(asked: Option<LogFormat>) -> LogFormat {
    asked.unwrap_or(if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json })
}

/// Starts logging for the whole process.
pub(crate) fn start(format: LogFormat) -> Result<()> {
    let logs = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter()?);
    let started = match format {
        LogFormat::Text => logs.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|e| Error::unknown("cannot start the logs").caused_by(e))
}

fn filter() -> Result<EnvFilter> {
    for variable in ["K2_LOG", "RUST_LOG"] {
        if std::env::var_os(variable).is_some_and(|value| !value.is_empty()) {
            return EnvFilter::try_from_env(variable).map_err(|e| {
                Error::config("the log level is not one")
                    .at(format!("environment {variable}"))
                    .caused_by(e)
                    .fix("write error, warn, info, debug or trace, also by module: k2_lake=debug,info")
            });
        }
    }
    let quiet: Vec<String> = QUIET.iter().map(|library| format!("{library}=warn")).collect();
    EnvFilter::try_new(format!("{DEFAULT},{}", quiet.join(",")))
        .map_err(|e| Error::unknown("the built-in log filter is broken").caused_by(e))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
    use super::*;

    #[test]
    fn the_built_in_filter_is_good() {
        let quiet: Vec<String> = QUIET.iter().map(|library| format!("{library}=warn")).collect();
        assert!(EnvFilter::try_new(format!("{DEFAULT},{}", quiet.join(","))).is_ok());
    }

    #[test]
    fn what_is_asked_for_wins() {
        assert_eq!(format(Some(LogFormat::Json)), LogFormat::Json);
        assert_eq!(format(Some(LogFormat::Text)), LogFormat::Text);
    }
}
