#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
use super::*;

#[test]
fn a_frame_is_a_zero_an_id_and_the_rest() {
    for (value, frame, id) in [
        (None, Frame::Tombstone, None),
        (Some(&b""[..]), Frame::Unframed(Unframed::Short(0)), None),
        (Some(b"\0\0\0\0"), Frame::Unframed(Unframed::Short(4)), None),
        (Some(b"{\"a\":1}"), Frame::Unframed(Unframed::Magic(b'{')), None),
        (Some(b"\0\0\0\0\x07"), Frame::Framed { id: 7, body: b"" }, Some(7)),
        (Some(b"\0\xff\xff\xff\xfeab"), Frame::Framed { id: -2, body: b"ab" }, Some(-2)),
        (Some(b"\0\0\0\x01\0abc"), Frame::Framed { id: 256, body: b"abc" }, Some(256)),
        (Some(b"\0\0\0\x01\0abcd"), Frame::TooLarge { bytes: 9 }, Some(256)),
        // the order of the contract: what is no frame is never too large
        (Some(b"\x01\0\0\x01\0abcd"), Frame::Unframed(Unframed::Magic(1)), None),
    ] {
        assert_eq!(Frame::of(value, 8), frame, "{value:?}");
        assert_eq!(schema_id(value), id, "{value:?}");
    }
}
