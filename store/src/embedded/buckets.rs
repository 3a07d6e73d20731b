//! Buckets: rows of which the store keeps those of one write set as one entry (docs/adr/0005-packed-rows.md). Packs of
//! a bucket may overlap and repeat rows; of each row the newest counts, whichever pack has it.
//!
//! A pack's key is its bucket's name, the lowest timestamp in its write set's part of the bucket, and a number. A set
//! that was not read against what is stored is newer than all of it, so no pack takes the place of another.

use fjall::{Readable, Slice, Snapshot};

use super::keys::PREFIX;
use super::{EmbeddedStore, open};
use crate::changes::{Change, Group};
use crate::encoding::pack::{self, BucketPlace, Packed};
use crate::{Generation, StoreError};

/// Bytes of a pack's key after the name of its bucket.
const SUFFIX: usize = 12;
/// Bytes from which on the next row begins another pack.
const PACK_BYTES: usize = 32 * 1024;

/// Makes the packs of a group of changes.
#[derive(Default)]
pub(super) struct Packer {
    key: Vec<u8>,
    value: Vec<u8>,
}

/// The packs of one bucket, as read.
#[derive(Default)]
pub(super) struct Bucket {
    /// The full keys' beginning that the packs have in common.
    name: Vec<u8>,
    packs: Vec<Slice>,
}

/// A pack's place: the name of its bucket, the timestamp and the number.
fn split(full: &[u8]) -> Result<(&[u8], &[u8; SUFFIX]), &'static str> {
    full.split_last_chunk::<SUFFIX>().ok_or("a pack's key that is too short")
}

impl Packer {
    /// Calls `put` with the key and the value of each pack that these changes of one bucket make; keys ascend. `prefix`
    /// stands before every key, and numbers of packs begin with `number`.
    pub(super) fn pack<'a, E>(
        &mut self,
        prefix: &[u8; PREFIX],
        place: BucketPlace,
        changes: impl Iterator<Item = Change<'a>> + Clone,
        mut number: u32,
        mut put: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(lowest_us) = changes.clone().map(|change| change.timestamp_us).min() else { return Ok(()) };
        self.value.clear();
        for change in changes {
            if self.value.is_empty() {
                self.key.clear();
                self.key.extend_from_slice(prefix);
                place.push_bucket(&mut self.key, change.key);
                self.key.extend_from_slice(&suffix(lowest_us, number));
                number += 1;
                pack::begin(&mut self.value);
            }
            let clustering = &change.key[place.clustering()..];
            let (timestamp_us, stored) = (change.timestamp_us, change.stored);
            pack::push(&mut self.value, Packed { clustering, timestamp_us, stored });
            if self.value.len() >= PACK_BYTES {
                put(&self.key, &self.value)?;
                self.value.clear();
            }
        }
        if self.value.is_empty() { Ok(()) } else { put(&self.key, &self.value) }
    }
}

/// Timestamps sort as numbers do, so that packs of a bucket stand in the order in which they were written.
fn suffix(lowest_us: i64, number: u32) -> [u8; SUFFIX] {
    let mut out = [0; SUFFIX];
    out[..8].copy_from_slice(&(lowest_us.cast_unsigned() ^ (1 << 63)).to_be_bytes());
    out[8..].copy_from_slice(&number.to_be_bytes());
    out
}

impl Bucket {
    /// Takes a pack in; `false` when it is of another bucket than those before.
    pub(super) fn add(&mut self, full: &[u8], pack: &Slice) -> Result<bool, &'static str> {
        let (name, _) = split(full)?;
        if self.packs.is_empty() {
            self.name.clear();
            self.name.extend_from_slice(name);
        } else if self.name != name {
            return Ok(false);
        }
        self.packs.push(pack.clone());
        Ok(true)
    }

    pub(super) fn clear(&mut self) {
        self.packs.clear();
    }

    /// What stands in the bucket's row keys before the clustering key.
    pub(super) fn partition(&self) -> Result<&[u8], &'static str> {
        let row_key = self.name.get(PREFIX..).ok_or("a pack's key that is too short")?;
        let clustering = row_key.len().checked_sub(BucketPlace::new(0, 0).end());
        clustering.map(|end| &row_key[..end]).ok_or("a pack's key that is too short")
    }

    /// Its rows and deletions in the order of keys, each key once.
    pub(super) fn rows(&self) -> Result<Vec<Packed<'_>>, &'static str> {
        let mut rows = Vec::new();
        for pack in &self.packs {
            for packed in pack::rows(pack) {
                rows.push(packed?);
            }
        }
        if self.packs.len() > 1 {
            // The newest of a key comes first, so that dropping repeated keys keeps it.
            rows.sort_by(|left, right| {
                left.clustering.cmp(right.clustering).then_with(|| newest(right).cmp(&newest(left)))
            });
            rows.dedup_by(|later, earlier| later.clustering == earlier.clustering);
        }
        Ok(rows)
    }

    /// The newest that it has of one row.
    pub(super) fn find(&self, clustering: &[u8]) -> Result<Option<Packed<'_>>, &'static str> {
        let mut found: Option<Packed<'_>> = None;
        for pack in &self.packs {
            for packed in pack::rows(pack) {
                let packed = packed?;
                if packed.clustering == clustering
                    && found.is_none_or(|found| newest(&packed) > newest(&found))
                {
                    found = Some(packed);
                }
            }
        }
        Ok(found)
    }
}

fn newest<'a>(packed: &Packed<'a>) -> (i64, bool, Option<&'a [u8]>) {
    (packed.timestamp_us, packed.stored.is_none(), packed.stored)
}

impl EmbeddedStore {
    /// The packs of the bucket whose full name this is.
    pub(super) fn bucket(
        &self,
        snapshot: &Snapshot,
        name: &[u8],
    ) -> Result<Result<Bucket, &'static str>, StoreError> {
        let mut bucket = Bucket::default();
        for guard in snapshot.prefix(&self.rows, name) {
            let (full, pack) = guard.into_inner().map_err(open::unavailable)?;
            if let Err(what) = bucket.add(&full, &pack) {
                return Ok(Err(what));
            }
        }
        Ok(Ok(bucket))
    }

    /// The changes of a group that win over what its bucket holds, and the first number that no pack of it has.
    pub(super) fn winners<'a>(
        &self,
        generation: Generation,
        place: BucketPlace,
        group: &'a Group<'a>,
    ) -> Result<(Vec<Change<'a>>, u32), StoreError> {
        let mut winners: Vec<Change<'a>> = group.iter().collect();
        let Some(first) = winners.first() else { return Ok((winners, 0)) };
        let mut name = super::keys::of_table(super::keys::Region::Rows, generation, first.table).to_vec();
        place.push_bucket(&mut name, first.key);
        let mut number = 0;
        for guard in self.rows.prefix(&name) {
            let (full, pack) = guard.into_inner().map_err(open::unavailable)?;
            let damaged = |what| self.damaged(what);
            let (_, [.., a, b, c, d]) = split(&full).map_err(damaged)?;
            number = number.max(u32::from_be_bytes([*a, *b, *c, *d]).saturating_add(1));
            let mut left = winners.as_slice();
            let mut beaten = Vec::new();
            for packed in pack::rows(&pack) {
                let packed = packed.map_err(damaged)?;
                // Both are sorted.
                while let Some((change, rest)) = left.split_first() {
                    match change.key[place.clustering()..].cmp(packed.clustering) {
                        std::cmp::Ordering::Less => left = rest,
                        std::cmp::Ordering::Equal => {
                            if !change.wins_over(packed.timestamp_us, packed.stored) {
                                beaten.push(change.key);
                            }
                            break;
                        }
                        std::cmp::Ordering::Greater => break,
                    }
                }
            }
            if !beaten.is_empty() {
                winners.retain(|change| beaten.binary_search(&change.key).is_err());
            }
        }
        Ok((winners, number))
    }
}
