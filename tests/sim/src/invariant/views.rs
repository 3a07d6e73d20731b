//! Log, live state and rows say the same.

use std::sync::Arc;

use tidewheel_engine::Verdict;
use tidewheel_replay::verify::{Views, verify};
use tidewheel_store::Generation;

use super::Refold;
use crate::world::World;

/// Every row of every generation of the views is what a refold of the log from zero leads to, up to the checkpoint,
/// timestamps included; at rest the checkpoint is the end of the log. Where processes stopped for good in the middle, rows of a store that writes
/// stage by stage may be further than the checkpoint, so there is nothing to compare.
pub(super) async fn views_follow_the_log(world: &Arc<World>, at_rest: bool) {
    if !at_rest && !world.atomic {
        return;
    }
    let state = world.views_state().await;
    for generation in state.generations.keys() {
        // One that is being filled lacks what was not filled yet.
        let is_whole = at_rest || *generation == state.active;
        if is_whole {
            generation_follows_the_log(world, Generation(*generation), at_rest).await;
        }
    }
}

async fn generation_follows_the_log(world: &Arc<World>, generation: Generation, at_rest: bool) {
    let views = Views {
        log: world.shared_log(),
        topic: world.topic.clone(),
        partitions: world.partitions,
        store: world.shared_store(),
        generation,
    };
    let violate = |what: String| {
        world.violate("views_follow_the_log", || format!("generation {}: {what}", generation.0))
    };
    match verify(&views, 3).await {
        Ok(report) if report.difference_count > 0 => {
            violate(format!("{} rows differ: {:?}", report.difference_count, report.differences));
        }
        Ok(report) if at_rest && report.behind > 0 => {
            violate(format!("{} records are not projected", report.behind));
        }
        Ok(_) => {}
        // Beyond a raise there is nothing to compare.
        Err(tidewheel_replay::verify::VerifyError::Fold(_)) if !at_rest => {}
        Err(error) => violate(error.to_string()),
    }
}

/// What a live process made of a record, from whatever it had in memory or loaded from rows, is what the refold makes of
/// it.
pub(super) fn live_folds_equal_the_refold(world: &World, refold: &Refold) {
    for (who, live) in world.take_live() {
        let Some(reference) = refold.transition(live.partition, live.offset) else {
            world.violate("live_folds_equal_the_refold", || {
                format!(
                    "process {who} folded offset {} of partition {}, the refold did not",
                    live.offset, live.partition
                )
            });
            continue;
        };
        // A run that was loaded from rows may be further than the fold; then the record was applied to it already.
        if live.verdict == Verdict::Skipped && live.headers == reference.headers {
            continue;
        }
        if live != *reference {
            world.violate("live_folds_equal_the_refold", || {
                format!("process {who} made of offset {}: {live:?}; the refold: {reference:?}", live.offset)
            });
        }
    }
}
