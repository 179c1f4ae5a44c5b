//! The id of a record: UUIDv5 over where it is in Kafka, the same in every run and every replay.
//!
//! Namespace 4aa63622-8c4a-56f0-9c65-d4ee721720cb (UUIDv5 of the URL namespace and `k2:record`), name
//! `{cluster id}/{topic id}/{partition}/{offset}`; where the brokers know no topic ids, the topic's name takes their place.
//!
//! Every record needs one, so it is built for speed: all that comes before the offset is hashed once per partition (it
//! mostly fills a whole SHA-1 block), and the text goes straight into the column's buffer.

use arrow::array::{Int32Array, Int64Array, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use k2_model::{Error, Result, TopicIdentity};
use sha1::{Digest, Sha1};
use uuid::Uuid;

/// The namespace of record ids.
pub(crate) const NAMESPACE: Uuid = Uuid::from_u128(0x4aa6_3622_8c4a_56f0_9c65_d4ee_7217_20cb);

const LENGTH: usize = 36;

/// The ids of records, in their order.
pub(crate) fn message_ids(
    identity: &TopicIdentity,
    partitions: &Int32Array,
    offsets: &Int64Array,
) -> Result<StringArray> {
    let topic = identity.topic_id.as_ref().map_or(&*identity.topic, |id| id.as_str());
    let topic = Sha1::new()
        .chain_update(NAMESPACE.as_bytes())
        .chain_update(identity.cluster_id.as_str())
        .chain_update("/")
        .chain_update(topic)
        .chain_update("/");
    let mut texts = vec![0; offsets.len() * LENGTH];
    let mut known: Option<(i32, Sha1)> = None;
    for ((partition, offset), text) in
        partitions.values().iter().zip(offsets.values()).zip(texts.chunks_exact_mut(LENGTH))
    {
        let hasher = match &known {
            Some((of, hasher)) if of == partition => hasher,
            _ => {
                let mut hasher = topic.clone();
                hasher.update(Digits::of(i64::from(*partition)).as_bytes());
                hasher.update(b"/");
                &known.insert((*partition, hasher)).1
            }
        };
        let hash = hasher.clone().chain_update(Digits::of(*offset).as_bytes()).finalize();
        write_version_5(&hash, text);
    }
    let ends = OffsetBuffer::from_lengths(std::iter::repeat_n(LENGTH, offsets.len()));
    StringArray::try_new(ends, Buffer::from(texts), None)
        .map_err(|e| Error::unknown("cannot make message ids").caused_by(e))
}

/// The UUIDv5 of a name, as text.
pub(crate) fn uuid5(namespace: &Uuid, name: &[u8]) -> [u8; LENGTH] {
    let mut text = [0; LENGTH];
    write_version_5(&Sha1::new().chain_update(namespace.as_bytes()).chain_update(name).finalize(), &mut text);
    text
}

/// Writes a hash as the text of a UUID of version 5.
fn write_version_5(hash: &[u8], text: &mut [u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut place = 0;
    for (index, byte) in hash.iter().take(16).enumerate() {
        let byte = match index {
            6 => byte & 0x0f | 0x50,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        if matches!(index, 4 | 6 | 8 | 10) {
            text[place] = b'-';
            place += 1;
        }
        text[place] = HEX[usize::from(byte >> 4)];
        text[place + 1] = HEX[usize::from(byte & 15)];
        place += 2;
    }
}

/// An integer in decimal digits, without a heap.
pub(crate) struct Digits {
    digits: [u8; 20],
    from: usize,
}

impl Digits {
    pub(crate) fn of(value: i64) -> Self {
        let mut this = Self { digits: [b'0'; 20], from: 20 };
        let mut rest = value.unsigned_abs();
        loop {
            this.from -= 1;
            this.digits[this.from] = b"0123456789"[usize::try_from(rest % 10).unwrap_or_default()];
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            this.from -= 1;
            this.digits[this.from] = b'-';
        }
        this
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.from..]
    }
}

#[cfg(test)]
#[path = "message_id/tests.rs"]
mod tests;
