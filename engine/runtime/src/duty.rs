//! What a process does for each partition beside following it. Who decides that is its caller's affair: membership
//! only suggests, the log's claims fence (DESIGN §5).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What this process does for one partition beside folding it. Nothing by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Duty {
    /// It claims the partition and leads it.
    pub leads: bool,
    /// It writes the partition's views.
    pub projects: bool,
}

impl Duty {
    /// Everything there is to do.
    pub const ALL: Self = Self { leads: true, projects: true };
}

/// Who waits is woken in the order in which they began to wait, which tokio's `watch` does not promise: a simulated
/// process must do the same each time.
#[derive(Debug, Default)]
struct Shared {
    duties: Mutex<BTreeMap<u32, Duty>>,
    changed: Notify,
}

/// The duties of a process by partition, as they stand now. A partition that is not named has none.
#[derive(Debug, Clone)]
pub struct Duties(Arc<Shared>);

/// Says what the duties are.
#[derive(Debug)]
pub struct DutySender(Arc<Shared>);

impl DutySender {
    /// From now on the duties are these.
    pub fn replace(&self, duties: BTreeMap<u32, Duty>) {
        self.change(|current| *current = duties);
    }

    /// Changes some of them.
    pub fn change(&self, change: impl FnOnce(&mut BTreeMap<u32, Duty>)) {
        change(&mut self.0.duties.lock());
        self.0.changed.notify_waiters();
    }
}

impl Duties {
    /// The same duty for each of the partitions `0..partitions`, for as long as the process lives.
    pub fn same(duty: Duty, partitions: u32) -> Self {
        let duties = (0..partitions).map(|partition| (partition, duty)).collect();
        Self(Arc::new(Shared { duties: Mutex::new(duties), changed: Notify::new() }))
    }

    /// None yet; the sender says what they are from then on.
    pub fn channel() -> (DutySender, Self) {
        let shared = Arc::<Shared>::default();
        (DutySender(Arc::clone(&shared)), Self(shared))
    }

    /// The duty for a partition now.
    pub fn of(&self, partition: u32) -> Duty {
        self.0.duties.lock().get(&partition).copied().unwrap_or_default()
    }

    /// Resolves once the duty for a partition is another than `duty`. Cancel-safe.
    pub(crate) async fn differ(&self, partition: u32, duty: Duty) {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // Registered before looking, so that no change in between is missed.
            changed.as_mut().enable();
            if self.of(partition) != duty {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_partition_that_is_not_named_has_no_duty() {
        let (sender, duties) = Duties::channel();
        sender.replace(BTreeMap::from([(1, Duty::ALL)]));
        assert_eq!((duties.of(0), duties.of(1)), (Duty::default(), Duty::ALL));
    }

    #[test]
    fn only_a_change_of_its_own_duty_wakes_a_partition() {
        let (sender, duties) = Duties::channel();
        sender.replace(BTreeMap::from([(1, Duty::ALL)]));
        assert!(duties.differ(0, Duty::default()).now_or_never().is_none());
        assert!(duties.differ(1, Duty::default()).now_or_never().is_some());
        drop(sender);
        assert!(duties.differ(0, Duty::default()).now_or_never().is_none());
    }
}
