#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;

/// File, variables, `--set`s; then the whole text of every error, in order.
pub(super) type Case =
    (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str], &'static [&'static str]);

/// The errors of single values, and of values that belong together but are no pipelines'.
const GOLDEN: &[Case] = &[
    // names
    ("[kafka]\nbroker = \"a:1\"", &[], &[], &["k2.toml:2:1: kafka.broker: unknown key; did you mean kafka.brokers?"]),
    ("[kafak]\nbrokers = \"a:1\"\nx = 1", &[], &[], &["k2.toml:1:2: kafak: unknown key; did you mean kafka?"]),
    ("brokers = \"a:1\"", &[], &[], &["k2.toml:1:1: brokers: unknown key; did you mean kafka.brokers?"]),
    (
        "[kafka]\nretries = 3",
        &[],
        &[],
        &["k2.toml:2:1: kafka.retries: unknown key; in kafka there are brokers, properties"],
    ),
    ("", &[], &["kafka.broker=a:1"], &["--set kafka.broker: unknown key; did you mean kafka.brokers?"]),
    (
        "",
        &[("K2_KAFKA__BROKER", "a:1")],
        &[],
        &["environment K2_KAFKA__BROKER: kafka.broker: unknown key; did you mean K2_KAFKA__BROKERS?"],
    ),
    ("", &[], &["kafka.brokers.x=1"], &["--set kafka.brokers.x: unknown key; kafka.brokers has no keys below it"]),
    ("", &[], &["kafka=1"], &["--set kafka: is a section; name a key of it"]),
    ("", &[], &["kafka.brokers"], &["--set kafka.brokers: has no value; write --set KEY=VALUE"]),
    (
        "",
        &[],
        &["kafka.properties={}"],
        &["--set kafka.properties: is a table; set one of its properties: kafka.properties.NAME"],
    ),
    ("kafka = \"a:1\"", &[], &[], &["k2.toml:1:1: kafka: is a section; write [kafka] and its keys below"]),
    (
        "[[pipelines]]\nkind = \"bronze\"",
        &[],
        &[],
        &["k2.toml:1:3: pipelines: is a section; write [pipelines] and its keys below"],
    ),
    // syntax
    (
        "[kafka]\nbrokers = \n",
        &[],
        &[],
        &["k2.toml:2:11: this is not TOML: string values must be quoted, expected literal string"],
    ),
    // types
    ("[kafka]\nbrokers = 9092", &[], &[], &["k2.toml:2:11: kafka.brokers: wants a text in quotes, not an integer"]),
    (
        "[catalog]\ncreate_tables = \"yes\"",
        &[],
        &[],
        &["k2.toml:2:17: catalog.create_tables: wants true or false, not a string"],
    ),
    ("", &[], &["catalog.create_tables=yes"], &["--set catalog.create_tables: \"yes\" is neither true nor false"]),
    (
        "[store]\nconnect_timeout = 5\nrequest_timeout = \"5\"\n",
        &[],
        &["store.connect_timeout=5 fortnights"],
        &[
            "k2.toml:2:19: store.connect_timeout: wants a duration such as \"10s\", not an integer",
            "k2.toml:3:19: store.request_timeout: \"5\" has no unit; write a whole number with a unit: 200ms, 10s, 1m, 2h, 7d",
            "--set store.connect_timeout: \"5 fortnights\" has an unknown unit \"fortnights\"; write a whole number with a unit: 200ms, 10s, 1m, 2h, 7d",
        ],
    ),
    (
        "[memory]\nbudget = \"384M\"",
        &[],
        &["rules.max_record=big"],
        &[
            "k2.toml:2:10: memory.budget: \"384M\" has an unknown unit \"M\"; write a whole number with a unit: 64KiB, 384MiB, 1GiB (1024s), 8MB (1000s), or bytes",
            "--set rules.max_record: \"big\" is not a size; write a whole number with a unit: 64KiB, 384MiB, 1GiB (1024s), 8MB (1000s), or bytes",
        ],
    ),
    (
        "[kafka.properties]\nx = [1]",
        &[],
        &[],
        &["k2.toml:2:5: kafka.properties.x: wants a text, a number or true/false, not an array"],
    ),
    // limits
    ("[memory]\nbudget = 1048576", &[], &[], &["k2.toml:2:10: memory.budget: 1MiB is less than the least, 64MiB"]),
    ("[memory]\nbudget = -1", &[], &[], &["k2.toml:2:10: memory.budget: must not be negative"]),
    ("", &[], &["store.max_uploads=0"], &["--set store.max_uploads: 0 is less than the least, 1"]),
    (
        "",
        &[],
        &["pipelines.bronze-binance.commit_interval=200ms", "defaults.bronze.commit_interval=2h"],
        &[
            "--set pipelines.bronze-binance.commit_interval: 200ms is less than the least, 1s",
            "--set defaults.bronze.commit_interval: 2h is more than the most, 1h",
        ],
    ),
    // words
    (
        "[catalog]\ntype = \"sqll\"",
        &[],
        &[],
        &["k2.toml:2:8: catalog.type: \"sqll\" is not one of \"sql\", \"rest\"; did you mean \"sql\"?"],
    ),
    (
        "",
        &[],
        &["pipelines.bronze-kraken.start=newest"],
        &["--set pipelines.bronze-kraken.start: \"newest\" is not one of \"earliest\", \"latest\""],
    ),
    // addresses and names
    ("", &[], &["kafka.brokers="], &["--set kafka.brokers: must not be empty"]),
    (
        "",
        &[],
        &["kafka.brokers=http://a"],
        &["--set kafka.brokers: brokers have no scheme; write host:port, several with commas between them"],
    ),
    (
        "",
        &[],
        &["kafka.brokers=a:1,,b:1"],
        &[
            "--set kafka.brokers: there is an empty broker in the list; write host:port, several with commas between them",
        ],
    ),
    (
        "",
        &[],
        &["kafka.brokers=a:x"],
        &[
            "--set kafka.brokers: \"a:x\" has no good port (1 to 65535); write host:port, several with commas between them",
        ],
    ),
    (
        "",
        &[],
        &["http.listen=9464"],
        &["--set http.listen: \"9464\" has no port; write address:port, or nothing to turn it off"],
    ),
    (
        "",
        &[],
        &["registry.url=registry:8081"],
        &["--set registry.url: has the scheme \"registry\"; write http://… or https://…"],
    ),
    (
        "",
        &[],
        &["store.endpoint=//s3"],
        &["--set store.endpoint: is not an address (relative URL without a base); write http://host:port"],
    ),
    (
        "",
        &[],
        &["catalog.uri=catalog.db"],
        &["--set catalog.uri: has no scheme; write sqlite:FILE, postgres://USER@HOST/DB or http(s)://HOST"],
    ),
    (
        "",
        &[],
        &["catalog.uri=sqlite::memory:"],
        &["--set catalog.uri: a catalog in memory forgets its tables, and the rows with them; write sqlite:FILE"],
    ),
    (
        "",
        &[],
        &["catalog.warehouse=hdfs://n/x"],
        &[
            "--set catalog.warehouse: has the scheme \"hdfs\", which K2 cannot write to; write a folder, file:///FOLDER, s3://BUCKET/…, gs://BUCKET/… or az://CONTAINER/…",
        ],
    ),
    (
        "",
        &[],
        &["catalog.warehouse=s3a://b/x"],
        &["--set catalog.warehouse: is a scheme of Hadoop; write s3://BUCKET/…"],
    ),
    (
        "",
        &[],
        &["catalog.namespace=a/b"],
        &["--set catalog.namespace: \"a/b\" has a '/' in it; letters, digits, `_` and `-` are allowed"],
    ),
    (
        "",
        &[],
        &["pipelines.bronze-kraken.topic=a b"],
        &[
            "--set pipelines.bronze-kraken.topic: \"a b\" is no name for a topic; Kafka allows letters, digits, `.`, `_` and `-`",
        ],
    ),
    ("", &[], &["pipelines.bronze-kraken.table= "], &["--set pipelines.bronze-kraken.table: must not be empty"]),
    // several together
    (
        "[catalog]\nuri = \"http://c\"",
        &[],
        &[],
        &[
            "k2.toml:2:7: catalog.uri: is an http address, but catalog.type is \"sql\"; write sqlite:FILE or postgres://…, or set type = \"rest\"",
        ],
    ),
    (
        "",
        &[],
        &["catalog.type=rest"],
        &["--set catalog.type: is \"rest\", but catalog.uri is not set to match: http(s)://…"],
    ),
    ("[store]\naccess_key = \"a\"", &[], &[], &["k2.toml:2:14: store.access_key: needs store.secret_key beside it"]),
    ("", &[], &["store.secret_key=hunter2"], &["--set store.secret_key: needs store.access_key beside it"]),
    (
        "[registry]\nurl = \"http://a:8081,b:8081\"",
        &[],
        &[],
        &["k2.toml:2:7: registry.url: has the scheme \"b\"; write http://… or https://…"],
    ),
    (
        "",
        &[],
        &["registry.url=http://a:8081,"],
        &["--set registry.url: is not an address (relative URL without a base); write http://host:port"],
    ),
    ("", &[], &["registry.user=u"], &["--set registry.user: needs registry.password beside it"]),
    ("", &[], &["registry.password=hunter2"], &["--set registry.password: needs registry.user beside it"]),
    ("", &[], &["registry.user=u:v"], &["--set registry.user: must not have a `:` in it"]),
    (
        "[registry]\ntoken = \"t\"\nuser = \"u\"\npassword = \"hunter2\"",
        &[],
        &[],
        &[
            "k2.toml:2:9: registry.token: is set beside registry.user or registry.password; the registry takes one login, take the other out",
        ],
    ),
    (
        "[registry]\nurl = \"http://a,http://u:hunter2@b\"",
        &[("K2_REGISTRY__TOKEN", "t")],
        &[],
        &[
            "k2.toml:2:7: registry.url: has a user in it, beside registry.user or registry.token; the registry takes one login, take the other out",
        ],
    ),
    ("", &[], &["catalog.properties.uri=x"], &["--set catalog.properties.uri: is set by catalog.uri"]),
    (
        "",
        &[],
        &["kafka.properties.group.id=x"],
        &["--set kafka.properties.group.id: cannot be set: each pipeline has its own fixed `group`"],
    ),
];

#[test]
fn every_error_says_where_what_and_what_else() {
    tell(GOLDEN);
}

/// Every case gives its errors, and no others.
pub(super) fn tell(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (file, environment, set, expected) in cases {
        let got = match Config::load(&sources(file, environment, set)) {
            Ok(_) => vec!["no error".to_owned()],
            Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
        };
        if got != *expected {
            wrong.push(format!("{file:?} {environment:?} {set:?}\n  got  {got:#?}\n  not  {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_errors_are_told_at_once_in_the_order_of_the_layers() {
    let file = "[kafka]\nbroker = \"a\"\n[memory]\nbudget = 1\n";
    let all = Config::load(&sources(file, &[("K2_HTTP__LISTEN", "x")], &["catalog.type=no"])).unwrap_err();
    let error = Error::from(all);
    assert_eq!(error.class(), k2_model::Class::Config);
    assert_eq!(
        error.to_string(),
        "4 errors in the configuration\n  \
         k2.toml:2:1: kafka.broker: unknown key; did you mean kafka.brokers?\n  \
         k2.toml:4:10: memory.budget: 1 bytes is less than the least, 64MiB\n  \
         environment K2_HTTP__LISTEN: http.listen: \"x\" has no port; write address:port, or nothing to turn it off\n  \
         --set catalog.type: \"no\" is not one of \"sql\", \"rest\""
    );
}
