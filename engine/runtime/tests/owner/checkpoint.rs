//! Resuming: an owner goes on only with the log that its views were built from.

use tidewheel_runtime::OwnerError;

use super::world::World;

/// A log in which one run has ended, and the views of it.
async fn ended() -> World {
    let mut world = World::new().await;
    world.begin();
    let run_id = world.run_in(0, "steps", 1);
    world.start(run_id, "steps", "7".to_owned()).await;
    world.completed(run_id).await;
    world.stop().await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_are_refused_the_log_that_they_were_not_built_from() {
    let mut world = ended().await;
    let built_from = world.log.clone();
    // A new one, which ends before the checkpoint; then one of the same length with other records.
    for other in [World::new().await, ended().await] {
        world.log = other.log.clone();
        world.begin();
        let failure = world.failure().await;
        assert!(matches!(failure, OwnerError::CheckpointMismatch(_)), "{failure}");
        assert!(failure.to_string().contains("rebuild the views"), "{failure}");
    }
    world.log = built_from;
    world.begin();
    world.until("both partitions are led", |world| world.status(0).leading && world.status(1).leading).await;
    world.stop().await;
}
