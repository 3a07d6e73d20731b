//! Reading single rows and pages of one partition. Walks over whole tables are in `walk`.

use std::ops::{Bound, ControlFlow};

use scylla::deserialize::row::ColumnIterator;
use scylla::response::query_result::QueryRowsResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::prepared::PreparedStatement;

use super::CqlStore;
use super::cells::{self, BoundRead};
use super::failure::{Failure, line};
use super::prepared::Table;
use super::slices::{Lower, Slice, slices};
use super::statement::{Shape, Statement};
use crate::check::{check_row_key, check_scan};
use crate::page::{PageBuilder, corrupt};
use crate::place::{self, Range};
use crate::{Column, Generation, Page, Row, RowKey, Scan, StoreError, TableSchema, Value};

/// Rows of the first answer, before their size is known. A row has at most 1 MiB.
const ROWS_FIRST: usize = 32;
/// Bytes an answer should have about.
const ANSWER_BYTES: usize = 2 * 1024 * 1024;
/// Most rows of an answer.
const ROWS_MAX: usize = 2_000;

/// Whether a page takes more rows.
pub(super) type Fill = ControlFlow<()>;

impl CqlStore {
    pub(super) async fn read_row(
        &self,
        generation: Generation,
        schema: &'static TableSchema,
        key: &RowKey,
    ) -> Result<Option<Row>, StoreError> {
        let table = self.table(generation, schema).await?;
        check_row_key(schema, key)?;
        let read = self.row_of(&table, key).await;
        read.map_err(|failure| self.fail(failure, generation, schema.name))
    }

    pub(super) async fn row_of(&self, table: &Table, key: &RowKey) -> Result<Option<Row>, Failure> {
        let (statement, columns) = match key.clustering {
            Some(_) => (Statement::Get, table.schema.columns),
            None => (Statement::GetStatic, table.schema.static_columns),
        };
        let prepared = self.prepared(table, statement).await?;
        let bound = BoundRead::of(key.partition.iter().chain(key.clustering.iter().flatten()));
        let mut answers = Answers::new(prepared, 1);
        while let Some(rows) = answers.next(self, &bound).await? {
            for row in cells_of(table, &rows)? {
                let row = row?;
                let Some(timestamp_us) = written(table, row.last())? else { continue };
                let columns = values(table, columns, &row)?;
                return Ok(Some(Row { key: key.clone(), columns, timestamp_us }));
            }
        }
        Ok(None)
    }

    pub(super) async fn read_page(
        &self,
        generation: Generation,
        schema: &'static TableSchema,
        scan: &Scan,
    ) -> Result<Page, StoreError> {
        let table = self.table(generation, schema).await?;
        check_scan(schema, scan)?;
        let range = Range::of(schema, scan)?;
        let mut page = PageBuilder::new(schema, scan);
        if range.is_empty() {
            return Ok(page.finish());
        }
        let after = scan.after.as_ref().map(|cursor| place::row_key(schema, scan, cursor)).transpose()?;
        let read = match &scan.partition {
            Some(partition) => {
                let (lower, upper) = ends(scan, &range, after.as_ref());
                let slices = slices(lower, upper);
                self.partition_rows(&table, partition, &slices, scan, &mut page).await.map(drop)
            }
            None => self.walk(&table, after.as_ref(), scan, &mut page).await,
        };
        read.map_err(|failure| self.fail(failure, generation, schema.name))?;
        Ok(page.finish())
    }

    /// Adds the rows of a partition's slices to a page.
    pub(super) async fn partition_rows(
        &self,
        table: &Table,
        partition: &[Value],
        slices: &[Slice<'_>],
        scan: &Scan,
        page: &mut PageBuilder<'_>,
    ) -> Result<Fill, Failure> {
        for at in 0..slices.len() {
            let at = if scan.reverse { slices.len() - 1 - at } else { at };
            let Some(slice) = slices.get(at) else { continue };
            let shape = Shape {
                equal: slice.equal.len(),
                after: slice.after.is_some(),
                before: slice.before.is_some(),
                reverse: scan.reverse,
            };
            let prepared = self.prepared(table, Statement::Slice(shape)).await?;
            let mut bound = BoundRead::of(partition.iter().chain(slice.equal));
            bound.values.extend(slice.after.into_iter().chain(slice.before));
            // One more than fits tells whether the page is the last.
            let wanted = page.room().saturating_add(1);
            let mut answers = Answers::new(prepared, wanted);
            while let Some(rows) = answers.next(self, &bound).await? {
                for row in cells_of(table, &rows)? {
                    let row = row?;
                    let Some(timestamp_us) = written(table, row.last())? else { continue };
                    let (key, columns) = row.split_at(table.schema.clustering_key.len().min(row.len()));
                    let clustering = values(table, table.schema.clustering_key, key)?;
                    let columns = values(table, table.schema.columns, columns)?;
                    let key = RowKey { partition: partition.to_vec(), clustering: Some(clustering) };
                    if !page.push_row(Row { key, columns, timestamp_us }) {
                        return Ok(Fill::Break(()));
                    }
                }
            }
        }
        Ok(Fill::Continue(()))
    }
}

/// The ends of a checked scan's range. A cursor outside of the range does not widen it.
fn ends<'a>(
    scan: &'a Scan,
    range: &Range,
    after: Option<&'a RowKey>,
) -> (Option<Lower<'a>>, Option<&'a [Value]>) {
    let after = after.and_then(|key| key.clustering.as_deref());
    let mut lower = scan.from.as_deref().map(|key| Lower { key, inclusive: true });
    let mut upper = scan.to.as_deref();
    match after {
        Some(key) if !scan.reverse && matches!(range.from, Bound::Excluded(_)) => {
            lower = Some(Lower { key, inclusive: false });
        }
        Some(key) if scan.reverse && range.ends_at_cursor => upper = Some(key),
        _ => {}
    }
    (lower, upper)
}

/// The answers of one statement, each of about as many bytes as it should have.
pub(super) struct Answers {
    prepared: PreparedStatement,
    state: Option<PagingState>,
    wanted: usize,
}

impl Answers {
    /// For a statement of whose rows about `wanted` are wanted.
    pub(super) fn new(mut prepared: PreparedStatement, wanted: usize) -> Self {
        prepared.set_page_size(rows_of(wanted.min(ROWS_FIRST)));
        Self { prepared, state: Some(PagingState::start()), wanted }
    }

    /// The next answer, which may be empty; none after the last.
    pub(super) async fn next(
        &mut self,
        store: &CqlStore,
        bound: &BoundRead<'_>,
    ) -> Result<Option<QueryRowsResult>, Failure> {
        let Some(state) = self.state.take() else { return Ok(None) };
        let mut patience = store.patience();
        let (result, next) = loop {
            let answer = {
                let room = store.room.acquire().await;
                let _room = room.map_err(|error| Failure::Transient(line(&error)))?;
                store.session.execute_single_page(&self.prepared, bound, state.clone()).await
            };
            match answer {
                Ok(answer) => break answer,
                Err(error) => patience.bear(store.judge.request(&error)).await?,
            }
        };
        if let PagingStateResponse::HasMorePages { state } = next {
            self.state = Some(state);
        }
        let rows = result.into_rows_result().map_err(|error| Failure::Refused(line(&error)))?;
        let bytes_of_row = rows.rows_bytes_size().checked_div(rows.rows_num()).unwrap_or(0).max(1);
        self.wanted = self.wanted.saturating_sub(rows.rows_num());
        self.prepared.set_page_size(rows_of((ANSWER_BYTES / bytes_of_row).min(ROWS_MAX).min(self.wanted)));
        Ok(Some(rows))
    }
}

fn rows_of(count: usize) -> i32 {
    i32::try_from(count.max(1)).unwrap_or(i32::MAX)
}

/// The cells of a row as they came.
pub(super) type Cells<'a> = Vec<Option<&'a [u8]>>;

/// The rows of an answer.
pub(super) fn cells_of<'a>(
    table: &Table,
    rows: &'a QueryRowsResult,
) -> Result<impl Iterator<Item = Result<Cells<'a>, Failure>>, Failure> {
    let schema = table.schema;
    let broken = move |error: &dyn std::fmt::Display| Failure::Final(corrupt(schema, &line(error)));
    let rows = rows.rows::<ColumnIterator<'_, '_>>().map_err(|error| broken(&error))?;
    Ok(rows.map(move |row| {
        let row = row.map_err(|error| broken(&error))?;
        row.map(|column| match column {
            Ok(column) => Ok(column.slice.map(|slice| slice.as_slice())),
            Err(error) => Err(broken(&error)),
        })
        .collect()
    }))
}

/// When a row was written; none when there is no row.
pub(super) fn written(table: &Table, cell: Option<&Option<&[u8]>>) -> Result<Option<i64>, Failure> {
    let Some(Some(bytes)) = cell else { return Ok(None) };
    let time = cells::read_integer(bytes);
    time.map(Some).map_err(|what| Failure::Final(corrupt(table.schema, &format!("its write time is {what}"))))
}

/// The values of columns; cells beyond them are left alone.
pub(super) fn values(
    table: &Table,
    columns: &[Column],
    cells: &[Option<&[u8]>],
) -> Result<Vec<Value>, Failure> {
    let read = |(column, cell): (&Column, &Option<&[u8]>)| {
        cells::read(column.kind, *cell)
            .map_err(|what| Failure::Final(corrupt(table.schema, &format!("column {}: {what}", column.name))))
    };
    let values: Vec<Value> = columns.iter().zip(cells).map(read).collect::<Result<_, _>>()?;
    if values.len() < columns.len() {
        return Err(Failure::Final(corrupt(table.schema, "an answer has too few columns")));
    }
    Ok(values)
}
