//! The owner over a log and views in memory: runs end, once, whatever happens to appends and processes.

mod checkpoint;
mod log;
mod views;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidewheel_runtime::{Duties, Duty, Owners};
use tidewheel_schemas::Event;

use log::{Fault, Whose};
use world::{PARTITIONS, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_completes_and_leaves_memory() {
    let mut world = World::new().await;
    world.begin();
    let run_id = world.run_in(0, "steps", 1);
    world.start(run_id, "steps", "7".to_owned()).await;
    assert_eq!(world.completed(run_id).await, "7");
    assert_eq!(world.steps_run.load(Ordering::SeqCst), 3, "one attempt failed");
    world.until("it leaves memory", |world| world.status(0).resident_runs == 0).await;
    world.stop().await;
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_survives_appends_that_are_lost_or_whose_fate_it_does_not_learn() {
    let mut world = World::new().await;
    world.begin();
    for (number, landed) in [(1, false), (2, true), (3, false), (4, true)] {
        let run_id = world.run_in(0, "steps", number);
        world.log.fail_next(Fault { whose: Whose::Engine, partition: 0, landed });
        world.start(run_id, "steps", number.to_string()).await;
        assert_eq!(world.completed(run_id).await, number.to_string());
        assert!(world.log.faults_happened());
        let run = world.views.run(run_id).expect("it has ended");
        let results =
            run.history.iter().filter(|entry| matches!(&*entry.event, Event::StepCompleted(_))).count();
        assert_eq!(results, 2, "one result a step");
    }
    world.stop().await;
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_run_leaves_memory_and_a_signal_brings_it_back() {
    let mut world = World::new().await;
    world.begin();
    let run_id = world.run_in(1, "wait", 1);
    world.start(run_id, "wait", "2".to_owned()).await;
    for (version, word) in [(2, "a"), (5, "b")] {
        world.until_version(run_id, version).await;
        world.until("it leaves memory", |world| world.status(1).resident_runs == 0).await;
        world.signal(run_id, "go", word).await;
    }
    assert_eq!(world.completed(run_id).await, "ab");
    assert!(world.views.loads.lock().iter().filter(|loaded| **loaded == run_id).count() >= 2);
    world.stop().await;
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timer_of_a_run_that_left_memory_fires() {
    let mut world = World::new().await;
    world.begin();
    let run_id = world.run_in(1, "nap", 1);
    world.start(run_id, "nap", "1500000".to_owned()).await;
    world.until_version(run_id, 2).await;
    world.until("it leaves memory", |world| world.status(1).resident_runs == 0).await;
    world.completed(run_id).await;
    world.stop().await;
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_that_came_due_while_no_process_ran_fire_after_the_takeover() {
    let mut world = World::new().await;
    world.begin();
    let runs: Vec<_> = (0..7).map(|number| world.run_in(number % 2, "nap", number)).collect();
    for run_id in &runs {
        world.start(*run_id, "nap", "300000".to_owned()).await;
        world.until_version(*run_id, 2).await;
    }
    world.kill().await;
    tokio::time::sleep(Duration::from_millis(320)).await;
    world.begin();
    for run_id in &runs {
        world.completed(*run_id).await;
    }
    world.stop().await;
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_goes_on_where_one_ended_abruptly() {
    let mut world = World::new().await;
    let runs: Vec<_> = (0..40).map(|number| world.run_in(number % 2, "steps", number)).collect();
    world.begin();
    for (number, run_id) in runs.iter().enumerate() {
        if number % 8 == 7 {
            world.kill().await;
            world.begin();
        }
        world.start(*run_id, "steps", number.to_string()).await;
    }
    for (number, run_id) in runs.iter().enumerate() {
        assert_eq!(world.completed(*run_id).await, number.to_string());
    }
    world.stop().await;
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_to_another_partition_arrives_once_whatever_happens_to_its_append() {
    for landed in [false, true] {
        let mut world = World::new().await;
        world.begin();
        let (near, far) = (world.run_in(0, "wait", 1), world.run_in(1, "wait", 2));
        for run_id in [near, far] {
            world.start(run_id, "wait", "3".to_owned()).await;
        }
        // Both destinations are in one delivery or in two; that to the far one fails while the near one has its own.
        world.log.fail_next(Fault { whose: Whose::Outbox, partition: 1, landed });
        for (number, target) in [near, far].into_iter().enumerate() {
            let teller = world.run_in(0, "tell", u32::try_from(number).expect("few"));
            world.start(teller, "tell", format!("{target} 3 1 !")).await;
        }
        for run_id in [near, far] {
            assert_eq!(world.completed(run_id).await, "0,1,2,");
        }
        assert!(world.log.faults_happened());
        world.until("the outbox is trimmed", |world| world.views.outbox(0) == 0).await;
        world.stop().await;
        world.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_is_not_lost_to_a_destination_that_is_still_reading_when_its_sender_takes_over() {
    let mut world = World::new().await;
    world.begin();
    let target = world.run_in(1, "wait", 1);
    world.start(target, "wait", "2".to_owned()).await;
    let teller = world.run_in(0, "tell", 1);
    world.start(teller, "tell", format!("{target} 2 1")).await;
    world.signal(teller, "next", "").await;
    world.until_version(target, 4).await;
    world.until("the outbox is trimmed", |world| world.views.outbox(0) == 0).await;
    world.kill().await;
    // In the next process the sender's partition is ready long before the destination's.
    world.log.show_until(1, world.log.log_end(1).await);
    world.begin();
    world.until("the sender leads", |world| world.status(0).leading).await;
    world.signal(teller, "next", "").await;
    world.completed(teller).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.log.show_until(1, i64::MAX);
    assert_eq!(world.completed(target).await, "0,1,");
    world.stop().await;
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_is_not_lost_when_its_append_fails_before_the_destination_read_the_one_before() {
    let mut world = World::new().await;
    world.begin();
    let target = world.run_in(1, "wait", 1);
    world.start(target, "wait", "2".to_owned()).await;
    world.until_version(target, 2).await;
    let teller = world.run_in(0, "tell", 1);
    world.start(teller, "tell", format!("{target} 2 1")).await;
    world.log.show_until(1, world.log.log_end(1).await);
    world.signal(teller, "next", "").await;
    world.until_version(teller, 5).await;
    world.until("the first one is delivered", |world| world.views.outbox(0) == 0).await;
    world.log.fail_next(Fault { whose: Whose::Outbox, partition: 1, landed: false });
    world.signal(teller, "next", "").await;
    world.until("the second one fails", |world| world.log.faults_happened()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.log.show_until(1, i64::MAX);
    assert_eq!(world.completed(target).await, "0,1,");
    world.stop().await;
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_and_messages_larger_than_a_batch_may_be_are_appended_in_several() {
    let mut world = World::new().await;
    world.begin();
    let target = world.run_in(1, "wait", 1);
    world.start(target, "wait", "80".to_owned()).await;
    let teller = world.run_in(0, "tell", 1);
    world.start(teller, "tell", format!("{target} 80 500000 !")).await;
    let expected: String = (0..80).map(|number| format!("{number},")).collect();
    assert_eq!(world.completed(target).await, expected);
    world.stop().await;
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duties_move_from_process_to_process_and_runs_go_on() {
    let mut world = World::new().await;
    let process = || {
        let (sender, duties) = Duties::channel();
        (sender, world.process(world.views.of_another_process(), duties))
    };
    let (first_duties, (first, first_stop)) = process();
    let (second_duties, (second, second_stop)) = process();
    let all = || (0..PARTITIONS).map(|partition| (partition, Duty::ALL)).collect();
    let leads = |owners: &Owners| owners.status.iter().all(|status| status.borrow().leading);
    let follows = |owners: &Owners| owners.status.iter().all(|status| !status.borrow().leading);

    first_duties.replace(all());
    world.until("the first one leads", |_| leads(&first) && follows(&second)).await;
    let run = world.run_in(1, "wait", 1);
    world.start(run, "wait", "2".to_owned()).await;
    world.signal(run, "go", "a").await;
    world.until_version(run, 4).await;

    first_duties.replace(BTreeMap::new());
    second_duties.replace(all());
    world.until("the second one leads", |_| leads(&second) && follows(&first)).await;
    world.signal(run, "go", "b").await;
    assert_eq!(world.completed(run).await, "ab");
    world.check().await;
    for (owners, stop) in [(first, first_stop), (second, second_stop)] {
        stop.cancel();
        for task in owners.tasks {
            task.await.expect("no panic").expect("no failure");
        }
    }
}
