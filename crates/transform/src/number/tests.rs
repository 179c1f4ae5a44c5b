#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;
use proptest::prelude::*;

#[test]
fn a_number_is_what_the_contract_says() {
    for yes in ["0", "-0", "1", "-1", "007", "1.5", "-1.50", "0.000000000000000000001", "99999999999999999999999"] {
        assert!(is_number(yes.as_bytes()), "{yes}");
    }
    for no in [
        "", "-", ".", ".5", "5.", "-.5", "+1", "1e5", "1E5", "1.e5", " 1", "1 ", "1 2", "1,5", "1.2.3", "--1", "NaN",
        "nan", "Infinity", "inf", "-inf", "0x10", "1_000", "１", "1\n", "1\0", "١", "1.-5", "null",
    ] {
        assert!(!is_number(no.as_bytes()), "{no:?}");
        assert_eq!(decimal(no.as_bytes()), Decimal::Not, "{no:?}");
        assert_eq!(seconds(no.as_bytes()), None, "{no:?}");
    }
}

#[test]
fn decimals_are_exact_or_out_of_range() {
    use Decimal::{OutOfRange, Unscaled};
    for (text, value) in [
        ("0", Unscaled(0)),
        ("-0.0", Unscaled(0)),
        ("1", Unscaled(100_000_000)),
        ("-1.5", Unscaled(-150_000_000)),
        ("0.00000001", Unscaled(1)),
        ("-0.00000001", Unscaled(-1)),
        ("9999999999.99999999", Unscaled(999_999_999_999_999_999)),
        ("-9999999999.99999999", Unscaled(-999_999_999_999_999_999)),
        ("10000000000", OutOfRange),
        ("9999999999.999999990000", Unscaled(999_999_999_999_999_999)),
        ("9999999999.999999991", OutOfRange),
        ("0.000000001", OutOfRange),
        ("-0.000000001", OutOfRange),
        ("1.1000000000000000000000000000000000000000000", Unscaled(110_000_000)),
        ("1.10000000000000000000000000000000000000000001", OutOfRange),
        ("00000000000000000000000000000000000000000001", Unscaled(100_000_000)),
        ("-000000000000000000009999999999", Unscaled(-999_999_999_900_000_000)),
        ("0000000000010000000000", OutOfRange),
        ("99999999999999999999999999999999999999999999999999", OutOfRange),
    ] {
        assert_eq!(decimal(text.as_bytes()), value, "{text}");
    }
}

#[test]
fn seconds_are_cut_and_stop_at_the_ends() {
    for (text, micros) in [
        ("0", 0),
        ("1", 1_000_000),
        ("1700000000.123456", 1_700_000_000_123_456),
        ("1700000000.1234569", 1_700_000_000_123_456),
        ("1700000000.9999999999", 1_700_000_000_999_999),
        ("1700000000.1", 1_700_000_000_100_000),
        ("0001.000001", 1_000_001),
        ("-1.5", -1_500_000),
        ("-0.0000009", 0),
        ("-1.0000019", -1_000_001),
        ("9223372036854.775807", i64::MAX),
        ("9223372036854.775808", i64::MAX),
        ("9223372036855", i64::MAX),
        ("-9223372036854.775808", i64::MIN),
        ("-9223372036854.775809", i64::MIN),
        ("99999999999999999999999999999999999", i64::MAX),
        ("-99999999999999999999999999999999999.5", i64::MIN),
    ] {
        assert_eq!(seconds(text.as_bytes()), Some(micros), "{text}");
    }
}

#[test]
fn rfc_3339_times() {
    for (text, micros) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000_000),
        ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123_456),
        ("2023-11-14t22:13:20.1z", 1_700_000_000_100_000),
        ("2023-11-14 23:13:20+01:00", 1_700_000_000_000_000),
        ("2023-11-14T16:43:20-05:30", 1_700_000_000_000_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    ] {
        assert_eq!(rfc3339(text.as_bytes()), Some(micros), "{text}");
    }
    for no in [
        "",
        "2023-11-14",
        "2023-11-14T22:13:20",
        "2023-13-14T22:13:20Z",
        "2023-02-29T00:00:00Z",
        "2023-00-01T00:00:00Z",
        "2023-04-31T00:00:00Z",
        "2023-04-00T00:00:00Z",
        "2023-04-01T24:00:00Z",
        "2023-04-01T23:60:00Z",
        "2023-04-01T23:59:60Z",
        "2023-04-01T23:59:59.Z",
        "2023-04-01T23:59:59+1:00",
        "2023-04-01T23:59:59+24:00",
        "2023-04-01T23:59:59Z ",
        "20230401T235959Z",
        "x023-04-01T23:59:59Z",
        "1700000000",
    ] {
        assert_eq!(rfc3339(no.as_bytes()), None, "{no}");
    }
}

#[test]
fn shown_forms() {
    assert_eq!(shown_instant(0), "1970-01-01T00:00:00Z");
    assert_eq!(shown_instant(1_700_000_000_120_000), "2023-11-14T22:13:20.12Z");
    assert_eq!(shown_instant(-1), "1969-12-31T23:59:59.999999Z");
    assert_eq!(shown_instant(i64::MAX), "9223372036854775807 µs");
    assert_eq!(shown_instant(i64::MIN), "-9223372036854775808 µs");
    assert_eq!(shown_span(300_000_000), "5m");
    assert_eq!(shown_span(365 * 86_400_000_000), "365d");
    assert_eq!(shown_span(1_500_000), "1500ms");
    assert_eq!(shown_span(0), "0s");
}

proptest! {
    #[test]
    fn any_bytes_have_an_answer(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let number = is_number(&text);
        prop_assert_eq!(number, decimal(&text) != Decimal::Not);
        prop_assert_eq!(number, seconds(&text).is_some());
        let _ = rfc3339(&text);
    }

    #[test]
    fn what_is_written_is_read(value in -999_999_999_999_999_999i64..=999_999_999_999_999_999, zeros in 0usize..12) {
        let sign = if value < 0 { "-" } else { "" };
        let plain = value.unsigned_abs();
        let text = format!("{sign}{}{}.{:08}{}", "0".repeat(zeros), plain / 100_000_000, plain % 100_000_000, "0".repeat(zeros));
        prop_assert_eq!(decimal(text.as_bytes()), Decimal::Unscaled(value));
    }

    #[test]
    fn instants_are_read_as_they_are_shown(micros in -62_135_596_800_000_000i64..=253_402_300_799_999_999) {
        prop_assert_eq!(rfc3339(shown_instant(micros).as_bytes()), Some(micros));
    }
}
