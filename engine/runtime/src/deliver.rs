//! Outbox delivery: entries go to their destination partitions in order, each naming its predecessor (DESIGN §5).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, try_join_all};
use parking_lot::Mutex;
use tidewheel_engine::Control;
use tidewheel_engine::outbox::OutboxEntry;
use tidewheel_engine::partition::Partition;
use tidewheel_log::{LogError, SharedClock, SharedLog};
use tidewheel_schemas::event::RunSignaled;
use tidewheel_schemas::mutation::{self, Mutation};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, Entity, Envelope, EventId, LogId, NewRecord, OutboxName, Topic, TopicPartition, codec,
};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::appends::bytes_of;

/// Most entries on their way at once.
const BATCH_MAX: usize = 512;

/// Bytes of a batch, unless one entry has more: less than any log takes at once.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a failed delivery rests.
const PAUSE: Duration = Duration::from_millis(50);

/// The last message accepted from each source partition.
type Accepted = BTreeMap<(LogId, u32), OutboxName>;

/// What each partition last accepted from each source, as its owner in this process folded it.
#[derive(Default)]
pub(crate) struct Sources {
    partitions: Mutex<BTreeMap<u32, Folded>>,
    /// Told of every publication. Wakes those who wait in the order in which they began to.
    published: Notify,
}

/// How far a partition was folded, and what it had accepted by then.
#[derive(Default)]
struct Folded {
    next_offset: i64,
    accepted: Accepted,
}

impl Sources {
    /// Publishes what `control` says.
    pub(crate) fn publish(&self, control: &Control) {
        let mut partitions = self.partitions.lock();
        let folded = partitions.entry(control.partition).or_default();
        folded.next_offset = control.next_offset;
        if folded.accepted != control.sources {
            folded.accepted.clone_from(&control.sources);
        }
        drop(partitions);
        self.published.notify_waiters();
    }

    /// What `destination` last accepted from `source` before `end`, once it was folded that far.
    async fn last_accepted(&self, destination: u32, end: i64, source: (LogId, u32)) -> Option<OutboxName> {
        loop {
            let published = self.published.notified();
            tokio::pin!(published);
            // Registered before looking, so that no publication in between is missed.
            published.as_mut().enable();
            if let Some(folded) = self.partitions.lock().get(&destination)
                && folded.next_offset >= end
            {
                return folded.accepted.get(&source).copied();
            }
            published.await;
        }
    }
}

/// What a delivery came to.
pub(crate) enum Delivered {
    /// What destinations last accepted; nothing was sent yet.
    Lanes(BTreeMap<u32, Option<OutboxName>>),
    /// Every destination has its entries up to this one.
    Through(OutboxName),
}

/// The deliverer of one partition's outbox during one reign.
pub(crate) struct Deliverer {
    log: SharedLog,
    clock: SharedClock,
    topic: Topic,
    sources: Arc<Sources>,
    /// The last entry handed to each destination, or known to be there. A destination that is not named here is
    /// asked first: a message with a predecessor that is not its last one would be dropped there for good.
    lanes: BTreeMap<u32, Option<OutboxName>>,
    /// The last entry taken up.
    taken: Option<OutboxName>,
    asking: bool,
    paused_until: Option<Instant>,
}

/// A batch on its way, or a question to the destinations.
pub(crate) type Delivery = BoxFuture<'static, Result<Delivered, LogError>>;

impl Deliverer {
    pub(crate) fn new(log: SharedLog, clock: SharedClock, topic: Topic, sources: Arc<Sources>) -> Self {
        let (lanes, taken, asking, paused_until) = (BTreeMap::new(), None, false, None);
        Self { log, clock, topic, sources, lanes, taken, asking, paused_until }
    }

    /// Forgets what was handed over: at a new reign, each destination is asked again what it last accepted. What
    /// it holds already becomes a duplicate there.
    pub(crate) fn reset(&mut self) {
        self.lanes.clear();
        self.taken = None;
        self.asking = false;
        self.paused_until = None;
    }

    /// A delivery failed: as [`Deliverer::reset`], after a rest.
    pub(crate) fn failed(&mut self) {
        self.reset();
        self.paused_until = Some(Instant::now() + PAUSE);
    }

    /// Whether what is on the way is a question only.
    pub(crate) const fn is_asking(&self) -> bool {
        self.asking
    }

    /// When the rest after a failure ends.
    pub(crate) const fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// The destinations have answered.
    pub(crate) fn answered(&mut self, lanes: BTreeMap<u32, Option<OutboxName>>) {
        self.lanes.extend(lanes);
        self.asking = false;
    }

    /// Takes up the next entries, if there are any.
    pub(crate) fn next(&mut self, partition: &Partition) -> Option<Delivery> {
        if self.paused_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        self.paused_until = None;
        let log = partition.control().log?;
        let source = (log.log_id, partition.control().partition);
        let entries = || partition.undelivered(self.taken).take(BATCH_MAX);
        let destination_of = |entry: &OutboxEntry| {
            let entity = Entity::Run(entry.target);
            (partition_for(&entity.routing_key(), log.partitions), entity)
        };
        let unknown: BTreeSet<_> = entries()
            .map(|entry| destination_of(entry).0)
            .filter(|destination| !self.lanes.contains_key(destination))
            .collect();
        if !unknown.is_empty() && !mutation::is(Mutation::OutboxNotAsked) {
            self.asking = true;
            return Some(self.ask(unknown, source));
        }
        let mut batches: BTreeMap<u32, Vec<NewRecord>> = BTreeMap::new();
        let (mut last, mut bytes) = (None, 0);
        for entry in entries() {
            if bytes >= BATCH_BYTES_MAX {
                break;
            }
            let (destination, entity) = destination_of(entry);
            let lane = self.lanes.entry(destination).or_default();
            last = Some(entry.name);
            if lane.is_some_and(|accepted| entry.name <= accepted) {
                continue;
            }
            if let Some(record) = message(entry, entity, source, *lane, self.clock.now_us()) {
                bytes += bytes_of(&record);
                batches.entry(destination).or_default().push(record);
                *lane = Some(entry.name);
            }
        }
        let last = last?;
        self.taken = Some(last);
        let appends: Vec<_> = batches
            .into_iter()
            .map(|(destination, records)| {
                self.log.append(&TopicPartition::new(self.topic.clone(), destination), records)
            })
            .collect();
        let trims_early = mutation::is(Mutation::OutboxTrimmedEarly);
        Some(Box::pin(async move {
            let appended = try_join_all(appends).await.map(|_| Delivered::Through(last));
            if trims_early { Ok(Delivered::Through(last)) } else { appended }
        }))
    }

    /// Asks destinations what they last accepted, once they have been folded as far as they reach now: everything
    /// that was delivered before, under whatever reign, lies there.
    fn ask(&self, destinations: BTreeSet<u32>, source: (LogId, u32)) -> Delivery {
        let (log, topic, sources) = (Arc::clone(&self.log), self.topic.clone(), Arc::clone(&self.sources));
        Box::pin(async move {
            let mut lanes = BTreeMap::new();
            for destination in destinations {
                let end = log.bounds(&TopicPartition::new(topic.clone(), destination)).await?.end;
                lanes.insert(destination, sources.last_accepted(destination, end, source).await);
            }
            Ok(Delivered::Lanes(lanes))
        })
    }
}

fn message(
    entry: &OutboxEntry,
    entity: Entity,
    (source, partition): (LogId, u32),
    predecessor: Option<OutboxName>,
    now_us: i64,
) -> Option<NewRecord> {
    let envelope = Envelope {
        event_id: EventId::outbox(source, entry.name.offset, entry.name.index),
        entity,
        namespace: Some(entry.namespace.clone()),
        recorded_at_us: now_us,
        cause: None,
        traceparent: None,
        author: Author::Outbox { source, partition, name: entry.name, predecessor },
    };
    let event = RunSignaled { name: entry.signal.clone(), payload: entry.payload.clone() };
    match codec::encode(&envelope, &event.into()) {
        Ok(record) => Some(record),
        Err(error) => {
            tracing::error!(sender = %entry.sender, target = %entry.target, %error, "an outbox entry cannot be encoded and is skipped");
            None
        }
    }
}
