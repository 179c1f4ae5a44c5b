//! What the snapshot summaries tell of the ranges that were committed: pure.
//!
//! A *chain* is one partition of one source. Its links are the ranges `k2.ranges` of the snapshots on main, oldest first;
//! each has to begin where the one before ended - in the DLQ table, which gets a commit only where there are rejects, or
//! later. A person may break it on purpose: `k2 offsets set`, `reset` and `accept-loss` leave `k2.moved` in their snapshot,
//! and the chain goes on from there. Snapshots that have expired are no offence: the chain is known from its first
//! retained link on.
//!
//! A commit to the DLQ table may carry the rejects of several sources: `k2.source` then lists them, comma between. Whose a
//! range is follows from its topic.

use super::report::{Finding, Findings, count};
use iceberg::spec::TableMetadata;
use k2_lake::gate::MOVED;
use k2_model::SourceState;
use k2_model::ids::PROPERTY_PREFIX;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One partition of one source: source, topic, partition.
pub(crate) type ChainKey = (String, String, i32);

/// What is known of a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Where the first retained range began.
    pub(crate) first: Option<i64>,
    /// The same, but since a person last took the position away; then it is where the chain began, whatever has expired.
    pub(crate) begun: Option<i64>,
    /// A person has taken the position away, and the chain began anew.
    pub(crate) anew: bool,
    /// Where the chain stands; none: a person has taken the position away.
    pub(crate) stands: Option<i64>,
    /// The last link was a person's.
    pub(crate) moved: bool,
    /// Where it stood when a person took the position away.
    pub(crate) left: Option<i64>,
    /// Offsets that a person has decided to skip, from and to.
    pub(crate) skipped: Vec<(i64, i64)>,
}

/// What one of our commits covered, per topic and partition.
pub(crate) type Covered = BTreeMap<(String, i32), (i64, i64)>;

/// The history of main, as far as it is retained.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Snapshots on main.
    pub(crate) snapshots: usize,
    /// Of these, commits of ours that moved a position.
    pub(crate) commits: u64,
    /// Whether the first snapshot of all is among them.
    pub(crate) complete: bool,
    pub(crate) chains: BTreeMap<ChainKey, Chain>,
    /// By snapshot: what it covered.
    pub(crate) covered: HashMap<i64, Covered>,
    /// By topic: the sequence number of the last snapshot in which a person moved a position.
    pub(crate) decided: BTreeMap<String, i64>,
    links: Links,
}

/// How the ranges of a chain follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Links {
    /// Each begins where the one before ended.
    #[default]
    Abut,
    /// Each begins there or later.
    Advance,
}

type Ranges = BTreeMap<String, (i64, i64)>;
type Moves = BTreeMap<String, (Option<i64>, Option<i64>)>;

impl History {
    /// Reads the summaries of main, oldest first; offences go to `findings`.
    pub(crate) fn of(table: &TableMetadata, links: Links, findings: &mut Findings) -> Self {
        let mut snapshots = Vec::new();
        let mut cursor = table.current_snapshot();
        let mut complete = true;
        while let Some(snapshot) = cursor {
            snapshots.push(snapshot);
            cursor = snapshot.parent_snapshot_id().and_then(|parent| {
                let parent = table.snapshot_by_id(parent);
                complete &= parent.is_some();
                parent
            });
        }
        let mut history = Self { snapshots: snapshots.len(), complete, links, ..Self::default() };
        let topics = topics_of_sources(table);
        for snapshot in snapshots.iter().rev() {
            let summary = &snapshot.summary().additional_properties;
            let Some(source) = summary.get("k2.source") else { continue };
            let id = snapshot.snapshot_id();
            if let Some(ranges) = read::<Ranges>(summary.get("k2.ranges"), "k2.ranges", id, findings) {
                history.commits += 1;
                history.commit(&Sources { named: source, topics: &topics }, id, ranges, findings);
            }
            if let Some(moves) = read::<Moves>(summary.get(MOVED), MOVED, id, findings) {
                for place in moves.keys().filter_map(|place| place.rsplit_once('/')) {
                    history.decided.insert(place.0.to_owned(), snapshot.sequence_number());
                }
                history.moved(source, id, moves, findings);
            }
        }
        history
    }

    fn commit(&mut self, sources: &Sources<'_>, snapshot: i64, ranges: Ranges, findings: &mut Findings) {
        let mut covered = Covered::new();
        for (place, (from, to)) in ranges {
            let Some((topic, partition)) = split(&place, snapshot, findings) else { continue };
            let finding = |what: String| Finding::new(what).topic(topic.clone(), partition);
            if to < from {
                findings.add(finding(format!("snapshot {snapshot} covers the range {from}..{to}, which goes back")));
            }
            covered.insert((topic.clone(), partition), (from, to));
            let chain = self.chains.entry((sources.of(&topic), topic.clone(), partition));
            let chain = chain.or_default();
            chain.first.get_or_insert(from);
            chain.begun.get_or_insert(from);
            if let Some(stood) = chain.stands
                && (from < stood || from > stood && self.links == Links::Abut)
            {
                let how = if stood < from { "leaves a hole" } else { "overlaps" };
                findings.add(
                    finding(format!(
                        "snapshot {snapshot} begins at {from}, the range before it ended at {stood}: {how}"
                    ))
                    .offsets(stood.min(from), stood.max(from)),
                );
            }
            if let Some(left) = chain.left.take().filter(|left| *left < from) {
                chain.skipped.push((left, from));
            }
            (chain.stands, chain.moved) = (Some(to), false);
        }
        self.covered.insert(snapshot, covered);
    }

    fn moved(&mut self, source: &str, snapshot: i64, moves: Moves, findings: &mut Findings) {
        for (place, (from, to)) in moves {
            let Some((topic, partition)) = split(&place, snapshot, findings) else { continue };
            let chain = self.chains.entry((source.to_owned(), topic, partition));
            let chain = chain.or_default();
            (chain.stands, chain.moved) = (to, true);
            chain.left = if to.is_none() { from.or(chain.left) } else { None };
            if to.is_none() {
                (chain.begun, chain.anew) = (None, true);
            }
            if let (Some(from), Some(to)) = (from, to)
                && from < to
            {
                chain.skipped.push((from, to));
            }
        }
    }

    /// Compares where the chains end with where the positions stand.
    pub(super) fn check_ends(&self, positions: &BTreeMap<ChainKey, i64>, findings: &mut Findings) {
        for (key @ (source, topic, partition), next) in positions {
            let stands = self.chains.get(key).map(|chain| chain.stands);
            if let Some(stands) = stands
                && stands != Some(*next)
            {
                let end =
                    stands.map_or_else(|| "it was taken away".to_owned(), |s| format!("the last range ends at {s}"));
                findings.add(
                    Finding::new(format!("the position of {source} is {next}, but by the history of main {end}"))
                        .topic(topic.clone(), *partition),
                );
            }
        }
        for (key @ (source, topic, partition), chain) in &self.chains {
            if let Some(stands) = chain.stands
                && !positions.contains_key(key)
            {
                findings.add(
                    Finding::new(format!("the last range ends at {stands}, but {source} has no position there"))
                        .topic(topic.clone(), *partition),
                );
            }
        }
    }

    /// How much of it is known, in words.
    pub(super) fn summary(&self) -> String {
        let known = if self.complete { "since the table was made" } else { "older ones have expired" };
        format!(
            "{} of {} and {}; {known}",
            count(self.commits, "commit"),
            count(self.chains.len() as u64, "partition"),
            count(self.snapshots as u64, "snapshot"),
        )
    }
}

/// The sources that a snapshot names.
struct Sources<'a> {
    named: &'a str,
    /// By source: the topics of its position.
    topics: &'a BTreeMap<String, BTreeSet<String>>,
}

impl Sources<'_> {
    /// The one of them that reads a topic.
    fn of(&self, topic: &str) -> String {
        let mut named = self.named.split(',').map(str::trim);
        match (named.next(), named.next()) {
            (Some(only), None) => only.to_owned(),
            _ => {
                let reads = |source: &&str| self.topics.get(*source).is_some_and(|topics| topics.contains(topic));
                let one = self.named.split(',').map(str::trim).find(reads);
                one.unwrap_or(self.named).to_owned()
            }
        }
    }
}

/// By source with a readable position: its topics.
fn topics_of_sources(table: &TableMetadata) -> BTreeMap<String, BTreeSet<String>> {
    let states = table.properties().iter().filter_map(|(key, text)| {
        let source = key.strip_prefix(PROPERTY_PREFIX)?;
        let state = SourceState::parse(key, text).ok()?;
        Some((source.to_owned(), state.topics.into_keys().collect()))
    });
    states.collect()
}

fn read<T: serde::de::DeserializeOwned>(
    text: Option<&String>,
    name: &str,
    snapshot: i64,
    findings: &mut Findings,
) -> Option<T> {
    match serde_json::from_str(text?) {
        Ok(value) => Some(value),
        Err(e) => {
            findings.add(Finding::new(format!("{name} of snapshot {snapshot} cannot be read: {e}")));
            None
        }
    }
}

fn split(place: &str, snapshot: i64, findings: &mut Findings) -> Option<(String, i32)> {
    let parts = place.rsplit_once('/').and_then(|(topic, p)| Some((topic.to_owned(), p.parse().ok()?)));
    if parts.is_none() {
        findings.add(Finding::new(format!("snapshot {snapshot} names {place:?}, which is no topic/partition")));
    }
    parts
}
