//! Places in a scan: the byte range a scan covers, and cursors bound to a table and a partition.

use std::ops::Bound;

use crate::encoding::key;
use crate::{Cursor, Scan, StoreError, TableSchema};

/// The version of the cursor's bytes. Followed by the table's number, the kind of scan and the encoded row key.
const VERSION: u8 = 1;
const OF_PARTITION: u8 = 0;
const OF_TABLE: u8 = 1;
const HEADER: usize = 4;

/// Encoded row keys from and to which a scan reads; unbounded ends are those of the table.
pub(crate) struct Range {
    /// The lower end.
    pub(crate) from: Bound<Vec<u8>>,
    /// The upper end.
    pub(crate) to: Bound<Vec<u8>>,
    /// Whether the cursor of a reversed scan is the upper end.
    pub(crate) ends_at_cursor: bool,
}

impl Range {
    /// The range of a checked scan.
    pub(crate) fn of(table: &'static TableSchema, scan: &Scan) -> Result<Self, StoreError> {
        let mut range = match &scan.partition {
            None => Self { from: Bound::Unbounded, to: Bound::Unbounded, ends_at_cursor: false },
            Some(partition) => {
                let mut encoded = Vec::new();
                key::push_partition(&mut encoded, partition);
                let start = key::clustering_start(&encoded);
                let bound = |prefix: &crate::Key| {
                    let mut out = start.clone();
                    key::push_clustering(&mut out, table, prefix);
                    out
                };
                Self {
                    from: Bound::Included(scan.from.as_ref().map_or_else(|| start.clone(), bound)),
                    to: Bound::Excluded(scan.to.as_ref().map_or_else(|| key::partition_end(&encoded), bound)),
                    ends_at_cursor: false,
                }
            }
        };
        if let Some(cursor) = &scan.after {
            let after = read(table, scan, cursor)?;
            // A cursor outside the range must not widen it.
            if scan.reverse {
                if precedes(&after, &range.to) {
                    range.to = Bound::Excluded(after);
                    range.ends_at_cursor = true;
                }
            } else if !precedes(&after, &range.from) {
                range.from = Bound::Excluded(after);
            }
        }
        Ok(range)
    }

    /// Whether a key is within.
    pub(crate) fn contains(&self, row_key: &[u8]) -> bool {
        let is_from = match &self.from {
            Bound::Included(from) => from.as_slice() <= row_key,
            Bound::Excluded(from) => from.as_slice() < row_key,
            Bound::Unbounded => true,
        };
        let is_to = match &self.to {
            Bound::Included(to) => row_key <= to.as_slice(),
            Bound::Excluded(to) => row_key < to.as_slice(),
            Bound::Unbounded => true,
        };
        is_from && is_to
    }

    /// Whether no key can be within; such ranges are not given to the backends' maps, which may panic on them.
    pub(crate) fn is_empty(&self) -> bool {
        match (&self.from, &self.to) {
            (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
            _ => false,
        }
    }
}

/// The cursor after a row.
pub(crate) fn cursor(table: &TableSchema, scan: &Scan, row_key: &[u8]) -> Cursor {
    let mut out = Vec::with_capacity(HEADER + row_key.len());
    out.push(VERSION);
    out.extend_from_slice(&table.number.to_be_bytes());
    out.push(kind(scan));
    out.extend_from_slice(row_key);
    Cursor(out.into())
}

/// The row a cursor stands after.
#[cfg(feature = "cql")]
pub(crate) fn row_key(
    table: &'static TableSchema,
    scan: &Scan,
    cursor: &Cursor,
) -> Result<crate::RowKey, StoreError> {
    let bytes = read(table, scan, cursor)?;
    key::read_row_key(table, &bytes).map_err(|what| bad_cursor(table, what))
}

fn bad_cursor(table: &TableSchema, what: &str) -> StoreError {
    StoreError::BadCursor { table: table.name, what: what.to_owned() }
}

fn read(table: &'static TableSchema, scan: &Scan, cursor: &Cursor) -> Result<Vec<u8>, StoreError> {
    let bad = |what: &str| bad_cursor(table, what);
    let (header, row_key) = cursor.0.split_at_checked(HEADER).ok_or_else(|| bad("it is too short"))?;
    if header[0] != VERSION {
        return Err(bad("its version is unknown"));
    }
    if header[1..3] != table.number.to_be_bytes() {
        return Err(bad("it belongs to another table"));
    }
    if header[3] != kind(scan) {
        return Err(bad("it belongs to another kind of scan"));
    }
    let place = key::read_row_key(table, row_key).map_err(bad)?;
    if let Some(partition) = &scan.partition
        && (place.partition != *partition || place.clustering.is_none())
    {
        return Err(bad("it belongs to another partition"));
    }
    Ok(row_key.to_vec())
}

fn kind(scan: &Scan) -> u8 {
    if scan.partition.is_some() { OF_PARTITION } else { OF_TABLE }
}

fn precedes(place: &[u8], bound: &Bound<Vec<u8>>) -> bool {
    match bound {
        Bound::Included(bound) | Bound::Excluded(bound) => place < bound.as_slice(),
        Bound::Unbounded => false,
    }
}
