//! What pipelines must be to each other and to their kind: no two do each other's work, no table has two contracts.
//!
//! Only enabled pipelines count: one that is turned off clashes with nothing.

use super::layers::Merged;
use super::report::ConfigError;
use super::schema::OF_SILVER;
use std::collections::{BTreeMap, BTreeSet};

/// Two keys that no two pipelines may share, and why.
const CLASHES: [(&str, &str, &str); 5] = [
    ("topic", "group", "two readers in one group take each other's partitions; give one of them another group"),
    ("topic", "table", "every record would be in the table twice; give one of them another table"),
    ("group", "table", "the table keeps its offsets under the group's name; give one of them another group"),
    ("group", "dlq", "the table keeps its offsets under the group's name; give one of them another group"),
    ("topic", "dlq", "every reject would be among the dead letters twice; give one of them another dlq"),
];

/// Everything about pipelines that no value can show alone.
pub(super) fn together(merged: &Merged, errors: &mut Vec<ConfigError>) {
    let all: Vec<&str> = merged.pipelines().collect();
    for name in all {
        kind(merged, name, errors);
    }
    let enabled: Vec<&str> = merged.pipelines().filter(|name| merged.enabled(name)).collect();
    clashes(merged, &enabled, errors);
    tables(merged, &enabled, errors);
}

/// A pipeline has the keys of its kind and no others.
fn kind(merged: &Merged, name: &str, errors: &mut Vec<ConfigError>) {
    if merged.kind(name) != "bronze" {
        return;
    }
    let set = OF_SILVER.map(|key| format!("pipelines.{name}.{key}"));
    // a silver pipeline of the defaults that was made a bronze one: its keys are not the user's mistake
    let (own, default): (Vec<&String>, Vec<&String>) =
        set.iter().filter(|key| merged.is_set(key)).partition(|key| !merged.is_default(key));
    if !default.is_empty() {
        let problem = "cannot become \"bronze\": it is a silver pipeline of the defaults; turn it off with enabled = false and add a pipeline of your own";
        errors.extend(merged.error(&format!("pipelines.{name}.kind"), problem));
        return;
    }
    for key in own {
        let problem = "is for silver pipelines: bronze keeps the raw bytes and decodes nothing; take it out, or set kind = \"silver\"";
        errors.extend(merged.error(key, problem));
    }
}

/// The text of a pipeline's key, its kind's default where its own block is silent, and the key that it stands under.
fn of<'a>(merged: &'a Merged, name: &str, key: &str) -> Option<(String, &'a str)> {
    if OF_SILVER.contains(&key) && merged.kind(name) != "silver" {
        return None;
    }
    let at = merged.settable(name, key);
    let text = merged.text(&at).filter(|text| !text.is_empty())?;
    Some((at, text))
}

fn clashes(merged: &Merged, names: &[&str], errors: &mut Vec<ConfigError>) {
    let mut told = BTreeSet::new();
    for (one, two, why) in CLASHES {
        let mut seen: BTreeMap<(&str, &str), (&str, String)> = BTreeMap::new();
        for name in names {
            let (Some((_, a)), Some((at, b))) = (of(merged, name, one), of(merged, name, two)) else { continue };
            let Some((other, other_at)) = seen.insert((a, b), (*name, at.clone())) else { continue };
            if told.insert((other, *name)) {
                // the later of the two, unless it is a default
                let at = if merged.is_default(&at) { other_at } else { at };
                // both are defaults: then it is the other key that was changed
                let at = if merged.is_default(&at) { changed(merged, other, name, one).unwrap_or(at) } else { at };
                errors.extend(merged.error(&at, format!("{other} and {name} have the same {one} and {two}: {why}")));
            }
        }
    }
}

/// The key of either pipeline that is no default.
fn changed(merged: &Merged, one: &str, two: &str, key: &str) -> Option<String> {
    [two, one].into_iter().map(|name| merged.settable(name, key)).find(|at| !merged.is_default(at))
}

/// What a pipeline does with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Bronze,
    Silver,
    DeadLetters,
}

impl Role {
    fn text(self) -> &'static str {
        match self {
            Self::Bronze => "the bronze table",
            Self::Silver => "the silver table",
            Self::DeadLetters => "the dead letters",
        }
    }
}

/// A table has one contract: bronze, silver or dead letters.
fn tables(merged: &Merged, names: &[&str], errors: &mut Vec<ConfigError>) {
    let mut roles: BTreeMap<&str, (Role, &str, String)> = BTreeMap::new();
    let mut uses = Vec::new();
    for name in names {
        let role = if merged.kind(name) == "silver" { Role::Silver } else { Role::Bronze };
        uses.extend(of(merged, name, "table").map(|(at, table)| (*name, role, at, table)));
        uses.extend(of(merged, name, "dlq").map(|(at, table)| (*name, Role::DeadLetters, at, table)));
        uses.extend(of(merged, name, "bronze").map(|(at, table)| (*name, Role::Bronze, at, table)));
    }
    let mut told = BTreeSet::new();
    for (name, role, at, table) in uses {
        match roles.get(table) {
            None => {
                roles.insert(table, (role, name, at));
            }
            Some((other_role, other, other_at)) if *other_role != role && told.insert(table) => {
                let (here, there) = (format!("{} of {name}", role.text()), format!("{} of {other}", other_role.text()));
                let at = if merged.is_default(&at) { other_at } else { &at };
                let problem =
                    format!("{table} would be {there} and {here}; one table has one contract: name another table");
                errors.extend(merged.error(at, problem));
            }
            Some(_) => {}
        }
    }
}
