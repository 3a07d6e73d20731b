//! The order-preserving encoding of row keys: comparing the bytes compares the keys in the table's order.
//!
//! Persisted; never changed. A row key is the partition columns, one marker byte, and the clustering columns.
//! Booleans are one byte, integers eight big-endian bytes with the sign flipped, UUIDs their bytes. Text and
//! blobs escape `00` as `00 FF` and end with `00 00`, so that no value is a prefix of another and a shorter one
//! sorts first. Every byte of a descending column is inverted.

use compact_str::CompactString;

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

/// Appends the encoding of a row key that was checked against its table; the length of `out` at which its clustering
/// key begins.
pub(crate) fn push_row_key(out: &mut Vec<u8>, table: &TableSchema, key: &RowKey) -> usize {
    push_partition(out, &key.partition);
    match &key.clustering {
        None => {
            out.push(STATIC);
            out.len()
        }
        Some(clustering) => {
            out.push(CLUSTERING);
            let start = out.len();
            push_clustering(out, table, clustering);
            start
        }
    }
}

/// Where the clustering key begins in the encoding of a clustering row's key or the beginning of one; `None` when
/// what is encoded is a place before or after all clustering rows of its partition.
pub(crate) fn clustering_at(table: &TableSchema, bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut rest = bytes;
    read_columns(&mut rest, table.partition_key, false)?;
    let marker = take(&mut rest, 1)?[0];
    Ok((marker == CLUSTERING).then_some(bytes.len() - rest.len()))
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
        // Keys are checked before they are encoded, and hold no nulls and no lists.
        Value::Null | Value::List(_) => {}
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
        ColumnType::Text => Value::Text(
            CompactString::from_utf8(read_escaped(rest, mask)?).map_err(|_| "text that is not UTF-8")?,
        ),
        ColumnType::Blob => Value::Blob(Bytes::from(read_escaped(rest, mask)?)),
        ColumnType::Uuid => Value::Uuid(take_array::<16>(rest, mask)?),
        ColumnType::List(_) => return Err("a list in a key"),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [ColumnType; 5] =
        [ColumnType::Bool, ColumnType::Int, ColumnType::Text, ColumnType::Blob, ColumnType::Uuid];

    /// Strings of few letters, so that prefixes and zeros are common.
    fn value(kind: ColumnType) -> BoxedStrategy<Value> {
        match kind {
            ColumnType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            ColumnType::Int => prop_oneof![any::<i64>(), -3_i64..3].prop_map(Value::Int).boxed(),
            ColumnType::Text => {
                "[\u{0}\u{1}aé\u{10FFFF}]{0,5}".prop_map(|text| Value::Text(text.into())).boxed()
            }
            ColumnType::Blob => proptest::collection::vec(prop::sample::select(vec![0, 1, 0xFE, 0xFF]), 0..5)
                .prop_map(|bytes| Value::Blob(bytes.into()))
                .boxed(),
            ColumnType::Uuid => any::<[u8; 16]>().prop_map(Value::Uuid).boxed(),
            ColumnType::List(_) => unreachable!("no key has a list"),
        }
    }

    /// Columns of random types and orders with two keys of them.
    fn keys() -> impl Strategy<Value = (Vec<Column>, Key, Key)> {
        proptest::collection::vec((0..KINDS.len(), any::<bool>()), 1..5).prop_flat_map(|shape| {
            let columns: Vec<Column> = shape
                .iter()
                .map(|(kind, descending)| {
                    let make = if *descending { Column::descending } else { Column::new };
                    make("column", KINDS[*kind])
                })
                .collect();
            let key: Vec<_> = columns.iter().map(|column| value(column.kind)).collect();
            (Just(columns), key.clone(), key)
        })
    }

    fn encode(columns: &[Column], key: &Key) -> Vec<u8> {
        let mut out = Vec::new();
        for (value, column) in key.iter().zip(columns) {
            push_value(&mut out, value, column.order);
        }
        out
    }

    proptest! {
        #[test]
        fn keys_are_read_back((columns, key, _) in keys()) {
            let encoded = encode(&columns, &key);
            let mut rest = encoded.as_slice();
            prop_assert_eq!(read_columns(&mut rest, &columns, true), Ok(key));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn bytes_order_as_the_keys_do((columns, left, right) in keys()) {
            let expected = left.iter().zip(&right).zip(&columns).map(|((left, right), column)| match column.order {
                Order::Ascending => left.cmp(right),
                Order::Descending => right.cmp(left),
            });
            let expected = expected.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then);
            prop_assert_eq!(encode(&columns, &left).cmp(&encode(&columns, &right)), expected);
        }

        #[test]
        fn a_prefix_of_a_key_is_a_prefix_of_its_bytes((columns, key, _) in keys(), cut in any::<prop::sample::Index>()) {
            let prefix = key[..cut.index(key.len())].to_vec();
            prop_assert!(encode(&columns, &key).starts_with(&encode(&columns, &prefix)));
        }

        #[test]
        fn any_bytes_are_a_key_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..40), (columns, _, _) in keys()) {
            let mut rest = bytes.as_slice();
            if let Ok(key) = read_columns(&mut rest, &columns, true) {
                prop_assert_eq!(encode(&columns, &key), bytes[..bytes.len() - rest.len()].to_vec());
            }
        }
    }
}
