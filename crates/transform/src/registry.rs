//! Where Avro schemas come from, by id: a registry with Confluent's API, or a folder of files.
//!
//! Owns what is known about schema ids, and the words for a registry that is no help. The rule that all of it serves
//! stands in contracts.md: a record goes to the DLQ as `unknown_schema_id` only after a clear "there is no such id"
//! (HTTP 404 with error_code 40403), given when the grace has passed. Whatever else goes wrong - no connection, 401,
//! 5xx, a page of HTML - says nothing about a record: the pipeline waits.
//!
//! Invariants:
//! 1. An id is for ever: what it was found to mean ([`Lookup::Avro`], [`Lookup::NotAvro`]) is never asked again. "Not
//!    there" is no such knowledge and is never kept here.
//! 2. One question is under way per id, however many pipelines want to know. Who comes while it is under way waits; the
//!    answer counts for who came before it was sent, so that no answer is older than its question.
//! 3. Nothing but an understood answer decides. An id is a signed 32-bit number, as the frame has it: a negative one
//!    is asked for like any other.
//!
//! A crash leaves nothing behind: all of it is in memory. Futures may be dropped at any point. Not here: what becomes of
//! a record ([`crate::transformer`]), and how long a pipeline waits for an id ([`Resolver`]).

mod answer;
mod folder;
mod grace;
mod http;
mod references;
mod resolver;
mod trouble;

pub use http::HttpSettings;
pub use resolver::Resolver;

use k2_avro::Schema;
use k2_model::Result;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use trouble::Trouble;

/// What an id means.
#[derive(Clone)]
pub enum Lookup {
    /// An Avro record; named types of other schemas that it refers to are in it.
    Avro(Arc<Schema>),
    /// A schema that no Avro record can be decoded with - Protobuf, JSON Schema, no record, broken text -, and why.
    NotAvro(String),
    /// A clear answer: there is no such id, now.
    Unknown,
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Avro(_) => f.write_str("Avro"),
            Self::NotAvro(why) => f.debug_tuple("NotAvro").field(why).finish(),
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

impl Lookup {
    /// The text of a schema, taken by the contract's letter: what is no Avro record is [`Lookup::NotAvro`].
    fn of_text(text: &str) -> Self {
        match Schema::parse(text) {
            Ok(schema) if schema.is_record() => Self::Avro(Arc::new(schema)),
            Ok(_) => Self::NotAvro("it is Avro, but no record".into()),
            Err(e) => Self::NotAvro(format!("its text is no Avro schema: {e}")),
        }
    }
}

/// The schemas of one registry or folder. Clones share what is known.
#[derive(Clone)]
pub struct Schemas(Arc<Shared>);

struct Shared {
    origin: Origin,
    known: Mutex<HashMap<i32, Lookup>>,
    flights: Mutex<HashMap<i32, Arc<Flight>>>,
}

enum Origin {
    Registry(Box<http::Client>),
    Folder(folder::Folder),
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schemas({self})")
    }
}

impl fmt::Display for Schemas {
    /// `http://registry:8081`, `config/schemas`: without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.origin {
            Origin::Registry(client) => write!(f, "{client}"),
            Origin::Folder(folder) => write!(f, "{folder}"),
        }
    }
}

impl Schemas {
    /// From a registry. Nothing is asked yet.
    pub fn http(settings: HttpSettings) -> Result<Self> {
        Ok(Self::of(Origin::Registry(Box::new(http::Client::new(settings)?))))
    }

    /// From a folder: files `<id>.avsc` and `<id>-<anything>.avsc`, other files are left alone. If there is no such
    /// folder, but one of that name is built in, then from that.
    ///
    /// A file may be added at any time, an id that is not known is looked for again; a file that changes is not read
    /// again.
    pub fn folder(path: &str) -> Result<Self> {
        Ok(Self::of(Origin::Folder(folder::Folder::open(path)?)))
    }

    fn of(origin: Origin) -> Self {
        Self(Arc::new(Shared { origin, known: Mutex::default(), flights: Mutex::default() }))
    }

    /// What an id means. A failure is of [`k2_model::Class::Retry`]: the registry is no help now. It says nothing
    /// about the id.
    pub async fn get(&self, id: i32) -> Result<Lookup> {
        self.ask(id).await.map_err(|trouble| trouble.error())
    }

    /// Whether all is well, in words: `3 subjects`. Else what is wrong and the way out.
    pub async fn ping(&self) -> Result<String> {
        match &self.0.origin {
            Origin::Registry(client) => client.ping().await,
            Origin::Folder(folder) => folder.ping().await,
        }
        .map_err(|trouble| trouble.error())
    }

    /// Whether no schema can come later.
    fn are_built_in(&self) -> bool {
        matches!(&self.0.origin, Origin::Folder(folder::Folder::BuiltIn { .. }))
    }

    /// The same as [`Schemas::get`]; the answer was sent for after this call (invariant 2).
    async fn ask(&self, id: i32) -> Result<Lookup, Trouble> {
        let called = Instant::now();
        if let Some(known) = self.known(id) {
            return Ok(known);
        }
        let seat = Seat::take(&self.0.flights, id);
        let mut last = seat.flight.lock().await;
        if let Some(known) = self.known(id) {
            return Ok(known);
        }
        if let Some(landed) = last.as_ref().filter(|landed| landed.sent >= called) {
            return landed.answer.clone();
        }
        let sent = Instant::now();
        let answer = match &self.0.origin {
            Origin::Registry(client) => client.lookup(id).await,
            Origin::Folder(folder) => folder.lookup(id).await,
        };
        if let Ok(found @ (Lookup::Avro(_) | Lookup::NotAvro(_))) = &answer {
            lock(&self.0.known).insert(id, found.clone());
        }
        *last = Some(Landed { sent, answer: answer.clone() });
        answer
    }

    fn known(&self, id: i32) -> Option<Lookup> {
        lock(&self.0.known).get(&id).cloned()
    }
}

/// The question about one id that is under way, or the last one while somebody still waits.
type Flight = tokio::sync::Mutex<Option<Landed>>;

struct Landed {
    sent: Instant,
    answer: Result<Lookup, Trouble>,
}

/// A place in the queue for an id; the last one to leave takes the queue away.
struct Seat<'a> {
    flights: &'a Mutex<HashMap<i32, Arc<Flight>>>,
    id: i32,
    flight: Arc<Flight>,
}

impl<'a> Seat<'a> {
    fn take(flights: &'a Mutex<HashMap<i32, Arc<Flight>>>, id: i32) -> Self {
        let flight = lock(flights).entry(id).or_default().clone();
        Self { flights, id, flight }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut flights = lock(self.flights);
        // clones are made under this lock only: two means the map's and ours
        if Arc::strong_count(&self.flight) == 2 {
            flights.remove(&self.id);
        }
    }
}

/// What these locks guard is whole at any time, whoever panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "registry/tests.rs"]
mod tests;
