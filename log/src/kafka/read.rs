//! Looking things up: a page of records from an offset, the first record at or after a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::error::KafkaError;
use tidewheel_schemas::{Record, RecordHeaders, TopicPartition};

use super::cluster::{Cluster, blocking};
use super::reader::{Purpose, Subscription};
use super::tail::{KafkaTail, READ_BYTES_MAX};
use crate::LogError;
use crate::limits::check_offset;

/// Readers kept for who reads on where the last page ended.
const IDLE_MAX: usize = 8;
/// For how long.
const IDLE_FOR: Duration = Duration::from_secs(3);
/// How long a reader that was kept may be silent before it is asked anew.
const SILENT_FOR: Duration = Duration::from_millis(200);
/// Records of a page when looking for a time.
const TIME_PAGE: usize = 1_000;

/// Readers that stand where somebody may read on.
#[derive(Default)]
pub(super) struct Idle(Mutex<Vec<Standing>>);

struct Standing {
    place: TopicPartition,
    position: i64,
    since: Instant,
    subscription: Subscription,
}

impl Idle {
    /// What stands at `position`. What stands elsewhere in the same partition is dropped: it would cost whoever comes
    /// now a consumer of their own.
    fn take(&self, place: &TopicPartition, position: i64) -> Option<Subscription> {
        let of_place: Vec<Standing> = self.0.lock().extract_if(.., |idle| idle.place == *place).collect();
        let mut found = of_place.into_iter().filter(|idle| idle.position == position);
        found.next().map(|idle| idle.subscription)
    }

    fn keep(&self, place: &TopicPartition, position: i64, subscription: Subscription) {
        let standing = Standing { place: place.clone(), position, since: Instant::now(), subscription };
        let mut idle = self.0.lock();
        let oldest = if idle.len() >= IDLE_MAX { Some(idle.remove(0)) } else { None };
        idle.push(standing);
        drop(idle);
        drop(oldest);
    }

    /// Drops what nobody came back for.
    pub fn drop_old(&self) {
        let old: Vec<Standing> =
            self.0.lock().extract_if(.., |idle| idle.since.elapsed() > IDLE_FOR).collect();
        drop(old);
    }
}

/// Up to `records_max` records from `offset` on that were there when this was called, without a hole.
pub(super) async fn read(
    cluster: &Arc<Cluster>,
    from: &TopicPartition,
    offset: i64,
    records_max: usize,
) -> Result<Vec<Record>, LogError> {
    let bounds = cluster.bounds(from).await?;
    check_offset(from, offset, bounds)?;
    if offset == bounds.end || records_max == 0 {
        return Ok(Vec::new());
    }
    if let Some(found) = cluster.recent.find(from, offset, records_max, bounds.end) {
        return Ok(found);
    }
    let (mut tail, mut is_fresh) = match cluster.idle.take(from, offset) {
        Some(subscription) => {
            (KafkaTail::resumed(cluster, Purpose::Reads, from, offset, subscription), false)
        }
        None => (KafkaTail::open(cluster, Purpose::Reads, from, offset, Some(bounds.end)).await?, true),
    };
    let mut records = Vec::new();
    let mut bytes = 0;
    let mut progress_at = Instant::now();
    loop {
        let before = records.len();
        tail.take(&mut records, records_max);
        bytes += records[before..].iter().map(|record| record.key.len() + record.value.len()).sum::<usize>();
        if records.len() >= records_max || bytes >= READ_BYTES_MAX || tail.position() >= bounds.end {
            break;
        }
        if records.len() > before {
            progress_at = Instant::now();
            continue;
        }
        let silent_for = progress_at.elapsed();
        if silent_for >= cluster.options.request_timeout {
            let what = format!("reading {from} from {}", tail.position());
            return Err(cluster.explain(what, &KafkaError::NoMessageReceived));
        }
        if !is_fresh && silent_for >= SILENT_FOR {
            // It may have been told of the end before the end was where it is now.
            tail.prove(bounds.end);
            is_fresh = true;
        }
        tail.wait(SILENT_FOR).await?;
    }
    let position = tail.position();
    // Who asked for a page and did not get to the end may ask for the next one.
    if records_max > 1
        && position < bounds.end
        && let Some(subscription) = tail.into_subscription()
    {
        cluster.idle.keep(from, position, subscription);
    }
    Ok(records)
}

/// The offset of the first record at or after `time_us`. Kafka finds whole milliseconds; the rest is read.
pub(super) async fn offset_for_time(
    cluster: &Arc<Cluster>,
    of: &TopicPartition,
    time_us: i64,
) -> Result<i64, LogError> {
    let end = cluster.bounds(of).await?.end;
    let time_ms = time_us.div_euclid(1_000).max(0);
    let Some(mut offset) = cluster.offset_for_time(of, time_ms).await? else { return Ok(end) };
    while offset < end {
        let records = read(cluster, of, offset, TIME_PAGE).await?;
        let found = records.iter().find(|record| match &record.headers {
            RecordHeaders::Known(headers) => headers.recorded_at_us >= time_us,
            RecordHeaders::Foreign(_) => false,
        });
        match (found, records.last()) {
            (Some(found), _) => return Ok(found.offset.min(end)),
            (None, Some(last)) => offset = last.offset + 1,
            (None, None) => break,
        }
    }
    Ok(end)
}

/// The headers of the message at `offset` as they are; none for an offset without a message.
pub(super) async fn foreign_headers(
    cluster: &Arc<Cluster>,
    of: &TopicPartition,
    offset: i64,
) -> Result<Vec<(String, Bytes)>, LogError> {
    let bounds = cluster.bounds(of).await?;
    check_offset(of, offset, bounds)?;
    if offset == bounds.end {
        return Ok(Vec::new());
    }
    let (readers, place) = (Arc::clone(cluster), of.clone());
    let subscription = blocking(move || readers.readers.subscribe(Purpose::Reads, &place, offset)).await?;
    let until = Instant::now() + cluster.options.request_timeout;
    loop {
        let grown = subscription.grown();
        match subscription.poll_pairs() {
            Some(Ok((found, _))) if found < offset => {}
            Some(Ok((found, pairs))) => return Ok(if found == offset { pairs } else { Vec::new() }),
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(Vec::new()),
            Some(Err(error)) => return Err(cluster.explain(format!("reading {of} at {offset}"), &error)),
            None if Instant::now() >= until => {
                let what = format!("reading {of} at {offset}");
                return Err(cluster.explain(what, &KafkaError::NoMessageReceived));
            }
            None => drop(tokio::time::timeout(SILENT_FOR, grown.notified()).await),
        }
    }
}
