//! The rules of schema resolution, one by one.

use super::rows::{Cell, decode, one_field, program, reader, value};
use k2_avro::{Problem, Program, Reader, Schema};

const LONG_5: &[u8] = &[10];

fn never(writer: &str, reader_schema: &str) -> String {
    let reader = reader(&one_field(reader_schema));
    let writer = Schema::parse(&one_field(writer)).unwrap();
    Program::compile(&writer, &reader).expect_err(reader_schema).to_string()
}

fn named(kind: &str, name: &str, rest: &str) -> String {
    format!(r#"{{"type": "{kind}", "name": "{name}", {rest}}}"#)
}

#[test]
fn promotions() {
    let five = |reader: &str| value("\"int\"", reader, LONG_5).unwrap();
    assert_eq!(five("\"int\""), Cell::Whole(5));
    assert_eq!(five("\"long\""), Cell::Whole(5));
    assert_eq!(five("\"float\""), Cell::Float(5f32.to_bits()));
    assert_eq!(five("\"double\""), Cell::Double(5f64.to_bits()));
    let mut large = Vec::new();
    super::random::long(i64::MAX, &mut large);
    assert_eq!(value("\"long\"", "\"float\"", &large).unwrap(), Cell::Float((i64::MAX as f32).to_bits()));
    assert_eq!(value("\"long\"", "\"double\"", &large).unwrap(), Cell::Double((i64::MAX as f64).to_bits()));
    let quarter = 0.25f32.to_le_bytes();
    assert_eq!(value("\"float\"", "\"double\"", &quarter).unwrap(), Cell::Double(0.25f64.to_bits()));
    assert_eq!(value("\"string\"", "\"bytes\"", b"\x04ab").unwrap(), Cell::Bytes(b"ab".into()));
    assert_eq!(value("\"bytes\"", "\"string\"", b"\x04ab").unwrap(), Cell::text("ab"));
    // a string is UTF-8 whatever the reader makes of it, and a string is what the reader must get
    let not_utf8 = |what| Problem::NotUtf8 { what, found: 0xff };
    assert_eq!(value("\"string\"", "\"bytes\"", b"\x02\xff").unwrap_err().problem, not_utf8("a string"));
    assert_eq!(value("\"bytes\"", "\"string\"", b"\x02\xff").unwrap_err().problem, not_utf8("a bytes value"));
    assert_eq!(value("\"bytes\"", "\"bytes\"", b"\x02\xff").unwrap(), Cell::Bytes(vec![0xff]));
}

/// An int beyond 32 bits is none, wherever it goes.
#[test]
fn promoted_ints_keep_their_limit() {
    let mut beyond = Vec::new();
    super::random::long(1 << 31, &mut beyond);
    for reader in ["\"int\"", "\"long\"", "\"float\"", "\"double\"", "[\"null\", \"long\"]"] {
        let error = value("\"int\"", reader, &beyond).unwrap_err();
        assert_eq!(error.problem, Problem::IntOutOfRange { found: 1 << 31 }, "{reader}");
    }
}

#[test]
fn what_is_not_promoted() {
    let primitives = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
    let promoted = [
        ("int", "long"),
        ("int", "float"),
        ("int", "double"),
        ("long", "float"),
        ("long", "double"),
        ("float", "double"),
        ("string", "bytes"),
        ("bytes", "string"),
    ];
    for from in primitives {
        for to in primitives {
            let reader = reader(&one_field(&format!("{to:?}")));
            let writer = Schema::parse(&one_field(&format!("{from:?}"))).unwrap();
            let resolves = from == to || promoted.contains(&(from, to));
            assert_eq!(Program::compile(&writer, &reader).is_ok(), resolves, "{from} to {to}");
        }
    }
    assert_eq!(never("\"string\"", "\"long\""), "at v: the writer's string does not resolve to the reader's long");
}

#[test]
fn fields_meet_by_name_in_any_order_and_others_are_dropped() {
    let writer = r#"{"type": "record", "name": "W", "namespace": "far", "fields": [
        {"name": "a", "type": "long"}, {"name": "dropped", "type": {"type": "array", "items": "string"}},
        {"name": "b", "type": "string"}]}"#;
    let reader = r#"{"type": "record", "name": "R", "fields": [
        {"name": "b", "type": "string"}, {"name": "c", "type": "int", "default": 7}, {"name": "a", "type": "double"}]}"#;
    let row = decode(writer, reader, b"\x0a\x02\x02x\x00\x04hi").unwrap();
    let expected = [("b", Cell::text("hi")), ("c", Cell::Whole(7)), ("a", Cell::Double(5f64.to_bits()))];
    assert_eq!(row, Cell::row(expected));
    // what is dropped is read by the letter
    let error = decode(writer, reader, b"\x0a\x02\x02\xff\x00\x04hi").unwrap_err();
    assert_eq!((error.position, error.field.as_str()), (3, "dropped[0]"));
}

#[test]
fn aliases_are_the_readers() {
    let writer = |field: &str| format!(r#"{{"type": "record", "name": "R", "fields": [{field}]}}"#);
    let old = writer(r#"{"name": "old", "type": "long"}"#);
    let renamed = writer(r#"{"name": "new", "type": "long", "aliases": ["older", "old"]}"#);
    assert_eq!(decode(&old, &renamed, LONG_5).unwrap(), Cell::row([("new", Cell::Whole(5))]));
    // the writer's aliases are its own affair
    let alias_of_writer = writer(r#"{"name": "old", "type": "long", "aliases": ["new"]}"#);
    let plain = Reader::new(&Schema::parse(&writer(r#"{"name": "new", "type": "long"}"#)).unwrap()).unwrap();
    let error = Program::compile(&Schema::parse(&alias_of_writer).unwrap(), &plain).unwrap_err();
    assert_eq!(error.to_string(), "at new: the writer has no such field, and the reader's has no default");
    // a name is stronger than an alias, whatever the order
    let both = writer(r#"{"name": "a", "type": "long"}, {"name": "b", "type": "string"}"#);
    let crossed = writer(
        r#"{"name": "c", "type": "long", "aliases": ["a"], "default": -1}, {"name": "a", "type": "long"},
           {"name": "d", "type": "string", "aliases": ["a", "b"]}"#,
    );
    let row = decode(&both, &crossed, b"\x0a\x02x").unwrap();
    assert_eq!(row, Cell::row([("c", Cell::Whole(-1)), ("a", Cell::Whole(5)), ("d", Cell::text("x"))]));
}

#[test]
fn defaults_of_every_type() {
    let cases = [
        ("\"null\"", "null", Cell::Null),
        ("\"boolean\"", "true", Cell::Bool(true)),
        ("\"int\"", "-3", Cell::Whole(-3)),
        ("\"long\"", "9007199254740993", Cell::Whole(9_007_199_254_740_993)),
        ("\"float\"", "1.5", Cell::Float(1.5f32.to_bits())),
        ("\"double\"", "2", Cell::Double(2f64.to_bits())),
        ("\"string\"", "\"ä\"", Cell::text("ä")),
        ("\"bytes\"", "\"\\u0000\\u00ff\"", Cell::Bytes(vec![0, 255])),
        (r#"{"type": "fixed", "name": "F", "size": 2}"#, "\"\\u0001\\u00fe\"", Cell::Bytes(vec![1, 254])),
        (r#"{"type": "enum", "name": "E", "symbols": ["A", "B"]}"#, "\"B\"", Cell::text("B")),
        (r#"{"type": "array", "items": "int"}"#, "[1, 2]", Cell::List(vec![Cell::Whole(1), Cell::Whole(2)])),
        (r#"{"type": "array", "items": "int"}"#, "[]", Cell::List(vec![])),
        (r#"{"type": "map", "values": "string"}"#, r#"{"k": "v"}"#, Cell::map([("k", Cell::text("v"))])),
        (
            r#"{"type": "record", "name": "I", "fields": [
                {"name": "a", "type": "int"}, {"name": "b", "type": ["null", "int"], "default": null}]}"#,
            r#"{"a": 1}"#,
            Cell::row([("a", Cell::Whole(1)), ("b", Cell::Null)]),
        ),
        ("[\"null\", \"long\"]", "null", Cell::Null),
        ("[\"null\", \"long\"]", "5", Cell::Whole(5)),
        ("[\"int\", \"string\"]", "\"x\"", Cell::row([("int", Cell::Null), ("string", Cell::text("x"))])),
        ("[\"int\", \"string\", \"null\"]", "4", Cell::row([("int", Cell::Whole(4)), ("string", Cell::Null)])),
        (r#"{"type": "int", "logicalType": "date"}"#, "19000", Cell::Whole(19_000)),
        (r#"{"type": "bytes", "logicalType": "decimal", "precision": 4}"#, "\"\\u00ff\"", Cell::Whole(-1)),
    ];
    for (ty, default, expected) in cases {
        let reader = format!(
            r#"{{"type": "record", "name": "R", "fields": [{{"name": "v", "type": {ty}, "default": {default}}}]}}"#
        );
        let writer = r#"{"type": "record", "name": "R", "fields": []}"#;
        assert_eq!(decode(writer, &reader, b"").unwrap(), Cell::row([("v", expected)]), "{ty} {default}");
    }
}

#[test]
fn unions_of_the_writer() {
    let union = r#"["null", "int", "string"]"#;
    assert_eq!(value(union, "[\"null\", \"long\"]", &[2, 10]).unwrap(), Cell::Whole(5));
    assert_eq!(value(union, "[\"null\", \"long\"]", &[0]).unwrap(), Cell::Null);
    assert_eq!(value(union, "\"long\"", &[2, 10]).unwrap(), Cell::Whole(5));
    // a branch that has no place costs the record that has it
    let error = value(union, "\"long\"", &[0]).unwrap_err();
    assert_eq!(error.to_string(), "byte 1, field v: the writer's null does not resolve to the reader's long");
    let error = value(union, "[\"null\", \"long\"]", b"\x04\x02x").unwrap_err();
    assert!(matches!(error.problem, Problem::Unresolvable { .. }), "{error}");
    assert!(never("[\"null\", \"string\"]", "\"long\"").contains("does not resolve"));
    let error = value(union, union, &[6]).unwrap_err();
    assert_eq!(error.to_string(), "byte 0, field v: branch 3 of a union that has 3");
}

#[test]
fn unions_of_the_reader() {
    let set = |int: Cell, text: Cell| Cell::row([("int", int), ("string", text)]);
    let both = r#"["int", "null", "string"]"#;
    assert_eq!(value("\"int\"", both, &[10]).unwrap(), set(Cell::Whole(5), Cell::Null));
    assert_eq!(value("\"string\"", both, b"\x02x").unwrap(), set(Cell::Null, Cell::text("x")));
    assert_eq!(value("\"null\"", both, b"").unwrap(), Cell::Null);
    assert_eq!(value(both, both, b"\x04\x02x").unwrap(), set(Cell::Null, Cell::text("x")));
    // the branch of its own type, else the first that it is promoted to
    let own = value("\"int\"", r#"["double", "int"]"#, &[10]).unwrap();
    assert_eq!(own, Cell::row([("double", Cell::Null), ("int", Cell::Whole(5))]));
    let first = value("\"int\"", r#"["double", "long"]"#, &[10]).unwrap();
    assert_eq!(first, Cell::row([("double", Cell::Double(5f64.to_bits())), ("long", Cell::Null)]));
    // null is no value of a member
    let error = value("[\"null\", \"int\"]", r#"["int", "string"]"#, &[0]).unwrap_err();
    assert!(matches!(error.problem, Problem::Unresolvable { .. }), "{error}");
    assert_eq!(never("\"boolean\"", both), "at v: the writer's boolean resolves to no branch of the reader's union");
    // a union of one type is a struct of one member, a union of null a column of nulls
    assert_eq!(value("\"int\"", "[\"int\"]", &[10]).unwrap(), Cell::row([("int", Cell::Whole(5))]));
    assert_eq!(value("\"null\"", "[\"null\"]", b"").unwrap(), Cell::Null);
}

#[test]
fn records_in_a_union_meet_by_name_before_they_meet_by_fields() {
    let of = |name: &str| named("record", name, r#""fields": [{"name": "a", "type": "long"}]"#);
    let reader_union = format!("[{}, {}]", of("x.First"), of("x.Second"));
    let second = Cell::row([("First", Cell::Null), ("Second", Cell::row([("a", Cell::Whole(5))]))]);
    let first = Cell::row([("First", Cell::row([("a", Cell::Whole(5))])), ("Second", Cell::Null)]);
    assert_eq!(value(&of("x.Second"), &reader_union, LONG_5).unwrap(), second);
    assert_eq!(value(&of("y.Second"), &reader_union, LONG_5).unwrap(), second);
    assert_eq!(value(&of("Stranger"), &reader_union, LONG_5).unwrap(), first);
    // the same short name twice: full names
    let twins = format!("[{}, {}]", of("x.Same"), of("y.Same"));
    let expected = Cell::row([("x.Same", Cell::Null), ("y.Same", Cell::row([("a", Cell::Whole(5))]))]);
    assert_eq!(value(&of("y.Same"), &twins, LONG_5).unwrap(), expected);
}

#[test]
fn enums_and_their_default() {
    let of = |name: &str, rest: &str| named("enum", name, rest);
    let writer = of("w.E", r#""symbols": ["A", "B", "C"]"#);
    let plain = of("E", r#""symbols": ["C", "A"]"#);
    assert_eq!(value(&writer, &plain, &[4]).unwrap(), Cell::text("C"));
    assert_eq!(value(&writer, &plain, &[2]).unwrap_err().problem, Problem::UnknownSymbol { found: "B".to_owned() });
    let default = of("E", r#""symbols": ["A", "Other"], "default": "Other""#);
    assert_eq!(value(&writer, &default, &[2]).unwrap(), Cell::text("Other"));
    assert_eq!(value(&writer, &default, &[0]).unwrap(), Cell::text("A"));
    assert_eq!(value(&writer, &default, &[6]).unwrap_err().problem, Problem::NoSuchSymbol { found: 3, symbols: 3 });
    // enums have names; the reader's aliases are names too
    assert!(
        never(&writer, &of("F", r#""symbols": ["A"]"#)).contains("enum w.E does not resolve to the reader's enum F")
    );
    let alias = of("F", r#""aliases": ["old.E"], "symbols": ["A"]"#);
    assert_eq!(value(&writer, &alias, &[0]).unwrap(), Cell::text("A"));
    assert!(never(&writer, &of("E", r#""symbols": ["X"]"#)).contains("no symbol"));
    assert!(never(&writer, "\"string\"").contains("does not resolve"));
}

#[test]
fn fixeds_by_name_and_size() {
    let of = |name: &str, size: usize| named("fixed", name, &format!(r#""size": {size}"#));
    assert_eq!(value(&of("a.F", 2), &of("b.F", 2), b"xy").unwrap(), Cell::Bytes(b"xy".into()));
    assert!(
        never(&of("F", 2), &of("F", 3))
            .contains("fixed F of 2 bytes does not resolve to the reader's fixed F of 3 bytes")
    );
    assert!(never(&of("F", 2), &of("G", 2)).contains("does not resolve"));
    assert!(never(&of("F", 2), "\"bytes\"").contains("does not resolve"));
    assert_eq!(value(&of("F", 0), &of("F", 0), b"").unwrap(), Cell::Bytes(vec![]));
    assert_eq!(
        value(
            "[\"null\", {\"type\": \"fixed\", \"name\": \"F\", \"size\": 0}]",
            "[{\"type\": \"fixed\", \"name\": \"F\", \"size\": 0}, \"null\"]",
            &[0]
        )
        .unwrap(),
        Cell::Null
    );
}

#[test]
fn nested_types_resolve_inside() {
    let list = |item: &str| format!(r#"{{"type": "array", "items": {item}}}"#);
    let map = |of: &str| format!(r#"{{"type": "map", "values": {of}}}"#);
    let ints = value(&list("\"int\""), &list("[\"null\", \"long\"]"), &[4, 2, 4, 0]).unwrap();
    assert_eq!(ints, Cell::List(vec![Cell::Whole(1), Cell::Whole(2)]));
    assert_eq!(
        value(&map("\"int\""), &map("\"double\""), b"\x02\x02k\x02\x00").unwrap(),
        Cell::map([("k", Cell::Double(1f64.to_bits()))])
    );
    // items that do not resolve do not make an array that does, not even an empty one
    assert_eq!(
        never(&list("\"string\""), &list("\"int\"")),
        "at v.items: the writer's string does not resolve to the reader's int"
    );
    assert!(never(&list("\"int\""), &map("\"int\"")).contains("array does not resolve to the reader's map"));
    let deep = |leaf: &str, default: &str| {
        list(&named("record", "Leg", &format!(r#""fields": [{{"name": "p", "type": {leaf}}}{default}]"#)))
    };
    let row = value(
        &deep("\"int\"", ""),
        &deep("\"long\"", r#", {"name": "q", "type": "string", "default": "-"}"#),
        &[4, 2, 4, 0],
    )
    .unwrap();
    let leg = |p| Cell::row([("p", Cell::Whole(p)), ("q", Cell::text("-"))]);
    assert_eq!(row, Cell::List(vec![leg(1), leg(2)]));
    assert_eq!(
        never(&deep("\"int\"", ""), &deep("\"boolean\"", "")),
        "at v.items.p: the writer's int does not resolve to the reader's boolean"
    );
    // null structs in lists, then a value
    let nullable = |record: &str| list(&format!("[\"null\", {record}]"));
    let leg_schema =
        named("record", "Leg", r#""fields": [{"name": "p", "type": "int"}, {"name": "t", "type": "string"}]"#);
    let legs = value(&nullable(&leg_schema), &nullable(&leg_schema), b"\x06\x00\x02\x0a\x02x\x00\x00").unwrap();
    let set = Cell::row([("p", Cell::Whole(5)), ("t", Cell::text("x"))]);
    assert_eq!(legs, Cell::List(vec![Cell::Null, set, Cell::Null]));
}

#[test]
fn decimals_are_exact() {
    let bytes =
        |p: u32, s: u32| format!(r#"{{"type": "bytes", "logicalType": "decimal", "precision": {p}, "scale": {s}}}"#);
    let fixed = |n: u32| {
        format!(
            r#"{{"type": "fixed", "name": "F", "size": {n}, "logicalType": "decimal", "precision": 4, "scale": 2}}"#
        )
    };
    assert_eq!(value(&bytes(4, 2), &bytes(4, 2), b"\x04\x04\xd2").unwrap(), Cell::Whole(1_234));
    assert_eq!(value(&bytes(4, 2), &bytes(4, 2), b"\x02\xff").unwrap(), Cell::Whole(-1));
    assert_eq!(value(&bytes(4, 2), &bytes(4, 2), b"\x04\x27\x0f").unwrap(), Cell::Whole(9_999));
    let mut long = vec![40];
    long.extend([0xff; 19]);
    long.push(0x85);
    assert_eq!(value(&bytes(4, 2), &bytes(4, 2), &long).unwrap(), Cell::Whole(-123));
    let error = value(&bytes(4, 2), &bytes(4, 2), b"\x04\x27\x10").unwrap_err();
    assert_eq!(error.to_string(), "byte 0, field v: a decimal has more than 4 digits");
    assert_eq!(value(&bytes(4, 2), &bytes(4, 2), b"\x00").unwrap_err().problem, Problem::EmptyDecimal);
    assert_eq!(value(&fixed(3), &fixed(3), b"\xff\xff\x85").unwrap(), Cell::Whole(-123));
    assert_eq!(
        value(&fixed(3), &fixed(3), b"\x7f\xff\xff").unwrap_err().problem,
        Problem::DecimalOverflow { precision: 4 }
    );
    // the beneath of one side is the other's
    assert_eq!(value("\"bytes\"", &bytes(4, 2), b"\x02\x05").unwrap(), Cell::Whole(5));
    assert_eq!(value(&bytes(4, 2), "\"bytes\"", b"\x02\x05").unwrap(), Cell::Bytes(vec![5]));
    assert!(
        never(&bytes(4, 2), &bytes(4, 3))
            .contains("bytes (decimal(4,2)) does not resolve to the reader's bytes (decimal(4,3))")
    );
    assert!(never(&bytes(4, 2), &fixed(3)).contains("does not resolve"));
}

#[test]
fn logical_types_meet_themselves_and_the_type_beneath() {
    let of = |base: &str, name: &str| format!(r#"{{"type": "{base}", "logicalType": "{name}"}}"#);
    let millis = of("long", "timestamp-millis");
    assert_eq!(value(&millis, &millis, LONG_5).unwrap(), Cell::Whole(5));
    assert_eq!(value("\"long\"", &millis, LONG_5).unwrap(), Cell::Whole(5));
    assert_eq!(value("\"int\"", &millis, LONG_5).unwrap(), Cell::Whole(5));
    assert_eq!(value(&millis, "\"long\"", LONG_5).unwrap(), Cell::Whole(5));
    assert_eq!(value(&of("int", "date"), &of("int", "date"), LONG_5).unwrap(), Cell::Whole(5));
    let why = never(&millis, &of("long", "timestamp-micros"));
    assert_eq!(
        why,
        "at v: the writer's long (timestamp-millis) does not resolve to the reader's long (timestamp-micros)"
    );
    assert!(never(&of("int", "date"), &millis).contains("does not resolve"));
}

/// A recursive writer is read as deep as the reader goes; the rest is dropped.
#[test]
fn recursive_writers() {
    let writer = r#"{"type": "record", "name": "Node", "fields": [
        {"name": "v", "type": "long"}, {"name": "next", "type": ["null", "Node"]}]}"#;
    let reader = r#"{"type": "record", "name": "R", "fields": [{"name": "v", "type": "long"},
        {"name": "next", "type": ["null", {"type": "record", "name": "Second", "fields": [{"name": "v", "type": "long"}]}]}]}"#;
    let row = decode(writer, reader, &[2, 2, 4, 2, 6, 0]).unwrap();
    assert_eq!(row, Cell::row([("v", Cell::Whole(1)), ("next", Cell::row([("v", Cell::Whole(2))]))]));
}

#[test]
fn a_writer_that_is_no_record_is_refused() {
    let reader = reader(&one_field("\"int\""));
    let error = Program::compile(&Schema::parse("\"int\"").unwrap(), &reader).unwrap_err();
    assert_eq!(error.to_string(), "the writer's schema is no record but int");
    // a record of no fields is a record of no bytes
    let empty = r#"{"type": "record", "name": "E", "fields": []}"#;
    assert_eq!(decode(empty, empty, b"").unwrap(), Cell::row([]));
    assert_eq!(decode(empty, empty, &[0]).unwrap_err().problem, Problem::TrailingBytes { found: 1 });
}

/// Twenty thousand types deep, by names; and many types wide.
#[test]
fn huge_writers_compile() {
    let mut fields = vec![
        r#"{"name": "f0", "type": {"type": "record", "name": "R0", "fields": [{"name": "x", "type": "long"}]}}"#
            .to_owned(),
    ];
    for level in 1..20_000 {
        let below = level - 1;
        fields.push(format!(
            r#"{{"name": "f{level}", "type": {{"type": "record", "name": "R{level}", "fields": [{{"name": "x", "type": "R{below}"}}]}}}}"#
        ));
    }
    let writer = format!(r#"{{"type": "record", "name": "Root", "fields": [{}]}}"#, fields.join(","));
    let reader = reader(
        r#"{"type": "record", "name": "R", "fields": [{"name": "f1", "type": {"type": "record", "name": "R1",
        "fields": [{"name": "x", "type": {"type": "record", "name": "R0", "fields": [{"name": "x", "type": "long"}]}}]}}]}"#,
    );
    let program = program(&writer, &reader);
    let error = super::rows::decode_with(&program, &reader, &[0; 30_000]).unwrap_err();
    assert_eq!(error.problem, Problem::TooDeep { limit: 64 });
    assert!(error.field.starts_with("f63.x.x"), "{}", error.field);
}
