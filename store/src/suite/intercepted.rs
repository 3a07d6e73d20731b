//! A store whose writes go through a function, for tests of those who write. Reads are those of the store behind it.

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::{
    Generation, Page, Row, RowKey, Scan, SharedStore, StateStore, StoreError, TableSchema, WriteSet,
};

/// A store behind a function that is given each write in place of it.
pub struct Intercepted<F> {
    store: SharedStore,
    write: F,
}

impl<F> Intercepted<F>
where
    F: Fn(SharedStore, Generation, WriteSet) -> BoxFuture<'static, Result<(), StoreError>>,
{
    /// `write` is given the store, the generation and what is to be written.
    pub const fn new(store: SharedStore, write: F) -> Self {
        Self { store, write }
    }
}

#[async_trait]
impl<F> StateStore for Intercepted<F>
where
    F: Fn(SharedStore, Generation, WriteSet) -> BoxFuture<'static, Result<(), StoreError>>
        + Send
        + Sync
        + 'static,
{
    async fn create_tables(
        &self,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<(), StoreError> {
        self.store.create_tables(generation, tables).await
    }

    async fn drop_generation(&self, generation: Generation) -> Result<(), StoreError> {
        self.store.drop_generation(generation).await
    }

    async fn write(&self, generation: Generation, writes: &WriteSet) -> Result<(), StoreError> {
        (self.write)(SharedStore::clone(&self.store), generation, writes.clone()).await
    }

    async fn get(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        key: &RowKey,
    ) -> Result<Option<Row>, StoreError> {
        self.store.get(generation, table, key).await
    }

    async fn scan(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        scan: &Scan,
    ) -> Result<Page, StoreError> {
        self.store.scan(generation, table, scan).await
    }
}
