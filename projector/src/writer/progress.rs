//! How far the views of one partition are, and which offsets readers wait for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;
use tidewheel_engine::Control;
use tokio::sync::watch;

/// Progress of one partition.
#[derive(Debug)]
pub struct Progress {
    control: watch::Sender<Arc<Control>>,
    submitted: AtomicI64,
    /// Whether this process writes the views.
    written_here: AtomicBool,
    wanted: Mutex<BTreeMap<i64, usize>>,
}

impl Progress {
    pub(super) fn new(control: Control, written_here: bool) -> Self {
        let submitted = AtomicI64::new(control.next_offset - 1);
        let control = watch::channel(Arc::new(control)).0;
        Self { control, submitted, written_here: AtomicBool::new(written_here), wanted: Mutex::default() }
    }

    pub(super) fn is_written_here(&self) -> bool {
        self.written_here.load(Ordering::SeqCst)
    }

    /// Who writes from now on, beginning at `control`. Where the views stand never goes back: what was told once
    /// stays true, also while a new writer does the last records again.
    pub(super) fn begin(&self, control: Control, written_here: bool) {
        self.written_here.store(written_here, Ordering::SeqCst);
        self.submitted.store(control.next_offset - 1, Ordering::SeqCst);
        self.publish(control);
    }

    /// Says how far the views are, unless more is known.
    pub(super) fn publish(&self, control: Control) {
        self.control.send_if_modified(|current| {
            let is_newer = control.next_offset > current.next_offset;
            if is_newer {
                *current = Arc::new(control);
            }
            is_newer
        });
    }

    pub(super) fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control.borrow())
    }

    pub(super) fn applied_offset(&self) -> i64 {
        self.control.borrow().next_offset - 1
    }

    pub(super) fn submitted_offset(&self) -> i64 {
        self.submitted.load(Ordering::SeqCst)
    }

    pub(super) fn note_submitted(&self, offset: i64) {
        self.submitted.fetch_max(offset, Ordering::SeqCst);
    }

    pub(super) async fn reached(&self, offset: i64) {
        // The sender is ours, so waiting does not fail.
        let _ = self.control.subscribe().wait_for(|control| control.next_offset > offset).await;
    }

    /// Notes that a reader waits for `offset`, until the returned value is dropped.
    pub(super) fn want(&self, offset: i64) -> Wanted<'_> {
        *self.wanted.lock().entry(offset).or_default() += 1;
        Wanted { progress: self, offset }
    }

    /// Whether a reader waits for a record up to `offset`.
    pub(super) fn is_wanted(&self, offset: i64) -> bool {
        self.wanted.lock().first_key_value().is_some_and(|(wanted, _)| *wanted <= offset)
    }
}

pub(super) struct Wanted<'a> {
    progress: &'a Progress,
    offset: i64,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut wanted = self.progress.wanted.lock();
        if let Some(readers) = wanted.get_mut(&self.offset) {
            *readers -= 1;
            if *readers == 0 {
                wanted.remove(&self.offset);
            }
        }
    }
}
