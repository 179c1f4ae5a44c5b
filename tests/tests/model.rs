//! The commit protocol, exhaustively: every interleaving of two writers on two partitions, each of which may crash at any
//! moment and may look at a stale head; another engine that compacts; commits that are lost, whose answers are lost, or
//! that land whenever they like. Every decision is taken by the engine's own [`decide`].
//!
//! What a table is here: a list of versions, each with the position that its property holds, and how often each row is
//! in it. A commit names the version that it was made for, and is applied if that is still the head.
//!
//! Promises: no row twice; every row below the position is there, and none above it; a position never goes back; nobody
//! is told to halt. A checker that has never failed proves nothing: each part of the protocol can be taken away
//! ([`Protocol`]), and each time a promise must break.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use k2_lake::decision::{Decision, Head, Lineage, Move, Proposal, TableForm, decide};
use k2_model::position::VERSION;
use k2_model::{
    BatchId, ClusterId, NextOffset, Partition, PartitionPosition, SinkSnapshot, SnapshotId, SourceId, SourceState,
    TopicIdentity, TopicPosition,
};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const TOPIC: &str = "trades";
const PARTITIONS: usize = 2;
/// Records in each partition.
const END: u8 = 2;
/// How far the search goes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Batches that each writer makes at most.
    batches: [u8; 2],
    /// Commits on their way at a time.
    flying: usize,
    compactions: u8,
    /// Whether a batch may hold a partition without moving it on.
    stays: bool,
}

const NO_ROW_TWICE: &str = "no row twice";
const NONE_LOST: &str = "none lost below the position, none above it";
const NEVER_BACK: &str = "positions never go back";
const NO_HALT: &str = "nobody is told to halt";

/// Per partition: the next offset and the batch that put it there.
type Positions = [Option<(u8, Batch)>; PARTITIONS];

/// (writer, number).
type Batch = (u8, u8);

/// Per partition that a batch moves: (expected, from, to).
type Moves = [Option<(Option<u8>, u8, u8)>; PARTITIONS];

/// What of the protocol is in force.
#[derive(Clone, Copy)]
struct Protocol {
    /// A commit is applied on the version that it was made for, or not at all.
    pinned: bool,
    /// A batch is let in only where the table stands exactly where the batch began.
    equality: bool,
    /// The position is a table property. If not: only in the summary of our own snapshots.
    property: bool,
    /// The positions of others come from the head that the commit is pinned to.
    fresh_merge: bool,
}

const SMALL: Bounds = Bounds { batches: [2, 2], flying: 1, compactions: 1, stays: true };
const WHOLE: Protocol = Protocol { pinned: true, equality: true, property: true, fresh_merge: true };

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    /// The last one is the head.
    versions: Vec<Positions>,
    rows: [[u8; END as usize]; PARTITIONS],
    writers: [Writer; 2],
    flying: Vec<Commit>,
    compactions: u8,
    went_back: bool,
    halted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Writer {
    /// Batches made so far.
    made: u8,
    task: Task,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Task {
    /// Knows nothing: started, crashed, or fenced.
    Lost,
    /// Has read these positions, or got them by its own commits.
    At([Option<u8>; PARTITIONS]),
    /// Holds a staged batch. `first`: the positions at its first attempt, kept where the protocol merges them stale.
    Holds { batch: Batch, moves: Moves, first: Option<Positions> },
}

/// A commit that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Commit {
    made_for: u8,
    batch: Batch,
    moves: Moves,
    positions: Positions,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    /// Writer reads the positions of this version: the head, or a stale one.
    Read(usize, usize),
    /// Writer stages a batch of these lengths; none: the partition is not in it.
    Stage(usize, [Option<u8>; PARTITIONS]),
    /// Writer looks at this version, decides, and may send a commit, which fares so.
    Attempt(usize, usize, Fate),
    Crash(usize),
    /// This flying commit arrives.
    Land(usize),
    Compact,
}

/// The two coins, and time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Answered,
    /// Applied if it can be; the answer is lost, or is a conflict that answers our own success.
    Unanswered,
    /// Never arrives.
    Gone,
    /// Arrives later, or never; the answer is lost.
    Late,
}

/// How often something happened on the whole search: a search in which nothing happens proves nothing either.
#[derive(Default)]
struct Seen {
    committed: AtomicUsize,
    found_committed: AtomicUsize,
    fenced: AtomicUsize,
    conflicts: AtomicUsize,
    landed_late: AtomicUsize,
    refused_late: AtomicUsize,
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

struct Search {
    protocol: Protocol,
    bounds: Bounds,
    identity: Arc<TopicIdentity>,
    form: TableForm,
    seen: Arc<Seen>,
}

impl Search {
    fn new(protocol: Protocol, bounds: Bounds) -> Self {
        let identity = TopicIdentity { cluster_id: ClusterId::new("c"), topic: TOPIC.into(), topic_id: None };
        let form = TableForm { uuid: uuid::Uuid::from_u128(1), schema: 0, spec: 0 };
        Self { protocol, bounds, identity: Arc::new(identity), form, seen: Arc::default() }
    }

    fn head(&self, positions: &Positions) -> Head {
        let partitions: BTreeMap<_, _> = (0..)
            .zip(positions)
            .filter_map(|(p, at)| {
                let (next, batch) = (*at)?;
                let next = NextOffset(next.into());
                Some((Partition(p), PartitionPosition { next, leader_epoch: None, last: None, batch: id(batch) }))
            })
            .collect();
        let state = (!partitions.is_empty()).then(|| SourceState {
            version: VERSION,
            cluster_id: self.identity.cluster_id.clone(),
            snapshot: SinkSnapshot { id: SnapshotId(1), sequence: 1 },
            rules: None,
            intents: Vec::new(),
            topics: BTreeMap::from([(TOPIC.to_owned(), TopicPosition { topic_id: None, partitions })]),
        });
        Head { form: self.form, state, lineage: Lineage::Intact }
    }

    fn proposal(&self, batch: Batch, moves: &Moves) -> Proposal {
        let offset = |o: u8| NextOffset(o.into());
        let moves = (0..).zip(moves).filter_map(|(p, m)| {
            let (expected, from, to) = (*m)?;
            let (expected, from, to) = (expected.map(offset), offset(from), offset(to));
            Some((Partition(p), Move { expected, from, to, leader_epoch: None, last: None }))
        });
        Proposal {
            source: SourceId::new("s"),
            batch: id(batch),
            identity: Arc::clone(&self.identity),
            table: self.form,
            moves: moves.collect(),
            rules: None,
            intent: None,
            settled: Vec::new(),
        }
    }

    /// One attempt of a writer that holds a batch, at a version that it sees.
    fn attempt(&self, world: &mut World, w: usize, version: usize, fate: Fate) -> Option<()> {
        let Task::Holds { batch, moves, first } = world.writers[w].task.clone() else { return None };
        let seen = world.versions[version];
        let first = if self.protocol.fresh_merge { None } else { first.or(Some(seen)) };
        let positions = match decide(&self.head(&seen), &self.proposal(batch, &moves)) {
            Ok(Decision::Commit(after)) => {
                let merged = positions_of(&after.topics);
                first.map_or(merged, |stale| moved(stale, batch, &moves))
            }
            Ok(Decision::Committed) => {
                count(&self.seen.found_committed);
                world.writers[w].task = Task::At(after(&moves, &seen));
                return (fate == Fate::Answered).then_some(());
            }
            // «not beyond» instead of «equal»
            Ok(Decision::Fenced { .. }) if !self.protocol.equality && not_beyond(&seen, &moves) => {
                moved(seen, batch, &moves)
            }
            Ok(Decision::Fenced { .. }) => {
                count(&self.seen.fenced);
                world.writers[w].task = Task::Lost;
                return (fate == Fate::Answered).then_some(());
            }
            Ok(Decision::Rebuild | Decision::Overtakes { .. }) | Err(_) => {
                world.halted = true;
                return Some(());
            }
        };
        world.writers[w].task = Task::Holds { batch, moves, first };
        let commit = Commit { made_for: u8::try_from(version).ok()?, batch, moves, positions };
        match fate {
            Fate::Answered => {
                if self.land(world, &commit) {
                    count(&self.seen.committed);
                    let head = world.versions.last()?;
                    world.writers[w].task = Task::At(after(&moves, head));
                } else {
                    count(&self.seen.conflicts);
                }
            }
            Fate::Unanswered => drop(self.land(world, &commit)),
            Fate::Gone => {}
            Fate::Late if world.flying.len() < self.bounds.flying && !world.flying.contains(&commit) => {
                world.flying.push(commit);
                world.flying.sort();
            }
            Fate::Late => return None,
        }
        Some(())
    }

    /// A commit reaches the catalog.
    fn land(&self, world: &mut World, commit: &Commit) -> bool {
        let Some(head) = world.versions.last().copied() else { return false };
        let on_its_base = usize::from(commit.made_for) == world.versions.len() - 1;
        if self.protocol.pinned && !on_its_base {
            return false;
        }
        // without a pin the catalog's client rebases: the other partitions are taken from the new head
        let positions = if on_its_base { commit.positions } else { moved(head, commit.batch, &commit.moves) };
        for (p, m) in commit.moves.iter().enumerate() {
            for row in m.map_or(0..0, |(_, from, to)| from..to) {
                world.rows[p][usize::from(row)] = world.rows[p][usize::from(row)].saturating_add(1).min(2);
            }
        }
        self.append(world, positions);
        true
    }

    fn append(&self, world: &mut World, positions: Positions) {
        let Some(head) = world.versions.last() else { return };
        world.went_back |= head.iter().zip(&positions).any(|(was, is)| is.map(|x| x.0) < was.map(|x| x.0));
        world.versions.push(positions);
    }
}

fn id((writer, number): Batch) -> BatchId {
    BatchId(uuid::Uuid::from_u128(u128::from(writer) << 8 | u128::from(number)))
}

fn positions_of(topics: &BTreeMap<String, TopicPosition>) -> Positions {
    let mut out = Positions::default();
    for (p, at) in &topics[TOPIC].partitions {
        let batch = at.batch.0.as_u128();
        let small = |n: u128| u8::try_from(n).unwrap();
        out[usize::try_from(p.0).unwrap()] =
            Some((u8::try_from(at.next.0).unwrap(), (small(batch >> 8), small(batch & 0xff))));
    }
    out
}

/// The positions with those of a batch replaced.
fn moved(mut positions: Positions, batch: Batch, moves: &Moves) -> Positions {
    for (at, m) in positions.iter_mut().zip(moves) {
        *at = m.map_or(*at, |(_, _, to)| Some((to, batch)));
    }
    positions
}

/// What a writer knows after its commit: its own partitions from the batch, as the engine does, the others as before.
fn after(moves: &Moves, seen: &Positions) -> [Option<u8>; PARTITIONS] {
    std::array::from_fn(|p| moves[p].map(|(_, _, to)| to).or(seen[p].map(|x| x.0)))
}

fn not_beyond(seen: &Positions, moves: &Moves) -> bool {
    seen.iter().zip(moves).all(|(at, m)| m.is_none_or(|(_, _, to)| at.is_none_or(|(next, _)| next < to)))
}

impl Model for Search {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let writer = Writer { made: 0, task: Task::Lost };
        vec![World {
            versions: vec![Positions::default()],
            rows: Default::default(),
            writers: [writer.clone(), writer],
            flying: Vec::new(),
            compactions: 0,
            went_back: false,
            halted: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let versions = 0..world.versions.len();
        for (w, writer) in world.writers.iter().enumerate() {
            match &writer.task {
                Task::Lost if writer.made < self.bounds.batches[w] => {
                    actions.extend(versions.clone().map(|v| Action::Read(w, v)))
                }
                Task::Lost => {}
                Task::At(at) => {
                    if writer.made < self.bounds.batches[w] {
                        let lengths = |p: usize| {
                            let left = END.saturating_sub(at[p].unwrap_or(0));
                            [None].into_iter().chain((u8::from(!self.bounds.stays)..=left).map(Some))
                        };
                        for a in lengths(0) {
                            actions.extend(lengths(1).map(|b| Action::Stage(w, [a, b])));
                        }
                    }
                    actions.push(Action::Crash(w));
                }
                Task::Holds { .. } => {
                    for v in versions.clone() {
                        let fates = [Fate::Answered, Fate::Unanswered, Fate::Gone, Fate::Late];
                        actions.extend(fates.map(|fate| Action::Attempt(w, v, fate)));
                    }
                    actions.push(Action::Crash(w));
                }
            }
        }
        actions.extend((0..world.flying.len()).map(Action::Land));
        if world.compactions < self.bounds.compactions && world.versions.len() > 1 {
            actions.push(Action::Compact);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Read(w, v) => {
                next.writers[w].task = Task::At(world.versions[v].map(|at| at.map(|x| x.0)));
            }
            Action::Stage(w, lengths) => {
                let Task::At(at) = world.writers[w].task else { return None };
                let moves: Moves = std::array::from_fn(|p| {
                    let from = at[p].unwrap_or(0);
                    lengths[p].map(|length| (at[p], from, from + length))
                });
                if !moves.iter().flatten().any(|(_, from, to)| to > from) {
                    return None;
                }
                let made = world.writers[w].made + 1;
                let batch = (u8::try_from(w).ok()?, made);
                next.writers[w] = Writer { made, task: Task::Holds { batch, moves, first: None } };
            }
            Action::Attempt(w, v, fate) => self.attempt(&mut next, w, v, fate)?,
            Action::Crash(w) => next.writers[w].task = Task::Lost,
            Action::Land(n) => {
                let commit = next.flying.remove(n);
                let landed = self.land(&mut next, &commit);
                count(if landed { &self.seen.landed_late } else { &self.seen.refused_late });
            }
            Action::Compact => {
                next.compactions += 1;
                let kept = if self.protocol.property { *world.versions.last()? } else { Positions::default() };
                // what is forgotten is not a position that went back: the rows that follow will tell
                next.versions.push(kept);
            }
        }
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_ROW_TWICE, |_, w: &World| w.rows.iter().flatten().all(|n| *n < 2)),
            Property::always(NONE_LOST, |model: &Self, w: &World| {
                let Some(head) = w.versions.last() else { return false };
                // without the property there is a time without positions
                let known = model.protocol.property || head.iter().all(Option::is_some);
                !known
                    || w.rows.iter().zip(head).all(|(rows, at)| {
                        let next = at.map_or(0, |x| x.0);
                        (0..END).zip(rows).all(|(o, n)| (*n > 0) == (o < next))
                    })
            }),
            Property::always(NEVER_BACK, |_, w: &World| !w.went_back),
            Property::always(NO_HALT, |_, w: &World| !w.halted),
            Property::sometimes("both writers get something in, and all is in", |_, w: &World| {
                let Some(head) = w.versions.last() else { return false };
                let [Some((END, a)), Some((END, b))] = head else { return false };
                a.0 != b.0
            }),
        ]
    }
}

fn holds(bounds: Bounds) {
    let search = Search::new(WHOLE, bounds);
    let seen = Arc::clone(&search.seen);
    let begun = Instant::now();
    let checker = search.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    let [all, different] = [checker.state_count(), checker.unique_state_count()];
    println!(
        "{bounds:?}: {different} states ({all} ways into them), depth {}, {:.1} s",
        checker.max_depth(),
        begun.elapsed().as_secs_f64()
    );
    for (what, counter) in [
        ("committed", &seen.committed),
        ("found committed", &seen.found_committed),
        ("fenced", &seen.fenced),
        ("conflicts", &seen.conflicts),
        ("landed late", &seen.landed_late),
        ("refused late", &seen.refused_late),
    ] {
        let n = counter.load(Ordering::Relaxed);
        println!("  {what}: {n}");
        assert!(n > 0, "never {what}");
    }
}

#[test]
fn no_interleaving_breaks_a_promise() {
    holds(Bounds { batches: [2, 2], flying: 1, compactions: 1, stays: false });
}

#[test]
fn no_interleaving_with_more_under_way_breaks_a_promise() {
    holds(Bounds { batches: [2, 1], flying: 2, compactions: 1, stays: false });
    holds(Bounds { batches: [1, 1], flying: 2, compactions: 2, stays: true });
}

#[test]
#[ignore = "takes many minutes and gigabytes"]
fn no_interleaving_of_a_wider_search_breaks_a_promise() {
    holds(Bounds { batches: [2, 2], flying: 1, compactions: 1, stays: true });
}

/// Takes a part of the protocol away; a promise must break, and the checker must show how.
fn breaks(what: &str, protocol: Protocol, promise: &'static str) {
    let wanted = HasDiscoveries::AnyOf([promise].into());
    let checker = Search::new(protocol, SMALL).checker().threads(2).finish_when(wanted).spawn_bfs().join();
    let path = checker.discovery(promise).unwrap_or_else(|| panic!("without {what} everything still holds: {promise}"));
    println!("without {what} ({} states): {:?}", checker.unique_state_count(), path.into_actions());
}

#[test]
fn without_the_pin_rows_are_doubled() {
    breaks("the pin", Protocol { pinned: false, ..WHOLE }, NO_ROW_TWICE);
}

#[test]
fn without_equality_rows_are_doubled() {
    breaks("equality", Protocol { equality: false, ..WHOLE }, NO_ROW_TWICE);
}

#[test]
fn without_the_property_a_compaction_makes_rows_double() {
    breaks("the property", Protocol { property: false, ..WHOLE }, NO_ROW_TWICE);
}

#[test]
fn with_a_stale_merge_positions_go_back() {
    breaks("a fresh merge", Protocol { fresh_merge: false, ..WHOLE }, NEVER_BACK);
}

#[test]
fn with_a_stale_merge_rows_are_doubled() {
    breaks("a fresh merge", Protocol { fresh_merge: false, ..WHOLE }, NO_ROW_TWICE);
}
