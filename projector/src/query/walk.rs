//! Walking an index that is bucketed by day and log partition, newest first, from any place in it.
//!
//! The order is total (time, partition, offset, item), so no page boundary loses or repeats a tie.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use tidewheel_api::{Code, Cursor, Problem};
use tidewheel_store::{Key, Row, StoreError, TableSchema};

use crate::load::Views;
use crate::views::index_days::{self, Index};

/// Where a row stands in the order of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) time_us: i64,
    pub(super) partition: u32,
    pub(super) offset: i64,
    pub(super) item: u64,
}

const VERSION: u8 = 1;

impl Place {
    /// Rows sort by this, smallest first.
    const fn rank(&self) -> (Reverse<i64>, u32, Reverse<i64>, u64) {
        (Reverse(self.time_us), self.partition, Reverse(self.offset), self.item)
    }

    /// Before every row that is older than `time_us`, after every other.
    pub(super) const fn older_than(time_us: i64) -> Self {
        Self { time_us, partition: u32::MAX, offset: i64::MIN, item: u64::MAX }
    }

    /// The place as a cursor of the list `list`.
    pub(super) fn cursor(&self, list: u8) -> Cursor {
        let mut bytes = vec![VERSION, list];
        bytes.extend_from_slice(&self.time_us.to_be_bytes());
        bytes.extend_from_slice(&self.partition.to_be_bytes());
        bytes.extend_from_slice(&self.offset.to_be_bytes());
        bytes.extend_from_slice(&self.item.to_be_bytes());
        Cursor::new(bytes)
    }

    /// The place a cursor of the list `list` names.
    pub(super) fn from_cursor(cursor: &Cursor, list: u8) -> Result<Self, Problem> {
        let bad = || {
            Problem::new(
                Code::InvalidCursor,
                "the cursor is of another list; pass `next_cursor` of this list's page before",
            )
            .field("cursor")
        };
        let bytes = <[u8; 30]>::try_from(cursor.bytes()).map_err(|_| bad())?;
        let (kind, rest) = bytes.split_first_chunk::<2>().ok_or_else(bad)?;
        let (time_us, rest) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let (partition, rest) = rest.split_first_chunk::<4>().ok_or_else(bad)?;
        let (offset, rest) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let item = rest.first_chunk::<8>().ok_or_else(bad)?;
        if *kind != [VERSION, list] {
            return Err(bad());
        }
        Ok(Self {
            time_us: i64::from_be_bytes(*time_us),
            partition: u32::from_be_bytes(*partition),
            offset: i64::from_be_bytes(*offset),
            item: u64::from_be_bytes(*item),
        })
    }
}

/// An index and how its rows lie in it.
pub(super) trait Source: Send + Sync {
    /// A row as read.
    type Item: Send;
    /// The table.
    fn table(&self) -> &'static TableSchema;
    /// Which index's days it is bucketed by.
    fn days(&self) -> Index;
    /// The partition key of a bucket.
    fn partition_key(&self, namespace: &str, day: i64, partition: u32) -> Key;
    /// The day a place lies in.
    fn day_of(&self, place: &Place) -> i64;
    /// The first clustering key after `place`, in the bucket of `partition` on the day of `place`.
    fn key_after(&self, place: &Place, partition: u32) -> Key;
    /// Reads a row.
    fn read(&self, partition: u32, row: Row) -> Result<(Place, Self::Item), StoreError>;
}

struct Stream<T> {
    partition: u32,
    key: Key,
    from: Option<Key>,
    after: Option<tidewheel_store::Cursor>,
    rows: VecDeque<(Place, T)>,
    exhausted: bool,
}

/// A walk over an index, newest first.
pub(super) struct Walk<'a, S: Source> {
    views: &'a Views,
    source: S,
    start: Option<Place>,
    /// Buckets not opened yet, newest day last.
    days: Vec<(i64, Vec<(String, u32)>)>,
    streams: Vec<Stream<S::Item>>,
    page_rows: usize,
}

impl<'a, S: Source> Walk<'a, S> {
    /// Starts after `start`, or at the newest row.
    pub(super) async fn start(
        views: &'a Views,
        source: S,
        namespaces: &[&str],
        start: Option<Place>,
        page_rows: usize,
    ) -> Result<Self, StoreError> {
        let first_day = start.as_ref().map(|place| source.day_of(place));
        let mut days = BTreeMap::<i64, Vec<(String, u32)>>::new();
        for namespace in namespaces {
            let from = first_day.map(|day| vec![tidewheel_store::Value::Int(day)]);
            let key = source.days().partition_key(namespace);
            views
                .each(&index_days::TABLE, key, from, |row| {
                    let (day, partition) = index_days::read(row)?;
                    days.entry(day).or_default().push(((*namespace).to_owned(), partition));
                    Ok(())
                })
                .await?;
        }
        Ok(Self { views, source, start, days: days.into_iter().collect(), streams: Vec::new(), page_rows })
    }

    /// The next row; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<(Place, S::Item)>, StoreError> {
        loop {
            for stream in &mut self.streams {
                if stream.rows.is_empty() && !stream.exhausted {
                    let (key, from, after) = (stream.key.clone(), stream.from.clone(), stream.after.take());
                    let table = self.source.table();
                    let page = self.views.page(table, key, from, after, self.page_rows).await?;
                    for row in page.rows {
                        stream.rows.push_back(self.source.read(stream.partition, row)?);
                    }
                    stream.exhausted = page.next.is_none();
                    stream.after = page.next;
                }
            }
            let newest = self
                .streams
                .iter_mut()
                .filter(|stream| !stream.rows.is_empty())
                .min_by_key(|stream| stream.rows.front().map(|(place, _)| place.rank()));
            if let Some(stream) = newest {
                return Ok(stream.rows.pop_front());
            }
            let Some((day, buckets)) = self.days.pop() else { return Ok(None) };
            self.streams = buckets
                .into_iter()
                .map(|(namespace, partition)| self.open(day, &namespace, partition))
                .collect();
        }
    }

    fn open(&self, day: i64, namespace: &str, partition: u32) -> Stream<S::Item> {
        let start = self.start.as_ref().filter(|place| self.source.day_of(place) == day);
        Stream {
            partition,
            key: self.source.partition_key(namespace, day, partition),
            from: start.map(|place| self.source.key_after(place, partition)),
            after: None,
            rows: VecDeque::new(),
            exhausted: false,
        }
    }
}
