#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;

#[test]
fn numbers_of_any_length() {
    let cases: [(&[u8], Option<i128>); 9] = [
        (&[], None),
        (&[0], Some(0)),
        (&[0x7f], Some(127)),
        (&[0x80], Some(-128)),
        (&[0x00, 0x80], Some(128)),
        (&[0xff, 0x7f], Some(-129)),
        (&[0xff; 40], Some(-1)),
        (&[0x00; 40], Some(0)),
        (&[0x01; 17], None),
    ];
    for (bytes, expected) in cases {
        assert_eq!(from_bytes(bytes), expected, "{bytes:?}");
    }
    // the sign is the first byte's, also where the last sixteen would say otherwise
    let mut positive = vec![0x00, 0xff];
    positive.extend([0; 15]);
    assert_eq!(from_bytes(&positive), None);
    for number in [i128::MIN, i128::MAX, 1, -1, 123_456_789_012_345_678_901_234_567_890] {
        assert_eq!(from_bytes(&number.to_be_bytes()), Some(number));
        let mut longer = vec![if number < 0 { 0xff } else { 0 }; 5];
        longer.extend(number.to_be_bytes());
        assert_eq!(from_bytes(&longer), Some(number));
        longer[0] ^= 1;
        assert_eq!(from_bytes(&longer), None);
    }
}

#[test]
fn precision_counts_digits() {
    assert!(fits(99, 2) && fits(-99, 2) && !fits(100, 2) && !fits(-100, 2));
    let nines = 10i128.pow(38) - 1;
    assert!(fits(nines, 38) && !fits(nines + 1, 38) && !fits(i128::MIN, 38));
}

#[test]
fn text_has_its_point() {
    assert_eq!(text(12_345, 2), "123.45");
    assert_eq!(text(-5, 2), "-0.05");
    assert_eq!(text(7, 0), "7");
    assert_eq!(text(0, 3), "0.000");
}
