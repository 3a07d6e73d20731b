//! Packs: the rows that one write set has of one bucket of a table, as one entry of the embedded store.
//!
//! Persisted. A bucket is named by its place: the row keys' common beginning up to the clustering key, and the first
//! clustering column with the lowest bits cleared. A pack is a version byte and then, for each row in the order of
//! keys: the length of its clustering key and the key; the length of the stored row and the row, or 0 and the
//! timestamp of a deletion. Lengths are as in stored rows.

use super::row;

/// The version of the encoding.
const VERSION: u8 = 1;
/// Bytes of the column that buckets are cut by.
const COLUMN: usize = 8;

/// Where in the row keys of a table their bucket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BucketPlace {
    clustering: usize,
    bits: u32,
}

/// A row of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed<'a> {
    /// The encoded clustering key.
    pub(crate) clustering: &'a [u8],
    /// The write timestamp.
    pub(crate) timestamp_us: i64,
    /// The stored row; `None` when it was deleted.
    pub(crate) stored: Option<&'a [u8]>,
}

impl BucketPlace {
    /// In keys whose clustering key begins at `clustering`, in a table whose buckets leave out `bits`.
    pub(crate) const fn new(clustering: usize, bits: u32) -> Self {
        Self { clustering, bits }
    }

    /// Where the clustering key begins.
    pub(crate) const fn clustering(self) -> usize {
        self.clustering
    }

    /// Where the bucket's name ends.
    pub(crate) const fn end(self) -> usize {
        self.clustering + COLUMN
    }

    /// Whether two whole row keys are of one bucket.
    pub(crate) fn is_same(self, left: &[u8], right: &[u8]) -> bool {
        left[..self.clustering] == right[..self.clustering] && self.column(left) == self.column(right)
    }

    /// Appends the name of the bucket of a whole row key, or of one that has at least the first clustering column.
    pub(crate) fn push_bucket(self, out: &mut Vec<u8>, row_key: &[u8]) {
        out.extend_from_slice(&row_key[..self.clustering]);
        out.extend_from_slice(&self.column(row_key).to_be_bytes());
    }

    fn column(self, row_key: &[u8]) -> u64 {
        let bytes = row_key[self.clustering..self.end()].iter();
        bytes.fold(0, |column, byte| column << 8 | u64::from(*byte)) & (u64::MAX << self.bits)
    }
}

/// Begins a pack.
pub(crate) fn begin(out: &mut Vec<u8>) {
    out.push(VERSION);
}

/// Appends a row. Rows come in the order of their keys, each once.
pub(crate) fn push(out: &mut Vec<u8>, packed: Packed<'_>) {
    row::push_varint(out, packed.clustering.len() as u64);
    out.extend_from_slice(packed.clustering);
    match packed.stored {
        Some(stored) => {
            row::push_varint(out, stored.len() as u64);
            out.extend_from_slice(stored);
        }
        None => {
            out.push(0);
            out.extend_from_slice(&packed.timestamp_us.to_be_bytes());
        }
    }
}

/// The rows of a pack, the first error last.
pub(crate) fn rows(pack: &[u8]) -> impl Iterator<Item = Result<Packed<'_>, &'static str>> {
    let known = pack.first() == Some(&VERSION);
    let mut rest = if known { &pack[1..] } else { pack };
    let mut ended = false;
    std::iter::from_fn(move || {
        if ended || (known && rest.is_empty()) {
            return None;
        }
        let next = if known { next(&mut rest) } else { Err("unknown version of the pack's encoding") };
        ended = next.is_err();
        Some(next)
    })
}

fn next<'a>(rest: &mut &'a [u8]) -> Result<Packed<'a>, &'static str> {
    let clustering = row::read_sized(rest)?;
    let stored = row::read_sized(rest)?;
    if stored.is_empty() {
        let timestamp = row::take(rest, 8)?.try_into().map_err(|_| "the row ends early")?;
        return Ok(Packed { clustering, timestamp_us: i64::from_be_bytes(timestamp), stored: None });
    }
    let (timestamp_us, _) = row::split_row(stored)?;
    Ok(Packed { clustering, timestamp_us, stored: Some(stored) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Vec<(Vec<u8>, i64, Option<Vec<u8>>)>> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..200);
        let entry = (bytes.clone(), any::<i64>(), proptest::option::of(bytes));
        proptest::collection::vec(entry, 0..9)
    }

    proptest! {
        #[test]
        fn rows_of_a_pack_are_read_back(entries in entries()) {
            let mut pack = Vec::new();
            begin(&mut pack);
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(clustering, timestamp_us, columns)| {
                    let stored = columns.map(|columns| {
                        let mut stored = Vec::new();
                        row::push_row(&mut stored, timestamp_us, &[crate::Value::Blob(columns.into())]);
                        stored
                    });
                    (clustering, timestamp_us, stored)
                })
                .collect();
            for (clustering, timestamp_us, stored) in &entries {
                push(&mut pack, Packed { clustering, timestamp_us: *timestamp_us, stored: stored.as_deref() });
            }
            let read: Result<Vec<_>, _> = rows(&pack).collect();
            let read = read.expect("a pack");
            prop_assert_eq!(read.len(), entries.len());
            for (read, (clustering, timestamp_us, stored)) in read.iter().zip(&entries) {
                prop_assert_eq!(read.clustering, clustering.as_slice());
                prop_assert_eq!(read.timestamp_us, *timestamp_us);
                prop_assert_eq!(read.stored, stored.as_deref());
            }
        }

        #[test]
        fn any_bytes_are_a_pack_or_an_error(bytes in any::<Vec<u8>>()) {
            let rows = rows(&bytes).count();
            prop_assert!(rows <= bytes.len() + 1);
        }

        #[test]
        fn keys_of_a_bucket_stand_together(left in any::<i64>(), right in any::<i64>(), bits in 0_u32..=62) {
            let place = BucketPlace::new(1, bits);
            let key = |value: i64| [[7].as_slice(), &((value as u64) ^ (1 << 63)).to_be_bytes(), b"rest"].concat();
            let (left_key, right_key) = (key(left), key(right));
            prop_assert_eq!(place.is_same(&left_key, &right_key), left >> bits == right >> bits);
            let bucket = |key: &[u8]| {
                let mut out = Vec::new();
                place.push_bucket(&mut out, key);
                out
            };
            prop_assert_eq!(bucket(&left_key) == bucket(&right_key), left >> bits == right >> bits);
            prop_assert!(bucket(&left_key) <= left_key);
            if left <= right {
                prop_assert!(bucket(&left_key) <= bucket(&right_key));
            }
        }
    }

    #[test]
    fn packed_bytes_stay_as_they_are() {
        let mut pack = Vec::new();
        begin(&mut pack);
        let mut stored = Vec::new();
        row::push_row(&mut stored, 258, &[crate::Value::Bool(true)]);
        push(&mut pack, Packed { clustering: b"ab", timestamp_us: 258, stored: Some(&stored) });
        push(&mut pack, Packed { clustering: b"c", timestamp_us: 259, stored: None });
        let rows =
            [&[2, b'a', b'b', 10, 1, 0, 0, 0, 0, 0, 0, 1, 2, 2][..], &[1, b'c', 0, 0, 0, 0, 0, 0, 0, 1, 3]];
        assert_eq!(pack, [&[1][..], rows[0], rows[1]].concat());
    }
}
