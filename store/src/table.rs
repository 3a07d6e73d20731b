//! Table declarations: names, keys and columns, from which CQL DDL and the embedded encoding follow.

/// A table of a view.
#[derive(Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// The table's name, `snake_case`; persisted.
    pub name: &'static str,
    /// The table's number in the embedded store; persisted, never reused.
    pub number: u16,
    /// Columns of the partition key, at least one.
    pub partition_key: &'static [Column],
    /// Columns of the clustering key; may be empty, then a partition is one row.
    pub clustering_key: &'static [Column],
    /// Columns of the static row, one per partition, that exists beside the clustering rows.
    pub static_columns: &'static [Column],
    /// The other columns of a row, in persisted order; new ones are appended.
    pub columns: &'static [Column],
    /// Set for tables whose rows are written once and hardly ever deleted: rows that agree in the first clustering
    /// column, an [`ColumnType::Int`], but for this many of its lowest bits, at most 62, are a *bucket*. The embedded
    /// store keeps what one write set has of a bucket as one entry and reads buckets as wholes, so there should be
    /// some tens to hundreds of rows in each. Such tables have no static columns. `None`: every row is an entry.
    pub bucket_bits: Option<u8>,
    /// What becomes of its rows. A promise of those who write them; stores may be cheaper for it.
    pub rows: Rows,
}

/// What becomes of a table's rows after they were put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Whoever puts a row key, and whenever, puts the same values, or with a later timestamp values that take the place
    /// of those before; the same columns are null. Never deleted but with the generation.
    Final,
    /// Put and deleted; whoever puts a row key again leaves the same columns null. Readers check each row against
    /// what it points to, so that one that came back misleads nobody.
    Index,
    /// Overwritten with any values, and deleted.
    Current,
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name, `snake_case`.
    pub name: &'static str,
    /// Type of its values.
    pub kind: ColumnType,
    /// Order within a clustering key; ignored elsewhere.
    pub order: Order,
}

impl Column {
    /// An ascending column.
    pub const fn new(name: &'static str, kind: ColumnType) -> Self {
        Self { name, kind, order: Order::Ascending }
    }

    /// A descending clustering column.
    pub const fn descending(name: &'static str, kind: ColumnType) -> Self {
        Self { name, kind, order: Order::Descending }
    }
}

/// Types of columns; each but the list has an order-preserving key encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// CQL `boolean`.
    Bool,
    /// CQL `bigint`.
    Int,
    /// CQL `text`.
    Text,
    /// CQL `blob`.
    Blob,
    /// CQL `uuid`; 16 bytes. Ordered by bytes in the embedded store; no clustering key is of this type.
    Uuid,
    /// A list of items, each with a value for every field named here, or null; put as a whole. CQL
    /// `frozen<list<frozen<…>>>` of a type of its own. Not in keys, and not within another list. New fields are
    /// appended, and items written before read as null there.
    List(&'static [Column]),
}

/// Order of a clustering column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest first.
    Ascending,
    /// Greatest first.
    Descending,
}
