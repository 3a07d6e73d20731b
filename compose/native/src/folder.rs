//! The folder that a cluster lives in: temporary and gone with it, or named by the user and kept.

use std::fs::{self, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tidewheel_folder::FolderLock;

use crate::NativeError;
use crate::watchdog::Watchdog;

/// Who has it locked has the folder.
const LOCK_FILE: &str = "lock";

/// Where servers keep their data and logs, and who cleans up behind them.
pub(crate) struct Folder {
    path: PathBuf,
    temporary: Option<TempDir>,
    keep_logs: AtomicBool,
    watchdog: Watchdog,
    _lock: Option<FolderLock>,
}

impl Folder {
    /// A folder of its own, removed in the end; or `named`, which is kept and belongs to one process at a time.
    pub(crate) fn open(named: Option<&Path>) -> Result<Self, NativeError> {
        let (path, temporary, lock) = match named {
            Some(path) => {
                fs::create_dir_all(path).map_err(NativeError::io("create the folder", path))?;
                let path = path.canonicalize().map_err(NativeError::io("find the folder", path))?;
                let lock = lock(&path)?;
                (path, None, Some(lock))
            }
            None => {
                let parent = std::env::temp_dir();
                let temporary = tempfile::Builder::new()
                    .prefix("tidewheel-native-")
                    .tempdir_in(&parent)
                    .map_err(NativeError::io("create a temporary folder in", &parent))?;
                (temporary.path().to_owned(), Some(temporary), None)
            }
        };
        let watchdog = Watchdog::start(temporary.as_ref().map(TempDir::path))?;
        let folder = Self { path, temporary, keep_logs: AtomicBool::new(false), watchdog, _lock: lock };
        folder.subfolder("logs")?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    /// A folder in this one, created if need be.
    pub(crate) fn subfolder(&self, name: &str) -> Result<PathBuf, NativeError> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(NativeError::io("create the folder", &path))?;
        Ok(path)
    }

    /// Where the server of that name writes its log.
    pub(crate) fn log(&self, server: &str) -> PathBuf {
        self.path.join("logs").join(format!("{server}.log"))
    }

    /// Logs outlive a temporary folder's other contents, because somebody will want to read them.
    pub(crate) fn keep_logs(&self) {
        self.keep_logs.store(true, Ordering::Relaxed);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let Some(temporary) = self.temporary.take() else { return };
        let panicking = std::thread::panicking();
        if !panicking && !self.keep_logs.load(Ordering::Relaxed) {
            return;
        }
        let path = temporary.path().to_owned();
        if fs::read_dir(path.join("logs")).is_ok_and(|mut logs| logs.next().is_none()) {
            return;
        }
        // Failing to clean up must not hide what failed before.
        let _ = temporary.keep();
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            if entry.file_name() != "logs" {
                let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
            }
        }
        if panicking {
            eprintln!("the servers' logs are kept in {}", path.join("logs").display());
        }
    }
}

fn lock(folder: &Path) -> Result<FolderLock, NativeError> {
    FolderLock::take(folder, LOCK_FILE).map_err(|error| match error {
        TryLockError::WouldBlock => NativeError::FolderTaken(folder.to_owned()),
        TryLockError::Error(error) => NativeError::io("lock", &folder.join(LOCK_FILE))(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_is_removed_and_its_logs_stay_when_they_are_wanted() {
        let gone = Folder::open(None).unwrap();
        let path = gone.path().to_owned();
        fs::write(gone.log("one"), "").unwrap();
        drop(gone);
        assert!(!path.exists());

        let kept = Folder::open(None).unwrap();
        let (path, log) = (kept.path().to_owned(), kept.log("one"));
        fs::write(&log, "why").unwrap();
        fs::write(kept.subfolder("one").unwrap().join("data"), "").unwrap();
        kept.keep_logs();
        drop(kept);
        assert_eq!(fs::read_to_string(log).unwrap(), "why");
        assert!(!path.join("one").exists());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_named_folder_is_kept_and_belongs_to_one_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("cluster");
        let first = Folder::open(Some(&path)).unwrap();
        assert!(matches!(Folder::open(Some(&path)), Err(NativeError::FolderTaken(_))));
        drop(first);
        assert!(Folder::open(Some(&path)).unwrap().path().exists());
    }
}
