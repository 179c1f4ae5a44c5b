//! What a dead letter says: its bytes read as far as they go, and the place where they stop to make sense.
//!
//! For `k2 dlq show`. The bytes are read with the schema that they were written with, which comes from where `run` takes
//! it; then, if that goes well, to the reader of the silver pipeline, for what that has no place for. Nothing here decides
//! anything: the reason of a reject was decided when it was rejected, by the rules of then. Reads only.

use crate::config::Config;
use crate::connect;
use k2_avro::{Decoder, Program, Reader, Schema, explain};
use k2_transform::{Lookup, Schemas};
use std::collections::HashMap;
use std::ops::Range;

/// Byte 0x00 and the schema id.
const HEADER: usize = 5;

/// The bytes of a dead letter, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// What is known of the schema, as a sentence's part: `7, an Avro record`.
    pub schema: Option<String>,
    /// The values up to where it fails, in the order of their bytes.
    pub values: Vec<Value>,
    /// Where and why it cannot be read on; or, of a letter that can be read, the value that its detail names.
    pub mark: Option<Mark>,
}

/// A value of the letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The writer's field: `a.b[3]`.
    pub path: String,
    /// As a person reads it.
    pub value: String,
    /// Its bytes in the letter.
    pub bytes: Range<usize>,
}

/// A place in the letter that is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its bytes; those of the end of the letter where something is missing there.
    pub bytes: Range<usize>,
    /// The writer's field, if it is in one.
    pub field: String,
    /// What is wrong; none where the bytes are good and a rule refused what they say.
    pub problem: Option<String>,
}

/// Reads dead letters. Keeps schemas and readers for the next one.
#[derive(Debug)]
pub struct Letters<'a> {
    config: &'a Config,
    schemas: Option<Schemas>,
    /// Why no schema can be had: said again rather than asked again.
    trouble: Option<String>,
    /// By topic; none where no silver pipeline reads it, or its reader is no good.
    readers: HashMap<String, Option<Reader>>,
}

impl<'a> Letters<'a> {
    /// With the registry and the readers of a configuration.
    pub fn new(config: &'a Config) -> Self {
        let (schemas, trouble) = match connect::schemas(config) {
            Ok(schemas) => (Some(schemas), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { config, schemas, trouble, readers: HashMap::new() }
    }

    /// Reads a letter of a topic. `detail` is what its row says.
    pub async fn read(&mut self, topic: &str, letter: &[u8], detail: Option<&str>) -> Reading {
        let (id, body) = match frame(letter) {
            Ok(frame) => frame,
            Err(mark) => return Reading { mark: Some(mark), ..Reading::default() },
        };
        let in_header = |problem: String| Some(Mark { bytes: 1..HEADER, field: String::new(), problem: Some(problem) });
        let schema = match self.schema(id).await {
            Err(trouble) => {
                return Reading { schema: Some(format!("{id}, which cannot be had: {trouble}")), ..Reading::default() };
            }
            Ok(Lookup::Unknown) => {
                let schema = Some(format!("{id}, which the registry does not know"));
                return Reading { schema, mark: in_header(format!("schema id {id} is unknown")), ..Reading::default() };
            }
            Ok(Lookup::NotAvro(why)) => {
                let schema = Some(format!("{id}, which is no Avro record: {why}"));
                return Reading {
                    schema,
                    mark: in_header(format!("schema {id} is no Avro record")),
                    ..Reading::default()
                };
            }
            Ok(Lookup::Avro(schema)) => schema,
        };
        let read = explain(&schema, body);
        let values: Vec<Value> = read
            .values
            .into_iter()
            .map(|v| Value { path: v.path, value: v.value, bytes: v.bytes.start + HEADER..v.bytes.end + HEADER })
            .collect();
        let mark = match read.failure {
            Some(failure) => Some(at(letter, failure.position, failure.field, failure.problem.to_string())),
            None => self.resolve(topic, &schema, letter, body).or_else(|| named(&values, detail?)),
        };
        Reading { schema: Some(format!("{id}, an Avro record")), values, mark }
    }

    async fn schema(&mut self, id: i32) -> Result<Lookup, String> {
        let Some(schemas) = &self.schemas else { return Err(self.trouble.clone().unwrap_or_default()) };
        match schemas.get(id).await {
            Ok(found) => Ok(found),
            Err(error) => {
                self.schemas = None;
                Err(self.trouble.insert(error.to_string()).clone())
            }
        }
    }

    /// What the pipeline's reader has no place for.
    fn resolve(&mut self, topic: &str, writer: &Schema, letter: &[u8], body: &[u8]) -> Option<Mark> {
        let config = self.config;
        let reader = self.readers.entry(topic.to_owned()).or_insert_with(|| reader(config, topic)).as_ref()?;
        let program = match Program::compile(writer, reader) {
            Ok(program) => program,
            Err(error) => {
                let problem = format!("its schema does not resolve to the pipeline's reader schema: {error}");
                return Some(Mark { bytes: 1..HEADER, field: String::new(), problem: Some(problem) });
            }
        };
        let failure = Decoder::new(reader).decode(&program, body).err()?;
        Some(at(letter, failure.position, failure.field, failure.problem.to_string()))
    }
}

/// The reader of the silver pipeline that reads a topic, those that run first.
fn reader(config: &Config, topic: &str) -> Option<Reader> {
    let of_topic = || config.pipelines.iter().filter(|p| p.topic == topic);
    let pipeline =
        of_topic().find(|p| p.enabled && p.silver().is_some()).or_else(|| of_topic().find(|p| p.silver().is_some()))?;
    let definition = connect::definition(config, pipeline, pipeline.silver()?).ok()?;
    Reader::new(&Schema::parse(&definition.reader_schema.text).ok()?).ok()
}

/// Schema id and body; or what is wrong with the frame.
fn frame(letter: &[u8]) -> Result<(i32, &[u8]), Mark> {
    let no_frame = |bytes, problem: String| Err(Mark { bytes, field: String::new(), problem: Some(problem) });
    match letter.split_first_chunk::<HEADER>() {
        Some(([0, id @ ..], body)) => Ok((i32::from_be_bytes(*id), body)),
        _ => match letter.first() {
            Some(first) if *first != 0 => {
                no_frame(0..1, format!("the first byte is {first:#04x}, a frame begins with 0x00"))
            }
            _ => no_frame(
                letter.len()..letter.len(),
                format!("{} of the {HEADER} bytes of a frame's header are there", letter.len()),
            ),
        },
    }
}

/// The mark of one byte of the body, or of the end.
fn at(letter: &[u8], position: usize, field: String, problem: String) -> Mark {
    let start = position.saturating_add(HEADER).min(letter.len());
    Mark { bytes: start..(start + 1).min(letter.len()), field, problem: Some(problem) }
}

/// The value that a detail is about: the field that it names, else the only one of the value that it tells
/// (`quantity is "1e5"; …`, where the exchange says `volume`).
fn named(values: &[Value], detail: &str) -> Option<Mark> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mark = |v: &Value| Mark { bytes: v.bytes.clone(), field: v.path.clone(), problem: None };
    let by_name = values.iter().find(|v| Some(v.path.as_str()) == detail.split(|c| !is_name(c)).next());
    let told = detail.split_once(" is ").map_or("", |(_, told)| told);
    let mut by_value =
        values.iter().filter(|v| told == v.value || told.strip_prefix(&v.value).is_some_and(|t| t.starts_with(';')));
    by_name.or_else(|| by_value.next().filter(|_| by_value.next().is_none())).map(mark)
}

#[cfg(test)]
#[path = "dead_letters/tests.rs"]
mod tests;
