//! Writing a set: one fjall batch, with or without reading what is stored first; or, when it is large and newer than
//! all that is stored, tables of its own.

use fjall::{OwnedWriteBatch as WriteBatch, PersistMode};

use super::buckets::Packer;
use super::keys::{self, PREFIX, Region};
use super::{EmbeddedStore, open};
use crate::changes::{Change, Changes, Group};
use crate::encoding::pack::BucketPlace;
use crate::{Generation, StoreError, WriteSet};

impl EmbeddedStore {
    pub(super) fn write_set(&self, generation: Generation, writes: &WriteSet) -> Result<(), StoreError> {
        let changes = {
            let catalog = self.catalog.read();
            Changes::of(writes, |table| catalog.require(generation, table))?
        };
        let Some((lowest_us, highest_us)) = changes.timestamps_us() else { return Ok(()) };
        let mut writer = self.writer.lock();
        // The generation may have been dropped since the changes were checked.
        if let Some(write) = writes.iter().next() {
            self.catalog.read().require(generation, write.table)?;
        }
        let blind = writes.source.is_some_and(|source| writer.marks.all_older(generation, source, lowest_us));
        let is_large =
            changes.len() >= self.tables_rows || writes.is_bulk && changes.bytes() >= self.tables_bytes;
        if blind && is_large {
            let rises = writer.marks.raise(generation, writes.source, highest_us);
            let mark = rises.then(|| (keys::of_mark(generation, writes.source), highest_us));
            return self.add_tables(generation, &changes, mark).map_err(open::unavailable);
        }
        // To the system, as batches are written that are not made with a capacity: a killed process keeps them.
        let mut batch = WriteBatch::with_capacity(self.database.clone(), changes.len())
            .durability(Some(PersistMode::Buffer));
        let mut keys = Keys { generation, row: Vec::new(), deletion: Vec::new() };
        let mut packer = Packer::default();
        for group in changes.groups() {
            if let Some(place) = group.bucket() {
                self.put_packs(&mut batch, &mut packer, generation, place, &group, blind)?;
                continue;
            }
            for change in group.iter() {
                if blind {
                    self.put(&mut batch, &mut keys, &change);
                } else {
                    self.put_if_newer(&mut batch, &mut keys, &change)?;
                }
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        // A batch that fails leaves the mark too high, which costs reads and nothing else.
        if writer.marks.raise(generation, writes.source, highest_us) {
            batch.insert(&self.rows, keys::of_mark(generation, writes.source), highest_us.to_be_bytes());
        }
        batch.commit().map_err(open::unavailable)
    }

    /// Writes all changes as tables, which become visible together. Keys must ascend: marks, rows, deletions.
    fn add_tables(
        &self,
        generation: Generation,
        changes: &Changes,
        mark: Option<(Vec<u8>, i64)>,
    ) -> fjall::Result<()> {
        let mut tables = self.rows.start_ingestion()?;
        if let Some((key, highest_us)) = mark {
            tables.write(key, highest_us.to_be_bytes())?;
        }
        let mut keys = Keys { generation, row: Vec::new(), deletion: Vec::new() };
        let mut packer = Packer::default();
        for group in changes.groups() {
            let first = group.iter().next();
            if let Some((place, first)) = group.bucket().zip(first) {
                let prefix = keys::of_table(Region::Rows, generation, first.table);
                packer.pack(&prefix, place, group.iter(), 0, |key, pack| tables.write(key, pack))?;
                continue;
            }
            for change in group.iter() {
                let key = keys.row(&change);
                match change.stored {
                    Some(stored) => tables.write(key, stored)?,
                    None => tables.write_tombstone(key)?,
                }
            }
        }
        for change in changes.deletions() {
            tables.write(keys.deletion(&change), change.timestamp_us.to_be_bytes())?;
        }
        tables.finish()
    }

    fn put_packs(
        &self,
        batch: &mut WriteBatch,
        packer: &mut Packer,
        generation: Generation,
        place: BucketPlace,
        group: &Group<'_>,
        blind: bool,
    ) -> Result<(), StoreError> {
        let Some(first) = group.iter().next() else { return Ok(()) };
        let prefix = keys::of_table(Region::Rows, generation, first.table);
        let put = |key: &[u8], pack: &[u8]| {
            batch.insert(&self.rows, key, pack);
            Ok(())
        };
        if blind {
            return packer.pack(&prefix, place, group.iter(), 0, put);
        }
        let (winners, number) = self.winners(generation, place, group)?;
        packer.pack(&prefix, place, winners.into_iter(), number, put)
    }

    fn put(&self, batch: &mut WriteBatch, keys: &mut Keys, change: &Change<'_>) {
        match change.stored {
            Some(stored) => batch.insert(&self.rows, keys.row(change), stored),
            None => {
                batch.remove(&self.rows, keys.row(change));
                batch.insert(&self.rows, keys.deletion(change), change.timestamp_us.to_be_bytes());
            }
        }
    }

    fn put_if_newer(
        &self,
        batch: &mut WriteBatch,
        keys: &mut Keys,
        change: &Change<'_>,
    ) -> Result<(), StoreError> {
        let damaged = |what: &str| self.damaged(what);
        if let Some(stored) = self.rows.get(keys.row(change)).map_err(open::unavailable)?
            && !change.wins_over_row(&stored).map_err(damaged)?
        {
            return Ok(());
        }
        if let Some(deleted_us) = self.rows.get(keys.deletion(change)).map_err(open::unavailable)? {
            let deleted_us = open::read_timestamp_us(&deleted_us).ok_or_else(|| damaged("a deletion"))?;
            if !change.wins_over_deletion(deleted_us) {
                return Ok(());
            }
            if change.stored.is_some() {
                batch.remove(&self.rows, keys.deletion(change));
            }
        }
        self.put(batch, keys, change);
        Ok(())
    }
}

impl EmbeddedStore {
    pub(super) fn damaged(&self, what: &str) -> StoreError {
        StoreError::Damaged { path: self.rows.path().display().to_string(), what: what.to_owned() }
    }
}

/// Keys of one change after the other: the row's and its deletion's differ in the region alone.
struct Keys {
    generation: Generation,
    row: Vec<u8>,
    deletion: Vec<u8>,
}

impl Keys {
    fn row(&mut self, change: &Change<'_>) -> &[u8] {
        set(&mut self.row, Region::Rows, self.generation, change)
    }

    fn deletion(&mut self, change: &Change<'_>) -> &[u8] {
        set(&mut self.deletion, Region::Deletions, self.generation, change)
    }
}

fn set<'a>(out: &'a mut Vec<u8>, region: Region, generation: Generation, change: &Change<'_>) -> &'a [u8] {
    out.clear();
    out.reserve(PREFIX + change.key.len());
    out.extend_from_slice(&keys::of_table(region, generation, change.table));
    out.extend_from_slice(change.key);
    out
}
