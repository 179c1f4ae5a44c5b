#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;

fn error(text: &str) -> String {
    Schema::parse(text).expect_err(text).to_string()
}

fn record(text: &str) -> Schema {
    let schema = Schema::parse(text).unwrap();
    assert!(schema.is_record());
    schema
}

fn field<'a>(schema: &'a Schema, name: &str) -> &'a Node {
    let Kind::Record(record) = &schema.graph().root().kind else { panic!("no record") };
    schema.graph().node(record.fields.iter().find(|field| field.name == name).unwrap().node)
}

#[test]
fn primitives_in_both_forms() {
    for name in ["null", "boolean", "int", "long", "float", "double", "bytes", "string"] {
        for text in
            [format!("{name:?}"), format!(r#"{{"type": {name:?}}}"#), format!(r#"{{"type": {{"type": {name:?}}}}}"#)]
        {
            let schema = Schema::parse(&text).unwrap();
            assert_eq!(schema.graph().root().kind.name(), name);
            assert!(!schema.is_record());
        }
    }
}

#[test]
fn names_take_the_namespace_around_them() {
    let schema = record(
        r#"{"type": "record", "name": "Outer", "namespace": "a.b", "fields": [
            {"name": "own", "type": {"type": "fixed", "name": "F", "size": 1}},
            {"name": "other", "type": {"type": "fixed", "name": "F", "namespace": "c", "size": 2}},
            {"name": "dotted", "type": {"type": "enum", "name": "d.E", "namespace": "ignored", "symbols": ["X"]}},
            {"name": "inner", "type": {"type": "record", "name": "x.Inner", "fields": [
                {"name": "g", "type": {"type": "fixed", "name": "G", "size": 3}}]}},
            {"name": "again", "type": "F"}, {"name": "far", "type": "c.F"}, {"name": "g", "type": "x.G"},
            {"name": "void", "type": {"type": "record", "name": "N", "namespace": "", "fields": []}},
            {"name": "fallback", "type": "N"}]}"#,
    );
    let full = |name: &str| field(&schema, name).kind.named().unwrap().full.clone();
    assert_eq!(schema.graph().root().kind.named().unwrap().full, "a.b.Outer");
    assert_eq!(full("own"), "a.b.F");
    assert_eq!(full("other"), "c.F");
    assert_eq!(full("dotted"), "d.E");
    assert_eq!(full("again"), "a.b.F");
    assert_eq!(full("far"), "c.F");
    assert_eq!(full("g"), "x.G");
    assert_eq!(full("fallback"), "N");
}

#[test]
fn recursion_and_names_before_their_definition() {
    let schema = record(
        r#"{"fields": [{"type": ["null", "Later"], "name": "first"}, {"type": ["null", "Node"], "name": "next"},
            {"name": "later", "type": {"type": "record", "name": "Later", "fields": []}}],
            "name": "Node", "type": "record"}"#,
    );
    let Kind::Union(members) = &field(&schema, "next").kind else { panic!("no union") };
    assert_eq!(members[1], schema.graph().root_id());
    let Kind::Union(members) = &field(&schema, "first").kind else { panic!("no union") };
    assert_eq!(schema.graph().node(members[1]).kind.named().unwrap().full, "Later");
}

#[test]
fn what_java_tolerates() {
    record(
        r#"{"type": "record", "name": "R", "doc": 5, "connect.version": 3, "aliases": [1, "Old"], "fields": [
            {"name": "a", "type": "int", "order": "upside down", "doc": null, "default": "no int, but a writer's"},
            {"name": "b", "type": {"type": "long", "logicalType": "from-mars"}},
            {"name": "c", "type": {"type": "string", "logicalType": "date", "avro.java.string": "String"}},
            {"name": "größe", "type": "double"}]}"#,
    );
    record(r#"{"type": "error", "name": "E", "fields": []}"#);
}

#[test]
fn logical_types_that_fit() {
    let logical = |text: &str| Schema::parse(text).unwrap().graph().root().logical;
    let of = |base: &str, name: &str| logical(&format!(r#"{{"type": {base:?}, "logicalType": {name:?}}}"#));
    assert_eq!(of("int", "date"), Some(Logical::Date));
    assert_eq!(of("long", "date"), None);
    assert_eq!(of("int", "time-millis"), Some(Logical::Time(TimeUnit::Millisecond)));
    assert_eq!(of("int", "time-micros"), None);
    assert_eq!(of("long", "timestamp-nanos"), Some(Logical::Timestamp(TimeUnit::Nanosecond)));
    assert_eq!(of("long", "local-timestamp-millis"), Some(Logical::LocalTimestamp(TimeUnit::Millisecond)));
    assert_eq!(of("string", "uuid"), None);
    let decimal = |attributes: &str| logical(&format!(r#"{{"type": "bytes", "logicalType": "decimal"{attributes}}}"#));
    assert_eq!(decimal(r#", "precision": 9, "scale": 2"#), Some(Logical::Decimal { precision: 9, scale: 2 }));
    assert_eq!(decimal(r#", "precision": 9"#), Some(Logical::Decimal { precision: 9, scale: 0 }));
    for wrong in
        ["", r#", "precision": 0"#, r#", "precision": 2, "scale": 3"#, r#", "precision": -1"#, r#", "precision": 2.5"#]
    {
        assert_eq!(decimal(wrong), None, "{wrong}");
    }
}

#[test]
fn a_fixed_holds_only_so_many_digits() {
    for (size, digits) in [(1, 2), (2, 4), (4, 9), (8, 18), (16, 38), (20, 47)] {
        for (precision, fits) in [(digits, true), (digits + 1, false)] {
            let text = format!(
                r#"{{"type": "fixed", "name": "F", "size": {size}, "logicalType": "decimal", "precision": {precision}}}"#
            );
            assert_eq!(Schema::parse(&text).unwrap().graph().root().logical.is_some(), fits, "{size} {precision}");
        }
    }
}

#[test]
fn texts_that_are_no_avro() {
    let cases = [
        ("", "not JSON"),
        ("syntax = \"proto3\"; message Trade { string symbol = 1; }", "not JSON"),
        (r#"{"type": "record", "name": "R", "fields": [}"#, "not JSON"),
        (r#""string" "string""#, "not JSON"),
        (r#"{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {}}"#, "no Avro schema"),
        (r#"{"type": "object", "properties": {"a": {"type": "string"}}}"#, "object is no Avro type"),
        ("5", "a type is a name, an object or an array, not 5"),
        ("null", "not null"),
        (r#""varchar""#, "varchar is no Avro type"),
        (r#"{"type": 7}"#, "\"type\" is 7"),
        (r#"{"type": "array"}"#, "without \"items\""),
        (r#"{"type": "map"}"#, "without \"values\""),
        (r#"{"type": "record", "name": "R"}"#, "no array \"fields\""),
        (r#"{"type": "record", "fields": []}"#, "without a \"name\""),
        (r#"{"type": "record", "name": "1R", "fields": []}"#, "\"1R\" is no Avro name"),
        (r#"{"type": "record", "name": "a..R", "fields": []}"#, "is no Avro name"),
        (r#"{"type": "record", "name": "long", "fields": []}"#, "Avro's own name"),
        (r#"{"type": "enum", "name": "E"}"#, "no array \"symbols\""),
        (r#"{"type": "enum", "name": "E", "symbols": ["A", "A"]}"#, "the symbol A twice"),
        (r#"{"type": "enum", "name": "E", "symbols": ["A-B"]}"#, "\"A-B\" is no Avro name"),
        (r#"{"type": "enum", "name": "E", "symbols": [1]}"#, "a symbol is a string"),
        (r#"{"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}"#, "no symbol of the enum E"),
        (r#"{"type": "fixed", "name": "F"}"#, "no \"size\""),
        (r#"{"type": "fixed", "name": "F", "size": -1}"#, "no \"size\""),
        (r#"{"type": "fixed", "name": "F", "size": 3000000000}"#, "no \"size\""),
        (r#"["null", "null"]"#, "a union with null twice"),
        (r#"["null", ["int"]]"#, "a union directly inside of a union"),
        (r#"[{"type": "array", "items": "int"}, {"type": "array", "items": "long"}]"#, "a union with array twice"),
    ];
    for (text, expected) in cases {
        let found = error(text);
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn errors_name_their_place() {
    let with = |field: &str| format!(r#"{{"type": "record", "name": "R", "fields": [{field}]}}"#);
    let nested = format!(
        r#"{{"name": "legs", "type": {{"type": "array", "items": {}}}}}"#,
        with(r#"{"name": "p", "type": "x"}"#)
    );
    let cases = [
        (nested.replace("\"R\"", "\"S\""), "at legs.items.p: x is no Avro type and is not defined"),
        (r#"{"name": "u", "type": ["null", {"type": "map"}]}"#.to_owned(), "at u.branch 1: a map without \"values\""),
        (
            r#"{"name": "a", "type": "int"}, {"name": "a", "type": "int"}"#.to_owned(),
            "at a: a second field of this name",
        ),
        (r#"{"name": "a"}"#.to_owned(), "at a: a field without a \"type\""),
        (
            r#"{"name": "self", "type": {"type": "record", "name": "R", "fields": []}}"#.to_owned(),
            "at self: the name R is defined twice",
        ),
        (r#"{"type": "int"}"#.to_owned(), "a field without a \"name\""),
        ("17".to_owned(), "a field is an object, not 17"),
    ];
    for (field, expected) in cases {
        assert_eq!(error(&with(&field)), expected);
    }
}

#[test]
fn deep_and_large_texts_end_in_an_error_or_a_schema() {
    for levels in [200, 100_000] {
        let text = format!("{}\"int\"{}", r#"{"type":"array","items":"#.repeat(levels), "}".repeat(levels));
        assert!(error(&text).contains("recursion limit"), "{levels}");
        error(&"[".repeat(levels));
        error(&r#"{"type":"#.repeat(levels));
    }
    // deeper than any data may be, by names alone: 20,000 records, each holding the one before
    let mut fields = vec![r#"{"name": "f0", "type": {"type": "record", "name": "R0", "fields": []}}"#.to_owned()];
    for level in 1..20_000 {
        let below = level - 1;
        fields.push(format!(
            r#"{{"name": "f{level}", "type": {{"type": "record", "name": "R{level}", "fields": [{{"name": "x", "type": "R{below}"}}]}}}}"#
        ));
    }
    let schema = record(&format!(r#"{{"type": "record", "name": "Root", "fields": [{}]}}"#, fields.join(",")));
    drop(schema);
}
