//! Waiting for the fold: whoever appended a record is told what the fold said of it, and when its run ended.
//!
//! Whoever folds the log of this process calls [`Waiters::observe`] with every transition, in offset order.

use std::collections::HashMap;
use std::hash::{Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;
use tidewheel_engine::{RunHeader, Transition, Verdict};
use tidewheel_schemas::{Event, EventId, Payload, RunId};

/// What the fold made of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The record's offset.
    pub offset: i64,
    /// What was said of it.
    pub verdict: Verdict,
    /// The run as it stands after the record, if there is one.
    pub run: Option<Arc<RunHeader>>,
}

/// A run as one record left it.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The record's offset.
    pub offset: i64,
    /// The run after it.
    pub run: Arc<RunHeader>,
    /// What the run returned, if this record completed it.
    pub output: Option<Payload>,
}

/// Everybody who waits for the fold. Cloning shares them.
#[derive(Clone, Default)]
pub struct Waiters(Arc<Registries>);

#[derive(Default)]
struct Registries {
    verdicts: Registry<EventId, Verdicts>,
    runs: Registry<RunId, Watched>,
}

/// Outcomes of one event id in offset order, at most [`OUTCOMES_MAX`].
#[derive(Default)]
struct Verdicts(Vec<Outcome>);

/// Enough for requests that race with one event id; of more, the oldest are forgotten, which
/// [`VerdictWaiter::at`] allows for.
const OUTCOMES_MAX: usize = 16;

#[derive(Default)]
struct Watched(Option<Standing>);

const SHARDS: usize = 32;

type Shard<K, V> = Mutex<HashMap<K, Vec<Arc<Slot<V>>>>>;

/// Slots by key. One key may have several slots: requests that race with the same id.
struct Registry<K, V> {
    shards: [Shard<K, V>; SHARDS],
    hasher: RandomState,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Slot<V>(Mutex<(V, Option<Waker>)>);

impl<K, V> Default for Registry<K, V> {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl<K: Copy + Eq + Hash, V: Default> Registry<K, V> {
    fn shard(&self, key: &K) -> &Shard<K, V> {
        use std::hash::BuildHasher;
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    fn register(&self, key: K) -> Arc<Slot<V>> {
        let slot = Arc::<Slot<V>>::default();
        self.shard(&key).lock().entry(key).or_insert_with(|| Vec::with_capacity(1)).push(Arc::clone(&slot));
        self.waiting.fetch_add(1, Ordering::SeqCst);
        slot
    }

    fn unregister(&self, key: &K, slot: &Arc<Slot<V>>) {
        let mut shard = self.shard(key).lock();
        if let Some(slots) = shard.get_mut(key) {
            slots.retain(|other| !Arc::ptr_eq(other, slot));
            if slots.is_empty() {
                shard.remove(key);
            }
        }
        drop(shard);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    fn tell(&self, key: &K, change: impl Fn(&mut V)) {
        if self.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let shard = self.shard(key).lock();
        for slot in shard.get(key).into_iter().flatten() {
            let mut slot = slot.0.lock();
            change(&mut slot.0);
            if let Some(waker) = slot.1.take() {
                waker.wake();
            }
        }
    }
}

impl<V> Slot<V> {
    async fn until<T>(&self, find: impl Fn(&V) -> Option<T>) -> T {
        std::future::poll_fn(|context| {
            let mut slot = self.0.lock();
            match find(&slot.0) {
                Some(found) => Poll::Ready(found),
                None => {
                    slot.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Waiters {
    /// Nobody waits yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells those who wait for it. To be called once for every record, in the order of offsets per partition.
    pub fn observe(&self, transition: &Transition) {
        if let Some(headers) = &transition.headers
            && headers.author.is_external()
        {
            self.0.verdicts.tell(&headers.event_id, |verdicts| {
                if verdicts.0.len() >= OUTCOMES_MAX {
                    verdicts.0.remove(0);
                }
                verdicts.0.push(Outcome {
                    offset: transition.offset,
                    verdict: transition.verdict,
                    run: transition.run.as_ref().map(|change| Arc::clone(&change.after)),
                });
            });
        }
        if let Some(change) = &transition.run {
            self.0.runs.tell(&change.after.run_id, |watched| {
                let output = change.entry.as_ref().and_then(|entry| match &*entry.event {
                    Event::RunCompleted(completed) => Some(completed.output.clone()),
                    _ => None,
                });
                // What ended the run is kept; later records (refused ones) say nothing new.
                if !watched.0.as_ref().is_some_and(|standing| standing.run.status.is_finished()) {
                    let run = Arc::clone(&change.after);
                    watched.0 = Some(Standing { offset: transition.offset, run, output });
                }
            });
        }
    }

    /// Waits for what the fold says of an event. To be called before the append, so that nothing is missed.
    pub fn expect(&self, event_id: EventId) -> VerdictWaiter {
        let slot = self.0.verdicts.register(event_id);
        VerdictWaiter { waiters: self.clone(), event_id, slot }
    }

    /// Watches a run. To be called before the append that starts it, so that nothing is missed.
    pub fn watch(&self, run_id: RunId) -> RunWatcher {
        let slot = self.0.runs.register(run_id);
        RunWatcher { waiters: self.clone(), run_id, slot }
    }

    /// How many wait, for verdicts and for runs.
    pub fn len(&self) -> usize {
        self.0.verdicts.waiting.load(Ordering::Relaxed) + self.0.runs.waiting.load(Ordering::Relaxed)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Waits for one event's verdict; waits no more when dropped.
pub struct VerdictWaiter {
    waiters: Waiters,
    event_id: EventId,
    slot: Arc<Slot<Verdicts>>,
}

impl VerdictWaiter {
    /// What the fold said of the record at `offset`, which holds this event.
    ///
    /// Requests that race with one event id append it more than once; each is told of its own record. Should that
    /// one be forgotten among very many, the next record of the same event says the same: it is a duplicate.
    pub async fn at(&self, offset: i64) -> Outcome {
        self.slot.until(|verdicts| verdicts.0.iter().find(|outcome| outcome.offset >= offset).cloned()).await
    }
}

impl Drop for VerdictWaiter {
    fn drop(&mut self) {
        self.waiters.0.verdicts.unregister(&self.event_id, &self.slot);
    }
}

/// Watches one run; watches no more when dropped.
pub struct RunWatcher {
    waiters: Waiters,
    run_id: RunId,
    slot: Arc<Slot<Watched>>,
}

impl RunWatcher {
    /// The run as the record that ended it left it.
    pub async fn finished(&self) -> Standing {
        self.slot
            .until(|watched| watched.0.clone().filter(|standing| standing.run.status.is_finished()))
            .await
    }

    /// The run as the newest record left it; `None` if no record touched it since the watch began.
    pub fn newest(&self) -> Option<Standing> {
        self.slot.0.lock().0.0.clone()
    }
}

impl Drop for RunWatcher {
    fn drop(&mut self) {
        self.waiters.0.runs.unregister(&self.run_id, &self.slot);
    }
}
