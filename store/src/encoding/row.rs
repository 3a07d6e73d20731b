//! The encoding of a row's columns and timestamp: compact, versioned, and open to columns appended later.
//!
//! Persisted. A stored row is a version byte, the timestamp as eight big-endian bytes, and the columns. Each
//! column is a tag and its value; trailing nulls are left out, so a row has one encoding before and after columns
//! are appended to its table. A list is the number of its items, and for each its length in bytes and its fields,
//! encoded as columns are.

use bytes::Bytes;

use crate::items::Items;
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
const LIST: u8 = 7;

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
    let mut fields = FieldWriter::new(out);
    columns.iter().for_each(|value| fields.value(value));
}

/// Appends columns, or the fields of an item, one after the other. Trailing nulls are left out, so that a row has one
/// encoding.
pub struct FieldWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Nulls that are written once something follows.
    nulls: usize,
}

impl<'a> FieldWriter<'a> {
    /// Appends to `out`.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, nulls: 0 }
    }

    fn tag(&mut self, tag: u8) {
        for _ in 0..std::mem::take(&mut self.nulls) {
            self.out.push(NULL);
        }
        self.out.push(tag);
    }

    /// No value.
    pub const fn null(&mut self) {
        self.nulls += 1;
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.tag(if value { TRUE } else { FALSE });
    }

    /// An integer.
    pub fn int(&mut self, value: i64) {
        self.tag(INT);
        push_varint(self.out, zigzag(value));
    }

    /// Text.
    pub fn text(&mut self, value: &str) {
        self.tag(TEXT);
        push_sized(self.out, value.as_bytes());
    }

    /// Bytes.
    pub fn blob(&mut self, value: &[u8]) {
        self.tag(BLOB);
        push_sized(self.out, value);
    }

    /// A UUID's bytes.
    pub fn uuid(&mut self, value: &[u8; 16]) {
        self.tag(UUID);
        self.out.extend_from_slice(value);
    }

    /// Text, or no value.
    pub fn maybe_text(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.text(value),
            None => self.null(),
        }
    }

    /// An integer, or no value.
    pub fn maybe_int(&mut self, value: Option<i64>) {
        match value {
            Some(value) => self.int(value),
            None => self.null(),
        }
    }

    /// Any value.
    pub fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Int(value) => self.int(*value),
            Value::Text(value) => self.text(value),
            Value::Blob(value) => self.blob(value),
            Value::Uuid(value) => self.uuid(value),
            Value::List(items) => {
                self.tag(LIST);
                push_varint(self.out, items.len() as u64);
                self.out.extend_from_slice(items.encoded());
            }
        }
    }
}

const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
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
        (INT, ColumnType::Int) => Value::Int(unzigzag(read_varint(rest)?)),
        (TEXT, ColumnType::Text) => {
            Value::Text(std::str::from_utf8(read_sized(rest)?).map_err(|_| "text that is not UTF-8")?.into())
        }
        (BLOB, ColumnType::Blob) => Value::Blob(Bytes::copy_from_slice(read_sized(rest)?)),
        (UUID, ColumnType::Uuid) => {
            Value::Uuid(take(rest, 16)?.try_into().map_err(|_| "a UUID that is not 16 bytes")?)
        }
        (LIST, ColumnType::List(fields)) => {
            let count = read_varint(rest)?;
            Value::List(Items::read(rest, count, fields)?)
        }
        _ => return Err("a value of another type than the column's"),
    })
}

/// How many fields an item has; one more than are declared if a newer build appended some to them. Those declared must
/// be of their types, and the last one must have a value: equal items have equal bytes.
pub(crate) fn fields_present(item: &[u8], declared: &[Column]) -> Result<usize, &'static str> {
    let (mut rest, mut present) = (item, 0);
    while let Some((tag, after)) = rest.split_first() {
        if present == declared.len() {
            return Ok(present + 1);
        }
        rest = after;
        let kind = match *tag {
            NULL => None,
            FALSE | TRUE => Some(ColumnType::Bool),
            INT => {
                read_varint(&mut rest)?;
                Some(ColumnType::Int)
            }
            TEXT => {
                read_sized(&mut rest)?;
                Some(ColumnType::Text)
            }
            BLOB => {
                read_sized(&mut rest)?;
                Some(ColumnType::Blob)
            }
            UUID => {
                take(&mut rest, 16)?;
                Some(ColumnType::Uuid)
            }
            // No list has lists.
            _ => return Err("an item with a field of an unknown type"),
        };
        if kind.is_some_and(|kind| kind != declared[present].kind) {
            return Err("an item with a field of another type than declared");
        }
        present += 1;
        if kind.is_none() && rest.is_empty() {
            return Err("an item that ends with a null");
        }
    }
    Ok(present)
}

/// The first field of an item, if it is an integer.
pub(crate) fn first_int(item: &[u8]) -> Option<i64> {
    let (tag, mut rest) = item.split_first()?;
    (*tag == INT).then(|| read_varint(&mut rest).ok().map(unzigzag)).flatten()
}

fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn read_sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    let length = usize::try_from(read_varint(rest)?).map_err(|_| "a length out of range")?;
    take(rest, length)
}

pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
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

    const FIELDS: [Column; 3] = [
        Column::new("place", ColumnType::Int),
        Column::new("title", ColumnType::Text),
        Column::new("content", ColumnType::Blob),
    ];

    /// The fields before two were appended.
    const FIELDS_BEFORE: [Column; 1] = [FIELDS[0]];

    const COLUMNS: [Column; 6] = [
        Column::new("flag", ColumnType::Bool),
        Column::new("count", ColumnType::Int),
        Column::new("label", ColumnType::Text),
        Column::new("bytes", ColumnType::Blob),
        Column::new("id", ColumnType::Uuid),
        Column::new("items", ColumnType::List(&FIELDS)),
    ];

    fn columns() -> impl Strategy<Value = Vec<Value>> {
        let or_null = |value: BoxedStrategy<Value>| prop_oneof![Just(Value::Null), value];
        let item = (
            or_null(any::<i64>().prop_map(Value::Int).boxed()),
            or_null(any::<String>().prop_map(|text| Value::Text(text.into())).boxed()),
            or_null(
                proptest::collection::vec(any::<u8>(), 0..300).prop_map(|it| Value::Blob(it.into())).boxed(),
            ),
        );
        let item = item.prop_map(|(place, title, content)| vec![place, title, content]);
        (
            or_null(any::<bool>().prop_map(Value::Bool).boxed()),
            or_null(any::<i64>().prop_map(Value::Int).boxed()),
            or_null(any::<String>().prop_map(|text| Value::Text(text.into())).boxed()),
            or_null(any::<Vec<u8>>().prop_map(|bytes| Value::Blob(bytes.into())).boxed()),
            or_null(any::<[u8; 16]>().prop_map(Value::Uuid).boxed()),
            or_null(proptest::collection::vec(item, 0..9).prop_map(Value::list).boxed()),
        )
            .prop_map(|(flag, count, label, bytes, id, items)| vec![flag, count, label, bytes, id, items])
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
        fn fields_appended_to_a_list_read_as_null_and_those_of_a_newer_build_are_left_out(values in columns()) {
            let items = values[5].clone();
            let mut encoded = Vec::new();
            push_columns(&mut encoded, &[items.clone(), Value::Int(7)]);
            let Value::List(items) = items else { return Ok(()) };
            let items: Vec<_> = items.iter().map(|item| item.values(&FIELDS).expect("an item")).collect();
            let cut = [
                Column::new("items", ColumnType::List(&FIELDS_BEFORE)),
                Column::new("count", ColumnType::Int),
            ];
            let expected = items.iter().map(|item| item[..1].to_vec());
            let read = read_columns(&cut, &encoded);
            prop_assert_eq!(&read, &Ok(vec![Value::list(expected), Value::Int(7)]));
            let mut again = Vec::new();
            push_columns(&mut again, &read.expect("columns"));
            let Ok(Value::List(items)) = read_columns(&COLUMNS[5..], &again).map(|mut read| read.remove(0)) else {
                panic!("a list");
            };
            let items = items.iter().map(|item| item.values(&FIELDS).expect("an item"));
            prop_assert!(items.into_iter().all(|item| item[1..] == [Value::Null, Value::Null]));
        }

        #[test]
        fn any_bytes_are_columns_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = split_row(&bytes);
            let _ = read_columns(&COLUMNS[5..], &[&[LIST][..], &bytes].concat());
            if let Ok(values) = read_columns(&COLUMNS, &bytes) {
                prop_assert_eq!(values.len(), COLUMNS.len());
            }
        }
    }

    #[test]
    fn stored_bytes_stay_as_they_are() {
        let items =
            vec![vec![Value::Int(1), Value::Null, Value::Null], vec![Value::Null, Value::Text("a".into())]];
        let values = [
            Value::Bool(true),
            Value::Int(-300),
            Value::Text("é".into()),
            Value::Null,
            Value::Uuid([1; 16]),
            Value::list(items),
        ];
        let mut stored = Vec::new();
        push_row(&mut stored, 258, &values);
        let header = [1, 0, 0, 0, 0, 0, 0, 1, 2].as_slice();
        let list = [7, 2, 2, 3, 2, 4, 0, 4, 1, b'a'].as_slice();
        let expected =
            [header, &[2], &[3, 0xD7, 0x04], &[4, 2, 0xC3, 0xA9], &[0], &[6], &[1; 16], list].concat();
        assert_eq!(stored, expected);
    }
}
