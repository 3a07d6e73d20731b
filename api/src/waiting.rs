//! Waiting for the fold: whoever waits is told what the fold made of a record, and where a run stands.
//!
//! One rule for every route, in one place. Where transitions come from, and what the views hold, is said elsewhere.

mod registry;
mod standing;
mod verdict;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Waker;

use tidewheel_engine::Transition;
use tidewheel_schemas::{EventId, RunId};

pub use standing::{Follower, Standing, is_settled};
pub use verdict::{Outcome, VerdictWaiter};

use registry::Registry;
use standing::Watched;
use verdict::Verdicts;

/// Everybody in this process who waits for the fold. Cloning shares them.
///
/// Whoever folds the log here calls [`Self::publish`] with every transition. Nothing is kept for those who come
/// later, so whoever waits registers first: for a verdict before the append, for a run before reading the views.
#[derive(Clone)]
pub struct Waiting(Arc<Shared>);

struct Shared {
    /// By partition, the offset of the last transition told; -1 before the first.
    published: Box<[AtomicI64]>,
    verdicts: Registry<EventId, Verdicts>,
    runs: Registry<RunId, Watched>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Waiting")
            .field("verdicts", &self.0.verdicts.len())
            .field("followers", &self.0.runs.len())
            .finish_non_exhaustive()
    }
}

impl Waiting {
    /// Nobody waits yet. `partitions` is how many the topic has.
    pub fn new(partitions: u32) -> Self {
        Self(Arc::new(Shared {
            published: (0..partitions).map(|_| AtomicI64::new(-1)).collect(),
            verdicts: Registry::default(),
            runs: Registry::default(),
        }))
    }

    /// Tells those who wait. To be called with every transition, in the order of offsets per partition, before or
    /// after it is projected. Whoever folds a partition again from an earlier place may call it again: what was told
    /// once is passed over. Never blocks for long, and costs next to nothing while nobody waits.
    pub fn publish(&self, transitions: &[Transition]) {
        for part in transitions.chunk_by(|one, next| one.partition == next.partition) {
            let told = part.first().map_or(-1, |first| self.published(first.partition));
            let news = part.partition_point(|transition| transition.offset <= told);
            self.tell(part.get(news..).unwrap_or_default());
        }
    }

    fn tell(&self, transitions: &[Transition]) {
        self.note(transitions);
        // Once noted: whoever registers after these looks finds it in `published`.
        let (verdicts, runs) = (!self.0.verdicts.is_empty(), !self.0.runs.is_empty());
        if !verdicts && !runs {
            return;
        }
        let mut wakers: Vec<Waker> = Vec::new();
        for transition in transitions {
            // The standing first: whoever knows the verdict meets a standing that is no older.
            if runs && let Some(change) = standing::told_by(transition) {
                self.0.runs.tell(
                    &change.after.run_id,
                    |watched| watched.take(transition, change),
                    &mut wakers,
                );
            }
            if verdicts && let Some(event_id) = verdict::told_by(transition) {
                self.0.verdicts.tell(&event_id, |verdicts| verdicts.take(transition), &mut wakers);
            }
        }
        // Under no lock, since waking runs foreign code.
        wakers.into_iter().for_each(Waker::wake);
    }

    fn note(&self, part: &[Transition]) {
        let Some(last) = part.last() else { return };
        if let Some(published) = self.0.published.get(last.partition as usize) {
            published.fetch_max(last.offset, Ordering::SeqCst);
        }
    }

    /// The offset of the last transition of a partition that was told; -1 before the first.
    ///
    /// Read after [`Self::follow`], it closes the gap before it: what the follower is not told lies at or below this
    /// offset, so views that hold it show everything the follower missed.
    pub fn published(&self, partition: u32) -> i64 {
        self.0.published.get(partition as usize).map_or(-1, |published| published.load(Ordering::SeqCst))
    }

    /// Waits for what the fold says of an event. To be called before the append, so that nothing is missed.
    pub fn expect(&self, event_id: EventId) -> VerdictWaiter {
        VerdictWaiter::new(self.clone(), event_id)
    }

    /// Follows a run from now on. To be called before the append that starts it, or before the views are read; see
    /// [`Self::published`].
    pub fn follow(&self, run_id: RunId) -> Follower {
        Follower::new(self.clone(), run_id)
    }

    /// How many follow a run.
    pub fn followers(&self) -> usize {
        self.0.runs.len()
    }

    /// Whether nobody waits, neither for a verdict nor for a run.
    pub fn is_empty(&self) -> bool {
        self.0.verdicts.is_empty() && self.0.runs.is_empty()
    }
}
