//! Opening the folder: the lock, fjall's settings, and what is read back into memory.

use std::fs::TryLockError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use fjall::compaction::Leveled;
use fjall::config::{BlockSizePolicy, PinningPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::{Mutex, RwLock};
use tidewheel_folder::FolderLock;

use super::keys::{self, FORMAT, FORMAT_VERSION, PREFIX, Region};
use super::{EmbeddedOptions, EmbeddedStore, Writer};
use crate::catalog::{Catalog, Declaration};
use crate::{Source, StoreError};

/// The lock file, taken before anything of fjall's is touched.
const LOCK_FILE: &str = "tidewheel.lock";
/// The file fjall writes last when it makes a database, and the ones it writes before.
const FJALL_MARKER: &str = "version";
const FJALL_FIRST_JOURNAL: &str = "0.jnl";
const FJALL_KEYSPACES: &str = "keyspaces";
/// fjall's least and our most: the journal is replayed at every start.
const JOURNALS_BYTES: u64 = 128 * 1024 * 1024;
/// Bytes of a table. While one is written its filter and its index are built in memory, and a merge takes at least a
/// table of each level: with fjall's 64 MiB the store held 50 MiB more, at the same processor time.
const TABLE_BYTES: u64 = 16 * 1024 * 1024;
/// Open table files kept at hand.
const FILES_MAX: usize = 200;

pub(super) fn open(options: &EmbeddedOptions) -> Result<EmbeddedStore, StoreError> {
    let path = options.directory.as_path();
    let lock = lock(path)?;
    remove_half_made(path)?;
    // fjall asserts some of what it finds in its files.
    let opened = catch_unwind(AssertUnwindSafe(|| open_database(options)))
        .unwrap_or_else(|_| Err(damaged(path, "its journal and tables do not fit together".to_owned())));
    let (database, rows) = opened?;
    let (catalog, writer) = load(path, &rows)?;
    let unfinished = writer.dropping.clone();
    let store = EmbeddedStore {
        rows,
        database,
        catalog: RwLock::new(catalog),
        tables_rows: options.tables_rows,
        tables_bytes: options.tables_bytes,
        writer: Mutex::new(writer),
        _lock: lock,
    };
    for generation in unfinished {
        store.finish_drop(generation)?;
    }
    Ok(store)
}

fn lock(path: &Path) -> Result<FolderLock, StoreError> {
    let failed = |error: std::io::Error| {
        StoreError::Unavailable(format!("the folder {} cannot be used: {error}", path.display()))
    };
    std::fs::create_dir_all(path).map_err(failed)?;
    FolderLock::take(path, LOCK_FILE).map_err(|error| match error {
        TryLockError::WouldBlock => StoreError::Locked { path: path.display().to_string() },
        TryLockError::Error(error) => failed(error),
    })
}

/// Removes what a process left that ended while fjall made the database: fjall refuses to go on from there, and
/// no row was accepted before the marker was written.
fn remove_half_made(path: &Path) -> Result<(), StoreError> {
    let marker = path.join(FJALL_MARKER);
    if std::fs::metadata(&marker).is_ok_and(|marker| marker.len() > 0) {
        return Ok(());
    }
    let removals = [
        std::fs::remove_file(&marker),
        std::fs::remove_file(path.join(FJALL_FIRST_JOURNAL)),
        std::fs::remove_dir_all(path.join(FJALL_KEYSPACES)),
    ];
    for removal in removals {
        match removal {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Unavailable(format!(
                    "the folder {} cannot be cleaned: {error}",
                    path.display()
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

fn open_database(options: &EmbeddedOptions) -> Result<(Database, Keyspace), StoreError> {
    let path = options.directory.as_path();
    let failed = |error: fjall::Error| match error {
        fjall::Error::Locked => StoreError::Locked { path: path.display().to_string() },
        fjall::Error::Io(error) => {
            StoreError::Unavailable(format!("the store in {} cannot be opened: {error}", path.display()))
        }
        error => damaged(path, error.to_string()),
    };
    let database = Database::builder(path)
        .cache_size(options.cache_bytes)
        .worker_threads(options.worker_threads.max(1))
        .max_journaling_size(JOURNALS_BYTES)
        .max_cached_files(Some(FILES_MAX))
        .open()
        .map_err(failed)?;
    let rows = database
        .keyspace("views", || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(options.buffer_bytes.max(1024 * 1024))
                .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)))
                .data_block_size_policy(BlockSizePolicy::all(4 * 1024))
                .filter_block_pinning_policy(PinningPolicy::new([true, true, false]))
        })
        .map_err(failed)?;
    match rows.get(FORMAT).map_err(failed)? {
        None => {
            rows.insert(FORMAT, FORMAT_VERSION).map_err(failed)?;
            database.persist(PersistMode::SyncAll).map_err(failed)?;
        }
        Some(version) if *version == FORMAT_VERSION => {}
        Some(version) => {
            return Err(damaged(
                path,
                format!(
                    "its format is {}, and this binary knows {} alone",
                    shown(&version),
                    shown(&FORMAT_VERSION)
                ),
            ));
        }
    }
    Ok((database, rows))
}

/// A format's version as a text.
fn shown(version: &[u8]) -> String {
    version.iter().map(u8::to_string).collect::<Vec<_>>().join(".")
}

fn load(path: &Path, rows: &Keyspace) -> Result<(Catalog, Writer), StoreError> {
    let bad = |what: &str| damaged(path, format!("{what} cannot be read"));
    let mut catalog = Catalog::default();
    let mut writer = Writer::default();
    for guard in rows.prefix([Region::Catalog as u8]) {
        let (key, value) = guard.into_inner().map_err(unavailable)?;
        let generation = keys::generation(&key).ok_or_else(|| bad("a declaration's key"))?;
        let number = key.get(5..PREFIX).and_then(|number| number.try_into().ok());
        let number = number.map(u16::from_be_bytes).ok_or_else(|| bad("a declaration's key"))?;
        let declaration = Declaration::decode(&value).ok_or_else(|| bad("a declaration"))?;
        catalog.insert(generation, number, declaration);
    }
    for guard in rows.prefix([Region::Marks as u8]) {
        let (key, value) = guard.into_inner().map_err(unavailable)?;
        let generation = keys::generation(&key).ok_or_else(|| bad("a mark's key"))?;
        let source = match key.get(5..) {
            Some([]) => None,
            Some(&[a, b, c, d]) => Some(Source(u32::from_be_bytes([a, b, c, d]))),
            _ => return Err(bad("a mark's key")),
        };
        let highest_us = read_timestamp_us(&value).ok_or_else(|| bad("a mark"))?;
        writer.marks.raise(generation, source, highest_us);
    }
    for guard in rows.prefix([Region::Dropping as u8]) {
        let key = guard.key().map_err(unavailable)?;
        writer.dropping.insert(keys::generation(&key).ok_or_else(|| bad("a removal's key"))?);
    }
    Ok((catalog, writer))
}

/// A timestamp as kept beside rows.
pub(super) fn read_timestamp_us(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(bytes.try_into().ok()?))
}

/// A failure of an open store.
pub(super) fn unavailable(error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Poisoned => StoreError::Failed(
            "an earlier write failed; free the disk or replace it, then restart the process".to_owned(),
        ),
        error => StoreError::Unavailable(format!(
            "{error}; check the disk, and delete the store's folder when it is damaged"
        )),
    }
}

fn damaged(path: &Path, what: String) -> StoreError {
    StoreError::Damaged { path: path.display().to_string(), what }
}

#[cfg(test)]
mod tests {
    use crate::{EmbeddedOptions, EmbeddedStore, StoreError};

    #[test]
    fn a_store_of_another_format_is_refused_with_the_words_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = EmbeddedOptions::new(folder.path());
        let store = EmbeddedStore::open(&options).expect("the store opens");
        store.rows.insert(super::FORMAT, [1]).expect("the format before packs");
        drop(store);
        let refused = EmbeddedStore::open(&options).expect_err("another format");
        assert!(matches!(refused, StoreError::Damaged { .. }), "{refused:?}");
        let text = refused.to_string();
        assert!(text.contains("its format is 1") && text.contains("delete that folder"), "{text}");
    }
}
