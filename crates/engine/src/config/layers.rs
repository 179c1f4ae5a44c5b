//! The four layers of a configuration, laid over each other key by key: defaults, file, environment, `--set`.
//!
//! Each value is checked in its own layer, so that a mistake in a file is told even where an override hides it.

use super::checks;
use super::convert::{Raw, convert, wants};
use super::report::{ConfigError, Origin, line_and_column, nearest};
use super::schema::{Found, Key, Kind, find, required, unknown};
use super::value::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use toml_edit::{Item, TableLike};

/// A value and where it was set.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// All layers, the strongest on top.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// By the whole key.
    entries: BTreeMap<String, Entry>,
    /// Keys that have a wrong value in some layer: what stands under them says nothing.
    broken: BTreeSet<String>,
    /// Every pipeline that is named anywhere, with the first place of it.
    pipelines: BTreeMap<String, Origin>,
    errors: Vec<ConfigError>,
}

/// How a place in a text becomes an origin.
type Locate<'a> = &'a dyn Fn(usize) -> Origin;

impl Merged {
    /// Lays the defaults of the binary.
    pub(super) fn defaults(&mut self, text: &str) {
        self.toml(text, &|offset| Origin::Default(line_and_column(text, offset).0));
    }

    /// Lays a file.
    pub(super) fn file(&mut self, path: &str, text: &str) {
        let path: Arc<str> = path.into();
        self.toml(text, &|offset| {
            let (line, column) = line_and_column(text, offset);
            Origin::File { path: Arc::clone(&path), line, column }
        });
    }

    fn toml(&mut self, text: &str, locate: Locate<'_>) {
        match toml_edit::Document::parse(text) {
            Ok(document) => self.walk(document.as_table(), &mut Vec::new(), locate),
            Err(e) => {
                let origin = locate(e.span().map_or(0, |s| s.start));
                let problem = format!("this is not TOML: {}", e.message().trim_end().replace('\n', "; "));
                self.errors.push(ConfigError { origin, key: String::new(), problem });
            }
        }
    }

    fn walk(&mut self, table: &dyn TableLike, path: &mut Vec<String>, locate: Locate<'_>) {
        for (name, item) in table.iter() {
            let at = |span: Option<std::ops::Range<usize>>| locate(span.map_or(0, |s| s.start));
            let key_at = at(table.key(name).and_then(toml_edit::Key::span));
            path.push(name.to_owned());
            match (find(path), item.as_table_like(), item) {
                (Found::Section, Some(below), _) => {
                    let good = match path.as_slice() {
                        [section, pipeline] if section == "pipelines" => self.name_pipeline(pipeline, &key_at),
                        _ => true,
                    };
                    if good {
                        self.walk(below, path, locate);
                    }
                }
                (Found::Section, None, _) => {
                    self.fail(
                        path.join("."),
                        key_at,
                        format!("is a section; write [{}] and its keys below", path.join(".")),
                    );
                }
                (Found::Key(Key { kind: Kind::Properties(_), .. }) | Found::Property(..), Some(below), _) => {
                    self.walk(below, path, locate);
                }
                (Found::Key(key), None, Item::Value(value)) => {
                    self.lay(path.join("."), name, &key.kind, &Raw::Toml(value), at(value.span()));
                }
                (Found::Property(key, property), None, Item::Value(value)) => {
                    self.lay(path.join("."), &property, &key.kind, &Raw::Toml(value), at(value.span()));
                }
                (Found::Key(key), ..) => {
                    let problem = format!("wants {}, not a table", wants(&key.kind));
                    self.fail(path.join("."), key_at, problem);
                }
                (Found::Property(..), ..) => self.fail(path.join("."), key_at, "wants a text, not tables".into()),
                (Found::Unknown, ..) => self.fail(path.join("."), key_at, unknown(path, str::to_owned)),
            }
            path.pop();
        }
    }

    /// Takes note of a pipeline. False: the name is no good.
    fn name_pipeline(&mut self, name: &str, origin: &Origin) -> bool {
        if self.pipelines.contains_key(name) {
            return true;
        }
        let problem = match self.pipelines.keys().find(|other| same_name(other, name)) {
            Some(other) => Some(format!(
                "differs from {other} only in case, `-` or `_`; the environment could not tell them apart"
            )),
            None => checks::pipeline_name(name).err(),
        };
        match problem {
            Some(problem) => {
                self.fail(format!("pipelines.{name}"), origin.clone(), problem);
                false
            }
            None => {
                self.pipelines.insert(name.to_owned(), origin.clone());
                true
            }
        }
    }

    /// Lays the environment: all variables `K2_…` that have a `__` in them; the others are no configuration.
    pub(super) fn environment(&mut self, variables: &BTreeMap<String, String>) {
        for (variable, text) in variables {
            let Some(rest) = variable.strip_prefix("K2_").filter(|rest| rest.contains("__")) else { continue };
            let path: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
            let path = self.spelt_out(path);
            self.loose(&path, text, Origin::Environment(variable.as_str().into()), |key| {
                format!("K2_{}", key.replace('.', "__").replace('-', "_").to_uppercase())
            });
        }
    }

    /// Puts back what the environment cannot spell: the dashes of pipelines, the dots and dashes of properties.
    fn spelt_out(&self, mut path: Vec<String>) -> Vec<String> {
        match path.as_slice() {
            [section, name, ..] if section == "pipelines" => {
                let known = self.pipelines.keys().find(|known| same_name(known, name));
                path[1] = known.cloned().unwrap_or_else(|| name.replace('_', "-"));
                path
            }
            [section, properties, name @ ..] if properties == "properties" && !name.is_empty() => {
                let name = name.join("__");
                let prefix = format!("{section}.properties.");
                let known = self.entries.keys().filter_map(|k| k.strip_prefix(&prefix)).find(|k| same_name(k, &name));
                let name = match (known, section.as_str(), name.strip_prefix("header_")) {
                    (Some(known), ..) => known.to_owned(),
                    (None, "kafka", _) => name.replace('_', "."),
                    (None, _, Some(header)) => format!("header.{}", header.replace('_', "-")),
                    (None, _, None) => name.replace('_', "-"),
                };
                vec![section.clone(), "properties".into(), name]
            }
            _ => path,
        }
    }

    /// Lays the `--set`s, the last one on top.
    pub(super) fn sets(&mut self, sets: &[String]) {
        for set in sets {
            match set.split_once('=') {
                Some((key, text)) => {
                    let key = key.trim();
                    let path: Vec<String> = key.split('.').map(str::to_owned).collect();
                    self.loose(&path, text, Origin::Set(key.into()), str::to_owned);
                }
                None => self.fail(
                    set.clone(),
                    Origin::Set(set.as_str().into()),
                    "has no value; write --set KEY=VALUE".into(),
                ),
            }
        }
    }

    fn loose(&mut self, path: &[String], text: &str, origin: Origin, write: fn(&str) -> String) {
        let full = path.join(".");
        let (key, name) = match find(path) {
            Found::Key(Key { kind: Kind::Properties(_), .. }) => {
                let problem = format!("is a table; set one of its properties: {}", write(&format!("{full}.NAME")));
                return self.fail(full, origin, problem);
            }
            Found::Key(key) => (key, path.last().cloned().unwrap_or_default()),
            Found::Property(key, name) => (key, name),
            Found::Section => return self.fail(full, origin, "is a section; name a key of it".into()),
            Found::Unknown => return self.fail(full, origin, unknown(path, write)),
        };
        if let [section, pipeline, _] = path
            && section == "pipelines"
            && !self.name_pipeline(pipeline, &origin)
        {
            return;
        }
        self.lay(full, &name, &key.kind, &Raw::Text(text), origin);
    }

    fn lay(&mut self, key: String, name: &str, kind: &Kind, raw: &Raw<'_>, origin: Origin) {
        match convert(kind, name, raw) {
            Ok(value) => {
                self.entries.insert(key, Entry { value, origin });
            }
            Err(problem) => self.fail(key, origin, problem),
        }
    }

    fn fail(&mut self, key: String, origin: Origin, problem: String) {
        self.broken.insert(key.clone());
        self.errors.push(ConfigError { origin, key, problem });
    }

    /// The value of a key; none if there is none, or a wrong one in some layer.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.entries.get(key).filter(|_| !self.broken.contains(key)).map(|e| &e.value)
    }

    /// The same where it is a text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.value(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A key that holds a wrong value: the error is told already.
    pub(super) fn is_broken(&self, key: &str) -> bool {
        self.broken.contains(key)
    }

    /// Whether nobody set the key.
    pub(super) fn is_default(&self, key: &str) -> bool {
        matches!(self.entries.get(key), Some(Entry { origin: Origin::Default(_), .. }))
    }

    /// The names of all pipelines.
    pub(super) fn pipelines(&self) -> impl Iterator<Item = &str> {
        self.pipelines.keys().map(String::as_str)
    }

    /// A pipeline's kind. Bronze where none is said, or a wrong one: that error is told already.
    pub(super) fn kind(&self, pipeline: &str) -> &str {
        self.text(&format!("pipelines.{pipeline}.kind")).unwrap_or("bronze")
    }

    /// Whether a key has a value in any layer, be it a wrong one.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.entries.contains_key(key) || self.is_broken(key)
    }

    /// Where a pipeline's key stands: in its own block, else in the defaults of its kind.
    pub(super) fn settable(&self, pipeline: &str, key: &str) -> String {
        let own = format!("pipelines.{pipeline}.{key}");
        let default = format!("defaults.{}.{key}", self.kind(pipeline));
        if self.is_set(&own) || !self.is_set(&default) { own } else { default }
    }

    /// Whether a pipeline is to run.
    pub(super) fn enabled(&self, pipeline: &str) -> bool {
        matches!(self.value(&self.settable(pipeline, "enabled")), Some(Value::Flag(true)))
    }

    /// An error about a key that has been set.
    pub(super) fn error(&self, key: &str, problem: impl Into<String>) -> Option<ConfigError> {
        let origin = self.entries.get(key)?.origin.clone();
        Some(ConfigError { origin, key: key.into(), problem: problem.into() })
    }

    /// An error about a pipeline that lacks what it needs.
    pub(super) fn incomplete(&self, pipeline: &str, lacks: &[&str]) -> Option<ConfigError> {
        let origin = self.pipelines.get(pipeline)?.clone();
        let others = self.pipelines().filter(|other| *other != pipeline);
        let needs = required(self.kind(pipeline));
        let problem = match nearest(pipeline, others) {
            Some(right) if lacks.len() == needs.len() => {
                format!("there is no such pipeline; did you mean {right}? A new one needs {}", needs.join(", "))
            }
            _ => format!("lacks {}", lacks.join(", ")),
        };
        Some(ConfigError { origin, key: format!("pipelines.{pipeline}"), problem })
    }

    /// All there is, and all that is wrong with it.
    pub(super) fn into_parts(self) -> (BTreeMap<String, Entry>, Vec<ConfigError>) {
        (self.entries, self.errors)
    }

    /// The entries whose keys begin so.
    pub(super) fn below(&self, prefix: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().filter_map(move |(key, entry)| Some((key.strip_prefix(prefix)?, &entry.value)))
    }
}

/// Whether the environment would spell both names alike.
fn same_name(one: &str, two: &str) -> bool {
    let plain = |name: &str| name.to_lowercase().replace(['-', '.'], "_");
    plain(one) == plain(two)
}
