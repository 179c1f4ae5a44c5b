//! What a registry's answer means. Pure: status and body in, meaning out.
//!
//! | status | body | meaning |
//! |---|---|---|
//! | 200 | object with a text `schema`; `schemaType` absent, null or AVRO | Avro text with its references |
//! | 200 | the same with another `schemaType` | another kind of schema |
//! | 404 | object with the number 40403 as `error_code` | there is no such id |
//! | 401, 403 | any | the registry refuses us |
//! | anything else | any | no answer |
//!
//! The rows are what contracts.md allows a record to be judged by. Everything that is not listed is the last row.

use super::trouble::Trouble;
use serde_json::{Map, Value};

/// Confluent's code of an id that does not exist. (40401 and 40402: no such subject, no such version.)
const NO_SUCH_ID: i64 = 40403;

/// How much of a server's words goes into a message.
const WORDS: usize = 200;

const FIX_LOGIN: &str = "The pipeline waits and tries again: check registry.user and registry.password or registry.token, \
                         and that they may read schemas";
const FIX_ROOT: &str =
    "registry.url must be the root of a Confluent-compatible API, such as http://host:8081 or …/apis/ccompat/v7";
const FIX_REDIRECT: &str = "Write the address that it points to into registry.url: K2 follows no redirect, which could take \
                            its credentials elsewhere";
const FIX_RATE: &str = "It limits the rate of requests; the pipeline waits and tries again";
const FIX_SERVER: &str = "Look into the registry's log; the pipeline waits and tries again";

/// An answer that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is no such id.
    Unknown,
    /// A schema of another kind, by its name.
    OtherKind(String),
    /// An Avro schema.
    Avro {
        /// Its text.
        text: String,
        /// The schemas with the named types that it does not define itself.
        references: Vec<Reference>,
    },
}

/// Another schema that a schema builds upon.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Reference {
    /// Its subject.
    pub(super) subject: String,
    /// Its version there.
    pub(super) version: i64,
}

/// The answer to the question for an id.
pub(super) fn of_id(status: u16, body: &[u8]) -> Result<Answer, Trouble> {
    match status {
        200 => schema(body),
        404 if error_code(body) == Some(NO_SUCH_ID) => Ok(Answer::Unknown),
        404 => Err(Trouble::new(
            format!(
                "the schema registry answers 404 without the error_code 40403 that says there is no such id{}",
                said(body)
            ),
            FIX_ROOT,
        )),
        _ => Err(failure(status, body)),
    }
}

/// The answer to the question for a version of a subject, which a schema refers to: it must be there.
pub(super) fn of_reference(status: u16, body: &[u8]) -> Result<Answer, Trouble> {
    match status {
        200 => schema(body),
        404 => Err(Trouble::new(
            format!("the schema registry lacks a schema that another one refers to{}", said(body)),
            "Register it again; the pipeline waits and tries again",
        )),
        _ => Err(failure(status, body)),
    }
}

/// The number of subjects, from a list of them.
pub(super) fn of_subjects(status: u16, body: &[u8]) -> Result<usize, Trouble> {
    match (status, serde_json::from_slice(body)) {
        (200, Ok(Value::Array(subjects))) => Ok(subjects.len()),
        (200, _) => Err(strange(body)),
        _ => Err(failure(status, body)),
    }
}

fn failure(status: u16, body: &[u8]) -> Trouble {
    let what = match status {
        401 | 403 => format!("the schema registry refuses the request with {status}{}", said(body)),
        _ => format!("the schema registry answers {status}{}", said(body)),
    };
    match status {
        401 | 403 => Trouble::refused(what, FIX_LOGIN),
        429 => Trouble::new(what, FIX_RATE),
        300..=399 => Trouble::new(what, FIX_REDIRECT),
        500.. => Trouble::new(what, FIX_SERVER),
        _ => Trouble::new(what, FIX_ROOT),
    }
}

fn strange(body: &[u8]) -> Trouble {
    Trouble::new(format!("the schema registry answers 200, but not with a schema{}", said(body)), FIX_ROOT)
}

fn object(body: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok()
}

fn error_code(body: &[u8]) -> Option<i64> {
    object(body)?.get("error_code")?.as_i64()
}

fn schema(body: &[u8]) -> Result<Answer, Trouble> {
    understand(body).ok_or_else(|| strange(body))
}

fn understand(body: &[u8]) -> Option<Answer> {
    let object = object(body)?;
    let Some(Value::String(text)) = object.get("schema") else { return None };
    match object.get("schemaType") {
        None | Some(Value::Null) => {}
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("AVRO") => {}
        Some(Value::String(kind)) => return Some(Answer::OtherKind(kind.chars().take(WORDS).collect())),
        Some(_) => return None,
    }
    let references = match object.get("references") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(all)) => all.iter().map(reference).collect::<Option<_>>()?,
        Some(_) => return None,
    };
    Some(Answer::Avro { text: text.clone(), references })
}

fn reference(value: &Value) -> Option<Reference> {
    Some(Reference { subject: value.get("subject")?.as_str()?.to_owned(), version: value.get("version")?.as_i64()? })
}

/// `: "its words"`, or nothing.
fn said(body: &[u8]) -> String {
    let words = match object(body).as_ref().and_then(|o| o.get("message")).and_then(Value::as_str) {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(&body[..body.len().min(WORDS * 4)]).into_owned(),
    };
    let words = words.trim();
    if words.is_empty() {
        return String::new();
    }
    if words.starts_with('<') {
        return ": a page of HTML".into();
    }
    let shown: String = words.chars().take(WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!(": {shown:?}")
}

#[cfg(test)]
#[path = "answer/tests.rs"]
mod tests;
