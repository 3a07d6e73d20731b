//! How a file log is opened.

use std::path::PathBuf;
use std::sync::Arc;

use super::disk::{Disk, SystemDisk};
use crate::LogError;

/// What an acknowledged append survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A loss of power: every group is synced to the device before it is acknowledged.
    #[default]
    Fsync,
    /// The end of the process only: the operating system writes when it likes. After a loss of power the log
    /// may have lost its end, or be refused as damaged.
    Os,
}

impl Durability {
    /// The word used in configuration: `fsync` or `os`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
        }
    }
}

/// Called once from the writer's thread when the log fails for good, before anybody is told. A process whose
/// log failed must end: what it holds in memory may say more than the disk.
pub type FailureHook = Arc<dyn Fn(&LogError) + Send + Sync>;

/// How a file log is opened.
#[derive(Clone)]
pub struct FileLogOptions {
    /// Folder of the segments; created if missing. One process at a time.
    pub directory: PathBuf,
    /// What an acknowledged append survives.
    pub durability: Durability,
    /// Size of a segment file, reserved as a whole when it begins. A larger group has a segment to itself.
    pub segment_bytes: u64,
    /// Keys and values that may be on their way at once; beyond it appends are answered with `Overloaded`.
    pub queue_bytes_max: usize,
    /// Records that may be on their way at once.
    pub queue_records_max: usize,
    /// Recent records kept in memory, so that followers do not read segments; an estimate in bytes.
    pub recent_bytes_max: usize,
    /// What happens when the log fails for good; nothing by default.
    pub on_failure: Option<FailureHook>,
    /// The disk to write to; another one only in tests.
    pub disk: Arc<dyn Disk>,
}

impl FileLogOptions {
    /// The defaults for a log in `directory`: fsync, segments of 32 MiB, 64 MiB and 100,000 records on their way,
    /// 16 MiB of recent records.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            durability: Durability::Fsync,
            segment_bytes: 32 << 20,
            queue_bytes_max: 64 << 20,
            queue_records_max: 100_000,
            recent_bytes_max: 16 << 20,
            on_failure: None,
            disk: Arc::new(SystemDisk),
        }
    }
}

impl std::fmt::Debug for FileLogOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FileLogOptions")
            .field("directory", &self.directory)
            .field("durability", &self.durability)
            .field("segment_bytes", &self.segment_bytes)
            .field("queue_bytes_max", &self.queue_bytes_max)
            .field("queue_records_max", &self.queue_records_max)
            .field("recent_bytes_max", &self.recent_bytes_max)
            .finish_non_exhaustive()
    }
}
