//! A reader that goes from process to process and asks each not to answer from before what it has seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidewheel_projector::Views;
use tidewheel_schemas::Entity;
use tidewheel_schemas::RunId;
use tidewheel_schemas::partition::partition_for;

use crate::invariant;
use crate::program::Planned;
use crate::random::Random;
use crate::world::World;

/// How long a reader waits for a process to get as far as it has read.
const PATIENCE: Duration = Duration::from_millis(400);

/// Reads as long as the world lasts.
pub async fn read(world: Arc<World>, runs: Vec<Planned>, random: Random) {
    let mut seen: BTreeMap<RunId, (u64, i64)> = BTreeMap::new();
    loop {
        tokio::time::sleep(Duration::from_millis(random.between(5, 400))).await;
        let processes: Vec<_> = world.generations.lock().values().cloned().collect();
        let (Some(process), Some(run)) = (random.pick(&processes), random.pick(&runs)) else { continue };
        // One generation for the whole of a read, as the routes do it.
        let projector = process.active();
        let generation = projector.generation();
        let partition = partition_for(&Entity::Run(run.run_id).routing_key(), world.partitions);
        let (version, at_least) = seen.get(&run.run_id).copied().unwrap_or((0, -1));
        if projector.wait_applied(partition, at_least, PATIENCE).await.is_err() {
            continue;
        }
        let applied = projector.applied_offset(partition);
        // The rows themselves: what the route does with them is not simulated.
        let views = Views::new(world.shared_store(), generation);
        let (found, stands_at) = match views.header(run.run_id).await {
            Ok(Some(stored)) => (stored.header.version, stored.header.applied_offset),
            Ok(None) => (0, -1),
            Err(_) => continue,
        };
        if found < version {
            world.violate("reads_never_go_back", || {
                format!(
                    "run {} was read at version {version}, then at {found} with at_least {at_least}",
                    run.run_id
                )
            });
        }
        for run in &runs {
            invariant::a_run_that_can_be_read_is_listed(&world, generation, run.run_id).await;
        }
        seen.insert(run.run_id, (found, applied.max(stands_at)));
    }
}
