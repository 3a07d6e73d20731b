//! The encoding of a row's columns and timestamp: compact, versioned, and open to columns appended later.
//!
//! Persisted. A stored row is a version byte, the timestamp as eight big-endian bytes, and the columns. Each
//! column is a tag and its value; trailing nulls are left out, so a row has one encoding before and after columns
//! are appended to its table.

use bytes::Bytes;

use crate::{Column, ColumnType, Value};

/// The version of the encoding.
const VERSION: u8 = 1;
/// Bytes before the columns.
const HEADER: usize = 9;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const TEXT: u8 = 4;
const BLOB: u8 = 5;
const UUID: u8 = 6;

/// Appends a stored row.
pub(crate) fn push_row(out: &mut Vec<u8>, timestamp_us: i64, columns: &[Value]) {
    out.push(VERSION);
    out.extend_from_slice(&timestamp_us.to_be_bytes());
    push_columns(out, columns);
}

/// The timestamp and the encoded columns of a stored row.
pub(crate) fn split_row(stored: &[u8]) -> Result<(i64, &[u8]), &'static str> {
    if stored.first() != Some(&VERSION) {
        return Err("unknown version of the row's encoding");
    }
    let timestamp = stored.get(1..HEADER).ok_or("the row ends early")?;
    let timestamp = timestamp.try_into().map_err(|_| "the row ends early")?;
    Ok((i64::from_be_bytes(timestamp), &stored[HEADER..]))
}

/// Appends the encoded columns.
pub(crate) fn push_columns(out: &mut Vec<u8>, columns: &[Value]) {
    let present = columns.iter().rposition(|value| *value != Value::Null).map_or(0, |last| last + 1);
    for value in &columns[..present] {
        match value {
            Value::Null => out.push(NULL),
            Value::Bool(false) => out.push(FALSE),
            Value::Bool(true) => out.push(TRUE),
            Value::Int(value) => {
                out.push(INT);
                push_varint(out, ((value << 1) ^ (value >> 63)) as u64);
            }
            Value::Text(value) => push_sized(out, TEXT, value.as_bytes()),
            Value::Blob(value) => push_sized(out, BLOB, value),
            Value::Uuid(value) => {
                out.push(UUID);
                out.extend_from_slice(value);
            }
        }
    }
}

/// Reads encoded columns. Columns the row does not have are null; columns beyond the declaration, written by a
/// newer binary, are left out.
pub(crate) fn read_columns(declared: &[Column], encoded: &[u8]) -> Result<Vec<Value>, &'static str> {
    let mut rest = encoded;
    declared
        .iter()
        .map(|column| if rest.is_empty() { Ok(Value::Null) } else { read_value(&mut rest, column.kind) })
        .collect()
}

fn read_value(rest: &mut &[u8], kind: ColumnType) -> Result<Value, &'static str> {
    let tag = take(rest, 1)?[0];
    Ok(match (tag, kind) {
        (NULL, _) => Value::Null,
        (FALSE, ColumnType::Bool) => Value::Bool(false),
        (TRUE, ColumnType::Bool) => Value::Bool(true),
        (INT, ColumnType::Int) => {
            let value = read_varint(rest)?;
            Value::Int(((value >> 1) as i64) ^ -((value & 1) as i64))
        }
        (TEXT, ColumnType::Text) => {
            Value::Text(std::str::from_utf8(read_sized(rest)?).map_err(|_| "text that is not UTF-8")?.into())
        }
        (BLOB, ColumnType::Blob) => Value::Blob(Bytes::copy_from_slice(read_sized(rest)?)),
        (UUID, ColumnType::Uuid) => {
            Value::Uuid(take(rest, 16)?.try_into().map_err(|_| "a UUID that is not 16 bytes")?)
        }
        _ => return Err("a value of another type than the column's"),
    })
}

fn push_sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn read_sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    let length = usize::try_from(read_varint(rest)?).map_err(|_| "a length out of range")?;
    take(rest, length)
}

pub(super) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_varint(rest: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        let bits = u64::from(byte & 0x7F);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a number out of range")
}

pub(super) fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], &'static str> {
    let (taken, left) = rest.split_at_checked(count).ok_or("the row ends early")?;
    *rest = left;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: [Column; 5] = [
        Column::new("flag", ColumnType::Bool),
        Column::new("count", ColumnType::Int),
        Column::new("label", ColumnType::Text),
        Column::new("bytes", ColumnType::Blob),
        Column::new("id", ColumnType::Uuid),
    ];

    fn columns() -> impl Strategy<Value = Vec<Value>> {
        let or_null = |value: BoxedStrategy<Value>| prop_oneof![Just(Value::Null), value];
        (
            or_null(any::<bool>().prop_map(Value::Bool).boxed()),
            or_null(any::<i64>().prop_map(Value::Int).boxed()),
            or_null(any::<String>().prop_map(|text| Value::Text(text.into())).boxed()),
            or_null(any::<Vec<u8>>().prop_map(|bytes| Value::Blob(bytes.into())).boxed()),
            or_null(any::<[u8; 16]>().prop_map(Value::Uuid).boxed()),
        )
            .prop_map(|(flag, count, label, bytes, id)| vec![flag, count, label, bytes, id])
    }

    proptest! {
        #[test]
        fn rows_are_read_back(timestamp_us in any::<i64>(), values in columns()) {
            let mut stored = Vec::new();
            push_row(&mut stored, timestamp_us, &values);
            let (read_us, encoded) = split_row(&stored).expect("a stored row");
            prop_assert_eq!(read_us, timestamp_us);
            prop_assert_eq!(read_columns(&COLUMNS, encoded), Ok(values));
        }

        #[test]
        fn appended_columns_read_as_null(values in columns(), declared in 0..=COLUMNS.len()) {
            let mut encoded = Vec::new();
            push_columns(&mut encoded, &values[..declared]);
            let mut expected = values[..declared].to_vec();
            expected.resize(COLUMNS.len(), Value::Null);
            prop_assert_eq!(read_columns(&COLUMNS, &encoded), Ok(expected.clone()));
            let mut again = Vec::new();
            push_columns(&mut again, &expected);
            prop_assert_eq!(again, encoded);
        }

        #[test]
        fn any_bytes_are_columns_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = split_row(&bytes);
            if let Ok(values) = read_columns(&COLUMNS, &bytes) {
                prop_assert_eq!(values.len(), COLUMNS.len());
            }
        }
    }

    #[test]
    fn stored_bytes_stay_as_they_are() {
        let values =
            [Value::Bool(true), Value::Int(-300), Value::Text("é".into()), Value::Null, Value::Uuid([1; 16])];
        let mut stored = Vec::new();
        push_row(&mut stored, 258, &values);
        let header = [1, 0, 0, 0, 0, 0, 0, 1, 2].as_slice();
        let expected = [header, &[2], &[3, 0xD7, 0x04], &[4, 2, 0xC3, 0xA9], &[0], &[6], &[1; 16]].concat();
        assert_eq!(stored, expected);
    }
}
