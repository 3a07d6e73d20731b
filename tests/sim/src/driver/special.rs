//! What happens once, in some worlds, after the time of faults: the log is cut or replaced, or the fold raised beyond
//! what any process knows.

use std::sync::Arc;
use std::time::Duration;

use tidewheel_log::{EventLog as _, MemoryLog};
use tidewheel_projector::Views;
use tidewheel_schemas::event::FoldRaised;
use tidewheel_schemas::{
    Author, Entity, Envelope, EventId, NewRecord, Record, TopicPartition, codec, registry,
};

use super::fleet::Fleet;
use crate::clock::BEGINNING_US;
use crate::fault::Fault;
use crate::process::End;
use crate::random::Random;
use crate::world::World;

/// What happens to a world after its faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Nothing,
    Truncated,
    Recreated,
    Upgrade,
}

/// How long a process may take to notice.
const NOTICES: Duration = Duration::from_secs(60);

impl Special {
    pub(super) fn choose(random: &Random) -> Self {
        match random.below(100) {
            0..6 => Self::Truncated,
            6..10 => Self::Recreated,
            10..16 => Self::Upgrade,
            _ => Self::Nothing,
        }
    }

    /// Cuts or replaces the log, and expects the next process to refuse views that were built from another one.
    /// Returns whether records were lost.
    pub(super) async fn before_rest(self, world: &Arc<World>, fleet: &mut Fleet) -> bool {
        if !matches!(self, Self::Truncated | Self::Recreated) {
            return false;
        }
        // What producers and dead processes still have on the way belongs to the log that is lost.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let Some(cut) = checkpoint_to_cut(world).await else { return false };
        let log = MemoryLog::new();
        let created = log.create_topic(&world.topic, world.partitions).await;
        let configured = log.create_topic(&world.config_topic, 1).await;
        if created.and(configured).is_err() {
            return false;
        }
        // The configuration may be in a log of its own, which is not lost.
        let config = world.config_place();
        let records = world.log().read(&config, 0, usize::MAX).await.unwrap_or_default();
        append(world, &log, &config, records).await;
        if self == Self::Truncated {
            world.faults.add(Fault::LogTruncated);
            copy(world, &log, cut).await;
        } else {
            world.faults.add(Fault::LogRecreated);
        }
        world.replace_log(log);
        world.trace.note(0, "log lost", &[i64::from(cut.0), cut.1]);
        drop(world.take_live());
        fleet.keep_one().await;
        match fleet.end_of_one(NOTICES).await {
            Some(End::Mismatch(_)) => {}
            end => world.violate("checkpoints_are_verified", || {
                format!("partition {} was cut at {} below its checkpoint, the process: {end:?}", cut.0, cut.1)
            }),
        }
        fleet.end_all().await;
        world.drop_views();
        drop(world.take_live());
        true
    }
}

/// A partition, and an offset at or below its checkpoint.
async fn checkpoint_to_cut(world: &World) -> Option<(u32, i64)> {
    let views = Views::new(world.shared_store(), world.active().await);
    let mut places = Vec::new();
    for partition in 0..world.partitions {
        if let Ok(Some(checkpoint)) = views.checkpoint(partition).await
            && checkpoint.control.next_offset > 3
        {
            places.push((partition, checkpoint.control.next_offset));
        }
    }
    let (partition, next) = *world.random.pick(&places)?;
    let back = world.random.below(u64::try_from(next - 2).unwrap_or(0));
    Some((partition, next - 1 - i64::try_from(back).unwrap_or(0)))
}

async fn copy(world: &World, log: &MemoryLog, (cut_partition, cut): (u32, i64)) {
    for partition in 0..world.partitions {
        let mut records = world.records(partition).await;
        records.retain(|record| partition != cut_partition || record.offset < cut);
        append(world, log, &world.place(partition), records).await;
    }
}

async fn append(world: &World, log: &MemoryLog, to: &TopicPartition, records: Vec<Record>) {
    let as_new = |record: Record| NewRecord { key: record.key, headers: record.headers, value: record.value };
    let records: Vec<_> = records.into_iter().map(as_new).collect();
    if !records.is_empty()
        && let Err(error) = log.append(to, records).await
    {
        world.violate("no_defect", || format!("the log cannot be copied: {error}"));
    }
}

/// Raises the fold beyond what any process knows: each must stop there, and nothing after it counts.
pub(super) async fn upgrade(world: &Arc<World>, fleet: &mut Fleet) {
    fleet.keep_one().await;
    tokio::time::sleep(Duration::from_millis(world.random.between(0, 4_000))).await;
    let partition = world.random.below(u64::from(world.partitions)) as u32;
    let Some(raised) = raise(world, partition, registry::fold_newest() + 1).await else {
        world.violate("no_defect", || "the fold could not be raised".to_owned());
        return;
    };
    world.faults.add(Fault::FoldRaised);
    // Something after it, so that there is a record that must not be folded.
    let _ = raise(world, partition, registry::fold_newest()).await;
    for _ in 0..2 {
        fleet.keep_one_whatever_ended();
        match fleet.end_of_one(NOTICES).await {
            Some(End::TooOld) => {}
            end => world.violate("who_is_too_old_stops", || {
                format!("partition {partition} was raised at {raised}, the process: {end:?}")
            }),
        }
        fleet.end_all().await;
    }
    let views = Views::new(world.shared_store(), world.active().await);
    match views.checkpoint(partition).await {
        Ok(Some(checkpoint)) if checkpoint.control.next_offset > raised + 1 => {
            world.violate("who_is_too_old_stops", || {
                format!("the views stand at {}, raised at {raised}", checkpoint.control.next_offset - 1)
            });
        }
        _ => {}
    }
}

async fn raise(world: &World, partition: u32, fold: u32) -> Option<i64> {
    let envelope = Envelope {
        event_id: EventId::random(world.random.bytes_16()),
        entity: Entity::Partition(partition),
        namespace: None,
        recorded_at_us: BEGINNING_US,
        cause: None,
        traceparent: None,
        author: Author::Ingest { principal: "operator".into() },
    };
    let event = FoldRaised { fold: i32::try_from(fold).ok()? };
    let record = codec::encode(&envelope, &event.into()).ok()?;
    world.land(0, &world.place(partition), vec![record]).await.ok().map(|appended| appended.first())
}
