//! How to decode the records of a schema id: a program per id, compiled at its first sight and kept.

use crate::registry::{Lookup, Resolver};
use k2_avro::{Program, Reader};
use std::collections::HashMap;
use std::sync::Arc;

/// What a schema id means for a pipeline.
#[derive(Debug, Clone)]
pub(crate) enum Codec {
    /// Its records can be decoded.
    Ready(Arc<Program>),
    /// None of its records can be: why.
    Broken(Arc<str>),
    /// The registry does not know it.
    Unknown,
}

/// The programs of a pipeline.
#[derive(Debug, Default)]
pub(crate) struct Codecs {
    known: HashMap<i32, Codec>,
}

impl Codecs {
    /// Whether an id needs no question any more.
    pub(crate) fn settled(&self, id: i32) -> bool {
        self.known.contains_key(&id)
    }

    /// What an id means; none if nobody has asked the registry for it yet.
    pub(crate) fn get(&mut self, id: i32, resolver: &Resolver, reader: &Reader) -> Option<Codec> {
        if let Some(codec) = self.known.get(&id) {
            return Some(codec.clone());
        }
        let codec = match resolver.verdict(id)? {
            // not kept: it may be registered later
            Lookup::Unknown => return Some(Codec::Unknown),
            Lookup::NotAvro(why) => Codec::Broken(why.into()),
            Lookup::Avro(writer) => match Program::compile(&writer, reader) {
                Ok(program) => Codec::Ready(Arc::new(program)),
                Err(e) => Codec::Broken(format!("its schema cannot be read as the reader schema: {e}").into()),
            },
        };
        Some(self.known.entry(id).or_insert(codec).clone())
    }
}
