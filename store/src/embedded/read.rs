//! Reading rows. Every read sees whole write sets: it reads a snapshot.

use std::ops::Bound;

use fjall::Readable;

use super::keys::{self, PREFIX, Region};
use super::{EmbeddedStore, open};
use crate::check::{check_row_key, check_scan};
use crate::encoding::key;
use crate::page::{self, PageBuilder};
use crate::place::Range;
use crate::{Generation, Page, Row, RowKey, Scan, StoreError, TableSchema};

impl EmbeddedStore {
    pub(super) fn read_row(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        row_key: &RowKey,
    ) -> Result<Option<Row>, StoreError> {
        self.catalog.read().require(generation, table)?;
        check_row_key(table, row_key)?;
        let mut full = keys::of_table(Region::Rows, generation, table.number).to_vec();
        key::push_row_key(&mut full, table, row_key);
        let stored = self.database.snapshot().get(&self.rows, &full).map_err(open::unavailable)?;
        stored.map(|stored| page::row(table, row_key.clone(), &stored)).transpose()
    }

    pub(super) fn read_page(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        scan: &Scan,
    ) -> Result<Page, StoreError> {
        self.catalog.read().require(generation, table)?;
        check_scan(table, scan)?;
        let range = Range::of(table, scan)?;
        let mut page = PageBuilder::new(table, scan);
        if range.is_empty() {
            return Ok(page.finish());
        }
        let prefix = keys::of_table(Region::Rows, generation, table.number);
        let bounds = (lower(&prefix, range.from), upper(&prefix, range.to));
        let mut rows = self.database.snapshot().range(&self.rows, bounds);
        while let Some(guard) = if scan.reverse { rows.next_back() } else { rows.next() } {
            let (full, stored) = guard.into_inner().map_err(open::unavailable)?;
            let row_key =
                full.get(PREFIX..).ok_or_else(|| page::corrupt(table, "a key that is too short"))?;
            if !page.push(row_key, &stored)? {
                break;
            }
        }
        Ok(page.finish())
    }
}

fn lower(prefix: &[u8; PREFIX], bound: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match bound {
        Bound::Unbounded => Bound::Included(prefix.to_vec()),
        bound => bound.map(|row_key| [prefix.as_slice(), &row_key].concat()),
    }
}

fn upper(prefix: &[u8; PREFIX], bound: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match bound {
        Bound::Unbounded => Bound::Excluded(keys::after(prefix)),
        bound => bound.map(|row_key| [prefix.as_slice(), &row_key].concat()),
    }
}
