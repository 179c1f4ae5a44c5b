//! Coverage-guided fuzzing of the decoder: `make fuzz`.
//!
//! The first byte of an input chooses what it is: a schema's text, a body for one of a few known pairs of schemas, or
//! a pair that is derived from the bytes that follow and a body for it. Whatever it is,
//!
//! 1. nothing panics, overflows or hangs, and memory stays within the input's size times a constant;
//! 2. a body becomes one row or none, and what was decoded before and after it is the same as without it;
//! 3. `explain` and the decoder agree on what is wrong, and where.

#![no_main]

mod derive;

use k2_avro::{DecodeError, Decoder, Problem, Program, Reader, Schema, explain};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// A writer and a reader, and the writer as its own reader where it has an Arrow form.
struct Pair {
    writer: Schema,
    evolved: Option<(Reader, Program)>,
    own: Option<(Reader, Program)>,
}

impl Pair {
    fn new(writer: &str, reader: &str) -> Option<Self> {
        let writer = Schema::parse(writer).ok()?;
        let compiled = |schema: &Schema| {
            let reader = Reader::new(schema).ok()?;
            let program = Program::compile(&writer, &reader).ok()?;
            Some((reader, program))
        };
        let evolved = Schema::parse(reader).ok().as_ref().and_then(compiled);
        let own = compiled(&writer);
        Some(Self { writer, evolved, own })
    }
}

static KNOWN: LazyLock<Vec<Pair>> = LazyLock::new(|| {
    let pairs = [
        (
            include_str!("../../../../config/schemas/1-binance_raw_trade.avsc"),
            include_str!("../../../../config/schemas/binance_raw_trade.avsc"),
        ),
        (
            include_str!("../../../../config/schemas/2-kraken_raw_trade.avsc"),
            include_str!("../../../../config/schemas/kraken_raw_trade.avsc"),
        ),
        (include_str!("../schemas/nested.avsc"), include_str!("../schemas/nested_reader.avsc")),
        (include_str!("../schemas/recursive.avsc"), include_str!("../schemas/recursive_reader.avsc")),
    ];
    pairs.iter().map(|(writer, reader)| Pair::new(writer, reader).expect("a known schema")).collect()
});

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    match usize::from(choice) {
        0 => text(rest),
        known if known <= KNOWN.len() => body(&KNOWN[known - 1], rest),
        _ => {
            let mut bytes = rest;
            let (writer, reader) = derive::pair(&mut bytes);
            let pair = Pair::new(&writer, &reader).unwrap_or_else(|| panic!("no schema: {writer}"));
            body(&pair, bytes);
        }
    }
});

/// A schema of any text, then an empty body for it.
fn text(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Some(pair) = Pair::new(text, text) {
        body(&pair, &[]);
    }
}

fn body(pair: &Pair, body: &[u8]) {
    let explanation = explain(&pair.writer, body);
    for value in &explanation.values {
        assert!(value.bytes.start <= value.bytes.end && value.bytes.end <= body.len());
    }
    if let Some((reader, program)) = &pair.evolved {
        let outcome = decode(reader, program, body);
        // resolution only adds to what may be wrong
        assert!(explanation.failure.is_none() || outcome.is_err());
    }
    if let Some((reader, program)) = &pair.own {
        match decode(reader, program, body) {
            Ok(()) => assert_eq!(explanation.failure, None),
            // what the wire allows and a column does not
            Err(DecodeError {
                problem: Problem::DecimalOverflow { .. } | Problem::EmptyDecimal | Problem::TooLarge { .. },
                ..
            }) => {}
            Err(error) => assert_eq!(Some(error), explanation.failure),
        }
    }
}

/// Decodes a body alone, then among others; the rows are the same.
fn decode(reader: &Reader, program: &Program, body: &[u8]) -> Result<(), DecodeError> {
    let (mut alone, mut among) = (Decoder::new(reader), Decoder::new(reader));
    let outcome = alone.decode(program, body);
    assert_eq!(alone.len(), usize::from(outcome.is_ok()));
    if let Err(error) = &outcome {
        assert!(error.position <= body.len(), "{error}");
        assert!(!error.to_string().is_empty());
        assert!(alone.memory() <= 64 << 10, "{} bytes are held by nothing", alone.memory());
    }
    assert!(alone.memory() <= (16 << 20) + 256 * body.len(), "{} bytes of {}", alone.memory(), body.len());

    // others in between: its beginning; one that takes other branches, as far as it comes
    let half = &body[..body.len() / 2];
    let other: Vec<u8> = body.iter().map(|byte| byte ^ 2).collect();
    for part in [body, half, body, &other, body] {
        let before = among.len();
        let good = among.decode(program, part).is_ok();
        assert_eq!(among.len(), before + usize::from(good));
    }
    let (alone, among) = (alone.finish().expect("columns"), among.finish().expect("columns"));
    if outcome.is_ok() {
        assert_eq!(alone, among.slice(0, 1));
        assert_eq!(alone, among.slice(among.num_rows() - 1, 1));
    }
    outcome
}
