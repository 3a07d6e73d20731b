//! Lists within rows. The items of a list are kept as the bytes that stand for them in a stored row (`encoding::row`),
//! so that long lists are written, compared and summed up without a value for each of their fields.

use bytes::Bytes;

use crate::encoding::row::{self, FieldWriter};
use crate::{Column, Value};

/// The items of a list, in their order. Equal lists have equal bytes, whether fields at the end of an item are null or
/// were never given.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Items {
    /// Each after its length.
    encoded: Bytes,
    count: usize,
}

/// One item: the fields it has, as they are stored. Fields that it does not have are null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a>(&'a [u8]);

/// Collects items.
#[derive(Debug, Default)]
pub struct ItemsBuilder {
    encoded: Vec<u8>,
    count: usize,
}

impl Items {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The items, each after its length, as they are stored.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// The items.
    pub fn iter(&self) -> impl Iterator<Item = Item<'_>> {
        let mut rest: &[u8] = &self.encoded;
        // Whoever makes a list has counted, and measured, its items.
        (0..self.count).map_while(move |_| row::read_sized(&mut rest).ok().map(Item))
    }

    /// Reads `count` items of these fields off the front of `rest`. What a newer build appended to them is left out.
    pub(crate) fn read(rest: &mut &[u8], count: u64, fields: &[Column]) -> Result<Self, &'static str> {
        let whole = *rest;
        let (mut known, mut number) = (true, 0);
        for _ in 0..count {
            let item = row::read_sized(rest)?;
            known &= row::fields_present(item, fields)? <= fields.len();
            number += 1;
        }
        let encoded = &whole[..whole.len() - rest.len()];
        let items = Self { encoded: Bytes::copy_from_slice(encoded), count: number };
        if known {
            return Ok(items);
        }
        let mut cut = ItemsBuilder::default();
        for item in items.iter() {
            cut.push_values(&item.values(fields)?);
        }
        Ok(cut.finish())
    }
}

impl<'a> Item<'a> {
    /// The item that these bytes stand for, as a [`FieldWriter`] made them.
    pub const fn new(encoded: &'a [u8]) -> Self {
        Self(encoded)
    }

    /// Its bytes.
    pub const fn encoded(self) -> &'a [u8] {
        self.0
    }

    /// The values of the fields declared.
    ///
    /// # Errors
    /// What is wrong with the bytes, if they are not such an item.
    pub fn values(self, fields: &[Column]) -> Result<Vec<Value>, &'static str> {
        row::read_columns(fields, self.0)
    }

    /// The first field, if it is an integer.
    pub fn first_int(self) -> Option<i64> {
        row::first_int(self.0)
    }
}

impl ItemsBuilder {
    /// Adds an item.
    pub fn push(&mut self, item: Item<'_>) {
        row::push_varint(&mut self.encoded, item.0.len() as u64);
        self.encoded.extend_from_slice(item.0);
        self.count += 1;
    }

    /// Adds an item of these values.
    pub fn push_values(&mut self, values: &[Value]) {
        let mut item = Vec::new();
        let mut fields = FieldWriter::new(&mut item);
        values.iter().for_each(|value| fields.value(value));
        self.push(Item(&item));
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none yet.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the items so far.
    pub const fn bytes(&self) -> usize {
        self.encoded.len()
    }

    /// The list.
    pub fn finish(self) -> Items {
        Items { encoded: self.encoded.into(), count: self.count }
    }
}

impl FromIterator<Vec<Value>> for Items {
    fn from_iter<I: IntoIterator<Item = Vec<Value>>>(items: I) -> Self {
        let mut builder = ItemsBuilder::default();
        items.into_iter().for_each(|values| builder.push_values(&values));
        builder.finish()
    }
}

impl Value {
    /// A list of items, each the values of its fields in their order.
    pub fn list(items: impl IntoIterator<Item = Vec<Self>>) -> Self {
        Self::List(items.into_iter().collect())
    }
}
