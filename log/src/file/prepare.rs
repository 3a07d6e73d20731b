//! Getting the next segment file ready while the current one is being written.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::disk::Disk;

const PIECE_BYTES: u64 = 1 << 20;
/// Between two pieces, so that groups being synced do not queue behind a long flush.
const PAUSE: Duration = Duration::from_millis(2);

/// A segment file of zeroes under a name of its own, perhaps still growing.
pub(crate) struct Preparing {
    worker: JoinHandle<io::Result<File>>,
    urgent: Arc<AtomicBool>,
}

impl Preparing {
    /// Begins in the background.
    pub fn start(directory: &Path, segment: u64, bytes: u64, disk: &Arc<dyn Disk>) -> io::Result<Self> {
        let urgent = Arc::new(AtomicBool::new(false));
        let (path, disk, hurry) = (prepared_path(directory, segment), Arc::clone(disk), Arc::clone(&urgent));
        let work = move || prepare(&path, bytes, &*disk, &hurry);
        let worker = std::thread::Builder::new().name("tidewheel-log-prepare".to_owned()).spawn(work)?;
        Ok(Self { worker, urgent })
    }

    /// Waits for the file.
    pub fn finish(self) -> io::Result<File> {
        self.urgent.store(true, Ordering::Relaxed);
        self.worker.join().unwrap_or_else(|_| Err(io::Error::other("preparing a segment panicked")))
    }
}

/// Prepares a segment here and now.
pub(crate) fn prepare_now(directory: &Path, segment: u64, bytes: u64, disk: &dyn Disk) -> io::Result<File> {
    prepare(&prepared_path(directory, segment), bytes, disk, &AtomicBool::new(true))
}

fn prepare(path: &Path, bytes: u64, disk: &dyn Disk, urgent: &AtomicBool) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path)?;
    let mut at = 0;
    while at < bytes {
        let hurried = urgent.load(Ordering::Relaxed);
        let to = if hurried { bytes } else { bytes.min(at + PIECE_BYTES) };
        if let Err(error) = disk.reserve(&file, at, to) {
            // Half a segment would keep from others the room that is already scarce.
            drop(file);
            let _ = fs::remove_file(path);
            return Err(error);
        }
        at = to;
        if !hurried {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(file)
}

pub(crate) fn prepared_path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("{segment:020}.prepared"))
}
