//! Which tables exist in which generation, and whether a declaration still fits the rows written under it.

use std::collections::BTreeMap;

use crate::{Column, ColumnType, Generation, Order, StoreError, TableSchema};

/// Most bits a bucket leaves out, so that there is more than one bucket on either side of 0.
const BUCKET_BITS_MAX: u8 = 62;

/// Ends the types of a list's fields.
const LIST_END: u8 = 0;

/// The tables of every generation.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    tables: BTreeMap<(Generation, u16), Declaration>,
}

/// What of a table's declaration its stored rows depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declaration {
    name: String,
    /// Types of the columns of the partition key, clustering key, static row and other rows.
    groups: [Vec<u8>; 4],
    /// Of its buckets: the number of bits and one, 0 when there are none.
    buckets: u8,
}

impl Catalog {
    /// Refuses a table that the generation does not have.
    pub(crate) fn require(
        &self,
        generation: Generation,
        table: &'static TableSchema,
    ) -> Result<(), StoreError> {
        match self.tables.get(&(generation, table.number)) {
            Some(declaration) if declaration.name == table.name => Ok(()),
            _ => Err(StoreError::UnknownTable { table: table.name, generation: generation.0 }),
        }
    }

    /// The declarations that creating these tables would add or extend.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when a table exists with another name, key or column types.
    pub(crate) fn plan(
        &self,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<Vec<(u16, Declaration)>, StoreError> {
        let mut planned: BTreeMap<u16, Declaration> = BTreeMap::new();
        for table in tables {
            check_buckets(table)?;
            check_lists(table)?;
            let declaration = Declaration::of(table);
            let existing =
                planned.get(&table.number).or_else(|| self.tables.get(&(generation, table.number)));
            match existing {
                Some(existing) if *existing == declaration => {}
                Some(existing) if !existing.fits(&declaration) => {
                    return Err(StoreError::Refused {
                        table: table.name,
                        what: format!(
                            "number {} of generation {} was declared as {} with other keys or columns; \
                             a changed view needs a new generation",
                            table.number, generation.0, existing.name
                        ),
                    });
                }
                Some(existing) if existing.columns() > declaration.columns() => {}
                _ => {
                    planned.insert(table.number, declaration);
                }
            }
        }
        Ok(planned.into_iter().collect())
    }

    /// Adds or replaces a declaration.
    pub(crate) fn insert(&mut self, generation: Generation, number: u16, declaration: Declaration) {
        self.tables.insert((generation, number), declaration);
    }

    /// Removes a generation; its tables' numbers.
    pub(crate) fn remove(&mut self, generation: Generation) -> Vec<u16> {
        let numbers = self.numbers(generation);
        self.tables.retain(|(of, _), _| *of != generation);
        numbers
    }

    /// The numbers of a generation's tables.
    pub(crate) fn numbers(&self, generation: Generation) -> Vec<u16> {
        let range = (generation, 0)..=(generation, u16::MAX);
        self.tables.range(range).map(|((_, number), _)| *number).collect()
    }
}

impl Declaration {
    fn of(table: &TableSchema) -> Self {
        Self {
            name: table.name.to_owned(),
            groups: [
                types(table.partition_key, false),
                types(table.clustering_key, true),
                types(table.static_columns, false),
                types(table.columns, false),
            ],
            buckets: table.bucket_bits.map_or(0, |bits| bits + 1),
        }
    }

    /// Whether rows of one declaration can be read under the other: columns may have been appended.
    fn fits(&self, other: &Self) -> bool {
        let [partition, clustering, fixed, columns] = &self.groups;
        let [other_partition, other_clustering, other_fixed, other_columns] = &other.groups;
        self.name == other.name
            && self.buckets == other.buckets
            && partition == other_partition
            && clustering == other_clustering
            && is_extension(fixed, other_fixed)
            && is_extension(columns, other_columns)
    }

    fn columns(&self) -> usize {
        self.groups[2].len() + self.groups[3].len()
    }

    /// The persisted form: the groups, the buckets and the name, each after its length.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for part in
            self.groups.iter().map(Vec::as_slice).chain([[self.buckets].as_slice(), self.name.as_bytes()])
        {
            out.extend_from_slice(&(part.len() as u32).to_be_bytes());
            out.extend_from_slice(part);
        }
        out
    }

    /// Reads the persisted form; `None` when it is not one.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut part = || {
            let (length, rest) = bytes.split_first_chunk::<4>()?;
            let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            bytes = rest;
            Some(part.to_vec())
        };
        let groups = [part()?, part()?, part()?, part()?];
        let [buckets] = part()?[..] else { return None };
        let name = String::from_utf8(part()?).ok()?;
        bytes.is_empty().then_some(Self { name, groups, buckets })
    }
}

/// Whether two groups of columns differ only in that one of them has more columns, or more fields in a list.
fn is_extension(mut left: &[u8], mut right: &[u8]) -> bool {
    // Where one list has ended, the rest of the other.
    let after_fields = |types: &[u8]| types.iter().position(|kind| *kind == LIST_END).unwrap_or(types.len());
    while let (Some(first), Some(second)) = (left.first(), right.first()) {
        match (*first, *second) {
            (first, second) if first == second => (left, right) = (&left[1..], &right[1..]),
            (LIST_END, _) => right = &right[after_fields(right)..],
            (_, LIST_END) => left = &left[after_fields(left)..],
            _ => return false,
        }
    }
    true
}

/// Refuses lists where there can be none.
pub(crate) fn check_lists(table: &'static TableSchema) -> Result<(), StoreError> {
    let is_list = |column: &Column| matches!(column.kind, ColumnType::List(_));
    let has_bad_fields = |column: &Column| match column.kind {
        ColumnType::List(fields) => fields.is_empty() || fields.iter().any(is_list),
        _ => false,
    };
    let refuse = |what: &str| Err(StoreError::Refused { table: table.name, what: what.to_owned() });
    if table.partition_key.iter().chain(table.clustering_key).any(is_list) {
        return refuse("a key cannot have a list");
    }
    if table.static_columns.iter().chain(table.columns).any(has_bad_fields) {
        return refuse("a list needs fields, none of which is a list");
    }
    Ok(())
}

/// Refuses buckets of a table that cannot have them.
fn check_buckets(table: &'static TableSchema) -> Result<(), StoreError> {
    let Some(bits) = table.bucket_bits else { return Ok(()) };
    let is_int = table.clustering_key.first().is_some_and(|column| column.kind == ColumnType::Int);
    if bits <= BUCKET_BITS_MAX && is_int && table.static_columns.is_empty() {
        return Ok(());
    }
    Err(StoreError::Refused {
        table: table.name,
        what: format!(
            "buckets of {bits} bits need a first clustering column of type Int, no static columns, and at most \
             {BUCKET_BITS_MAX} bits"
        ),
    })
}

/// One byte for each column; a list is one, the types of its fields, and its end.
fn types(columns: &[Column], ordered: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(columns.len());
    for column in columns {
        let kind = match column.kind {
            ColumnType::Bool => 1,
            ColumnType::Int => 2,
            ColumnType::Text => 3,
            ColumnType::Blob => 4,
            ColumnType::Uuid => 5,
            ColumnType::List(_) => 6,
        };
        out.push(if ordered && column.order == Order::Descending { kind | 0x80 } else { kind });
        if let ColumnType::List(fields) = column.kind {
            out.extend(types(fields, false));
            out.push(LIST_END);
        }
    }
    out
}
