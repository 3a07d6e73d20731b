//! The writes that a file log's durability hangs on, as a trait, so that tests can make them slow or fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const ZEROES: &[u8; 1 << 18] = &[0; 1 << 18];

/// The writing half of a disk. Everything not overridden is the real thing.
pub trait Disk: Send + Sync + 'static {
    /// Writes a group at `at`; on an error nothing may be assumed about what was written.
    ///
    /// # Errors
    /// When the bytes could not be written as a whole.
    fn write_group(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    /// Makes what was written to `file` durable.
    ///
    /// # Errors
    /// When the device did not say so; the file's state is then unknown for good.
    fn sync_group(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Fills part of a coming segment with zeroes: they reserve the room for groups and keep the file's
    /// length as it is, which makes syncing a group cheap.
    ///
    /// # Errors
    /// When there is no room.
    fn reserve(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let length = (to - at).min(ZEROES.len() as u64);
            file.write_all_at(&ZEROES[..usize::try_from(length).unwrap_or(ZEROES.len())], at)?;
            at += length;
        }
        file.sync_data()
    }
}

/// The disk as the operating system gives it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {}
