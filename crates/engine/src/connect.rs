//! From configuration to the things it names: stores, catalog, Kafka settings.

use crate::config::{CatalogKind, Config, Pipeline, PipelineKind, RegistryAuth, Silver, Start};
use iceberg::TableIdent;
use k2_lake::catalog::{self, Catalog, CatalogConfig, Kind};
use k2_lake::store::{Secret, StoreConfig, Stores};
use k2_model::{Error, Result};
use k2_source::{ClientSettings, SourceConfig};
use k2_transform::{Definition, HttpSettings, Schemas, asset};
use std::sync::Arc;

/// The object stores, with the limits of `[store]`.
pub fn stores(config: &Config) -> Stores {
    let store = &config.store;
    Stores::new(StoreConfig {
        endpoint: store.endpoint.as_ref().map(|u| u.expose().to_owned()),
        region: store.region.clone(),
        path_style: store.path_style,
        access_key: store.keys.as_ref().map(|k| k.access_key.clone()),
        secret_key: store.keys.as_ref().map(|k| Secret::new(k.secret_key.expose())),
        session_token: None,
        max_connections: store.max_connections,
        max_uploads: store.max_uploads,
        connect_timeout: store.connect_timeout,
        request_timeout: store.request_timeout,
    })
}

/// The catalog of `[catalog]`.
pub async fn catalog(config: &Config, stores: &Stores) -> Result<Arc<dyn Catalog>> {
    let c = &config.catalog;
    let kind = match c.kind {
        CatalogKind::Sql => Kind::Sql,
        CatalogKind::Rest => Kind::Rest,
    };
    let wanted = CatalogConfig {
        kind,
        name: c.name.clone(),
        uri: c.uri.expose().to_owned(),
        warehouse: c.warehouse.clone(),
        properties: c.properties.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        request_timeout: c.request_timeout,
    };
    catalog::connect(&wanted, stores).await.map_err(|e| e.at(config.origin("catalog.uri")))
}

/// How to reach Kafka.
pub fn kafka(config: &Config) -> ClientSettings {
    ClientSettings {
        brokers: config.kafka.brokers.clone(),
        properties: config.kafka.properties.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
    }
}

/// What a silver batch takes from the budget, in percent of its raw bytes: decoded columns, silver rows and raw bytes are in
/// memory at the same time, until the rows are encoded.
const SILVER_PERCENT: u32 = 400;

/// What the source of a pipeline is told. `prefetch`: bytes that librdkafka may hold for it.
pub fn source(config: &Config, pipeline: &Pipeline, prefetch: u64, until_caught_up: bool) -> SourceConfig {
    let mut source = SourceConfig::new(pipeline.topic.clone(), pipeline.group.clone(), kafka(config));
    source.start = match pipeline.start {
        Start::Earliest => k2_source::Start::Earliest,
        Start::Latest => k2_source::Start::Latest,
    };
    source.prefetch_bytes = prefetch;
    if let PipelineKind::Silver(_) = &pipeline.kind {
        source.budget_percent = SILVER_PERCENT;
    }
    source.rate_limit = pipeline.rate_limit.map(std::num::NonZero::get);
    source.until_caught_up = until_caught_up;
    source
}

/// The full name of a pipeline's table.
pub fn ident(config: &Config, table: &str) -> Result<TableIdent> {
    TableIdent::from_strs(config.catalog.namespace.split('.').chain([table]))
        .map_err(|e| Error::config("the table's name is not one").caused_by(e).at(table.to_owned()))
}

/// Where Avro schemas come from.
pub fn schemas(config: &Config) -> Result<Schemas> {
    let registry = &config.registry;
    if registry.urls.is_empty() {
        return Schemas::folder(&registry.folder).map_err(|e| e.at(config.origin("registry.folder")));
    }
    let mut settings = HttpSettings::new(registry.urls.iter().map(|url| url.expose().to_owned()).collect());
    match &registry.auth {
        RegistryAuth::None => {}
        RegistryAuth::Basic { user, password } => settings.basic = Some((user.clone(), password.expose().to_owned())),
        RegistryAuth::Bearer(token) => settings.bearer = Some(token.expose().to_owned()),
    }
    settings.ca_file = registry.ca_file.as_ref().map(Into::into);
    settings.connect_timeout = registry.connect_timeout;
    settings.request_timeout = registry.request_timeout;
    Schemas::http(settings).map_err(|e| e.at(config.origin("registry.url")))
}

/// What a silver pipeline's transform is made of.
pub fn definition(config: &Config, pipeline: &Pipeline, silver: &Silver) -> Result<Definition> {
    let text = |key: &str, path: &str| {
        asset(path).map_err(|e| e.at(config.origin(&format!("pipelines.{}.{key}", pipeline.name))))
    };
    Ok(Definition {
        pipeline: pipeline.name.clone(),
        reader_schema: text("reader_schema", &silver.reader_schema)?,
        projection: text("projection", &silver.projection)?,
        rules: text("rules_file", &silver.rules_file)?,
        max_future: config.rules.max_future,
        max_age: config.rules.max_age,
        max_record: config.rules.max_record,
        bronze_source: silver.bronze.clone(),
    })
}
