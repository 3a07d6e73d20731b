//! Rewinding: a run as it was at an earlier place of its partition, refolded from its own history.
//!
//! Rows of a run may be further than the checkpoint they are loaded beside: a write was cut between its stages, or
//! another process writes the same views. Skipping the records in between would lose what they change outside of the
//! run: its outbox entries, and the index rows that were to be deleted after the run was written.

use std::sync::Arc;

use tidewheel_schemas::{Author, Entity, Envelope, Event};

use super::apply::{Place, apply, create};
use super::digest::PartsDigest;
use super::{HistoryEntry, Origin, Run};

/// The run as it was before the record at `next_offset`; `None` if that is before its start.
///
/// What a history does not hold, the ids of refused events, is taken from the remembered ones. Ids that were forgotten
/// since (after 1,000 newer ones and 15 minutes) are not.
pub(crate) fn rewind(run: &Run, next_offset: i64) -> Option<Run> {
    let mut entries = run.history.iter().take_while(|entry| entry.offset < next_offset);
    let first = entries.next()?;
    let (_, rewound) =
        create(run.header.run_id, place(run, first), &envelope(run, first), (*first.event).clone());
    let mut rewound = rewound?;
    for entry in entries {
        if let Event::RunUnparked(unparked) = &*entry.event {
            // What halted it is no part of the history.
            let header = Arc::make_mut(&mut rewound.header);
            header.parked_at = Some(unparked.offset);
            header.applied_offset = header.applied_offset.max(unparked.offset);
        }
        apply(&mut rewound, place(run, entry), &envelope(run, entry), (*entry.event).clone());
    }
    let refused =
        run.remembered.iter().filter(|(_, first)| first.outcome.is_err() && first.offset < next_offset);
    for (event_id, first) in refused {
        rewound.remembered.insert(*event_id, *first);
    }
    let newest = rewound.remembered.iter().last().map_or(i64::MIN, |(_, first)| first.offset);
    let parts = PartsDigest::of(&rewound);
    let header = Arc::make_mut(&mut rewound.header);
    header.applied_offset = header.applied_offset.max(newest);
    header.parts = parts;
    header.parked_at = parked_at(run, next_offset);
    // Only what the run is frozen at was never applied; any other halt was.
    let frozen_at = run.header.parked_at.filter(|_| run.header.is_frozen());
    if let Some(parked_at) = header.parked_at.filter(|parked_at| Some(*parked_at) != frozen_at) {
        header.applied_offset = header.applied_offset.max(parked_at);
    }
    Some(rewound)
}

/// Where the run had halted before the record at `next_offset`: what let it go on says so, or it never went on.
fn parked_at(run: &Run, next_offset: i64) -> Option<i64> {
    let later = run.history.iter().skip_while(|entry| entry.offset < next_offset);
    let unparked = later.into_iter().find_map(|entry| {
        if let Event::RunUnparked(unparked) = &*entry.event { Some(unparked.offset) } else { None }
    });
    unparked.or(run.header.parked_at).filter(|parked_at| *parked_at < next_offset)
}

fn place(run: &Run, entry: &HistoryEntry) -> Place {
    let log_time_us = run.remembered.get(&entry.event_id).map_or(0, |first| first.log_time_us);
    Place { offset: entry.offset, log_time_us }
}

fn envelope(run: &Run, entry: &HistoryEntry) -> Envelope {
    let author = match entry.origin {
        // Who asked is not kept, and changes nothing.
        Origin::External { .. } => Author::Ingest { principal: "".into() },
        Origin::Engine { seen, idle } => Author::Engine { claim: 0, seq: 0, seen, idle },
    };
    Envelope {
        event_id: entry.event_id,
        entity: Entity::Run(run.header.run_id),
        namespace: Some(run.header.namespace.clone()),
        recorded_at_us: entry.recorded_at_us,
        cause: None,
        traceparent: None,
        author,
    }
}
