//! iceberg's `Storage` on [`Stores`].
//!
//! iceberg says that `write` replaces a file; ours never does (invariant 1 of [`super`]).

use super::error::{Doing, store_error, to_iceberg};
use super::{Stores, Upload};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use iceberg::Result;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::ops::Range;
use std::sync::Arc;

/// Files deleted at a time where the store deletes one by one.
const DELETES_IN_FLIGHT: usize = 10;

/// Hands out [`LakeStorage`]s that share one set of clients.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct LakeStorageFactory {
    #[serde(skip)]
    stores: Stores,
}

impl LakeStorageFactory {
    pub(super) fn new(stores: Stores) -> Self {
        Self { stores }
    }
}

#[typetag::serde(name = "K2LakeStorageFactory")]
impl StorageFactory for LakeStorageFactory {
    fn build(&self, _: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(LakeStorage { stores: self.stores.clone() }))
    }
}

/// iceberg's view on [`Stores`]. What iceberg serialises of it is its name only.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct LakeStorage {
    #[serde(skip)]
    stores: Stores,
}

impl LakeStorage {
    fn resolve(&self, location: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        self.stores.resolve(location).map_err(to_iceberg)
    }
}

fn failed(doing: Doing, location: &str) -> impl FnOnce(object_store::Error) -> iceberg::Error {
    move |e| to_iceberg(store_error(doing, location, e))
}

#[async_trait]
#[typetag::serde(name = "K2LakeStorage")]
impl Storage for LakeStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        let (store, key) = self.resolve(path)?;
        match store.head(&key).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(failed(Doing::Read, path)(e)),
        }
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        let (store, key) = self.resolve(path)?;
        let meta = store.head(&key).await.map_err(failed(Doing::Read, path))?;
        Ok(FileMetadata { size: meta.size })
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        self.stores.get(path).await.map_err(to_iceberg)
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        let (store, key) = self.resolve(path)?;
        Ok(Box::new(Reader { store, key, location: path.into() }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.stores.put_new(path, bytes).await.map_err(to_iceberg)
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        Ok(Box::new(Writer(Some(self.stores.upload(path).await.map_err(to_iceberg)?))))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.stores.delete(path).await.map_err(to_iceberg)
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        let (store, key) = self.resolve(path)?;
        let files = store.list(Some(&key)).map_ok(|file| file.location).boxed();
        let deleted = store.delete_stream(files).try_for_each(|_| async { Ok(()) });
        match deleted.await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failed(Doing::List, path)(e)),
        }
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        let all = paths.map(Ok::<_, iceberg::Error>);
        all.try_for_each_concurrent(DELETES_IN_FLIGHT, |path| async move { self.delete(&path).await }).await
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.into()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.into()))
    }
}

struct Reader {
    store: Arc<dyn ObjectStore>,
    key: Path,
    location: String,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.store.get_range(&self.key, range).await.map_err(failed(Doing::Read, &self.location))
    }
}

struct Writer(Option<Upload>);

impl Writer {
    fn closed() -> iceberg::Error {
        iceberg::Error::new(iceberg::ErrorKind::Unexpected, "the file is closed already")
    }
}

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.0.as_mut().ok_or_else(Self::closed)?.write(bytes).await.map_err(to_iceberg)
    }

    async fn close(&mut self) -> Result<()> {
        let upload = self.0.take().ok_or_else(Self::closed)?;
        upload.finish().await.map(drop).map_err(to_iceberg)
    }
}
