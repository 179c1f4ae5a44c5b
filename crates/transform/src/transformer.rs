//! Batches of raw records into silver rows and DLQ rows.
use crate::{Plan, Resolver};
use arrow::array::RecordBatch;
use k2_model::{Error, Result, TopicIdentity};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One pipeline's transform.
#[allow(missing_debug_implementations)]
pub struct Transformer {
    plan: Arc<Plan>,
    resolver: Resolver,
}

/// What became of a batch: every raw row is in exactly one of the two.
#[derive(Debug)]
pub struct Routed {
    /// Rows of [`crate::silver_schema`], in offset order per partition.
    pub silver: RecordBatch,
    /// Rows of [`crate::dlq_schema`], in offset order per partition.
    pub dlq: RecordBatch,
    /// How often each notice applied, e.g. `unknown_currency`.
    pub notices: BTreeMap<String, u64>,
}

/// What would become of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its Kafka timestamp, µs.
    pub timestamp: Option<i64>,
    /// The schema id of its frame.
    pub schema_id: Option<i32>,
    /// The id that it gets in either table.
    pub message_id: String,
    /// The silver row, column by column as text (null: `None`), or why there is none.
    pub outcome: std::result::Result<Vec<(String, Option<String>)>, Rejected>,
    /// The notices that apply to it.
    pub notices: Vec<String>,
}

/// Why a record is a DLQ row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// `error_reason`
    pub reason: String,
    /// `error_type`
    pub error_type: String,
    /// `error_detail`
    pub detail: Option<String>,
}

impl Transformer {
    /// Starts with nothing known about any schema id.
    pub fn new(plan: Arc<Plan>, resolver: Resolver) -> Self {
        Self { plan, resolver }
    }
    /// Learns the schema ids of a batch. Waits as long as the registry is no help.
    pub async fn prepare(&mut self, batch: &RecordBatch) -> Result<()> {
        let _ = (&self.plan, &mut self.resolver, batch);
        Err(Error::unknown("being built"))
    }
    /// Routes a prepared batch. Pure but for `now`, which only fills the wall-clock columns.
    pub fn route(
        &mut self,
        identity: &TopicIdentity,
        records: &RecordBatch,
        received_at: i64,
        now: i64,
    ) -> Result<Routed> {
        let _ = (identity, records, received_at, now);
        Err(Error::unknown("being built"))
    }
    /// What would become of each record of a prepared batch, in the order of the batch.
    pub fn explain(
        &mut self,
        identity: &TopicIdentity,
        records: &RecordBatch,
        received_at: i64,
        now: i64,
    ) -> Result<Vec<Fate>> {
        let _ = (identity, records, received_at, now);
        Err(Error::unknown("being built"))
    }
}
