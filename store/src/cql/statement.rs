//! The texts of the statements that read and write rows. Pure; values are bound in `cells`.

use super::ddl::{ROW_WRITTEN, STATIC_WRITTEN, list, quoted};
use crate::{Column, Order, TableSchema};

/// A statement of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Statement {
    /// Puts a clustering row: key, columns, timestamp.
    Put,
    /// Puts a static row: partition key, static columns, timestamp.
    PutStatic,
    /// Deletes a clustering row: timestamp, key.
    Delete,
    /// Deletes a static row: timestamp, partition key.
    DeleteStatic,
    /// Reads a clustering row by its key.
    Get,
    /// Reads a static row by its partition key.
    GetStatic,
    /// Reads clustering rows: partition key, leading columns, bounds. Without a limit: Cassandra forgets where it
    /// stood when an answer may have as many rows as the limit allows, so that answers alone are limited.
    Slice(Shape),
    /// Reads every partition.
    Everything,
    /// Reads every partition above a token.
    AfterToken,
    /// Names the partitions of a token.
    OfToken,
}

/// What a [`Statement::Slice`] is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    /// How many leading columns are fixed.
    pub(super) equal: usize,
    /// Whether the next column has a lower bound, in the table's order.
    pub(super) after: bool,
    /// Whether it has an upper bound.
    pub(super) before: bool,
    /// Whether rows come in the reversed order.
    pub(super) reverse: bool,
}

impl Statement {
    /// The text for a table named `name`, keyspace included.
    pub(super) fn text(self, name: &str, table: &TableSchema) -> String {
        let key = || table.partition_key.iter().chain(table.clustering_key);
        match self {
            Self::Put => insert(name, key(), ROW_WRITTEN, table.columns),
            Self::PutStatic => insert(name, table.partition_key.iter(), STATIC_WRITTEN, table.static_columns),
            Self::Delete => format!("DELETE FROM {name} USING TIMESTAMP ? WHERE {}", equal(key())),
            Self::DeleteStatic => {
                let columns = table.static_columns.iter().map(|column| quoted(column.name));
                let columns = list(columns.chain([quoted(STATIC_WRITTEN)]));
                format!(
                    "DELETE {columns} FROM {name} USING TIMESTAMP ? WHERE {}",
                    equal(table.partition_key.iter())
                )
            }
            Self::Get => {
                format!("SELECT {} FROM {name} WHERE {}", row_of(table.columns, ROW_WRITTEN), equal(key()))
            }
            Self::GetStatic => format!(
                "SELECT {} FROM {name} WHERE {} LIMIT 1",
                row_of(table.static_columns, STATIC_WRITTEN),
                equal(table.partition_key.iter())
            ),
            Self::Slice(shape) => slice(name, table, shape),
            Self::Everything => everything(name, table),
            Self::AfterToken => format!("{} WHERE {} > ?", everything(name, table), token(table)),
            Self::OfToken => format!(
                "SELECT DISTINCT {} FROM {name} WHERE {} = ?",
                list(table.partition_key.iter().map(|column| quoted(column.name))),
                token(table)
            ),
        }
    }
}

fn insert<'a>(
    name: &str,
    key: impl Iterator<Item = &'a Column>,
    written: &str,
    columns: &[Column],
) -> String {
    let key: Vec<String> = key.map(|column| quoted(column.name)).collect();
    let marks = |count: usize| vec!["?"; count];
    let mut values = marks(key.len());
    values.push("true");
    values.extend(marks(columns.len()));
    let columns = columns.iter().map(|column| quoted(column.name));
    let columns = list(key.into_iter().chain([quoted(written)]).chain(columns));
    format!("INSERT INTO {name} ({columns}) VALUES ({}) USING TIMESTAMP ?", values.join(", "))
}

fn equal<'a>(columns: impl Iterator<Item = &'a Column>) -> String {
    columns.map(|column| format!("{} = ?", quoted(column.name))).collect::<Vec<_>>().join(" AND ")
}

/// The columns of a row and when it was written.
fn row_of(columns: &[Column], written: &str) -> String {
    let columns = columns.iter().map(|column| quoted(column.name));
    list(columns.chain([format!("WRITETIME({})", quoted(written))]))
}

fn slice(name: &str, table: &TableSchema, shape: Shape) -> String {
    let fixed = table.clustering_key.iter().take(shape.equal);
    let mut conditions = vec![equal(table.partition_key.iter().chain(fixed))];
    if let Some(column) = table.clustering_key.get(shape.equal) {
        let is_descending = column.order == Order::Descending;
        let (after, before) = if is_descending { ("<", ">") } else { (">", "<") };
        if shape.after {
            conditions.push(format!("{} {after} ?", quoted(column.name)));
        }
        if shape.before {
            conditions.push(format!("{} {before} ?", quoted(column.name)));
        }
    }
    let order = if shape.reverse && !table.clustering_key.is_empty() {
        let reversed = table.clustering_key.iter().map(|column| {
            let order = if column.order == Order::Descending { "ASC" } else { "DESC" };
            format!("{} {order}", quoted(column.name))
        });
        format!(" ORDER BY {}", list(reversed))
    } else {
        String::new()
    };
    let key = table.clustering_key.iter().map(|column| quoted(column.name));
    let columns = list(key.chain([row_of(table.columns, ROW_WRITTEN)]));
    format!("SELECT {columns} FROM {name} WHERE {}{order}", conditions.join(" AND "))
}

/// Partition key, static row, clustering key and row, in this order.
fn everything(name: &str, table: &TableSchema) -> String {
    let partition = table.partition_key.iter().map(|column| quoted(column.name));
    let fixed = (!table.static_columns.is_empty()).then(|| row_of(table.static_columns, STATIC_WRITTEN));
    let key = table.clustering_key.iter().map(|column| quoted(column.name));
    let columns = partition.chain(fixed).chain(key).chain([row_of(table.columns, ROW_WRITTEN)]);
    format!("SELECT {} FROM {name}", list(columns))
}

fn token(table: &TableSchema) -> String {
    format!("token({})", list(table.partition_key.iter().map(|column| quoted(column.name))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ColumnType, Rows};

    static TABLE: TableSchema = TableSchema {
        name: "things",
        number: 7,
        partition_key: &[Column::new("owner", ColumnType::Uuid)],
        clustering_key: &[
            Column::descending("offset", ColumnType::Int),
            Column::new("index", ColumnType::Int),
        ],
        static_columns: &[Column::new("version", ColumnType::Int)],
        columns: &[Column::new("label", ColumnType::Text)],
        bucket_bits: None,
        rows: Rows::Current,
    };

    #[test]
    fn texts_follow_the_declaration() {
        let text = |statement: Statement| statement.text("v.t", &TABLE);
        assert_eq!(
            text(Statement::Put),
            "INSERT INTO v.t (\"owner\", \"offset\", \"index\", \"row_written\", \"label\") VALUES (?, ?, ?, true, ?) \
             USING TIMESTAMP ?"
        );
        assert_eq!(
            text(Statement::DeleteStatic),
            "DELETE \"version\", \"static_written\" FROM v.t USING TIMESTAMP ? WHERE \"owner\" = ?"
        );
        assert_eq!(
            text(Statement::AfterToken),
            "SELECT \"owner\", \"version\", WRITETIME(\"static_written\"), \"offset\", \"index\", \"label\", \
             WRITETIME(\"row_written\") FROM v.t WHERE token(\"owner\") > ?"
        );
    }

    #[test]
    fn bounds_turn_with_the_order_of_their_column() {
        let text = |equal, after, before, reverse| {
            Statement::Slice(Shape { equal, after, before, reverse }).text("v.t", &TABLE)
        };
        let condition = |text: String| text.split_once(" WHERE ").map(|(_, rest)| rest.to_owned());
        assert_eq!(
            condition(text(0, true, true, false)).as_deref(),
            Some("\"owner\" = ? AND \"offset\" < ? AND \"offset\" > ?")
        );
        assert_eq!(
            condition(text(1, true, false, true)).as_deref(),
            Some(
                "\"owner\" = ? AND \"offset\" = ? AND \"index\" > ? ORDER BY \"offset\" ASC, \"index\" DESC"
            )
        );
        assert_eq!(
            condition(text(2, false, false, false)).as_deref(),
            Some("\"owner\" = ? AND \"offset\" = ? AND \"index\" = ?")
        );
    }
}
