//! Which generation is read: reads move forward in what they show, whichever way they move.

use std::time::Duration;

use tidewheel_projector::generations::Behind;
use tidewheel_projector::{Generations, Projector, ProjectorOptions, Views};
use tidewheel_store::Generation;

use crate::world::{World, block_on, memory, run_id};

const LONG: Duration = Duration::from_secs(30);

fn world() -> World {
    let mut world = World::new();
    for number in 0..20 {
        world.start(run_id(number), "order", &[], i64::from(number));
    }
    world
}

async fn feed(projector: &Projector, world: &World, to: usize) {
    projector.submit(0, world.transitions[..to].to_vec(), &world.controls[to - 1]).await.unwrap();
    projector.wait_submitted(0, LONG).await.unwrap();
}

/// Two generations in one store; the first is read.
async fn two() -> (Generations, Projector, Projector) {
    let views = memory().await;
    let second = Views::new(views.store().clone(), Generation(views.generation().0 + 1));
    let first = Projector::start(views, 1, ProjectorOptions::default()).await.unwrap();
    let second = Projector::start(second, 1, ProjectorOptions::default()).await.unwrap();
    let generations = Generations::new(first.clone());
    generations.add(second.clone());
    (generations, first, second)
}

#[test]
fn reads_move_to_a_generation_only_once_it_holds_what_the_one_before_held() {
    block_on(async {
        let (world, (generations, first, second)) = (world(), two().await);
        feed(&first, &world, 20).await;
        feed(&second, &world, 11).await;
        let refused = generations.activate(second.generation());
        let generation = second.generation().0;
        assert_eq!(refused, Err(Behind { generation, partition: 0, applied: 10, needed: 19 }));
        assert_eq!(generations.active().generation(), first.generation());
        assert_eq!(generations.applied_offset(0), 19);
        feed(&second, &world, 20).await;
        generations.activate(second.generation()).unwrap();
        assert_eq!(generations.active().generation(), second.generation());
        // The way back is no different.
        feed(&second, &world, 21).await;
        assert!(generations.activate(first.generation()).is_err());
        feed(&first, &world, 21).await;
        generations.activate(first.generation()).unwrap();
        assert!(generations.activate(Generation(9)).is_err(), "what is not written here is not read here");
    });
}

#[test]
fn the_generation_that_is_read_stays_and_an_owner_outlives_the_one_it_feeds() {
    block_on(async {
        let (world, (generations, first, second)) = (world(), two().await);
        assert!(generations.fed(0).is_none() && !generations.has_owner(0));
        assert_eq!(generations.feed(0).generation(), first.generation());
        assert!(generations.remove(first.generation()).is_none(), "it is read");
        for projector in [&first, &second] {
            feed(projector, &world, 20).await;
        }
        generations.activate(second.generation()).unwrap();
        assert!(generations.is_fed(0, first.generation()), "its owner goes on feeding the one it began with");
        assert!(generations.remove(first.generation()).is_some());
        assert!(generations.fed(0).is_none() && generations.has_owner(0));
        assert_eq!(generations.feed(0).generation(), second.generation());
        assert_eq!(generations.all().len(), 1);
    });
}
