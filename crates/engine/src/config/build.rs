//! From the merged layers to the typed configuration, or to all that is wrong.

use super::checks;
use super::layers::Merged;
use super::report::{ConfigError, ConfigErrors, Origin};
use super::schema::required;
use super::value::{Properties, Secret, Uri, Value};
use super::{Catalog, CatalogKind, Config, Http, Kafka, Memory, Pipeline, PipelineKind, Registry, RegistryAuth};
use super::{Rules, Silver, Start, Store, StoreKeys};
use std::cell::RefCell;
use std::num::NonZeroU32;
use std::time::Duration;

/// Checks what belongs together and builds.
pub(super) fn config(merged: Merged) -> Result<Config, ConfigErrors> {
    let reader = Reader { merged: &merged, errors: RefCell::default() };
    checks::together(&merged, &mut reader.errors.borrow_mut());
    let sections = (
        kafka(&reader),
        registry(&reader),
        catalog(&reader),
        store(&reader),
        Memory { budget: reader.number("memory.budget") },
        Http { listen: Some(reader.text("http.listen")).filter(|text| !text.is_empty()) },
        rules(&reader),
    );
    let pipelines = merged.pipelines().map(|name| pipeline(&reader, name)).collect();
    let late = reader.errors.into_inner();
    let (entries, mut errors) = merged.into_parts();
    errors.extend(late);
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    let (kafka, registry, catalog, store, memory, http, rules) = sections;
    Ok(Config { kafka, registry, catalog, store, memory, http, rules, pipelines, entries })
}

fn kafka(read: &Reader<'_>) -> Kafka {
    Kafka { brokers: read.text("kafka.brokers"), properties: read.properties("kafka.properties.") }
}

fn registry(read: &Reader<'_>) -> Registry {
    Registry {
        urls: read.uris("registry.url"),
        auth: registry_auth(read),
        ca_file: Some(read.text("registry.ca_file")).filter(|file| !file.is_empty()),
        connect_timeout: read.duration("registry.connect_timeout"),
        request_timeout: read.duration("registry.request_timeout"),
        folder: read.text("registry.folder"),
        unknown_id_grace: read.duration("registry.unknown_id_grace"),
    }
}

fn registry_auth(read: &Reader<'_>) -> RegistryAuth {
    let (user, password) = (read.text("registry.user"), read.secret("registry.password"));
    let token = read.secret("registry.token");
    if !token.expose().is_empty() {
        RegistryAuth::Bearer(token)
    } else if !user.is_empty() {
        RegistryAuth::Basic { user, password }
    } else {
        RegistryAuth::None
    }
}

fn catalog(read: &Reader<'_>) -> Catalog {
    Catalog {
        name: read.text("catalog.name"),
        kind: if read.text("catalog.type") == "rest" { CatalogKind::Rest } else { CatalogKind::Sql },
        uri: read.uri("catalog.uri"),
        warehouse: read.text("catalog.warehouse"),
        namespace: read.text("catalog.namespace"),
        create_tables: read.flag("catalog.create_tables"),
        request_timeout: read.duration("catalog.request_timeout"),
        properties: read.properties("catalog.properties."),
    }
}

fn store(read: &Reader<'_>) -> Store {
    let (access_key, secret_key) = (read.text("store.access_key"), read.secret("store.secret_key"));
    Store {
        endpoint: read.uri_if_set("store.endpoint"),
        region: read.text("store.region"),
        keys: (!access_key.is_empty()).then_some(StoreKeys { access_key, secret_key }),
        path_style: read.flag("store.path_style"),
        max_connections: read.count("store.max_connections"),
        max_uploads: read.count("store.max_uploads"),
        connect_timeout: read.duration("store.connect_timeout"),
        request_timeout: read.duration("store.request_timeout"),
    }
}

fn rules(read: &Reader<'_>) -> Rules {
    Rules {
        max_future: read.duration("rules.max_future"),
        max_age: read.duration("rules.max_age"),
        max_record: read.number("rules.max_record"),
    }
}

fn pipeline(read: &Reader<'_>, name: &str) -> Pipeline {
    let own = |key: &str| format!("pipelines.{name}.{key}");
    let settable = |key: &str| read.merged.settable(name, key);
    let silver = read.merged.kind(name) == "silver";
    let lacks: Vec<&str> =
        required(read.merged.kind(name)).iter().copied().filter(|key| !read.merged.is_set(&own(key))).collect();
    if !lacks.is_empty() {
        read.errors.borrow_mut().extend(read.merged.incomplete(name, &lacks));
    }
    let needed = |key: &str| read.merged.text(&own(key)).unwrap_or_default().to_owned();
    let kind = if silver {
        PipelineKind::Silver(Silver {
            dlq: read.text(&settable("dlq")),
            bronze: read.text(&settable("bronze")),
            reader_schema: needed("reader_schema"),
            projection: needed("projection"),
            rules_file: read.text(&settable("rules_file")),
        })
    } else {
        PipelineKind::Bronze
    };
    Pipeline {
        name: name.to_owned(),
        kind,
        topic: needed("topic"),
        group: needed("group"),
        table: needed("table"),
        enabled: read.flag(&settable("enabled")),
        start: if read.text(&settable("start")) == "latest" { Start::Latest } else { Start::Earliest },
        commit_interval: read.duration(&settable("commit_interval")),
        rate_limit: u32::try_from(read.number(&settable("rate_limit"))).ok().and_then(NonZeroU32::new),
    }
}

/// Hands out values by type. What is missing is an error, and a blank stands in its place until the errors are told.
struct Reader<'a> {
    merged: &'a Merged,
    errors: RefCell<Vec<ConfigError>>,
}

impl Reader<'_> {
    fn get<T: Default>(&self, key: &str, pick: impl Fn(&Value) -> Option<T>) -> T {
        match self.merged.value(key).and_then(pick) {
            Some(value) => value,
            None if self.merged.is_broken(key) => T::default(),
            None => {
                let problem = "has no default in config/k2.toml: this is a bug in K2".to_owned();
                self.errors.borrow_mut().push(ConfigError { origin: Origin::Default(1), key: key.into(), problem });
                T::default()
            }
        }
    }

    fn text(&self, key: &str) -> String {
        self.get(key, |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    fn uri(&self, key: &str) -> Uri {
        self.uri_if_set(key).unwrap_or_else(|| Uri::new(""))
    }

    fn uri_if_set(&self, key: &str) -> Option<Uri> {
        self.get(key, |value| match value {
            Value::Uri(uri) => Some((!uri.expose().is_empty()).then(|| uri.clone())),
            _ => None,
        })
    }

    fn uris(&self, key: &str) -> Vec<Uri> {
        self.get(key, |value| match value {
            Value::Uris(all) => Some(all.clone()),
            _ => None,
        })
    }

    fn secret(&self, key: &str) -> Secret {
        let secret = self.get(key, |value| match value {
            Value::Secret(secret) => Some(Some(secret.clone())),
            _ => None,
        });
        secret.unwrap_or_else(|| Secret::new(""))
    }

    fn flag(&self, key: &str) -> bool {
        self.get(key, |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    fn duration(&self, key: &str) -> Duration {
        self.get(key, |value| match value {
            Value::Duration(time) => Some(*time),
            _ => None,
        })
    }

    fn number(&self, key: &str) -> u64 {
        self.get(key, |value| match value {
            Value::Number(number) => Some(*number),
            _ => None,
        })
    }

    fn count(&self, key: &str) -> usize {
        // a count is at most a u32
        usize::try_from(self.number(key)).unwrap_or(usize::MAX)
    }

    fn properties(&self, prefix: &str) -> Properties {
        self.merged
            .below(prefix)
            .filter_map(|(name, value)| match value {
                Value::Text(text) => Some((name.to_owned(), text.clone())),
                Value::Secret(secret) => Some((name.to_owned(), secret.expose().to_owned())),
                _ => None,
            })
            .collect()
    }
}
