//! Verdicts on the schema ids of a pipeline's batches.
//!
//! Asks for the ids of a batch side by side and waits until each has a verdict: for a registry that is no help as long as
//! it takes, visibly; for ids that it does not know as [`super::grace`] says. A future that is dropped while it waits
//! leaves the clocks as they are.

use super::grace::Sights;
use super::trouble::Trouble;
use super::{Lookup, Schemas};
use futures::StreamExt;
use k2_model::Result;
use k2_model::patience::Patience;
use k2_model::retry::Backoff;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// How long an id stays unknown before that must be confirmed.
const RECHECK: Duration = Duration::from_secs(10);

/// So many questions of a pipeline are under way at the same time.
const AT_ONCE: usize = 32;

/// While ids have their grace, so much time passes between two questions for each of them, at least and at most …
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// … and so much more for each id that waits: a flood is no reason to flood the registry.
const PAUSE_PER_ID: Duration = Duration::from_millis(2);

/// Lines about unknown ids are so far apart.
const QUIET: Duration = Duration::from_secs(10);

/// What one pipeline knows about schema ids.
#[derive(Debug)]
pub struct Resolver {
    schemas: Schemas,
    pipeline: String,
    found: HashMap<i32, Lookup>,
    unknown: Sights,
    patience: Patience,
    refused: Option<Instant>,
    waiting: Notice,
    decided: Notice,
}

impl Resolver {
    /// For a pipeline, by its name. `grace` is how long an id may be unknown before its records count as wrong; none
    /// where the schemas are built in.
    pub fn new(schemas: Schemas, grace: Duration, pipeline: &str) -> Self {
        let grace = if schemas.are_built_in() { Duration::ZERO } else { grace };
        Self {
            patience: Patience::new(format!("the schema registry {schemas}, for {pipeline}")),
            schemas,
            pipeline: pipeline.to_owned(),
            found: HashMap::new(),
            unknown: Sights::new(grace, RECHECK),
            refused: None,
            waiting: Notice::default(),
            decided: Notice::default(),
        }
    }

    /// Returns when each of these ids has a verdict. That may take as long as the registry is no help: drop the future to
    /// stop waiting.
    pub async fn resolve(&mut self, ids: &BTreeSet<i32>) -> Result<()> {
        let now = Instant::now();
        let unsettled = |id: &&i32| !self.found.contains_key(id) && !self.unknown.is_fresh(**id, now);
        let mut open: BTreeSet<i32> = ids.iter().filter(unsettled).copied().collect();
        if open.is_empty() {
            return Ok(());
        }
        self.unknown.see(&open, now);
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        loop {
            let trouble = self.ask(&mut open).await;
            if let Some(trouble) = trouble {
                self.tell_refusal(&trouble);
                self.patience.wait(&trouble.error()).await;
                continue;
            }
            self.refused = None;
            self.patience.over();
            if open.is_empty() {
                return Ok(());
            }
            self.tell_waiting(&open);
            self.stall(&open, backoff.pause()).await;
        }
    }

    /// The verdict on an id of the last [`Resolver::resolve`].
    pub fn verdict(&self, id: i32) -> Option<Lookup> {
        let found = self.found.get(&id).cloned();
        found.or_else(|| self.unknown.is_unknown(id).then_some(Lookup::Unknown))
    }

    /// Asks for each of these ids once, or until the registry is no help; those that have a verdict then leave the set.
    async fn ask(&mut self, open: &mut BTreeSet<i32>) -> Option<Trouble> {
        let may_stall = self.unknown.may_stall(Instant::now());
        let questions: Vec<_> = open
            .iter()
            .map(|&id| {
                let schemas = self.schemas.clone();
                async move {
                    let asked = Instant::now();
                    (id, asked, schemas.ask(id).await)
                }
            })
            .collect();
        let mut answers = futures::stream::iter(questions).buffer_unordered(AT_ONCE);
        let (mut trouble, mut unknown) = (None, BTreeSet::new());
        while let Some((id, asked, answer)) = answers.next().await {
            match answer {
                Ok(Lookup::Unknown) => {
                    let news = !self.unknown.is_unknown(id);
                    if self.unknown.not_there(id, asked, may_stall) {
                        open.remove(&id);
                        unknown.extend(news.then_some(id));
                    }
                }
                Ok(found) => {
                    if self.unknown.is_unknown(id) {
                        tracing::info!(pipeline = %self.pipeline, schema_id = id, "a schema that was unknown is there now");
                    }
                    if let Lookup::NotAvro(why) = &found {
                        tracing::warn!(
                            pipeline = %self.pipeline, schema_id = id, %why,
                            "no record can be decoded with this schema: they go to the DLQ"
                        );
                    }
                    self.unknown.found(id);
                    self.found.insert(id, found);
                    open.remove(&id);
                }
                // the rest would wait for the same time limit, one after the other
                Err(t) => {
                    trouble = Some(t);
                    break;
                }
            }
        }
        if let Some((ids, lines)) = self.decided.say(&unknown) {
            tracing::warn!(
                pipeline = %self.pipeline, schema_ids = %ids, grace_cut = may_stall.is_zero(), not_told = lines,
                "the registry does not know these schema ids: their records go to the DLQ"
            );
        }
        trouble
    }

    /// Waits until it is time to ask again.
    async fn stall(&mut self, open: &BTreeSet<i32>, pause: Duration) {
        let now = Instant::now();
        let flood = PAUSE_PER_ID.saturating_mul(u32::try_from(open.len()).unwrap_or(u32::MAX));
        let grace = self.unknown.next_deadline(open).map(|at| at.saturating_duration_since(now)).unwrap_or_default();
        let until = (pause + flood).min(grace).min(self.unknown.may_stall(now));
        let _stall = self.unknown.stall();
        tokio::time::sleep(until).await;
    }

    fn tell_waiting(&mut self, open: &BTreeSet<i32>) {
        if let Some((ids, _)) = self.waiting.say(open) {
            tracing::warn!(
                pipeline = %self.pipeline, schema_ids = %ids,
                "the registry does not know these schema ids (yet): the pipeline waits for them"
            );
        }
    }

    /// A registry that refuses us needs a person, not time.
    fn tell_refusal(&mut self, trouble: &Trouble) {
        let due = self.refused.is_none_or(|said| said.elapsed() >= Duration::from_secs(60));
        if trouble.is_refusal() && due {
            self.refused = Some(Instant::now());
            tracing::error!(
                pipeline = %self.pipeline, error = %trouble.error(),
                "the pipeline stands still until the schema registry lets it in"
            );
        }
    }
}

/// A line that must not become a flood itself.
#[derive(Debug, Default)]
struct Notice {
    last: Option<Instant>,
    held: u64,
}

impl Notice {
    /// The ids, shortened, if it is time for a line; and how many lines were held back since the last one.
    fn say(&mut self, ids: &BTreeSet<i32>) -> Option<(String, u64)> {
        const SHOWN: usize = 8;
        if ids.is_empty() {
            return None;
        }
        if self.last.is_some_and(|last| last.elapsed() < QUIET) {
            self.held += 1;
            return None;
        }
        self.last = Some(Instant::now());
        let more = if ids.len() > SHOWN { format!(" and {} more", ids.len() - SHOWN) } else { String::new() };
        let first: Vec<String> = ids.iter().take(SHOWN).map(i32::to_string).collect();
        Some((first.join(",") + &more, std::mem::take(&mut self.held)))
    }
}

#[cfg(test)]
#[path = "resolver/tests.rs"]
mod tests;
