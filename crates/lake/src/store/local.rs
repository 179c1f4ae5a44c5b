//! The local folder as an object store that survives a power cut.
//!
//! object_store's own `LocalFileSystem` never syncs; it is used here for reading, listing and deleting only.
//! A write goes to a temporary name in the same folder, is synced, linked to its name (which fails if the name is
//! taken), and the folder is synced: a name that is visible has its whole content on the disk.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const STORE: &str = "the local folder";

/// See the module.
#[derive(Debug)]
pub(super) struct DurableLocal {
    inner: LocalFileSystem,
}

impl DurableLocal {
    pub(super) fn new() -> Self {
        Self { inner: LocalFileSystem::new() }
    }
}

impl std::fmt::Display for DurableLocal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(STORE)
    }
}

#[async_trait]
impl ObjectStore for DurableLocal {
    async fn put_opts(&self, location: &Key, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let replace = match opts.mode {
            PutMode::Overwrite => true,
            PutMode::Create => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "put with PutMode::Update".into(),
                    implementer: STORE.into(),
                });
            }
        };
        let to = self.inner.path_to_filesystem(location)?;
        blocking(move || {
            let mut staged = Staged::create(&to)?;
            payload.iter().try_for_each(|piece| staged.file()?.write_all(piece)).map_err(|e| failed(&to, e))?;
            staged.publish(&to, replace)
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Key, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let to = self.inner.path_to_filesystem(location)?;
        let staged = blocking({
            let to = to.clone();
            move || Staged::create(&to)
        })
        .await?;
        Ok(Box::new(LocalUpload { to, staged: Some(staged), written: 0 }))
    }

    async fn get_opts(&self, location: &Key, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Key, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A file being written, under a name that nobody reads. Removed when dropped before it is published.
#[derive(Debug)]
struct Staged {
    file: Option<Arc<File>>,
    path: PathBuf,
}

impl Staged {
    fn create(to: &Path) -> Result<Self> {
        let folder = to.parent().ok_or_else(|| failed(to, ErrorKind::IsADirectory.into()))?;
        let path = folder.join(format!(".k2-{}.tmp", uuid::Uuid::new_v4().simple()));
        let open = || OpenOptions::new().write(true).create_new(true).open(&path);
        let file = match open() {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                make_folders(folder).map_err(|e| failed(folder, e))?;
                open()
            }
            other => other,
        };
        Ok(Self { file: Some(Arc::new(file.map_err(|e| failed(to, e))?)), path })
    }

    fn file(&self) -> io::Result<&File> {
        self.file.as_deref().ok_or_else(|| ErrorKind::BrokenPipe.into())
    }

    fn publish(&mut self, to: &Path, replace: bool) -> Result<()> {
        self.file().and_then(File::sync_all).map_err(|e| failed(to, e))?;
        let link = || match std::fs::hard_link(&self.path, to) {
            // file systems without hard links: the name's uuid keeps writers apart
            Err(e) if matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                if to.exists() {
                    Err(ErrorKind::AlreadyExists.into())
                } else {
                    std::fs::rename(&self.path, to)
                }
            }
            other => other,
        };
        let named = if replace { std::fs::rename(&self.path, to) } else { link() };
        named.map_err(|e| failed(to, e))?;
        self.discard();
        to.parent().map_or(Ok(()), sync_folder).map_err(|e| failed(to, e))
    }

    fn discard(&mut self) {
        if self.file.take().is_some() {
            // after a rename it is gone already
            drop(std::fs::remove_file(&self.path));
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Creates the missing folders, each synced into the one above it.
fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().ok_or(ErrorKind::NotFound)?;
    make_folders(parent)?;
    match std::fs::create_dir(folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    sync_folder(parent)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Parts go to their offsets in the staged file.
#[derive(Debug)]
struct LocalUpload {
    to: PathBuf,
    staged: Option<Staged>,
    written: u64,
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let file = self.staged.as_ref().and_then(|s| s.file.clone());
        let to = self.to.clone();
        let mut at = self.written;
        self.written += data.content_length() as u64;
        Box::pin(blocking(move || {
            let file = file.ok_or_else(|| failed(&to, ErrorKind::BrokenPipe.into()))?;
            for piece in &data {
                file.write_all_at(piece, at).map_err(|e| failed(&to, e))?;
                at += piece.len() as u64;
            }
            Ok(())
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let to = self.to.clone();
        let staged = self.staged.take();
        blocking(move || {
            let mut staged = staged.ok_or_else(|| failed(&to, ErrorKind::BrokenPipe.into()))?;
            staged.publish(&to, false)
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.staged.take();
        blocking(move || {
            drop(staged);
            Ok(())
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn failed(path: &Path, e: io::Error) -> Error {
    let path = path.display().to_string();
    match e.kind() {
        ErrorKind::NotFound => Error::NotFound { path, source: e.into() },
        ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: e.into() },
        _ => Error::Generic { store: STORE, source: e.into() },
    }
}
