//! Rows in ScyllaDB or Cassandra: one keyspace per datacenter, one table per view and generation.
//!
//! What a row is. A put writes every column of a row at the write's timestamp, and one more column, `row_written`
//! (`static_written` in a static row), whose write time is the row's timestamp and which tells a row with nulls alone
//! from none. CQL resolves each cell by itself: the highest timestamp, then a deletion, then the greater value. Since
//! puts of one row key at one timestamp have one content, cells resolved one by one make a row that was put; where
//! contents differ at equal timestamps, every replica still agrees, though on a mixture.
//!
//! Nulls. A put must hide older values under its nulls. A static row deletes those cells. A clustering row that has
//! nulls is put together with a deletion of the row at the timestamp just before, which costs one thing to keep
//! instead of one for each null. Rows that are never put with other contents ([`Rows`](crate::Rows)) need neither,
//! when the set names its source.
//!
//! Lists. A list is one cell: a frozen list of a user-defined type that is named after table and column, made before the
//! table, extended as tables are, and dropped after it.
//!
//! Stages are acknowledged one after the other; within a stage the writes of a partition go as one batch, which is
//! one mutation: written as a whole, and seen as a whole. Deletions, and what of them is kept for how long, are the
//! subject of an ADR.

mod cells;
mod connect;
mod ddl;
mod failure;
mod group;
mod inspect;
mod options;
mod prepared;
mod read;
mod schema;
mod slices;
mod statement;
mod tls;
mod walk;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;
use scylla::client::session::Session;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::context::TokioContext;

use self::failure::Judge;
pub use self::inspect::{Inspection, Permissions, TableState};
pub use self::options::{CqlStoreOptions, CqlTls, Secret};
use self::prepared::Table;
use crate::{Generation, Page, Row, RowKey, Scan, StateStore, StoreError, TableSchema, WriteSet};

/// A connected store. Its connections live in the runtime it was connected in, which must go on running.
pub struct CqlStore {
    session: Session,
    options: CqlStoreOptions,
    judge: Judge,
    runtime: Handle,
    /// Requests that may still be sent.
    room: Semaphore,
    tables: RwLock<HashMap<(Generation, prepared::Declared), Arc<Table>>>,
    /// One change of tables at a time.
    changing: Mutex<()>,
}

impl std::fmt::Debug for CqlStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CqlStore").field("options", &self.options).finish_non_exhaustive()
    }
}

impl CqlStore {
    /// Connects, and checks that datacenter and keyspace are there and that the keyspace is replicated in this
    /// datacenter alone. A missing keyspace is created when the options say so.
    ///
    /// # Errors
    /// [`StoreError::Setting`], [`StoreError::Credentials`], [`StoreError::UnknownDatacenter`],
    /// [`StoreError::NoKeyspace`] and [`StoreError::Keyspace`] say what to correct; after
    /// [`StoreError::Unavailable`] trying again may help.
    pub async fn connect(options: CqlStoreOptions) -> Result<Self, StoreError> {
        let store = Self::connect_unchecked(options).await?;
        store.check_keyspace().await?;
        Ok(store)
    }

    /// Connects without a look at the keyspace.
    async fn connect_unchecked(options: CqlStoreOptions) -> Result<Self, StoreError> {
        options.check()?;
        let judge = Judge::new(&options);
        let session = connect::session(&options, &judge).await?;
        Ok(Self {
            session,
            judge,
            runtime: Handle::current(),
            room: Semaphore::new(options.requests_max.min(Semaphore::MAX_PERMITS)),
            tables: RwLock::default(),
            changing: Mutex::default(),
            options,
        })
    }

    /// The options it was connected with.
    pub const fn options(&self) -> &CqlStoreOptions {
        &self.options
    }

    /// Runs a future as if in the runtime of the connections: callers may be polled outside of any.
    fn within<F: Future>(&self, future: F) -> TokioContext<F> {
        TokioContext::new(future, self.runtime.clone())
    }
}

#[async_trait]
impl StateStore for CqlStore {
    async fn create_tables(
        &self,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<(), StoreError> {
        self.within(self.create(generation, tables)).await
    }

    async fn drop_generation(&self, generation: Generation) -> Result<(), StoreError> {
        self.within(self.drop_tables(generation)).await
    }

    async fn write(&self, generation: Generation, writes: &WriteSet) -> Result<(), StoreError> {
        self.within(self.write_stages(generation, writes)).await
    }

    async fn get(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        key: &RowKey,
    ) -> Result<Option<Row>, StoreError> {
        self.within(self.read_row(generation, table, key)).await
    }

    async fn scan(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        scan: &Scan,
    ) -> Result<Page, StoreError> {
        self.within(self.read_page(generation, table, scan)).await
    }
}
