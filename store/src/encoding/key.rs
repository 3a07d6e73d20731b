//! The order-preserving encoding of row keys: comparing the bytes compares the keys in the table's order.
//!
//! Persisted; never changed. A row key is the partition columns, one marker byte, and the clustering columns.
//! Booleans are one byte, integers eight big-endian bytes with the sign flipped, UUIDs their bytes. Text and
//! blobs escape `00` as `00 FF` and end with `00 00`, so that no value is a prefix of another and a shorter one
//! sorts first. Every byte of a descending column is inverted.

use bytes::Bytes;

use crate::{Column, ColumnType, Key, Order, RowKey, TableSchema, Value};

/// Marks the static row, which sorts before the clustering rows.
const STATIC: u8 = 0;
/// Marks a clustering row.
const CLUSTERING: u8 = 1;
/// Follows every row of a partition.
const AFTER: u8 = 2;

const ESCAPE: u8 = 0;
const ESCAPED_ZERO: u8 = 0xFF;
const TERMINATOR: u8 = 0;

/// Appends the encoding of a whole partition key.
pub(crate) fn push_partition(out: &mut Vec<u8>, partition: &[Value]) {
    for value in partition {
        push_value(out, value, Order::Ascending);
    }
}

/// Appends the encoding of a row key that was checked against its table.
pub(crate) fn push_row_key(out: &mut Vec<u8>, table: &TableSchema, key: &RowKey) {
    push_partition(out, &key.partition);
    match &key.clustering {
        None => out.push(STATIC),
        Some(clustering) => {
            out.push(CLUSTERING);
            push_clustering(out, table, clustering);
        }
    }
}

/// The encoding below which no clustering row of a partition sorts, given the partition's encoding.
pub(crate) fn clustering_start(partition: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(partition.len() + 1);
    out.extend_from_slice(partition);
    out.push(CLUSTERING);
    out
}

/// The encoding at and above which no row of a partition sorts.
pub(crate) fn partition_end(partition: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(partition.len() + 1);
    out.extend_from_slice(partition);
    out.push(AFTER);
    out
}

/// Appends the encoding of a clustering key or a prefix of one.
pub(crate) fn push_clustering(out: &mut Vec<u8>, table: &TableSchema, clustering: &[Value]) {
    for (value, column) in clustering.iter().zip(table.clustering_key) {
        push_value(out, value, column.order);
    }
}

/// Reads a row key back; the error says what is wrong with the bytes.
pub(crate) fn read_row_key(table: &TableSchema, bytes: &[u8]) -> Result<RowKey, &'static str> {
    let mut rest = bytes;
    let partition = read_columns(&mut rest, table.partition_key, false)?;
    let clustering = match take(&mut rest, 1)?[0] {
        STATIC => None,
        CLUSTERING => Some(read_columns(&mut rest, table.clustering_key, true)?),
        _ => return Err("unknown row marker"),
    };
    if !rest.is_empty() {
        return Err("bytes after the key");
    }
    Ok(RowKey { partition, clustering })
}

fn push_value(out: &mut Vec<u8>, value: &Value, order: Order) {
    let start = out.len();
    match value {
        // Keys are checked before they are encoded, and hold no nulls.
        Value::Null => {}
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Int(value) => out.extend_from_slice(&((*value as u64) ^ (1 << 63)).to_be_bytes()),
        Value::Text(value) => push_escaped(out, value.as_bytes()),
        Value::Blob(value) => push_escaped(out, value),
        Value::Uuid(value) => out.extend_from_slice(value),
    }
    if order == Order::Descending {
        for byte in &mut out[start..] {
            *byte = !*byte;
        }
    }
}

fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        out.push(byte);
        if byte == ESCAPE {
            out.push(ESCAPED_ZERO);
        }
    }
    out.extend_from_slice(&[ESCAPE, TERMINATOR]);
}

fn read_columns(rest: &mut &[u8], columns: &[Column], ordered: bool) -> Result<Key, &'static str> {
    columns
        .iter()
        .map(|column| {
            let inverted = ordered && column.order == Order::Descending;
            read_value(rest, column.kind, if inverted { 0xFF } else { 0 })
        })
        .collect()
}

fn read_value(rest: &mut &[u8], kind: ColumnType, mask: u8) -> Result<Value, &'static str> {
    Ok(match kind {
        ColumnType::Bool => match take(rest, 1)?[0] ^ mask {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            _ => return Err("a boolean that is neither 0 nor 1"),
        },
        ColumnType::Int => {
            let bytes = take_array::<8>(rest, mask)?;
            Value::Int((u64::from_be_bytes(bytes) ^ (1 << 63)) as i64)
        }
        ColumnType::Text => {
            Value::Text(String::from_utf8(read_escaped(rest, mask)?).map_err(|_| "text that is not UTF-8")?)
        }
        ColumnType::Blob => Value::Blob(Bytes::from(read_escaped(rest, mask)?)),
        ColumnType::Uuid => Value::Uuid(take_array::<16>(rest, mask)?),
    })
}

fn read_escaped(rest: &mut &[u8], mask: u8) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::new();
    loop {
        match take(rest, 1)?[0] ^ mask {
            ESCAPE => match take(rest, 1)?[0] ^ mask {
                TERMINATOR => return Ok(out),
                ESCAPED_ZERO => out.push(0),
                _ => return Err("an unknown escape"),
            },
            byte => out.push(byte),
        }
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], &'static str> {
    let (taken, left) = rest.split_at_checked(count).ok_or("the key ends early")?;
    *rest = left;
    Ok(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8], mask: u8) -> Result<[u8; N], &'static str> {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(take(rest, N)?) {
        *to = from ^ mask;
    }
    Ok(out)
}
