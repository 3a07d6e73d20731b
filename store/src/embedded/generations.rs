//! Creating the tables of a generation and removing a generation, both finished after a crash.

use super::keys::{self, Region};
use super::{EmbeddedStore, open};
use crate::{Generation, StoreError, TableSchema};

/// Rows removed in one batch, so that writers wait for one batch only.
const REMOVED_AT_ONCE: usize = 5_000;

impl EmbeddedStore {
    pub(super) fn create(
        &self,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<(), StoreError> {
        let writer = self.writer.lock();
        if writer.dropping.contains(&generation) {
            return Err(StoreError::Unavailable(format!(
                "generation {} is being removed; try again when that is done",
                generation.0
            )));
        }
        let mut catalog = self.catalog.write();
        let planned = catalog.plan(generation, tables)?;
        if planned.is_empty() {
            return Ok(());
        }
        let mut batch = self.database.batch();
        for (number, declaration) in &planned {
            let key = keys::of_table(Region::Catalog, generation, *number);
            batch.insert(&self.rows, key, declaration.encode());
        }
        batch.commit().map_err(open::unavailable)?;
        for (number, declaration) in planned {
            catalog.insert(generation, number, declaration);
        }
        Ok(())
    }

    pub(super) fn drop_rows(&self, generation: Generation) -> Result<(), StoreError> {
        self.begin_drop(generation)?;
        self.finish_drop(generation)
    }

    /// Takes the generation's tables away and notes that its rows are to be removed.
    fn begin_drop(&self, generation: Generation) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        let mut catalog = self.catalog.write();
        let mut batch = self.database.batch();
        for number in catalog.numbers(generation) {
            batch.remove(&self.rows, keys::of_table(Region::Catalog, generation, number));
        }
        batch.insert(&self.rows, keys::of_generation(Region::Dropping, generation), []);
        batch.commit().map_err(open::unavailable)?;
        catalog.remove(generation);
        writer.marks.remove(generation);
        writer.dropping.insert(generation);
        Ok(())
    }

    /// Removes what is left of a generation that no table refers to any more.
    pub(super) fn finish_drop(&self, generation: Generation) -> Result<(), StoreError> {
        for region in [Region::Marks, Region::Rows, Region::Deletions] {
            let prefix = keys::of_generation(region, generation);
            let mut left = self.rows.prefix(prefix).peekable();
            while left.peek().is_some() {
                let mut batch = self.database.batch();
                for guard in left.by_ref().take(REMOVED_AT_ONCE) {
                    batch.remove(&self.rows, guard.key().map_err(open::unavailable)?);
                }
                batch.commit().map_err(open::unavailable)?;
            }
        }
        self.rows.remove(keys::of_generation(Region::Dropping, generation)).map_err(open::unavailable)?;
        self.writer.lock().dropping.remove(&generation);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use crate::suite::tables::{ENTITY, part};
    use crate::suite::{GENERATION, dump};
    use crate::{EmbeddedOptions, EmbeddedStore, StateStore, StoreError, WriteSet};

    #[test]
    fn a_generation_dropped_half_way_is_gone_after_opening_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = EmbeddedOptions::new(folder.path());
        let store = EmbeddedStore::open(&options).expect("the store opens");
        store.create(GENERATION, &[&ENTITY]).expect("create");
        let entities = (0..100).map(|slot| part(1, slot, 8, (slot % 2 == 0).then_some("part"))).collect();
        store.write_set(GENERATION, &WriteSet { entities, ..WriteSet::default() }).expect("write");
        store.begin_drop(GENERATION).expect("the first half");
        let refused = store.create(GENERATION, &[&ENTITY]);
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
        drop(store);

        let store = EmbeddedStore::open(&options).expect("the store opens");
        let unknown = block_on(store.get(GENERATION, &ENTITY, &part(1, 0, 8, None).key));
        assert!(matches!(unknown, Err(StoreError::UnknownTable { .. })), "{unknown:?}");
        store.create(GENERATION, &[&ENTITY]).expect("make anew");
        assert_eq!(block_on(dump(&store, GENERATION, &ENTITY)), []);
    }
}
