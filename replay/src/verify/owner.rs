//! Whose a row is: the run, or the record, that it follows from. Told from the log's side and from the store's side by
//! the same rule, so that both can be cut into the same ranges.

use tidewheel_projector::views::{
    index_days, open_work, outbox, parked, partition_control, rejections, run_history, runs, runs_by,
};
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{Record, RecordHeaders, RunId};
use tidewheel_store::{RowKey, TableSchema, Value};

/// What a row follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The records of a run.
    Run(RunId),
    /// The record at this offset, which is about no run of its partition.
    Record(i64),
    /// The partition as a whole: rows that stand for several runs.
    Partition,
}

impl Owner {
    /// A number that spreads owners evenly, the same in every process.
    pub(crate) fn spread(self) -> u64 {
        let (high, low) = match self {
            Self::Run(run_id) => {
                let bits = u128::from_be_bytes(*run_id.as_bytes());
                ((bits >> 64) as u64, bits as u64)
            }
            Self::Record(offset) => (u64::MAX, offset.cast_unsigned()),
            Self::Partition => (u64::MAX, u64::MAX),
        };
        let mixed = mix(high ^ 0x9e37_79b9_7f4a_7c15);
        mix(mixed ^ low)
    }
}

/// The last step of `SplitMix64`.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The partition that a run's records lie in.
pub(crate) fn partition_of(run_id: RunId, partitions: u32) -> u32 {
    partition_for(&run_id.to_text(), partitions)
}

/// The owner of what a record leads to in its partition.
pub(crate) fn of_record(record: &Record, partition: u32, partitions: u32) -> Owner {
    match &record.headers {
        RecordHeaders::Known(headers) => match headers.entity.run_id() {
            Some(run_id) if partition_of(run_id, partitions) == partition => Owner::Run(run_id),
            _ => Owner::Record(record.offset),
        },
        RecordHeaders::Foreign(_) => Owner::Record(record.offset),
    }
}

/// The log partition that a row belongs to, and its owner there; `None` if the row names no partition of the log.
pub(crate) fn of_row(
    table: &'static TableSchema,
    key: &RowKey,
    columns: &[Value],
    partitions: u32,
) -> Option<(u32, Owner)> {
    let clustering = key.clustering.as_deref().unwrap_or_default();
    let is = |other: &'static TableSchema| table.number == other.number;
    let (partition, owner) = if is(&runs::TABLE) || is(&run_history::TABLE) {
        let run_id = run(key.partition.first())?;
        (partition_of(run_id, partitions), Owner::Run(run_id))
    } else if is(&index_days::TABLE) {
        (number(clustering.get(1))?, Owner::Partition)
    } else if is(&open_work::BUCKETS) || is(&partition_control::TABLE) {
        (number(key.partition.first())?, Owner::Partition)
    } else if is(&rejections::BY_DAY) || is(&rejections::BY_SUBJECT) {
        let partition = number(clustering.get(1))?;
        let about = run(columns.get(4)).filter(|run_id| partition_of(*run_id, partitions) == partition);
        let offset = integer(clustering.get(2))?;
        (partition, about.map_or(Owner::Record(offset), Owner::Run))
    } else if is(&parked::TABLE) {
        let run_id = match clustering.first() {
            Some(Value::Blob(bytes)) => <[u8; 16]>::try_from(bytes.as_ref()).ok().map(RunId::from_bytes),
            _ => None,
        };
        (number(key.partition.first())?, run_id.map_or(Owner::Record(-1), Owner::Run))
    } else {
        let partition = if is(&open_work::TABLE) || is(&outbox::TABLE) {
            key.partition.first()
        } else {
            debug_assert!(
                [&runs_by::NAMESPACE, &runs_by::WORKFLOW, &runs_by::TAG, &runs_by::STATUS]
                    .iter()
                    .any(|index| is(index)),
                "{} has no rule",
                table.name
            );
            key.partition.last()
        };
        // A row that somebody took the run from is nobody's in particular, and found all the same.
        (number(partition)?, run(columns.first()).map_or(Owner::Record(-1), Owner::Run))
    };
    (partition < partitions).then_some((partition, owner))
}

fn run(value: Option<&Value>) -> Option<RunId> {
    match value {
        Some(Value::Uuid(bytes)) => Some(RunId::from_bytes(*bytes)),
        _ => None,
    }
}

fn integer(value: Option<&Value>) -> Option<i64> {
    match value {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    }
}

fn number(value: Option<&Value>) -> Option<u32> {
    integer(value).and_then(|number| u32::try_from(number).ok())
}
