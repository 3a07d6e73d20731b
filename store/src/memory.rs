//! Rows in memory, for tests and the throw-away node. Nothing outlives the process.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use parking_lot::RwLock;

use crate::catalog::Catalog;
use crate::changes::{Change, Changes};
use crate::check::{check_row_key, check_scan};
use crate::encoding::key;
use crate::page::PageBuilder;
use crate::place::Range;
use crate::{Generation, Page, Row, RowKey, Scan, StateStore, StoreError, TableSchema, WriteSet, page};

/// Rows in memory. Deleted rows leave their timestamp behind, apart from the rows, for the life of the generation.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    catalog: Catalog,
    tables: BTreeMap<(Generation, u16), Table>,
}

#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The timestamp of the newest deletion of a row key; apart from the rows, so that no scan meets it.
    deleted_us: BTreeMap<Vec<u8>, i64>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Table {
    fn wins(&self, change: &Change<'_>) -> Result<bool, &'static str> {
        if let Some(deleted_us) = self.deleted_us.get(change.key)
            && !change.wins_over_deletion(*deleted_us)
        {
            return Ok(false);
        }
        self.rows.get(change.key).map_or(Ok(true), |stored| change.wins_over_row(stored))
    }

    fn apply(&mut self, change: &Change<'_>) {
        match change.stored {
            Some(stored) => {
                self.rows.insert(change.key.to_vec(), stored.to_vec());
                self.deleted_us.remove(change.key);
            }
            None => {
                self.rows.remove(change.key);
                self.deleted_us.insert(change.key.to_vec(), change.timestamp_us);
            }
        }
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn create_tables(
        &self,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<(), StoreError> {
        let mut state = self.state.write();
        for (number, declaration) in state.catalog.plan(generation, tables)? {
            state.catalog.insert(generation, number, declaration);
            state.tables.entry((generation, number)).or_default();
        }
        Ok(())
    }

    async fn drop_generation(&self, generation: Generation) -> Result<(), StoreError> {
        let mut state = self.state.write();
        state.catalog.remove(generation);
        state.tables.retain(|(of, _), _| *of != generation);
        Ok(())
    }

    async fn write(&self, generation: Generation, writes: &WriteSet) -> Result<(), StoreError> {
        let mut state = self.state.write();
        let changes = Changes::of(writes, |table| state.catalog.require(generation, table))?;
        for change in changes.iter() {
            let table = state.tables.entry((generation, change.table)).or_default();
            let wins = table
                .wins(&change)
                .map_err(|what| StoreError::Unavailable(format!("a row in memory cannot be read: {what}")))?;
            if wins {
                table.apply(&change);
            }
        }
        Ok(())
    }

    async fn get(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        row_key: &RowKey,
    ) -> Result<Option<Row>, StoreError> {
        let state = self.state.read();
        state.catalog.require(generation, table)?;
        check_row_key(table, row_key)?;
        let mut encoded = Vec::new();
        key::push_row_key(&mut encoded, table, row_key);
        state
            .tables
            .get(&(generation, table.number))
            .and_then(|stored| stored.rows.get(&encoded))
            .map(|stored| page::row(table, row_key.clone(), stored))
            .transpose()
    }

    async fn scan(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        scan: &Scan,
    ) -> Result<Page, StoreError> {
        let state = self.state.read();
        state.catalog.require(generation, table)?;
        check_scan(table, scan)?;
        let range = Range::of(table, scan)?;
        let mut page = PageBuilder::new(table, scan);
        let Some(stored) = state.tables.get(&(generation, table.number)) else { return Ok(page.finish()) };
        if range.is_empty() {
            return Ok(page.finish());
        }
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) =
            (range.from.as_ref().map(Vec::as_slice), range.to.as_ref().map(Vec::as_slice));
        let rows = stored.rows.range::<[u8], _>(bounds);
        let rows: Box<dyn Iterator<Item = _> + Send> =
            if scan.reverse { Box::new(rows.rev()) } else { Box::new(rows) };
        for (row_key, stored) in rows {
            if !page.push(row_key, stored)? {
                break;
            }
        }
        Ok(page.finish())
    }
}
