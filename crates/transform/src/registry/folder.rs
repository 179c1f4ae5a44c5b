//! Schemas in a folder: `<id>.avsc` or `<id>-<anything>.avsc`, one whole schema in each file.
//!
//! Reader schemas and other files may lie in the same folder: a name that does not begin with a number is left alone.
//! The folder is read again for an id that is not known yet, so that a file can be added to a running process. Two files
//! of one id are a mistake that nobody can decide but a person.

use super::Lookup;
use super::http::LARGEST;
use super::trouble::Trouble;
use k2_model::{Error, Result, clock};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// A file that is younger may still be written to: that its text is broken says nothing yet.
const SETTLED: Duration = Duration::from_secs(2);

const FIX_TWICE: &str = "Delete or rename one of them: an id means one schema";
const FIX_FILE: &str = "Check registry.folder, and that this user may read it";

pub(super) enum Folder {
    /// On disk, with its files when it was read last.
    Disk { path: PathBuf, listing: tokio::sync::Mutex<Option<Listing>> },
    /// In the binary: names and texts.
    BuiltIn { name: String, files: BTreeMap<i32, (String, &'static str)> },
}

/// The files by id.
type Files<F> = BTreeMap<i32, F>;

pub(super) struct Listing {
    begun: Instant,
    files: Result<Files<PathBuf>, Trouble>,
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { path, .. } => write!(f, "{}", path.display()),
            Self::BuiltIn { name, .. } => write!(f, "{name} (built in)"),
        }
    }
}

impl Folder {
    pub(super) fn open(name: &str) -> Result<Self> {
        let path = PathBuf::from(name);
        if path.is_dir() {
            let files = list(&path).map_err(|trouble| trouble.error().with_class(k2_model::Class::Config))?;
            tracing::debug!(folder = name, schemas = files.len(), "schemas by id");
            return Ok(Self::Disk { path, listing: tokio::sync::Mutex::default() });
        }
        let built_in = crate::assets::built_in(name);
        if built_in.is_empty() {
            return Err(Error::config("there is no such folder with schemas")
                .at(format!("registry.folder {name}"))
                .fix("Put files <id>.avsc into it, or set registry.url"));
        }
        let named = built_in.into_iter().map(|(name, text)| (name.clone(), (name, text)));
        match by_id(named) {
            Ok(files) => Ok(Self::BuiltIn { name: name.to_owned(), files }),
            Err(twice) => Err(twice.at(name).error().with_class(k2_model::Class::Config)),
        }
    }

    pub(super) async fn lookup(&self, id: i32) -> Result<Lookup, Trouble> {
        match self {
            Self::BuiltIn { files, .. } => {
                Ok(files.get(&id).map_or(Lookup::Unknown, |(_, text)| Lookup::of_text(text)))
            }
            Self::Disk { path, listing } => match files(path, listing).await?.get(&id) {
                None => Ok(Lookup::Unknown),
                Some(file) => read(file.clone()).await,
            },
        }
    }

    pub(super) async fn ping(&self) -> Result<String, Trouble> {
        let count = match self {
            Self::BuiltIn { files, .. } => files.len(),
            Self::Disk { path, listing } => files(path, listing).await?.len(),
        };
        Ok(if count == 1 { "1 schema".into() } else { format!("{count} schemas") })
    }
}

/// The files of now: a listing that was begun after this call. Many calls at the same time share one.
async fn files(path: &Path, listing: &tokio::sync::Mutex<Option<Listing>>) -> Result<Files<PathBuf>, Trouble> {
    let called = Instant::now();
    let mut last = listing.lock().await;
    if let Some(last) = last.as_ref().filter(|last| last.begun >= called) {
        return last.files.clone();
    }
    let begun = Instant::now();
    let folder = path.to_owned();
    let files = blocking(move || list(&folder)).await;
    *last = Some(Listing { begun, files: files.clone() });
    files
}

fn list(folder: &Path) -> Result<Files<PathBuf>, Trouble> {
    let failed = |e: std::io::Error| {
        Trouble::new(format!("cannot read the folder with schemas: {e}"), FIX_FILE).at(folder.display().to_string())
    };
    let mut named = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().into_string() {
            named.push((name, entry.path()));
        }
    }
    // the order of a folder is no order
    named.sort();
    by_id(named).map_err(|twice| twice.at(folder.display().to_string()))
}

fn by_id<F>(named: impl IntoIterator<Item = (String, F)>) -> Result<Files<F>, Trouble> {
    let mut names = BTreeMap::new();
    let mut files = BTreeMap::new();
    for (name, file) in named {
        let Some(id) = id_of(&name) else { continue };
        if let Some(first) = names.insert(id, name.clone()) {
            return Err(Trouble::new(format!("two files for the schema id {id}: {first} and {name}"), FIX_TWICE));
        }
        files.insert(id, file);
    }
    Ok(files)
}

/// The id of a file's name: a number in front, then the end or a dash.
fn id_of(name: &str) -> Option<i32> {
    let stem = name.strip_suffix(".avsc")?;
    let digits = stem.strip_prefix('-').unwrap_or(stem);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let id = &stem[..stem.len() - digits.len() + end];
    (digits[end..].is_empty() || digits[end..].starts_with('-')).then(|| id.parse().ok())?
}

async fn read(file: PathBuf) -> Result<Lookup, Trouble> {
    blocking(move || {
        let place = file.display().to_string();
        let failed = |e: std::io::Error| Trouble::new(format!("cannot read a schema: {e}"), FIX_FILE).at(&place);
        let about = std::fs::metadata(&file).map_err(failed)?;
        if about.len() > LARGEST as u64 {
            let what = format!("the file of a schema is larger than {} MiB", LARGEST >> 20);
            return Err(Trouble::new(what, FIX_FILE).at(&place));
        }
        let text = std::fs::read(&file).map_err(failed)?;
        let found = match std::str::from_utf8(&text) {
            Ok(text) => Lookup::of_text(text),
            Err(_) => Lookup::NotAvro("its text is not UTF-8".into()),
        };
        let written = about.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        let now = Duration::from_micros(u64::try_from(clock::now_micros()).unwrap_or_default());
        match &found {
            Lookup::NotAvro(why) if now.checked_sub(written).is_some_and(|age| age < SETTLED) => {
                let what = format!("a schema's file was written to a moment ago and is not whole: {why}");
                Err(Trouble::new(what, "Move a file into the folder when it is whole").at(&place))
            }
            _ => Ok(found),
        }
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Trouble> + Send + 'static) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => Err(Trouble::new(format!("reading schemas was broken off: {e}"), FIX_FILE)),
    }
}

#[cfg(test)]
#[path = "folder/tests.rs"]
mod tests;
