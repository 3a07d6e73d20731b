//! Records from outside: each counts at most once, and none that was acknowledged is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use tidewheel_engine::{RunStatus, Verdict};
use tidewheel_projector::views::rejections;
use tidewheel_schemas::{Author, Entity, Event, EventId, EventType, RunId};
use tidewheel_store::{Scan, StateStore as _, Value};

use super::Refold;
use crate::world::World;

/// Of all records with one event id about one run at most one is accepted, and those after it are told the same; of all
/// starts of a run one is accepted.
pub(super) fn one_event_counts_once(world: &World, refold: &Refold) {
    for (partition, transitions) in refold.transitions() {
        let (mut accepted, mut started) = (BTreeSet::<(RunId, EventId)>::new(), BTreeSet::new());
        for transition in transitions {
            let Some(headers) = &transition.headers else { continue };
            let (Entity::Run(run_id), Author::Ingest { .. }) = (&headers.entity, &headers.author) else {
                continue;
            };
            let again = accepted.contains(&(*run_id, headers.event_id))
                || headers.event_type == EventType::RunStarted && started.contains(run_id);
            if again
                && matches!(transition.verdict, Verdict::Rejected(_))
                && is_sound(world, headers.event_id)
            {
                world.violate("retries_get_the_first_outcome", || {
                    format!("partition {partition} offset {}: {:?}", transition.offset, transition.verdict)
                });
            }
            if transition.verdict != Verdict::Accepted {
                continue;
            }
            if again {
                world.violate("one_event_counts_once", || {
                    format!(
                        "partition {partition} offset {}: {:?} again",
                        transition.offset, headers.event_id
                    )
                });
            }
            accepted.insert((*run_id, headers.event_id));
            if headers.event_type == EventType::RunStarted {
                started.insert(*run_id);
            }
        }
    }
}

fn is_sound(world: &World, event_id: EventId) -> bool {
    !world.ledger.hostile().contains(&event_id)
}

/// Records with a forged author, namespace or partition, or a value nobody can read, are never accepted.
pub(super) fn hostile_records_change_nothing(world: &World, refold: &Refold) {
    let hostile = world.ledger.hostile();
    for (partition, transitions) in refold.transitions() {
        for transition in transitions {
            let Some(headers) = &transition.headers else { continue };
            if hostile.contains(&headers.event_id) && !matches!(transition.verdict, Verdict::Rejected(_)) {
                world.violate("hostile_records_change_nothing", || {
                    format!("partition {partition} offset {}: {:?}", transition.offset, transition.verdict)
                });
            }
        }
    }
}

/// The refused records that the view lists: partition, offset of the record, code.
async fn listed(world: &World) -> BTreeSet<(i64, i64, EventIdBytes)> {
    let (store, generation) = (world.store(), world.active().await);
    let mut found = BTreeSet::new();
    let mut after = None;
    loop {
        let scan = Scan { partition: None, from: None, to: None, after, reverse: false, limit: 1_000 };
        let Ok(page) = store.scan(generation, &rejections::BY_DAY, &scan).await else { return found };
        for row in page.rows {
            let partition = row.key.clustering.as_ref().and_then(|key| key.get(1).cloned());
            if let (Some(Value::Int(partition)), Some(Value::Int(offset)), Some(Value::Uuid(event_id))) =
                (partition, row.columns.get(2), row.columns.get(3))
            {
                found.insert((partition, *offset, *event_id));
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

type EventIdBytes = [u8; 16];

/// Every event a producer was told is durable lies where it was told, and was applied, or is listed in `rejections`;
/// a signal that was accepted was read by its workflow, or is listed as left unread.
pub(super) async fn acknowledged_events_have_a_fate(world: &World, refold: &Refold) {
    let listed = listed(world).await;
    let mut read = BTreeMap::new();
    for (_, run) in refold.runs() {
        let ordinals: BTreeSet<u64> = run
            .history
            .iter()
            .filter_map(|entry| match &*entry.event {
                Event::SignalReceived(received) => {
                    Some(received.signals.iter().map(|ordinal| ordinal.unsigned_abs()))
                }
                _ => None,
            })
            .flatten()
            .collect();
        read.insert(run.header.run_id, ordinals);
    }
    for promise in world.ledger.acknowledged() {
        let fate = refold.transition(promise.partition, promise.offset);
        let Some((transition, headers)) = fate.and_then(|fate| Some((fate, fate.headers.as_ref()?))) else {
            world.violate("acknowledged_events_have_a_fate", || format!("{promise:?} is not in the log"));
            continue;
        };
        let is_listed =
            listed.contains(&(i64::from(promise.partition), promise.offset, *promise.event_id.as_bytes()));
        let applied = match transition.verdict {
            Verdict::Accepted | Verdict::Duplicate(Ok(())) => true,
            // The first record with this id is listed.
            Verdict::Duplicate(Err(_)) => true,
            Verdict::Rejected(_) => is_listed,
            Verdict::Parked | Verdict::Stale | Verdict::Skipped => false,
        };
        let run = headers.entity.run_id().and_then(|run_id| refold.run(run_id));
        let unread = run.is_some_and(|run| {
            let entry = run.history.iter().find(|entry| entry.offset == promise.offset);
            let ordinal = entry.and_then(|entry| match entry.origin {
                tidewheel_engine::run::Origin::External { ordinal } => Some(ordinal),
                tidewheel_engine::run::Origin::Engine { .. } => None,
            });
            headers.event_type == EventType::RunSignaled
                && transition.verdict == Verdict::Accepted
                && run.header.status != RunStatus::Running
                && !is_listed
                && !ordinal.is_some_and(|ordinal| {
                    read.get(&run.header.run_id).is_some_and(|ordinals| ordinals.contains(&ordinal))
                })
        });
        if headers.event_id != promise.event_id || !applied || unread {
            world.violate("acknowledged_events_have_a_fate", || {
                format!("{promise:?} is {:?}, listed: {is_listed}, left unread: {unread}", transition.verdict)
            });
        }
    }
}
