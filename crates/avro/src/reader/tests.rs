#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;

fn reader(fields: &str) -> Result<Reader, SchemaError> {
    Reader::new(&Schema::parse(&format!(r#"{{"type": "record", "name": "R", "fields": [{fields}]}}"#)).unwrap())
}

fn column(ty: &str) -> (DataType, bool) {
    let reader = reader(&format!(r#"{{"name": "v", "type": {ty}}}"#)).unwrap();
    let field = reader.arrow_schema().field(0);
    (field.data_type().clone(), field.is_nullable())
}

#[test]
fn columns_of_every_type() {
    let logical = |base: &str, name: &str| format!(r#"{{"type": {base:?}, "logicalType": {name:?}}}"#);
    let utc = |unit| DataType::Timestamp(unit, Some("+00:00".into()));
    let cases = [
        ("\"null\"".to_owned(), DataType::Null, true),
        ("\"boolean\"".to_owned(), DataType::Boolean, false),
        ("\"int\"".to_owned(), DataType::Int32, false),
        ("\"long\"".to_owned(), DataType::Int64, false),
        ("\"float\"".to_owned(), DataType::Float32, false),
        ("\"double\"".to_owned(), DataType::Float64, false),
        ("\"string\"".to_owned(), DataType::Utf8, false),
        ("\"bytes\"".to_owned(), DataType::Binary, false),
        ("[\"null\", \"string\"]".to_owned(), DataType::Utf8, true),
        ("[\"long\", \"null\"]".to_owned(), DataType::Int64, true),
        ("[\"null\"]".to_owned(), DataType::Null, true),
        (r#"{"type": "fixed", "name": "F", "size": 3}"#.to_owned(), DataType::FixedSizeBinary(3), false),
        (r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#.to_owned(), DataType::Utf8, false),
        (logical("int", "date"), DataType::Date32, false),
        (logical("int", "time-millis"), DataType::Time32(TimeUnit::Millisecond), false),
        (logical("long", "time-micros"), DataType::Time64(TimeUnit::Microsecond), false),
        (logical("long", "timestamp-millis"), utc(TimeUnit::Millisecond), false),
        (logical("long", "timestamp-micros"), utc(TimeUnit::Microsecond), false),
        (logical("long", "timestamp-nanos"), utc(TimeUnit::Nanosecond), false),
        (logical("long", "local-timestamp-micros"), DataType::Timestamp(TimeUnit::Microsecond, None), false),
        (logical("string", "uuid"), DataType::Utf8, false),
        (logical("long", "unheard-of"), DataType::Int64, false),
        (
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 8}"#.to_owned(),
            DataType::Decimal128(38, 8),
            false,
        ),
    ];
    for (ty, expected, nullable) in cases {
        assert_eq!(column(&ty), (expected, nullable), "{ty}");
    }
}

#[test]
fn columns_with_parts() {
    let text = |name: &str, nullable| Arc::new(Field::new(name, DataType::Utf8, nullable));
    let (list, _) = column(r#"{"type": "array", "items": ["null", "string"]}"#);
    assert_eq!(list, DataType::List(text("item", true)));
    let (map, _) = column(r#"{"type": "map", "values": "string"}"#);
    let entries = DataType::Struct(vec![text("key", false), text("value", false)].into());
    assert_eq!(map, DataType::Map(Arc::new(Field::new("entries", entries, false)), false));
    let long = |name: &str, nullable| Arc::new(Field::new(name, DataType::Int64, nullable));
    let record = r#"["null", {"type": "record", "name": "I", "fields": [{"name": "a", "type": "long"}]}]"#;
    assert_eq!(column(record), (DataType::Struct(vec![long("a", false)].into()), true));
    let union = DataType::Struct(vec![text("string", true), long("long", true)].into());
    assert_eq!(column(r#"["string", "long"]"#), (union.clone(), false));
    assert_eq!(column(r#"["string", "null", "long"]"#), (union, true));
}

#[test]
fn what_has_no_arrow_form_is_refused() {
    let field = |ty: &str| format!(r#"{{"name": "v", "type": {ty}}}"#);
    let cases = [
        (field(r#"["null", "R"]"#), "at v: record R contains itself: Arrow has no such type"),
        (
            field(r#"{"type": "array", "items": {"type": "map", "values": "R"}}"#),
            "at v.items.values: record R contains itself: Arrow has no such type",
        ),
        (field("[]"), "at v: a union of nothing has no column"),
        (
            field(r#"{"type": "bytes", "logicalType": "decimal", "precision": 39}"#),
            "at v: bytes (decimal(39,0)): a decimal column holds 38 digits at most",
        ),
    ];
    for (fields, expected) in cases {
        assert_eq!(reader(&fields).unwrap_err().to_string(), expected);
    }
    let error = Reader::new(&Schema::parse("\"int\"").unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "a reader's schema is a record, not int");
}

/// A type used twice in the next, forty times over, has more columns than memory.
#[test]
fn columns_are_limited() {
    let mut fields = vec![r#"{"name": "f0", "type": {"type": "record", "name": "R0", "fields": []}}"#.to_owned()];
    for level in 1..40 {
        let below = level - 1;
        fields.push(format!(
            r#"{{"name": "f{level}", "type": {{"type": "record", "name": "R{level}", "fields": [
                {{"name": "x", "type": "R{below}"}}, {{"name": "y", "type": "R{below}"}}]}}}}"#
        ));
    }
    let error = reader(&fields.join(",")).unwrap_err().to_string();
    assert!(error.contains("at most 10000 columns"), "{error}");
}

#[test]
fn defaults_are_of_their_type() {
    let cases = [
        ("\"int\"", "\"5\"", "at v: the default \"5\" is no int"),
        ("\"int\"", "2147483648", "at v: the default 2147483648 is no int"),
        ("\"int\"", "1.5", "at v: the default 1.5 is no int"),
        ("\"long\"", "null", "at v: the default null is no long"),
        ("[\"null\", \"long\"]", "\"x\"", "at v: the default \"x\" is no long or null"),
        ("\"null\"", "0", "at v: the default 0 is no null or null"),
        ("\"boolean\"", "0", "at v: the default 0 is no boolean"),
        ("\"float\"", "1e300", "at v: the default 1e+300 is no float"),
        ("\"bytes\"", "\"\u{100}\"", "at v: the default \"\u{100}\" is no bytes"),
        (
            r#"{"type": "fixed", "name": "F", "size": 2}"#,
            "\"abc\"",
            "at v: the default \"abc\" is no fixed F of 2 bytes",
        ),
        (r#"{"type": "enum", "name": "E", "symbols": ["A"]}"#, "\"B\"", "at v: the default \"B\" is no enum E"),
        (r#"{"type": "array", "items": "int"}"#, "[1, true]", "at v.items: the default true is no int"),
        (r#"{"type": "map", "values": "int"}"#, "{\"k\": []}", "at v.k: the default [] is no int"),
        (r#"{"type": "map", "values": "int"}"#, "[]", "at v: the default [] is no map"),
        (
            r#"{"type": "record", "name": "I", "fields": [{"name": "a", "type": "int"}]}"#,
            "{}",
            "at v: the default has no value for the field a",
        ),
        ("[\"int\", \"string\"]", "null", "at v: the default null is no union"),
        (
            r#"{"type": "bytes", "logicalType": "decimal", "precision": 2}"#,
            "\"\\u0064\"",
            "at v: the default \"d\" is no bytes (decimal(2,0))",
        ),
    ];
    for (ty, default, expected) in cases {
        let field = format!(r#"{{"name": "v", "type": {ty}, "default": {default}}}"#);
        assert_eq!(reader(&field).expect_err(ty).to_string(), expected);
    }
}
