//! Schema text into a graph.
//!
//! serde_json refuses JSON nested deeper than 128 levels; as the parser descends with the JSON, never along names, its
//! stack is bounded however large or recursive the schema is.

use super::{Enum, Field, Fixed, Graph, Kind, Logical, Name, Node, NodeId, Record, unqualified};
use crate::error::SchemaError;
use arrow_schema::TimeUnit;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::fmt;

pub(super) fn parse(text: &str) -> Result<Graph, SchemaError> {
    let json: Value = serde_json::from_str(text).map_err(|e| SchemaError::new("", format!("not JSON: {e}")))?;
    let mut parser = Parser::default();
    let root = parser.schema(&json, "", &Place::ROOT)?;
    parser.finish(root)
}

/// Where the parser is: a list up to the root that lives on its stack, spelled out only for an error.
struct Place<'a> {
    up: Option<&'a Place<'a>>,
    step: &'a str,
}

impl<'a> Place<'a> {
    const ROOT: Place<'static> = Place { up: None, step: "" };

    fn at(&'a self, step: &'a str) -> Place<'a> {
        Place { up: Some(self), step }
    }
    fn error(&self, what: impl Into<String>) -> SchemaError {
        SchemaError::new(self, what)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(up) = self.up else { return Ok(()) };
        if up.up.is_some() {
            write!(f, "{up}.")?;
        }
        f.write_str(self.step)
    }
}

/// A name that was used before its definition.
struct Pending {
    node: NodeId,
    /// With the namespace it was used in; then, as Java does, without.
    candidates: [String; 2],
    place: String,
}

#[derive(Default)]
struct Parser {
    nodes: Vec<Node>,
    names: HashMap<String, NodeId>,
    pending: Vec<Pending>,
    /// Every union with its place: what it may hold is checked when all names are known.
    unions: Vec<(NodeId, String)>,
}

impl Parser {
    fn push(&mut self, kind: Kind, logical: Option<Logical>, place: &Place<'_>) -> Result<NodeId, SchemaError> {
        let id = u32::try_from(self.nodes.len()).map_err(|_| place.error("more types than a schema can have"))?;
        self.nodes.push(Node { kind, logical });
        Ok(NodeId(id))
    }

    fn schema(&mut self, json: &Value, namespace: &str, place: &Place<'_>) -> Result<NodeId, SchemaError> {
        match json {
            Value::String(name) => match primitive(name) {
                Some(kind) => self.push(kind, None, place),
                None => self.reference(name, namespace, place),
            },
            Value::Array(members) => self.union(members, namespace, place),
            Value::Object(attributes) => self.object(attributes, namespace, place),
            other => Err(place.error(format!("a type is a name, an object or an array, not {}", shown(other)))),
        }
    }

    fn object(&mut self, json: &Map<String, Value>, namespace: &str, place: &Place<'_>) -> Result<NodeId, SchemaError> {
        let name = match json.get("type") {
            Some(Value::String(name)) => name,
            Some(nested @ (Value::Object(_) | Value::Array(_))) => return self.schema(nested, namespace, place),
            Some(other) => return Err(place.error(format!("\"type\" is {}, no type", shown(other)))),
            None => return Err(place.error("an object without \"type\": this is no Avro schema")),
        };
        match name.as_str() {
            "record" | "error" => self.record(json, namespace, place),
            "enum" => self.enumeration(json, namespace, place),
            "fixed" => self.fixed(json, namespace, place),
            "array" => {
                let items = json.get("items").ok_or_else(|| place.error("an array without \"items\""))?;
                let items = self.schema(items, namespace, &place.at("items"))?;
                self.push(Kind::Array(items), None, place)
            }
            "map" => {
                let values = json.get("values").ok_or_else(|| place.error("a map without \"values\""))?;
                let values = self.schema(values, namespace, &place.at("values"))?;
                self.push(Kind::Map(values), None, place)
            }
            name => match primitive(name) {
                Some(kind) => {
                    let logical = logical(json, &kind);
                    self.push(kind, logical, place)
                }
                None => self.reference(name, namespace, place),
            },
        }
    }

    fn reference(&mut self, name: &str, namespace: &str, place: &Place<'_>) -> Result<NodeId, SchemaError> {
        let candidates = [qualified(name, namespace), name.to_owned()];
        if let Some(id) = candidates.iter().find_map(|n| self.names.get(n)) {
            return Ok(*id);
        }
        let node = self.push(Kind::Null, None, place)?;
        self.pending.push(Pending { node, candidates, place: place.to_string() });
        Ok(node)
    }

    fn union(&mut self, members: &[Value], namespace: &str, place: &Place<'_>) -> Result<NodeId, SchemaError> {
        let mut branches = Vec::with_capacity(members.len());
        for (index, member) in members.iter().enumerate() {
            branches.push(self.schema(member, namespace, &place.at(&format!("branch {index}")))?);
        }
        let id = self.push(Kind::Union(branches), None, place)?;
        self.unions.push((id, place.to_string()));
        Ok(id)
    }

    fn record(&mut self, json: &Map<String, Value>, outer: &str, place: &Place<'_>) -> Result<NodeId, SchemaError> {
        let name = self.name(json, outer, place)?;
        let Some(Value::Array(list)) = json.get("fields") else {
            return Err(place.error(format!("the record {} has no array \"fields\"", name.full)));
        };
        let namespace = namespace_of(&name.full).to_owned();
        // known before its fields are read: they may refer to it
        let id = self.define(name, place)?;
        let mut fields = Vec::with_capacity(list.len());
        let mut seen = HashSet::new();
        for field in list {
            let Value::Object(json) = field else {
                return Err(place.error(format!("a field is an object, not {}", shown(field))));
            };
            let Some(name) = json.get("name").and_then(Value::as_str) else {
                return Err(place.error("a field without a \"name\""));
            };
            let here = place.at(name);
            check_name(name, &here)?;
            if !seen.insert(name) {
                return Err(here.error("a second field of this name"));
            }
            let ty = json.get("type").ok_or_else(|| here.error("a field without a \"type\""))?;
            fields.push(Field {
                name: name.to_owned(),
                aliases: strings(json, "aliases"),
                default: json.get("default").cloned(),
                node: self.schema(ty, &namespace, &here)?,
            });
        }
        if let Kind::Record(record) = &mut self.nodes[id.0 as usize].kind {
            record.fields = fields;
        }
        Ok(id)
    }

    fn enumeration(
        &mut self,
        json: &Map<String, Value>,
        outer: &str,
        place: &Place<'_>,
    ) -> Result<NodeId, SchemaError> {
        let name = self.name(json, outer, place)?;
        let Some(Value::Array(list)) = json.get("symbols") else {
            return Err(place.error(format!("the enum {} has no array \"symbols\"", name.full)));
        };
        let mut symbols = Vec::with_capacity(list.len());
        let mut seen = HashSet::new();
        for symbol in list {
            let Value::String(symbol) = symbol else {
                return Err(place.error(format!("a symbol is a string, not {}", shown(symbol))));
            };
            check_name(symbol, place)?;
            if !seen.insert(symbol) {
                return Err(place.error(format!("the enum {} has the symbol {symbol} twice", name.full)));
            }
            symbols.push(symbol.clone());
        }
        let default = json.get("default").and_then(Value::as_str).map(str::to_owned);
        if let Some(default) = default.as_ref().filter(|d| !seen.contains(d)) {
            return Err(place.error(format!("the default {default:?} is no symbol of the enum {}", name.full)));
        }
        let full = name.full.clone();
        let id = self.push(Kind::Enum(Enum { name, symbols, default }), None, place)?;
        self.register(full, id, place)
    }

    fn fixed(&mut self, json: &Map<String, Value>, outer: &str, place: &Place<'_>) -> Result<NodeId, SchemaError> {
        let name = self.name(json, outer, place)?;
        let size = json.get("size").and_then(Value::as_i64).and_then(|size| i32::try_from(size).ok());
        let Some(size) = size.and_then(|size| usize::try_from(size).ok()) else {
            return Err(place.error(format!("the fixed {} has no \"size\" from 0 to {} bytes", name.full, i32::MAX)));
        };
        let full = name.full.clone();
        let kind = Kind::Fixed(Fixed { name, size });
        let logical = logical(json, &kind);
        let id = self.push(kind, logical, place)?;
        self.register(full, id, place)
    }

    /// A record without fields yet.
    fn define(&mut self, name: Name, place: &Place<'_>) -> Result<NodeId, SchemaError> {
        let full = name.full.clone();
        let id = self.push(Kind::Record(Record { name, fields: Vec::new() }), None, place)?;
        self.register(full, id, place)
    }

    fn register(&mut self, full: String, id: NodeId, place: &Place<'_>) -> Result<NodeId, SchemaError> {
        match self.names.entry(full) {
            std::collections::hash_map::Entry::Vacant(entry) => Ok(*entry.insert(id)),
            std::collections::hash_map::Entry::Occupied(entry) => {
                Err(place.error(format!("the name {} is defined twice", entry.key())))
            }
        }
    }

    fn name(&self, json: &Map<String, Value>, outer: &str, place: &Place<'_>) -> Result<Name, SchemaError> {
        let Some(name) = json.get("name").and_then(Value::as_str) else {
            return Err(place.error("a record, enum or fixed without a \"name\""));
        };
        let namespace = json.get("namespace").and_then(Value::as_str).unwrap_or(outer);
        let full = qualified(name, namespace);
        for part in full.split('.') {
            check_name(part, place)?;
        }
        if primitive(&full).is_some() {
            return Err(place.error(format!("{full} is Avro's own name, no other type may have it")));
        }
        let own = namespace_of(&full);
        let aliases = strings(json, "aliases").iter().map(|alias| qualified(alias, own)).collect();
        Ok(Name { full, aliases })
    }

    /// Ties names to their definitions and checks what needs them all.
    fn finish(mut self, mut root: NodeId) -> Result<Graph, SchemaError> {
        let mut defined = HashMap::new();
        for Pending { node, candidates, place } in &self.pending {
            let Some(target) = candidates.iter().find_map(|name| self.names.get(name)) else {
                return Err(SchemaError::new(place, format!("{} is no Avro type and is not defined", candidates[1])));
            };
            defined.insert(*node, *target);
        }
        let tie = |id: &mut NodeId| *id = *defined.get(id).unwrap_or(id);
        tie(&mut root);
        for node in &mut self.nodes {
            match &mut node.kind {
                Kind::Record(record) => record.fields.iter_mut().for_each(|field| tie(&mut field.node)),
                Kind::Array(item) | Kind::Map(item) => tie(item),
                Kind::Union(members) => members.iter_mut().for_each(tie),
                _ => {}
            }
        }
        let graph = Graph { nodes: self.nodes, root };
        for (id, place) in &self.unions {
            check_union(&graph, *id, place)?;
        }
        Ok(graph)
    }
}

fn check_union(graph: &Graph, id: NodeId, place: &str) -> Result<(), SchemaError> {
    let Kind::Union(members) = &graph.node(id).kind else { return Ok(()) };
    let mut seen = HashSet::new();
    for member in members {
        let kind = &graph.node(*member).kind;
        if matches!(kind, Kind::Union(_)) {
            return Err(SchemaError::new(place, "a union directly inside of a union"));
        }
        let name = kind.named().map_or(kind.name(), |name| &name.full);
        if !seen.insert(name) {
            return Err(SchemaError::new(place, format!("a union with {name} twice")));
        }
    }
    Ok(())
}

fn primitive(name: &str) -> Option<Kind> {
    Some(match name {
        "null" => Kind::Null,
        "boolean" => Kind::Boolean,
        "int" => Kind::Int,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "bytes" => Kind::Bytes,
        "string" => Kind::String,
        _ => return None,
    })
}

fn logical(json: &Map<String, Value>, kind: &Kind) -> Option<Logical> {
    let name = json.get("logicalType")?.as_str()?;
    Some(match (name, kind) {
        ("decimal", Kind::Bytes | Kind::Fixed(_)) => return decimal(json, kind),
        ("date", Kind::Int) => Logical::Date,
        ("time-millis", Kind::Int) => Logical::Time(TimeUnit::Millisecond),
        ("time-micros", Kind::Long) => Logical::Time(TimeUnit::Microsecond),
        ("timestamp-millis", Kind::Long) => Logical::Timestamp(TimeUnit::Millisecond),
        ("timestamp-micros", Kind::Long) => Logical::Timestamp(TimeUnit::Microsecond),
        ("timestamp-nanos", Kind::Long) => Logical::Timestamp(TimeUnit::Nanosecond),
        ("local-timestamp-millis", Kind::Long) => Logical::LocalTimestamp(TimeUnit::Millisecond),
        ("local-timestamp-micros", Kind::Long) => Logical::LocalTimestamp(TimeUnit::Microsecond),
        ("local-timestamp-nanos", Kind::Long) => Logical::LocalTimestamp(TimeUnit::Nanosecond),
        _ => return None,
    })
}

/// A decimal whose precision or scale is wrong, or does not fit its fixed, is no decimal but the type beneath.
fn decimal(json: &Map<String, Value>, kind: &Kind) -> Option<Logical> {
    let digits = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    let precision = digits(json.get("precision")?)?;
    let scale = json.get("scale").map_or(Some(0), digits)?;
    let fits = match kind {
        Kind::Fixed(fixed) => u64::from(precision) <= digits_of(fixed.size),
        _ => true,
    };
    (precision > 0 && scale <= precision && fits).then_some(Logical::Decimal { precision, scale })
}

/// Digits that any signed number of so many bytes has: ⌊log₁₀(2^(8·size − 1) − 1)⌋.
fn digits_of(size: usize) -> u64 {
    let bits = (size as u64).saturating_mul(8).saturating_sub(1);
    // log₁₀ 2 to ten digits: exact for all sizes below 10 MB
    u64::try_from(u128::from(bits) * 3_010_299_956 / 10_000_000_000).unwrap_or(u64::MAX)
}

fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn namespace_of(full: &str) -> &str {
    full.strip_suffix(unqualified(full)).and_then(|rest| rest.strip_suffix('.')).unwrap_or("")
}

/// Letters are those of any script, as in Java.
fn check_name(name: &str, place: &Place<'_>) -> Result<(), SchemaError> {
    let mut chars = name.chars();
    let starts = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_');
    if starts && chars.all(|c| c.is_alphanumeric() || c == '_') {
        return Ok(());
    }
    Err(place.error(format!("{name:?} is no Avro name: letters, digits and _, no digit first")))
}

fn strings(json: &Map<String, Value>, key: &str) -> Vec<String> {
    let list = json.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A piece of JSON for a message, cut short.
pub(crate) fn shown(json: &Value) -> String {
    let text = json.to_string();
    match text.char_indices().nth(60) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
