#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;

#[test]
fn a_path_that_is_no_file_is_the_built_in_of_that_name() {
    let text = asset("config/rules/trades.toml").unwrap();
    assert_eq!(text.label, "config/rules/trades.toml (built in)");
    assert!(text.text.contains("price_not_a_decimal"));
    assert_eq!(asset("./config/rules/trades.toml").unwrap(), text);
}

#[test]
fn a_file_wins_over_the_built_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "mine").unwrap();
    let path = path.display().to_string();
    assert_eq!(asset(&path).unwrap(), Text { label: path, text: "mine".to_owned() });
}

#[test]
fn neither_names_what_there_is() {
    let error = asset("config/rules/trade.toml").unwrap_err();
    assert_eq!(error.class(), k2_model::Class::Config);
    assert!(error.to_string().contains("config/rules/trade.toml"), "{error}");
    assert!(error.to_string().contains("config/rules/trades.toml"), "{error}");
}

#[test]
fn the_schema_folder_holds_the_two_writer_schemas() {
    let mut names: Vec<_> = built_in("config/schemas").into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(
        names,
        ["1-binance_raw_trade.avsc", "2-kraken_raw_trade.avsc", "binance_raw_trade.avsc", "kraken_raw_trade.avsc"]
    );
    assert_eq!(built_in("./config/schemas/").len(), 4);
    assert!(built_in("config").is_empty());
    assert!(built_in("config/schem").is_empty());
}
