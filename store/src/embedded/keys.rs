//! The regions of the one fjall keyspace and the keys in them. Persisted; never reused.

use crate::{Generation, Source};

/// The version of this layout, under its own key.
pub(super) const FORMAT: [u8; 1] = [0];
/// What [`FORMAT`] holds.
pub(super) const FORMAT_VERSION: [u8; 1] = [3];

/// A region of the keyspace.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Region {
    /// Declarations by generation and table.
    Catalog = 1,
    /// Highest write timestamps by generation and source.
    Marks = 2,
    /// Rows by generation, table and row key; of tables that have buckets, packs by bucket.
    Rows = 3,
    /// Timestamps of deletions by generation, table and row key; apart from the rows, so that no scan meets them.
    Deletions = 4,
    /// Generations whose rows are being removed.
    Dropping = 5,
}

/// Bytes before the row key.
pub(super) const PREFIX: usize = 7;

/// Everything of a generation in a region.
pub(super) fn of_generation(region: Region, generation: Generation) -> [u8; 5] {
    let mut out = [0; 5];
    out[0] = region as u8;
    out[1..].copy_from_slice(&generation.0.to_be_bytes());
    out
}

/// Everything of a table in a region.
pub(super) fn of_table(region: Region, generation: Generation, table: u16) -> [u8; PREFIX] {
    let mut out = [0; PREFIX];
    out[..5].copy_from_slice(&of_generation(region, generation));
    out[5..].copy_from_slice(&table.to_be_bytes());
    out
}

/// The key of a source's mark; without a source, of all writers that name none.
pub(super) fn of_mark(generation: Generation, source: Option<Source>) -> Vec<u8> {
    let mut out = of_generation(Region::Marks, generation).to_vec();
    if let Some(source) = source {
        out.extend_from_slice(&source.0.to_be_bytes());
    }
    out
}

/// The generation in a key of any region.
pub(super) fn generation(key: &[u8]) -> Option<Generation> {
    Some(Generation(u32::from_be_bytes(key.get(1..5)?.try_into().ok()?)))
}

/// The first key after all keys with this prefix. A region's number is below 255, so there is one.
pub(super) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut out = prefix.to_vec();
    for byte in out.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    out
}
