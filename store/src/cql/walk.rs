//! Walking a whole table in the database's own order, that of the partitions' tokens. A cursor is a row's key: its
//! token says where to go on.

use super::CqlStore;
use super::cells::BoundRead;
use super::failure::{Failure, line};
use super::prepared::Table;
use super::read::{Answers, Cells, cells_of, values, written};
use super::slices::{Lower, slices};
use super::statement::{Shape, Statement};
use crate::page::PageBuilder;
use crate::{Key, Row, RowKey, Scan, Value};

/// A whole partition.
const WHOLE: Shape = Shape { equal: 0, after: false, before: false, reverse: false };

impl CqlStore {
    /// Adds the rows after `after`, or all, to a page.
    pub(super) async fn walk(
        &self,
        table: &Table,
        after: Option<&RowKey>,
        scan: &Scan,
        page: &mut PageBuilder<'_>,
    ) -> Result<(), Failure> {
        let Some(after) = after else {
            return self.walk_on(table, Statement::Everything, &BoundRead::of([]), page).await;
        };
        let lower = after.clustering.as_deref().map(|key| Lower { key, inclusive: false });
        let rest = slices(lower, None);
        if self.partition_rows(table, &after.partition, &rest, scan, page).await?.is_break() {
            return Ok(());
        }
        let token = self.token(table, &after.partition).await?;
        // Partitions that share a token are rare, and still none may be left out.
        for partition in self.after_within_token(table, token, &after.partition).await? {
            if !table.schema.static_columns.is_empty() {
                let key = RowKey { partition: partition.clone(), clustering: None };
                if let Some(row) = self.row_of(table, &key).await?
                    && !page.push_row(row)
                {
                    return Ok(());
                }
            }
            let whole = slices(None, None);
            if self.partition_rows(table, &partition, &whole, scan, page).await?.is_break() {
                return Ok(());
            }
        }
        self.walk_on(table, Statement::AfterToken, &BoundRead::token(token), page).await
    }

    async fn token(&self, table: &Table, partition: &[Value]) -> Result<i64, Failure> {
        let prepared = self.prepared(table, Statement::Slice(WHOLE)).await?;
        let token = prepared
            .calculate_token(&BoundRead::of(partition))
            .map_err(|error| Failure::Refused(line(&error)))?;
        let token = token.map(|token| token.value());
        token.ok_or_else(|| {
            Failure::Refused("the database's partitioner is unknown; Murmur3Partitioner is needed".to_owned())
        })
    }

    /// The partitions of a token that follow one of them, or all others when that one is gone.
    async fn after_within_token(
        &self,
        table: &Table,
        token: i64,
        partition: &[Value],
    ) -> Result<Vec<Key>, Failure> {
        let prepared = self.prepared(table, Statement::OfToken).await?;
        let mut keys = Vec::new();
        let mut answers = Answers::new(prepared, usize::MAX);
        let bound = BoundRead::token(token);
        while let Some(rows) = answers.next(self, &bound).await? {
            for row in cells_of(table, &rows)? {
                keys.push(values(table, table.schema.partition_key, &row?)?);
            }
        }
        let place = keys.iter().position(|key| key == partition);
        Ok(keys.split_off(place.map_or(0, |place| place + 1)))
    }

    async fn walk_on(
        &self,
        table: &Table,
        statement: Statement,
        bound: &BoundRead<'_>,
        page: &mut PageBuilder<'_>,
    ) -> Result<(), Failure> {
        let prepared = self.prepared(table, statement).await?;
        let mut answers = Answers::new(prepared, page.room().saturating_add(1));
        let mut partition: Option<Key> = None;
        while let Some(rows) = answers.next(self, bound).await? {
            for row in cells_of(table, &rows)? {
                let (fixed, row) = split(table, &row?, partition.as_ref())?;
                for row in fixed.into_iter().chain(row) {
                    if partition.as_ref() != Some(&row.key.partition) {
                        partition = Some(row.key.partition.clone());
                    }
                    if !page.push_row(row) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}

/// The rows in one row of an answer: the static row, where it is the first of another partition than `before`, and
/// the clustering row.
fn split(
    table: &Table,
    row: &Cells<'_>,
    before: Option<&Key>,
) -> Result<(Option<Row>, Option<Row>), Failure> {
    let schema = table.schema;
    let statics = schema.static_columns.len();
    let fixed_cells = if statics > 0 { statics + 1 } else { 0 };
    let (key, rest) = row.split_at(schema.partition_key.len().min(row.len()));
    let (fixed, rest) = rest.split_at(fixed_cells.min(rest.len()));
    let (clustering, columns) = rest.split_at(schema.clustering_key.len().min(rest.len()));
    let partition = values(table, schema.partition_key, key)?;
    let fixed = match written(table, fixed.last())? {
        Some(timestamp_us) if before != Some(&partition) => {
            let columns = values(table, schema.static_columns, fixed)?;
            let key = RowKey { partition: partition.clone(), clustering: None };
            Some(Row { key, columns, timestamp_us })
        }
        _ => None,
    };
    let row = match written(table, columns.last())? {
        Some(timestamp_us) => {
            let clustering = Some(values(table, schema.clustering_key, clustering)?);
            let columns = values(table, schema.columns, columns)?;
            Some(Row { key: RowKey { partition, clustering }, columns, timestamp_us })
        }
        None => None,
    };
    Ok((fixed, row))
}
