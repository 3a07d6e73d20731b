//! Values as the cells of statements and results. Whether values fit their table was checked before they come here;
//! what comes back is believed only as far as its bytes allow.

use bytes::Bytes;
use compact_str::CompactString;
use scylla::errors::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;

use super::statement::Statement;
use crate::check::columns_of;
use crate::{Column, ColumnType, Items, ItemsBuilder, Value, Write};

/// What a null outside a key is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    /// A deleted cell, which hides an older value.
    Deleted,
    /// Nothing: no older value can be there, or what hides it is written beside.
    Unset,
}

/// A write bound to one of the statements that write.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoundWrite<'a> {
    pub(super) statement: Statement,
    pub(super) write: &'a Write,
    pub(super) timestamp_us: i64,
    pub(super) nulls: Nulls,
}

impl SerializeRow for BoundWrite<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let key = &self.write.key;
        let is_deletion = matches!(self.statement, Statement::Delete | Statement::DeleteStatic);
        if is_deletion {
            push_bytes(writer, &self.timestamp_us.to_be_bytes())?;
        }
        for value in key.partition.iter().chain(key.clustering.iter().flatten()) {
            push(writer, value, self.nulls)?;
        }
        if !is_deletion {
            let declared = columns_of(self.write.table, key);
            for (value, column) in self.write.columns.iter().flatten().zip(declared) {
                match (value, column.kind) {
                    (Value::List(items), ColumnType::List(fields)) => {
                        push_bytes(writer, &list(fields, items)?)?;
                    }
                    _ => push(writer, value, self.nulls)?,
                }
            }
            push_bytes(writer, &self.timestamp_us.to_be_bytes())?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// Values bound to a statement that reads.
#[derive(Debug, Clone)]
pub(super) struct BoundRead<'a> {
    pub(super) values: Vec<&'a Value>,
    /// A token, after the values.
    pub(super) token: Option<i64>,
}

impl<'a> BoundRead<'a> {
    pub(super) fn of(values: impl IntoIterator<Item = &'a Value>) -> Self {
        Self { values: values.into_iter().collect(), token: None }
    }

    pub(super) const fn token(token: i64) -> Self {
        Self { values: Vec::new(), token: Some(token) }
    }
}

impl SerializeRow for BoundRead<'_> {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        for value in &self.values {
            push(writer, value, Nulls::Deleted)?;
        }
        if let Some(token) = self.token {
            push_bytes(writer, &token.to_be_bytes())?;
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.token.is_none()
    }
}

fn push(writer: &mut RowWriter<'_>, value: &Value, nulls: Nulls) -> Result<(), SerializationError> {
    match value {
        Value::Null => {
            let cell = writer.make_cell_writer();
            match nulls {
                Nulls::Deleted => cell.set_null(),
                Nulls::Unset => cell.set_unset(),
            };
            Ok(())
        }
        Value::Bool(value) => push_bytes(writer, &[u8::from(*value)]),
        Value::Int(value) => push_bytes(writer, &value.to_be_bytes()),
        Value::Text(value) => push_bytes(writer, value.as_bytes()),
        Value::Blob(value) => push_bytes(writer, value),
        Value::Uuid(value) => push_bytes(writer, value),
        // No key has lists.
        Value::List(_) => Err(SerializationError::new(Malformed("a list in a key"))),
    }
}

/// A list as the protocol has it: the number of items, and each after its length; an item is its fields, each after
/// its length, which is negative for null.
fn list(fields: &[Column], items: &Items) -> Result<Vec<u8>, SerializationError> {
    let sized = |bytes: usize| i32::try_from(bytes).map(i32::to_be_bytes).map_err(SerializationError::new);
    let mut out = Vec::with_capacity(items.encoded().len() + items.len() * (fields.len() + 1) * 4);
    out.extend_from_slice(&sized(items.len())?);
    let mut item_bytes = Vec::new();
    for item in items.iter() {
        item_bytes.clear();
        let values = item.values(fields).map_err(|what| SerializationError::new(Malformed(what)))?;
        for value in &values {
            let mut push = |bytes: &[u8]| -> Result<(), SerializationError> {
                item_bytes.extend_from_slice(&sized(bytes.len())?);
                item_bytes.extend_from_slice(bytes);
                Ok(())
            };
            match value {
                // Lists within lists are refused with their table.
                Value::Null | Value::List(_) => item_bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
                Value::Bool(value) => push(&[u8::from(*value)])?,
                Value::Int(value) => push(&value.to_be_bytes())?,
                Value::Text(value) => push(value.as_bytes())?,
                Value::Blob(value) => push(value)?,
                Value::Uuid(value) => push(value)?,
            }
        }
        out.extend_from_slice(&sized(item_bytes.len())?);
        out.extend_from_slice(&item_bytes);
    }
    Ok(out)
}

/// An item whose bytes are not its fields.
#[derive(Debug, thiserror::Error)]
#[error("an item of a list cannot be read: {0}")]
struct Malformed(&'static str);

fn push_bytes(writer: &mut RowWriter<'_>, bytes: &[u8]) -> Result<(), SerializationError> {
    writer.make_cell_writer().set_value(bytes).map(drop).map_err(SerializationError::new)
}

/// Reads a cell; the error says what is wrong with it.
pub(super) fn read(kind: ColumnType, cell: Option<&[u8]>) -> Result<Value, &'static str> {
    let Some(bytes) = cell else { return Ok(Value::Null) };
    Ok(match kind {
        ColumnType::Bool => match bytes {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            _ => return Err("a boolean that is neither 0 nor 1"),
        },
        ColumnType::Int => Value::Int(read_integer(bytes)?),
        ColumnType::Text => {
            Value::Text(CompactString::from_utf8(bytes).map_err(|_| "text that is not UTF-8")?)
        }
        // A copy: a part of the answer would keep the whole of it in memory.
        ColumnType::Blob => Value::Blob(Bytes::copy_from_slice(bytes)),
        ColumnType::Uuid => Value::Uuid(bytes.try_into().map_err(|_| "a UUID that is not 16 bytes")?),
        ColumnType::List(fields) => Value::List(read_list(fields, bytes)?),
    })
}

/// Reads a list. Fields that an item does not have are null, those of a newer binary are left out.
fn read_list(fields: &[Column], mut bytes: &[u8]) -> Result<Items, &'static str> {
    const EARLY: &str = "a list that ends early";
    let (count, rest) = bytes.split_first_chunk::<4>().ok_or(EARLY)?;
    let count = usize::try_from(i32::from_be_bytes(*count)).map_err(|_| "a list of fewer items than none")?;
    bytes = rest;
    let mut items = ItemsBuilder::default();
    let mut values = Vec::with_capacity(fields.len());
    for _ in 0..count {
        let mut item = read_sized(&mut bytes)?.ok_or("a list with an item that is null")?;
        values.clear();
        for field in fields {
            let value = if item.is_empty() { None } else { read_sized(&mut item)? };
            values.push(read(field.kind, value)?);
        }
        items.push_values(&values);
    }
    if bytes.is_empty() { Ok(items.finish()) } else { Err("a list with bytes after its items") }
}

/// Takes bytes that stand after their length; none if that is negative.
fn read_sized<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, &'static str> {
    const EARLY: &str = "an item of a list that ends early";
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(EARLY)?;
    let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
        *bytes = rest;
        return Ok(None);
    };
    let (value, rest) = rest.split_at_checked(length).ok_or(EARLY)?;
    *bytes = rest;
    Ok(Some(value))
}

/// Reads a 64-bit integer.
pub(super) fn read_integer(bytes: &[u8]) -> Result<i64, &'static str> {
    bytes.try_into().map(i64::from_be_bytes).map_err(|_| "an integer that is not 8 bytes")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::RowKey;
    use crate::suite::tables::{ITEMS, PLAIN, part};

    const KINDS: [ColumnType; 5] =
        [ColumnType::Bool, ColumnType::Int, ColumnType::Text, ColumnType::Blob, ColumnType::Uuid];

    fn cells(row: &impl SerializeRow) -> Vec<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let mut writer = RowWriter::new(&mut bytes);
        row.serialize(&RowSerializationContext::empty(), &mut writer).expect("cells");
        let mut rest = bytes.as_slice();
        let mut out = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = i32::from_be_bytes(*length);
            let (cell, after) = after.split_at(usize::try_from(length).unwrap_or(0));
            out.push((length >= 0).then(|| cell.to_vec()));
            rest = after;
        }
        out
    }

    proptest! {
        #[test]
        fn values_are_read_back(
            flag: bool,
            count: i64,
            label in any::<String>(),
            bytes in any::<Vec<u8>>(),
            id: [u8; 16],
            present: [bool; 5],
        ) {
            let values = [
                Value::Bool(flag),
                Value::Int(count),
                Value::Text(label.into()),
                Value::Blob(bytes.into()),
                Value::Uuid(id),
            ];
            let columns: Vec<Value> = values
                .into_iter()
                .zip(present)
                .map(|(value, present)| if present { value } else { Value::Null })
                .collect();
            let key = RowKey { partition: vec![Value::Uuid(id)], clustering: Some(vec![]) };
            let write = Write { table: &PLAIN, key, timestamp_us: -5, columns: Some(columns.clone()) };
            let bound = BoundWrite {
                statement: Statement::Put,
                write: &write,
                timestamp_us: -5,
                nulls: Nulls::Unset,
            };
            let cells = cells(&bound);
            prop_assert_eq!(cells.len(), 7);
            let read: Result<Vec<_>, _> =
                KINDS.iter().zip(&cells[1..6]).map(|(kind, cell)| read(*kind, cell.as_deref())).collect();
            prop_assert_eq!(read, Ok(columns));
            prop_assert_eq!(cells[6].as_deref().map(read_integer), Some(Ok(-5)));
        }

        #[test]
        fn lists_are_read_back_also_by_builds_of_fewer_and_more_fields(
            items in proptest::collection::vec((any::<Option<i64>>(), any::<Option<String>>()), 0..9),
        ) {
            let kind = ITEMS.columns[1].kind;
            let items: Vec<Vec<Value>> = items
                .into_iter()
                .map(|(place, label)| {
                    let label = label.map_or(Value::Null, |label| Value::Text(label.into()));
                    vec![place.map_or(Value::Null, Value::Int), label]
                })
                .collect();
            let ColumnType::List(fields) = kind else { panic!("a list") };
            let list = |items: &[Vec<Value>]| {
                super::list(fields, &items.iter().cloned().collect()).expect("a cell")
            };
            let values = |items: &Items| -> Vec<Vec<Value>> {
                items.iter().map(|item| item.values(fields).expect("an item")).collect()
            };
            let cell = list(&items);
            prop_assert_eq!(read(kind, Some(&cell)), Ok(Value::list(items.clone())));
            let fewer = values(&read_list(&fields[..1], &cell).expect("a list"));
            prop_assert!(fewer.iter().zip(&items).all(|(read, item)| *read == [item[0].clone(), Value::Null]));
            let older = list(&fewer);
            let padded = values(&read_list(fields, &older).expect("a list"));
            prop_assert!(padded.iter().zip(&items).all(|(read, item)| *read == [item[0].clone(), Value::Null]));
            prop_assert!(read_list(fields, &cell[..cell.len() - 1]).is_err());
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in any::<Vec<u8>>(), kind in 0..KINDS.len()) {
            let _ = read(KINDS[kind], Some(&bytes));
            let _ = read(ITEMS.columns[1].kind, Some(&bytes));
            let few = [&[0, 0, 0, bytes.len() as u8 % 4][..], &bytes].concat();
            let _ = read(ITEMS.columns[1].kind, Some(&few));
        }
    }

    #[test]
    fn a_deletion_binds_its_timestamp_first() {
        let write = part(1, 2, 8, None);
        let bound = BoundWrite {
            statement: Statement::Delete,
            write: &write,
            timestamp_us: 7,
            nulls: Nulls::Deleted,
        };
        let cells = cells(&bound);
        assert_eq!(cells.len(), 5);
        assert_eq!(cells[0].as_deref().map(read_integer), Some(Ok(7)));
        assert_eq!(cells[1].as_deref(), Some(&b"default"[..]));
    }
}
