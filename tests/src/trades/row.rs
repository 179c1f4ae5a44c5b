//! What must become of a record: a row of silver, or a dead letter.

/// One of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// A row of silver.
    Silver(Box<SilverRow>),
    /// A dead letter.
    Dlq(Reject),
}

/// Why a record is a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// `error_reason`
    pub reason: &'static str,
    /// `error_type`
    pub error_type: &'static str,
    /// `schema_id`: the frame's.
    pub schema_id: Option<i32>,
}

/// A row of silver, but for the two columns that tell the wall clock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the columns'")]
pub struct SilverRow {
    pub message_id: String,
    pub trade_id: String,
    pub symbol: String,
    pub exchange: String,
    pub asset_class: String,
    pub timestamp: i64,
    /// In units of 10⁻⁸.
    pub price: i128,
    /// In units of 10⁻⁸.
    pub quantity: i128,
    pub currency: String,
    pub side: String,
    pub trade_conditions: Vec<String>,
    pub source_sequence: Option<i64>,
    pub ingestion_timestamp: i64,
    pub platform_sequence: Option<i64>,
    pub vendor_data: Option<String>,
    pub schema_id: i32,
    /// Days since 1970.
    pub exchange_date: i32,
    pub kafka_topic: String,
    pub kafka_partition: i32,
    pub kafka_offset: i64,
}
