//! A write set made ready for a backend: checked, encoded, and with one winning write for each row key.

use crate::encoding::pack::BucketPlace;
use crate::encoding::{key, row};
use crate::{StoreError, TableSchema, WriteSet};

/// What is to become of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change<'a> {
    /// The table's number.
    pub(crate) table: u16,
    /// The encoded row key.
    pub(crate) key: &'a [u8],
    /// The write timestamp.
    pub(crate) timestamp_us: i64,
    /// The stored row; `None` deletes it.
    pub(crate) stored: Option<&'a [u8]>,
}

/// Most bytes that an encoded row has beside its values: version and timestamp, marks, and tags and lengths of its
/// columns. A guess that saves growing the buffer; nothing breaks where it is too low.
const BESIDE_VALUES: usize = 64;

/// The changes of one write set; the bytes stand in one buffer.
pub(crate) struct Changes {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// Changes that are kept together: one row's, or those of a bucket.
pub(crate) struct Group<'a> {
    bytes: &'a [u8],
    entries: &'a [Entry],
}

struct Entry {
    table: u16,
    bucket: Option<BucketPlace>,
    /// Where the key begins to differ from those of its table, as a number: what most comparisons end with.
    prefix: u64,
    start: usize,
    key_end: usize,
    end: usize,
    timestamp_us: i64,
    deleted: bool,
}

impl Changes {
    /// Checks and encodes every write; refuses the whole set when one does not fit.
    pub(crate) fn of(
        writes: &WriteSet,
        mut known: impl FnMut(&'static TableSchema) -> Result<(), StoreError>,
    ) -> Result<Self, StoreError> {
        let (mut bytes, mut rows) = (0, 0);
        let mut table = None;
        for write in writes.iter() {
            // Writes of a table stand in rows.
            if !table.is_some_and(|table| std::ptr::eq(table, write.table)) {
                known(write.table)?;
                table = Some(write.table);
            }
            bytes += write.checked_bytes()? + BESIDE_VALUES;
            rows += 1;
        }
        let mut changes = Self { bytes: Vec::with_capacity(bytes), entries: Vec::with_capacity(rows) };
        for write in writes.iter() {
            let start = changes.bytes.len();
            let clustering = key::push_row_key(&mut changes.bytes, write.table, &write.key);
            let bucket =
                write.table.bucket_bits.map(|bits| BucketPlace::new(clustering - start, u32::from(bits)));
            let key_end = changes.bytes.len();
            if let Some(columns) = &write.columns {
                row::push_row(&mut changes.bytes, write.timestamp_us, columns);
            }
            changes.entries.push(Entry {
                table: write.table.number,
                bucket,
                prefix: 0,
                start,
                key_end,
                end: changes.bytes.len(),
                timestamp_us: write.timestamp_us,
                deleted: write.columns.is_none(),
            });
        }
        changes.set_prefixes();
        changes.keep_winners();
        Ok(changes)
    }

    /// Keys of an index have long beginnings in common, which say nothing about their order.
    fn set_prefixes(&mut self) {
        let mut beginnings = Beginnings::default();
        for entry in &self.entries {
            beginnings.add(entry.table, &self.bytes[entry.start..entry.key_end]);
        }
        for entry in &mut self.entries {
            let common = beginnings.common(entry.table);
            entry.prefix = prefix(&self.bytes[entry.start + common..entry.key_end]);
        }
    }

    /// The changes, sorted by table and key, each key once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Change<'_>> {
        self.entries.iter().map(|entry| entry.change(&self.bytes))
    }

    /// The changes, sorted by table and key, in groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let together = |left: &Entry, right: &Entry| match (left.bucket, right.bucket) {
            (Some(left_place), Some(right_place)) => {
                left.table == right.table
                    && left_place == right_place
                    && left_place.is_same(left.change(&self.bytes).key, right.change(&self.bytes).key)
            }
            _ => false,
        };
        self.entries.chunk_by(together).map(|entries| Group { bytes: &self.bytes, entries })
    }

    /// The deletions of rows that are in no bucket, sorted by table and key.
    pub(crate) fn deletions(&self) -> impl Iterator<Item = Change<'_>> {
        let entries = self.entries.iter().filter(|entry| entry.deleted && entry.bucket.is_none());
        entries.map(|entry| entry.change(&self.bytes))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of their keys and rows.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The lowest and highest timestamp; `None` when nothing changes.
    pub(crate) fn timestamps_us(&self) -> Option<(i64, i64)> {
        let lowest = self.entries.iter().map(|entry| entry.timestamp_us).min()?;
        let highest = self.entries.iter().map(|entry| entry.timestamp_us).max()?;
        Some((lowest, highest))
    }

    fn keep_winners(&mut self) {
        let bytes = &self.bytes;
        self.entries.sort_unstable_by(|left, right| {
            (left.table, left.prefix).cmp(&(right.table, right.prefix)).then_with(|| {
                let (left, right) = (left.change(bytes), right.change(bytes));
                // The winner of a key comes first, so that dropping repeated keys keeps it.
                left.key.cmp(right.key).then_with(|| wins(&right).cmp(&wins(&left)))
            })
        });
        self.entries.dedup_by(|later, earlier| {
            (later.table, later.prefix) == (earlier.table, earlier.prefix)
                && later.change(bytes).key == earlier.change(bytes).key
        });
    }
}

/// What the keys of each table begin with, all of them.
#[derive(Default)]
struct Beginnings<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Beginnings<'a> {
    fn add(&mut self, table: u16, key: &'a [u8]) {
        match self.0.iter_mut().find(|(of, _)| *of == table) {
            None => self.0.push((table, key)),
            Some((_, beginning)) => {
                if !key.starts_with(beginning) {
                    let common = beginning.iter().zip(key).take_while(|(left, right)| left == right).count();
                    *beginning = &beginning[..common];
                }
            }
        }
    }

    /// How many bytes the keys of a table have in common.
    fn common(&self, table: u16) -> usize {
        self.0.iter().find(|(of, _)| *of == table).map_or(0, |(_, beginning)| beginning.len())
    }
}

/// The first eight bytes of a key's rest, zeros where it is shorter. Orders as keys do where it differs.
fn prefix(key: &[u8]) -> u64 {
    match key.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None => {
            let mut first = [0; 8];
            first[..key.len()].copy_from_slice(key);
            u64::from_be_bytes(first)
        }
    }
}

impl Group<'_> {
    /// The changes, sorted by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Change<'_>> + Clone {
        self.entries.iter().map(|entry| entry.change(self.bytes))
    }

    /// Where in the keys the bucket stands; `None` for a row that is in none.
    pub(crate) fn bucket(&self) -> Option<BucketPlace> {
        self.entries.first().and_then(|entry| entry.bucket)
    }
}

impl Entry {
    fn change<'a>(&self, bytes: &'a [u8]) -> Change<'a> {
        Change {
            table: self.table,
            key: &bytes[self.start..self.key_end],
            timestamp_us: self.timestamp_us,
            stored: (!self.deleted).then(|| &bytes[self.key_end..self.end]),
        }
    }
}

impl Change<'_> {
    /// Whether this change wins over a row as stored.
    pub(crate) fn wins_over_row(&self, stored: &[u8]) -> Result<bool, &'static str> {
        let (timestamp_us, _) = row::split_row(stored)?;
        Ok(wins(self) > (timestamp_us, false, Some(stored)) || older_wins())
    }

    /// Whether this change wins over what a pack has of its row: the timestamp and the row, `None` a deletion.
    pub(crate) fn wins_over(&self, timestamp_us: i64, stored: Option<&[u8]>) -> bool {
        wins(self) > (timestamp_us, stored.is_none(), stored) || older_wins()
    }

    /// Whether this change wins over a deletion.
    pub(crate) fn wins_over_deletion(&self, timestamp_us: i64) -> bool {
        wins(self) > (timestamp_us, true, None) || older_wins()
    }
}

/// The rule of this file switched off, for tests that must notice.
#[cfg(feature = "mutation")]
fn older_wins() -> bool {
    tidewheel_schemas::mutation::is(tidewheel_schemas::mutation::Mutation::OlderWriteWins)
}

#[cfg(not(feature = "mutation"))]
const fn older_wins() -> bool {
    false
}

/// Orders writes to one key: the highest timestamp, then a deletion, then the greater stored row (of one
/// timestamp, so the greater columns).
fn wins<'a>(change: &Change<'a>) -> (i64, bool, Option<&'a [u8]>) {
    (change.timestamp_us, change.stored.is_none(), change.stored)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Write;
    use crate::suite::tables::{entry, part};

    /// Writes whose keys have more or less in common with each other, some of them to the same key.
    fn writes() -> impl Strategy<Value = Vec<Write>> {
        let bucket = prop_oneof![Just("a long beginning of all keys"), Just("a long beginning"), Just("a")];
        let index = (bucket, 0_i64..3, 0_i64..3, "[a-c]{0,9}", 0_i64..9, any::<bool>()).prop_map(
            |(bucket, day, offset, name, at, present)| entry(bucket, day, offset, &name, at, present),
        );
        let entity = (0_i64..3, 0_i64..3, 0_i64..9, any::<bool>())
            .prop_map(|(id, slot, at, present)| part(id, slot, at, present.then_some("body")));
        prop::collection::vec(prop_oneof![index, entity], 0..40)
    }

    proptest! {
        #[test]
        fn changes_are_sorted_and_each_key_is_there_once_with_the_write_that_wins(entities in writes()) {
            let set = WriteSet { entities, ..WriteSet::default() };
            let mut expected = std::collections::BTreeMap::new();
            for write in set.iter() {
                let (mut row_key, mut stored) = (Vec::new(), Vec::new());
                key::push_row_key(&mut row_key, write.table, &write.key);
                if let Some(columns) = &write.columns {
                    row::push_row(&mut stored, write.timestamp_us, columns);
                }
                let stored = write.columns.is_some().then_some(stored);
                let (table, change) = (write.table.number, (write.timestamp_us, stored.is_none(), stored));
                let winner = expected.entry((table, row_key)).or_insert_with(|| change.clone());
                *winner = change.max(winner.clone());
            }
            let changes = Changes::of(&set, |_| Ok(())).expect("writes that fit");
            let found = changes.iter().map(|change| {
                let stored = change.stored.map(<[u8]>::to_vec);
                ((change.table, change.key.to_vec()), (change.timestamp_us, stored.is_none(), stored))
            });
            prop_assert_eq!(found.collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
        }
    }
}
