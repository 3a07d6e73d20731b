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
    let owner = in_partition(table, key, columns, partitions)?;
    let partition = match (named_partition(table, key)?, owner) {
        (Some(partition), _) => partition,
        (None, Owner::Run(run_id)) => partition_of(run_id, partitions),
        (None, Owner::Record(_) | Owner::Partition) => return None,
    };
    (partition < partitions).then_some((partition, owner))
}

fn is(table: &'static TableSchema, other: &'static TableSchema) -> bool {
    table.number == other.number
}

/// The log partition that a row's key names: `Some(None)` for a table whose keys name none, `None` for a key that names
/// nothing that is one.
fn named_partition(table: &'static TableSchema, key: &RowKey) -> Option<Option<u32>> {
    let clustering = key.clustering.as_deref().unwrap_or_default();
    let value = if is(table, &runs::TABLE) || is(table, &run_history::TABLE) {
        return Some(None);
    } else if [&index_days::TABLE, &rejections::BY_DAY, &rejections::BY_SUBJECT]
        .iter()
        .any(|of| is(table, of))
    {
        clustering.get(1)
    } else if INDEXES.iter().any(|of| is(table, of)) {
        key.partition.last()
    } else {
        key.partition.first()
    };
    number(value).map(Some)
}

const INDEXES: [&TableSchema; 4] = [&runs_by::NAMESPACE, &runs_by::WORKFLOW, &runs_by::TAG, &runs_by::STATUS];

/// The owner of a row in its partition; `None` if its key cannot be one of the table.
pub(crate) fn in_partition(
    table: &'static TableSchema,
    key: &RowKey,
    columns: &[Value],
    partitions: u32,
) -> Option<Owner> {
    let clustering = key.clustering.as_deref().unwrap_or_default();
    Some(if is(table, &runs::TABLE) || is(table, &run_history::TABLE) {
        Owner::Run(run(key.partition.first())?)
    } else if [&index_days::TABLE, &open_work::BUCKETS, &partition_control::TABLE]
        .iter()
        .any(|of| is(table, of))
    {
        Owner::Partition
    } else if is(table, &rejections::BY_DAY) || is(table, &rejections::BY_SUBJECT) {
        let partition = number(clustering.get(1))?;
        let about = run(columns.get(4)).filter(|run_id| partition_of(*run_id, partitions) == partition);
        let offset = integer(clustering.get(2))?;
        about.map_or(Owner::Record(offset), Owner::Run)
    } else if is(table, &parked::TABLE) {
        let run_id = match clustering.first() {
            Some(Value::Blob(bytes)) => <[u8; 16]>::try_from(bytes.as_ref()).ok().map(RunId::from_bytes),
            _ => None,
        };
        run_id.map_or(Owner::Record(-1), Owner::Run)
    } else {
        debug_assert!(
            is(table, &open_work::TABLE)
                || is(table, &outbox::TABLE)
                || INDEXES.iter().any(|of| is(table, of)),
            "{} has no rule",
            table.name
        );
        // A row that somebody took the run from is nobody's in particular, and found all the same.
        run(columns.first()).map_or(Owner::Record(-1), Owner::Run)
    })
}

/// The offset of the start of the run that an index row or a row of open work is of: what the key of its deletion tells
/// of the run.
pub(crate) fn started_offset(table: &'static TableSchema, key: &RowKey) -> Option<i64> {
    if is(table, &open_work::TABLE) || INDEXES.iter().any(|of| is(table, of)) {
        integer(key.clustering.as_ref()?.get(1))
    } else {
        None
    }
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
