#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use super::*;

fn varint(mut raw: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while raw >= 0x80 {
        bytes.push(u8::try_from(raw & 0x7f).unwrap() | 0x80);
        raw >>= 7;
    }
    bytes.push(u8::try_from(raw).unwrap());
    bytes
}

fn zig(value: i64) -> Vec<u8> {
    varint(((value << 1) ^ (value >> 63)).cast_unsigned())
}

fn problem<T: std::fmt::Debug>(result: Fallible<T>) -> (usize, Problem) {
    let error = result.unwrap_err();
    (error.position, error.problem)
}

/// Each length of varint, at the end of the body, in front of the end, and far from it.
#[test]
fn longs_of_every_length() {
    let edges = (0..64).flat_map(|bit| {
        let power = 1i64 << bit;
        [power, power.wrapping_sub(1), power.wrapping_neg(), power.wrapping_neg().wrapping_sub(1)]
    });
    for value in edges.chain([0, i64::MIN, i64::MAX, 1_700_000_000_000, 1_700_000_000_000_000]) {
        for behind in 0..12 {
            let mut body = zig(value);
            let length = body.len();
            // top bits set behind it: they must not leak in
            body.resize(length + behind, 0xff);
            let mut cursor = Cursor::new(&body);
            assert_eq!(cursor.long().unwrap(), value, "{behind} bytes behind");
            assert_eq!(cursor.position(), length);
            let mut cursor = Cursor::new(&body);
            assert_eq!(cursor.small("a length").unwrap(), value);
            let mut cursor = Cursor::new(&body);
            assert_eq!(cursor.int().ok(), i32::try_from(value).ok());
        }
    }
}

#[test]
fn padded_varints_are_numbers_up_to_ten_bytes() {
    for length in 1..=10 {
        let mut body = vec![0x80; length - 1];
        body.push(0);
        body[0] |= 0x02;
        let expected = 1;
        body.extend([0xff; 3]);
        if length == 1 {
            body[0] = 0x02;
        }
        assert_eq!(Cursor::new(&body).long().unwrap(), expected, "{length} bytes");
        assert_eq!(Cursor::new(&body).int().unwrap(), 1, "{length} bytes");
    }
}

#[test]
fn varints_that_are_none() {
    let mut eleven = vec![0x80; 10];
    eleven.push(0);
    assert_eq!(problem(Cursor::new(&eleven).long()), (0, Problem::VarintTooLong { what: "a long" }));
    let mut large = vec![0xff; 9];
    large.push(2);
    assert_eq!(problem(Cursor::new(&large).long()), (0, Problem::VarintTooLarge { what: "a long" }));
    large[9] = 1;
    assert_eq!(Cursor::new(&large).long().unwrap(), i64::MIN);
    for length in 0..10 {
        let body = vec![0x80; length];
        let expected = Problem::EndOfBody { what: "an int", needs: length + 1, left: length };
        assert_eq!(problem(Cursor::new(&body).int()), (0, expected));
    }
    let body = zig(i64::from(i32::MAX) + 1);
    assert_eq!(problem(Cursor::new(&body).int()), (0, Problem::IntOutOfRange { found: 2_147_483_648 }));
}

#[test]
fn booleans_are_0_or_1() {
    assert!(!Cursor::new(&[0]).boolean().unwrap());
    assert!(Cursor::new(&[1]).boolean().unwrap());
    for found in 2..=255 {
        assert_eq!(problem(Cursor::new(&[found]).boolean()), (0, Problem::NotABoolean { found }));
    }
    assert_eq!(problem(Cursor::new(&[]).boolean()).0, 0);
}

#[test]
fn floats_are_little_endian_and_need_all_their_bytes() {
    assert_eq!(Cursor::new(&1.5f32.to_le_bytes()).float().unwrap(), 1.5);
    assert_eq!(Cursor::new(&(-2.25f64).to_le_bytes()).double().unwrap(), -2.25);
    let nan = f64::from_bits(0x7ff8_0000_0000_0001);
    assert_eq!(Cursor::new(&nan.to_le_bytes()).double().unwrap().to_bits(), nan.to_bits());
    assert_eq!(problem(Cursor::new(&[0; 3]).float()).1, Problem::EndOfBody { what: "a float", needs: 4, left: 3 });
    assert_eq!(problem(Cursor::new(&[0; 7]).double()).1, Problem::EndOfBody { what: "a double", needs: 8, left: 7 });
}

#[test]
fn lengths_are_inside_of_the_body() {
    assert_eq!(Cursor::new(b"\x06abc").text(STRING).unwrap(), b"abc");
    assert_eq!(Cursor::new(&[0]).bytes(BYTES).unwrap(), b"");
    let beyond = Problem::LengthBeyondBody { what: BYTES, found: 3, left: 2 };
    assert_eq!(problem(Cursor::new(b"\x06ab").bytes(BYTES)), (0, beyond));
    for found in [i64::MAX, 1 << 40] {
        let body = zig(found);
        let beyond = Problem::LengthBeyondBody { what: STRING, found, left: 0 };
        assert_eq!(problem(Cursor::new(&body).text(STRING)), (0, beyond));
    }
    for found in [-1, i64::MIN] {
        let body = zig(found);
        assert_eq!(problem(Cursor::new(&body).text(STRING)), (0, Problem::NegativeLength { what: STRING, found }));
    }
}

#[test]
fn text_is_utf_8_and_the_first_wrong_byte_is_named() {
    let good = ["", "a", "äöü", "日本", "\u{10FFFF}", "plain ascii that is longer than a word"];
    for text in good {
        let mut body = zig(i64::try_from(text.len()).unwrap());
        body.extend(text.as_bytes());
        assert_eq!(Cursor::new(&body).text(STRING).unwrap(), text.as_bytes());
    }
    let bad: [(&[u8], usize, u8); 6] = [
        (b"\x02\xff", 1, 0xff),
        (b"\x06ab\x80", 3, 0x80),
        (b"\x04\xc0\x80", 1, 0xc0),         // an overlong zero
        (b"\x06\xed\xa0\x80", 1, 0xed),     // a surrogate
        (b"\x08\xf4\x90\x80\x80", 1, 0xf4), // beyond U+10FFFF
        (b"\x06ab\xe2", 3, 0xe2),           // cut inside of a character
    ];
    for (body, position, found) in bad {
        assert_eq!(problem(Cursor::new(body).text(STRING)), (position, Problem::NotUtf8 { what: STRING, found }));
    }
}

#[test]
fn branches_and_symbols_exist() {
    assert_eq!(Cursor::new(&[2]).branch(2).unwrap(), 1);
    assert_eq!(problem(Cursor::new(&[4]).branch(2)), (0, Problem::NoSuchBranch { found: 2, branches: 2 }));
    assert_eq!(problem(Cursor::new(&[1]).branch(2)), (0, Problem::NoSuchBranch { found: -1, branches: 2 }));
    assert_eq!(problem(Cursor::new(&[0]).symbol(0)), (0, Problem::NoSuchSymbol { found: 0, symbols: 0 }));
}

fn drain(body: &[u8], cost: usize) -> Fallible<usize> {
    let (mut cursor, mut blocks, mut total) = (Cursor::new(body), Blocks::default(), 0);
    loop {
        let items = blocks.next(&mut cursor, cost)?;
        for _ in 0..items {
            cursor.boolean()?;
        }
        total += items;
        if items == 0 {
            cursor.end()?;
            return Ok(total);
        }
    }
}

#[test]
fn blocks_with_and_without_a_size() {
    assert_eq!(drain(&[0], 1).unwrap(), 0);
    assert_eq!(drain(&[4, 1, 0, 0], 1).unwrap(), 2);
    assert_eq!(drain(&[2, 1, 2, 0, 0], 1).unwrap(), 2);
    // two items of two bytes together, then one
    assert_eq!(drain(&[3, 4, 1, 0, 2, 1, 0], 1).unwrap(), 3);
}

#[test]
fn block_sizes_are_true() {
    let wrong = |announced, actual| (0, Problem::BlockSize { announced, actual });
    assert_eq!(problem(drain(&[3, 2, 1, 0, 0], 1)), wrong(1, 2));
    assert_eq!(problem(drain(&[3, 6, 1, 0, 0], 1)), wrong(3, 2));
    assert_eq!(problem(drain(&[3, 8, 1, 0, 0], 1)), wrong(4, 3));
    assert_eq!(problem(drain(&[3, 3, 1, 0, 0], 1)), wrong(-2, 3));
    let mut huge = vec![3];
    huge.extend(zig(i64::MAX));
    assert_eq!(problem(drain(&huge, 1)), wrong(i64::MAX, 0));
}

#[test]
fn blocks_announce_no_more_items_than_bytes_are_left() {
    assert_eq!(problem(drain(&[6, 1, 0], 1)), (0, Problem::TooManyItems { found: 3, left: 2 }));
    assert_eq!(problem(drain(&[5, 4, 1, 0], 1)), (0, Problem::TooManyItems { found: 3, left: 2 }));
    for count in [i64::MAX, i64::MIN, 10_000_000] {
        let mut body = zig(count);
        if count < 0 {
            body.push(0);
        }
        let expected = Problem::TooManyItems { found: count.unsigned_abs(), left: 0 };
        assert_eq!(problem(drain(&body, 1)), (0, expected));
    }
}

#[test]
fn what_items_may_take_is_limited() {
    let mut body = vec![0; 1_003];
    body[..2].copy_from_slice(&zig(1_000));
    assert_eq!(drain(&body, 4_000).unwrap(), 1_000);
    let limit = BUDGET_FLOOR + 1_003 * BUDGET_PER_BYTE;
    assert_eq!(problem(drain(&body, 5_000)), (2, Problem::TooLarge { limit }));
}

#[test]
fn nothing_follows_the_record() {
    let cursor = Cursor::new(&[0, 0]);
    assert_eq!(problem(cursor.end()), (0, Problem::TrailingBytes { found: 2 }));
}
