//! Which dead letters are meant: the filters that `list` and `show` have in common, as a condition in SQL.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};
use k2_engine::config::{Config, duration};
use k2_model::{Error, Result, clock};

/// Each takes several values, of which one must fit; all filters together must.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Filter {
    /// The bronze table that the record belongs to, or the silver pipeline that rejected it
    #[arg(long, value_name = "SOURCE")]
    source: Vec<String>,
    /// The rule that failed, e.g. price_not_a_decimal
    #[arg(long, value_name = "REASON")]
    reason: Vec<String>,
    /// Its kind, e.g. parse
    #[arg(long = "type", value_name = "TYPE")]
    error_type: Vec<String>,
    /// The schema id of the record; none: it has none
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    schema_id: Vec<String>,
    /// The UTC day on which it was rejected
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Vec<String>,
    /// Rejected since then: 30m, 2h, 7d ago, or a day or time (UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// open, or what became of it later
    #[arg(long, value_name = "STATUS")]
    status: Vec<String>,
    /// The topic of the record
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// The partition of the record
    #[arg(long, value_name = "N")]
    partition: Vec<i32>,
}

impl Filter {
    /// The conditions, to be joined by AND.
    pub(super) fn conditions(&self, config: &Config) -> Result<Vec<String>> {
        let mut all = Vec::new();
        if !self.source.is_empty() {
            all.push(any(self.source.iter().map(|source| of_source(config, source)).collect()));
        }
        all.extend(one_of("error_reason", &self.reason));
        all.extend(one_of("error_type", &self.error_type));
        if !self.schema_id.is_empty() {
            all.push(any(self.schema_id.iter().map(|id| of_schema(id)).collect::<Result<_>>()?));
        }
        if !self.day.is_empty() {
            let days: Vec<String> = self
                .day
                .iter()
                .map(|day| Ok(format!("dlq_date = DATE '{}'", parse_day(day)?)))
                .collect::<Result<_>>()?;
            all.push(any(days));
        }
        if let Some(since) = &self.since {
            all.push(format!("error_timestamp >= '{}'", moment(since, clock::now_micros())?));
        }
        all.extend(one_of("status", &self.status));
        all.extend(one_of("kafka_topic", &self.topic));
        if !self.partition.is_empty() {
            all.push(any(self.partition.iter().map(|p| format!("kafka_partition = {p}")).collect()));
        }
        Ok(all)
    }
}

/// `WHERE …`, or nothing.
pub(super) fn clause(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn any(conditions: Vec<String>) -> String {
    if conditions.len() == 1 { conditions.concat() } else { format!("({})", conditions.join(" OR ")) }
}

fn one_of(column: &str, values: &[String]) -> Option<String> {
    let conditions: Vec<String> = values.iter().map(|value| format!("{column} = {}", literal(value))).collect();
    (!conditions.is_empty()).then(|| any(conditions))
}

fn of_source(config: &Config, source: &str) -> String {
    match config.pipelines.iter().find(|p| p.name == source && p.silver().is_some()) {
        Some(pipeline) => format!("kafka_topic = {}", literal(&pipeline.topic)),
        None => format!("bronze_source = {}", literal(source)),
    }
}

fn of_schema(id: &str) -> Result<String> {
    if id == "none" {
        return Ok("schema_id IS NULL".to_owned());
    }
    let number: i32 =
        id.parse().map_err(|_| Error::config(format!("--schema-id {id} is neither a number nor none")))?;
    Ok(format!("schema_id = {number}"))
}

fn parse_day(text: &str) -> Result<NaiveDate> {
    let error = || Error::config(format!("--day {text} is no day")).fix("write YYYY-MM-DD, e.g. 2026-01-31");
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| error())
}

/// A moment as RFC 3339: so long ago, or the time that is written.
fn moment(text: &str, now: i64) -> Result<String> {
    let ago = duration(text).ok().and_then(|ago| now.checked_sub(i64::try_from(ago.as_micros()).ok()?));
    let written = || {
        let utc = |time: NaiveDateTime| time.and_utc();
        DateTime::parse_from_rfc3339(text)
            .map(|time| time.to_utc())
            .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").map(utc))
            .or_else(|_| NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|day| utc(day.into())))
            .ok()
    };
    let time = match ago {
        Some(micros) => DateTime::from_timestamp_micros(micros),
        None => written(),
    };
    let error = || {
        Error::config(format!("--since {text} is no time")).fix("write 30m, 2h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z")
    };
    Ok(time.ok_or_else(error)?.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[cfg(test)]
#[path = "filter/tests.rs"]
mod tests;
