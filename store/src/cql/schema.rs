//! Keyspace and tables as the database has them: compared with what is declared, created, extended, dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scylla::errors::ExecutionError;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::serialize::row::SerializeRow;
use scylla::statement::{Consistency, Statement};

use super::ddl::Lacking;
use super::failure::{Failure, line};
use super::{CqlStore, ddl};
use crate::{ColumnType, Generation, Order, StoreError, TableSchema};

/// Changing the schema of a busy cluster takes its time.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// A column as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// `partition_key`, `clustering`, `static` or `regular`.
    kind: String,
    /// Place within the key.
    position: i32,
    /// `asc`, `desc` or `none`.
    order: String,
    type_name: String,
    /// Of a list of a type of its own, the fields' names and types.
    fields: Vec<(String, String)>,
}

/// The columns of a table by name.
pub(super) type Columns = BTreeMap<String, Found>;

/// Types by name, each with its fields' names and types.
type Types = BTreeMap<String, Vec<(String, String)>>;

impl CqlStore {
    pub(super) async fn check_keyspace(&self) -> Result<(), StoreError> {
        let keyspace = &self.options.keyspace;
        let create = ddl::create_keyspace(&self.options);
        let mut found = self.replication().await?;
        if found.is_none() && self.options.create_keyspace {
            match self.change(&create).await {
                Ok(()) => {
                    self.learn().await;
                    found = self.replication().await?;
                }
                Err(Failure::Final(StoreError::Forbidden { .. })) => {}
                Err(failure) => return Err(failure.general()),
            }
        }
        let Some(found) = found else {
            return Err(StoreError::NoKeyspace { keyspace: keyspace.clone(), create });
        };
        // Elsewhere another store writes other rows under these keys, and nobody asks its replicas.
        let here = &self.options.datacenter;
        let is_here_alone =
            found.get("class").is_some_and(|class| class.ends_with("NetworkTopologyStrategy"))
                && found.contains_key(here)
                && found.keys().all(|key| key == "class" || key == here);
        if !is_here_alone {
            return Err(StoreError::Keyspace {
                keyspace: keyspace.clone(),
                found: format!("{found:?}"),
                alter: ddl::alter_keyspace(&self.options),
            });
        }
        if found.get(here) != Some(&self.options.replication_factor.to_string()) {
            tracing::warn!(
                keyspace,
                found = found.get(here),
                configured = self.options.replication_factor,
                "the keyspace keeps another number of replicas than configured"
            );
        }
        Ok(())
    }

    pub(super) async fn replication(&self) -> Result<Option<BTreeMap<String, String>>, StoreError> {
        let text = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
        let rows = self.ask(text, (&self.options.keyspace,)).await.map_err(Failure::general)?;
        let row =
            rows.maybe_first_row::<(BTreeMap<String, String>,)>().map_err(|error| unreadable(&error))?;
        Ok(row.map(|(replication,)| replication))
    }

    /// Creates what is missing of a generation's tables.
    pub(super) async fn create(
        &self,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<(), StoreError> {
        let _changing = self.changing.lock().await;
        let creations: Vec<Vec<String>> = tables
            .iter()
            .map(|table| ddl::create_table(&self.options.keyspace, generation, table))
            .collect::<Result<_, _>>()?;
        let existing = self.numbers(generation).await?;
        let mut is_missing = false;
        for (table, create) in tables.iter().zip(creations) {
            let name = ddl::table_name(generation, table);
            check_number(&existing, &name, table)?;
            if !existing.contains_key(&name) {
                is_missing = true;
                for statement in create {
                    self.change(&statement).await.map_err(Failure::general)?;
                }
            }
        }
        if is_missing {
            self.learn().await;
            // Another process may have created one of them at the same time with other numbers.
            let existing = self.numbers(generation).await?;
            for table in tables {
                check_number(&existing, &ddl::table_name(generation, table), table)?;
            }
        }
        let columns = self.all_columns().await?;
        for table in tables {
            let name = ddl::table_name(generation, table);
            let Some(found) = columns.get(&name) else {
                return Err(StoreError::Unavailable(format!("table {name} was created and is not seen yet")));
            };
            self.extend(table, &name, found).await?;
            self.remember(generation, table);
        }
        Ok(())
    }

    /// Appends the columns and fields a table lacks.
    async fn extend(
        &self,
        table: &'static TableSchema,
        name: &str,
        found: &Columns,
    ) -> Result<(), StoreError> {
        for what in lacking(table, name, found)? {
            for add in what.statements(&self.options.keyspace, name) {
                if let Err(failure) = self.change(&add).await {
                    // Another process may have been faster; then it is there now.
                    let found = self.all_columns().await?;
                    let is_there = match found.get(name) {
                        Some(found) => !lacking(table, name, found)?.contains(&what),
                        None => false,
                    };
                    if !is_there {
                        return Err(failure.general());
                    }
                }
            }
        }
        Ok(())
    }

    /// Refuses a table that does not exist, or not as declared.
    pub(super) async fn check_exists(
        &self,
        generation: Generation,
        table: &'static TableSchema,
    ) -> Result<(), StoreError> {
        let name = ddl::table_name(generation, table);
        let text = "SELECT table_name, column_name, kind, position, clustering_order, type FROM \
                    system_schema.columns WHERE keyspace_name = ? AND table_name = ?";
        let rows = self.ask(text, (&self.options.keyspace, &name)).await.map_err(Failure::general)?;
        let columns = columns_of(&rows, &self.types().await?)?;
        let Some(found) = columns.get(&name) else {
            return Err(StoreError::UnknownTable { table: table.name, generation: generation.0 });
        };
        let lacking = lacking(table, &name, found)?;
        if lacking.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = lacking.iter().map(Lacking::name).collect();
        Err(refuse(
            table,
            format!("{name} lacks the columns {}; create the generation's tables first", names.join(", ")),
        ))
    }

    /// Drops a generation's tables; those of others, and what is not ours, stay.
    pub(super) async fn drop_tables(&self, generation: Generation) -> Result<(), StoreError> {
        let _changing = self.changing.lock().await;
        self.forget(generation);
        let columns = self.all_columns().await?;
        for (name, number) in self.numbers(generation).await? {
            if number.is_none() {
                continue;
            }
            let keyspace = &self.options.keyspace;
            let drop = format!("DROP TABLE IF EXISTS {keyspace}.{name}");
            self.change(&drop).await.map_err(Failure::general)?;
            // A type can go when its table is gone. One that a crash in between left is used by the next table.
            let columns = columns.get(&name).into_iter().flat_map(BTreeMap::values);
            for of_items in columns.filter_map(|column| ddl::item_type_of(&name, &column.type_name)) {
                let drop = format!("DROP TYPE IF EXISTS {keyspace}.{of_items}");
                self.change(&drop).await.map_err(Failure::general)?;
            }
        }
        self.forget(generation);
        Ok(())
    }

    /// The names of the tables that end as a generation's do, with the numbers of those that are ours.
    pub(super) async fn numbers(
        &self,
        generation: Generation,
    ) -> Result<BTreeMap<String, Option<u16>>, StoreError> {
        let text = "SELECT table_name, comment FROM system_schema.tables WHERE keyspace_name = ?";
        let rows = self.ask(text, (&self.options.keyspace,)).await.map_err(Failure::general)?;
        let suffix = ddl::suffix(generation);
        let mut numbers = BTreeMap::new();
        for row in rows.rows::<(String, Option<String>)>().map_err(|error| unreadable(&error))? {
            let (name, comment) = row.map_err(|error| unreadable(&error))?;
            if name.ends_with(&suffix) {
                numbers.insert(name, comment.and_then(|comment| ddl::number_of(&comment)));
            }
        }
        Ok(numbers)
    }

    pub(super) async fn all_columns(&self) -> Result<BTreeMap<String, Columns>, StoreError> {
        let text = "SELECT table_name, column_name, kind, position, clustering_order, type FROM \
                    system_schema.columns WHERE keyspace_name = ?";
        let rows = self.ask(text, (&self.options.keyspace,)).await.map_err(Failure::general)?;
        columns_of(&rows, &self.types().await?)
    }

    /// The types of the keyspace by name, each with its fields' names and types.
    async fn types(&self) -> Result<Types, StoreError> {
        let text =
            "SELECT type_name, field_names, field_types FROM system_schema.types WHERE keyspace_name = ?";
        let rows = self.ask(text, (&self.options.keyspace,)).await.map_err(Failure::general)?;
        let mut types = Types::new();
        for row in rows.rows::<(String, Vec<String>, Vec<String>)>().map_err(|error| unreadable(&error))? {
            let (name, fields, kinds) = row.map_err(|error| unreadable(&error))?;
            types.insert(name, fields.into_iter().zip(kinds).collect());
        }
        Ok(types)
    }

    /// Reads one of the database's own tables.
    pub(super) async fn ask(
        &self,
        text: &str,
        values: impl SerializeRow,
    ) -> Result<QueryRowsResult, Failure> {
        let result = self.answer(text, values).await?;
        result.into_rows_result().map_err(|error| Failure::Refused(line(&error)))
    }

    /// Asks the database about itself.
    pub(super) async fn answer(&self, text: &str, values: impl SerializeRow) -> Result<QueryResult, Failure> {
        let mut statement = Statement::new(text);
        statement.set_consistency(Consistency::One);
        statement.set_is_idempotent(true);
        let mut patience = self.patience();
        loop {
            match self.session.query_unpaged(statement.clone(), &values).await {
                Ok(result) => return Ok(result),
                Err(error) => patience.bear(self.judge.request(&error)).await?,
            }
        }
    }

    /// Learns which nodes keep which rows after a change. Without it requests take a detour, until the driver looks.
    async fn learn(&self) {
        if let Err(error) = self.session.refresh_metadata().await {
            tracing::debug!(error = line(&error), "the replicas of new tables are not known yet");
        }
    }

    /// Changes the schema, and waits until all nodes have the change.
    ///
    /// Every process sends its changes to the same node while it is up: Cassandra makes one change at a time in order
    /// on a node, but two tables of one name when two nodes create it at once.
    async fn change(&self, text: &str) -> Result<(), Failure> {
        let state = self.session.get_cluster_state();
        let nodes = state.get_nodes_info().iter();
        let node = nodes
            .filter(|node| node.datacenter.as_deref() == Some(self.options.datacenter.as_str()))
            .filter(|node| node.is_connected())
            .min_by_key(|node| node.host_id)
            .map(Arc::clone);
        let mut statement = Statement::new(text);
        statement.set_request_timeout(Some(CHANGE_TIMEOUT));
        statement.set_consistency(Consistency::LocalQuorum);
        if let Some(node) = node {
            let target = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::Node(node), None);
            statement.set_load_balancing_policy(Some(target));
        }
        let mut patience = self.patience();
        loop {
            match self.session.query_unpaged(statement.clone(), &[]).await {
                Ok(_) => return Ok(()),
                // The statements of this file can be repeated: all but the appending of a column, whose caller looks.
                Err(error) => {
                    if let ExecutionError::SchemaAgreementError(error) = &error {
                        return Err(Failure::Transient(line(error)));
                    }
                    patience.bear(self.judge.request(&error)).await?;
                }
            }
        }
    }
}

/// Refuses a table whose name or number belongs to something else.
pub(super) fn check_number(
    existing: &BTreeMap<String, Option<u16>>,
    name: &str,
    table: &'static TableSchema,
) -> Result<(), StoreError> {
    match existing.get(name) {
        Some(Some(number)) if *number == table.number => {}
        Some(Some(number)) => {
            return Err(refuse(
                table,
                format!(
                    "{name} exists with number {number}, not {}: it was made by another build; drop the tables of its \
                     generation, they are rebuilt from the log",
                    table.number
                ),
            ));
        }
        Some(None) => {
            return Err(refuse(table, format!("{name} exists and is not one of Tidewheel's tables")));
        }
        None => {}
    }
    let other = existing.iter().find(|(other, number)| *other != name && **number == Some(table.number));
    match other {
        Some((other, _)) => Err(refuse(
            table,
            format!("number {} belongs to {other}; a changed view needs a new generation", table.number),
        )),
        None => Ok(()),
    }
}

/// The declared columns outside the key, and fields of lists, that a table named so lacks. Those it has beyond the
/// declaration are a newer binary's.
pub(super) fn lacking(
    table: &'static TableSchema,
    name: &str,
    found: &Columns,
) -> Result<Vec<Lacking>, StoreError> {
    let differs = |column: &str, what: String| {
        refuse(
            table,
            format!("column {column} of the existing table {what}; a changed view needs a new generation"),
        )
    };
    for (kind, declared) in [("partition_key", table.partition_key), ("clustering", table.clustering_key)] {
        for (position, column) in declared.iter().enumerate() {
            let order = match (kind, column.order) {
                ("clustering", Order::Ascending) => "asc",
                ("clustering", Order::Descending) => "desc",
                _ => "none",
            };
            let expected = Found {
                kind: kind.to_owned(),
                position: i32::try_from(position).unwrap_or(i32::MAX),
                order: order.to_owned(),
                type_name: ddl::type_name(name, column),
                fields: Vec::new(),
            };
            match found.get(column.name) {
                Some(found) if *found == expected => {}
                Some(found) => return Err(differs(column.name, format!("is {found:?}, not {expected:?}"))),
                None => return Err(differs(column.name, "is missing from its key".to_owned())),
            }
        }
        let of_kind = found.values().filter(|column| column.kind == kind).count();
        if of_kind != declared.len() {
            return Err(differs(kind, format!("has {of_kind} columns, not {}", declared.len())));
        }
    }
    let mut lacking = Vec::new();
    for (column, is_static) in ddl::own_and_declared(table) {
        let kind = if is_static { "static" } else { "regular" };
        let type_name = ddl::type_name(name, &column);
        match found.get(column.name) {
            Some(found) if found.kind == kind && found.type_name == type_name => {
                let ColumnType::List(fields) = column.kind else { continue };
                for (place, field) in fields.iter().enumerate() {
                    let type_name = ddl::type_name(name, field);
                    match found.fields.get(place) {
                        Some((name, found)) if *name == field.name && *found == type_name => {}
                        Some((name, found)) => {
                            let what = format!("has a field {name} {found}, not {} {type_name}", field.name);
                            return Err(differs(column.name, what));
                        }
                        None => lacking.push(Lacking::Field(column, *field)),
                    }
                }
            }
            Some(found) => {
                let what = format!("is {} {}, not {kind} {type_name}", found.kind, found.type_name);
                return Err(differs(column.name, what));
            }
            None => lacking.push(Lacking::Column(column, is_static)),
        }
    }
    Ok(lacking)
}

fn columns_of(rows: &QueryRowsResult, types: &Types) -> Result<BTreeMap<String, Columns>, StoreError> {
    let mut tables: BTreeMap<String, Columns> = BTreeMap::new();
    let rows =
        rows.rows::<(String, String, String, i32, String, String)>().map_err(|error| unreadable(&error))?;
    for row in rows {
        let (table, column, kind, position, order, type_name) = row.map_err(|error| unreadable(&error))?;
        let fields = ddl::item_type_of(&table, &type_name).and_then(|of_items| types.get(of_items));
        let fields = fields.cloned().unwrap_or_default();
        let found = Found { kind, position, order: order.to_ascii_lowercase(), type_name, fields };
        tables.entry(table).or_default().insert(column, found);
    }
    Ok(tables)
}

fn unreadable(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Failed(format!("the database's own tables cannot be read: {}", line(error)))
}

fn refuse(table: &'static TableSchema, what: String) -> StoreError {
    StoreError::Refused { table: table.name, what }
}
