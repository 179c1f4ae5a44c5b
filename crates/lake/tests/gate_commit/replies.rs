//! One writer, and answers that lie, are lost or come late.

use crate::unruly::{Look, Unruly, Whim};
use crate::world::{DEADLINE, World};
use k2_lake::gate::Outcome;
use k2_model::clock;
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_in_once_whatever_the_answer_says() {
    use Whim::{DoneConflict, DoneUnanswered, Honest, Late, LostUnanswered, NotApplied};
    // the commits in order, and which of them are tried at all
    let cases: &[&[Whim]] = &[
        &[Honest],
        &[DoneUnanswered],
        &[DoneConflict],
        &[LostUnanswered, Honest],
        &[NotApplied, Honest],
        &[LostUnanswered, NotApplied, DoneUnanswered],
        &[LostUnanswered, LostUnanswered, DoneConflict],
        // lands before the next look, or after it: then the next one is refused on the old base
        &[Late(0)],
        &[Late(60), Honest],
        &[Late(60), Late(60), Late(60), Honest],
    ];
    for world in World::all().await {
        for (i, case) in (0_i64..).zip(cases) {
            let unruly = Unruly::scripted(&world.catalog, case);
            let gate = world.gate_over(unruly.clone());
            let staged = world.stage_now(&[(0, i * 3..i * 3 + 3), (1, i..i + 1)]).await;
            let outcome = staged.commit(&gate).await.unwrap();
            assert!(matches!(outcome, Outcome::Committed(_)), "{case:?}: {outcome:?}");
            unruly.settle().await;
            let late = case.iter().any(|w| matches!(w, Late(_)));
            assert!(late || unruly.attempts() == *case, "{case:?}: {:?}", unruly.attempts());
            let audit = world.audit().await.unwrap_or_else(|e| panic!("{case:?}: {e}"));
            let rows = usize::try_from(i).unwrap() * 4 + 4;
            audit.is(rows, rows / 4);
            assert_eq!(audit.positions, [(0, i * 3 + 3), (1, i + 1)].into());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_hangs_leaves_all_or_nothing() {
    for world in World::all().await {
        for (i, whim) in (0_i64..).zip([Whim::DoneHangs, Whim::LostHangs]) {
            let unruly = Unruly::scripted(&world.catalog, &[whim]);
            let gate = world.gate_over(unruly.clone());
            let staged = world.stage_now(&[(0, i * 5..i * 5 + 5)]).await;
            let hung = gate.commit(&staged.proposal, &staged.files, clock::now_micros());
            // wait until the attempt has been made, then give up on it
            assert!(timeout(Duration::from_secs(2), hung).await.is_err());
            assert_eq!(unruly.attempts(), [whim]);
            assert_eq!(
                world.audit().await.unwrap().rows,
                usize::try_from(i * 5 + 5 * i64::from(whim == Whim::DoneHangs)).unwrap()
            );
            // the same proposal again tells what became of it
            let outcome = staged.commit(&gate).await.unwrap();
            assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
            assert_eq!(unruly.attempts().len(), if whim == Whim::DoneHangs { 1 } else { 2 });
            assert_eq!(world.audit().await.unwrap().positions, [(0, i * 5 + 5)].into());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_that_fail_are_waited_for() {
    let world = World::sqlite().await;
    let unruly = Unruly::scripted(&world.catalog, &[]);
    let gate = world.gate_over(unruly.clone());
    unruly.looks(&[Look::Retry, Look::Unknown, Look::Retry]);
    let (_, state) = timeout(DEADLINE, gate.head()).await.unwrap().unwrap();
    assert!(state.is_none());
    unruly.looks(&[Look::Unknown, Look::Retry]);
    let staged = world.stage_now(&[(0, 0..2)]).await;
    assert!(matches!(staged.commit(&gate).await.unwrap(), Outcome::Committed(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_head_costs_a_conflict_and_no_more() {
    for world in World::all().await {
        world.commit(&[(0, 0..3)]).await;
        let unruly = Unruly::scripted(&world.catalog, &[]);
        let gate = world.gate_over(unruly.clone());
        // a cache keeps this head; another partition moves on
        gate.head().await.unwrap();
        world.commit(&[(1, 0..4)]).await;
        let staged = world.stage_now(&[(0, 3..5)]).await;
        unruly.looks(&[Look::Oldest, Look::Oldest]);
        assert!(matches!(staged.commit(&gate).await.unwrap(), Outcome::Committed(_)));
        assert_eq!(unruly.attempts().len(), 3, "two on the stale head, one on the true one");
        // and a stale look after a lost answer does not make it a second time
        let staged = world.stage_now(&[(0, 5..6)]).await;
        let unruly = Unruly::scripted(&world.catalog, &[Whim::DoneUnanswered]);
        unruly.looks(&[Look::Honest, Look::Oldest, Look::Oldest]);
        let outcome = staged.commit(&world.gate_over(unruly.clone())).await.unwrap();
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        let audit = world.audit().await.unwrap();
        audit.is(10, 4);
        assert_eq!(audit.positions, [(0, 6), (1, 4)].into());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_error_only_for_the_head_it_was_made_on() {
    let world = World::sqlite().await;
    let staged = world.stage_now(&[(0, 0..3)]).await;
    let gate = world.gate_over(Unruly::scripted(&world.catalog, &[Whim::Refused]));
    let error = staged.commit(&gate).await.unwrap_err();
    assert_eq!(error.class(), k2_model::Class::Config, "{error}");
    assert!(world.audit().await.unwrap().rows == 0);
    // it works after all: nothing was lost by the refusal
    assert!(matches!(staged.commit(&gate).await.unwrap(), Outcome::Committed(_)));

    // refused on a head that was old news: somebody had committed to another branch
    let unruly = Unruly::scripted(&world.catalog, &[Whim::Refused]);
    let gate = world.gate_over(unruly.clone());
    gate.head().await.unwrap();
    let table = world.table().await;
    let files = world.write(&table, &[(9, 0..1)]).await;
    world.rewrite(iceberg::spec::Operation::Append, "audit", |_| false, &files).await;
    let staged = world.stage_now(&[(0, 3..4)]).await;
    unruly.looks(&[Look::Oldest]);
    assert!(matches!(staged.commit(&gate).await.unwrap(), Outcome::Committed(_)));
    assert_eq!(world.audit().await.unwrap().rows, 4, "main does not show the other branch");
}
