//! What a process does for each partition beside following it. Who decides that is its caller's affair: membership
//! only suggests, the log's claims fence (DESIGN §5).

use std::collections::BTreeMap;

use tokio::sync::watch;

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

/// The duties of a process by partition, as they stand now. A partition that is not named has none.
#[derive(Debug, Clone)]
pub struct Duties(watch::Receiver<BTreeMap<u32, Duty>>);

impl Duties {
    /// The same duty for each of the partitions `0..partitions`, for as long as the process lives.
    pub fn same(duty: Duty, partitions: u32) -> Self {
        let duties = (0..partitions).map(|partition| (partition, duty)).collect();
        Self(watch::channel(duties).1)
    }

    /// None yet; the sender says what they are from then on.
    pub fn channel() -> (watch::Sender<BTreeMap<u32, Duty>>, Self) {
        let (sender, duties) = watch::channel(BTreeMap::new());
        (sender, Self(duties))
    }

    /// The duty for a partition now.
    pub fn of(&self, partition: u32) -> Duty {
        self.0.borrow().get(&partition).copied().unwrap_or_default()
    }

    /// Resolves once the duty for a partition is another than `duty`; never, if nobody can change it any more.
    /// Cancel-safe.
    pub(crate) async fn differ(&mut self, partition: u32, duty: Duty) {
        let differs =
            |duties: &BTreeMap<u32, Duty>| duties.get(&partition).copied().unwrap_or_default() != duty;
        if self.0.wait_for(differs).await.is_err() {
            std::future::pending::<()>().await;
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
        sender.send_replace(BTreeMap::from([(1, Duty::ALL)]));
        assert_eq!((duties.of(0), duties.of(1)), (Duty::default(), Duty::ALL));
    }

    #[test]
    fn only_a_change_of_its_own_duty_wakes_a_partition() {
        let (sender, mut duties) = Duties::channel();
        sender.send_replace(BTreeMap::from([(1, Duty::ALL)]));
        assert!(duties.differ(0, Duty::default()).now_or_never().is_none());
        assert!(duties.differ(1, Duty::default()).now_or_never().is_some());
        drop(sender);
        assert!(duties.differ(0, Duty::default()).now_or_never().is_none());
    }
}
