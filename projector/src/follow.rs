//! Following a run: whoever waits for it is told where it stands, from the fold's transitions, without the store.
//!
//! Only the newest standing is kept, so a slow follower costs nothing; what lies between is read from the views.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tidewheel_engine::{RunHeader, Transition};
use tidewheel_schemas::{Event, Payload, RunId};
use tokio::sync::watch;

/// A run as one record left it.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The partition of the log.
    pub partition: u32,
    /// The record's offset.
    pub offset: i64,
    /// The run after it.
    pub run: Arc<RunHeader>,
    /// What the run returned, if this record completed it.
    pub output: Option<Payload>,
}

const SHARDS: usize = 32;

type Watched = HashMap<RunId, watch::Sender<Option<Standing>>>;

/// Everybody who follows a run in this process. Cloning shares them.
#[derive(Clone, Default)]
pub struct Followers(Arc<Registry>);

struct Registry {
    shards: [Mutex<Watched>; SHARDS],
    hasher: RandomState,
    followers: AtomicUsize,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            followers: AtomicUsize::new(0),
        }
    }
}

impl Registry {
    fn shard(&self, run_id: RunId) -> &Mutex<Watched> {
        // The remainder is below the number of shards.
        &self.shards[(self.hasher.hash_one(run_id) % SHARDS as u64) as usize]
    }
}

impl std::fmt::Debug for Followers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Followers").field("followers", &self.len()).finish()
    }
}

impl Followers {
    /// Nobody follows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells those who follow. To be called with every transition, in the order of offsets per partition, before
    /// or after it is projected. Costs next to nothing while nobody follows.
    pub fn publish(&self, transitions: &[Transition]) {
        if self.0.followers.load(Ordering::SeqCst) == 0 {
            return;
        }
        for transition in transitions {
            let Some(change) = transition.run.as_deref() else { continue };
            let shard = self.0.shard(change.after.run_id).lock();
            let Some(sender) = shard.get(&change.after.run_id) else { continue };
            sender.send_if_modified(|standing| {
                // What ended the run is kept: refused records after it say nothing new.
                if standing.as_ref().is_some_and(|standing| standing.run.status.is_finished())
                    && change.entry.is_none()
                {
                    return false;
                }
                let output = change.entry.as_ref().and_then(|entry| match &*entry.event {
                    Event::RunCompleted(completed) => Some(completed.output.clone()),
                    _ => None,
                });
                *standing = Some(Standing {
                    partition: transition.partition,
                    offset: transition.offset,
                    run: Arc::clone(&change.after),
                    output,
                });
                true
            });
        }
    }

    /// Follows a run from now on. Register first and read the views then, so that nothing is missed.
    pub fn follow(&self, run_id: RunId) -> Follower {
        self.0.followers.fetch_add(1, Ordering::SeqCst);
        let receiver =
            self.0.shard(run_id).lock().entry(run_id).or_insert_with(|| watch::channel(None).0).subscribe();
        Follower { followers: self.clone(), run_id, receiver }
    }

    /// How many follow.
    pub fn len(&self) -> usize {
        self.0.followers.load(Ordering::Relaxed)
    }

    /// Whether nobody follows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Follows one run until dropped.
pub struct Follower {
    followers: Followers,
    run_id: RunId,
    receiver: watch::Receiver<Option<Standing>>,
}

impl Follower {
    /// Waits for a record that touched the run since the last call, and returns how the newest one left it.
    pub async fn next(&mut self) -> Standing {
        loop {
            // The sender lives as long as a follower does, so this does not fail.
            if self.receiver.changed().await.is_err() {
                return std::future::pending().await;
            }
            if let Some(standing) = self.receiver.borrow_and_update().clone() {
                return standing;
            }
        }
    }

    /// Waits for the end of the run: how the record that ended it left it.
    pub async fn finished(&mut self) -> Standing {
        loop {
            let standing = self.next().await;
            if standing.run.status.is_finished() {
                return standing;
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut shard = self.followers.0.shard(self.run_id).lock();
        if shard.get(&self.run_id).is_some_and(|sender| sender.receiver_count() <= 1) {
            shard.remove(&self.run_id);
        }
        drop(shard);
        self.followers.0.followers.fetch_sub(1, Ordering::SeqCst);
    }
}
