//! Bodies that mean harm: each is refused with its exact cause, and costs no more than its size.

use super::random::long;
use super::rows::{decode_with, one_field, program, reader, value};
use k2_avro::{Decoder, Problem, Reader, Schema, explain};

/// A number, then bytes.
fn n(value: i64, rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    long(value, &mut body);
    body.extend(rest);
    body
}

#[test]
fn each_with_its_exact_cause() {
    let list = r#"{"type": "array", "items": "null"}"#;
    let texts = r#"{"type": "array", "items": "string"}"#;
    let map = r#"{"type": "map", "values": "long"}"#;
    let empty = r#"{"type": "array", "items": {"type": "record", "name": "E", "fields": []}}"#;
    let enumeration = r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("\"boolean\"", vec![], "byte 0, field v: a boolean takes at least 1 byte, 0 left"),
        ("\"boolean\"", vec![2], "byte 0, field v: a boolean is the byte 0x02, neither 0 nor 1"),
        ("\"boolean\"", vec![1, 0], "byte 1: 1 byte after the end of the record"),
        ("\"int\"", vec![0x80; 11], "byte 0, field v: an int goes on after 10 bytes, the most that a varint may take"),
        ("\"int\"", n(1 << 40, &[]), "byte 0, field v: an int of 1099511627776 is beyond 32 bits"),
        ("\"long\"", [vec![0xff; 9], vec![0x7f]].concat(), "byte 0, field v: a long has more than 64 bits"),
        ("\"long\"", vec![0x80, 0x80], "byte 0, field v: a long takes at least 3 bytes, 2 left"),
        ("\"float\"", vec![0; 3], "byte 0, field v: a float takes at least 4 bytes, 3 left"),
        ("\"double\"", vec![0; 9], "byte 8: 1 byte after the end of the record"),
        ("\"string\"", n(-5, b"hello"), "byte 0, field v: a string has the negative length -5"),
        ("\"string\"", n(i64::MAX, b""), "byte 0, field v: a string of 9223372036854775807 bytes is announced, 0 left"),
        ("\"string\"", n(i64::MIN, b""), "byte 0, field v: a string has the negative length -9223372036854775808"),
        ("\"string\"", n(3, b"a\xffb"), "byte 2, field v: a string is not UTF-8, from the byte 0xff on"),
        ("\"bytes\"", n(6, b"hello"), "byte 0, field v: a bytes value of 6 bytes is announced, 5 left"),
        (enumeration, n(1, b""), "byte 0, field v: symbol 1 of an enum that has 1"),
        (enumeration, n(-1, b""), "byte 0, field v: symbol -1 of an enum that has 1"),
        ("[\"null\", \"int\"]", n(2, b""), "byte 0, field v: branch 2 of a union that has 2"),
        ("[\"null\", \"int\"]", n(i64::MIN, b""), "byte 0, field v: branch -9223372036854775808 of a union that has 2"),
        (
            list,
            n(10_000_000, &[0]),
            "byte 0, field v: a block announces 10000000 items with 1 byte left; one byte each is the limit",
        ),
        (
            empty,
            n(10_000_000, &[0]),
            "byte 0, field v: a block announces 10000000 items with 1 byte left; one byte each is the limit",
        ),
        (
            list,
            n(-10_000_000, &[0, 0]),
            "byte 0, field v: a block announces 10000000 items with 1 byte left; one byte each is the limit",
        ),
        (
            list,
            n(i64::MIN, &[0, 0]),
            "byte 0, field v: a block announces 9223372036854775808 items with 1 byte left; one byte each is the limit",
        ),
        (list, n(1, &[]), "byte 0, field v: a block announces 1 items with 0 bytes left; one byte each is the limit"),
        (texts, n(-1, &n(4, b"\x04hi\x00")), "byte 0, field v: a block announces a size of 4 bytes, it is 3"),
        (texts, n(-1, &n(2, b"\x04hi\x00")), "byte 0, field v: a block announces a size of 2 bytes, it is 3"),
        (texts, n(-1, &n(-1, b"\x04hi\x00")), "byte 0, field v: a block announces a size of -1 bytes, it is 4"),
        (
            texts,
            n(-1, &n(i64::MAX, b"\x04hi\x00")),
            "byte 0, field v: a block announces a size of 9223372036854775807 bytes, it is 4",
        ),
        (texts, n(2, b"\x04hi"), "byte 4, field v[1]: a string takes at least 1 byte, 0 left"),
        (texts, n(1, b"\x04hi"), "byte 4, field v: a block's count of items takes at least 1 byte, 0 left"),
        (map, n(1, &[2, 0xff, 0, 0]), "byte 2, field v: a map key is not UTF-8, from the byte 0xff on"),
        (map, n(1, &[2, b'k']), "byte 3, field v[\"k\"]: a long takes at least 1 byte, 0 left"),
    ];
    for (ty, body, expected) in cases {
        let error = value(ty, ty, &body).expect_err(expected);
        assert_eq!(error.to_string(), expected, "{ty} {body:?}");
        let explained = explain(&Schema::parse(&one_field(ty)).unwrap(), &body);
        assert_eq!(explained.failure, Some(error), "{ty} {body:?}");
        // a field that the reader drops is read by the same letter
        let nothing = r#"{"type": "record", "name": "R", "fields": []}"#;
        let dropped = super::rows::decode(&one_field(ty), nothing, &body).unwrap_err();
        assert_eq!(dropped.to_string(), expected, "dropped {ty} {body:?}");
    }
}

const NODE: &str = r#"{"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}"#;

/// A list of so many nodes.
fn nodes(count: usize) -> Vec<u8> {
    let mut body = vec![2; count - 1];
    body.push(0);
    body
}

#[test]
fn data_nests_64_levels_deep_and_no_deeper() {
    let nothing = reader(r#"{"type": "record", "name": "Node", "fields": []}"#);
    let program = program(NODE, &nothing);
    decode_with(&program, &nothing, &nodes(64)).unwrap();
    for count in [65, 1_000, 1_000_000] {
        let error = decode_with(&program, &nothing, &nodes(count)).unwrap_err();
        assert_eq!((error.position, &error.problem), (64, &Problem::TooDeep { limit: 64 }));
        assert_eq!(error.field.matches("next").count(), 64);
        assert_eq!(explain(&Schema::parse(NODE).unwrap(), &nodes(count)).failure, Some(error));
    }
}

#[test]
fn arrays_in_arrays_are_levels_too() {
    let schema = |levels: usize| {
        one_field(&format!("{}\"int\"{}", r#"{"type": "array", "items": "#.repeat(levels), "}".repeat(levels)))
    };
    // the record is the first level
    let fits = reader(&schema(63));
    let body = [vec![2; 63], vec![10], vec![0; 63]].concat();
    decode_with(&program(&schema(63), &fits), &fits, &body).unwrap();
    let error = Reader::new(&Schema::parse(&schema(64)).unwrap()).unwrap_err();
    assert!(error.to_string().ends_with("nested deeper than 64 levels"), "{error}");
    // as a dropped field: empty on the 64th level is fine, on the 65th not
    let nothing = reader(r#"{"type": "record", "name": "R", "fields": []}"#);
    let deep = program(&schema(64), &nothing);
    decode_with(&deep, &nothing, &[vec![2; 62], vec![0; 63]].concat()).unwrap();
    let error = decode_with(&deep, &nothing, &[vec![2; 63], vec![0; 64]].concat()).unwrap_err();
    assert_eq!(error.problem, Problem::TooDeep { limit: 64 });
}

/// A record that contains itself without a way out has no data of any length.
#[test]
fn endless_records_end() {
    let endless = r#"{"type": "record", "name": "Endless", "fields": [{"name": "again", "type": "Endless"}]}"#;
    let nothing = reader(r#"{"type": "record", "name": "R", "fields": []}"#);
    let error = decode_with(&program(endless, &nothing), &nothing, b"").unwrap_err();
    assert_eq!(error.problem, Problem::TooDeep { limit: 64 });
}

/// Sixty records, each twice in the next: 2⁶⁰ values of no bytes.
#[test]
fn values_of_no_bytes_do_not_take_forever() {
    let mut fields = vec![
        r#"{"name": "f0", "type": {"type": "record", "name": "R0", "fields": [{"name": "x", "type": "null"}]}}"#
            .to_owned(),
    ];
    for level in 1..60 {
        let below = level - 1;
        fields.push(format!(
            r#"{{"name": "f{level}", "type": {{"type": "record", "name": "R{level}", "fields": [
                {{"name": "x", "type": "R{below}"}}, {{"name": "y", "type": "R{below}"}}]}}}}"#
        ));
    }
    let writer = format!(r#"{{"type": "record", "name": "Root", "fields": [{}]}}"#, fields.join(","));
    let nothing = reader(r#"{"type": "record", "name": "R", "fields": []}"#);
    let error = decode_with(&program(&writer, &nothing), &nothing, b"").unwrap_err();
    assert_eq!(error.problem, Problem::TooLarge { limit: 4 << 20 });
    assert!(explain(&Schema::parse(&writer).unwrap(), b"").failure.is_some());
}

/// Blocks that each keep to the limit of one item for a byte, and together would be a hundred million items.
#[test]
fn many_blocks_of_nothing_are_limited_together() {
    let ty = r#"{"type": "array", "items": "null"}"#;
    let mut body = Vec::new();
    for _ in 0..20_000 {
        body.extend(n(5_000, &[]));
    }
    body.extend([0; 5_001]);
    let error = value(ty, ty, &body).unwrap_err();
    assert!(matches!(error.problem, Problem::TooLarge { .. }), "{error}");
}

/// Items of one byte that the reader's defaults make large.
#[test]
fn what_defaults_make_of_items_is_limited() {
    let items = |fields: &str| {
        one_field(&format!(r#"{{"type": "array", "items": {{"type": "record", "name": "I", "fields": [{fields}]}}}}"#))
    };
    let writer = items(r#"{"name": "a", "type": "boolean"}"#);
    let text = "x".repeat(10_000);
    let wanted = items(&format!(
        r#"{{"name": "a", "type": "boolean"}}, {{"name": "t", "type": "string", "default": "{text}"}}"#
    ));
    let reader = reader(&wanted);
    let program = program(&writer, &reader);
    let list = |count: usize| n(i64::try_from(count).unwrap(), &vec![0; count + 1]);
    decode_with(&program, &reader, &list(100)).unwrap();
    let mut decoder = Decoder::new(&reader);
    let error = decoder.decode(&program, &list(1_000_000)).unwrap_err();
    assert!(matches!(error.problem, Problem::TooLarge { .. }), "{error}");
    assert!(decoder.memory() < 64 << 10);
}

/// A path shows the beginning of a key, however long the key is.
#[test]
fn paths_stay_short() {
    let ty = r#"{"type": "map", "values": "boolean"}"#;
    let key = "k".repeat(100_000);
    let body = n(1, &n(100_000, &[key.as_bytes(), &[7, 0]].concat()));
    let error = value(ty, ty, &body).unwrap_err();
    assert_eq!(error.problem, Problem::NotABoolean { found: 7 });
    assert!(error.field.starts_with("v[\"kkkk") && error.field.len() < 100, "{}", error.field);
}
