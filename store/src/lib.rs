//! Where views live: the store's promise as a trait, its backends, and the suite every backend passes.
//!
//! The store knows tables, rows and write timestamps. What the rows mean is said in `projector/src/views`.

mod catalog;
mod changes;
pub mod check;
#[cfg(feature = "cql")]
pub mod cql;
pub mod embedded;
mod encoding;
pub mod error;
pub mod items;
pub mod memory;
mod page;
mod place;
pub mod row;
#[cfg(feature = "test-util")]
pub mod suite;
pub mod table;

use std::sync::Arc;

use async_trait::async_trait;
pub use check::{KEY_BYTES_MAX, ROW_BYTES_MAX};
#[cfg(feature = "cql")]
pub use cql::{CqlStore, CqlStoreOptions, CqlTls, Secret};
pub use embedded::{EmbeddedOptions, EmbeddedStore};
pub use encoding::row::FieldWriter;
pub use error::StoreError;
pub use items::{Item, Items, ItemsBuilder};
pub use memory::MemoryStore;
pub use page::PAGE_BYTES;
pub use row::{Key, Row, RowKey, Value};
pub use table::{Column, ColumnType, Order, Rows, TableSchema};

/// One row to be put or deleted at a write timestamp. Of several writes to one row key the one with the highest
/// timestamp wins whatever order they arrive in; at equal timestamps a delete wins over a put, and of two puts
/// the greater encoded columns win (as in CQL), so that any order of arrival gives the same rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Which table.
    pub table: &'static TableSchema,
    /// Which row.
    pub key: RowKey,
    /// `epoch_us + 8 * offset` of the record that caused it.
    pub timestamp_us: i64,
    /// The columns' values in the table's order (`static_columns` for a static row, else `columns`), or `None` to
    /// delete the row.
    pub columns: Option<Vec<Value>>,
}

/// What one chunk of records changes, in the order in which it must become visible (DESIGN §7): each stage is
/// acknowledged before the next begins. A backend that can write all of it atomically does so.
#[derive(Debug, Clone, Default)]
pub struct WriteSet {
    /// The log partition these records are from, when all row keys of the set are written for this partition only.
    /// A backend may then write without reading first when the set is newer than all that partition wrote before;
    /// a set that is not is still right, only slower. `None` always is.
    pub source: Option<Source>,
    /// One of many large sets that come as fast as they are taken, of rows that nobody reads yet. A backend may write
    /// what is newer than all that is there in the way that costs least, whatever reading it costs until it is merged.
    pub is_bulk: bool,
    /// Insert-only rows (history, payloads) and new index rows.
    pub inserts: Vec<Write>,
    /// Entity rows. Writes of one partition key stand together and are written as one atomic batch.
    pub entities: Vec<Write>,
    /// Deletions of old index rows.
    pub deletions: Vec<Write>,
    /// The checkpoint rows: last.
    pub checkpoints: Vec<Write>,
}

impl WriteSet {
    /// Every write, in the order of the stages.
    pub fn iter(&self) -> impl Iterator<Item = &Write> {
        [&self.inserts, &self.entities, &self.deletions, &self.checkpoints].into_iter().flatten()
    }
}

/// A log partition that writes rows: the same number for the same partition in every write to a generation, and
/// a number of its own for each partition of each topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(pub u32);

/// A range of one partition's clustering rows, or of a whole table.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The partition key to read; `None` reads every partition in the store's own order (for verification).
    pub partition: Option<Key>,
    /// First clustering key (prefix), inclusive; `None` from the beginning. Only with `partition`.
    pub from: Option<Key>,
    /// Last clustering key (prefix), exclusive; a key prefix sorts before every key that extends it. Only with `partition`.
    pub to: Option<Key>,
    /// Only rows after this row, as returned in [`Page::next`].
    pub after: Option<Cursor>,
    /// Reversed order. Only with `partition`.
    pub reverse: bool,
    /// Most rows to return; at least 1.
    pub limit: usize,
}

/// An opaque place in a scan; may be shown to users after encoding, and stays valid while rows change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub bytes::Bytes);

/// One page of a scan.
#[derive(Debug, Clone)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where to go on; `None` when this is the last page. Never an empty page that is not the last.
    pub next: Option<Cursor>,
}

/// A set of tables one projector keeps: one build of the views. Generations do not see each other's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

/// Rows by partition and clustering key, with write timestamps.
///
/// Promises every backend keeps (the suite in `suite` checks them):
/// - after `write` returned `Ok`, every read of this process sees all of its rows;
/// - a crash between any two writes leaves a prefix of the stages, and within `entities` whole partitions;
/// - last write wins by timestamp, whatever the order of arrival, also between concurrent writers;
/// - deleted rows do not come back through an older write that arrives late.
#[async_trait]
pub trait StateStore: Send + Sync + 'static {
    /// Creates the tables of a generation where they do not exist. Idempotent.
    async fn create_tables(
        &self,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<(), StoreError>;

    /// Removes a generation and its rows.
    async fn drop_generation(&self, generation: Generation) -> Result<(), StoreError>;

    /// Writes a chunk in the order of its stages.
    async fn write(&self, generation: Generation, writes: &WriteSet) -> Result<(), StoreError>;

    /// One row; `None` if it does not exist.
    async fn get(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        key: &RowKey,
    ) -> Result<Option<Row>, StoreError>;

    /// One page of clustering rows (static rows only when [`Scan::partition`] is `None`).
    async fn scan(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        scan: &Scan,
    ) -> Result<Page, StoreError>;
}

/// A store shared by the roles of a process.
pub type SharedStore = Arc<dyn StateStore>;
