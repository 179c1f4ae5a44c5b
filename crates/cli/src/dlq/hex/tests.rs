#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;

#[test]
fn the_mark_is_in_brackets() {
    let bytes = b"\0\0\0\0\x01\x06a/b\x061e5\xffxyz";
    let text = view(bytes, Some(&(9..13)), false);
    assert_eq!(
        text,
        [
            "> 00000000  00 00 00 00 01 06 61 2f 62[06 31 65 35]ff 78 79  |......a/b.1e5.xy|",
            "  00000010  7a                                               |z|",
        ]
    );
}

#[test]
fn a_mark_goes_over_lines_and_beyond_the_end() {
    let bytes: Vec<u8> = (0..20).collect();
    let text = view(&bytes, Some(&(15..18)), false);
    assert!(text[0].starts_with("> 00000000  00 ") && text[0].contains(" 0e[0f "), "{text:#?}");
    assert!(text[1].starts_with("> 00000010  10 11]12 13 "), "{text:#?}");
    assert_eq!(
        view(b"", Some(&(0..0)), false)[0].trim_end(),
        "> 00000000 [--]                                              ||"
    );
    let whole = view(&bytes[..16], Some(&(16..16)), false);
    assert!(whole[1].starts_with("> 00000010 [--]"), "{whole:#?}");
    assert_eq!(view(b"", None, false), Vec::<String>::new());
    // up to the edge of a line
    assert!(view(&bytes, Some(&(14..16)), false)[0].contains("[0e 0f]"), "closed where it ends");
}

#[test]
fn what_is_long_is_cut_but_not_at_the_mark() {
    let bytes = vec![7; 100_000];
    let text = view(&bytes, Some(&(50_000..50_001)), false);
    assert!(text.len() < 40, "{}", text.len());
    assert_eq!(text.iter().filter(|line| line.starts_with('>')).count(), 1);
    assert_eq!(text.iter().filter(|line| line.contains(" bytes …")).count(), 2);
    assert_eq!(view(&bytes, None, true).len(), 6250);
    let whole_marked = view(&bytes, Some(&(0..100_000)), false);
    assert!(whole_marked.len() < 40, "{}", whole_marked.len());
}

#[test]
fn a_word_has_all_bytes() {
    assert_eq!(word(&[0, 255, 16]), "00ff10");
}
