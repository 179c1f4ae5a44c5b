//! What a pipeline does with its records, compiled once from its reader schema, projection and rules.
//!
//! A plan is immutable and shared. Where a record goes is a function of the record and the plan, nothing else; the plan's
//! [`Plan::rules_version`] names it in every row and commit.

use crate::Text;
use crate::contract::silver_schema;
use crate::input::Known;
use crate::projection::{Output, Place, Projection};
use crate::rules::{File, Rules, Source};
use crate::sql::Snippet;
use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use k2_avro::Reader;
use k2_model::{Error, Result};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// The version of what is code and not configuration in a transform: goes up when the same texts come to mean other rows.
const CODE_VERSION: u32 = 1;

/// What a transform is made of.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The pipeline's name, for messages.
    pub pipeline: String,
    /// The Avro reader schema.
    pub reader_schema: Text,
    /// The SQL projection.
    pub projection: Text,
    /// The rules, TOML.
    pub rules: Text,
    /// `rules.max_future`: how far a trade may be ahead of its record's Kafka timestamp.
    pub max_future: Duration,
    /// `rules.max_age`: how far it may be behind.
    pub max_age: Duration,
    /// `rules.max_record`: how many bytes a Kafka value may have.
    pub max_record: u64,
    /// The bronze table's name, for `bronze_source`.
    pub bronze_source: String,
}

/// A compiled transform.
pub struct Plan {
    pub(crate) pipeline: String,
    pub(crate) reader: Reader,
    pub(crate) projection: Projection,
    pub(crate) rules: Rules,
    pub(crate) max_record: u64,
    pub(crate) bronze_source: String,
    /// Where each silver column comes from, in the contract's order.
    pub(crate) silver: Vec<Fill>,
    /// What the projection needs of a record: decoded fields by their place, and what Kafka knows.
    pub(crate) needs: Vec<Need>,
    /// The columns of `needs`.
    pub(crate) input: SchemaRef,
    version: String,
}

/// One input column of the projection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    /// A field of the decoded record, by its place.
    Field(usize),
    /// What Kafka knows.
    Known(Known),
}

/// Where a silver column comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fill {
    /// What the projection evaluates, by place.
    Projected(usize),
    /// A constant of the projection, by the place among its outputs.
    Constant(usize),
    /// What Kafka knows.
    Known(Known),
    /// Null.
    Null,
    /// When the row is validated.
    ValidatedAt,
    /// When K2 received the record.
    ReceivedAt,
    /// The UTC day of `timestamp`.
    TradeDay,
}

/// The limits that rules can name.
#[derive(Debug)]
pub(crate) struct Limits {
    max_future: i64,
    max_age: i64,
}

impl Limits {
    /// The value of a placeholder, in microseconds.
    pub(crate) fn value(&self, placeholder: &str) -> Option<i64> {
        match placeholder {
            "$max_future" => Some(self.max_future),
            "$max_age" => Some(self.max_age),
            _ => None,
        }
    }
}

impl Plan {
    /// Compiles; every mistake is a [`k2_model::Class::Config`] error that names file, line and column.
    pub fn compile(definition: &Definition) -> Result<Self> {
        Self::compiled(definition).map_err(|e| e.at(format!("pipeline {}", definition.pipeline)))
    }

    fn compiled(definition: &Definition) -> Result<Self> {
        let reader = reader(&definition.reader_schema)?;
        let columns = columns(&reader, &definition.reader_schema)?;
        let sql = Snippet::file(&definition.projection.label, &definition.projection.text);
        let projection = Projection::compile(&sql, &columns)?;
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        let limits = Limits { max_future: micros(definition.max_future), max_age: micros(definition.max_age) };
        let rules = Rules::compile(&File::parse(&definition.rules)?, &projection, &limits)?;
        let fields = reader.arrow_schema().fields().len();
        let needs: Vec<_> = projection.needs.iter().filter_map(|place| need(*place, fields)).collect();
        let input = columns.project(&projection.needs).map_err(|e| Error::config("projection").caused_by(e))?;
        Ok(Self {
            pipeline: definition.pipeline.clone(),
            version: version(definition)?,
            silver: silver_schema().fields().iter().map(|field| fill(&projection, field.name())).collect(),
            reader,
            projection,
            rules,
            max_record: definition.max_record,
            bronze_source: definition.bronze_source.clone(),
            needs,
            input: Arc::new(input),
        })
    }

    /// Names this plan, in rows and commits: `{name of the rules}@{12 hexadecimal digits}`, from the contents of everything that decides
    /// where a record goes and what its row says.
    pub fn rules_version(&self) -> &str {
        &self.version
    }

    /// A constant of the projection, by its place among the outputs: a column of one row.
    pub(crate) fn constant(&self, output: usize) -> Option<&ArrayRef> {
        match &self.projection.outputs.get(output)?.place {
            Place::Constant(one) => Some(one),
            Place::Column(_) => None,
        }
    }

    /// The columns that the rules look at.
    pub(crate) fn rule_columns(&self) -> &[Source] {
        self.rules.columns()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("pipeline", &self.pipeline).field("version", &self.version).finish_non_exhaustive()
    }
}

fn reader(text: &Text) -> Result<Reader> {
    let wrong =
        |e: k2_avro::SchemaError| Error::config(format!("the reader schema cannot be used: {e}")).at(&text.label);
    let schema = k2_avro::Schema::parse(&text.text).map_err(wrong)?;
    Reader::new(&schema).map_err(wrong)
}

/// All columns that a projection can name: the record's fields, then those of Kafka.
fn columns(reader: &Reader, text: &Text) -> Result<SchemaRef> {
    let mut columns: Vec<Field> = Vec::new();
    for field in reader.arrow_schema().fields() {
        if Known::named(field.name()).is_some() {
            return Err(Error::config(format!(
                "the field {} has a name that K2 gives to a column of its own",
                field.name()
            ))
            .at(&text.label)
            .fix("name it differently in the reader schema, with the old name as an alias"));
        }
        columns.push(field.as_ref().clone());
    }
    columns.extend(Known::ALL.into_iter().map(Known::field));
    Ok(Arc::new(Schema::new(columns)))
}

fn need(place: usize, fields: usize) -> Option<Need> {
    match place.checked_sub(fields) {
        None => Some(Need::Field(place)),
        Some(known) => Known::ALL.get(known).copied().map(Need::Known),
    }
}

/// The projection's own column, else the one that K2 fills.
fn fill(projection: &Projection, name: &str) -> Fill {
    let own = projection.outputs.iter().position(|output| output.name == name);
    let place = |place: usize| match &projection.outputs[place] {
        Output { place: Place::Column(column), .. } => Fill::Projected(*column),
        Output { place: Place::Constant(_), .. } => Fill::Constant(place),
    };
    match own {
        Some(own) => place(own),
        None => match (Known::filling(name), name) {
            (Some(known), _) => Fill::Known(known),
            (None, "validation_timestamp") => Fill::ValidatedAt,
            (None, "bronze_ingestion_timestamp") => Fill::ReceivedAt,
            (None, "exchange_date") => Fill::TradeDay,
            (None, _) => Fill::Null,
        },
    }
}

fn version(definition: &Definition) -> Result<String> {
    let name = File::parse(&definition.rules)?.name;
    let mut hasher = Sha256::new();
    let texts = [&definition.reader_schema.text, &definition.projection.text, &definition.rules.text];
    let limits = [
        definition.max_future.as_micros(),
        definition.max_age.as_micros(),
        u128::from(definition.max_record),
        u128::from(CODE_VERSION),
    ];
    for text in texts {
        // with its length in front: moving a line from one file to the next is a change
        hasher.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(text);
    }
    limits.iter().for_each(|limit| hasher.update(limit.to_be_bytes()));
    let mut version = format!("{name}@");
    for byte in hasher.finalize().iter().take(6) {
        let _ = write!(version, "{byte:02x}");
    }
    Ok(version)
}

#[cfg(test)]
#[path = "plan/tests.rs"]
pub(crate) mod tests;
