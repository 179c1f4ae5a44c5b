//! Does a warehouse take, give back and give up a file? Asked by `k2 check`, without retries: a person is waiting.

use super::error::{Doing, store_error};
use super::location::Location;
use super::{StoreConfig, client, put_new, read};
use bytes::Bytes;
use k2_model::{Error, Result};
use object_store::ObjectStoreExt;
use std::time::Duration;

/// The time for each of the three requests.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn probe(config: &StoreConfig, location: &str) -> Result<()> {
    let file = format!("{}/.k2-check-{}", location.trim_end_matches('/'), uuid::Uuid::new_v4().simple());
    let config = StoreConfig { request_timeout: config.request_timeout.min(PATIENCE), ..config.clone() };
    let Location { authority, path } = Location::parse(&file)?;
    let store = client::build(&authority, &config, client::no_retries()).map_err(|e| e.at(location))?;
    let bytes = Bytes::from_static(b"k2 check\n");
    put_new(store.as_ref(), &path, location, vec![bytes.clone()]).await?;
    let there = read(store.as_ref(), &path).await.map_err(|e| store_error(Doing::Read, &file, e))?;
    store.delete(&path).await.map_err(|e| store_error(Doing::Delete, &file, e))?;
    if there != bytes {
        return Err(Error::halt("the object store gives back other bytes than it was given").at(file));
    }
    Ok(())
}
