#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use crate::asset;
use k2_model::Class;

pub(crate) fn definition(exchange: &str) -> Definition {
    let (folder, name) = match exchange {
        "coinbase" => ("config/examples/coinbase".to_owned(), "config/examples/coinbase/coinbase.sql".to_owned()),
        _ => ("config/schemas".to_owned(), format!("config/transforms/{exchange}.sql")),
    };
    Definition {
        pipeline: format!("silver-{exchange}"),
        reader_schema: asset(&format!("{folder}/{exchange}_raw_trade.avsc")).unwrap(),
        projection: asset(&name).unwrap(),
        rules: asset("config/rules/trades.toml").unwrap(),
        max_future: Duration::from_secs(300),
        max_age: Duration::from_secs(365 * 86_400),
        max_record: 8 << 20,
        bronze_source: format!("bronze_{exchange}_trades"),
    }
}

/// The message of compiling Binance's definition with another projection.
fn wrong(sql: &str) -> String {
    let mut definition = definition("binance");
    definition.projection = Text { label: "my.sql".to_owned(), text: sql.to_owned() };
    let error = Plan::compile(&definition).unwrap_err();
    assert_eq!(error.class(), Class::Config, "{error}");
    error.to_string()
}

/// Binance's projection with a piece of it replaced.
fn edited(from: &str, to: &str) -> String {
    let text = asset("config/transforms/binance.sql").unwrap().text;
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

#[track_caller]
fn says(error: &str, parts: &[&str]) {
    println!("{error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn the_shipped_pipelines_compile() {
    for exchange in ["binance", "kraken", "coinbase"] {
        let plan = Plan::compile(&definition(exchange)).unwrap();
        let version = plan.rules_version();
        assert_eq!((version.len(), &version[..7]), (19, "trades@"), "{version}");
    }
}

#[test]
fn the_version_is_that_of_the_contents() {
    let version = |edit: fn(&mut Definition)| {
        let mut definition = definition("kraken");
        edit(&mut definition);
        Plan::compile(&definition).unwrap().rules_version().to_owned()
    };
    let original = version(|_| {});
    assert_eq!(original, version(|_| {}));
    assert_eq!(original, version(|d| d.projection.label = "elsewhere".to_owned()));
    assert_eq!(original, version(|d| d.pipeline = "other".to_owned()));
    for edit in [
        (|d| d.reader_schema.text.push('\n')) as fn(&mut Definition),
        |d| d.projection.text.push('\n'),
        |d| d.rules.text.push('\n'),
        |d| d.max_future += Duration::from_secs(1),
        |d| d.max_age += Duration::from_secs(1),
        |d| d.max_record += 1,
    ] {
        assert_ne!(original, version(edit));
    }
}

#[test]
fn an_unknown_column_is_told_with_its_place_and_the_nearest() {
    says(
        &wrong(&edited("parse_decimal(price) AS", "parse_decimal(pricee) AS")),
        &["my.sql:9:19", "no column pricee", "did you mean price?", "trade_time_ms", "_message_id", "silver-binance"],
    );
    says(&wrong(&edited("    symbol,", "    Symbol2,")), &["my.sql:5:5", "no column symbol2", "did you mean symbol?"]);
}

#[test]
fn what_is_no_sql_is_told_with_its_place() {
    says(&wrong("SELECT FROM FROM record"), &["my.sql:1:13", "no table from"]);
    says(&wrong("SELECT\n  trade_id,,\n  symbol FROM record"), &["my.sql:2:12", "this is not SQL"]);
    says(&wrong("SELECT 'x FROM record"), &["my.sql:1:8", "this is not SQL"]);
    says(&wrong(""), &["my.sql:1:1", "one SELECT"]);
    says(&wrong("SELECT 1; SELECT 2"), &["my.sql:1:1", "one SELECT"]);
    says(&wrong("DROP TABLE record"), &["a SELECT, nothing else"]);
}

#[test]
fn a_wrong_function_or_type_is_told_with_its_place() {
    says(
        &wrong(&edited("parse_decimal(price) AS", "parse_decimals(price) AS")),
        &["my.sql:9:5", "parse_decimals", "parse_decimal"],
    );
    says(
        &wrong(&edited("parse_decimal(price) AS price", "price")),
        &["my.sql:9:5", "price is VARCHAR", "must be DECIMAL(18,8)", "CAST"],
    );
    says(
        &wrong(&edited("millis_to_micros(trade_time_ms) AS", "trade_time_ms * 1.5 AS")),
        &["my.sql:8:28", "timestamp is", "must be BIGINT"],
    );
    says(&wrong(&edited("parse_decimal(price) AS", "parse_decimal(price, 2) AS")), &["my.sql:9:5", "parse_decimal"]);
    says(&wrong(&edited("'UNKNOWN'\n", "1 + 'x'\n")), &["my.sql:"]);
    says(&wrong(&edited("'event_type', event_type", "event_type, event_type")), &["my.sql:", "json_object"]);
    says(&wrong(&edited("FROM record", "FROM trades")), &["my.sql:", "no table trades", "record"]);
}

#[test]
fn missing_and_unknown_silver_columns_are_told() {
    says(
        &wrong(&edited("'crypto' AS asset_class,", "")),
        &["my.sql:4:5", "column is missing: asset_class", "trade_conditions"],
    );
    says(
        &wrong("SELECT symbol FROM record"),
        &[
            "my.sql:1:8",
            "columns are missing: trade_id, exchange, asset_class, timestamp",
            "the columns there are: symbol",
        ],
    );
    says(
        &wrong(&edited("'crypto' AS asset_class", "'crypto' AS asset_clas")),
        &["my.sql:7:17", "no column asset_clas; did you mean asset_class?"],
    );
    says(&wrong(&edited("    symbol,", "    symbol, symbol,")), &["my.sql:", "symbol"]);
}

#[test]
fn a_row_depends_on_its_record_alone() {
    for (from, to, why) in [
        ("FROM record", "FROM record WHERE price IS NOT NULL", "WHERE"),
        ("FROM record", "FROM record ORDER BY price", "ORDER BY"),
        ("FROM record", "FROM record LIMIT 5", "LIMIT"),
        ("FROM record", "FROM record a CROSS JOIN record b", ""),
        ("FROM record", "FROM record UNION ALL SELECT * FROM record", ""),
        ("'crypto' AS", "CAST(now() AS VARCHAR) AS", "now()"),
        ("'crypto' AS", "uuid() AS", "uuid()"),
        ("'crypto' AS", "CAST(random() AS VARCHAR) AS", "random()"),
        ("'crypto' AS", "CAST(current_date AS VARCHAR) AS", "current_date"),
        ("'crypto' AS", "max(symbol) OVER () AS", "a window function"),
        ("'crypto' AS", "(SELECT max(symbol) FROM record) AS", ""),
        ("'crypto' AS", "$max_age AS", "$max_age"),
        ("SELECT\n", "SELECT DISTINCT\n", "DISTINCT"),
    ] {
        says(&wrong(&edited(from, to)), &["my.sql:", why]);
    }
    says(&wrong("SELECT 'a' AS symbol"), &["my.sql:1:1", "FROM record"]);
}

#[test]
fn rules_are_compiled_with_the_lines_of_their_file() {
    let with = |from: &str, to: &str| {
        let mut definition = definition("binance");
        assert!(definition.rules.text.contains(from), "{from}");
        definition.rules = Text { label: "my.toml".to_owned(), text: definition.rules.text.replacen(from, to, 1) };
        match Plan::compile(&definition) {
            Ok(_) => panic!("{to} compiles"),
            Err(error) => error.to_string(),
        }
    };
    let line =
        |of: &str| asset("config/rules/trades.toml").unwrap().text.lines().position(|l| l.contains(of)).unwrap() + 1;
    let at = format!("my.toml:{}:9", line("when = \"price <= 0\""));
    says(&with("\"price <= 0\"", "\"prise <= 0\""), &[&at, "no column prise; did you mean price?", "_timestamp"]);
    says(&with("\"price <= 0\"", "\"price\""), &[&at, "price_must_be_positive", "true, false or null"]);
    says(&with("\"price <= 0\"", "\"price <= \""), &["my.toml:", "not SQL"]);
    says(&with("\"price <= 0\"", "\"price <= random()\""), &[&at, "random()"]);
    says(&with("\"price <= 0\"", "\"max(price) <= 0\""), &[&at]);
    says(&with("$max_future)", "$max_futur)"), &["my.toml:", "$max_futur"]);
    says(
        &with("error_type = \"parse\"", "errortype = \"parse\""),
        &["my.toml:", "no key errortype; did you mean error_type?"],
    );
    says(&with("error_type = \"parse\"\n", ""), &["my.toml:", "error_type is missing"]);
    says(&with("name = \"price_is_null\"", "name = \"tombstone\""), &["my.toml:", "tombstone"]);
    says(&with("name = \"price_is_null\"", "name = \"price_not_a_decimal\""), &["my.toml:", "two of the name"]);
    says(&with("name = \"trades\"", "name = \"a b\""), &["my.toml:", "name must be"]);
    says(&with("[[notice]]", "[notice]"), &["my.toml:", "[[notice]]"]);
    says(&with("[[notice]]", "[[notice"), &["my.toml:", "not TOML"]);
}

#[test]
fn a_reader_schema_that_is_none_is_told() {
    let with = |text: &str| {
        let mut definition = definition("binance");
        definition.reader_schema = Text { label: "my.avsc".to_owned(), text: text.to_owned() };
        Plan::compile(&definition).unwrap_err().to_string()
    };
    says(&with("{"), &["my.avsc", "reader schema"]);
    says(&with("\"string\""), &["my.avsc", "reader schema"]);
    says(
        &with(r#"{"type":"record","name":"R","fields":[{"name":"_offset","type":"long"}]}"#),
        &["my.avsc", "_offset", "alias"],
    );
}
