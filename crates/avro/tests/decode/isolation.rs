//! A bad record never costs its neighbours.

use super::mutation::mutate;
use super::random::{Dice, record};
use super::rows::{one_field, program, reader, rows};
use k2_avro::{Decoder, Problem, Schema, explain};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// The good rows are the same, byte for byte, with and without the bad ones among them.
    #[test]
    fn bad_records_leave_no_trace(seed: u64, depth in 0..4usize) {
        let mut dice = Dice(seed);
        let ty = record(&mut dice, depth);
        let text = ty.schema("r");
        let reader = reader(&text);
        let program = program(&text, &reader);
        let (mut mixed, mut clean) = (Decoder::new(&reader), Decoder::new(&reader));
        // twice: a finished decoder starts anew
        for _ in 0..2 {
            for _ in 0..dice.below(40) {
                let mut body = Vec::new();
                ty.encode(&ty.value(&mut dice), &mut dice, &mut body);
                if dice.one_in(2) {
                    mutate(&mut body, &mut dice);
                }
                let before = mixed.len();
                let good = mixed.decode(&program, &body).is_ok();
                prop_assert_eq!(mixed.len(), before + usize::from(good));
                if good {
                    clean.decode(&program, &body).unwrap();
                }
            }
            prop_assert_eq!(mixed.finish().unwrap(), clean.finish().unwrap(), "{}", text);
            prop_assert!(mixed.is_empty());
        }
    }
}

/// Several writers into one batch, in any order.
#[test]
fn writers_mix_in_one_batch() {
    let reader = reader(
        r#"{"type": "record", "name": "R", "fields": [
            {"name": "id", "type": "long"}, {"name": "note", "type": ["null", "string"], "default": null}]}"#,
    );
    let old = program(r#"{"type": "record", "name": "R", "fields": [{"name": "id", "type": "int"}]}"#, &reader);
    let new = program(
        r#"{"type": "record", "name": "S", "fields": [{"name": "note", "type": "string"}, {"name": "id", "type": "long"}]}"#,
        &reader,
    );
    let mut decoder = Decoder::new(&reader);
    decoder.decode(&old, &[2]).unwrap();
    decoder.decode(&new, b"\x02x\x04").unwrap();
    decoder.decode(&new, b"\x02x").unwrap_err();
    decoder.decode(&old, &[6]).unwrap();
    let batch = decoder.finish().unwrap();
    let shown: Vec<_> = rows(&batch).iter().map(|row| format!("{row:?}")).collect();
    assert_eq!(shown.len(), 3);
    assert!(shown[0].contains("Whole(1)") && shown[0].contains("Null"), "{}", shown[0]);
    assert!(shown[1].contains("Whole(2)") && shown[1].contains("Text(\"x\")"), "{}", shown[1]);
    assert!(shown[2].contains("Whole(3)") && shown[2].contains("Null"), "{}", shown[2]);
}

#[test]
fn a_program_of_another_reader_is_refused() {
    let (one, other) = (reader(&one_field("\"int\"")), reader(&one_field("\"int\"")));
    let error = Decoder::new(&one).decode(&program(&one_field("\"int\""), &other), &[2]).unwrap_err();
    assert_eq!(error.problem, Problem::OtherReader);
}

/// What a refused record made the columns grow by is given back.
#[test]
fn memory_of_refused_records_is_given_back() {
    let ty = r#"{"type": "array", "items": {"type": "record", "name": "I", "fields": [
        {"name": "a", "type": "boolean"}, {"name": "b", "type": ["null", "string"]}]}}"#;
    let reader = reader(&one_field(ty));
    let program = program(&one_field(ty), &reader);
    let mut decoder = Decoder::new(&reader);
    // a million items of two bytes each, the last one wrong
    let mut body = vec![0; 2 << 20];
    let mut head = Vec::new();
    super::random::long(1_000_000, &mut head);
    body.splice(..0, head);
    for _ in 0..3 {
        decoder.decode(&program, &body).unwrap_err();
        assert!(decoder.memory() < 256 << 10, "{} bytes", decoder.memory());
    }
    assert!(explain(&Schema::parse(&one_field(ty)).unwrap(), &body).failure.is_some());
}

/// Programs are shared by pipelines, decoders move between threads.
#[test]
fn all_may_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Schema>();
    crosses::<k2_avro::Reader>();
    crosses::<k2_avro::Program>();
    crosses::<Decoder>();
}
