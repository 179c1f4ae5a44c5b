#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};

fn values(bytes: &[u8], form: Form) -> Vec<Option<Vec<u8>>> {
    let batch = records(bytes, form).unwrap();
    let values = batch.column_by_name("value").unwrap().as_binary::<i32>();
    values.iter().map(|v| v.map(<[u8]>::to_vec)).collect()
}

#[test]
fn each_form_is_read() {
    assert_eq!(values(b"\0\x01\n\xff", Form::Raw), [Some(vec![0, 1, 10, 255])]);
    assert_eq!(values(b"", Form::Raw), [Some(vec![])], "an empty value, not a tombstone");
    assert_eq!(values(b"0001ff\r\n\n0x00 AB\n", Form::Hex), [Some(vec![0, 1, 255]), Some(vec![0, 0xab])]);
    assert_eq!(values(b"AAH/\n\nAA==", Form::Base64), [Some(vec![0, 1, 255]), Some(vec![0])]);
    assert_eq!(values(b"\n\n", Form::Hex), Vec::<Option<Vec<u8>>>::new());
}

#[test]
fn an_object_says_what_it_likes() {
    let text = br#"{"value":"AAH/","key_hex":"41","timestamp_ms":7,"partition":3,"offset":90}
{"value_hex":"00"}
{"value":null,"timestamp_ms":-1}"#;
    let batch = records(text, Form::Json).unwrap();
    let partitions = batch.column_by_name("partition").unwrap().as_primitive::<Int32Type>();
    let offsets = batch.column_by_name("offset").unwrap().as_primitive::<Int64Type>();
    let times = batch.column_by_name("timestamp").unwrap().as_primitive::<TimestampMicrosecondType>();
    let (keys, values) = (batch.column_by_name("key").unwrap(), batch.column_by_name("value").unwrap());
    assert_eq!((partitions.values().as_ref(), offsets.values().as_ref()), (&[3, 0, 0][..], &[90, 1, 2][..]));
    assert_eq!(times.iter().collect::<Vec<_>>(), [Some(7000), None, None]);
    assert_eq!(keys.as_binary::<i32>().value(0), b"A");
    assert_eq!((keys.null_count(), values.null_count()), (2, 1));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, form, expected) in [
        (&b"00\n0g"[..], Form::Hex, "line 2: 'g' is no hexadecimal digit"),
        (b"000", Form::Hex, "line 1: 3 hexadecimal digits make no whole number of bytes"),
        (b"\n!", Form::Base64, "line 2: this is not base64: "),
        (b"{}\n[]", Form::Json, "line 2: this is no record as JSON: "),
        (b"{\"vlaue\":\"\"}", Form::Json, "line 1: this is no record as JSON: unknown field `vlaue`"),
        (b"{\"value\":\"\",\"value_hex\":\"\"}", Form::Json, "line 1: value and value_hex are both there"),
        (b"{\"value\":\"!\"}", Form::Json, "line 1: value: this is not base64"),
        (b"{\"timestamp_ms\":9223372036854775807}", Form::Json, "line 1: timestamp_ms is beyond"),
        (b"\xff", Form::Hex, "the file is not text"),
    ] {
        let error = records(text, form).unwrap_err();
        assert_eq!(error.class(), k2_model::Class::Config);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
