//! Files of a table by their location, on the local disk or on S3.

use crate::services::S3;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use std::path::PathBuf;

/// Where the files of a warehouse are.
#[derive(Debug, Clone)]
pub enum Store {
    /// On this machine.
    Local,
    /// On an S3 server.
    S3(S3),
}

impl Store {
    /// All of a file; the error says what is wrong with it.
    pub async fn read(&self, location: &str) -> Result<Bytes, String> {
        match self {
            Self::Local => std::fs::read(local_path(location)).map(Bytes::from).map_err(|e| format!("{location}: {e}")),
            Self::S3(s3) => {
                let path = location.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path);
                let path = path.unwrap_or_else(|| panic!("not a location on S3: {location}"));
                let got = client(s3).get(&path.into()).await.map_err(|e| format!("{location}: {e}"))?;
                got.bytes().await.map_err(|e| format!("{location}: {e}"))
            }
        }
    }
}

fn local_path(location: &str) -> PathBuf {
    PathBuf::from(location.strip_prefix("file://").or(location.strip_prefix("file:")).unwrap_or(location))
}

fn client(s3: &S3) -> AmazonS3 {
    AmazonS3Builder::new()
        .with_endpoint(&s3.endpoint)
        .with_allow_http(true)
        .with_virtual_hosted_style_request(false)
        .with_bucket_name(&s3.bucket)
        .with_region(&s3.region)
        .with_access_key_id(&s3.key)
        .with_secret_access_key(&s3.secret)
        .build()
        .unwrap()
}
