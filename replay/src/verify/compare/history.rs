//! Comparing `run_history`: not segment by segment, since where these begin and end depends on the chunks they were
//! written in, but entry by entry, with all segments that have one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tidewheel_projector::views::run_history::{self, TABLE, group_start};
use tidewheel_store::{ColumnType, Key, MemoryStore, Row, RowKey, StoreError, Value};

use super::{Kind, Notes, describe, each};
use crate::verify::Views;

/// An entry that the log says there is.
struct Expected {
    fields: Vec<Value>,
    timestamp_us: i64,
    /// Whether a stored segment has it.
    is_found: bool,
}

/// By the partition of the row and the number of the entry.
type History = BTreeMap<(Key, u64), Expected>;

/// Compares every segment; how many there are.
pub(super) async fn table(
    views: &Views,
    expected: &MemoryStore,
    notes: &mut Notes,
) -> Result<u64, StoreError> {
    let mut history = History::new();
    let mut unreadable = Ok(());
    each(expected, views, &TABLE, |row| {
        let (partition, timestamp_us) = (row.key.partition.clone(), row.timestamp_us);
        match run_history::split(row) {
            // Made record by record, so there is one entry, and the timestamp is its own.
            Ok((first, entries)) => history.extend((first..).zip(entries).map(|(number, fields)| {
                ((partition.clone(), number), Expected { fields, timestamp_us, is_found: false })
            })),
            Err(error) => unreadable = Err(error),
        }
    })
    .await?;
    unreadable?;
    let mut rows = 0;
    each(&*views.store, views, &TABLE, |stored| {
        rows += 1;
        let key = stored.key.clone();
        if let Some((kind, what)) = difference(&mut history, stored) {
            notes.note(&key, kind, what);
        }
    })
    .await?;
    let mut missing = history.into_iter().filter(|(_, expected)| !expected.is_found).peekable();
    while let Some(((partition, first), _)) = missing.next() {
        let mut last = first;
        while missing.next_if(|((other, number), _)| *other == partition && *number == last + 1).is_some() {
            last += 1;
        }
        let key = RowKey { partition, clustering: Some(run_history::clustering_key(first)) };
        let what =
            if first == last { format!("entry {first}") } else { format!("entries {first} to {last}") };
        notes.note(&key, Kind::Missing, what);
    }
    Ok(rows)
}

/// What is wrong with a stored segment, the first thing of several. Its entries are found, right or wrong.
fn difference(history: &mut History, stored: Row) -> Option<(Kind, String)> {
    let (partition, timestamp_us) = (stored.key.partition.clone(), stored.timestamp_us);
    let (first, entries) = match run_history::split(stored) {
        Ok(segment) => segment,
        Err(error) => return Some((Kind::Edited, error.to_string())),
    };
    let mut wrong = None;
    let mut last = None;
    for (number, fields) in (first..).zip(entries) {
        let Some(expected) = history.get_mut(&(partition.clone(), number)) else {
            wrong.get_or_insert_with(|| (Kind::Extra, format!("entry {number}, written at {timestamp_us}")));
            continue;
        };
        expected.is_found = true;
        if expected.fields != fields {
            wrong.get_or_insert_with(|| (Kind::Edited, differing(number, &expected.fields, &fields)));
        }
        last = Some((number, expected.timestamp_us));
    }
    let (last, expected_us) = match (wrong, last) {
        (None, Some(last)) => last,
        (wrong, _) => return wrong,
    };
    if group_start(last) != group_start(first) {
        return Some((Kind::Edited, format!("entries {first} to {last} are of more than one group")));
    }
    let kind = match timestamp_us.cmp(&expected_us) {
        std::cmp::Ordering::Less => Kind::Stale,
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Greater => Kind::Newer,
    };
    Some((kind, format!("up to entry {last}, written at {timestamp_us}, expected at {expected_us}")))
}

fn differing(number: u64, expected: &[Value], stored: &[Value]) -> String {
    let mut what = format!("entry {number}");
    let ColumnType::List(fields) = TABLE.columns[0].kind else { return what };
    for (place, field) in fields.iter().enumerate() {
        let (expected, stored) = (expected.get(place), stored.get(place));
        if expected != stored {
            let (expected, stored) = (describe(expected), describe(stored));
            let _ = write!(what, "; {}: expected {expected}, stored {stored}", field.name);
        }
    }
    what
}
