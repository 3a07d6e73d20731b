//! Reading rows. Every read sees whole write sets: it reads a snapshot.

use std::ops::Bound;

use fjall::Readable;

use super::buckets::Bucket;
use super::keys::{self, PREFIX, Region};
use super::{EmbeddedStore, open};
use crate::check::{check_row_key, check_scan};
use crate::encoding::key;
use crate::encoding::pack::BucketPlace;
use crate::page::{self, PageBuilder};
use crate::place::Range;
use crate::{Generation, Page, Row, RowKey, Scan, StoreError, TableSchema};

impl EmbeddedStore {
    pub(super) fn read_row(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        row_key: &RowKey,
    ) -> Result<Option<Row>, StoreError> {
        self.catalog.read().require(generation, table)?;
        check_row_key(table, row_key)?;
        let mut full = keys::of_table(Region::Rows, generation, table.number).to_vec();
        let clustering = key::push_row_key(&mut full, table, row_key);
        if let Some(bits) = table.bucket_bits {
            return self.read_packed_row(
                table,
                row_key,
                BucketPlace::new(clustering, u32::from(bits)),
                &full,
            );
        }
        let stored = self.database.snapshot().get(&self.rows, &full).map_err(open::unavailable)?;
        stored.map(|stored| page::row(table, row_key.clone(), &stored)).transpose()
    }

    pub(super) fn read_page(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        scan: &Scan,
    ) -> Result<Page, StoreError> {
        self.catalog.read().require(generation, table)?;
        check_scan(table, scan)?;
        let range = Range::of(table, scan)?;
        let mut page = PageBuilder::new(table, scan);
        if range.is_empty() {
            return Ok(page.finish());
        }
        let prefix = keys::of_table(Region::Rows, generation, table.number);
        if let Some(bits) = table.bucket_bits {
            self.read_packed_page(&mut page, table, scan, &prefix, &range, u32::from(bits))?;
            return Ok(page.finish());
        }
        let bounds = (lower(&prefix, range.from), upper(&prefix, range.to));
        let mut rows = self.database.snapshot().range(&self.rows, bounds);
        while let Some(guard) = if scan.reverse { rows.next_back() } else { rows.next() } {
            let (full, stored) = guard.into_inner().map_err(open::unavailable)?;
            let row_key =
                full.get(PREFIX..).ok_or_else(|| page::corrupt(table, "a key that is too short"))?;
            if !page.push(row_key, &stored)? {
                break;
            }
        }
        Ok(page.finish())
    }

    fn read_packed_row(
        &self,
        table: &'static TableSchema,
        row_key: &RowKey,
        place: BucketPlace,
        full: &[u8],
    ) -> Result<Option<Row>, StoreError> {
        let corrupt = |what| page::corrupt(table, what);
        let mut name = Vec::with_capacity(full.len());
        place.push_bucket(&mut name, full);
        let bucket = self.bucket(&self.database.snapshot(), &name)?.map_err(corrupt)?;
        let found = bucket.find(&full[place.clustering()..]).map_err(corrupt)?;
        let stored = found.and_then(|packed| packed.stored);
        stored.map(|stored| page::row(table, row_key.clone(), stored)).transpose()
    }

    fn read_packed_page(
        &self,
        page: &mut PageBuilder<'_>,
        table: &'static TableSchema,
        scan: &Scan,
        prefix: &[u8; PREFIX],
        range: &Range,
        bits: u32,
    ) -> Result<(), StoreError> {
        let corrupt = |what| page::corrupt(table, what);
        // The buckets that the ends of the range are in are read as wholes.
        let from = range
            .from
            .as_ref()
            .map(|from| bucket_of(table, from, bits).map(|bucket| bucket.unwrap_or_else(|| from.clone())));
        let from = match from {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(from) | Bound::Excluded(from) => Bound::Included(from.map_err(corrupt)?),
        };
        let to = match &range.to {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(to) | Bound::Excluded(to) => {
                let bucket = bucket_of(table, to, bits).map_err(corrupt)?;
                Bound::Excluded(bucket.map_or_else(|| to.clone(), |bucket| keys::after(&bucket)))
            }
        };
        let mut entries =
            self.database.snapshot().range(&self.rows, (lower(prefix, from), upper(prefix, to)));
        let mut bucket = Bucket::default();
        while let Some(guard) = if scan.reverse { entries.next_back() } else { entries.next() } {
            let (full, pack) = guard.into_inner().map_err(open::unavailable)?;
            if !bucket.add(&full, &pack).map_err(corrupt)? {
                if !push_bucket(page, table, scan, range, &bucket)? {
                    return Ok(());
                }
                bucket.clear();
                bucket.add(&full, &pack).map_err(corrupt)?;
            }
        }
        push_bucket(page, table, scan, range, &bucket).map(|_| ())
    }
}

/// Adds a bucket's rows within the range to a page; `false` when the page had been full.
fn push_bucket(
    page: &mut PageBuilder<'_>,
    table: &'static TableSchema,
    scan: &Scan,
    range: &Range,
    bucket: &Bucket,
) -> Result<bool, StoreError> {
    let corrupt = |what| page::corrupt(table, what);
    let mut rows = bucket.rows().map_err(corrupt)?;
    if scan.reverse {
        rows.reverse();
    }
    let Some(first) = rows.first() else { return Ok(true) };
    let mut row_key = bucket.partition().map_err(corrupt)?.to_vec();
    let clustering = row_key.len();
    row_key.reserve(first.clustering.len());
    for packed in rows {
        let Some(stored) = packed.stored else { continue };
        row_key.truncate(clustering);
        row_key.extend_from_slice(packed.clustering);
        if range.contains(&row_key) && !page.push(&row_key, stored)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The name of the bucket of a row key, or of one that has at least the first clustering column; `None` for places that
/// are in no bucket, which sort before or after all buckets of their partition.
fn bucket_of(table: &TableSchema, row_key: &[u8], bits: u32) -> Result<Option<Vec<u8>>, &'static str> {
    let Some(clustering) = key::clustering_at(table, row_key)? else { return Ok(None) };
    let place = BucketPlace::new(clustering, bits);
    Ok((row_key.len() >= place.end()).then(|| {
        let mut name = Vec::with_capacity(place.end());
        place.push_bucket(&mut name, row_key);
        name
    }))
}

fn lower(prefix: &[u8; PREFIX], bound: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match bound {
        Bound::Unbounded => Bound::Included(prefix.to_vec()),
        bound => bound.map(|row_key| [prefix.as_slice(), &row_key].concat()),
    }
}

fn upper(prefix: &[u8; PREFIX], bound: Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match bound {
        Bound::Unbounded => Bound::Excluded(keys::after(prefix)),
        bound => bound.map(|row_key| [prefix.as_slice(), &row_key].concat()),
    }
}
