//! Several writers on one range: one gets in, the others are told.

use crate::unruly::{Look, Unruly, Whim};
use crate::world::{Staged, TOPIC, World, source};
use k2_lake::gate::Outcome;
use k2_model::{Class, Partition, SourceId};
use std::collections::HashMap;

fn fenced(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Fenced(e) => {
            assert_eq!(e.class(), Class::ReRead);
            true
        }
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_is_fenced_and_its_files_are_left_alone() {
    for world in World::all().await {
        world.commit(&[(0, 0..4), (1, 0..2)]).await;
        // the zombie sleeps over all of these
        let zombie = world.stage_now(&[(0, 4..9)]).await;
        let half = world.stage_now(&[(0, 4..5), (1, 2..3)]).await;
        let same = world.stage_now(&[(0, 4..7)]).await;
        world.commit(&[(0, 4..7)]).await;
        for (name, staged) in [("longer", &zombie), ("one of two partitions", &half), ("the very same range", &same)] {
            let outcome = staged.commit(&world.gate()).await.unwrap();
            assert!(fenced(&outcome), "{name}: {outcome:?}");
            let Outcome::Fenced(e) = outcome else { continue };
            assert!(e.to_string().contains("trades/0") && e.to_string().contains(world.ident.name()), "{e}");
            for file in &staged.files {
                assert!(world.table().await.file_io().exists(file.file_path()).await.unwrap(), "{name}");
            }
        }
        let audit = world.audit().await.unwrap();
        audit.is(9, 2);
        // it reads the position again and goes on
        world.commit(&[(0, 7..9)]).await;
        assert_eq!(world.audit().await.unwrap().rows, 11);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_writers_with_the_same_range_one_gets_in() {
    for world in World::all().await {
        for round in 0..5 {
            let range = round * 10..round * 10 + 10;
            let mut staged: Vec<Staged> = Vec::new();
            for _ in 0..4 {
                staged.push(world.stage_now(&[(0, range.clone())]).await);
            }
            let gate = world.gate();
            let outcomes = futures::future::join_all(staged.iter().map(|s| s.commit(&gate))).await;
            let in_it = outcomes.iter().filter(|o| matches!(o, Ok(Outcome::Committed(_)))).count();
            let out = outcomes.iter().filter(|o| o.as_ref().is_ok_and(fenced)).count();
            assert_eq!((in_it, out), (1, 3), "{outcomes:?}");
        }
        let audit = world.audit().await.unwrap();
        audit.is(50, 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_different_partitions_all_get_in() {
    for world in World::all().await {
        world.commit(&[(0, 0..1), (1, 0..1)]).await;
        let mut staged = Vec::new();
        for partition in 0..4 {
            let from = i64::from(partition < 2);
            staged.push(world.stage_now(&[(partition, from..from + 5)]).await);
        }
        let gate = world.gate();
        for outcome in futures::future::join_all(staged.iter().map(|s| s.commit(&gate))).await {
            assert!(matches!(outcome.unwrap(), Outcome::Committed(_)));
        }
        let audit = world.audit().await.unwrap();
        assert_eq!(audit.positions, [(0, 6), (1, 6), (2, 5), (3, 5)].into());
    }
}

/// The stale writer of the next two tests: it holds 0..3 and an old head, and somebody else has written 0..3 since.
async fn stale_writer(world: &World, whims: &[Whim]) -> (std::sync::Arc<Unruly>, Outcome) {
    let unruly = Unruly::scripted(&world.catalog, whims);
    let gate = world.gate_over(unruly.clone());
    gate.head().await.unwrap();
    let stale = world.stage_now(&[(0, 0..3)]).await;
    world.commit(&[(0, 0..3)]).await;
    unruly.looks(&[Look::Oldest]);
    let outcome = stale.commit(&gate).await.unwrap();
    (unruly, outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_on_a_stale_head_is_caught_by_the_pin() {
    for world in World::all().await {
        let (unruly, outcome) = stale_writer(&world, &[]).await;
        assert!(fenced(&outcome), "{outcome:?}");
        assert_eq!(unruly.attempts(), [Whim::Honest], "tried on the stale head, and refused there");
        assert_eq!(world.audit().await.unwrap().rows, 3);
    }
}

/// Negative control: without the pin the very same writer doubles its rows, and the audit says so.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_pin_the_audit_finds_rows_twice() {
    let world = World::sqlite().await;
    let (_, outcome) = stale_writer(&world, &[Whim::Rebased]).await;
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    let found = world.audit().await.unwrap_err();
    assert!(found.starts_with("twice: 0/"), "{found}");
}

/// Negative control: a position merged from a stale head goes back, and the audit says so.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_pin_the_audit_finds_positions_that_went_back() {
    let world = World::sqlite().await;
    world.commit(&[(0, 0..3), (1, 0..1)]).await;
    let unruly = Unruly::scripted(&world.catalog, &[Whim::Rebased]);
    let gate = world.gate_over(unruly.clone());
    gate.head().await.unwrap();
    let staged = world.stage_now(&[(1, 1..2)]).await;
    world.commit(&[(0, 3..5)]).await;
    unruly.looks(&[Look::Oldest]);
    assert!(matches!(staged.commit(&gate).await.unwrap(), Outcome::Committed(_)));
    let found = world.audit().await.unwrap_err();
    assert!(found.starts_with("beyond the position 3: 0/3"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_left_untouched() {
    let world = World::sqlite().await;
    world.commit(&[(0, 0..2)]).await;
    // another topic of ours, another source, and a property of somebody else
    let mut state = world.state().await.unwrap();
    let foreign = state.topics[TOPIC].clone();
    state.topics.insert("older".to_owned(), foreign.clone());
    let other = SourceId::new("other-group").property_key();
    let properties = HashMap::from([
        (source().property_key(), state.to_json().unwrap()),
        (other.clone(), "whatever".to_owned()),
        ("owner".to_owned(), "the desk".to_owned()),
    ]);
    world.alter(|b| b.set_properties(properties).unwrap()).await;
    let table = world.commit(&[(0, 2..5), (3, 0..1)]).await;
    let properties = table.metadata().properties();
    assert_eq!((properties[&other].as_str(), properties["owner"].as_str()), ("whatever", "the desk"));
    let state = world.state().await.unwrap();
    assert_eq!(state.topics["older"], foreign);
    assert_eq!(state.partition(TOPIC, Partition(0)).unwrap().next.0, 5);
    assert_eq!(state.snapshot.id.0, table.metadata().current_snapshot_id().unwrap());
    assert_eq!(state.snapshot.sequence, table.metadata().current_snapshot().unwrap().sequence_number());
}
