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
