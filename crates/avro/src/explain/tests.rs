#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;

const TRADE: &str = r#"{"type": "record", "name": "T", "fields": [
    {"name": "symbol", "type": "string"},
    {"name": "flag", "type": ["null", "boolean"]},
    {"name": "legs", "type": {"type": "array", "items": {"type": "record", "name": "Leg", "fields": [
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}}]}}},
    {"name": "tags", "type": {"type": "map", "values": "long"}},
    {"name": "raw", "type": "bytes"}]}"#;

fn shown(explanation: &Explanation) -> Vec<String> {
    explanation.values.iter().map(|v| format!("{} = {} {:?}", v.path, v.value, v.bytes)).collect()
}

#[test]
fn every_value_with_its_place() {
    let body = b"\x06BTC\x02\x01\x04\x04\x04\xd2\x02\xff\x00\x02\x02k\x09\x00\x04\xbe\xef";
    let explanation = explain(&Schema::parse(TRADE).unwrap(), body);
    assert_eq!(explanation.failure, None);
    assert_eq!(
        shown(&explanation),
        [
            "symbol = \"BTC\" 0..4",
            "flag = true 4..6",
            "legs[0].price = 12.34 7..10",
            "legs[1].price = -0.01 10..12",
            "tags[\"k\"] = -5 16..17",
            "raw = 0xbeef 18..21",
        ]
    );
}

#[test]
fn as_far_as_it_goes() {
    let explanation = explain(&Schema::parse(TRADE).unwrap(), b"\x06BTC\x00\x00\x00\x07");
    assert_eq!(shown(&explanation), ["symbol = \"BTC\" 0..4", "flag = null 4..5", "legs = [] 5..6", "tags = {} 6..7"]);
    let failure = explanation.failure.unwrap();
    assert_eq!(failure.to_string(), "byte 7, field raw: a bytes value has the negative length -4");
    let trailing = explain(&Schema::parse("\"int\"").unwrap(), &[2, 3]);
    assert_eq!((shown(&trailing), trailing.failure.unwrap().position), (vec![" = 1 0..1".to_owned()], 1));
}

#[test]
fn long_values_are_cut_and_so_is_the_list() {
    let mut body = vec![0xd0, 0x0f];
    body.extend([b'x'; 1_000]);
    let text = explain(&Schema::parse("\"string\"").unwrap(), &body);
    assert!(text.values[0].value.ends_with("x\"… (1000 bytes)"), "{}", text.values[0].value);
    let bytes = explain(&Schema::parse("\"bytes\"").unwrap(), &body);
    assert!(bytes.values[0].value.ends_with("78… (1000 bytes)"), "{}", bytes.values[0].value);

    // 20,000 booleans, the last of them wrong: not listed, but found
    let mut body = vec![0xc0, 0xb8, 0x02];
    body.extend([1; 19_999]);
    body.extend([9, 0]);
    let list = explain(&Schema::parse(r#"{"type": "array", "items": "boolean"}"#).unwrap(), &body);
    assert_eq!(list.values.len(), MAX_VALUES);
    assert_eq!(
        list.failure.unwrap().to_string(),
        "byte 20002, field [19999]: a boolean is the byte 0x09, neither 0 nor 1"
    );
}

#[test]
fn dates_and_times_say_what_they_are() {
    let shown = |base: &str, name: &str, number: i64| {
        let schema = Schema::parse(&format!(r#"{{"type": "{base}", "logicalType": "{name}"}}"#)).unwrap();
        let mut raw = ((number << 1) ^ (number >> 63)).cast_unsigned();
        let mut body = Vec::new();
        while raw >= 0x80 {
            body.push(u8::try_from(raw & 0x7f).unwrap() | 0x80);
            raw >>= 7;
        }
        body.push(u8::try_from(raw).unwrap());
        explain(&schema, &body).values[0].value.clone()
    };
    let cases = [
        ("int", "date", 0, "0 (1970-01-01)"),
        ("int", "date", 11_016, "11016 (2000-02-29)"),
        ("int", "date", -719_162, "-719162 (0001-01-01)"),
        ("int", "date", 2_932_896, "2932896 (9999-12-31)"),
        ("int", "date", 2_932_897, "2932897"),
        ("int", "time-millis", 86_399_999, "86399999 (23:59:59.999)"),
        ("int", "time-millis", 86_400_000, "86400000"),
        ("long", "timestamp-millis", 1_700_000_000_123, "1700000000123 (2023-11-14T22:13:20.123Z)"),
        ("long", "timestamp-micros", -1, "-1 (1969-12-31T23:59:59.999999Z)"),
        ("long", "timestamp-nanos", 1, "1 (1970-01-01T00:00:00.000000001Z)"),
        ("long", "local-timestamp-micros", 951_868_800_000_000, "951868800000000 (2000-03-01T00:00:00.000000)"),
        ("long", "timestamp-micros", i64::MAX, "9223372036854775807"),
        ("long", "timestamp-millis", i64::MIN, "-9223372036854775808"),
        ("long", "time-micros", 1_500_000, "1500000 (00:00:01.500000)"),
    ];
    for (base, name, number, expected) in cases {
        assert_eq!(shown(base, name, number), expected, "{name}");
    }
}
