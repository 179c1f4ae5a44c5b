//! Confluent's wire format: byte 0x00, the schema id as a 4-byte big-endian integer, the Avro body.

/// The bytes before the body.
pub(crate) const HEADER: usize = 5;

/// What a Kafka value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// Null.
    Tombstone,
    /// No frame; why.
    Unframed(Unframed),
    /// A frame, with more bytes than a record may have.
    TooLarge {
        /// The bytes of the value, header included.
        bytes: usize,
    },
    /// A frame.
    Framed {
        /// The schema id, signed as the registry has it.
        id: i32,
        /// What comes after the header.
        body: &'a [u8],
    },
}

/// Why a value is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unframed {
    /// It has fewer bytes than the header.
    Short(usize),
    /// It does not begin with 0x00.
    Magic(u8),
}

impl<'a> Frame<'a> {
    /// Takes a value apart. `max` bytes are allowed.
    pub(crate) fn of(value: Option<&'a [u8]>, max: u64) -> Self {
        match value {
            None => Self::Tombstone,
            Some(value) => match value.split_first_chunk::<HEADER>() {
                None => Self::Unframed(Unframed::Short(value.len())),
                Some(([0, ..], _)) if u64::try_from(value.len()).is_ok_and(|bytes| bytes > max) => {
                    Self::TooLarge { bytes: value.len() }
                }
                Some(([0, id @ ..], body)) => Self::Framed { id: i32::from_be_bytes(*id), body },
                Some(([first, ..], _)) => Self::Unframed(Unframed::Magic(*first)),
            },
        }
    }
}

/// The schema id that a value's frame names, whatever else is wrong with the value.
pub(crate) fn schema_id(value: Option<&[u8]>) -> Option<i32> {
    match value?.split_first_chunk::<HEADER>()?.0 {
        [0, id @ ..] => Some(i32::from_be_bytes(*id)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "frame/tests.rs"]
mod tests;
