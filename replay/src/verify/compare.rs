//! Comparing one table, row by row; the history, whose rows may be cut in other ways, entry by entry.

mod history;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tidewheel_projector::views::run_history;
use tidewheel_store::{Column, MemoryStore, Row, RowKey, Scan, StateStore, StoreError, TableSchema, Value};

use super::{Difference, Kind, Report, VerifyError, Views};

const PAGE_ROWS: usize = 1_000;
/// Longest description of one value.
const VALUE_CHARACTERS_MAX: usize = 120;

/// Compares every row of `table`.
pub(super) async fn table(
    views: &Views,
    table: &'static TableSchema,
    expected: &MemoryStore,
    differences_max: usize,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let mut notes = Notes { table, most: differences_max, found: Vec::new(), count: 0 };
    let rows = if table.name == run_history::TABLE.name {
        history::table(views, expected, &mut notes).await?
    } else {
        rows(views, expected, &mut notes).await?
    };
    report.rows_by_table.insert(table.name, rows);
    report.difference_count += notes.count;
    let room = differences_max.saturating_sub(report.differences.len());
    report.differences.extend(notes.found.into_iter().take(room));
    Ok(())
}

/// The differences of a table.
struct Notes {
    table: &'static TableSchema,
    /// How many are described.
    most: usize,
    found: Vec<Difference>,
    count: u64,
}

impl Notes {
    fn note(&mut self, key: &RowKey, kind: Kind, what: String) {
        self.count += 1;
        if self.found.len() < self.most {
            let key = describe_key(self.table, key);
            self.found.push(Difference { table: self.table.name, key, kind, what });
        }
    }
}

/// Compares row by row; how many there are.
async fn rows(views: &Views, expected: &MemoryStore, notes: &mut Notes) -> Result<u64, StoreError> {
    let table = notes.table;
    let mut missing: BTreeMap<RowKey, Row> = BTreeMap::new();
    each(expected, views, table, |row| {
        missing.insert(row.key.clone(), row);
    })
    .await?;
    let mut rows = 0;
    each(&*views.store, views, table, |stored| {
        rows += 1;
        match missing.remove(&stored.key) {
            None => notes.note(&stored.key, Kind::Extra, format!("written at {}", stored.timestamp_us)),
            Some(row) => {
                if let Some((kind, what)) = difference(table, &row, &stored) {
                    notes.note(&stored.key, kind, what);
                }
            }
        }
    })
    .await?;
    for (key, row) in missing {
        notes.note(&key, Kind::Missing, format!("to be written at {}", row.timestamp_us));
    }
    Ok(rows)
}

async fn each(
    store: &dyn StateStore,
    views: &Views,
    table: &'static TableSchema,
    mut take: impl FnMut(Row) + Send,
) -> Result<(), StoreError> {
    let mut scan =
        Scan { partition: None, from: None, to: None, after: None, reverse: false, limit: PAGE_ROWS };
    loop {
        let page = store.scan(views.generation, table, &scan).await?;
        page.rows.into_iter().for_each(&mut take);
        match page.next {
            Some(next) => scan.after = Some(next),
            None => return Ok(()),
        }
    }
}

fn difference(table: &TableSchema, expected: &Row, stored: &Row) -> Option<(Kind, String)> {
    if expected == stored {
        return None;
    }
    let kind = match stored.timestamp_us.cmp(&expected.timestamp_us) {
        std::cmp::Ordering::Less => Kind::Stale,
        std::cmp::Ordering::Equal => Kind::Edited,
        std::cmp::Ordering::Greater => Kind::Newer,
    };
    let mut what = String::new();
    if kind != Kind::Edited {
        let _ = write!(what, "written at {}, expected at {}", stored.timestamp_us, expected.timestamp_us);
    }
    let columns = if expected.key.clustering.is_some() { table.columns } else { table.static_columns };
    for (place, column) in columns.iter().enumerate() {
        let (expected, stored) = (expected.columns.get(place), stored.columns.get(place));
        if expected != stored {
            let separator = if what.is_empty() { "" } else { "; " };
            let (expected, stored) = (describe(expected), describe(stored));
            let _ = write!(what, "{separator}{}: expected {expected}, stored {stored}", column.name);
        }
    }
    Some((kind, what))
}

fn describe_key(table: &TableSchema, key: &RowKey) -> String {
    let pairs = |columns: &'static [Column], values: &[Value]| {
        let pair = |(column, value): (&Column, &Value)| format!("{}={}", column.name, describe(Some(value)));
        columns.iter().zip(values).map(pair).collect::<Vec<_>>()
    };
    let mut parts = pairs(table.partition_key, &key.partition);
    parts.extend(key.clustering.iter().flat_map(|values| pairs(table.clustering_key, values)));
    parts.join(" ")
}

fn describe(value: Option<&Value>) -> String {
    let text = match value {
        None => "nothing".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Int(value)) => value.to_string(),
        Some(Value::Text(text)) => format!("{text:?}"),
        Some(Value::Blob(bytes)) => format!("{bytes:?}"),
        Some(Value::Uuid(bytes)) => tidewheel_schemas::EventId::from_bytes(*bytes).to_string(),
        Some(Value::List(items)) => {
            let item = |item: &Vec<Value>| {
                item.iter().map(|value| describe(Some(value))).collect::<Vec<_>>().join(", ")
            };
            items.iter().map(|values| format!("({})", item(values))).collect::<Vec<_>>().join(" ")
        }
    };
    if text.chars().count() <= VALUE_CHARACTERS_MAX {
        return text;
    }
    text.chars().take(VALUE_CHARACTERS_MAX).chain(['…']).collect()
}
