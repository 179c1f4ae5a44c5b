//! Texts of the configuration by their path: a file where there is one, else the one of that name that is part of the
//! binary. So the shipped pipelines need no file, and a file of that name replaces one.

use k2_model::{Error, Result};
use std::io::ErrorKind;

/// A text and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// For messages: the path, with ` (built in)` after it where no file was read.
    pub label: String,
    /// The text.
    pub text: String,
}

macro_rules! built_in {
    ($($path:literal),* $(,)?) => {
        /// Path and text of each.
        const BUILT_IN: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../../", $path)))),*];
    };
}

built_in![
    "config/schemas/binance_raw_trade.avsc",
    "config/schemas/kraken_raw_trade.avsc",
    "config/schemas/1-binance_raw_trade.avsc",
    "config/schemas/2-kraken_raw_trade.avsc",
    "config/transforms/binance.sql",
    "config/transforms/kraken.sql",
    "config/rules/trades.toml",
    "config/examples/coinbase/coinbase_raw_trade.avsc",
    "config/examples/coinbase/3-coinbase_raw_trade.avsc",
    "config/examples/coinbase/coinbase.sql",
];

/// The file at `path` if there is one, else the built-in of that name.
pub fn asset(path: &str) -> Result<Text> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Text { label: path.to_owned(), text }),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let name = plain(path);
            match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
                Some((_, text)) => Ok(Text { label: format!("{name} (built in)"), text: (*text).to_owned() }),
                None => Err(Error::config(format!("there is no file {path}, and nothing of that name is built in"))
                    .fix(format!(
                        "built in are {}",
                        BUILT_IN.iter().map(|(path, _)| *path).collect::<Vec<_>>().join(", ")
                    ))),
            }
        }
        Err(e) => Err(Error::config(format!("cannot read {path}")).caused_by(e)),
    }
}

/// Names and texts of what is built in directly under a folder; names without the folder.
pub(crate) fn built_in(folder: &str) -> Vec<(String, &'static str)> {
    let folder = plain(folder);
    let within = |path: &str| {
        let name = path.strip_prefix(folder.trim_end_matches('/'))?.strip_prefix('/')?;
        (!name.contains('/')).then(|| name.to_owned())
    };
    BUILT_IN.iter().filter_map(|(path, text)| Some((within(path)?, *text))).collect()
}

fn plain(path: &str) -> &str {
    path.trim_start_matches("./")
}

#[cfg(test)]
#[path = "assets/tests.rs"]
mod tests;
