//! Chunks: whatever their boundaries, and wherever a write of them was cut, the rows are those of one record at a
//! time.

use std::sync::Arc;

use proptest::prelude::*;
use tidewheel_engine::Control;
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_store::{EmbeddedOptions, EmbeddedStore, WriteSet};

use crate::world::{GENERATION, World, actions, all_rows, block_on, contents, memory, project, views};

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunk_boundaries_leave_no_trace_in_the_rows(
        actions in actions(120),
        lengths in prop::collection::vec(1..30_usize, 0..40),
        atomic: bool,
    ) {
        let world = World::of(&actions);
        block_on(async {
            let (one_by_one, chunked) = (memory().await, memory().await);
            project(&one_by_one, &world, &vec![1; world.transitions.len()], false).await;
            project(&chunked, &world, &lengths, atomic).await;
            prop_assert_eq!(contents(&one_by_one).await, contents(&chunked).await);
            Ok(())
        })?;
    }

    #[test]
    fn a_write_cut_between_two_stages_is_mended_by_chunks_of_other_boundaries(
        actions in actions(100),
        first in 1..40_usize,
        cut_after in 0..4_usize,
        crash in 1..40_usize,
        lengths in prop::collection::vec(1..30_usize, 0..40),
    ) {
        let world = World::of(&actions);
        let first = first.min(world.transitions.len() - 1);
        let crash = (first + crash).min(world.transitions.len());
        block_on(async {
            let (whole, cut) = (memory().await, memory().await);
            project(&whole, &world, &vec![1; world.transitions.len()], false).await;

            let mut live = Live::default();
            let mut chunk = Chunk::new(Control::new(0));
            chunk.add(&world.transitions[..first], &world.controls[first - 1], &live);
            cut.store().write(GENERATION, &chunk.finish(&mut live, false).writes).await.unwrap();
            let mut chunk = Chunk::new(world.controls[first - 1].clone());
            chunk.add(&world.transitions[first..crash], &world.controls[crash - 1], &live);
            let WriteSet { source, inserts, entities, deletions, .. } = chunk.finish(&mut live, false).writes;
            let mut stages = [inserts, entities, deletions].into_iter().take(cut_after);
            let reached = WriteSet {
                is_bulk: false,
                source,
                inserts: stages.next().unwrap_or_default(),
                entities: stages.next().unwrap_or_default(),
                deletions: stages.next().unwrap_or_default(),
                checkpoints: Vec::new(),
            };
            cut.store().write(GENERATION, &reached).await.unwrap();

            let checkpoint = cut.checkpoint(0).await.unwrap().expect("a checkpoint");
            let mut live = Live::load(&cut, &checkpoint).await.unwrap();
            let (mut at, mut lengths) = (first, lengths.into_iter());
            while at < world.transitions.len() {
                let end = (at + lengths.next().unwrap_or(1_000)).min(world.transitions.len());
                let mut chunk = Chunk::new(world.controls[at - 1].clone());
                chunk.add(&world.transitions[at..end], &world.controls[end - 1], &live);
                cut.store().write(GENERATION, &chunk.finish(&mut live, false).writes).await.unwrap();
                at = end;
            }
            prop_assert_eq!(contents(&whole).await, contents(&cut).await);
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_embedded_store_holds_the_same_rows_as_memory(
        actions in actions(150),
        lengths in prop::collection::vec(1..30_usize, 0..40),
    ) {
        let world = World::of(&actions);
        let directory = tempfile::tempdir().unwrap();
        block_on(async {
            let store = EmbeddedStore::open(&EmbeddedOptions::new(directory.path().join("store"))).unwrap();
            let (embedded, in_memory) = (views(Arc::new(store)).await, memory().await);
            project(&embedded, &world, &lengths, true).await;
            project(&in_memory, &world, &lengths, true).await;
            prop_assert_eq!(all_rows(&embedded).await, all_rows(&in_memory).await);
            Ok(())
        })?;
    }
}
