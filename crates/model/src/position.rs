//! The position of a source in a table: what the table property `k2.source.<source id>` holds.
//!
//! It is written in the commit that adds the rows it speaks of, and is the truth about what has been read
//! (ARCHITECTURE.md, invariant 2). The JSON form is a contract: `tests/golden/source_state.json` pins it, and a binary
//! that meets a newer version refuses to work on the table.

use crate::ids::{BatchId, ClusterId, NextOffset, Partition, SnapshotId, TopicId};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the JSON form that this binary reads and writes.
pub const VERSION: u32 = 1;

/// The state of one source in one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// The version of this form.
    pub version: u32,
    /// The Kafka cluster that the offsets belong to.
    pub cluster_id: ClusterId,
    /// The snapshot that this state was committed with.
    pub snapshot: SinkSnapshot,
    /// The version of the rules that routed the records (silver and DLQ).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// Commits to the DLQ table that silver commits of this source have decided on, and that may not have been made yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intents: Vec<Intent>,
    /// Per topic name.
    pub topics: BTreeMap<String, TopicPosition>,
}

/// The rejects of a silver batch, on their way to the DLQ table: written with the silver rows' commit, which is the
/// decision, and carried out afterwards by whoever comes by - as often as need be, with effect once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The silver batch.
    pub batch: BatchId,
    /// The DLQ table's full name, for messages.
    pub table: String,
    /// Its uuid: a table dropped and made again is another one.
    pub uuid: uuid::Uuid,
    /// The topic of the records.
    pub topic: String,
    /// Its incarnation.
    pub topic_id: Option<TopicId>,
    /// What the batch covers, `[from, to)` per partition.
    pub ranges: BTreeMap<Partition, (NextOffset, NextOffset)>,
    /// The version of the rules that rejected them. They may have changed before the intent is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// How many rejects.
    pub rows: u64,
    /// The schema of the DLQ table that the files were written with.
    pub schema: i32,
    /// The partition spec that they were written under.
    pub spec: i32,
    /// The data files, each in Iceberg's JSON form of a data file.
    pub files: Vec<serde_json::Value>,
}

/// The last snapshot that a sink of ours made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkSnapshot {
    /// Its id.
    pub id: SnapshotId,
    /// Its sequence number: tells an expired ancestor from a rollback.
    pub sequence: i64,
}

/// The position in one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPosition {
    /// The incarnation of the topic; none where the brokers know no topic ids.
    pub topic_id: Option<TopicId>,
    /// Per partition.
    pub partitions: BTreeMap<Partition, PartitionPosition>,
}

/// The position in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionPosition {
    /// The next offset to read.
    pub next: NextOffset,
    /// The leader epoch of the last record read, where the broker told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<i32>,
    /// The last record read; none where none has been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Fingerprint>,
    /// The batch that moved the position here.
    pub batch: BatchId,
}

/// What a record is known again by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp in milliseconds; −1 where it has none.
    pub timestamp_ms: i64,
    /// CRC-32 (IEEE) over key and value, each with its length in front (see [`fingerprint_crc`]).
    pub crc: u32,
}

/// The checksum of a [`Fingerprint`]: lengths are little-endian 8 bytes, a null is length 2⁶⁴−1 without bytes.
pub fn fingerprint_crc(key: Option<&[u8]>, value: Option<&[u8]>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in [key, value] {
        match part {
            Some(bytes) => {
                hasher.update(&(bytes.len() as u64).to_le_bytes());
                hasher.update(bytes);
            }
            None => hasher.update(&u64::MAX.to_le_bytes()),
        }
    }
    hasher.finalize()
}

impl SourceState {
    /// Reads the JSON form. A newer version, or anything that is not ours, halts: guessing would lose or double rows.
    pub fn parse(key: &str, text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let broken = |e: serde_json::Error| {
            Error::halt(format!("table property {key} is not a position that K2 wrote"))
                .caused_by(e)
                .fix("restore the property from a previous metadata file, or `k2 offsets reset` it and then `k2 offsets set` all partitions")
        };
        let Versioned { version } = serde_json::from_str(text).map_err(broken)?;
        if version != VERSION {
            return Err(Error::halt(format!(
                "table property {key} has version {version}; this binary knows {VERSION}"
            ))
            .fix("run the newer K2 that wrote it"));
        }
        serde_json::from_str(text).map_err(broken)
    }

    /// The JSON form.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|e| Error::unknown("cannot write the source state").caused_by(e))
    }

    /// The position in a partition, if the table has one.
    pub fn partition(&self, topic: &str, partition: Partition) -> Option<&PartitionPosition> {
        self.topics.get(topic)?.partitions.get(&partition)
    }
}

#[cfg(test)]
#[path = "position/tests.rs"]
mod tests;
