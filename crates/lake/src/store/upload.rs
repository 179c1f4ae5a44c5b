//! One new object, written as a stream: parts of 8 MiB, a few of them in flight.
//!
//! A file smaller than a part is one conditional put. Parts are sent by tasks that the [`Upload`] owns: they end with
//! it, so that no part outlives the file it belongs to (ARCHITECTURE.md, invariant 6: children, not free tasks).
//!
//! Dropping the future of [`Upload::write`] loses nothing; dropping the [`Upload`] leaves nothing visible.

use super::error::{Doing, store_error};
use super::put_new;
use bytes::{Buf, Bytes};
use k2_model::{Class, Error, Result};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Every part but the last has this size: R2 wants them equal, S3 at least 5 MiB. 10,000 of them make 78 GiB.
pub(super) const PART: usize = 8 << 20;

/// Parts of one file in flight.
const PARTS_IN_FLIGHT: usize = 4;

/// How long a clean-up may hold up the one who fails.
const ABORT_WITHIN: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    location: String,
    uploads: Arc<Semaphore>,
    buffer: VecDeque<Bytes>,
    buffered: usize,
    size: u64,
    in_flight: Arc<AtomicU64>,
    multipart: Option<Multipart>,
    broken: bool,
}

#[derive(Debug)]
struct Multipart {
    upload: Box<dyn MultipartUpload>,
    parts: JoinSet<object_store::Result<()>>,
}

impl Upload {
    pub(super) fn new(store: Arc<dyn ObjectStore>, path: Path, location: &str, uploads: Arc<Semaphore>) -> Self {
        Self {
            store,
            path,
            location: location.into(),
            uploads,
            buffer: VecDeque::new(),
            buffered: 0,
            size: 0,
            in_flight: Arc::default(),
            multipart: None,
            broken: false,
        }
    }

    /// The object's location.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Bytes taken in so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes held in memory: not yet sent, or sent and not yet confirmed.
    pub fn pending_bytes(&self) -> u64 {
        self.buffered as u64 + self.in_flight.load(Ordering::Relaxed)
    }

    /// Takes the bytes; waits while too many parts are in flight.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.size += bytes.len() as u64;
        self.buffered += bytes.len();
        self.buffer.push_back(bytes);
        while self.buffered >= PART {
            // all waiting comes before the bytes leave the buffer: a dropped future must not lose them
            self.ready().await?;
            self.send(PART);
        }
        Ok(())
    }

    /// Makes the object visible and returns its size. On an error nothing is, unless the answer was lost.
    pub async fn finish(mut self) -> Result<u64> {
        match self.complete().await {
            Ok(()) => Ok(self.size),
            Err(e) => {
                self.abort().await;
                Err(e)
            }
        }
    }

    /// Gives up; cleans up if that is quickly done.
    pub async fn abort(mut self) {
        let Some(mut multipart) = self.multipart.take() else { return };
        multipart.parts.shutdown().await;
        if tokio::time::timeout(ABORT_WITHIN, multipart.upload.abort()).await.is_err() {
            tracing::debug!(
                location = self.location,
                "no time to abort an upload: the bucket's lifecycle rule ends it"
            );
        }
    }

    async fn complete(&mut self) -> Result<()> {
        if self.multipart.is_none() && !self.broken {
            let pieces = std::mem::take(&mut self.buffer);
            let _slot = self.uploads.acquire().await;
            return put_new(self.store.as_ref(), &self.path, &self.location, pieces.into()).await;
        }
        self.ready().await?;
        if self.buffered > 0 {
            self.send(self.buffered);
        }
        self.drain(0).await?;
        let Some(multipart) = &mut self.multipart else { return Err(self.gone()) };
        match multipart.upload.complete().await {
            Ok(_) => Ok(()),
            Err(e @ object_store::Error::AlreadyExists { .. }) => Err(store_error(Doing::Write, &self.location, e)),
            // a retry inside the client meets «no such upload» when the lost answer was a success
            Err(e) => match self.store.head(&self.path).await {
                Ok(there) if there.size == self.size => Ok(()),
                _ if matches!(e, object_store::Error::NotFound { .. }) => {
                    Err(store_error(Doing::Write, &self.location, e).with_class(Class::Retry))
                }
                _ => Err(store_error(Doing::Write, &self.location, e)),
            },
        }
    }

    /// Waits until one more part may be sent, and starts the multipart upload if this is the first.
    async fn ready(&mut self) -> Result<()> {
        if self.broken {
            return Err(self.gone());
        }
        if self.multipart.is_none() {
            let upload = self.store.put_multipart(&self.path).await;
            let upload = upload.map_err(|e| store_error(Doing::Write, &self.location, e))?;
            self.multipart = Some(Multipart { upload, parts: JoinSet::new() });
        }
        self.drain(PARTS_IN_FLIGHT - 1).await
    }

    /// Waits until no more than `most` parts are in flight.
    async fn drain(&mut self, most: usize) -> Result<()> {
        let Some(multipart) = &mut self.multipart else { return Ok(()) };
        loop {
            let done = if multipart.parts.len() > most {
                multipart.parts.join_next().await
            } else {
                multipart.parts.try_join_next()
            };
            let error = match done {
                None => return Ok(()),
                Some(Ok(Ok(()))) => continue,
                Some(Ok(Err(e))) => e,
                Some(Err(e)) => e.into(),
            };
            self.broken = true;
            multipart.parts.abort_all();
            return Err(store_error(Doing::Write, &self.location, error));
        }
    }

    /// Sends the first `length` bytes of the buffer as the next part.
    fn send(&mut self, length: usize) {
        let part = self.take(length);
        let Some(multipart) = &mut self.multipart else { return };
        let sent = multipart.upload.put_part(part);
        let (uploads, in_flight) = (Arc::clone(&self.uploads), Arc::clone(&self.in_flight));
        let length = length as u64;
        in_flight.fetch_add(length, Ordering::Relaxed);
        multipart.parts.spawn(async move {
            // the semaphore is never closed
            let _slot = uploads.acquire().await;
            let result = sent.await;
            in_flight.fetch_sub(length, Ordering::Relaxed);
            result
        });
    }

    fn take(&mut self, length: usize) -> PutPayload {
        let mut pieces = Vec::new();
        let mut missing = length;
        while missing > 0 {
            let Some(mut piece) = self.buffer.pop_front() else { break };
            if piece.len() > missing {
                pieces.push(piece.split_to(missing));
                self.buffer.push_front(piece);
                break;
            }
            missing -= piece.remaining();
            pieces.push(piece);
        }
        self.buffered -= length;
        pieces.into_iter().collect()
    }

    fn gone(&self) -> Error {
        Error::retry("the upload has failed before").at(self.location.as_str())
    }
}
