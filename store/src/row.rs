//! Rows, keys and values.

use bytes::Bytes;
use compact_str::CompactString;

use crate::items::Items;

/// One value of a column. `Null` is allowed outside keys only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// Text. Most texts of rows are names and fit into the value itself.
    Text(CompactString),
    /// Bytes.
    Blob(Bytes),
    /// A UUID's bytes.
    Uuid([u8; 16]),
    /// Items, each with the fields of the list in their order.
    List(Items),
}

/// The values of a partition key, a clustering key, or a prefix of one, in the table's order.
pub type Key = Vec<Value>;

/// Names a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowKey {
    /// Values of the whole partition key.
    pub partition: Key,
    /// Values of the whole clustering key; `None` names the partition's static row. Tables without clustering
    /// columns use `Some(vec![])` for their one row.
    pub clustering: Option<Key>,
}

/// A row as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: RowKey,
    /// The columns' values in the table's order; columns appended to the table later read as `Null`.
    pub columns: Vec<Value>,
    /// The timestamp it was written at.
    pub timestamp_us: i64,
}
