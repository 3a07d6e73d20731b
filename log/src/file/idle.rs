//! Places in the segments where somebody may read on: who reads a partition page by page neither opens its segment nor
//! checks the group that the last page ended in again for each page.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::partition::Partition;
use super::reader::Cursor;

/// Cursors kept. Each holds a file open and the bytes of a group.
const IDLE_MAX: usize = 16;

/// The cursors that pages of records ended at, the latest last.
#[derive(Default)]
pub(crate) struct Idle(Mutex<VecDeque<Cursor>>);

impl Idle {
    /// The cursor that stands at `offset` of the partition, if one does. It is the caller's from then on.
    pub fn take(&self, partition: &Arc<Partition>, offset: i64) -> Option<Cursor> {
        let mut idle = self.0.lock();
        let place = idle.iter().position(|cursor| cursor.stands_at(partition, offset))?;
        idle.remove(place)
    }

    /// Keeps a cursor for who reads on, unless its segment was trimmed.
    pub fn keep(&self, cursor: Cursor) {
        if cursor.is_trimmed() {
            return;
        }
        let mut idle = self.0.lock();
        let same = idle.iter().position(|kept| kept.stands_where(&cursor));
        let dropped = match same {
            Some(place) => idle.remove(place),
            None if idle.len() >= IDLE_MAX => idle.pop_front(),
            None => None,
        };
        idle.push_back(cursor);
        drop(idle);
        drop(dropped);
    }

    /// Lets go of what was trimmed, so that its segments leave the disk.
    pub fn drop_trimmed(&self) {
        let mut idle = self.0.lock();
        let all = std::mem::take(&mut *idle).into_iter();
        let (trimmed, kept): (VecDeque<Cursor>, VecDeque<Cursor>) = all.partition(Cursor::is_trimmed);
        *idle = kept;
        drop(idle);
        drop(trimmed);
    }
}
