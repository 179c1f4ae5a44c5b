//! Good bodies with some bytes wrong: our verdict against apache-avro's, and against `explain`.

use super::random::{Dice, Ty, comparable, record};
use super::rows::{decode_with, program, reader};
use k2_avro::{Problem, Schema, explain};
use proptest::prelude::*;

pub(crate) fn mutate(body: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..1 + dice.below(3) {
        let at = dice.below(body.len() + 1);
        let byte = match dice.below(4) {
            0 => 0xff,
            1 => 0x80,
            2 => u8::try_from(dice.below(8)).unwrap(),
            _ => u8::try_from(dice.below(256)).unwrap(),
        };
        match dice.below(4) {
            0 => body.insert(at, byte),
            1 => body.truncate(at),
            2 if at < body.len() => drop(body.remove(at)),
            _ if at < body.len() => body[at] = byte,
            _ => {}
        }
    }
}

/// What apache-avro refuses too. It takes 65-bit varints, bytes behind the end, wrong block sizes; a missing boolean,
/// string or branch it takes for null; and it has no limit of depth or items.
fn refused_by_all(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::VarintTooLong { .. }
            | Problem::IntOutOfRange { .. }
            | Problem::NotABoolean { .. }
            | Problem::NegativeLength { .. }
            | Problem::NotUtf8 { .. }
            | Problem::NoSuchBranch { .. }
            | Problem::NoSuchSymbol { .. }
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn verdicts_agree(seed: u64, depth in 0..4usize) {
        let mut dice = Dice(seed);
        let ty = record(&mut dice, depth);
        let mut body = Vec::new();
        ty.encode(&ty.value(&mut dice), &mut dice, &mut body);
        mutate(&mut body, &mut dice);
        verdict(&ty, &body)?;
    }

    /// Bytes that never were a record.
    #[test]
    fn noise(seed: u64, body: Vec<u8>) {
        verdict(&record(&mut Dice(seed), 2), &body)?;
    }

    /// The beginning of a record is none.
    #[test]
    fn cut_at_every_byte(seed: u64, depth in 0..3usize) {
        let mut dice = Dice(seed);
        let ty = record(&mut dice, depth);
        let mut body = Vec::new();
        ty.encode(&ty.value(&mut dice), &mut dice, &mut body);
        let text = ty.schema("r");
        let reader = reader(&text);
        let program = program(&text, &reader);
        let schema = Schema::parse(&text).unwrap();
        // of the long ones the ends of some hundred beginnings
        for cut in (0..body.len()).step_by(1 + body.len() / 200) {
            let error = decode_with(&program, &reader, &body[..cut]).expect_err("half a record");
            prop_assert!(error.position <= cut, "{} of {}", error, cut);
            let explained = explain(&schema, &body[..cut]);
            prop_assert_eq!(Some(error), explained.failure);
        }
    }
}

fn verdict(ty: &Ty, body: &[u8]) -> Result<(), TestCaseError> {
    let text = ty.schema("r");
    let schema = Schema::parse(&text).unwrap();
    let reader = reader(&text);
    let program = program(&text, &reader);
    let theirs = apache_avro::Schema::parse_str(&text).unwrap();
    let ask = || apache_avro::from_avro_datum(&theirs, &mut &body[..], None);
    let explained = explain(&schema, body).failure;
    match decode_with(&program, &reader, body) {
        Ok(row) => {
            prop_assert_eq!(explained, None);
            let value = ask();
            prop_assert!(value.is_ok(), "{} {:?} {:?}", text, body, value);
            prop_assert_eq!(comparable(dedup(row)), ty.cell(&value.unwrap()), "{} {:?}", text, body);
        }
        Err(error) => {
            prop_assert!(error.position <= body.len());
            match &error.problem {
                // what the wire allows and a decimal column does not
                Problem::DecimalOverflow { .. } | Problem::EmptyDecimal => {}
                problem => {
                    prop_assert_eq!(Some(&error), explained.as_ref(), "{} {:?}", text, body);
                    if refused_by_all(problem) {
                        prop_assert!(ask().is_err(), "{} {:?} {}", text, body, error);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Of entries with one key apache-avro keeps the last.
fn dedup(cell: super::rows::Cell) -> super::rows::Cell {
    use super::rows::Cell;
    match cell {
        Cell::Row(fields) => Cell::Row(fields.into_iter().map(|(name, cell)| (name, dedup(cell))).collect()),
        Cell::List(items) => Cell::List(items.into_iter().map(dedup).collect()),
        Cell::Map(entries) => {
            let mut last = std::collections::BTreeMap::new();
            last.extend(entries.into_iter().map(|(key, cell)| (key, dedup(cell))));
            Cell::Map(last.into_iter().collect())
        }
        other => other,
    }
}
