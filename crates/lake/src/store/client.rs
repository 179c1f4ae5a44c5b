//! Builds the client of one bucket, with the limits of the configuration.

use super::StoreConfig;
use super::local::DurableLocal;
use super::location::Authority;
use k2_model::{Error, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::limit::LimitStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig, StaticCredentialProvider};
use std::sync::Arc;
use std::time::Duration;

/// Retries are bounded in time, not in number: requests are signed anew only by a new call.
pub(super) fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        max_retries: usize::MAX,
        retry_timeout: Duration::from_secs(180),
    }
}

/// For a probe: a person is waiting.
pub(super) fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..retries() }
}

/// The client of an authority.
pub(super) fn build(authority: &Authority, config: &StoreConfig, retry: RetryConfig) -> Result<Arc<dyn ObjectStore>> {
    let limit = config.max_connections.max(1);
    let built: object_store::Result<Arc<dyn ObjectStore>> = match authority {
        Authority::Local => Ok(Arc::new(DurableLocal::new())),
        Authority::S3 { bucket } => {
            s3(bucket, config, retry)?.build().map(|s| Arc::new(LimitStore::new(s, limit)) as _)
        }
        Authority::Google { bucket } => GoogleCloudStorageBuilder::from_env()
            .with_bucket_name(bucket)
            .with_client_options(options(config, false))
            .with_retry(retry)
            .build()
            .map(|s| Arc::new(LimitStore::new(s, limit)) as _),
        Authority::Azure { container, account } => {
            let mut builder = MicrosoftAzureBuilder::from_env()
                .with_container_name(container)
                .with_client_options(options(config, false))
                .with_retry(retry);
            if let Some(account) = account {
                builder = builder.with_account(account);
            }
            builder.build().map(|s| Arc::new(LimitStore::new(s, limit)) as _)
        }
    };
    built.map_err(|e| {
        Error::config("cannot set up the client of the object store")
            .caused_by(e)
            .fix("check [store] of the configuration and the credentials in the environment")
    })
}

fn options(config: &StoreConfig, allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_timeout(config.request_timeout)
        .with_connect_timeout(config.connect_timeout)
        .with_pool_max_idle_per_host(config.max_connections.max(1))
        .with_allow_http(allow_http)
}

fn s3(bucket: &str, config: &StoreConfig, retry: RetryConfig) -> Result<AmazonS3Builder> {
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
    if !config.region.is_empty() {
        builder = builder.with_region(&config.region);
    }
    let endpoint = match &config.endpoint {
        Some(endpoint) => Some(endpoint.clone()),
        // the environment's own wish, which `from_env` has taken
        None => builder
            .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
            .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint)),
    };
    let mut allow_http = false;
    if let Some(endpoint) = endpoint.filter(|e| !e.is_empty()) {
        let (scheme, host) = endpoint.split_once("://").ok_or_else(|| {
            Error::config(format!("store.endpoint {endpoint} is no URL")).fix("begin it with https://")
        })?;
        allow_http = scheme == "http";
        let host = host.trim_end_matches('/');
        let full = if config.path_style { format!("{scheme}://{host}") } else { format!("{scheme}://{bucket}.{host}") };
        // the S3-specific key wins over the general one, wherever that came from
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, full);
    }
    if let (Some(key), Some(secret)) = (&config.access_key, &config.secret_key) {
        // as one provider, so that no token of the environment is mixed in
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(AwsCredential {
            key_id: key.clone(),
            secret_key: secret.expose().into(),
            token: config.session_token.as_ref().map(|t| t.expose().into()),
        })));
    }
    Ok(builder.with_virtual_hosted_style_request(!config.path_style).with_client_options(options(config, allow_http)))
}
