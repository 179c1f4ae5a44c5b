//! The folder of one demo: made new, never emptied. A second demo gets a folder of its own, because its topics are new
//! ones: the engine would rightly halt on tables that another incarnation of a topic has filled.

use super::failed;
use k2_model::{Error, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// `DIR/run-N`, with the configuration, the catalog, the warehouse and the engine's log in it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    shown: PathBuf,
}

impl Folder {
    /// Makes the first `run-N` in `base` that is not there yet.
    pub(super) fn create(base: &Path) -> Result<Self> {
        let refused = |e: std::io::Error, path: &Path| {
            Error::config("cannot make the demo's folder")
                .at(path.display().to_string())
                .caused_by(e)
                .fix("name a folder that can be written to: k2 demo --dir D")
        };
        fs::create_dir_all(base).map_err(|e| refused(e, base))?;
        for number in 1..=u32::MAX {
            let shown = base.join(format!("run-{number}"));
            match fs::create_dir(&shown) {
                Ok(()) => {
                    let path = shown.canonicalize().map_err(|e| refused(e, &shown))?;
                    return Ok(Self { path, shown });
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(refused(e, &shown)),
            }
        }
        Err(Error::config("the demo's folder is full of earlier runs").at(base.display().to_string()))
    }

    /// Writes the configuration that the engine and the tools of this demo run with.
    pub(super) fn write_config(&self, brokers: &str) -> Result<()> {
        let text = format!(
            "# Made by `k2 demo`. Its broker is gone with the demo; sql, verify and tables show go on working:\n\
             #   k2 -c {shown} sql\n\
             \n\
             [kafka]\n\
             brokers = {brokers}\n\
             # The demo's broker knows no static members: one that was killed has to time out before its partitions\n\
             # are given to the next. 2 s suit a demo; the default is 30 s.\n\
             properties = {{ \"session.timeout.ms\" = \"2000\", \"heartbeat.interval.ms\" = \"400\" }}\n\
             \n\
             [catalog]\n\
             uri = {uri}\n\
             warehouse = {warehouse}\n\
             \n\
             [http]\n\
             listen = \"\"\n\
             \n\
             [registry]\n\
             # one of the bad records of the demo has an unknown schema id\n\
             unknown_id_grace = \"500ms\"\n\
             \n\
             [defaults.bronze]\n\
             commit_interval = \"1s\"\n\
             \n\
             [defaults.silver]\n\
             commit_interval = \"1s\"\n",
            shown = self.shown.join("k2.toml").display(),
            brokers = quoted(brokers),
            uri = quoted(&format!("sqlite:{}", self.catalog().display())),
            warehouse = quoted(&self.warehouse().display().to_string()),
        );
        fs::write(self.config(), text).map_err(|e| failed("cannot write the demo's configuration", e))
    }

    /// The configuration file.
    pub(super) fn config(&self) -> PathBuf {
        self.path.join("k2.toml")
    }

    /// The SQLite catalog.
    pub(super) fn catalog(&self) -> PathBuf {
        self.path.join("catalog.db")
    }

    /// Where the tables lie.
    pub(super) fn warehouse(&self) -> PathBuf {
        self.path.join("warehouse")
    }

    /// What the engine logged, all its lives.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("k2-run.log")
    }

    /// As the user would write it.
    pub(super) fn shown(&self) -> &Path {
        &self.shown
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    // JSON's escapes are TOML's
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
#[path = "folder/tests.rs"]
mod tests;
