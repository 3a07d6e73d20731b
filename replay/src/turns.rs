//! Turns: how many chunks are folded or written at the same time, whatever the number of partitions. Each is held in
//! memory, and on a store that keeps the processor busy more of them than there are processors only take it from each other.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Chunks at once on a store where each waits for answers most of the time.
const BEYOND_A_NETWORK: usize = 16;

/// The turns of a process. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Turns {
    free: Arc<Semaphore>,
    at_once: usize,
}

/// A turn, over when it is dropped.
#[derive(Debug)]
#[must_use = "it is over at once"]
pub struct Turn(Option<OwnedSemaphorePermit>);

impl Turns {
    /// So many at once, one at least.
    pub fn new(at_once: usize) -> Self {
        let at_once = at_once.clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(at_once)), at_once }
    }

    /// As many as there are processors if the store writes a chunk as one batch (`atomic`), more otherwise.
    pub fn for_store(atomic: bool) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        Self::new(if atomic { processors } else { processors.max(BEYOND_A_NETWORK) })
    }

    /// How many there are.
    pub const fn at_once(&self) -> usize {
        self.at_once
    }

    /// Waits for a turn, in the order of asking.
    pub async fn take(&self) -> Turn {
        // Nobody closes the semaphore; without it everybody had a turn.
        Turn(Arc::clone(&self.free).acquire_owned().await.ok())
    }

    /// A turn, if one is free that nobody waits for.
    pub fn try_take(&self) -> Option<Turn> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(|turn| Turn(Some(turn)))
    }
}

impl Turn {
    /// Ends it.
    pub fn end(self) {
        drop(self.0);
    }
}
