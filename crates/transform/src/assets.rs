//! Texts of the configuration: a file where there is one, else the built-in of that name.
use k2_model::{Error, Result};

/// A text and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// A path, or `config/… (built in)`.
    pub label: String,
    /// The text.
    pub text: String,
}

/// The file at `path` if there is one, else the built-in of that name.
pub fn asset(path: &str) -> Result<Text> {
    Err(Error::config(format!("{path}: being built")))
}
