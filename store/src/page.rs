//! Pages of a scan, cut by rows and by bytes. How a backend finds the rows is not said here.

use crate::check::columns_of;
use crate::encoding::{key, row};
use crate::{Cursor, Page, Row, RowKey, Scan, StoreError, TableSchema, place};

/// Stored bytes after which a page ends before its limit, so that a page of large rows stays bounded.
pub const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Collects the rows of a page.
pub(crate) struct PageBuilder<'a> {
    table: &'static TableSchema,
    scan: &'a Scan,
    rows: Vec<Row>,
    bytes: usize,
    last_key: Vec<u8>,
    next: Option<Cursor>,
}

impl<'a> PageBuilder<'a> {
    /// An empty page.
    pub(crate) fn new(table: &'static TableSchema, scan: &'a Scan) -> Self {
        Self { table, scan, rows: Vec::new(), bytes: 0, last_key: Vec::new(), next: None }
    }

    /// Adds the next row of the range; `false` when the page had been full, so this row begins the next one.
    pub(crate) fn push(&mut self, row_key: &[u8], stored: &[u8]) -> Result<bool, StoreError> {
        if self.is_full() {
            self.next = Some(place::cursor(self.table, self.scan, &self.last_key));
            return Ok(false);
        }
        let decoded = key::read_row_key(self.table, row_key).map_err(|what| corrupt(self.table, what))?;
        self.rows.push(row(self.table, decoded, stored)?);
        self.bytes += row_key.len() + stored.len();
        self.last_key.clear();
        self.last_key.extend_from_slice(row_key);
        Ok(true)
    }

    /// As [`Self::push`], for a row that a backend keeps in a form of its own.
    #[cfg(feature = "cql")]
    pub(crate) fn push_row(&mut self, row: Row) -> bool {
        if self.is_full() {
            self.next = Some(place::cursor(self.table, self.scan, &self.last_key));
            return false;
        }
        self.last_key.clear();
        key::push_row_key(&mut self.last_key, self.table, &row.key);
        let values: usize = row.columns.iter().map(crate::Value::bytes).sum();
        self.bytes += self.last_key.len() + values;
        self.rows.push(row);
        true
    }

    /// How many rows the page takes at most.
    #[cfg(feature = "cql")]
    pub(crate) fn room(&self) -> usize {
        self.scan.limit.saturating_sub(self.rows.len())
    }

    fn is_full(&self) -> bool {
        self.rows.len() == self.scan.limit || self.bytes >= PAGE_BYTES
    }

    /// The page.
    pub(crate) fn finish(self) -> Page {
        Page { rows: self.rows, next: self.next }
    }
}

/// Reads a stored row.
pub(crate) fn row(table: &'static TableSchema, row_key: RowKey, stored: &[u8]) -> Result<Row, StoreError> {
    let (timestamp_us, columns) = row::split_row(stored).map_err(|what| corrupt(table, what))?;
    let columns =
        row::read_columns(columns_of(table, &row_key), columns).map_err(|what| corrupt(table, what))?;
    Ok(Row { key: row_key, columns, timestamp_us })
}

/// A stored row that cannot be read.
pub(crate) fn corrupt(table: &'static TableSchema, what: &str) -> StoreError {
    StoreError::Corrupt { table: table.name, what: what.to_owned() }
}
