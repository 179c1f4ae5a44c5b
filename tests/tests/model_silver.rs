//! Silver and the DLQ as one unit, exhaustively: every interleaving of two writers of one source on two partitions, each
//! of which may crash at any moment - between its two commits, too - and may look at a stale head; commits whose answers are
//! lost, or that land whenever they like, on either table; and rules that change under way. Every decision is taken by
//! the engine's own [`decide`], [`judge`] and [`carried_out`].
//!
//! What a table is here: its newest version and the one before, with a number. A commit names the version that it was made
//! for. Which records are rejected depends on the rules alone, and the new rules reject what the old ones let pass and the
//! other way round: whoever routes a record again is found out.
//!
//! Promises (P4 of the fault list): each record below silver's position is in silver or in the DLQ or pending there, never
//! twice and never in both; what is pending will be applied; nobody is told to halt. A checker that has never failed proves
//! nothing: each part of the protocol can be taken away ([`Protocol`]), and each time a promise must break.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use k2_lake::decision::settle::{Verdict, carried_out, judge};
use k2_lake::decision::{Decision, Head, Lineage, Move, Proposal, TableForm, decide};
use k2_model::position::VERSION;
use k2_model::{
    BatchId, ClusterId, Intent, NextOffset, Partition, PartitionPosition, SinkSnapshot, SnapshotId, SourceId,
    SourceState, TopicIdentity, TopicPosition,
};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use uuid::Uuid;

const TOPIC: &str = "trades";
const PARTITIONS: usize = 2;
/// Records in each partition.
const END: [u8; PARTITIONS] = [2, 1];
const MOST: usize = 2;

const NOT_TWICE: &str = "no record twice, none in both tables";
const NONE_LOST: &str = "each record below the position is somewhere, none above it";
const NO_HALT: &str = "nobody is told to halt";

/// How far the search goes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Batches that each writer makes at most.
    batches: [u8; 2],
    /// Commits on their way at a time, to both tables together.
    flying: usize,
    /// Whether heads may be stale.
    stale: bool,
    /// Whether the rules may change.
    upgrade: bool,
}

/// What of the protocol is in force.
#[derive(Clone, Copy)]
struct Protocol {
    /// A silver commit carries the intents of others on.
    carries: bool,
    /// A commit to the DLQ table looks at that table's own position first.
    looks: bool,
    /// A commit to the DLQ table is applied on the version that it was made for, or not at all.
    pinned: bool,
    /// What is pending is carried out as it was decided, not routed again.
    as_decided: bool,
    /// Who takes over carries out what is pending before going on, and [`decide`] insists.
    rolls_forward: bool,
}

const WHOLE: Protocol = Protocol { carries: true, looks: true, pinned: true, as_decided: true, rolls_forward: true };

/// (writer, number).
type Batch = (u8, u8);

/// Per partition: the next offset and the batch that put it there.
type Positions = [Option<(u8, Batch)>; PARTITIONS];

/// Per partition that a batch moves: (from, to).
type Ranges = [Option<(u8, u8)>; PARTITIONS];

/// The rejects of a batch that silver has decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Due {
    batch: Batch,
    ranges: Ranges,
    rules: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Silver {
    at: Positions,
    due: Vec<Due>,
}

/// A table's newest version, and the one that a stale look shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Log<V> {
    number: u8,
    newest: V,
    before: Option<V>,
}

impl<V: Clone> Log<V> {
    fn look(&self, back: u8) -> (u8, V) {
        match &self.before {
            Some(before) if back > 0 => (self.number - 1, before.clone()),
            _ => (self.number, self.newest.clone()),
        }
    }

    fn append(&mut self, version: V) {
        self.number += 1;
        self.before = Some(std::mem::replace(&mut self.newest, version));
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    silver: Log<Silver>,
    dlq: Log<Positions>,
    silver_rows: [[u8; MOST]; PARTITIONS],
    dlq_rows: [[u8; MOST]; PARTITIONS],
    writers: [Writer; 2],
    flying: Vec<Commit>,
    rules: u8,
    halted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Writer {
    /// Batches made so far.
    made: u8,
    task: Task,
}

/// What a writer knows of silver, and which intents there it knows to be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct At {
    next: [Option<u8>; PARTITIONS],
    settled: Vec<Batch>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Task {
    /// Knows nothing: started, crashed, or fenced.
    Lost,
    /// Carries these out, then stands there.
    Settles {
        left: Vec<Due>,
        then: At,
    },
    Stands(At),
    /// Holds a staged batch, routed by these rules.
    Holds {
        due: Due,
        at: At,
    },
}

/// A commit that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Commit {
    Silver { made_for: u8, due: Due, version: Silver },
    Dlq { made_for: u8, due: Due, positions: Positions },
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    /// Writer reads silver: the newest version, or the one before.
    Read(usize, u8),
    /// Writer stages a batch of these lengths.
    Stage(usize, [u8; PARTITIONS]),
    /// Writer looks at silver so far back, decides, and may send a commit, which fares so.
    Commit(usize, u8, Fate),
    /// The same with the DLQ table, for the first of what it has to carry out.
    Settle(usize, u8, Fate),
    Crash(usize),
    /// This flying commit arrives.
    Land(usize),
    Upgrade,
}

/// The two coins, and time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Answered,
    /// Applied if it can be; the answer is lost.
    Unanswered,
    /// Arrives later, or never; the answer is lost.
    Late,
}

/// How often something happened on the whole search: a search in which nothing happens proves nothing either.
#[derive(Default)]
struct Seen {
    fenced: AtomicUsize,
    found_committed: AtomicUsize,
    applied_by_another: AtomicUsize,
    found_applied: AtomicUsize,
    carried_over: AtomicUsize,
    taken_out: AtomicUsize,
    refused_late: AtomicUsize,
    landed_late: AtomicUsize,
    under_new_rules: AtomicUsize,
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Whether a record is rejected: the rules have the say, and no two agree on any record.
fn rejected(rules: u8, partition: usize, offset: u8) -> bool {
    (usize::from(rules) + partition + usize::from(offset)).is_multiple_of(2)
}

impl Due {
    /// The records that the batch covers.
    fn records(&self) -> impl Iterator<Item = (usize, u8)> + use<> {
        let ranges = self.ranges;
        (0..PARTITIONS).flat_map(move |p| ranges[p].map_or(0..0, |(from, to)| from..to).map(move |o| (p, o)))
    }

    fn has_rejects(&self) -> bool {
        self.records().any(|(p, o)| rejected(self.rules, p, o))
    }
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
        let form = TableForm { uuid: Uuid::from_u128(1), schema: 0, spec: 0 };
        Self { protocol, bounds, identity: Arc::new(identity), form, seen: Arc::default() }
    }

    fn head(&self, at: &Positions, due: &[Due]) -> Head {
        let partitions: BTreeMap<_, _> = (0..)
            .zip(at)
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
            intents: due.iter().map(|d| self.intent(d)).collect(),
            topics: BTreeMap::from([(TOPIC.to_owned(), TopicPosition { topic_id: None, partitions })]),
        });
        Head { form: self.form, state, lineage: Lineage::Intact }
    }

    fn intent(&self, due: &Due) -> Intent {
        let offset = |o: u8| NextOffset(o.into());
        let ranges =
            (0..).zip(due.ranges).filter_map(|(p, r)| r.map(|(from, to)| (Partition(p), (offset(from), offset(to)))));
        Intent {
            batch: id(due.batch),
            table: String::new(),
            uuid: self.form.uuid,
            topic: TOPIC.to_owned(),
            topic_id: None,
            ranges: ranges.collect(),
            rules: None,
            rows: 1,
            schema: 0,
            spec: 0,
            files: Vec::new(),
        }
    }

    fn proposal(&self, due: &Due, at: &At) -> Proposal {
        let offset = |o: u8| NextOffset(o.into());
        let moves = (0..).zip(due.ranges).zip(at.next).filter_map(|((p, range), expected)| {
            let (from, to) = range?;
            let (expected, from, to) = (expected.map(offset), offset(from), offset(to));
            Some((Partition(p), Move { expected, from, to, leader_epoch: None, last: None }))
        });
        Proposal {
            source: SourceId::new("s"),
            batch: id(due.batch),
            identity: Arc::clone(&self.identity),
            table: self.form,
            moves: moves.collect(),
            rules: None,
            intent: due.has_rejects().then(|| self.intent(due)),
            settled: at.settled.iter().copied().map(id).collect(),
        }
    }

    /// One attempt at silver of a writer that holds a batch.
    fn commit(&self, world: &mut World, w: usize, back: u8, fate: Fate) -> Option<()> {
        let Task::Holds { due, at } = world.writers[w].task.clone() else { return None };
        let (made_for, seen) = world.silver.look(back);
        // without the roll-forward decide is kept in the dark: it would insist
        let shown = if self.protocol.rolls_forward { &seen.due[..] } else { &[] };
        match decide(&self.head(&seen.at, shown), &self.proposal(&due, &at)) {
            Ok(Decision::Commit(after)) => {
                let known = seen.due.iter().chain([&due]);
                let mut pending: Vec<Due> = if self.protocol.rolls_forward {
                    after
                        .intents
                        .iter()
                        .filter_map(|i| known.clone().find(|d| id(d.batch) == i.batch))
                        .copied()
                        .collect()
                } else {
                    known.filter(|d| !at.settled.contains(&d.batch) && d.has_rejects()).copied().collect()
                };
                if !self.protocol.carries {
                    pending.retain(|d| d.batch == due.batch);
                }
                if pending.iter().any(|d| d.batch.0 != due.batch.0) {
                    count(&self.seen.carried_over);
                }
                if pending.len() < seen.due.len() + usize::from(due.has_rejects()) {
                    count(&self.seen.taken_out);
                }
                let version = Silver { at: positions_of(&after.topics), due: pending };
                let landed = self.send(world, Commit::Silver { made_for, due, version }, fate)?;
                if landed && fate == Fate::Answered {
                    world.writers[w].task = self.committed(due, &at);
                }
            }
            Ok(Decision::Committed) if fate == Fate::Answered => {
                count(&self.seen.found_committed);
                world.writers[w].task = self.committed(due, &at);
            }
            Ok(Decision::Fenced { .. } | Decision::Overtakes { .. }) if fate == Fate::Answered => {
                count(&self.seen.fenced);
                world.writers[w].task = Task::Lost;
            }
            Ok(Decision::Committed | Decision::Fenced { .. } | Decision::Overtakes { .. }) => return None,
            Ok(Decision::Rebuild) | Err(_) => world.halted = true,
        }
        Some(())
    }

    /// What a writer does after its silver commit: carry out its own intent, as the sink does.
    fn committed(&self, due: Due, at: &At) -> Task {
        let next = std::array::from_fn(|p| due.ranges[p].map(|(_, to)| to).or(at.next[p]));
        // the commit took out what was settled
        if due.has_rejects() {
            Task::Settles { left: vec![due], then: At { next, settled: vec![due.batch] } }
        } else {
            Task::Stands(At { next, settled: Vec::new() })
        }
    }

    /// One attempt at the DLQ table of a writer that has something to carry out.
    fn settle(&self, world: &mut World, w: usize, back: u8, fate: Fate) -> Option<()> {
        let Task::Settles { left, then } = world.writers[w].task.clone() else { return None };
        let due = *left.first()?;
        let (made_for, seen) = world.dlq.look(back);
        let (head, intent) = (self.head(&seen, &[]), self.intent(&due));
        let done = match judge(&head, &self.identity.cluster_id, &intent) {
            Ok(Verdict::Applied) if self.protocol.looks => {
                if fate != Fate::Answered {
                    return None;
                }
                count(&self.seen.found_applied);
                true
            }
            Ok(_) => {
                let sink = SinkSnapshot { id: SnapshotId(1), sequence: 1 };
                let after = carried_out(head.state, &self.identity.cluster_id, &intent, sink);
                let positions = positions_of(&after.topics);
                let landed = self.send(world, Commit::Dlq { made_for, due, positions }, fate)?;
                if landed && usize::from(due.batch.0) != w {
                    count(&self.seen.applied_by_another);
                }
                landed && fate == Fate::Answered
            }
            Err(_) => {
                world.halted = true;
                return Some(());
            }
        };
        if done {
            let left = left[1..].to_vec();
            world.writers[w].task = if left.is_empty() { Task::Stands(then) } else { Task::Settles { left, then } };
        }
        Some(())
    }

    /// Whether it has landed. None: no room on the way.
    fn send(&self, world: &mut World, commit: Commit, fate: Fate) -> Option<bool> {
        if fate != Fate::Late {
            return Some(self.land(world, &commit));
        }
        if world.flying.len() >= self.bounds.flying || world.flying.contains(&commit) {
            return None;
        }
        world.flying.push(commit);
        world.flying.sort();
        Some(false)
    }

    /// A commit reaches the catalog.
    fn land(&self, world: &mut World, commit: &Commit) -> bool {
        match commit {
            Commit::Silver { made_for, due, version } => {
                if *made_for != world.silver.number {
                    return false;
                }
                for (p, o) in due.records().filter(|(p, o)| !rejected(due.rules, *p, *o)) {
                    add(&mut world.silver_rows[p][usize::from(o)]);
                }
                world.silver.append(version.clone());
            }
            Commit::Dlq { made_for, due, positions } => {
                if self.protocol.pinned && *made_for != world.dlq.number {
                    return false;
                }
                let rules = if self.protocol.as_decided { due.rules } else { world.rules };
                if due.rules != world.rules {
                    count(&self.seen.under_new_rules);
                }
                for (p, o) in due.records().filter(|(p, o)| rejected(rules, *p, *o)) {
                    add(&mut world.dlq_rows[p][usize::from(o)]);
                }
                world.dlq.append(*positions);
            }
        }
        true
    }

    /// Whether a record that is in neither table will be in the DLQ: its batch is pending, and would be applied.
    fn is_pending(&self, world: &World, partition: usize, offset: u8) -> bool {
        let dlq = self.head(&world.dlq.newest, &[]);
        world.silver.newest.due.iter().any(|due| {
            due.records().any(|r| r == (partition, offset))
                && rejected(due.rules, partition, offset)
                && judge(&dlq, &self.identity.cluster_id, &self.intent(due)).is_ok_and(|v| v == Verdict::Apply)
        })
    }
}

fn add(count: &mut u8) {
    *count = count.saturating_add(1).min(2);
}

fn id((writer, number): Batch) -> BatchId {
    BatchId(Uuid::from_u128(u128::from(writer) << 8 | u128::from(number)))
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

impl Model for Search {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let writer = Writer { made: 0, task: Task::Lost };
        vec![World {
            silver: Log { number: 0, newest: Silver { at: Positions::default(), due: Vec::new() }, before: None },
            dlq: Log { number: 0, newest: Positions::default(), before: None },
            silver_rows: Default::default(),
            dlq_rows: Default::default(),
            writers: [writer.clone(), writer],
            flying: Vec::new(),
            rules: 0,
            halted: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        const FATES: [Fate; 3] = [Fate::Answered, Fate::Unanswered, Fate::Late];
        let looks = |has_before: bool| 0..=u8::from(self.bounds.stale && has_before);
        let silver = || looks(world.silver.before.is_some());
        for (w, writer) in world.writers.iter().enumerate() {
            let may_stage = writer.made < self.bounds.batches[w];
            match &writer.task {
                Task::Lost => actions.extend(silver().map(|back| Action::Read(w, back))),
                Task::Stands(at) => {
                    let left = |p: usize| END[p].saturating_sub(at.next[p].unwrap_or(0));
                    for a in 0..=left(0) {
                        actions
                            .extend((0..=left(1)).filter(|b| may_stage && a + b > 0).map(|b| Action::Stage(w, [a, b])));
                    }
                }
                Task::Holds { .. } => {
                    actions.extend(silver().flat_map(|back| FATES.map(|fate| Action::Commit(w, back, fate))));
                }
                Task::Settles { .. } => {
                    let looks = looks(world.dlq.before.is_some());
                    actions.extend(looks.flat_map(|back| FATES.map(|fate| Action::Settle(w, back, fate))));
                }
            }
            if !matches!(writer.task, Task::Lost) {
                actions.push(Action::Crash(w));
            }
        }
        actions.extend((0..world.flying.len()).map(Action::Land));
        if self.bounds.upgrade && world.rules == 0 {
            actions.push(Action::Upgrade);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        if world.halted {
            return None;
        }
        let mut next = world.clone();
        match action {
            Action::Read(w, back) => {
                let (_, Silver { at, due }) = world.silver.look(back);
                let mut then = At { next: at.map(|x| x.map(|x| x.0)), settled: Vec::new() };
                next.writers[w].task = if due.is_empty() || !self.protocol.rolls_forward {
                    Task::Stands(then)
                } else {
                    then.settled = due.iter().map(|d| d.batch).collect();
                    Task::Settles { left: due, then }
                };
            }
            Action::Stage(w, lengths) => {
                let Task::Stands(at) = world.writers[w].task.clone() else { return None };
                let ranges = std::array::from_fn(|p| {
                    let from = at.next[p].unwrap_or(0);
                    (lengths[p] > 0).then(|| (from, from + lengths[p]))
                });
                let made = world.writers[w].made + 1;
                let due = Due { batch: (u8::try_from(w).ok()?, made), ranges, rules: world.rules };
                next.writers[w] = Writer { made, task: Task::Holds { due, at } };
            }
            Action::Commit(w, back, fate) => self.commit(&mut next, w, back, fate)?,
            Action::Settle(w, back, fate) => self.settle(&mut next, w, back, fate)?,
            Action::Crash(w) => next.writers[w].task = Task::Lost,
            Action::Land(n) => {
                let commit = next.flying.remove(n);
                let landed = self.land(&mut next, &commit);
                count(if landed { &self.seen.landed_late } else { &self.seen.refused_late });
            }
            Action::Upgrade => next.rules = 1,
        }
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOT_TWICE, |_, w: &World| {
                records().all(|(p, o)| w.silver_rows[p][usize::from(o)] + w.dlq_rows[p][usize::from(o)] < 2)
            }),
            Property::always(NONE_LOST, |model: &Self, w: &World| {
                records().all(|(p, o)| {
                    let rows = w.silver_rows[p][usize::from(o)] + w.dlq_rows[p][usize::from(o)];
                    let below = w.silver.newest.at[p].is_some_and(|(next, _)| o < next);
                    if below { rows > 0 || model.is_pending(w, p, o) } else { rows == 0 }
                })
            }),
            Property::always(NO_HALT, |_, w: &World| !w.halted),
            Property::sometimes(
                "both writers and both rules get something in, and all is in",
                |model: &Self, w: &World| {
                    let [Some((_, a)), Some((_, b))] = w.silver.newest.at else { return false };
                    let all_in =
                        records().all(|(p, o)| w.silver_rows[p][usize::from(o)] + w.dlq_rows[p][usize::from(o)] == 1);
                    let old = records().any(|(p, o)| rejected(0, p, o) && w.dlq_rows[p][usize::from(o)] > 0);
                    let new = records().any(|(p, o)| rejected(1, p, o) && w.dlq_rows[p][usize::from(o)] > 0);
                    all_in && a.0 != b.0 && old && (new || !model.bounds.upgrade)
                },
            ),
        ]
    }
}

fn records() -> impl Iterator<Item = (usize, u8)> {
    (0..PARTITIONS).flat_map(|p| (0..END[p]).map(move |o| (p, o)))
}

fn holds(bounds: Bounds) -> Arc<Seen> {
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
        ("fenced", &seen.fenced),
        ("found committed", &seen.found_committed),
        ("applied by another", &seen.applied_by_another),
        ("found applied", &seen.found_applied),
        ("carried over", &seen.carried_over),
        ("taken out", &seen.taken_out),
    ] {
        let n = counter.load(Ordering::Relaxed);
        println!("  {what}: {n}");
        assert!(n > 0, "never {what}");
    }
    seen
}

#[test]
fn no_interleaving_breaks_a_promise() {
    let seen = holds(Bounds { batches: [2, 1], flying: 1, stale: true, upgrade: true });
    for (what, counter) in [
        ("landed late", &seen.landed_late),
        ("refused late", &seen.refused_late),
        ("carried out under new rules", &seen.under_new_rules),
    ] {
        assert!(counter.load(Ordering::Relaxed) > 0, "never {what}");
    }
}

#[test]
fn no_interleaving_of_more_batches_breaks_a_promise() {
    holds(Bounds { batches: [2, 2], flying: 0, stale: true, upgrade: false });
}

#[test]
#[ignore = "takes many minutes and gigabytes"]
fn no_interleaving_of_a_wider_search_breaks_a_promise() {
    holds(Bounds { batches: [2, 2], flying: 2, stale: true, upgrade: true });
}

/// Takes a part of the protocol away; a promise must break, and the checker must show how.
fn breaks(what: &str, protocol: Protocol, promise: &'static str) {
    let bounds = Bounds { batches: [2, 1], flying: 1, stale: true, upgrade: true };
    let wanted = HasDiscoveries::AnyOf([promise].into());
    let checker = Search::new(protocol, bounds).checker().threads(2).finish_when(wanted).spawn_bfs().join();
    let path = checker.discovery(promise).unwrap_or_else(|| panic!("without {what} everything still holds: {promise}"));
    println!("without {what} ({} states): {:?}", checker.unique_state_count(), path.into_actions());
}

#[test]
fn an_intent_dropped_by_anothers_commit_loses_rejects() {
    breaks("carrying intents over", Protocol { carries: false, ..WHOLE }, NONE_LOST);
}

#[test]
fn without_a_look_at_the_dlq_tables_position_rejects_are_doubled() {
    breaks("the DLQ table's own position", Protocol { looks: false, ..WHOLE }, NOT_TWICE);
}

#[test]
fn without_the_pin_rejects_are_doubled() {
    breaks("the pin", Protocol { pinned: false, ..WHOLE }, NOT_TWICE);
}

#[test]
fn routing_again_puts_a_record_into_both_tables() {
    breaks("intents", Protocol { as_decided: false, ..WHOLE }, NOT_TWICE);
}

#[test]
fn routing_again_puts_a_record_into_neither_table() {
    breaks("intents", Protocol { as_decided: false, ..WHOLE }, NONE_LOST);
}

#[test]
fn going_on_before_rolling_forward_loses_rejects() {
    breaks("the roll-forward", Protocol { rolls_forward: false, ..WHOLE }, NONE_LOST);
}
