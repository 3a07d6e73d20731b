//! An operator: starts, steers and ends replays, moves reads between generations, drops generations, all through the
//! configuration's log and beside everything else that happens. What they ask for may be refused; the fold says so.

use std::sync::Arc;

use tidewheel_engine::config::views::{ReplayKind, ReplayState, ReplayStatus, ViewsState};
use tidewheel_replay::verify::{Views, verify};
use tidewheel_schemas::event::{
    GenerationActivated, GenerationDropped, ReplayCancelled, ReplayPaused, ReplayRateChanged, ReplayResumed,
    ReplayScope, ReplayStarted,
};
use tidewheel_schemas::{Author, ConfigEvent, Entity, Envelope, EventId, codec};
use tidewheel_store::Generation;

use crate::clock::BEGINNING_US;
use crate::fault::Fault;
use crate::world::World;

/// How many records a partition may be behind when reads are to move there.
const LAG_MAX: i64 = 20;

/// Does something about the views, or nothing.
pub(super) async fn act(world: &Arc<World>) {
    let random = &world.random;
    if !random.chance(250) {
        return;
    }
    let state = world.views_state().await;
    match state.running() {
        None if state.generations.len() == 1 => start(world, &state).await,
        Some(replay) => steer(world, replay).await,
        None if random.chance(700) => activate(world, &state).await,
        None => {
            let spare = state.generations.keys().find(|generation| **generation != state.active);
            if let Some(generation) = spare {
                let event = GenerationDropped { generation: number(*generation) };
                change(world, Fault::GenerationDropped, event.into()).await;
            }
        }
    }
}

/// Nothing is held up any more: what is paused or slow goes on as fast as it can.
pub(super) async fn let_go(world: &Arc<World>) {
    let state = world.views_state().await;
    let Some(replay) = state.running() else { return };
    let replay = number(replay.number);
    append(world, ReplayResumed { replay }.into()).await;
    append(world, ReplayRateChanged { replay, records_per_second: None }.into()).await;
}

async fn start(world: &Arc<World>, state: &ViewsState) {
    let mut ends = Vec::new();
    for partition in 0..world.partitions {
        ends.push(world.bounds(partition).await.end);
    }
    let event = ReplayStarted {
        replay: number(state.replay_last + 1),
        kind: ReplayKind::Rebuild.as_str().to_owned(),
        generation: number(state.generation_last + 1),
        scope: ReplayScope::default(),
        ends,
        records_per_second: rate(world),
        activates: world.random.chance(300),
    };
    change(world, Fault::ReplayStarted, event.into()).await;
}

async fn steer(world: &Arc<World>, replay: &ReplayState) {
    let number = number(replay.number);
    match world.random.below(10) {
        0 => {
            let event = ReplayCancelled { replay: number, reason: "another time".to_owned() };
            change(world, Fault::ReplayCancelled, event.into()).await;
        }
        1..4 if replay.status == ReplayStatus::Running => {
            change(world, Fault::ReplaySteered, ReplayPaused { replay: number }.into()).await;
        }
        4..7 => {
            let event = ReplayRateChanged { replay: number, records_per_second: rate(world) };
            change(world, Fault::ReplaySteered, event.into()).await;
        }
        _ if replay.status == ReplayStatus::Paused => {
            change(world, Fault::ReplaySteered, ReplayResumed { replay: number }.into()).await;
        }
        _ => {}
    }
}

/// As the route does it: near its log, and compared with it, unless it was the active one before.
async fn activate(world: &Arc<World>, state: &ViewsState) {
    let Some(generation) = state.generations.keys().copied().find(|generation| *generation != state.active)
    else {
        return;
    };
    let rows = tidewheel_projector::Views::new(world.shared_store(), Generation(generation));
    for partition in 0..world.partitions {
        let end = world.bounds(partition).await.end;
        let checkpoint = rows.checkpoint(partition).await.ok().flatten();
        if checkpoint.is_none_or(|checkpoint| checkpoint.control.next_offset + LAG_MAX < end) {
            return;
        }
    }
    let views = Views {
        log: world.shared_log(),
        topic: world.topic.clone(),
        partitions: world.partitions,
        store: world.shared_store(),
        generation: Generation(generation),
    };
    match verify(&views, 3).await {
        Ok(report) if report.is_clean() => {}
        Ok(report) => {
            return world.violate("views_verify_beside_live_writes", || {
                format!("generation {generation}: {:?}", report.differences)
            });
        }
        Err(error) => {
            return world
                .violate("views_verify_beside_live_writes", || format!("generation {generation}: {error}"));
        }
    }
    let event = GenerationActivated {
        generation: number(generation),
        replaces: number(state.active),
        lag: 0,
        compared_rows: 0,
    };
    change(world, Fault::ReadsMoved, event.into()).await;
}

fn rate(world: &World) -> Option<i64> {
    world.random.chance(600).then(|| i64::try_from(world.random.between(5, 200)).unwrap_or(1))
}

fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

async fn change(world: &Arc<World>, fault: Fault, event: ConfigEvent) {
    world.faults.add(fault);
    append(world, event).await;
}

async fn append(world: &Arc<World>, event: ConfigEvent) {
    let envelope = Envelope {
        event_id: EventId::random(world.random.bytes_16()),
        entity: Entity::Views(world.datacenter.clone()),
        namespace: None,
        recorded_at_us: BEGINNING_US,
        cause: None,
        traceparent: None,
        author: Author::Ingest { principal: "operator".into() },
    };
    match codec::encode_config(&envelope, &event) {
        Ok(record) => {
            // A topic that does not exist yet has nothing to be changed.
            let _ = world.land(0, &world.config_place(), vec![record]).await;
        }
        Err(error) => world.violate("no_defect", || format!("a change that cannot be a record: {error}")),
    }
}
