#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use k2_model::Class;

fn settings(properties: &[(&str, &str)]) -> ClientSettings {
    ClientSettings { brokers: "localhost:1".into(), properties: pairs(properties).collect() }
}

#[test]
fn what_correctness_rests_on_is_refused_with_a_reason() {
    for key in [
        "group.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "auto.offset.reset",
        "isolation.level",
        "check.crcs",
        "partition.assignment.strategy",
        "group.protocol",
        "enable.partition.eof",
        "bootstrap.servers",
        "queued.max.messages.kbytes",
        "allow.auto.create.topics",
    ] {
        assert!(refused_property(key).is_some_and(|why| !why.is_empty()), "{key}");
        let error = validate_property(key, "x").unwrap_err();
        assert_eq!(error.class(), Class::Config);
        assert!(error.to_string().contains(key), "{error}");
    }
    assert_eq!(refused_property("linger.ms"), None);
}

#[test]
fn every_refused_property_exists() {
    for (key, _) in REFUSED {
        if let Err(failure) = native::check_property(key, "\u{1}") {
            assert!(!failure.text.contains("No such configuration property"), "{failure}");
        }
    }
}

#[test]
fn an_unknown_key_or_a_bad_value_is_named() {
    validate_property("fetch.wait.max.ms", "100").unwrap();
    validate_property("security.protocol", "sasl_ssl").unwrap();
    for (key, value) in [("fetch.wait.max.mss", "100"), ("fetch.wait.max.ms", "soon"), ("security.protocol", "none")] {
        let error = validate_property(key, value).unwrap_err();
        assert_eq!(error.class(), Class::Config);
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[test]
fn the_rules_of_reading_win_over_everything() {
    let mut config =
        SourceConfig::new("t", "g", settings(&[("session.timeout.ms", "6000"), ("fetch.wait.max.ms", "7")]));
    config.prefetch_bytes = 8 << 20;
    let all: BTreeMap<_, _> = member_properties(&config).unwrap().into_iter().collect();
    for (key, value) in [
        ("isolation.level", "read_committed"),
        ("check.crcs", "true"),
        ("auto.offset.reset", "error"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "true"),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("group.protocol", "classic"),
        ("group.id", "g"),
        ("socket.timeout.ms", "40000"),
        ("session.timeout.ms", "6000"),
        ("fetch.wait.max.ms", "7"),
        ("queued.max.messages.kbytes", "1365"),
        ("fetch.max.bytes", "1048576"),
    ] {
        assert_eq!(all.get(key).map(String::as_str), Some(value), "{key}");
    }
    for (key, value) in &all {
        native::check_property(key, value).unwrap();
    }
    config.client = settings(&[("isolation.level", "read_uncommitted")]);
    assert_eq!(member_properties(&config).unwrap_err().class(), Class::Config);
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", settings(&[("sasl.password", "hunter2")]));
    assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_topic_that_is_asked_for_all_the_time_would_never_be_read() {
    for value in ["0", "50", "499"] {
        let error = validate_property("topic.metadata.refresh.interval.ms", value).unwrap_err();
        assert_eq!(error.class(), Class::Config);
        assert!(error.to_string().contains("500 or more"), "{error}");
    }
    for value in ["-1", "500", "300000"] {
        validate_property("topic.metadata.refresh.interval.ms", value).unwrap();
    }
}
