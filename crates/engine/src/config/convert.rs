//! From what a layer has written to a value of the key's type, within its limits.

use super::report::nearest;
use super::schema::Kind;
use super::value::{Secret, Uri, Value, duration, is_secret, shown_duration, shown_size, size};
use std::time::Duration;

/// A value as its layer has it.
pub(super) enum Raw<'a> {
    /// TOML, with its types.
    Toml(&'a toml_edit::Value),
    /// Environment and command line: a text for everything.
    Text(&'a str),
}

/// What a key wants, as part of a sentence.
pub(super) fn wants(kind: &Kind) -> String {
    match kind {
        Kind::Text(_) | Kind::Uri(_) | Kind::Uris(_) | Kind::Secret => "a text in quotes".into(),
        Kind::Flag => "true or false".into(),
        Kind::Duration(..) => "a duration such as \"10s\"".into(),
        Kind::Size(_) => "a size such as \"64MiB\"".into(),
        Kind::Count(..) => "a whole number".into(),
        Kind::Word(words) => format!("one of {}", quoted(words)),
        Kind::Properties(_) => "a table { NAME = \"VALUE\" }".into(),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|w| format!("{w:?}")).collect::<Vec<_>>().join(", ")
}

/// A raw value in the type of its key, within its limits.
pub(super) fn convert(kind: &Kind, name: &str, raw: &Raw<'_>) -> Result<Value, String> {
    use toml_edit::Value as Toml;
    let mistyped = |found: &Toml| Err(format!("wants {}, not {}", wants(kind), article(found.type_name())));
    match (kind, raw) {
        (Kind::Flag, Raw::Toml(Toml::Boolean(flag))) => Ok(Value::Flag(*flag.value())),
        (Kind::Size(_) | Kind::Count(..), Raw::Toml(Toml::Integer(number))) => {
            let number = u64::try_from(*number.value()).map_err(|_| "must not be negative".to_owned())?;
            bounded_number(kind, number)
        }
        (Kind::Properties(check), Raw::Toml(value)) => {
            let text = match value {
                Toml::String(text) => text.value().clone(),
                Toml::Integer(number) => number.value().to_string(),
                Toml::Boolean(flag) => flag.value().to_string(),
                other => {
                    return Err(format!("wants a text, a number or true/false, not {}", article(other.type_name())));
                }
            };
            property(*check, name, text)
        }
        (Kind::Properties(check), Raw::Text(text)) => property(*check, name, (*text).to_owned()),
        (Kind::Flag | Kind::Count(..), Raw::Toml(other)) => mistyped(other),
        (_, Raw::Toml(Toml::String(text))) => from_text(kind, text.value()),
        (_, Raw::Toml(other)) => mistyped(other),
        (_, Raw::Text(text)) => from_text(kind, text),
    }
}

/// A property: a secret where its name says so.
fn property(check: fn(&str, &str) -> Result<(), String>, name: &str, text: String) -> Result<Value, String> {
    check(name, &text)?;
    Ok(if is_secret(name) { Value::Secret(Secret::new(text)) } else { Value::Text(text) })
}

/// A value from a text: what environment and command line have for everything.
fn from_text(kind: &Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Text(check) => check(text).map(|()| Value::Text(text.to_owned())),
        Kind::Uri(check) => check(text).map(|()| Value::Uri(Uri::new(text))),
        Kind::Uris(check) => {
            if text.is_empty() {
                return Ok(Value::Uris(Vec::new()));
            }
            let one = |uri: &str| check(uri.trim()).map(|()| Uri::new(uri.trim()));
            text.split(',').map(one).collect::<Result<_, _>>().map(Value::Uris)
        }
        Kind::Secret => Ok(Value::Secret(Secret::new(text))),
        Kind::Flag => text.parse().map(Value::Flag).map_err(|_| format!("{text:?} is neither true nor false")),
        Kind::Duration(least, most) => duration(text).and_then(|time| bounded_duration(*least, *most, time)),
        Kind::Size(_) => size(text).and_then(|bytes| bounded_number(kind, bytes)),
        Kind::Count(..) => {
            let number = text.parse().map_err(|_| format!("{text:?} is not a whole number"))?;
            bounded_number(kind, number)
        }
        Kind::Word(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
        Kind::Word(words) => {
            let near =
                nearest(text, words.iter().copied()).map(|w| format!("; did you mean {w:?}?")).unwrap_or_default();
            Err(format!("{text:?} is not one of {}{near}", quoted(words)))
        }
        Kind::Properties(_) => Err(format!("wants {}", wants(kind))),
    }
}

fn bounded_duration(least: Duration, most: Duration, time: Duration) -> Result<Value, String> {
    let told = || shown_duration(time);
    if time < least {
        return Err(format!("{} is less than the least, {}", told(), shown_duration(least)));
    }
    if time > most {
        return Err(format!("{} is more than the most, {}", told(), shown_duration(most)));
    }
    Ok(Value::Duration(time))
}

fn bounded_number(kind: &Kind, number: u64) -> Result<Value, String> {
    match kind {
        Kind::Size(least) if number < *least => {
            Err(format!("{} is less than the least, {}", shown_size(number), shown_size(*least)))
        }
        Kind::Count(least, _) if number < u64::from(*least) => Err(format!("{number} is less than the least, {least}")),
        Kind::Count(_, most) if number > u64::from(*most) => Err(format!("{number} is more than the most, {most}")),
        _ => Ok(Value::Number(number)),
    }
}

fn article(name: &str) -> String {
    let an = name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {name}", if an { "an" } else { "a" })
}
