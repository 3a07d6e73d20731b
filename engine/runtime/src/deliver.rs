//! Outbox delivery: entries go to their destination partitions in order, each naming its predecessor (DESIGN §5).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use futures::future::{BoxFuture, try_join_all};
use parking_lot::Mutex;
use tidewheel_engine::Control;
use tidewheel_engine::outbox::OutboxEntry;
use tidewheel_engine::partition::Partition;
use tidewheel_log::{LogError, SharedLog};
use tidewheel_schemas::event::RunSignaled;
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{
    Author, Entity, Envelope, EventId, LogId, NewRecord, OutboxName, Topic, TopicPartition, codec,
};

use crate::clock;

/// Most entries on their way at once.
const BATCH_MAX: usize = 512;

/// The last message accepted from each source partition.
type Accepted = BTreeMap<(LogId, u32), OutboxName>;

/// What each partition last accepted from each source, as its owner in this process folded it.
#[derive(Default)]
pub(crate) struct Sources {
    partitions: Mutex<BTreeMap<u32, Accepted>>,
}

impl Sources {
    /// Publishes what `control` says.
    pub(crate) fn publish(&self, control: &Control) {
        self.partitions.lock().insert(control.partition, control.sources.clone());
    }

    fn last_accepted(&self, destination: u32, source: (LogId, u32)) -> Option<OutboxName> {
        self.partitions.lock().get(&destination).and_then(|sources| sources.get(&source)).copied()
    }
}

/// The deliverer of one partition's outbox during one reign.
pub(crate) struct Deliverer {
    log: SharedLog,
    topic: Topic,
    sources: Arc<Sources>,
    /// The last entry handed to each destination in this reign.
    lanes: BTreeMap<u32, Option<OutboxName>>,
    /// The last entry taken up.
    taken: Option<OutboxName>,
}

/// A batch on its way: resolves to the last entry of the batch once every destination has it.
pub(crate) type Delivery = BoxFuture<'static, Result<OutboxName, LogError>>;

impl Deliverer {
    pub(crate) fn new(log: SharedLog, topic: Topic, sources: Arc<Sources>) -> Self {
        Self { log, topic, sources, lanes: BTreeMap::new(), taken: None }
    }

    /// Forgets what was handed over: after a failure or at a new reign, each destination is asked again what it
    /// last accepted. What it holds already becomes a duplicate there.
    pub(crate) fn reset(&mut self) {
        self.lanes.clear();
        self.taken = None;
    }

    /// Takes up the next entries, if there are any.
    pub(crate) fn next(&mut self, partition: &Partition) -> Option<Delivery> {
        let log = partition.control().log?;
        let source = (log.log_id, partition.control().partition);
        let mut batches: BTreeMap<u32, Vec<NewRecord>> = BTreeMap::new();
        let mut last = None;
        for entry in partition.undelivered(self.taken).take(BATCH_MAX) {
            let entity = Entity::Run(entry.target);
            let destination = partition_for(&entity.routing_key(), log.partitions);
            let lane = match self.lanes.entry(destination) {
                Entry::Occupied(lane) => lane.into_mut(),
                Entry::Vacant(lane) => lane.insert(self.sources.last_accepted(destination, source)),
            };
            last = Some(entry.name);
            if lane.is_some_and(|accepted| entry.name <= accepted) {
                continue;
            }
            if let Some(record) = message(entry, entity, source, *lane) {
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
        Some(Box::pin(async move { try_join_all(appends).await.map(|_| last) }))
    }
}

fn message(
    entry: &OutboxEntry,
    entity: Entity,
    (source, partition): (LogId, u32),
    predecessor: Option<OutboxName>,
) -> Option<NewRecord> {
    let envelope = Envelope {
        event_id: EventId::outbox(source, entry.name.offset, entry.name.index),
        entity,
        namespace: Some(entry.namespace.clone()),
        recorded_at_us: clock::now_us(),
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
