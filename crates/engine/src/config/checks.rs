//! What a value must be like: each on its own, and several together.
//!
//! A check never repeats a value that may hold a password.

use super::layers::Merged;
use super::pipelines;
use super::report::ConfigError;
use super::value::Value;

type Checked = Result<(), String>;

pub(super) fn anything(_: &str) -> Checked {
    Ok(())
}

pub(super) fn not_empty(text: &str) -> Checked {
    if text.trim().is_empty() { Err("must not be empty".into()) } else { Ok(()) }
}

/// The name of a catalog, a namespace, a table: one that SQL and every catalog take without quotes.
pub(super) fn identifier(text: &str) -> Checked {
    not_empty(text)?;
    match text.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '_' | '-'))) {
        Some(c) => Err(format!("{text:?} has a {c:?} in it; letters, digits, `_` and `-` are allowed")),
        None => Ok(()),
    }
}

/// A namespace, its levels with dots between them.
pub(super) fn namespace(text: &str) -> Checked {
    text.split('.').try_for_each(identifier)
}

/// The part of a key that names a pipeline.
pub(super) fn pipeline_name(text: &str) -> Checked {
    identifier(text).map_err(|e| format!("a pipeline's name: {e}"))
}

pub(super) fn identifier_or_empty(text: &str) -> Checked {
    if text.is_empty() { Ok(()) } else { identifier(text) }
}

pub(super) fn pipeline_kind(text: &str) -> Checked {
    match text {
        "bronze" | "silver" => Ok(()),
        _ => Err(format!("{text:?} is not a kind of pipeline; there are \"bronze\" and \"silver\"")),
    }
}

/// A user's name for basic authentication, in which a colon ends it.
pub(super) fn user(text: &str) -> Checked {
    if text.contains(':') { Err("must not have a `:` in it".into()) } else { Ok(()) }
}

pub(super) fn topic(text: &str) -> Checked {
    not_empty(text)?;
    if text.len() > 249 {
        return Err("is longer than the 249 characters that Kafka allows".into());
    }
    if text == "." || text == ".." || text.chars().any(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        return Err(format!("{text:?} is no name for a topic; Kafka allows letters, digits, `.`, `_` and `-`"));
    }
    Ok(())
}

pub(super) fn group(text: &str) -> Checked {
    not_empty(text)?;
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("{text:?} has a blank or control character in it"));
    }
    Ok(())
}

pub(super) fn brokers(text: &str) -> Checked {
    const ALLOWED: &str = "write host:port, several with commas between them";
    not_empty(text)?;
    for broker in text.split(',').map(str::trim) {
        if broker.is_empty() {
            return Err(format!("there is an empty broker in the list; {ALLOWED}"));
        }
        if broker.contains("://") {
            return Err(format!("brokers have no scheme; {ALLOWED}"));
        }
        host_port(broker, false).map_err(|e| format!("{broker:?} {e}; {ALLOWED}"))?;
    }
    Ok(())
}

pub(super) fn listen(text: &str) -> Checked {
    if text.is_empty() {
        return Ok(());
    }
    host_port(text, true).map_err(|e| format!("{text:?} {e}; write address:port, or nothing to turn it off"))
}

fn host_port(text: &str, port_needed: bool) -> Checked {
    let (host, port) = match text.rsplit_once(':') {
        // an IPv6 address without a port ends in a bracket
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.is_empty() || host.contains(char::is_whitespace) || host.contains('/') {
        return Err("has no good host name".into());
    }
    match port.map(str::parse::<u16>) {
        Some(Ok(1..)) => Ok(()),
        Some(_) => Err("has no good port (1 to 65535)".into()),
        None if port_needed => Err("has no port".into()),
        None => Ok(()),
    }
}

pub(super) fn http_or_empty(text: &str) -> Checked {
    if text.is_empty() { Ok(()) } else { http(text) }
}

pub(super) fn http(text: &str) -> Checked {
    const ESCAPE: &str = "characters such as / @ , # in a password are written %2F %40 %2C %23";
    let url = url::Url::parse(text).map_err(|e| match text.contains('@') {
        true => format!("is not an address ({e}); write http://host:port; {ESCAPE}"),
        false => format!("is not an address ({e}); write http://host:port"),
    })?;
    match url.scheme() {
        "http" | "https" => Ok(()),
        other => Err(format!("has the scheme {other:?}; write http://… or https://…")),
    }
}

/// The scheme of an address; none where it has none.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    (!scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')))
        .then_some(scheme)
}

pub(super) fn catalog_uri(text: &str) -> Checked {
    const ALLOWED: &str = "write sqlite:FILE, postgres://USER@HOST/DB or http(s)://HOST";
    const ESCAPE: &str = "characters such as / @ # in a password are written %2F %40 %23";
    not_empty(text)?;
    match scheme(text) {
        Some("sqlite") => match text.trim_start_matches("sqlite:").trim_start_matches("//") {
            "" => Err("names no file; write sqlite:FILE".into()),
            memory if memory.contains(":memory:") => {
                Err("a catalog in memory forgets its tables, and the rows with them; write sqlite:FILE".into())
            }
            _ => Ok(()),
        },
        Some("postgres" | "postgresql") => {
            let url = url::Url::parse(text).map_err(|e| format!("is not an address ({e}); {ALLOWED}; {ESCAPE}"))?;
            let host =
                url.host_str().is_some_and(|h| !h.is_empty()) || url.query().is_some_and(|q| q.contains("host="));
            if host { Ok(()) } else { Err(format!("names no host; {ALLOWED}")) }
        }
        Some("http" | "https") => http(text),
        Some(other) => Err(format!("has the scheme {other:?}; {ALLOWED}")),
        None => Err(format!("has no scheme; {ALLOWED}")),
    }
}

/// Where a SQL catalog puts tables. A REST catalog has names of its own for warehouses.
fn warehouse(text: &str) -> Checked {
    const ALLOWED: &str = "write a folder, file:///FOLDER, s3://BUCKET/…, gs://BUCKET/… or az://CONTAINER/…";
    match scheme(text) {
        None => Ok(()),
        Some("file") if text.trim_start_matches("file:").trim_matches('/').is_empty() => {
            Err(format!("names no folder; {ALLOWED}"))
        }
        Some("file") if !text.starts_with("file:/") => Err(format!("is not an absolute path; {ALLOWED}")),
        Some("file") => Ok(()),
        Some("s3" | "gs" | "az" | "abfss") => {
            let url = url::Url::parse(text).map_err(|e| format!("is not an address ({e}); {ALLOWED}"))?;
            let bucket = url.host_str().is_some_and(|h| !h.is_empty());
            if bucket { Ok(()) } else { Err(format!("names no bucket; {ALLOWED}")) }
        }
        Some("s3a" | "s3n") => Err("is a scheme of Hadoop; write s3://BUCKET/…".into()),
        Some(other) => Err(format!("has the scheme {other:?}, which K2 cannot write to; {ALLOWED}")),
    }
}

pub(super) fn kafka_property(name: &str, value: &str) -> Checked {
    if name.is_empty() {
        return Err("a property needs a name".into());
    }
    if let Some(reason) = k2_source::refused_property(name) {
        return Err(format!("cannot be set: {reason}"));
    }
    k2_source::validate_property(name, value).map_err(|e| match std::error::Error::source(&e) {
        // what and place are those of the key
        Some(cause) => format!("librdkafka does not take it: {cause}"),
        None => e.what().to_owned(),
    })
}

pub(super) fn catalog_property(name: &str, _: &str) -> Checked {
    match name {
        "" => Err("a property needs a name".into()),
        "uri" => Err("is set by catalog.uri".into()),
        "warehouse" => Err("is set by catalog.warehouse".into()),
        _ => Ok(()),
    }
}

/// What no value can show alone. Says nothing about values that are wrong by themselves.
pub(super) fn together(merged: &Merged, errors: &mut Vec<ConfigError>) {
    catalog_type_and_uri(merged, errors);
    if let (Some("sql"), Some(text)) = (merged.text("catalog.type"), merged.text("catalog.warehouse"))
        && let Err(problem) = warehouse(text)
    {
        errors.extend(merged.error("catalog.warehouse", problem));
    }
    keys_of_the_store(merged, errors);
    login_of_the_registry(merged, errors);
    pipelines::together(merged, errors);
}

fn catalog_type_and_uri(merged: &Merged, errors: &mut Vec<ConfigError>) {
    let (Some(kind), Some(Value::Uri(uri))) = (merged.text("catalog.type"), merged.value("catalog.uri")) else {
        return;
    };
    let remote = uri.expose().starts_with("http");
    let problem = match (kind, remote) {
        ("sql", true) => {
            "is an http address, but catalog.type is \"sql\"; write sqlite:FILE or postgres://…, or set type = \"rest\""
        }
        ("rest", false) => "is a database, but catalog.type is \"rest\"; write http(s)://…, or set type = \"sql\"",
        _ => return,
    };
    // the default is right by itself: what the user wrote is to be looked at
    let at = if merged.is_default("catalog.uri") { "catalog.type" } else { "catalog.uri" };
    let problem = if at == "catalog.type" {
        format!(
            "is {kind:?}, but catalog.uri is not set to match: {}",
            if remote { "sqlite:FILE or postgres://…" } else { "http(s)://…" }
        )
    } else {
        problem.into()
    };
    errors.extend(merged.error(at, problem));
}

fn keys_of_the_store(merged: &Merged, errors: &mut Vec<ConfigError>) {
    let (Some(access), Some(Value::Secret(secret))) =
        (merged.text("store.access_key"), merged.value("store.secret_key"))
    else {
        return;
    };
    match (access.is_empty(), secret.expose().is_empty()) {
        (false, true) => errors.extend(merged.error("store.access_key", "needs store.secret_key beside it")),
        (true, false) => errors.extend(merged.error("store.secret_key", "needs store.access_key beside it")),
        _ => {}
    }
}

/// Who asks the registry is said once, and whole.
fn login_of_the_registry(merged: &Merged, errors: &mut Vec<ConfigError>) {
    let secret = |key: &str| matches!(merged.value(key), Some(Value::Secret(secret)) if !secret.expose().is_empty());
    let (password, token) = (secret("registry.password"), secret("registry.token"));
    let user = merged.text("registry.user").is_some_and(|user| !user.is_empty());
    if token && (user || password) {
        let problem =
            "is set beside registry.user or registry.password; the registry takes one login, take the other out";
        errors.extend(merged.error("registry.token", problem));
    }
    if password && !user && !merged.is_broken("registry.user") {
        errors.extend(merged.error("registry.password", "needs registry.user beside it"));
    }
    if user && !password && !merged.is_broken("registry.password") {
        errors.extend(merged.error("registry.user", "needs registry.password beside it"));
    }
    let Some(Value::Uris(all)) = merged.value("registry.url") else { return };
    let login = |uri: &super::value::Uri| url::Url::parse(uri.expose()).is_ok_and(|url| !url.username().is_empty());
    if (token || user) && all.iter().any(login) {
        let problem = "has a user in it, beside registry.user or registry.token; the registry takes one login, take the other out";
        errors.extend(merged.error("registry.url", problem));
    }
}
