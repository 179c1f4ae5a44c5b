//! Every key that there is, with its type and limits. Its default stands in config/k2.toml and nowhere else.

use super::checks;
use super::report::nearest;
use std::time::Duration;

/// Whether a text is good for a key; else what is wrong with it and what is allowed.
pub(super) type Check = fn(&str) -> Result<(), String>;

/// The type of a value, with its limits.
pub(super) enum Kind {
    /// A text.
    Text(Check),
    /// An address, which may hold a password.
    Uri(Check),
    /// Several addresses with commas between them; each is checked.
    Uris(Check),
    /// Never printed.
    Secret,
    /// true or false.
    Flag,
    /// Between two bounds, both allowed.
    Duration(Duration, Duration),
    /// Bytes, at least so many.
    Size(u64),
    /// A number between two bounds, both allowed.
    Count(u32, u32),
    /// One of these.
    Word(&'static [&'static str]),
    /// A table of free names; the check gets name and value.
    Properties(fn(&str, &str) -> Result<(), String>),
}

/// A key.
pub(super) struct Key {
    /// The whole name; `*` stands for a pipeline's.
    pub(super) name: &'static str,
    /// The type.
    pub(super) kind: Kind,
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind }
}

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const EVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Where a partition without a position starts.
pub(super) const STARTS: &[&str] = &["earliest", "latest"];

/// In the order of config/k2.toml; a test holds the two together.
pub(super) static KEYS: &[Key] = &[
    key("kafka.brokers", Kind::Text(checks::brokers)),
    key("kafka.properties", Kind::Properties(checks::kafka_property)),
    key("registry.url", Kind::Uris(checks::http)),
    key("registry.user", Kind::Text(checks::user)),
    key("registry.password", Kind::Secret),
    key("registry.token", Kind::Secret),
    key("registry.ca_file", Kind::Text(checks::anything)),
    key("registry.connect_timeout", Kind::Duration(MS, HOUR)),
    key("registry.request_timeout", Kind::Duration(MS, HOUR)),
    key("registry.folder", Kind::Text(checks::not_empty)),
    key("registry.unknown_id_grace", Kind::Duration(Duration::ZERO, HOUR)),
    key("catalog.name", Kind::Text(checks::identifier)),
    key("catalog.type", Kind::Word(&["sql", "rest"])),
    key("catalog.uri", Kind::Uri(checks::catalog_uri)),
    key("catalog.warehouse", Kind::Text(checks::not_empty)),
    key("catalog.namespace", Kind::Text(checks::namespace)),
    key("catalog.create_tables", Kind::Flag),
    key("catalog.request_timeout", Kind::Duration(S, HOUR)),
    key("catalog.properties", Kind::Properties(checks::catalog_property)),
    key("store.endpoint", Kind::Uri(checks::http_or_empty)),
    key("store.region", Kind::Text(checks::not_empty)),
    key("store.access_key", Kind::Text(checks::anything)),
    key("store.secret_key", Kind::Secret),
    key("store.path_style", Kind::Flag),
    key("store.max_connections", Kind::Count(1, 10_000)),
    key("store.max_uploads", Kind::Count(1, 10_000)),
    key("store.connect_timeout", Kind::Duration(MS, HOUR)),
    key("store.request_timeout", Kind::Duration(S, HOUR)),
    key("memory.budget", Kind::Size(64 << 20)),
    key("http.listen", Kind::Text(checks::listen)),
    key("rules.max_future", Kind::Duration(Duration::ZERO, EVER)),
    key("rules.max_age", Kind::Duration(S, EVER)),
    key("rules.max_record", Kind::Size(1 << 10)),
    key("defaults.bronze.enabled", Kind::Flag),
    key("defaults.bronze.start", Kind::Word(STARTS)),
    key("defaults.bronze.commit_interval", Kind::Duration(S, HOUR)),
    key("defaults.bronze.rate_limit", Kind::Count(0, u32::MAX)),
    key("defaults.silver.enabled", Kind::Flag),
    key("defaults.silver.start", Kind::Word(STARTS)),
    key("defaults.silver.commit_interval", Kind::Duration(S, HOUR)),
    key("defaults.silver.rate_limit", Kind::Count(0, u32::MAX)),
    key("defaults.silver.dlq", Kind::Text(checks::identifier)),
    key("defaults.silver.bronze", Kind::Text(checks::identifier_or_empty)),
    key("defaults.silver.rules_file", Kind::Text(checks::not_empty)),
    key("pipelines.*.kind", Kind::Text(checks::pipeline_kind)),
    key("pipelines.*.topic", Kind::Text(checks::topic)),
    key("pipelines.*.group", Kind::Text(checks::group)),
    key("pipelines.*.table", Kind::Text(checks::identifier)),
    key("pipelines.*.enabled", Kind::Flag),
    key("pipelines.*.start", Kind::Word(STARTS)),
    key("pipelines.*.commit_interval", Kind::Duration(S, HOUR)),
    key("pipelines.*.rate_limit", Kind::Count(0, u32::MAX)),
    key("pipelines.*.dlq", Kind::Text(checks::identifier)),
    key("pipelines.*.bronze", Kind::Text(checks::identifier_or_empty)),
    key("pipelines.*.reader_schema", Kind::Text(checks::not_empty)),
    key("pipelines.*.projection", Kind::Text(checks::not_empty)),
    key("pipelines.*.rules_file", Kind::Text(checks::not_empty)),
];

/// What only a silver pipeline has.
pub(super) const OF_SILVER: [&str; 5] = ["dlq", "bronze", "reader_schema", "projection", "rules_file"];

/// What a pipeline of a kind must say for itself.
pub(super) fn required(kind: &str) -> &'static [&'static str] {
    match kind {
        "silver" => &["kind", "topic", "group", "table", "reader_schema", "projection"],
        _ => &["kind", "topic", "group", "table"],
    }
}

/// What a path leads to.
pub(super) enum Found {
    /// Keys lie below it.
    Section,
    /// A key.
    Key(&'static Key),
    /// A free name in a table of properties.
    Property(&'static Key, String),
    /// Nothing.
    Unknown,
}

/// Looks a path up.
pub(super) fn find(path: &[String]) -> Found {
    let mut section = false;
    for key in KEYS {
        let pattern: Vec<&str> = key.name.split('.').collect();
        let same = pattern.iter().zip(path).all(|(p, s)| *p == "*" || p == s);
        match path.len().cmp(&pattern.len()) {
            std::cmp::Ordering::Equal if same => return Found::Key(key),
            std::cmp::Ordering::Greater if same && matches!(key.kind, Kind::Properties(_)) => {
                return Found::Property(key, path[pattern.len()..].join("."));
            }
            std::cmp::Ordering::Less if same => section = true,
            _ => {}
        }
    }
    if section { Found::Section } else { Found::Unknown }
}

/// The names that may follow a path, in the order of the file.
fn below(path: &[String]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS {
        let mut pattern = key.name.split('.');
        let same = path.iter().all(|s| pattern.next().is_some_and(|p| p == "*" || p == s));
        if let (true, Some(next)) = (same, pattern.next())
            && !names.contains(&next)
        {
            names.push(next);
        }
    }
    names
}

/// What to say of a path that leads to nothing: the right name if one is near, as its layer would `write` it, else what
/// there is.
pub(super) fn unknown(path: &[String], write: fn(&str) -> String) -> String {
    // the first segment that is wrong
    let wrong = (1..=path.len()).find(|n| matches!(find(&path[..*n]), Found::Unknown)).unwrap_or(path.len());
    let (parent, name) = (&path[..wrong - 1], &path[wrong - 1]);
    if matches!(find(parent), Found::Key(_)) {
        return format!("unknown key; {} has no keys below it", parent.join("."));
    }
    let known = below(parent);
    let full = |name: &str| parent.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".");
    if let Some(right) = nearest(name, known.iter().copied()) {
        return format!("unknown key; did you mean {}?", write(&full(right)));
    }
    // right, but in the wrong section
    let last = path.last().unwrap_or(name);
    if let Some(key) = KEYS.iter().find(|k| !k.name.contains('*') && k.name.rsplit('.').next() == Some(last)) {
        return format!("unknown key; did you mean {}?", write(key.name));
    }
    let place =
        if parent.is_empty() { "the sections are".into() } else { format!("in {} there are", parent.join(".")) };
    format!("unknown key; {place} {}", known.join(", "))
}
