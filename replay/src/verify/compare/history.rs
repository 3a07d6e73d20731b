//! Comparing `run_history`: not segment by segment, since where these begin and end depends on the chunks they were
//! written in, but entry by entry, with all segments that have one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tidewheel_projector::views::run_history::{self, TABLE, group_start};
use tidewheel_store::{ColumnType, Item, Key, Row, RowKey};

use super::{Found, Ground, Kind, Remedy, describe};

/// An entry that the log says there is.
#[derive(Debug)]
pub(crate) struct Expected {
    /// The entry, as an item of a segment.
    pub(crate) entry: Vec<u8>,
    /// The offset of its record.
    pub(crate) offset: i64,
    /// Whether a stored segment has it.
    pub(crate) is_found: bool,
}

/// By the partition of the row and the number of the entry.
pub(crate) type History = BTreeMap<(Key, u64), Expected>;

/// Compares the segments that are stored with the entries there must be.
pub(crate) fn all(history: &mut History, stored: &[Row], ground: &Ground) -> Vec<Found> {
    let mut all = Vec::new();
    for row in stored {
        if let Some((kind, what, offset)) = difference(history, row, ground) {
            let is_beyond = ground.base_us(row.timestamp_us) > ground.newest_us();
            let remedy = if is_beyond || kind == Kind::Newer { Remedy::Rebuild } else { Remedy::InPlace };
            let (key, stored_us) = (row.key.clone(), Some(row.timestamp_us));
            all.push(Found { table: &TABLE, key, kind, what, offset, remedy, stored_us });
        }
    }
    let is_lost = |expected: &Expected| !expected.is_found && expected.offset < ground.until;
    let mut missing = history.iter().filter(|(_, expected)| is_lost(expected)).peekable();
    while let Some(((partition, first), Expected { offset, .. })) = missing.next() {
        let mut last = *first;
        while missing.next_if(|((other, number), _)| other == partition && *number == last + 1).is_some() {
            last += 1;
        }
        let clustering = Some(run_history::clustering_key(*first));
        let what =
            if *first == last { format!("entry {first}") } else { format!("entries {first} to {last}") };
        all.push(Found {
            table: &TABLE,
            key: RowKey { partition: partition.clone(), clustering },
            kind: Kind::Missing,
            what,
            offset: Some(*offset),
            remedy: Remedy::InPlace,
            stored_us: None,
        });
    }
    all
}

/// What is wrong with a stored segment, the first thing of several. Its entries are found, right or wrong.
fn difference(history: &mut History, stored: &Row, ground: &Ground) -> Option<(Kind, String, Option<i64>)> {
    let (partition, timestamp_us) = (&stored.key.partition, stored.timestamp_us);
    let (first, entries) = match run_history::split(stored.clone()) {
        Ok(segment) => segment,
        Err(error) => return Some((Kind::Edited, error.to_string(), None)),
    };
    let mut wrong = None;
    let mut last = None;
    for (number, entry) in (first..).zip(entries.iter()) {
        let Some(expected) = history.get_mut(&(partition.clone(), number)) else {
            wrong.get_or_insert_with(|| {
                (Kind::Extra, format!("entry {number}, written at {timestamp_us}"), None)
            });
            continue;
        };
        expected.is_found = true;
        if expected.entry != entry.encoded() {
            let offset = expected.offset;
            wrong.get_or_insert_with(|| {
                (Kind::Edited, differing(number, &expected.entry, entry), Some(offset))
            });
        }
        last = Some((number, expected.offset));
    }
    let (last, offset) = match (wrong, last) {
        (None, Some(last)) => last,
        (wrong, _) => return wrong,
    };
    if group_start(last) != group_start(first) {
        let what = format!("entries {first} to {last} are of more than one group");
        return Some((Kind::Edited, what, Some(offset)));
    }
    let expected_us = ground.written_us(offset);
    let kind = match ground.base_us(timestamp_us).cmp(&expected_us) {
        std::cmp::Ordering::Less => Kind::Stale,
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Greater => Kind::Newer,
    };
    let what = format!("up to entry {last}, written at {timestamp_us}, expected at {expected_us}");
    Some((kind, what, Some(offset)))
}

fn differing(number: u64, expected: &[u8], stored: Item<'_>) -> String {
    let mut what = format!("entry {number}");
    let ColumnType::List(fields) = TABLE.columns[0].kind else { return what };
    let values = |entry: Item<'_>| run_history::fields(entry);
    let (expected, stored) = match (values(Item::new(expected)), values(stored)) {
        (Ok(expected), Ok(stored)) => (expected, stored),
        (Err(error), _) | (_, Err(error)) => return format!("{what}: {error}"),
    };
    for (place, field) in fields.iter().enumerate() {
        let (expected, stored) = (expected.get(place), stored.get(place));
        if expected != stored {
            let (expected, stored) = (describe(expected), describe(stored));
            let _ = write!(what, "; {}: expected {expected}, stored {stored}", field.name);
        }
    }
    what
}
