//! The statements that create the keyspace and the tables, as ScyllaDB and Cassandra both take them. Pure; who runs
//! them is said in `schema`.

use super::options::{CqlStoreOptions, is_name};
use crate::catalog::check_lists;
use crate::{Column, ColumnType, Generation, Order, Rows, StoreError, TableSchema};

/// The column whose write time is that of a clustering row.
pub(super) const ROW_WRITTEN: &str = "row_written";
/// The column whose write time is that of a static row.
pub(super) const STATIC_WRITTEN: &str = "static_written";

/// How long deletions are kept in tables whose readers see through rows that came back: somewhat longer than hints
/// are kept for a node that is away (3 hours), so that a short absence brings nothing back.
const GRACE_INDEX_S: u32 = 4 * 60 * 60;
/// How long deletions are kept elsewhere: the databases' default, within which replicas must be repaired.
const GRACE_S: u32 = 10 * 24 * 60 * 60;

impl CqlStoreOptions {
    /// The statements that create the keyspace and a generation's tables: what [`CqlStore`](super::CqlStore) runs
    /// where they are missing, and an administrator may run before.
    ///
    /// # Errors
    /// When the options cannot be used, or a table cannot be declared in CQL.
    pub fn ddl(
        &self,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<Vec<String>, StoreError> {
        self.check()?;
        let mut statements = vec![create_keyspace(self)];
        for table in tables {
            statements.extend(create_table(&self.keyspace, generation, table)?);
        }
        Ok(statements)
    }
}

impl CqlStoreOptions {
    /// The statement that gives the keyspace the replicas of these options.
    pub fn alter_keyspace(&self) -> String {
        alter_keyspace(self)
    }
}

/// The statement that creates the keyspace, with replicas in this datacenter alone.
pub(super) fn create_keyspace(options: &CqlStoreOptions) -> String {
    format!("CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {}", options.keyspace, replication(options))
}

/// The statement that replicates the keyspace in this datacenter alone.
pub(super) fn alter_keyspace(options: &CqlStoreOptions) -> String {
    format!("ALTER KEYSPACE {} WITH replication = {}", options.keyspace, replication(options))
}

fn replication(options: &CqlStoreOptions) -> String {
    format!(
        "{{'class': 'NetworkTopologyStrategy', '{}': {}}}",
        options.datacenter, options.replication_factor
    )
}

/// The name of a table in a generation.
pub(super) fn table_name(generation: Generation, table: &TableSchema) -> String {
    format!("{}{}", table.name, suffix(generation))
}

/// What the names of a generation's tables end with.
pub(super) fn suffix(generation: Generation) -> String {
    format!("_g{}", generation.0)
}

/// The comment that tells a table of ours and its number.
pub(super) fn comment(table: &TableSchema) -> String {
    format!("{COMMENT}{}", table.number)
}

/// The number in a comment; none when the table is not ours.
pub(super) fn number_of(comment: &str) -> Option<u16> {
    comment.strip_prefix(COMMENT)?.parse().ok()
}

const COMMENT: &str = "tidewheel table ";

/// The statements that create a table, and before it the types of its lists.
pub(super) fn create_table(
    keyspace: &str,
    generation: Generation,
    table: &'static TableSchema,
) -> Result<Vec<String>, StoreError> {
    check(generation, table)?;
    let name = table_name(generation, table);
    let declared = table.static_columns.iter().chain(table.columns);
    let mut statements: Vec<String> =
        declared.filter_map(|column| create_type(keyspace, &name, column)).collect();
    let mut columns: Vec<String> = Vec::new();
    let mut declare = |column: &Column, suffix: &str| {
        columns.push(format!("{} {}{suffix}", quoted(column.name), type_name(&name, column)));
    };
    table.partition_key.iter().chain(table.clustering_key).for_each(|column| declare(column, ""));
    for (column, is_static) in own_and_declared(table) {
        declare(&column, if is_static { " static" } else { "" });
    }
    let partition = list(table.partition_key.iter().map(|column| quoted(column.name)));
    let mut key = vec![format!("({partition})")];
    key.extend(table.clustering_key.iter().map(|column| quoted(column.name)));
    let order = table.clustering_key.iter().map(|column| {
        format!("{} {}", quoted(column.name), if column.order == Order::Descending { "DESC" } else { "ASC" })
    });
    let order = if table.clustering_key.is_empty() {
        String::new()
    } else {
        format!("CLUSTERING ORDER BY ({}) AND ", list(order))
    };
    let (grace_s, compaction) = match table.rows {
        Rows::Index => (GRACE_INDEX_S, "LeveledCompactionStrategy"),
        Rows::Final | Rows::Current => (GRACE_S, "SizeTieredCompactionStrategy"),
    };
    statements.push(format!(
        "CREATE TABLE IF NOT EXISTS {keyspace}.{name} ({columns}, PRIMARY KEY ({key})) WITH {order}gc_grace_seconds = \
         {grace_s} AND compaction = {{'class': '{compaction}'}} AND comment = '{comment}'",
        columns = columns.join(", "),
        key = key.join(", "),
        comment = comment(table),
    ));
    Ok(statements)
}

/// The name of the type of a list's items.
fn item_type(table_name: &str, column: &Column) -> String {
    format!("{table_name}_{}", column.name)
}

/// The type of the items that a column of a table named so has; none if it is no list of a type of ours.
pub(super) fn item_type_of<'a>(table_name: &str, type_name: &'a str) -> Option<&'a str> {
    let of_items = type_name.strip_prefix("frozen<list<frozen<")?.strip_suffix(">>>")?;
    of_items.strip_prefix(table_name)?.starts_with('_').then_some(of_items)
}

/// The statement that creates the type of a list's items; none for other columns.
fn create_type(keyspace: &str, table_name: &str, column: &Column) -> Option<String> {
    let ColumnType::List(fields) = column.kind else { return None };
    let name = item_type(table_name, column);
    let fields =
        fields.iter().map(|field| format!("{} {}", quoted(field.name), type_name(table_name, field)));
    Some(format!("CREATE TYPE IF NOT EXISTS {keyspace}.{name} ({})", list(fields)))
}

/// What a table lacks and can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lacking {
    /// A column, and whether it is static.
    Column(Column, bool),
    /// A field of the items of a list: the list and the field.
    Field(Column, Column),
}

impl Lacking {
    /// The name of the column or field.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Column(column, _) => column.name,
            Self::Field(_, field) => field.name,
        }
    }

    /// The statements that append it to a table.
    pub(super) fn statements(&self, keyspace: &str, name: &str) -> Vec<String> {
        match self {
            Self::Column(column, is_static) => {
                let is_static = if *is_static { " static" } else { "" };
                let (quoted, type_name) = (quoted(column.name), type_name(name, column));
                let add = format!("ALTER TABLE {keyspace}.{name} ADD {quoted} {type_name}{is_static}");
                create_type(keyspace, name, column).into_iter().chain([add]).collect()
            }
            Self::Field(column, field) => {
                let (of, field, type_name) =
                    (item_type(name, column), quoted(field.name), type_name(name, field));
                vec![format!("ALTER TYPE {keyspace}.{of} ADD {field} {type_name}")]
            }
        }
    }
}

/// The columns outside the key, those of this backend first; the second says whether one is static.
pub(super) fn own_and_declared(table: &'static TableSchema) -> impl Iterator<Item = (Column, bool)> {
    let has_static = !table.static_columns.is_empty();
    let static_written = has_static.then(|| (Column::new(STATIC_WRITTEN, ColumnType::Bool), true));
    let declared = table.static_columns.iter().map(|column| (*column, true));
    let row_written = (Column::new(ROW_WRITTEN, ColumnType::Bool), false);
    let rest = table.columns.iter().map(|column| (*column, false));
    static_written.into_iter().chain(declared).chain([row_written]).chain(rest)
}

/// Refuses what CQL cannot declare: it has one space of names for all columns of a table.
fn check(generation: Generation, table: &'static TableSchema) -> Result<(), StoreError> {
    let refuse = |what: String| Err(StoreError::Refused { table: table.name, what });
    check_lists(table)?;
    let name = table_name(generation, table);
    if !is_name(&name) {
        return refuse(format!("`{name}` cannot name a table in CQL"));
    }
    if table.clustering_key.is_empty() && !table.static_columns.is_empty() {
        return refuse("static columns need a clustering key".to_owned());
    }
    let key = table.partition_key.iter().chain(table.clustering_key).copied();
    let mut names: Vec<&str> =
        key.chain(own_and_declared(table).map(|(column, _)| column)).map(|column| column.name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return refuse(format!("two columns are named {}", pair[0]));
    }
    for column in table.static_columns.iter().chain(table.columns) {
        let ColumnType::List(fields) = column.kind else { continue };
        let twice = fields
            .iter()
            .enumerate()
            .find(|(place, field)| fields[..*place].iter().any(|before| before.name == field.name));
        if let Some((_, field)) = twice {
            return refuse(format!("two fields of {} are named {}", column.name, field.name));
        }
        names.extend(fields.iter().map(|field| field.name));
    }
    match names.into_iter().find(|name| !is_name(name)) {
        Some(name) => refuse(format!("`{name}` cannot name a column in CQL")),
        None => Ok(()),
    }
}

/// A column's name as statements bear it: many are reserved words.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// The type of a column of a table, or of a field of its lists, as the database writes it.
pub(super) fn type_name(table_name: &str, column: &Column) -> String {
    match column.kind {
        ColumnType::Bool => "boolean".to_owned(),
        ColumnType::Int => "bigint".to_owned(),
        ColumnType::Text => "text".to_owned(),
        ColumnType::Blob => "blob".to_owned(),
        ColumnType::Uuid => "uuid".to_owned(),
        ColumnType::List(_) => format!("frozen<list<frozen<{}>>>", item_type(table_name, column)),
    }
}

pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[Column] =
        &[Column::new("label", ColumnType::Text), Column::new("open", ColumnType::Bool)];

    static TABLE: TableSchema = TableSchema {
        name: "things",
        number: 7,
        partition_key: &[Column::new("owner", ColumnType::Uuid), Column::new("day", ColumnType::Int)],
        clustering_key: &[
            Column::descending("offset", ColumnType::Int),
            Column::new("index", ColumnType::Blob),
        ],
        static_columns: &[Column::new("version", ColumnType::Int)],
        columns: FIELDS,
        bucket_bits: None,
        rows: Rows::Index,
    };

    #[test]
    fn statements_follow_the_declaration() {
        let options = CqlStoreOptions::new(["a"], "dc1", "views");
        let statements = options.ddl(Generation(3), &[&TABLE]).expect("statements");
        assert_eq!(
            statements,
            [
                "CREATE KEYSPACE IF NOT EXISTS views WITH replication = \
                 {'class': 'NetworkTopologyStrategy', 'dc1': 3}",
                "CREATE TABLE IF NOT EXISTS views.things_g3 (\"owner\" uuid, \"day\" bigint, \"offset\" bigint, \
                 \"index\" blob, \"static_written\" boolean static, \"version\" bigint static, \"row_written\" \
                 boolean, \"label\" text, \"open\" boolean, PRIMARY KEY ((\"owner\", \"day\"), \"offset\", \
                 \"index\")) WITH CLUSTERING ORDER BY (\"offset\" DESC, \"index\" ASC) AND gc_grace_seconds = 14400 \
                 AND compaction = {'class': 'LeveledCompactionStrategy'} AND comment = 'tidewheel table 7'",
            ]
        );
    }

    #[test]
    fn a_list_is_of_a_type_that_is_made_before_its_table() {
        static LISTS: TableSchema = TableSchema {
            static_columns: &[],
            columns: &[Column::new("entries", ColumnType::List(FIELDS))],
            ..TABLE
        };
        let statements = create_table("views", Generation(3), &LISTS).expect("statements");
        assert_eq!(statements.len(), 2);
        assert_eq!(
            statements[0],
            "CREATE TYPE IF NOT EXISTS views.things_g3_entries (\"label\" text, \"open\" boolean)"
        );
        assert!(statements[1].contains("\"entries\" frozen<list<frozen<things_g3_entries>>>, PRIMARY KEY"));
        let lacking = Lacking::Field(LISTS.columns[0], FIELDS[1]);
        assert_eq!(
            lacking.statements("views", "things_g3"),
            ["ALTER TYPE views.things_g3_entries ADD \"open\" boolean"]
        );
        let lacking = Lacking::Column(LISTS.columns[0], false).statements("views", "things_g3");
        assert_eq!(lacking[0], statements[0]);
        assert_eq!(
            lacking[1..],
            ["ALTER TABLE views.things_g3 ADD \"entries\" frozen<list<frozen<things_g3_entries>>>"]
        );
        let type_name = type_name("things_g3", &LISTS.columns[0]);
        assert_eq!(item_type_of("things_g3", &type_name), Some("things_g3_entries"));
        assert_eq!(item_type_of("other_g3", &type_name), None);
        assert_eq!(item_type_of("things_g3", "frozen<list<text>>"), None);
    }

    #[test]
    fn what_cql_cannot_declare_is_refused() {
        static TWICE: TableSchema =
            TableSchema { columns: &[Column::new("owner", ColumnType::Text)], ..TABLE };
        static ALONE: TableSchema = TableSchema { clustering_key: &[], ..TABLE };
        static OWN: TableSchema =
            TableSchema { columns: &[Column::new(ROW_WRITTEN, ColumnType::Bool)], ..TABLE };
        static LOUD: TableSchema = TableSchema { name: "Things", ..TABLE };
        static LONG: TableSchema =
            TableSchema { name: "things_with_a_name_of_over_forty_eight_characters", ..TABLE };
        static KEY: TableSchema =
            TableSchema { partition_key: &[Column::new("owner", ColumnType::List(FIELDS))], ..TABLE };
        const SAME: &[Column] = &[FIELDS[0], FIELDS[0]];
        static SAME_FIELDS: TableSchema =
            TableSchema { columns: &[Column::new("entries", ColumnType::List(SAME))], ..TABLE };
        for table in [&TWICE, &ALONE, &OWN, &LOUD, &LONG, &KEY, &SAME_FIELDS] {
            let refused = create_table("views", Generation(1), table);
            assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
        }
    }

    #[test]
    fn a_comment_tells_the_number_of_our_tables_alone() {
        assert_eq!(number_of(&comment(&TABLE)), Some(7));
        assert_eq!(number_of("a table of somebody else"), None);
    }
}
