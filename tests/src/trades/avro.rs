//! As much of Avro's binary encoding as a trade needs, by hand, with the freedom to get it wrong.

/// Bytes of an Avro body.
#[derive(Debug, Clone, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// No bytes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `int` and `long`: zigzag, seven bits a byte, the lowest first.
    pub fn long(&mut self, value: i64) -> &mut Self {
        let mut rest = zigzag(value);
        while rest > 0x7f {
            self.bytes.push(low_bits(rest) | 0x80);
            rest >>= 7;
        }
        self.bytes.push(low_bits(rest));
        self
    }

    /// A `long` in ten bytes whatever its value: longer than need be, and right.
    pub fn long_padded(&mut self, value: i64) -> &mut Self {
        let mut rest = zigzag(value);
        for _ in 0..9 {
            self.bytes.push(low_bits(rest) | 0x80);
            rest >>= 7;
        }
        self.bytes.push(low_bits(rest));
        self
    }

    /// `string` and `bytes`.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.long(i64::try_from(value.len()).unwrap());
        self.raw(value)
    }

    /// `string`.
    pub fn string(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// `boolean`.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.raw(&[u8::from(value)])
    }

    /// `double`.
    pub fn double(&mut self, value: f64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// These bytes, whatever they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The body.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// Confluent's frame: a zero, the schema id big-endian, the body.
pub fn framed(schema_id: i32, body: &[u8]) -> Vec<u8> {
    let mut value = vec![0];
    value.extend_from_slice(&schema_id.to_be_bytes());
    value.extend_from_slice(body);
    value
}

/// The schema id of a frame; none if this is no frame.
pub fn frame_id(value: &[u8]) -> Option<i32> {
    let (head, _) = value.split_first_chunk::<5>()?;
    (head[0] == 0).then(|| i32::from_be_bytes([head[1], head[2], head[3], head[4]]))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn low_bits(value: u64) -> u8 {
    u8::try_from(value & 0x7f).unwrap()
}
