//! The bytes of one record: Confluent frame, Avro primitives, decimal text. Written into a fixed buffer on the stack;
//! the largest record of either exchange is below 200 bytes.

/// A record value under construction.
pub(super) struct Body {
    bytes: [u8; Body::CAPACITY],
    len: usize,
}

impl Body {
    const CAPACITY: usize = 256;

    #[inline(always)]
    pub(super) fn new() -> Self {
        Self { bytes: [0; Self::CAPACITY], len: 0 }
    }

    #[inline(always)]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    #[inline(always)]
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    #[inline(always)]
    fn append(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The frame in front of the Avro body.
    #[inline(always)]
    pub(super) fn frame(&mut self, schema_id: u32) {
        self.push(0);
        self.append(&schema_id.to_be_bytes());
    }

    /// Avro `long`: zigzag, then seven bits a byte, lowest first.
    #[inline(always)]
    pub(super) fn long(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest >= 0x80 {
            self.push(low_byte(rest) | 0x80);
            rest >>= 7;
        }
        self.push(low_byte(rest));
    }

    /// Avro `string` of at most 63 bytes, so that its length takes one byte.
    #[inline(always)]
    pub(super) fn text(&mut self, text: &[u8]) {
        debug_assert!(text.len() < 64);
        self.push(low_byte(text.len() as u64) << 1);
        self.append(text);
    }

    /// Avro `boolean`.
    #[inline(always)]
    pub(super) fn boolean(&mut self, value: bool) {
        self.push(u8::from(value));
    }

    /// Avro `union{null, boolean}`.
    #[inline(always)]
    pub(super) fn optional_boolean(&mut self, value: Option<bool>) {
        match value {
            None => self.push(0),
            Some(value) => {
                self.push(2);
                self.boolean(value);
            }
        }
    }

    /// Avro `string` with a number of 1e-8 units as decimal text, of which `decimals` (at most 8) are shown.
    #[inline(always)]
    pub(super) fn decimal(&mut self, units: u64, decimals: u8) {
        self.fixed_point(units / 100_000_000, units % 100_000_000 / 10u64.pow(8 - u32::from(decimals)), decimals);
    }

    /// Avro `string` with a time as `seconds.microseconds`.
    #[inline(always)]
    pub(super) fn seconds(&mut self, micros: i64) {
        let micros = micros.max(0).cast_unsigned();
        self.fixed_point(micros / 1_000_000, micros % 1_000_000, 6);
    }

    #[inline(always)]
    fn fixed_point(&mut self, mut whole: u64, mut fraction: u64, decimals: u8) {
        let mut text = [b'0'; 32];
        let mut at = text.len();
        for _ in 0..decimals {
            at -= 1;
            text[at] = b'0' + low_byte(fraction % 10);
            fraction /= 10;
        }
        at -= 1;
        text[at] = b'.';
        loop {
            at -= 1;
            text[at] = b'0' + low_byte(whole % 10);
            whole /= 10;
            if whole == 0 {
                break;
            }
        }
        self.text(&text[at..]);
    }
}

#[inline(always)]
fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}
