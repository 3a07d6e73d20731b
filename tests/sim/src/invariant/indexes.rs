//! Indexes between any two writes.

use tidewheel_projector::Views;
use tidewheel_projector::views::runs_by::{Entry, clustering_key};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{Entity, RunId};
use tidewheel_store::{Generation, RowKey, StateStore as _};

use crate::world::World;

/// Whoever finds a run finds it in every index that its header speaks of. The rows are read at one instant.
pub async fn a_run_that_can_be_read_is_listed(world: &World, generation: Generation, run_id: RunId) {
    let views = Views::new(world.shared_store(), generation);
    let Ok(Some(stored)) = views.header(run_id).await else { return };
    let partition = partition_for(&Entity::Run(run_id).routing_key(), world.partitions);
    for entry in [Entry::Namespace, Entry::Workflow, Entry::Status(stored.header.status)] {
        let key = RowKey {
            partition: entry.key_of(&stored.header, partition),
            clustering: Some(clustering_key(&stored.header)),
        };
        if let Ok(None) = world.store().get(generation, entry.table(), &key).await {
            world.violate("a_run_that_can_be_read_is_listed", || {
                format!("run {run_id} at version {} is not in {entry:?}", stored.header.version)
            });
        }
    }
}
