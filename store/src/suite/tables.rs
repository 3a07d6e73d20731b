//! The tables the suite writes, and rows of them.

use crate::{Column, ColumnType, RowKey, Rows, TableSchema, Value, Write};

/// An entity: a header in static columns, parts in clustering rows.
pub static ENTITY: TableSchema = TableSchema {
    name: "entity",
    number: 1,
    partition_key: &[Column::new("namespace", ColumnType::Text), Column::new("id", ColumnType::Int)],
    clustering_key: &[Column::new("kind", ColumnType::Text), Column::new("slot", ColumnType::Int)],
    static_columns: &[Column::new("version", ColumnType::Int)],
    columns: &[Column::new("body", ColumnType::Text), Column::new("open", ColumnType::Bool)],
    bucket_bits: None,
    rows: Rows::Current,
};

/// An index, newest first within a day; in buckets of two days.
pub static INDEX: TableSchema = TableSchema {
    name: "index",
    number: 2,
    partition_key: &[Column::new("bucket", ColumnType::Text)],
    clustering_key: &[
        Column::new("day", ColumnType::Int),
        Column::descending("offset", ColumnType::Int),
        Column::descending("name", ColumnType::Text),
    ],
    static_columns: &[],
    columns: &[],
    bucket_bits: Some(1),
    rows: Rows::Index,
};

/// One row per partition, with a column of each type.
pub static PLAIN: TableSchema = TableSchema {
    name: "plain",
    number: 3,
    partition_key: &[Column::new("id", ColumnType::Uuid)],
    clustering_key: &[],
    static_columns: &[],
    columns: &[
        Column::new("flag", ColumnType::Bool),
        Column::new("count", ColumnType::Int),
        Column::new("label", ColumnType::Text),
        Column::new("bytes", ColumnType::Blob),
        Column::new("other", ColumnType::Uuid),
    ],
    bucket_bits: None,
    rows: Rows::Current,
};

/// [`PLAIN`] before its last three columns were appended.
pub static PLAIN_BEFORE: TableSchema = TableSchema {
    columns: &[Column::new("flag", ColumnType::Bool), Column::new("count", ColumnType::Int)],
    ..PLAIN
};

/// Items of which a row keeps many, in buckets of two rows.
pub static ITEMS: TableSchema = TableSchema {
    name: "items",
    number: 5,
    partition_key: &[Column::new("owner", ColumnType::Text)],
    clustering_key: &[Column::new("number", ColumnType::Int)],
    static_columns: &[],
    columns: &[
        Column::new("label", ColumnType::Text),
        Column::new(
            "items",
            ColumnType::List(&[
                Column::new("place", ColumnType::Int),
                Column::new("title", ColumnType::Text),
            ]),
        ),
    ],
    bucket_bits: Some(1),
    rows: Rows::Final,
};

/// [`ITEMS`] after fields of each type were appended to the items, and another list to the rows.
pub static ITEMS_AFTER: TableSchema = TableSchema {
    columns: &[
        Column::new("label", ColumnType::Text),
        Column::new(
            "items",
            ColumnType::List(&[
                Column::new("place", ColumnType::Int),
                Column::new("title", ColumnType::Text),
                Column::new("flag", ColumnType::Bool),
                Column::new("content", ColumnType::Blob),
                Column::new("id", ColumnType::Uuid),
            ]),
        ),
        Column::new("marks", ColumnType::List(&[Column::new("mark", ColumnType::Text)])),
    ],
    ..ITEMS
};

/// Keys of every type in both orders.
pub static EVERY_KEY: TableSchema = TableSchema {
    name: "every_key",
    number: 4,
    partition_key: &[Column::new("bucket", ColumnType::Blob)],
    clustering_key: &[
        Column::new("flag", ColumnType::Bool),
        Column::descending("gone", ColumnType::Bool),
        Column::new("count", ColumnType::Int),
        Column::descending("rank", ColumnType::Int),
        Column::new("name", ColumnType::Text),
        Column::descending("title", ColumnType::Text),
        Column::new("head", ColumnType::Blob),
        Column::descending("tail", ColumnType::Blob),
        Column::new("id", ColumnType::Uuid),
    ],
    static_columns: &[],
    columns: &[],
    bucket_bits: None,
    rows: Rows::Index,
};

/// A write of a part of an entity.
pub fn part(id: i64, slot: i64, timestamp_us: i64, body: Option<&str>) -> Write {
    Write {
        table: &ENTITY,
        key: RowKey {
            partition: vec![Value::Text("default".into()), Value::Int(id)],
            clustering: Some(vec![Value::Text("step".into()), Value::Int(slot)]),
        },
        timestamp_us,
        columns: body.map(|body| vec![Value::Text(body.into()), Value::Bool(true)]),
    }
}

/// A write of a row of items.
pub fn items(number: i64, timestamp_us: i64, columns: Option<Vec<Value>>) -> Write {
    Write {
        table: &ITEMS,
        key: RowKey { partition: vec![Value::Text("a".into())], clustering: Some(vec![Value::Int(number)]) },
        timestamp_us,
        columns,
    }
}

/// A write of the header of an entity.
pub fn header(id: i64, timestamp_us: i64, version: Option<i64>) -> Write {
    Write {
        table: &ENTITY,
        key: RowKey { partition: vec![Value::Text("default".into()), Value::Int(id)], clustering: None },
        timestamp_us,
        columns: version.map(|version| vec![Value::Int(version)]),
    }
}

/// A write of an index row.
pub fn entry(bucket: &str, day: i64, offset: i64, name: &str, timestamp_us: i64, present: bool) -> Write {
    Write {
        table: &INDEX,
        key: RowKey {
            partition: vec![Value::Text(bucket.into())],
            clustering: Some(vec![Value::Int(day), Value::Int(offset), Value::Text(name.into())]),
        },
        timestamp_us,
        columns: present.then(Vec::new),
    }
}
