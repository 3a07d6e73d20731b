//! What must hold in every world at its end, one function each. Invariants about a moment are checked where that moment
//! is: `reads_never_go_back` in the reader, `progress`, `checkpoints_are_verified` and `who_is_too_old_stops` in the
//! driver.

mod claims;
mod effects;
mod externals;
mod indexes;
mod outbox;
mod refold;
mod reigns;
mod runs;
mod timers;
mod views;

use std::sync::Arc;

pub use self::indexes::a_run_that_can_be_read_is_listed;
pub use self::refold::Refold;
use crate::program::Planned;
use crate::world::World;

/// Checks a world that has come to its end. `lost` says that records were taken out of its log, and `raised` that its
/// fold was raised beyond what anybody knows; then promises about those records do not bind.
pub async fn check(world: &Arc<World>, runs: &[Planned], refold: &Refold, lost: bool, raised: bool) {
    let at_rest = !raised;
    views::views_follow_the_log(world, at_rest).await;
    views::live_folds_equal_the_refold(world, refold);
    reigns::one_reign_at_a_time(world, refold);
    claims::what_is_in_force_counts(world, refold).await;
    runs::one_result_per_location(world, refold);
    runs::healthy_workflows_never_diverge(world, refold);
    externals::one_event_counts_once(world, refold);
    externals::hostile_records_change_nothing(world, refold);
    if lost {
        return;
    }
    effects::accepted_results_happened(world, refold);
    effects::no_effect_before_its_cause(world, runs, refold);
    if at_rest {
        externals::acknowledged_events_have_a_fate(world, refold).await;
        outbox::signals_arrive_once_and_in_order(world, refold);
        timers::timers_are_punctual(world, refold, world.calm_us());
    }
}
