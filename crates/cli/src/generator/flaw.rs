//! What can be wrong with a record, as feed handlers and exchanges have got it wrong: one kind for most reasons that silver
//! has for sending a record to the dead letters.

/// A kind of bad record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flaw {
    /// No value at all.
    Tombstone,
    /// JSON where a frame should be.
    NotFramed,
    /// A frame with an id that no registry knows.
    UnknownSchema,
    /// The body ends before its last field.
    CutOff,
    /// A price with a thousands separator.
    PriceText,
    /// A price of zero.
    PriceZero,
    /// A quantity finer than eight decimals.
    QuantityTooFine,
    /// No symbol; Kraken: no quote.
    NoSymbol,
    /// A trade an hour ahead of its record.
    Future,
}

impl Flaw {
    pub(crate) const ALL: [Self; 9] = [
        Self::Tombstone,
        Self::NotFramed,
        Self::UnknownSchema,
        Self::CutOff,
        Self::PriceText,
        Self::PriceZero,
        Self::QuantityTooFine,
        Self::NoSymbol,
        Self::Future,
    ];

    /// The reason that silver has to name.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::NotFramed => "not_confluent_framed",
            Self::UnknownSchema => "unknown_schema_id",
            Self::CutOff => "avro_decode_failed",
            Self::PriceText => "price_not_a_decimal",
            Self::PriceZero => "price_must_be_positive",
            Self::QuantityTooFine => "decimal_out_of_range",
            Self::NoSymbol => "symbol_required",
            Self::Future => "timestamp_in_future",
        }
    }
}
