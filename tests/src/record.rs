//! What makes two records equal: one checksum over key, value, headers and timestamp.
//!
//! Null and empty differ, the order and the number of headers count.

/// The part of a record's checksum that its producer knows before it is sent.
pub fn content_crc<'a>(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    field(&mut crc, key);
    field(&mut crc, value);
    for (name, value) in headers {
        field(&mut crc, Some(name.as_bytes()));
        field(&mut crc, value);
    }
    crc.finalize()
}

/// The whole checksum: the content and the timestamp that the broker keeps (ms).
pub fn record_crc(content: u32, timestamp_ms: Option<i64>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&content.to_le_bytes());
    field(&mut crc, timestamp_ms.map(i64::to_le_bytes).as_ref().map(|bytes| bytes.as_slice()));
    crc.finalize()
}

fn field(crc: &mut crc32fast::Hasher, bytes: Option<&[u8]>) {
    match bytes {
        None => crc.update(&[0]),
        Some(bytes) => {
            crc.update(&[1]);
            crc.update(&(bytes.len() as u64).to_le_bytes());
            crc.update(bytes);
        }
    }
}
