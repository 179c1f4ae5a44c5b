//! What SQL sees of a record beside its decoded fields: where it is in Kafka. The names begin with `_`.
//!
//! When K2 received the record is not among them: a row that depended on it would be another one in a replay.

use crate::contract;
use arrow::array::{Array, ArrayRef, Int32Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use std::sync::Arc;

/// A column that K2 knows of every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// `_topic`
    Topic,
    /// `_partition`
    Partition,
    /// `_offset`
    Offset,
    /// `_timestamp`: Kafka's; null where the record has none.
    Timestamp,
    /// `_key`
    Key,
    /// `_schema_id`
    SchemaId,
    /// `_message_id`
    MessageId,
}

impl Known {
    /// All of them, in the order in which they follow the decoded fields.
    pub(crate) const ALL: [Self; 7] =
        [Self::Topic, Self::Partition, Self::Offset, Self::Timestamp, Self::Key, Self::SchemaId, Self::MessageId];

    /// Name, type and nullability.
    pub(crate) fn field(self) -> Field {
        match self {
            Self::Topic => Field::new("_topic", DataType::Utf8, false),
            Self::Partition => Field::new("_partition", DataType::Int32, false),
            Self::Offset => Field::new("_offset", DataType::Int64, false),
            Self::Timestamp => Field::new("_timestamp", contract::instant(), true),
            Self::Key => Field::new("_key", DataType::Binary, true),
            Self::SchemaId => Field::new("_schema_id", DataType::Int32, false),
            Self::MessageId => Field::new("_message_id", DataType::Utf8, false),
        }
    }

    /// The silver column that it fills where the projection does not.
    pub(crate) fn silver_name(self) -> Option<&'static str> {
        match self {
            Self::Topic => Some("kafka_topic"),
            Self::Partition => Some("kafka_partition"),
            Self::Offset => Some("kafka_offset"),
            Self::SchemaId => Some("schema_id"),
            Self::MessageId => Some("message_id"),
            Self::Timestamp | Self::Key => None,
        }
    }

    /// The one that fills this silver column.
    pub(crate) fn filling(column: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.silver_name() == Some(column))
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.field().name() == name)
    }
}

/// Places of the columns of [`k2_model::batch::RAW_SCHEMA`].
pub(crate) mod raw {
    pub(crate) const VALUE: usize = 0;
    pub(crate) const KEY: usize = 1;
    pub(crate) const PARTITION: usize = 3;
    pub(crate) const OFFSET: usize = 4;
    pub(crate) const TIMESTAMP: usize = 5;
}

/// The records of a batch, and what is known of all of them.
pub(crate) struct Records<'a> {
    /// The raw columns.
    pub(crate) batch: &'a RecordBatch,
    /// The topic.
    pub(crate) topic: &'a str,
    /// Per record.
    pub(crate) message_ids: StringArray,
    /// Per record; 0 where there is no frame.
    pub(crate) schema_ids: Int32Array,
}

impl Records<'_> {
    /// A known column, of some of the records or (`None`) of all of them in order.
    pub(crate) fn known(&self, known: Known, rows: Option<&UInt32Array>) -> Result<ArrayRef, ArrowError> {
        let all: ArrayRef = match known {
            Known::Topic => {
                let rows = rows.map_or(self.batch.num_rows(), Array::len);
                return crate::projection::repeated(&StringArray::from(vec![self.topic]), rows);
            }
            Known::Partition => self.batch.column(raw::PARTITION).clone(),
            Known::Offset => self.batch.column(raw::OFFSET).clone(),
            Known::Timestamp => self.batch.column(raw::TIMESTAMP).clone(),
            Known::Key => self.batch.column(raw::KEY).clone(),
            Known::SchemaId => Arc::new(self.schema_ids.clone()),
            Known::MessageId => Arc::new(self.message_ids.clone()),
        };
        match rows {
            None => Ok(all),
            Some(rows) => take(&all, rows, None),
        }
    }
}
