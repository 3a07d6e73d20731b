//! Loading: what was in memory comes back from the views.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tidewheel_projector::chunk::Live;
use tidewheel_projector::load::{OpenWork, OpenWorkPlace};
use tidewheel_projector::views::runs;
use tidewheel_store::{Scan, Write, WriteSet};

use crate::world::{GENERATION, World, actions, block_on, memory, project, run_id};

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_loaded_run_is_the_run_that_was_in_memory(
        actions in actions(150),
        lengths in prop::collection::vec(1..30_usize, 0..20),
    ) {
        let world = World::of(&actions);
        block_on(async {
            let views = memory().await;
            project(&views, &world, &lengths, true).await;
            for run in world.runs() {
                let loaded = views.load_run(run.header.run_id).await.unwrap();
                prop_assert_eq!(loaded.as_ref(), Some(run));
            }
            prop_assert_eq!(views.load_run(run_id(99)).await.unwrap(), None);
            let checkpoint = views.checkpoint(0).await.unwrap().expect("a checkpoint");
            prop_assert_eq!(&checkpoint.control, world.control());
            let outbox = views.outbox(&checkpoint).await.unwrap();
            let expected: Vec<_> = world.fold.outbox().values().cloned().collect();
            prop_assert_eq!(outbox, expected);
            Ok(())
        })?;
    }

    #[test]
    fn open_work_is_every_run_with_something_to_do_in_pages_of_any_size(
        actions in actions(150),
        until in prop_oneof![Just(i64::MIN), Just(i64::MAX), 20_000..20_100_i64],
        limit in 1..5_usize,
    ) {
        let until_us = if (20_000..20_100).contains(&until) { until * crate::world::DAY_US } else { until };
        let world = World::of(&actions);
        block_on(async {
            let views = memory().await;
            project(&views, &world, &[7, 3, 11], true).await;
            let checkpoint = views.checkpoint(0).await.unwrap().expect("a checkpoint");
            let (mut found, mut place) = (Vec::new(), None::<OpenWorkPlace>);
            loop {
                let (page, next) = views.open_work(&checkpoint, until_us, place, limit).await.unwrap();
                prop_assert!(page.len() <= limit);
                found.extend(page);
                let Some(next) = next else { break };
                place = OpenWorkPlace::from_bytes(&next.to_bytes());
                prop_assert_eq!(place.as_ref(), Some(&next));
            }
            let due: Vec<_> = found.iter().map(|OpenWork { due_us, .. }| *due_us).collect();
            prop_assert!(due.is_sorted());
            let expected: BTreeSet<_> = world
                .runs()
                .filter_map(|run| run.header.work_due_us().map(|due_us| (due_us, run.header.run_id)))
                .filter(|(due_us, _)| *due_us == i64::MIN || *due_us < until_us)
                .collect();
            prop_assert_eq!(found.len(), expected.len());
            let found: BTreeSet<_> = found.into_iter().map(|work| (work.due_us, work.run_id)).collect();
            prop_assert_eq!(found, expected);
            Ok(())
        })?;
    }

    #[test]
    fn live_keys_read_back_are_those_that_were_kept(actions in actions(150)) {
        let world = World::of(&actions);
        block_on(async {
            let views = memory().await;
            project(&views, &world, &[13], true).await;
            let checkpoint = views.checkpoint(0).await.unwrap().expect("a checkpoint");
            let mut live = Live::load(&views, &checkpoint).await.unwrap();
            let mut chunk = tidewheel_projector::chunk::Chunk::new(checkpoint.control.clone());
            chunk.add(&[], world.control(), &live);
            prop_assert_eq!(chunk.finish(&mut live, true).checkpoint, checkpoint);
            Ok(())
        })?;
    }
}

#[test]
fn a_torn_load_is_refused() {
    let mut world = World::new();
    world.start(run_id(1), "order", &[], 0);
    let signal = tidewheel_schemas::event::RunSignaled {
        name: crate::world::name("go"),
        payload: tidewheel_schemas::Payload::null(),
    };
    world.external(run_id(1), "default", signal.into());
    block_on(async {
        let views = memory().await;
        project(&views, &world, &[], true).await;
        assert!(views.load_run(run_id(1)).await.unwrap().is_some());
        let scan = Scan {
            partition: Some(runs::partition_key(run_id(1))),
            from: None,
            to: None,
            after: None,
            reverse: false,
            limit: 10,
        };
        let part = views.store().scan(GENERATION, &runs::TABLE, &scan).await.unwrap().rows.remove(0);
        let lost = Write { table: &runs::TABLE, key: part.key, timestamp_us: i64::MAX, columns: None };
        let writes = WriteSet { deletions: vec![lost], ..WriteSet::default() };
        views.store().write(GENERATION, &writes).await.unwrap();
        let error = views.load_run(run_id(1)).await.unwrap_err();
        assert!(error.to_string().contains("rebuild this run"), "{error}");
        assert!(!error.is_transient());
    });
}
