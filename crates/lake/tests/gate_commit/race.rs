//! Several writers, an unruly catalog, seeded: at the end each offset is in the table exactly once.

use crate::unruly::Unruly;
use crate::world::{TOPIC, World};
use k2_lake::gate::Outcome;
use k2_model::{Class, Partition, SourceState};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const PARTITIONS: i32 = 3;
/// Each partition has this many records.
const END: i64 = 40;
/// A writer's patience with one commit: then it drops what it holds, as a killed one would.
const PATIENCE: Duration = Duration::from_millis(1500);

fn position(state: Option<&SourceState>, partition: i32) -> i64 {
    state.and_then(|s| s.partition(TOPIC, Partition(partition))).map_or(0, |p| p.next.0)
}

#[derive(Debug, Default)]
struct Seen {
    committed: usize,
    fenced: usize,
    given_up: usize,
}

/// Reads, stages and commits until the table has it all. Every writer reads every partition: their ranges overlap.
async fn writer(world: Arc<World>, unruly: Arc<Unruly>, seed: u64) -> Seen {
    let mut chance = StdRng::seed_from_u64(seed);
    let gate = world.gate_over(unruly.clone());
    let mut seen = Seen::default();
    loop {
        let Ok(head) = timeout(PATIENCE, gate.head()).await else { continue };
        let (table, state) = head.unwrap();
        let open: Vec<i32> = (0..PARTITIONS).filter(|p| position(state.as_ref(), *p) < END).collect();
        if open.is_empty() {
            return seen;
        }
        let mut state = state;
        // several commits in a row on what it believes to hold, until something tells it otherwise
        loop {
            let mut parts = Vec::new();
            for p in &open {
                let from = position(state.as_ref(), *p);
                if from < END && (parts.is_empty() || chance.random_bool(0.5)) {
                    parts.push((*p, from..(from + chance.random_range(1..=12)).min(END)));
                }
            }
            if parts.is_empty() {
                break;
            }
            let staged = world.stage(&table, state.as_ref(), &parts).await;
            let commit = gate.commit(&staged.proposal, &staged.files, k2_model::clock::now_micros());
            match timeout(PATIENCE, commit).await {
                Ok(Ok(Outcome::Committed(table))) => {
                    seen.committed += 1;
                    let key = crate::world::source().property_key();
                    state = table.metadata().properties().get(&key).map(|s| SourceState::parse(&key, s).unwrap());
                }
                Ok(Ok(Outcome::Fenced(_) | Outcome::Rebuild(_))) => {
                    seen.fenced += 1;
                    break;
                }
                Ok(Err(e)) => {
                    assert_ne!(e.class(), Class::Halt, "{e}");
                    panic!("{e}");
                }
                Err(_) => {
                    seen.given_up += 1;
                    break;
                }
            }
        }
    }
}

async fn race(seed: u64) {
    let world = Arc::new(World::sqlite().await);
    let mut writers = JoinSet::new();
    let mut catalogs = Vec::new();
    for n in 0..3 {
        let unruly = Unruly::seeded(&world.catalog, seed * 10 + n);
        catalogs.push(Arc::clone(&unruly));
        writers.spawn(writer(Arc::clone(&world), unruly, seed * 10 + n));
    }
    let deadline = Instant::now() + Duration::from_secs(180);
    let mut seen = Vec::new();
    while let Some(done) = tokio::time::timeout_at(deadline, writers.join_next()).await.expect("no end") {
        seen.push(done.unwrap());
    }
    // what is still under way lands now, or not at all
    for unruly in &catalogs {
        unruly.settle().await;
    }
    let attempts: usize = catalogs.iter().map(|c| c.attempts().len()).sum();
    let audit = world.audit().await.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    let all: BTreeMap<i32, i64> = (0..PARTITIONS).map(|p| (p, END)).collect();
    assert_eq!(audit.positions, all, "seed {seed}");
    println!("seed {seed}: {} snapshots, {attempts} attempts, {seen:?}", audit.snapshots);
}

/// The seeds are fixed, the interleavings are not: a failure names the seed and what was found.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_writers_and_an_unruly_catalog_leave_each_offset_once() {
    let mut worlds = JoinSet::new();
    for seed in 1..=6 {
        worlds.spawn(race(seed));
    }
    while let Some(done) = worlds.join_next().await {
        done.unwrap();
    }
}
