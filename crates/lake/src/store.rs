//! Files: one pooled client per object store, behind iceberg's `Storage` and behind our own writers.
//!
//! Owns every connection to a warehouse: a local folder, S3 and what speaks its protocol, Google and Azure. Names
//! come in as full locations (`s3://bucket/key`, `file:///folder/file`), so that one [`Stores`] serves all of them.
//!
//! # Invariants
//! 1. No object is ever overwritten. Names carry a uuid and are put with create-if-absent: a zombie writer cannot
//!    change a committed file. Where a store has no such put, the uuid alone keeps names apart.
//! 2. An object is visible whole or not at all. A local file is written under a temporary name, synced, linked to its
//!    name, and the folder synced.
//! 3. All is bounded: connections and requests per store, part uploads per process, retries in time, parts in flight
//!    per file.
//!
//! # Crash leftovers
//! A multipart upload that nobody completes (a lifecycle rule of the bucket ends it), or a local `.k2-….tmp` file,
//! which the orphan job sees and removes by its age.

mod client;
mod error;
mod local;
mod location;
mod probe;
mod storage;
mod upload;
mod vended;

pub use error::{iceberg_error, is_not_found};
pub use location::Warehouse;
pub use storage::{LakeStorage, LakeStorageFactory};
pub use upload::Upload;
pub(crate) use vended::relevant as relevant_vended;

use bytes::Bytes;
use error::{Doing, store_error};
use iceberg::io::{FileIO, FileIOBuilder, StorageFactory};
use k2_model::{Error, Result};
use location::{Authority, Location};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text itself: for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How to reach object stores (`[store]` of the configuration).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// An S3-compatible server; none for Amazon's own. Plain `http` is allowed where this says so.
    pub endpoint: Option<String>,
    /// The region requests are signed for.
    pub region: String,
    /// `endpoint/bucket/key` rather than `bucket.endpoint/key`.
    pub path_style: bool,
    /// The key id; without it the environment, web identity, container or instance metadata, in this order.
    pub access_key: Option<String>,
    /// The secret of `access_key`.
    pub secret_key: Option<Secret>,
    /// The session token of temporary credentials.
    pub session_token: Option<Secret>,
    /// Requests in flight and idle connections kept, per store.
    pub max_connections: usize,
    /// Parts being uploaded at a time, in the whole process.
    pub max_uploads: usize,
    /// The time to connect.
    pub connect_timeout: Duration,
    /// The time for one request with its answer.
    pub request_timeout: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: "us-east-1".into(),
            path_style: true,
            access_key: None,
            secret_key: None,
            session_token: None,
            max_connections: 50,
            max_uploads: 20,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(200),
        }
    }
}

/// All object stores of the process. A clone is a handle on the same clients and the same limits.
#[derive(Clone)]
pub struct Stores(Arc<Inner>);

struct Inner {
    config: StoreConfig,
    clients: Mutex<HashMap<Authority, Arc<dyn ObjectStore>>>,
    uploads: Arc<Semaphore>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stores").field(&self.0.config).finish()
    }
}

impl Default for Stores {
    fn default() -> Self {
        Self::new(StoreConfig::default())
    }
}

impl Stores {
    /// Clients are made on first use.
    pub fn new(config: StoreConfig) -> Self {
        let uploads = Arc::new(Semaphore::new(config.max_uploads.max(1)));
        Self::sharing(config, uploads)
    }

    fn sharing(config: StoreConfig, uploads: Arc<Semaphore>) -> Self {
        Self(Arc::new(Inner { config, clients: Mutex::default(), uploads }))
    }

    /// The configuration.
    pub fn config(&self) -> &StoreConfig {
        &self.0.config
    }

    /// The client and the key of a location: a URL, or an absolute path.
    pub fn resolve(&self, location: &str) -> Result<(Arc<dyn ObjectStore>, Path)> {
        let Location { authority, path } = Location::parse(location)?;
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&authority) {
            return Ok((Arc::clone(client), path));
        }
        let client = client::build(&authority, &self.0.config, client::retries()).map_err(|e| e.at(location))?;
        clients.insert(authority, Arc::clone(&client));
        Ok((client, path))
    }

    /// iceberg's view on these stores, for locations of every scheme at once.
    pub fn file_io(&self) -> FileIO {
        FileIOBuilder::new(self.factory()).build()
    }

    /// What makes [`Stores::file_io`].
    pub fn factory(&self) -> Arc<dyn StorageFactory> {
        Arc::new(LakeStorageFactory::new(self.clone()))
    }

    /// Puts an object that must not be there yet. `Ok` means that it holds exactly these bytes: an earlier attempt of
    /// ours, whose answer was lost, counts.
    pub async fn put_new(&self, location: &str, bytes: Bytes) -> Result<()> {
        let (store, path) = self.resolve(location)?;
        put_new(store.as_ref(), &path, location, vec![bytes]).await
    }

    /// The whole object.
    pub async fn get(&self, location: &str) -> Result<Bytes> {
        let (store, path) = self.resolve(location)?;
        read(store.as_ref(), &path).await.map_err(|e| store_error(Doing::Read, location, e))
    }

    /// Removes an object; fine if it is not there.
    pub async fn delete(&self, location: &str) -> Result<()> {
        let (store, path) = self.resolve(location)?;
        match store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(store_error(Doing::Delete, location, e)),
        }
    }

    /// A new object, written as a stream. Nothing is visible before [`Upload::finish`].
    pub async fn upload(&self, location: &str) -> Result<Upload> {
        let (store, path) = self.resolve(location)?;
        Ok(Upload::new(store, path, location, Arc::clone(&self.0.uploads)))
    }

    /// For `k2 check`: puts, reads and deletes a small object below the location; names what does not work.
    pub async fn probe(&self, location: &str) -> Result<()> {
        probe::probe(&self.0.config, location).await
    }
}

async fn read(store: &dyn ObjectStore, path: &Path) -> object_store::Result<Bytes> {
    store.get_opts(path, GetOptions::default()).await?.bytes().await
}

/// See [`Stores::put_new`].
async fn put_new(store: &dyn ObjectStore, path: &Path, location: &str, pieces: Vec<Bytes>) -> Result<()> {
    let payload = PutPayload::from_iter(pieces);
    let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    let error = match store.put_opts(path, payload.clone(), create).await {
        Ok(_) => return Ok(()),
        Err(e) if error::has_no_conditional_put(&e) => {
            let plain = store.put_opts(path, payload, PutOptions::default()).await;
            return plain.map(drop).map_err(|e| store_error(Doing::Write, location, e));
        }
        Err(e) => e,
    };
    let taken = matches!(error, object_store::Error::AlreadyExists { .. });
    if !taken && !error::answer_was_lost(&error) {
        return Err(store_error(Doing::Write, location, error));
    }
    // our own earlier attempt may have landed: its answer was lost, or the client's retry met it
    match read(store, path).await {
        Ok(there) if same(&payload, &there) => Ok(()),
        Ok(_) => Err(Error::new(k2_model::Class::Reject, "an object of this name is already there").at(location)),
        Err(object_store::Error::NotFound { .. }) => {
            Err(store_error(Doing::Write, location, error).with_class(k2_model::Class::Retry))
        }
        Err(e) => Err(store_error(Doing::Write, location, e)),
    }
}

fn same(payload: &PutPayload, there: &Bytes) -> bool {
    let mut rest = &there[..];
    payload.content_length() == there.len()
        && payload.iter().all(|piece| {
            let Some((head, tail)) = rest.split_at_checked(piece.len()) else { return false };
            rest = tail;
            head == &piece[..]
        })
}

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
