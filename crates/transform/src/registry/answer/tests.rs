#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;

const UNKNOWN: &[u8] = br#"{"error_code":40403,"message":"Schema 7 not found"}"#;

fn avro(text: &str) -> Answer {
    Answer::Avro { text: text.into(), references: Vec::new() }
}

#[test]
fn an_id_is_unknown_by_404_with_40403_and_nothing_else() {
    assert_eq!(of_id(404, UNKNOWN), Ok(Answer::Unknown));
    for (status, body) in [
        (404, &br#"{"error_code":40401,"message":"no such subject"}"#[..]),
        (404, br#"{"error_code":404,"message":"HTTP 404 Not Found"}"#),
        (404, br#"{"error_code":"40403"}"#),
        (404, br#"{"error_code":40403.5}"#),
        (404, br#"[{"error_code":40403}]"#),
        (404, br#"{"message":"error_code 40403"}"#),
        (404, b"<html>404</html>"),
        (404, b""),
        (200, UNKNOWN),
        (400, UNKNOWN),
        (401, UNKNOWN),
        (403, UNKNOWN),
        (410, UNKNOWN),
        (500, UNKNOWN),
        (204, UNKNOWN),
    ] {
        let got = of_id(status, body);
        assert!(got.is_err(), "{status} {}: {got:?}", String::from_utf8_lossy(body));
    }
    assert!(of_reference(404, UNKNOWN).is_err(), "a schema that is referred to must be there");
}

#[test]
fn a_schema_is_taken_by_its_shape() {
    assert_eq!(of_id(200, br#"{"schema":"x"}"#), Ok(avro("x")));
    assert_eq!(of_id(200, br#"{"schema":"x","schemaType":null,"references":null,"more":1}"#), Ok(avro("x")));
    assert_eq!(of_id(200, br#"{"schema":"x","schemaType":"AVRO","references":[]}"#), Ok(avro("x")));
    let referred = br#"{"schema":"x","references":[{"name":"a.B","subject":"b","version":3}]}"#;
    let references = vec![Reference { subject: "b".into(), version: 3 }];
    assert_eq!(of_id(200, referred), Ok(Answer::Avro { text: "x".into(), references }));
    for kind in ["PROTOBUF", "JSON", "XML"] {
        let body = format!(r#"{{"schema":"x","schemaType":"{kind}"}}"#);
        assert_eq!(of_id(200, body.as_bytes()), Ok(Answer::OtherKind(kind.into())));
    }
}

#[test]
fn garbage_is_no_answer() {
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "<html><body>Welcome to nginx</body></html>",
        r#"{"schema":{"type":"record"}}"#,
        r#"{"schema":null}"#,
        r#"{"schema":"x""#,
        r#"{"schema":"x","schemaType":1}"#,
        r#"{"schema":"x","references":{}}"#,
        r#"{"schema":"x","references":[{"subject":"b"}]}"#,
        r#"{"schema":"x","references":[{"subject":"b","version":"1"}]}"#,
        "\u{feff}\u{0}",
    ] {
        assert!(of_id(200, body.as_bytes()).is_err(), "{body}");
    }
    assert!(of_id(200, &[0xff, 0xfe, 0x00]).is_err());
}

#[test]
fn a_refusal_is_told_from_the_rest_and_every_failure_says_what_and_how_on() {
    for (status, refusal, word) in [
        (401, true, "registry.password"),
        (403, true, "registry.token"),
        (301, false, "no redirect"),
        (404, false, "root of a Confluent-compatible API"),
        (429, false, "limits the rate"),
        (500, false, "log"),
        (503, false, "log"),
        (418, false, "root"),
    ] {
        let trouble = of_id(status, br#"{"message":"its\nwords"}"#).unwrap_err();
        assert_eq!(trouble.is_refusal(), refusal, "{status}");
        let text = trouble.error().to_string();
        assert_eq!(trouble.error().class(), k2_model::Class::Retry);
        assert!(text.contains(&status.to_string()) && text.contains("its words") && text.contains(word), "{text}");
    }
    let page = of_id(502, b" <html>long</html>").unwrap_err().error().to_string();
    assert!(page.contains("a page of HTML") && !page.contains("long"), "{page}");
    let long = of_id(500, "x".repeat(10_000).as_bytes()).unwrap_err().error().to_string();
    assert!(long.len() < 500, "{long}");
}
