//! Promises about the views of a datacenter: replays, generations and mendings in the order in which they may happen.

use tidewheel_engine::config::views::{MENDINGS_MAX, ReplayStatus, ViewsState};
use tidewheel_engine::{Rejection, Verdict};
use tidewheel_schemas::event::{
    GenerationActivated, GenerationDropped, ReplayCancelled, ReplayFinished, ReplayPaused, ReplayProgressed,
    ReplayRateChanged, ReplayResumed, ReplayScope, ReplayStarted, ViewsMended,
};
use tidewheel_schemas::{ConfigEvent, Entity, EventId};

use crate::world::{World, event_id, ingest, name};

fn started(replay: i32, kind: &str, generation: i32) -> ConfigEvent {
    ReplayStarted {
        replay,
        kind: kind.to_owned(),
        generation,
        scope: ReplayScope::default(),
        ends: vec![7],
        records_per_second: None,
        activates: false,
    }
    .into()
}

fn finished(replay: i32) -> ConfigEvent {
    ReplayFinished { replay }.into()
}

fn cancelled(replay: i32) -> ConfigEvent {
    ReplayCancelled { replay, reason: "enough".to_owned() }.into()
}

fn activated(generation: i32, replaces: i32) -> ConfigEvent {
    GenerationActivated { generation, replaces, lag: 0, compared_rows: 1 }.into()
}

fn dropped(generation: i32) -> ConfigEvent {
    GenerationDropped { generation }.into()
}

fn mended(generation: i32, number: i32) -> ConfigEvent {
    ViewsMended { generation, number }.into()
}

fn progressed(partition: i32, done: i64) -> ConfigEvent {
    ReplayProgressed { replay: 1, partition, done, rows: done * 10 }.into()
}

/// Folds events about the views of `east`; what was refused, by place, and how the views stand then.
fn fold(events: &[ConfigEvent]) -> (Vec<(usize, Rejection)>, ViewsState) {
    let world = World::new(1);
    let mut fold = world.begun(0);
    let east = Entity::Views(name("east"));
    let mut refused = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let number = place as u8 + 1;
        let record =
            world.record(i64::from(number), event_id(number), east.clone(), ingest("token:a"), event);
        match fold.apply(&record).expect("the fold is total").verdict {
            Verdict::Accepted => {}
            Verdict::Rejected(rejection) => refused.push((place, rejection)),
            verdict => panic!("{verdict:?}"),
        }
    }
    let views = fold.views().get(&name("east")).expect("its views are known");
    (refused, ViewsState::clone(views))
}

#[test]
fn a_rebuild_fills_a_generation_that_is_read_only_once_it_is_whole_and_the_way_back_stays_open() {
    let (refused, views) = fold(&[
        started(1, "rebuild", 2),
        activated(2, 1),
        finished(1),
        activated(2, 7),
        activated(2, 1),
        activated(2, 1),
        activated(2, 2),
        activated(1, 2),
        activated(2, 1),
        dropped(2),
        dropped(1),
        activated(1, 2),
    ]);
    assert_eq!(
        refused,
        [
            (1, Rejection::ReplayRunning),
            (3, Rejection::VersionConflict),
            (5, Rejection::VersionConflict),
            (6, Rejection::GenerationActive),
            (9, Rejection::GenerationActive),
            (11, Rejection::GenerationNotFound),
        ]
    );
    assert_eq!((views.active, views.previous), (2, None));
    assert_eq!(views.generations.keys().copied().collect::<Vec<_>>(), [2]);
}

#[test]
fn one_replay_runs_at_a_time_and_two_who_decide_at_once_decide_on_the_same() {
    let (refused, views) = fold(&[
        started(2, "rebuild", 2),
        started(1, "rebuild", 3),
        started(1, "polish", 2),
        started(1, "backfill", 2),
        started(1, "rebuild", 2),
        started(1, "rebuild", 2),
        started(2, "backfill", 1),
        finished(1),
        finished(1),
        started(2, "rebuild", 3),
        started(2, "backfill", 2),
        finished(3),
    ]);
    assert_eq!(
        refused,
        [
            (0, Rejection::VersionConflict),
            (1, Rejection::VersionConflict),
            (2, Rejection::Undecodable),
            (3, Rejection::GenerationNotFound),
            (5, Rejection::ReplayRunning),
            (6, Rejection::ReplayRunning),
            (8, Rejection::ReplayEnded),
            (9, Rejection::TooManyGenerations),
            (11, Rejection::ReplayNotFound),
        ]
    );
    assert_eq!(views.running().map(|replay| replay.number), Some(2));
}

#[test]
fn a_cancelled_rebuild_leaves_no_generation_and_its_number_is_never_used_again() {
    let (refused, views) = fold(&[
        started(1, "rebuild", 2),
        dropped(2),
        cancelled(1),
        cancelled(1),
        activated(2, 1),
        started(2, "rebuild", 2),
        started(2, "rebuild", 3),
    ]);
    assert_eq!(
        refused,
        [
            (1, Rejection::ReplayRunning),
            (3, Rejection::ReplayEnded),
            (4, Rejection::GenerationNotFound),
            (5, Rejection::VersionConflict),
        ]
    );
    assert_eq!(views.generations.keys().copied().collect::<Vec<_>>(), [1, 3]);
    assert_eq!(views.replays[&1].reason.as_deref(), Some("enough"));
}

#[test]
fn a_running_replay_is_paused_resumed_and_slowed_and_its_progress_goes_forward_only() {
    let slowed = |rate| ReplayRateChanged { replay: 1, records_per_second: rate }.into();
    let (refused, views) = fold(&[
        started(1, "backfill", 1),
        ReplayPaused { replay: 1 }.into(),
        progressed(0, 2),
        progressed(0, 2),
        progressed(0, 1),
        progressed(3, 1),
        progressed(-1, 1),
        slowed(Some(500)),
        slowed(Some(0)),
        ReplayResumed { replay: 1 }.into(),
    ]);
    assert_eq!(
        refused,
        [
            (3, Rejection::VersionConflict),
            (4, Rejection::VersionConflict),
            (6, Rejection::Undecodable),
            (8, Rejection::Undecodable),
        ]
    );
    let replay = &views.replays[&1];
    assert_eq!((replay.status, replay.records_per_second), (ReplayStatus::Running, Some(500)));
    let done: Vec<_> =
        replay.done.iter().map(|(partition, done)| (*partition, done.parts, done.rows)).collect();
    assert_eq!(done, [(0, 2, 20), (3, 1, 10)]);
}

#[test]
fn rows_of_a_generation_are_mended_seven_times_and_the_numbers_go_up_one_by_one() {
    let last = i32::try_from(MENDINGS_MAX).expect("a small number");
    let mut events = vec![mended(1, 2), mended(9, 1)];
    events.extend((1..=last + 1).map(|number| mended(1, number)));
    let (refused, views) = fold(&events);
    assert_eq!(
        refused,
        [
            (0, Rejection::VersionConflict),
            (1, Rejection::GenerationNotFound),
            (events.len() - 1, Rejection::TooManyMendings),
        ]
    );
    assert_eq!(views.generations[&1].mendings, MENDINGS_MAX);
}

#[test]
fn forgotten_replays_are_the_oldest_and_those_that_have_ended() {
    let mut events = Vec::new();
    for number in 1..=110 {
        events.extend([started(number, "backfill", 1), finished(number)]);
    }
    let (refused, views) = fold(&events);
    assert_eq!(refused, []);
    assert_eq!(views.replays.keys().copied().collect::<Vec<_>>(), (11..=110).collect::<Vec<_>>());
}

#[test]
fn a_backfill_takes_one_mending_whoever_asks_for_it_and_however_often() {
    let world = World::new(1);
    let mut fold = world.begun(0);
    let east = Entity::Views(name("east"));
    let mut place = 0;
    let mut say = |id: EventId, event: ConfigEvent| {
        place += 1;
        let record = world.record(place, id, east.clone(), ingest("process:a"), &event);
        let verdict = fold.apply(&record).expect("the fold is total").verdict;
        let views = fold.views().get(&name("east")).expect("its views are known");
        let backfill = views.replays.get(&1).map(|replay| replay.mending);
        (verdict, backfill.flatten(), views.generations[&1].mendings)
    };
    let taken = |number| ViewsState::mending_id(&name("east"), 1, number);
    let conflict = Verdict::Rejected(Rejection::VersionConflict);
    assert_eq!(say(event_id(1), started(1, "backfill", 1)), (Verdict::Accepted, None, 0));
    // Somebody mends by hand before the first part has found anything.
    assert_eq!(say(event_id(2), mended(1, 1)), (Verdict::Accepted, None, 1));
    assert_eq!(say(taken(1), mended(1, 1)), (conflict, None, 1), "it decided before it had read that");
    assert_eq!(say(taken(2), mended(1, 2)), (Verdict::Accepted, Some(2), 2));
    assert_eq!(
        say(taken(2), mended(1, 2)),
        (Verdict::Duplicate(Ok(())), Some(2), 2),
        "another process did the same"
    );
    // What is mended by hand meanwhile is another mending.
    assert_eq!(say(event_id(3), mended(1, 3)), (Verdict::Accepted, Some(2), 3));
    assert_eq!(say(event_id(4), finished(1)), (Verdict::Accepted, Some(2), 3));
    assert_ne!(taken(2), ViewsState::mending_id(&name("east"), 2, 2));
    assert_ne!(taken(2), ViewsState::mending_id(&name("west"), 1, 2));
}
