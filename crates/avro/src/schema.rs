//! A parsed schema: a graph of types in one vector, every name resolved to the index of its definition.
//!
//! Owns: what a schema says. Not here: how its text is read ([`parse`]), what it means for Arrow (`reader`).
//!
//! Invariants: (1) every [`NodeId`] of a graph is an index into it; (2) the members of a union are no unions and
//! differ in type or name; (3) names of fields and symbols are unique in their record or enum. Recursion is a cycle of
//! indexes, so nothing here is ever walked by recursion without a limit.

mod parse;

pub(crate) use parse::shown;

use crate::error::SchemaError;
use arrow_schema::TimeUnit;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// A schema as its writer or reader registered it. Cheap to clone.
///
/// Tolerant where Avro's Java implementation is: unknown attributes, `doc` and `order` are ignored, attributes come in
/// any order, a name may be used before its definition, logical types that are unknown or do not fit their type are
/// ignored.
#[derive(Debug, Clone)]
pub struct Schema {
    graph: Arc<Graph>,
}

impl Schema {
    /// Reads a schema's JSON.
    ///
    /// # Errors
    /// Text that is no JSON or no Avro, names that are not defined, or JSON nested deeper than 128 levels; the place
    /// is named.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        Ok(Self { graph: Arc::new(parse::parse(text)?) })
    }

    /// Whether the schema's own type is a record. Topics carry nothing else.
    pub fn is_record(&self) -> bool {
        matches!(self.graph.root().kind, Kind::Record(_))
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }
}

/// Index of a type in its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(u32);

#[derive(Debug)]
pub(crate) struct Graph {
    nodes: Vec<Node>,
    root: NodeId,
}

impl Graph {
    pub(crate) fn root(&self) -> &Node {
        self.node(self.root)
    }
    pub(crate) fn root_id(&self) -> NodeId {
        self.root
    }
    #[inline]
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }
}

/// One type, with the meaning that a logical type gives it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) logical: Option<Logical>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(Fixed),
    Enum(Enum),
    Record(Record),
    Array(NodeId),
    Map(NodeId),
    Union(Vec<NodeId>),
}

/// The name of a record, enum or fixed. Full names: with their namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) full: String,
    pub(crate) aliases: Vec<String>,
}

impl Name {
    /// Without the namespace.
    pub(crate) fn short(&self) -> &str {
        unqualified(&self.full)
    }

    /// Whether this reader's name is the writer's, by the specification: namespaces do not count, the reader's aliases
    /// do.
    pub(crate) fn accepts(&self, writer: &Name) -> bool {
        std::iter::once(&self.full).chain(&self.aliases).any(|own| unqualified(own) == writer.short())
    }
}

pub(crate) fn unqualified(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[derive(Debug)]
pub(crate) struct Fixed {
    pub(crate) name: Name,
    /// Bytes.
    pub(crate) size: usize,
}

#[derive(Debug)]
pub(crate) struct Enum {
    pub(crate) name: Name,
    pub(crate) symbols: Vec<String>,
    /// One of the symbols.
    pub(crate) default: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) name: Name,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    /// As it was written; it is checked when a reader is built of the schema, for a writer's default says nothing.
    pub(crate) default: Option<Value>,
    pub(crate) node: NodeId,
}

/// Logical types that change what a column is. All others are ignored, as the specification asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logical {
    /// Of bytes or fixed: a whole number of at most `precision` digits, `scale` of them after the point.
    Decimal { precision: u32, scale: u32 },
    /// Of int: days since 1970.
    Date,
    /// Of int (milliseconds) or long (microseconds): since midnight.
    Time(TimeUnit),
    /// Of long: since 1970, in UTC.
    Timestamp(TimeUnit),
    /// Of long: since 1970, by the clock of whoever reads it.
    LocalTimestamp(TimeUnit),
}

impl fmt::Display for Logical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = |unit: &TimeUnit| match unit {
            TimeUnit::Second => "seconds",
            TimeUnit::Millisecond => "millis",
            TimeUnit::Microsecond => "micros",
            TimeUnit::Nanosecond => "nanos",
        };
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Date => f.write_str("date"),
            Self::Time(of) => write!(f, "time-{}", unit(of)),
            Self::Timestamp(of) => write!(f, "timestamp-{}", unit(of)),
            Self::LocalTimestamp(of) => write!(f, "local-timestamp-{}", unit(of)),
        }
    }
}

/// As messages name a type: `long (timestamp-millis)`, `record Trade`.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Fixed(fixed) => write!(f, "fixed {} of {} bytes", fixed.name.full, fixed.size)?,
            Kind::Enum(Enum { name, .. }) => write!(f, "enum {}", name.full)?,
            Kind::Record(Record { name, .. }) => write!(f, "record {}", name.full)?,
            kind => f.write_str(kind.name())?,
        }
        match self.logical {
            Some(logical) => write!(f, " ({logical})"),
            None => Ok(()),
        }
    }
}

impl Kind {
    /// The type's name in a schema.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Fixed(_) => "fixed",
            Self::Enum(_) => "enum",
            Self::Record(_) => "record",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
        }
    }

    /// Of the types that have one.
    pub(crate) fn named(&self) -> Option<&Name> {
        match self {
            Self::Fixed(Fixed { name, .. }) | Self::Enum(Enum { name, .. }) | Self::Record(Record { name, .. }) => {
                Some(name)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "schema/tests.rs"]
mod tests;
