//! Whether keys, rows and scans fit the declaration of their table; the same answer from every backend.

use crate::encoding::row;
use crate::{Column, ColumnType, RowKey, Scan, StoreError, TableSchema, Value, Write};

/// Most bytes of a row's values.
pub const ROW_BYTES_MAX: usize = 1024 * 1024;

/// Most bytes of a row's key values together. CQL and the embedded store each end at 64 KiB, and escaping may
/// double the bytes of a key.
pub const KEY_BYTES_MAX: usize = 16 * 1024;

impl Write {
    /// Whether the store would accept this write.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the key or the columns do not fit the table's declaration, the key is over
    /// [`KEY_BYTES_MAX`] or the row over [`ROW_BYTES_MAX`], or a partition key of one column is empty. No backend
    /// ever accepts such a write.
    pub fn check(&self) -> Result<(), StoreError> {
        self.checked_bytes().map(|_| ())
    }

    /// As [`Self::check`]; the bytes of all values.
    pub(crate) fn checked_bytes(&self) -> Result<usize, StoreError> {
        let key_bytes = check_row_key(self.table, &self.key)?;
        let Some(values) = &self.columns else { return Ok(key_bytes) };
        let declared = columns_of(self.table, &self.key);
        if values.len() != declared.len() {
            return refuse(
                self.table,
                format!("{} columns were given, {} are declared", values.len(), declared.len()),
            );
        }
        let mut bytes = 0;
        for (value, column) in values.iter().zip(declared) {
            if !fits(value, column.kind) {
                return refuse(
                    self.table,
                    format!(
                        "column {} is declared {:?} and got {}",
                        column.name,
                        column.kind,
                        kind_name(value)
                    ),
                );
            }
            bytes += value.bytes();
        }
        if bytes > ROW_BYTES_MAX {
            return refuse(
                self.table,
                format!(
                    "the row has {bytes} bytes, the limit is {ROW_BYTES_MAX}; keep payloads in rows of their own"
                ),
            );
        }
        Ok(key_bytes + bytes)
    }
}

impl Value {
    /// Its bytes as they count for [`ROW_BYTES_MAX`]: without what keeps values apart, but for the items of a list, which
    /// count as they are stored.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 8,
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len(),
            Self::Uuid(_) => 16,
            Self::List(items) => items.encoded().len(),
        }
    }
}

/// The declaration of the columns of a row.
pub(crate) fn columns_of(table: &'static TableSchema, key: &RowKey) -> &'static [Column] {
    if key.clustering.is_none() { table.static_columns } else { table.columns }
}

/// Checks a whole row key; the bytes of its values.
pub(crate) fn check_row_key(table: &'static TableSchema, key: &RowKey) -> Result<usize, StoreError> {
    check_partition(table, &key.partition)?;
    match &key.clustering {
        Some(clustering) => check_whole(table, "clustering key", clustering, table.clustering_key)?,
        None if table.static_columns.is_empty() => {
            return refuse(table, "the table declares no static columns".to_owned());
        }
        None => {}
    }
    let values = key.partition.iter().chain(key.clustering.iter().flatten());
    let bytes: usize = values.map(Value::bytes).sum();
    if bytes > KEY_BYTES_MAX {
        return refuse(table, format!("the key has {bytes} bytes, the limit is {KEY_BYTES_MAX}"));
    }
    Ok(bytes)
}

/// Checks what a scan asks for, apart from its cursor.
pub(crate) fn check_scan(table: &'static TableSchema, scan: &Scan) -> Result<(), StoreError> {
    if scan.limit == 0 {
        return refuse(table, "a scan needs a limit of at least 1".to_owned());
    }
    match &scan.partition {
        Some(partition) => check_partition(table, partition)?,
        None if scan.from.is_some() || scan.to.is_some() || scan.reverse => {
            return refuse(table, "a scan of all partitions has no range and no reverse order".to_owned());
        }
        None => {}
    }
    for prefix in [&scan.from, &scan.to].into_iter().flatten() {
        if prefix.len() > table.clustering_key.len() {
            return refuse(table, "a range bound is longer than the clustering key".to_owned());
        }
        check_values(table, "range bound", prefix, table.clustering_key)?;
    }
    Ok(())
}

fn check_partition(table: &'static TableSchema, partition: &[Value]) -> Result<(), StoreError> {
    check_whole(table, "partition key", partition, table.partition_key)?;
    match partition {
        // CQL has no partition whose key is nothing at all.
        [only] if only.bytes() == 0 => refuse(table, "the partition key is empty".to_owned()),
        _ => Ok(()),
    }
}

fn check_whole(
    table: &'static TableSchema,
    what: &str,
    values: &[Value],
    declared: &[Column],
) -> Result<(), StoreError> {
    if values.len() != declared.len() {
        return refuse(
            table,
            format!("the {what} has {} values, {} are declared", values.len(), declared.len()),
        );
    }
    check_values(table, what, values, declared)
}

fn check_values(
    table: &'static TableSchema,
    what: &str,
    values: &[Value],
    declared: &[Column],
) -> Result<(), StoreError> {
    for (value, column) in values.iter().zip(declared) {
        if *value == Value::Null || !fits(value, column.kind) {
            return refuse(
                table,
                format!(
                    "{what} column {} is declared {:?} and got {}",
                    column.name,
                    column.kind,
                    kind_name(value)
                ),
            );
        }
    }
    Ok(())
}

fn refuse<T>(table: &'static TableSchema, what: String) -> Result<T, StoreError> {
    Err(StoreError::Refused { table: table.name, what })
}

/// Whether a value is of a type; null is of every type.
fn fits(value: &Value, kind: ColumnType) -> bool {
    match (value, kind) {
        (Value::Null, _)
        | (Value::Bool(_), ColumnType::Bool)
        | (Value::Int(_), ColumnType::Int)
        | (Value::Text(_), ColumnType::Text)
        | (Value::Blob(_), ColumnType::Blob)
        | (Value::Uuid(_), ColumnType::Uuid) => true,
        (Value::List(items), ColumnType::List(fields)) => items.iter().all(|item| {
            row::fields_present(item.encoded(), fields).is_ok_and(|present| present <= fields.len())
        }),
        _ => false,
    }
}

fn kind_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Int(_) => "an integer",
        Value::Text(_) => "text",
        Value::Blob(_) => "bytes",
        Value::Uuid(_) => "a UUID",
        Value::List(_) => "a list, or one of other fields",
    }
}
