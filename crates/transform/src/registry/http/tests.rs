#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;
use crate::registry::Schemas;
use crate::registry::tests::fake::{Fake, Reply, nobody, record, reply, schema, unknown};
use k2_model::Class;
use std::io::{Read, Write};

fn settings(urls: &[&str]) -> HttpSettings {
    HttpSettings::new(urls.iter().map(|url| (*url).to_owned()).collect())
}

fn open(urls: &[&str]) -> Schemas {
    Schemas::http(settings(urls)).unwrap()
}

fn with_login(uri: &str, login: &str) -> String {
    uri.replace("://", &format!("://{login}@"))
}

/// What is said of a registry that answers like this.
async fn trouble(answer: Reply) -> String {
    let fake = Fake::start(move |_, _| answer.clone()).await;
    let uri = with_login(&fake.uri, "user:hunter2");
    let schemas =
        Schemas::http(HttpSettings { request_timeout: Duration::from_millis(500), ..settings(&[&uri]) }).unwrap();
    let error = schemas.get(7).await.unwrap_err();
    assert_eq!(error.class(), Class::Retry, "{error}");
    let text = error.to_string();
    assert!(text.contains(&format!("{}/schemas/ids/7", fake.uri)), "it names the address: {text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert!(error.way_out().is_some());
    text
}

#[tokio::test]
async fn each_failure_is_told_and_none_is_an_answer() {
    for (answer, words) in [
        (reply(500, "boom"), "answers 500: \"boom\""),
        (reply(503, "<html>"), "a page of HTML"),
        (reply(429, ""), "429"),
        (reply(401, "user:hunter2 is wrong"), "refuses the request with 401: \"user:*** is wrong\""),
        (reply(403, r#"{"error_code":40301,"message":"denied"}"#), "denied"),
        (reply(404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#), "without the error_code 40403"),
        (reply(200, "<html>hello</html>"), "not with a schema"),
        (reply(200, "x".repeat(LARGEST + 1)), "larger than 4 MiB"),
        (Reply { header: Some(("location", "/elsewhere".into())), ..reply(302, "") }, "302"),
        (record().after(Duration::from_secs(3)), "does not answer in time"),
    ] {
        let text = trouble(answer).await;
        assert!(text.contains(words), "{words:?} in {text}");
    }
}

#[tokio::test]
async fn nobody_there_broken_lines_and_no_tls() {
    let text = open(&[&format!("http://{}", nobody())]).get(7).await.unwrap_err().to_string();
    assert!(text.contains("cannot connect") && text.contains("refused") && text.contains("registry.url"), "{text}");

    let fake = Fake::start(|_, _| record()).await;
    let text = open(&[&fake.uri.replace("http:", "https:")]).get(7).await.unwrap_err().to_string();
    assert!(text.contains("registry.ca_file"), "{text}");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..ATTEMPTS {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 4096]);
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"schema\":\"");
        }
    });
    let text = open(&[&format!("http://{address}")]).get(7).await.unwrap_err().to_string();
    assert!(text.contains("breaks off"), "{text}");
    server.join().unwrap();
}

#[tokio::test]
async fn a_short_failure_is_ridden_out_and_a_refusal_is_not_repeated() {
    let fake = Fake::start(|seen, before| match (seen.path.as_str(), before) {
        ("/schemas/ids/7", 0) => reply(500, ""),
        ("/schemas/ids/7", 1) => reply(200, "garbage"),
        ("/schemas/ids/7", _) => record(),
        _ => reply(401, ""),
    })
    .await;
    let schemas = open(&[&fake.uri]);
    assert!(matches!(schemas.get(7).await, Ok(Lookup::Avro(_))));
    assert_eq!(fake.asked(7), 3);
    assert!(schemas.get(8).await.is_err());
    assert_eq!(fake.asked(8), 1);
}

#[tokio::test]
async fn credentials_are_sent_where_they_belong() {
    let fake = Fake::start(|_, _| record()).await;
    let authorization = async |settings: HttpSettings| {
        Schemas::http(settings).unwrap().get(7).await.unwrap();
        let seen = fake.seen().pop().unwrap();
        assert!(seen.header("accept").unwrap().starts_with("application/vnd.schemaregistry.v1+json"));
        seen.header("authorization").map(str::to_owned)
    };
    let plain = settings(&[&fake.uri]);
    assert_eq!(authorization(plain.clone()).await, None);
    // k2:p@ss
    let basic = Some("Basic azI6cEBzcw==".to_owned());
    let pair = Some(("k2".to_owned(), "p@ss".to_owned()));
    assert_eq!(authorization(HttpSettings { basic: pair.clone(), ..plain.clone() }).await, basic);
    let in_url = settings(&[&with_login(&fake.uri, "k2:p%40ss")]);
    assert_eq!(authorization(in_url.clone()).await, basic);
    let token = Some("abc".to_owned());
    assert_eq!(authorization(HttpSettings { bearer: token.clone(), ..plain.clone() }).await, Some("Bearer abc".into()));
    assert_eq!(authorization(HttpSettings { bearer: token.clone(), ..in_url.clone() }).await, basic);

    let both = HttpSettings { basic: pair, bearer: token, ..plain };
    for shown in [format!("{both:?}"), format!("{in_url:?}"), format!("{:?}", Schemas::http(in_url).unwrap())] {
        assert!(!shown.contains("p@ss") && !shown.contains("p%40ss") && !shown.contains("abc"), "{shown}");
    }
    assert_eq!(Schemas::http(both).unwrap_err().class(), Class::Config);
}

#[tokio::test]
async fn the_next_url_helps_out_and_is_remembered() {
    let answers = Fake::start(|seen, _| if seen.path.ends_with("/404") { unknown() } else { record() }).await;
    let fails = Fake::start(|_, before| if before == 0 { reply(503, "") } else { record() }).await;
    let gone = format!("http://{}", nobody());
    let schemas = open(&[&gone, &fails.uri, &answers.uri]);
    assert!(matches!(schemas.get(7).await, Ok(Lookup::Avro(_))));
    assert!(matches!(schemas.get(8).await, Ok(Lookup::Avro(_))));
    assert!(matches!(schemas.get(404).await, Ok(Lookup::Unknown)), "a clear answer is not asked for twice");
    assert_eq!((fails.seen().len(), answers.seen().len()), (1, 3), "the good one is asked first from then on");

    let down = Fake::start(|_, _| reply(500, "")).await;
    let text = open(&[&gone, &down.uri]).get(7).await.unwrap_err().to_string();
    assert!(text.contains("refused") && text.contains("answers 500") && text.contains(&gone), "{text}");
}

#[tokio::test]
async fn schemas_that_refer_to_others() {
    let fake = Fake::start(|seen, _| {
        let refers = |text: &str, to: &[&str]| {
            let to: Vec<_> = to.iter().map(|s| serde_json::json!({"name": "x", "subject": s, "version": 2})).collect();
            reply(200, serde_json::json!({"schema": text, "references": to}).to_string())
        };
        let outer =
            r#"{"type":"record","name":"n.Outer","fields":[{"name":"a","type":"n.Inner"},{"name":"b","type":"Deep"}]}"#;
        let inner = r#"{"type":"record","name":"n.Inner","fields":[{"name":"d","type":"n.Deep"}]}"#;
        match seen.path.as_str() {
            "/schemas/ids/1" => refers(outer, &["in/ner"]),
            "/subjects/in%2Fner/versions/2?deleted=true" => refers(inner, &["deep", "in/ner"]),
            "/subjects/deep/versions/2?deleted=true" => schema(r#"{"type":"enum","name":"n.Deep","symbols":["A"]}"#),
            "/schemas/ids/2" => refers(outer, &["missing"]),
            "/subjects/missing/versions/2?deleted=true" => reply(404, r#"{"error_code":40402}"#),
            "/schemas/ids/3" => refers(outer, &["proto"]),
            "/subjects/proto/versions/2?deleted=true" => reply(200, r#"{"schema":"","schemaType":"PROTOBUF"}"#),
            "/schemas/ids/4" => refers(outer, &["chain-0"]),
            path => {
                match path.strip_prefix("/subjects/chain-").and_then(|p| p.split('/').next()?.parse::<u32>().ok()) {
                    Some(n) => refers(inner, &[&format!("chain-{}", n + 1)]),
                    None => unknown(),
                }
            }
        }
    })
    .await;
    let schemas = open(&[&fake.uri]);
    let found = schemas.get(1).await;
    assert!(
        matches!(found, Ok(Lookup::Avro(_))),
        "{found:?} {:?}",
        fake.seen().iter().map(|s| s.path.clone()).collect::<Vec<_>>()
    );
    let error = schemas.get(2).await.unwrap_err();
    assert!(error.class() == Class::Retry && error.to_string().contains("lacks"), "{error}");
    for (id, why) in [(3, "PROTOBUF"), (4, "more than 64")] {
        let found = schemas.get(id).await;
        assert!(matches!(&found, Ok(Lookup::NotAvro(told)) if told.contains(why)), "{found:?}");
    }
}

#[tokio::test]
async fn addresses_are_taken_as_they_are_meant() {
    let fake = Fake::start(|seen, _| match seen.path.as_str() {
        "/apis/ccompat/v7/schemas/ids/7" => record(),
        other => panic!("{other}"),
    })
    .await;
    for root in ["/apis/ccompat/v7", "/apis/ccompat/v7/"] {
        assert!(matches!(open(&[&format!(" {}{root} ", fake.uri)]).get(7).await, Ok(Lookup::Avro(_))));
    }
    for wrong in ["registry:8081", "ftp://u:hunter2@h", "", "http://u:hunter2@h/?x=1", "http://h/#hunter2"] {
        let error = Schemas::http(settings(&[wrong])).unwrap_err();
        assert!(error.class() == Class::Config && !error.to_string().contains("hunter2"), "{error}");
    }
    assert_eq!(Schemas::http(settings(&[])).unwrap_err().class(), Class::Config);
    for text in ["no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let ca = HttpSettings { ca_file: Some(file.path().to_owned()), ..settings(&[&fake.uri]) };
        let error = Schemas::http(ca).map(|_| ()).unwrap_err();
        assert_eq!(error.class(), Class::Config, "{error}");
    }
}

#[tokio::test]
async fn a_ping_asks_what_k2_will_ask() {
    let fake = Fake::start(|seen, _| match seen.path.as_str() {
        "/subjects" => reply(200, r#"["a","b","c"]"#),
        "/shy/subjects" => reply(403, ""),
        path if path.starts_with("/closed") => reply(401, ""),
        path if path.starts_with("/other") => reply(404, "<html>"),
        _ => unknown(),
    })
    .await;
    assert_eq!(open(&[&fake.uri]).ping().await.unwrap(), "3 subjects");
    assert_eq!(open(&[&format!("{}/shy", fake.uri)]).ping().await.unwrap(), "answers");
    for (root, words) in [("/closed", "registry.password"), ("/other", "registry.url must be the root")] {
        let error = open(&[&fake.uri, &format!("{}{root}", fake.uri)]).ping().await.unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(root) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn percent_encoding() {
    for (text, plain) in
        [("a", "a"), ("%41%2f%2F", "A//"), ("%4", "%4"), ("%+1", "%+1"), ("%C3%A9", "é"), ("a+b%", "a+b%")]
    {
        assert_eq!(decoded(text), plain);
    }
}
