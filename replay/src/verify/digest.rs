//! Sums over rows: two sets of rows whose sums are equal are taken to be equal. Which rows are summed up is said in
//! `survey`.

use std::hash::{BuildHasher as _, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use foldhash::quality::FixedState;
use tidewheel_store::{Item, Key, RowKey, TableSchema, Value};

/// Bytes that a row in memory takes beside its values.
const ROW_BYTES: usize = 160;
/// Costs are counted in units of this many bytes.
const COST_BYTES: usize = 64;

fn feed(hasher: &mut impl Hasher, value: &Value) {
    match value {
        Value::Null => hasher.write_u8(0),
        Value::Bool(value) => hasher.write_u8(1 + u8::from(*value)),
        Value::Int(value) => {
            hasher.write_u8(3);
            hasher.write_i64(*value);
        }
        Value::Text(text) => {
            hasher.write_u8(4);
            hasher.write_usize(text.len());
            hasher.write(text.as_bytes());
        }
        Value::Blob(bytes) => {
            hasher.write_u8(5);
            hasher.write_usize(bytes.len());
            hasher.write(bytes);
        }
        Value::Uuid(bytes) => {
            hasher.write_u8(6);
            hasher.write_u128(u128::from_be_bytes(*bytes));
        }
        Value::List(items) => {
            hasher.write_u8(7);
            hasher.write_usize(items.len());
            hasher.write(items.encoded());
        }
    }
}

fn feed_key(
    hasher: &mut impl Hasher,
    table: &'static TableSchema,
    partition: &Key,
    clustering: Option<&Key>,
) {
    hasher.write_u16(table.number);
    partition.iter().for_each(|value| feed(hasher, value));
    hasher.write_u8(u8::from(clustering.is_some()));
    clustering.into_iter().flatten().for_each(|value| feed(hasher, value));
}

/// The hash of a row's name.
pub(super) fn of_key(table: &'static TableSchema, key: &RowKey) -> u64 {
    let mut hasher = FixedState::with_seed(1).build_hasher();
    feed_key(&mut hasher, table, &key.partition, key.clustering.as_ref());
    hasher.finish()
}

/// The hash of a row, written at `base_us`.
pub(super) fn of_row(table: &'static TableSchema, key: &RowKey, columns: &[Value], base_us: i64) -> u64 {
    let mut hasher = FixedState::with_seed(2).build_hasher();
    feed_key(&mut hasher, table, &key.partition, key.clustering.as_ref());
    columns.iter().for_each(|value| feed(&mut hasher, value));
    hasher.write_i64(base_us);
    hasher.finish()
}

/// The hash of an entry of a list that a row holds, whatever row it is in.
pub(super) fn of_entry(table: &'static TableSchema, partition: &Key, number: u64, entry: Item<'_>) -> u64 {
    let mut hasher = FixedState::with_seed(3).build_hasher();
    feed_key(&mut hasher, table, partition, None);
    hasher.write_u64(number);
    hasher.write(entry.encoded());
    hasher.finish()
}

/// What a row costs while it is held.
pub(super) fn cost(key: &RowKey, columns: &[Value]) -> u32 {
    let values = key.partition.iter().chain(key.clustering.iter().flatten()).chain(columns);
    let bytes: usize = values.map(|value| size_of::<Value>() + value.bytes()).sum();
    u32::try_from((bytes + ROW_BYTES) / COST_BYTES).unwrap_or(u32::MAX)
}

/// As bytes.
pub(super) fn bytes_of(cost: u64) -> usize {
    usize::try_from(cost.saturating_mul(COST_BYTES as u64)).unwrap_or(usize::MAX)
}

/// The sums of what is stored, by bucket of owners. Filled from several threads.
#[derive(Debug)]
pub(super) struct Sums(Vec<Bucket>);

#[derive(Debug, Default)]
struct Bucket {
    sum: AtomicU64,
    rows: AtomicU32,
    cost: AtomicU32,
    /// Has a row that is in no sum.
    is_left_out: AtomicBool,
}

impl Sums {
    pub(super) fn new(buckets: usize) -> Self {
        let mut all = Vec::new();
        all.resize_with(buckets, Bucket::default);
        Self(all)
    }

    /// Adds a hash.
    pub(super) fn add(&self, bucket: usize, hash: u64) {
        // Atomic additions wrap.
        self.0[bucket].sum.fetch_add(hash, Ordering::Relaxed);
    }

    /// Counts a row and what it costs.
    pub(super) fn note(&self, bucket: usize, cost: u32) {
        let more = |known: u32| Some(known.saturating_add(cost));
        let _ = self.0[bucket].cost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        self.0[bucket].rows.fetch_add(1, Ordering::Relaxed);
    }

    /// A row of the bucket is in no sum, so that it must be looked at.
    pub(super) fn leave_out(&self, bucket: usize) {
        self.0[bucket].is_left_out.store(true, Ordering::Relaxed);
    }

    /// Whether the rows of a bucket are those of this sum, as far as sums tell.
    pub(super) fn is(&self, bucket: usize, sum: u64) -> bool {
        let bucket = &self.0[bucket];
        bucket.sum.load(Ordering::Relaxed) == sum && !bucket.is_left_out.load(Ordering::Relaxed)
    }

    /// Rows of a bucket.
    pub(super) fn rows(&self, bucket: usize) -> u64 {
        u64::from(self.0[bucket].rows.load(Ordering::Relaxed))
    }

    /// What the rows of a bucket cost.
    pub(super) fn cost(&self, bucket: usize) -> u32 {
        self.0[bucket].cost.load(Ordering::Relaxed)
    }
}
