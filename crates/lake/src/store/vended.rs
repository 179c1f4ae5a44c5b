//! What a REST catalog says about reaching a table's files: temporary keys, above all.

use super::{Secret, StoreConfig, Stores};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The properties that are looked at.
const KEYS: [&str; 8] = [
    "s3.access-key-id",
    "s3.secret-access-key",
    "s3.session-token",
    "s3.endpoint",
    "s3.region",
    "client.region",
    "s3.path-style-access",
    "s3.path-style",
];

/// The part of a table's `config` that changes how its files are reached. Empty: nothing does.
pub(crate) fn relevant(config: &HashMap<String, String>) -> BTreeMap<String, Secret> {
    let chosen: BTreeMap<_, _> = config
        .iter()
        .filter(|(key, value)| KEYS.contains(&key.as_str()) && !value.is_empty())
        .map(|(key, value)| (key.clone(), Secret::new(value.clone())))
        .collect();
    // an endpoint without keys is the catalog's own way to the store; ours is configured
    if chosen.contains_key("s3.access-key-id") && chosen.contains_key("s3.secret-access-key") {
        chosen
    } else {
        BTreeMap::new()
    }
}

impl Stores {
    /// Stores with the keys a catalog lent for a table, under the same limit on uploads. An endpoint that the
    /// configuration sets stays: the catalog may know the store by a name of its own network.
    pub(crate) fn with_vended(&self, vended: &BTreeMap<String, Secret>) -> Self {
        let get = |key: &str| vended.get(key).map(|v| v.expose().to_owned());
        let own = &self.0.config;
        let path_style = get("s3.path-style-access").or_else(|| get("s3.path-style"));
        let config = StoreConfig {
            access_key: get("s3.access-key-id"),
            secret_key: vended.get("s3.secret-access-key").cloned(),
            session_token: vended.get("s3.session-token").cloned(),
            endpoint: own.endpoint.clone().or_else(|| get("s3.endpoint")),
            region: get("s3.region").or_else(|| get("client.region")).unwrap_or_else(|| own.region.clone()),
            path_style: path_style.map_or(own.path_style, |v| v == "true"),
            ..own.clone()
        };
        Self::sharing(config, Arc::clone(&self.0.uploads))
    }
}
