//! Records from a file, in one of a few plain forms.

use super::{MOST_RECORDS, Raw, batch};
use arrow::array::RecordBatch;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k2_model::{ClusterId, Error, Result, TopicIdentity};
use serde::Deserialize;

/// How records are written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The whole file is the value of one record, byte for byte.
    Raw,
    /// A value a line, in hexadecimal digits; blanks between digits are left out, and so are empty lines.
    Hex,
    /// A value a line, in base64; empty lines are left out.
    Base64,
    /// An object a line: `value` (base64) or `value_hex`, null or absent for a tombstone; and, where wanted, `key`
    /// (base64) or `key_hex`, `timestamp_ms`, `partition`, `offset`.
    Json,
}

/// What stands for cluster and topic where there is no Kafka. The topic's name is the pipeline's: projections may use it.
pub(super) fn identity(topic: &str) -> TopicIdentity {
    TopicIdentity { cluster_id: ClusterId::new("file"), topic: topic.into(), topic_id: None }
}

/// The records of a file. One that does not say its partition and offset gets partition 0 and its place in the file.
pub(super) fn records(bytes: &[u8], form: Form) -> Result<RecordBatch> {
    let records = match form {
        Form::Raw => vec![record(0, Some(bytes.to_vec()))],
        Form::Hex => lines(bytes, |line, at| Ok(record(at, Some(hex(line)?))))?,
        Form::Base64 => lines(bytes, |line, at| Ok(record(at, Some(base64(line)?))))?,
        Form::Json => lines(bytes, json)?,
    };
    batch(&records)
}

fn record(offset: i64, value: Option<Vec<u8>>) -> Raw {
    Raw { partition: 0, offset, timestamp: None, key: None, value }
}

/// A record of each line that is not empty; `read` gets the line and how many records came before it.
fn lines(bytes: &[u8], read: impl Fn(&str, i64) -> Result<Raw, String>) -> Result<Vec<Raw>> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let error = Error::config("the file is not text").caused_by(e);
        error.fix("for the bytes of one record as they are, leave --form out or say --form raw")
    })?;
    let mut records = Vec::new();
    let there = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (offset, (number, line)) in (0..).zip(there) {
        if records.len() == MOST_RECORDS {
            let error = Error::config(format!("the file has more than {MOST_RECORDS} records"));
            return Err(error.fix("try a part of it"));
        }
        let record =
            read(line.trim(), offset).map_err(|problem| Error::config(format!("line {}: {problem}", number + 1)))?;
        records.push(record);
    }
    Ok(records)
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let wrong = |c: char| format!("{c:?} is no hexadecimal digit");
    let digits: Vec<u8> = text
        .strip_prefix("0x")
        .unwrap_or(text)
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or_else(|| wrong(c)))
        .collect::<Result<_, _>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err(format!("{} hexadecimal digits make no whole number of bytes", digits.len()));
    }
    Ok(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

fn base64(text: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|e| format!("this is not base64: {e}"))
}

/// A line of [`Form::Json`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    value: Option<String>,
    value_hex: Option<String>,
    key: Option<String>,
    key_hex: Option<String>,
    timestamp_ms: Option<i64>,
    partition: Option<i32>,
    offset: Option<i64>,
}

fn json(line: &str, at: i64) -> Result<Raw, String> {
    let line: Line = serde_json::from_str(line).map_err(|e| format!("this is no record as JSON: {e}"))?;
    let bytes = |name: &str, in_base64: Option<String>, in_hex: Option<String>| match (in_base64, in_hex) {
        (Some(_), Some(_)) => Err(format!("{name} and {name}_hex are both there; one says all")),
        (Some(text), None) => base64(&text).map(Some).map_err(|e| format!("{name}: {e}")),
        (None, Some(text)) => hex(&text).map(Some).map_err(|e| format!("{name}_hex: {e}")),
        (None, None) => Ok(None),
    };
    let to_micros =
        |ms: i64| ms.checked_mul(1000).ok_or_else(|| "timestamp_ms is beyond 64 bits of microseconds".to_owned());
    Ok(Raw {
        partition: line.partition.unwrap_or(0),
        offset: line.offset.unwrap_or(at),
        // as in Kafka
        timestamp: line.timestamp_ms.filter(|ms| *ms != -1).map(to_micros).transpose()?,
        key: bytes("key", line.key, line.key_hex)?,
        value: bytes("value", line.value, line.value_hex)?,
    })
}

#[cfg(test)]
#[path = "file/tests.rs"]
mod tests;
