//! Schemas that refer to named types of other schemas: fetches those, and writes the types in where they are used first.
//!
//! The outcome is one text that needs nothing else. A schema that is wrong in this - too many references, one that is no
//! Avro - is wrong for good: it is no Avro record. A reference that cannot be fetched now says nothing.

use super::answer::{Answer, Reference};
use super::http::{Client, LARGEST, Server};
use super::trouble::Trouble;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// The most schemas that one may refer to, directly or not.
const MOST: usize = 64;

/// How deep types may be nested, with the other schemas written in.
const DEEPEST: usize = 100;

/// The texts of all schemas that are referred to, directly or not; or why this schema can never be read.
pub(super) async fn gather(
    client: &Client,
    server: &Server,
    first: Vec<Reference>,
) -> Result<Result<Vec<String>, String>, Trouble> {
    let mut seen: HashSet<Reference> = first.iter().cloned().collect();
    let mut wanted = first;
    let mut texts = Vec::new();
    let mut bytes = 0;
    while let Some(next) = wanted.pop() {
        let name = format!("version {} of {:?}", next.version, next.subject);
        if seen.len() > MOST {
            return Ok(Err(format!("it refers to more than {MOST} other schemas")));
        }
        match client.reference(server, &next).await? {
            Answer::Avro { text, references } => {
                bytes += text.len();
                if bytes > LARGEST {
                    return Ok(Err(format!("the schemas that it refers to are larger than {} MiB", LARGEST >> 20)));
                }
                texts.push(text);
                wanted.extend(references.into_iter().filter(|r| seen.insert(r.clone())));
            }
            Answer::OtherKind(kind) => return Ok(Err(format!("it refers to {name}, which is of the kind {kind}"))),
            Answer::Unknown => return Ok(Err(format!("it refers to {name}, which does not exist"))),
        }
    }
    Ok(Ok(texts))
}

/// The schema with the definitions of the others where it needs them.
pub(super) fn splice(text: &str, others: &[String]) -> Result<String, String> {
    let parse = |text: &str| serde_json::from_str::<Value>(text);
    let mut definitions = HashMap::new();
    for other in others {
        let other = parse(other).map_err(|e| format!("a schema that it refers to is broken: {e}"))?;
        collect(&other, "", &mut definitions);
    }
    let whole = parse(text).map_err(|e| format!("its text is no Avro schema: {e}"))?;
    let mut splice = Splice { definitions, written: HashSet::new() };
    splice.write(&whole, "", 0).map(|whole| whole.to_string())
}

/// A definition, and the namespace that it stands in.
type Definitions = HashMap<String, (Value, String)>;

fn collect(schema: &Value, within: &str, into: &mut Definitions) {
    match schema {
        Value::Array(branches) => branches.iter().for_each(|branch| collect(branch, within, into)),
        Value::Object(object) => match object.get("type").and_then(Value::as_str) {
            Some("record" | "error" | "enum" | "fixed") => {
                let Some(name) = Name::of(object, within) else { return };
                into.entry(name.full()).or_insert_with(|| (schema.clone(), within.to_owned()));
                let fields = object.get("fields").and_then(Value::as_array);
                fields.into_iter().flatten().filter_map(|f| f.get("type")).for_each(|t| collect(t, &name.space, into));
            }
            Some("array") => object.get("items").into_iter().for_each(|items| collect(items, within, into)),
            Some("map") => object.get("values").into_iter().for_each(|values| collect(values, within, into)),
            Some(_) => {}
            None => object.get("type").into_iter().for_each(|t| collect(t, within, into)),
        },
        _ => {}
    }
}

/// The name of a definition.
struct Name {
    space: String,
    short: String,
}

impl Name {
    fn of(object: &Map<String, Value>, within: &str) -> Option<Self> {
        let name = object.get("name")?.as_str()?;
        let (space, short) = match (name.rsplit_once('.'), object.get("namespace").and_then(Value::as_str)) {
            (Some((space, short)), _) => (space, short),
            (None, Some(space)) => (space, name),
            (None, None) => (within, name),
        };
        Some(Self { space: space.to_owned(), short: short.to_owned() })
    }

    fn full(&self) -> String {
        if self.space.is_empty() { self.short.clone() } else { format!("{}.{}", self.space, self.short) }
    }
}

/// Writes a schema anew, in the order in which a parser reads it.
struct Splice {
    definitions: Definitions,
    /// What has been defined so far.
    written: HashSet<String>,
}

impl Splice {
    fn write(&mut self, schema: &Value, within: &str, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!("with the schemas that it refers to, it is nested deeper than {DEEPEST}"));
        }
        match schema {
            Value::String(name) => self.write_name(name, within, depth),
            Value::Array(branches) => branches.iter().map(|b| self.write(b, within, depth + 1)).collect(),
            Value::Object(object) => self.write_object(object, within, depth),
            _ => Ok(schema.clone()),
        }
    }

    /// A name: its definition, where that belongs to another schema and has not been written yet.
    fn write_name(&mut self, name: &str, within: &str, depth: usize) -> Result<Value, String> {
        let known = |name: &String| self.written.contains(name) || self.definitions.contains_key(name);
        let near = Some(format!("{within}.{name}")).filter(|_| !within.is_empty() && !name.contains('.'));
        // a name without a namespace is looked for in the one around it first
        let Some(full) = near.into_iter().chain([name.to_owned()]).find(known) else { return Ok(name.into()) };
        match self.definitions.get(&full).filter(|_| !self.written.contains(&full)) {
            Some((definition, space)) => {
                let (definition, space) = (definition.clone(), space.clone());
                self.write(&definition, &space, depth + 1)
            }
            None => Ok(full.into()),
        }
    }

    fn write_object(&mut self, object: &Map<String, Value>, within: &str, depth: usize) -> Result<Value, String> {
        let mut written = object.clone();
        match object.get("type") {
            Some(Value::String(kind)) => match kind.as_str() {
                "record" | "error" | "enum" | "fixed" => return self.write_definition(object, within, depth),
                "array" => self.write_member(&mut written, "items", within, depth)?,
                "map" => self.write_member(&mut written, "values", within, depth)?,
                // {"type": "a.Name"}: a definition takes the place of the whole object
                name => {
                    let new = self.write_name(name, within, depth)?;
                    if new.is_object() {
                        return Ok(new);
                    }
                    written.insert("type".into(), new);
                }
            },
            Some(_) => self.write_member(&mut written, "type", within, depth)?,
            None => {}
        }
        Ok(Value::Object(written))
    }

    fn write_definition(&mut self, object: &Map<String, Value>, within: &str, depth: usize) -> Result<Value, String> {
        let Some(name) = Name::of(object, within) else { return Ok(Value::Object(object.clone())) };
        let full = name.full();
        if !self.written.insert(full.clone()) && self.definitions.contains_key(&full) {
            return Ok(full.into());
        }
        let mut written = object.clone();
        // it may have come from elsewhere: its namespace must not be the one around it
        written.insert("name".into(), name.short.into());
        written.insert("namespace".into(), name.space.clone().into());
        if let Some(Value::Array(fields)) = written.get_mut("fields") {
            for field in fields {
                if let Value::Object(field) = field {
                    self.write_member(field, "type", &name.space, depth)?;
                }
            }
        }
        Ok(Value::Object(written))
    }

    fn write_member(
        &mut self,
        object: &mut Map<String, Value>,
        member: &str,
        within: &str,
        depth: usize,
    ) -> Result<(), String> {
        if let Some(schema) = object.get_mut(member) {
            let new = self.write(schema, within, depth + 1)?;
            *schema = new;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "references/tests.rs"]
mod tests;
