//! Where a file lies, from the text of a location. No text is decoded: a location is what Iceberg's metadata says.

use k2_model::{Error, Result};
use object_store::path::Path;
use std::path::{Component, PathBuf};

/// One client's worth of a location.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Authority {
    Local,
    S3 { bucket: String },
    Google { bucket: String },
    Azure { container: String, account: Option<String> },
}

/// A location, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) authority: Authority,
    pub(super) path: Path,
}

impl Location {
    /// `scheme://authority/key`, `file:/folder/file`, or an absolute path.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (authority, key) = split(text)?;
        let path = Path::parse(key).map_err(|e| Error::config("the location has a bad path").at(text).caused_by(e))?;
        Ok(Self { authority, path })
    }
}

fn split(text: &str) -> Result<(Authority, &str)> {
    if text.starts_with('/') {
        return Ok((Authority::Local, text));
    }
    // Hadoop writes `file:/folder`, everybody else `file:///folder`
    if let Some(rest) = text.strip_prefix("file:") {
        let path = rest.strip_prefix("//localhost").or_else(|| rest.strip_prefix("//")).unwrap_or(rest);
        if !path.starts_with('/') {
            return Err(Error::config("a file: location needs an absolute path").at(text));
        }
        return Ok((Authority::Local, path));
    }
    let (scheme, rest) = text
        .split_once("://")
        .ok_or_else(|| Error::config("not a location: neither a URL nor an absolute path").at(text))?;
    let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() {
        return Err(Error::config("the location names no bucket").at(text));
    }
    let authority = match scheme {
        "s3" | "s3a" | "s3n" => Authority::S3 { bucket: host.into() },
        "gs" | "gcs" => Authority::Google { bucket: host.into() },
        "az" | "azure" | "abfs" | "abfss" | "wasb" | "wasbs" => match host.split_once('@') {
            Some((container, host)) => {
                let account = host.split_once('.').map_or(host, |(account, _)| account);
                Authority::Azure { container: container.into(), account: Some(account.into()) }
            }
            None => Authority::Azure { container: host.into(), account: None },
        },
        other => {
            return Err(Error::config(format!("unknown scheme {other}:// of a location"))
                .at(text)
                .fix("use a folder, file:, s3://, gs://, az:// or abfss://"));
        }
    };
    Ok((authority, key))
}

/// The root of the tables, from the configuration: a folder (relative to the working folder, or absolute), `file:`,
/// `s3://`, `gs://`, `az://`, `abfss://`.
///
/// A folder becomes `file:///absolute/path`, the one form that PyIceberg, DuckDB, Spark and Trino all open, from
/// whatever folder they are started in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warehouse {
    location: String,
}

impl Warehouse {
    /// Reads the configured text.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::config("the warehouse is empty").fix("set catalog.warehouse to a folder or a URL"));
        }
        let is_folder = !text.contains("://") && !text.starts_with("file:");
        let location = if is_folder { format!("file://{}", absolute(text)?) } else { canonical(text)? };
        let location = location.trim_end_matches('/').to_owned();
        // other engines parse locations as URLs and would cut the rest off
        if location.contains(['?', '#']) {
            return Err(Error::config("the warehouse must not contain ? or #").at(text));
        }
        Location::parse(&location)?;
        Ok(Self { location })
    }

    /// The location, without a slash at its end.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The folder, if it is a local one.
    pub fn folder(&self) -> Option<PathBuf> {
        self.location.strip_prefix("file://").map(PathBuf::from)
    }
}

fn canonical(text: &str) -> Result<String> {
    match split(text)? {
        (Authority::Local, path) => Ok(format!("file://{path}")),
        _ => Ok(text.into()),
    }
}

fn absolute(folder: &str) -> Result<String> {
    let path = std::path::absolute(folder)
        .map_err(|e| Error::config("cannot find the working folder for the warehouse").at(folder).caused_by(e))?;
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    clean.into_os_string().into_string().map_err(|_| Error::config("the warehouse's path is not UTF-8").at(folder))
}
