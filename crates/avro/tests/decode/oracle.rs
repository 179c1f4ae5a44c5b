//! apache-avro as the oracle: random schemas, values written by it, read by both.

use super::random::{Dice, Field, Ty, comparable, record};
use super::rows::{decode_with, program, reader};
use apache_avro::types::Value;
use k2_avro::{Program, Schema, explain};
use proptest::prelude::*;

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    /// What apache-avro writes we read, and so we do if it comes in other blocks.
    #[test]
    fn what_is_written_is_read(seed: u64, depth in 0..4usize) {
        let mut dice = Dice(seed);
        let ty = record(&mut dice, depth);
        let value = ty.value(&mut dice);
        let text = ty.schema("r");
        let theirs = apache_avro::Schema::parse_str(&text).unwrap();
        let expected = ty.cell(&value);

        let body = apache_avro::to_avro_datum(&theirs, value.clone()).unwrap();
        let mut in_blocks = Vec::new();
        ty.encode(&value, &mut dice, &mut in_blocks);

        let reader = reader(&text);
        let program = program(&text, &reader);
        for body in [body, in_blocks] {
            match decode_with(&program, &reader, &body) {
                Ok(row) => prop_assert_eq!(comparable(row), expected.clone(), "{}", text),
                // items of no bytes are ours to refuse
                Err(error) => prop_assert!(error.to_string().contains("one byte each"), "{} {}", text, error),
            }
        }
    }

    /// Reordered, dropped, added, promoted, wrapped in a union: resolved as apache-avro resolves it.
    #[test]
    fn what_is_written_is_resolved(seed: u64, depth in 0..4usize) {
        let mut dice = Dice(seed);
        let written = record(&mut dice, depth);
        let wanted = evolved(&written, &mut dice);
        let value = written.value(&mut dice);
        let (from, to) = (written.schema("r"), wanted.schema("r"));
        let theirs = apache_avro::Schema::parse_str(&to).unwrap();
        let mut resolved = value.clone().resolve(&theirs);
        if resolved.is_err() && !written.chooses() {
            // apache-avro promotes no logical type; by the letter it is the type beneath that is promoted
            resolved = beneath(&value).resolve(&theirs);
        }

        let mut body = Vec::new();
        written.encode(&value, &mut dice, &mut body);
        let reader = reader(&to);
        let program = Program::compile(&Schema::parse(&from).unwrap(), &reader);
        // no value of a type could resolve: apache-avro looks at values only and may find none to complain of
        prop_assume!(program.is_ok());
        match (decode_with(&program.unwrap(), &reader, &body), resolved) {
            (Ok(row), Ok(resolved)) => {
                prop_assert_eq!(comparable(row), comparable(wanted.cell(&resolved)), "{}\n{}", from, to);
            }
            (Err(_), Err(_)) => {}
            (Err(error), Ok(_)) => {
                prop_assert!(stricter(&error.to_string()), "{}\n{}\n{}", from, to, error);
            }
            // there the type beneath might choose another branch
            (Ok(_), Err(_)) if written.chooses() => {}
            (Ok(row), Err(error)) => prop_assert!(false, "{}\n{}\n{:?}\n{}", from, to, row, error),
        }
    }

    /// A good body is explained to its end, and each byte of it belongs to one value, to a length or to a block.
    #[test]
    fn what_is_good_is_explained(seed: u64, depth in 0..4usize) {
        let mut dice = Dice(seed);
        let ty = record(&mut dice, depth);
        let mut body = Vec::new();
        ty.encode(&ty.value(&mut dice), &mut dice, &mut body);
        let explanation = explain(&Schema::parse(&ty.schema("r")).unwrap(), &body);
        if let Some(failure) = explanation.failure {
            prop_assert!(failure.to_string().contains("one byte each"), "{}", failure);
            return Ok(());
        }
        let mut end = 0;
        for value in &explanation.values {
            prop_assert!(value.bytes.start >= end && value.bytes.end <= body.len(), "{:?}", value);
            end = value.bytes.end;
        }
    }
}

/// Whether what we refuse and apache-avro reads is ours to refuse: too many items of no bytes; two logical types that
/// are not the same; two types of which neither is the other nor promoted to it (apache-avro narrows, in search of a
/// branch too, and makes bytes of what it can).
fn stricter(error: &str) -> bool {
    const MEET: [(&str, &str); 8] = [
        ("int", "long"),
        ("int", "float"),
        ("int", "double"),
        ("long", "float"),
        ("long", "double"),
        ("float", "double"),
        ("string", "bytes"),
        ("bytes", "string"),
    ];
    if error.contains("one byte each") || error.contains("resolves to no branch") {
        return true;
    }
    let Some((_, types)) = error.split_once("the writer's ") else { return false };
    let Some((from, to)) = types.split_once(" does not resolve to the reader's ") else { return false };
    let first = |text: &str| text.trim_start_matches("nullable ").split(' ').next().unwrap().to_owned();
    let (writer, reader) = (first(from), first(to));
    from.contains('(') && to.contains('(') || writer != reader && !MEET.contains(&(&writer, &reader))
}

/// A value without the meaning that logical types give it.
fn beneath(value: &Value) -> Value {
    match value {
        Value::Date(n) | Value::TimeMillis(n) => Value::Int(*n),
        Value::TimeMicros(n) | Value::TimestampMillis(n) | Value::TimestampMicros(n) => Value::Long(*n),
        Value::TimestampNanos(n) | Value::LocalTimestampMicros(n) => Value::Long(*n),
        Value::Union(branch, value) => Value::Union(*branch, Box::new(beneath(value))),
        Value::Array(items) => Value::Array(items.iter().map(beneath).collect()),
        Value::Map(entries) => Value::Map(entries.iter().map(|(key, value)| (key.clone(), beneath(value))).collect()),
        Value::Record(fields) => {
            Value::Record(fields.iter().map(|(name, value)| (name.clone(), beneath(value))).collect())
        }
        other => other.clone(),
    }
}

/// A reader that might read a record.
fn evolved(record: &Ty, dice: &mut Dice) -> Ty {
    match record {
        Ty::Record(fields) => evolve_record(fields, dice),
        other => other.clone(),
    }
}

fn evolve(ty: &Ty, dice: &mut Dice) -> Ty {
    let pick = |dice: &mut Dice, types: &[Ty]| types[dice.below(types.len())].clone();
    let wanted = match ty {
        Ty::Int => pick(dice, &[Ty::Int, Ty::Long, Ty::Float, Ty::Double]),
        Ty::Long => pick(dice, &[Ty::Long, Ty::Float, Ty::Double]),
        Ty::Float => pick(dice, &[Ty::Float, Ty::Double]),
        Ty::String | Ty::Bytes => pick(dice, &[Ty::String, Ty::Bytes]),
        Ty::Enum(symbols, _) => {
            let mut symbols = symbols.clone();
            symbols.push("New".to_owned());
            if dice.one_in(2) {
                symbols.remove(0);
            }
            let default = dice.one_in(2).then(|| "New".to_owned());
            Ty::Enum(symbols, default)
        }
        Ty::Array(item) => Ty::Array(Box::new(evolve(item, dice))),
        Ty::Map(of) => Ty::Map(Box::new(evolve(of, dice))),
        Ty::Record(fields) => evolve_record(fields, dice),
        Ty::Union(members) => {
            let mut members = members.clone();
            let at = dice.below(members.len());
            match dice.below(4) {
                0 if members.len() > 1 => drop(members.remove(at)),
                1 => members.rotate_left(at),
                2 => return members[at].clone(),
                _ => {}
            }
            return Ty::Union(members);
        }
        other => other.clone(),
    };
    match (dice.below(4), &wanted) {
        (_, Ty::Null | Ty::Union(_)) => wanted,
        (0, _) => Ty::Union(vec![Ty::Null, wanted]),
        (1, _) if wanted == *ty => Ty::Union(vec![wanted, Ty::Null]),
        _ => wanted,
    }
}

fn evolve_record(fields: &[Field], dice: &mut Dice) -> Ty {
    let added = [
        (Ty::Int, "-7"),
        (Ty::String, "\"a default\""),
        (Ty::Double, "1.5"),
        (Ty::Boolean, "true"),
        (Ty::Union(vec![Ty::Null, Ty::Long]), "null"),
        (Ty::Array(Box::new(Ty::Long)), "[1, 2, 3]"),
        (Ty::Map(Box::new(Ty::String)), "{\"k\": \"v\"}"),
        (
            Ty::Record(vec![
                Field { name: "a".to_owned(), ty: Ty::Long, default: None },
                Field { name: "b".to_owned(), ty: Ty::String, default: Some("\"inner\"") },
            ]),
            "{\"a\": 5}",
        ),
    ];
    let mut wanted: Vec<Field> = Vec::new();
    for field in fields {
        if !dice.one_in(4) {
            let ty = evolve(&field.ty, dice);
            let at = dice.below(wanted.len() + 1);
            wanted.insert(at, Field { name: field.name.clone(), ty, default: None });
        }
        if dice.one_in(3) {
            let (ty, default) = added[dice.below(added.len())].clone();
            let at = dice.below(wanted.len() + 1);
            wanted.insert(at, Field { name: format!("new_{}", field.name), ty, default: Some(default) });
        }
    }
    Ty::Record(wanted)
}

/// The values that the tests compare do not all hide in what both refuse.
#[test]
fn most_random_pairs_resolve() {
    let (mut resolved, mut rows) = (0, 0);
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let written = record(&mut dice, 2);
        let wanted = evolved(&written, &mut dice);
        let value = written.value(&mut dice);
        let reader = reader(&wanted.schema("r"));
        let Ok(program) = Program::compile(&Schema::parse(&written.schema("r")).unwrap(), &reader) else { continue };
        resolved += 1;
        let mut body = Vec::new();
        written.encode(&value, &mut dice, &mut body);
        rows += usize::from(decode_with(&program, &reader, &body).is_ok());
        assert!(matches!(value, Value::Record(_)));
    }
    assert!(resolved > 300 && rows > 200, "{resolved} of 400 pairs, {rows} rows");
}
