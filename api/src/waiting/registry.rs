//! Slots by key, and the futures that wait on them. What a slot holds and when it is told is its user's business.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use foldhash::fast::RandomState;
use parking_lot::Mutex;

const SHARDS: usize = 32;

type Shard<K, V> = Mutex<HashMap<K, Vec<Arc<Slot<V>>>, RandomState>>;

/// Slots by key. One key may have several: requests that race with one event id, followers of one run.
pub(super) struct Registry<K, V> {
    shards: [Shard<K, V>; SHARDS],
    hasher: RandomState,
    slots: AtomicUsize,
}

/// What one waiter was told. It belongs to that waiter alone, so one place for a waker is enough.
pub(super) struct Slot<V>(Mutex<Told<V>>);

#[derive(Default)]
struct Told<V> {
    value: V,
    waker: Option<Waker>,
}

impl<K, V> Default for Registry<K, V> {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
            slots: AtomicUsize::new(0),
        }
    }
}

impl<K, V> Registry<K, V> {
    pub(super) fn len(&self) -> usize {
        self.slots.load(Ordering::SeqCst)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Copy + Eq + Hash, V: Default> Registry<K, V> {
    fn shard(&self, key: &K) -> &Shard<K, V> {
        // The remainder is below the number of shards.
        &self.shards[(self.hasher.hash_one(key) % SHARDS as u64) as usize]
    }

    pub(super) fn register(&self, key: K) -> Arc<Slot<V>> {
        let slot = Arc::new(Slot(Mutex::new(Told::default())));
        // Most keys have one waiter.
        self.shard(&key).lock().entry(key).or_insert_with(|| Vec::with_capacity(1)).push(Arc::clone(&slot));
        self.slots.fetch_add(1, Ordering::SeqCst);
        slot
    }

    pub(super) fn unregister(&self, key: &K, slot: &Arc<Slot<V>>) {
        let mut shard = self.shard(key).lock();
        if let Some(slots) = shard.get_mut(key) {
            if let Some(at) = slots.iter().position(|other| Arc::ptr_eq(other, slot)) {
                slots.swap_remove(at);
            }
            if slots.is_empty() {
                shard.remove(key);
            }
        }
        drop(shard);
        self.slots.fetch_sub(1, Ordering::SeqCst);
    }

    /// Changes every slot of a key. `change` says whether there is news; who is to be told of it goes to `wakers`.
    pub(super) fn tell(&self, key: &K, change: impl Fn(&mut V) -> bool, wakers: &mut Vec<Waker>) {
        let shard = self.shard(key).lock();
        for slot in shard.get(key).into_iter().flatten() {
            let mut told = slot.0.lock();
            if change(&mut told.value) {
                wakers.extend(told.waker.take());
            }
        }
    }
}

impl<V> Slot<V> {
    /// What `find` makes of the slot, as soon as it makes something. Only its waiter may call it, once at a time.
    pub(super) async fn until<T>(&self, find: impl Fn(&V) -> Option<T>) -> T {
        std::future::poll_fn(|context| {
            let mut told = self.0.lock();
            if let Some(found) = find(&told.value) {
                return Poll::Ready(found);
            }
            match &mut told.waker {
                Some(waker) => waker.clone_from(context.waker()),
                empty @ None => *empty = Some(context.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&V) -> T) -> T {
        read(&self.0.lock().value)
    }

    /// Changes the slot without telling its waiter, who calls this.
    pub(super) fn change(&self, change: impl FnOnce(&mut V)) {
        change(&mut self.0.lock().value);
    }
}
