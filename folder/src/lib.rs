//! A folder that one process at a time may use: the embedded log's, the embedded store's, and a local cluster's.

use std::fs::{File, TryLockError};
use std::path::Path;

/// A folder is ours until this is dropped, or the process ends.
///
/// The system keeps such a lock until the last copy of the open file is closed, and a process that is being started
/// has copies of all of them for a moment, whichever thread starts it ([flock(2)]). So the lock is given back by
/// name and not left to the closing of the file.
///
/// [flock(2)]: https://man7.org/linux/man-pages/man2/flock.2.html
#[derive(Debug)]
pub struct FolderLock(File);

impl FolderLock {
    /// Takes a folder by locking a file in it, which is created if need be and stays.
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] if somebody has it, in this process or another one; [`TryLockError::Error`] if
    /// the file cannot be created or the file system knows no locks.
    pub fn take(folder: &Path, file: &str) -> Result<Self, TryLockError> {
        let file = File::options().create(true).truncate(false).write(true).open(folder.join(file));
        let file = file.map_err(TryLockError::Error)?;
        file.try_lock()?;
        Ok(Self(file))
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Should this fail, closing the file does the same, a little later at worst.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once_and_free_again_while_a_copy_of_the_open_file_lives_on() {
        let folder = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(folder.path(), "lock").unwrap();
        assert!(matches!(FolderLock::take(folder.path(), "lock"), Err(TryLockError::WouldBlock)));
        // What a process that is being started has until it runs its own program.
        let copy = lock.0.try_clone().unwrap();
        drop(lock);
        FolderLock::take(folder.path(), "lock").unwrap();
        drop(copy);
    }
}
