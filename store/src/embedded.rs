//! Rows in a folder of this machine, on fjall. The log is the truth: nothing here is fsynced for an answer, and a
//! crash leaves an earlier whole state, never a mixture (docs/adr/0002-embedded-store-timestamps.md).

mod buckets;
mod generations;
mod keys;
mod marks;
mod open;
mod read;
mod write;

use std::collections::BTreeSet;
use std::path::PathBuf;

use async_trait::async_trait;
use fjall::{Database, Keyspace};
use parking_lot::{Mutex, RwLock};
use tidewheel_folder::FolderLock;

use crate::catalog::Catalog;
use crate::{Generation, Page, Row, RowKey, Scan, StateStore, StoreError, TableSchema, WriteSet};
use marks::Marks;

/// How an embedded store is opened.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The store's own folder; made when it does not exist.
    pub directory: PathBuf,
    /// Bytes of the cache of blocks read from disk.
    pub cache_bytes: u64,
    /// Bytes of rows kept in memory before they are written out; at most five times as much is held under load.
    pub buffer_bytes: u64,
    /// Threads that write out and compact.
    pub worker_threads: usize,
    /// Rows from which on a set that is newer than all that is stored is written as tables of its own. It is sorted
    /// already, so that this spares the journal and the sorted memory; smaller ones would leave many small tables.
    pub tables_rows: usize,
    /// Bytes of keys and rows from which on a bulk set is, however few rows it has: it would fill the sorted memory
    /// faster than a worker that is merging tables takes it away.
    pub tables_bytes: usize,
}

impl EmbeddedOptions {
    /// The defaults for a folder: 16 MiB of cache, 16 MiB of write buffer, one worker thread, tables of their own for
    /// sets of 32,768 rows and bulk ones of 4 MiB.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            cache_bytes: 16 * 1024 * 1024,
            buffer_bytes: 16 * 1024 * 1024,
            worker_threads: 1,
            tables_rows: 32_768,
            tables_bytes: 4 * 1024 * 1024,
        }
    }
}

/// Rows in a folder. One process at a time opens it.
///
/// All operations run on the calling thread. Reads are short. `write` and `drop_generation` may block for as long
/// as the disk does, so call them from a thread of their own. A write set becomes visible, and survives a crash,
/// as a whole or not at all.
pub struct EmbeddedStore {
    rows: Keyspace,
    database: Database,
    catalog: RwLock<Catalog>,
    tables_rows: usize,
    tables_bytes: usize,
    /// Held while stored rows are compared with new ones and replaced.
    writer: Mutex<Writer>,
    /// Declared last: released only when the database is closed.
    _lock: FolderLock,
}

/// What only the thread that writes sees.
#[derive(Debug, Default)]
struct Writer {
    marks: Marks,
    /// Generations whose rows are being removed.
    dropping: BTreeSet<Generation>,
}

impl EmbeddedStore {
    /// Opens the store in a folder, makes it when there is none, and finishes what a crash interrupted.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it open; [`StoreError::Damaged`] when its files cannot be
    /// read back: delete the folder, it is rebuilt from the log; [`StoreError::Unavailable`] for other failures of
    /// the disk.
    pub fn open(options: &EmbeddedOptions) -> Result<Self, StoreError> {
        open::open(options)
    }

    /// Bytes the store takes on disk, its journal included.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the disk fails.
    pub fn disk_bytes(&self) -> Result<u64, StoreError> {
        self.database.disk_space().map_err(open::unavailable)
    }
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EmbeddedStore").field("directory", &self.rows.path()).finish_non_exhaustive()
    }
}

#[async_trait]
impl StateStore for EmbeddedStore {
    async fn create_tables(
        &self,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<(), StoreError> {
        self.create(generation, tables)
    }

    async fn drop_generation(&self, generation: Generation) -> Result<(), StoreError> {
        self.drop_rows(generation)
    }

    async fn write(&self, generation: Generation, writes: &WriteSet) -> Result<(), StoreError> {
        self.write_set(generation, writes)
    }

    async fn get(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        key: &RowKey,
    ) -> Result<Option<Row>, StoreError> {
        self.read_row(generation, table, key)
    }

    async fn scan(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        scan: &Scan,
    ) -> Result<Page, StoreError> {
        self.read_page(generation, table, scan)
    }
}
