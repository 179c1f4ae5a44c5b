//! Values as they are written, and the types that keep secrets to themselves.

use std::fmt;
use std::time::Duration;

/// What is printed in the place of a secret.
const HIDDEN: &str = "***";

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text itself, for the one that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// An address that may carry a password; printed without it.
#[derive(Clone, PartialEq, Eq)]
pub struct Uri(String);

impl Uri {
    /// Wraps an address.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The address with its password, for the one that connects.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", redact(&self.0))
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0))
    }
}

/// Free properties, in the order of their names. Printed without what looks like a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(std::collections::BTreeMap<String, String>);

impl Properties {
    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

impl FromIterator<(String, String)> for Properties {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(properties: I) -> Self {
        Self(properties.into_iter().collect())
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(k, v)| (k, if is_secret(k) { HIDDEN.into() } else { redact(v) })))
            .finish()
    }
}

/// Whether a property of this name holds a secret.
pub(super) fn is_secret(name: &str) -> bool {
    const MARKS: [&str; 9] =
        ["password", "passphrase", "secret", "token", "credential", "authorization", "jaas", "key.pem", "access.key"];
    let name = name.to_lowercase().replace(['-', '_'], ".");
    // `oauth2-server-uri` and its like are addresses, `sasl.oauthbearer.token.endpoint.url` is one too
    !name.ends_with(".uri") && !name.ends_with(".url") && MARKS.iter().any(|mark| name.contains(mark))
}

/// Takes the password out of an address, in front of the host and in the query.
fn redact(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.into() };
    let (address, query) = rest.split_once('?').map_or((rest, None), |(a, q)| (a, Some(q)));
    let authority_end = address.find('/').unwrap_or(address.len());
    // a password may hold a `/` that was not escaped: look for the `@` in all of the address then
    let at = address[..authority_end].rfind('@').or_else(|| address.rfind('@'));
    let shown = match at.map(|at| (&address[..at], &address[at..])) {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:{HIDDEN}{host}"),
            None => format!("{user}{host}"),
        },
        None => address.to_owned(),
    };
    let query = query.map_or_else(String::new, |q| {
        let pairs: Vec<String> = q
            .split('&')
            .map(|pair| match pair.split_once('=') {
                Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
                _ => pair.to_owned(),
            })
            .collect();
        format!("?{}", pairs.join("&"))
    });
    format!("{scheme}://{shown}{query}")
}

/// A value after its type and limits have been checked.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// A text, a word, or a property's value.
    Text(String),
    /// An address.
    Uri(Uri),
    /// Several.
    Uris(Vec<Uri>),
    /// A secret.
    Secret(Secret),
    /// Yes or no.
    Flag(bool),
    /// A time.
    Duration(Duration),
    /// A number: bytes, connections, records.
    Number(u64),
}

/// A whole number with a unit, e.g. `10s`, `384MiB`.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

/// Reads `200ms`, `10s`, `1m`, `2h`, `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    const ALLOWED: &str = "write a whole number with a unit: 200ms, 10s, 1m, 2h, 7d";
    let (number, unit) = number_and_unit(text).ok_or_else(|| format!("{text:?} is not a duration; {ALLOWED}"))?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("{text:?} has no unit; {ALLOWED}")),
        _ => return Err(format!("{text:?} has an unknown unit {unit:?}; {ALLOWED}")),
    };
    number
        .checked_mul(millis)
        // times are reckoned in signed microseconds
        .filter(|ms| ms.checked_mul(1_000).is_some_and(|us| i64::try_from(us).is_ok()))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is too long"))
}

/// Reads `384MiB`, `8MB`, `1048576`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const ALLOWED: &str = "write a whole number with a unit: 64KiB, 384MiB, 1GiB (1024s), 8MB (1000s), or bytes";
    let (number, unit) = number_and_unit(text).ok_or_else(|| format!("{text:?} is not a size; {ALLOWED}"))?;
    let bytes: u64 = match unit {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(format!("{text:?} has an unknown unit {unit:?}; {ALLOWED}")),
    };
    number.checked_mul(bytes).ok_or_else(|| format!("{text:?} is too large"))
}

/// A size as it is best read: whole binary units where they fit.
pub fn shown_size(bytes: u64) -> String {
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(|| format!("{bytes} bytes"), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// A duration as it would be written in a file.
pub fn shown_duration(time: Duration) -> String {
    let millis = time.as_millis();
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
        .into_iter()
        .find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit))
        .map_or_else(|| format!("{millis}ms"), |(name, unit)| format!("{}{name}", millis / unit))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{:?}", redact(text)),
            Self::Uri(uri) => write!(f, "{uri:?}"),
            Self::Uris(all) => {
                let all: Vec<String> = all.iter().map(ToString::to_string).collect();
                write!(f, "{:?}", all.join(","))
            }
            Self::Secret(secret) if secret.expose().is_empty() => f.write_str("\"\""),
            Self::Secret(secret) => write!(f, "{secret}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Duration(time) => write!(f, "\"{}\"", shown_duration(*time)),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
