//! How the process ends: exit codes, and the one place that tells an error.
//!
//! | code | means |
//! |---|---|
//! | 0 | done |
//! | 1 | a task failed |
//! | 2 | wrong usage or configuration |
//! | 3 | halted: the data needs a decision by a person; the message names the command that takes it |
//! | 4 | a check or verification found something |

use crate::args::LogFormat;
use k2_model::{Class, Error};
use std::io::Write;
use std::process::ExitCode;

/// A check or verification found something.
pub(crate) const FOUND: u8 = 4;

/// The code of an error, by its class.
pub(crate) fn code(error: &Error) -> u8 {
    match error.class() {
        Class::Config => 2,
        Class::Halt => 3,
        Class::Retry | Class::ReRead | Class::Reject | Class::Unknown => 1,
    }
}

/// Ends a command: tells its error, once, and finds the code.
pub(crate) fn end(result: Result<ExitCode, Error>, format: LogFormat) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    let code = code(&error);
    match format {
        LogFormat::Json => {
            tracing::error!(exit_code = code, class = ?error.class(), way_out = error.way_out(), "{}", without_way_out(&error));
        }
        LogFormat::Text => tell(&error),
    }
    ExitCode::from(code)
}

/// Tells an error to a person, on standard error.
pub(crate) fn tell(error: &Error) {
    // nobody is left to tell if this fails
    drop(std::io::stderr().write_all(told(error).as_bytes()));
}

/// What failed, where and why; on a line of its own the way out.
fn told(error: &Error) -> String {
    match error.way_out() {
        Some(fix) => format!("error: {}\n  {fix}\n", without_way_out(error)),
        None => format!("error: {}\n", without_way_out(error)),
    }
}

/// An error's text up to its way out.
pub(crate) fn without_way_out(error: &Error) -> String {
    let text = error.to_string();
    match error.way_out().and_then(|fix| text.strip_suffix(&format!(". {fix}"))) {
        Some(text) => text.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
    use super::*;

    #[test]
    fn the_class_is_the_code() {
        for (class, expected) in [
            (Class::Config, 2),
            (Class::Halt, 3),
            (Class::Retry, 1),
            (Class::ReRead, 1),
            (Class::Reject, 1),
            (Class::Unknown, 1),
        ] {
            assert_eq!(code(&Error::new(class, "x")), expected, "{class:?}");
        }
    }

    #[test]
    fn an_error_reads_what_where_why_and_the_way_out() {
        let cause = std::io::Error::other("it is full");
        let error = Error::config("cannot write").at("table t").caused_by(cause).fix("make room");
        assert_eq!(told(&error), "error: cannot write [table t]: it is full\n  make room\n");
        assert_eq!(told(&Error::halt("stop")), "error: stop\n");
    }
}
