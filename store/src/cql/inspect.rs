//! What the database has and permits, compared with what a store needs. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use scylla::statement::{Consistency, Statement};
use scylla::value::{CqlTimeuuid, CqlValue, Row};

use super::ddl::Lacking;
use super::failure::{Failure, line};
use super::schema::{check_number, lacking};
use super::{CqlStore, CqlStoreOptions, ddl};
use crate::{Generation, StoreError, TableSchema};

/// Between the beginnings of UUID's calendar (1582) and ours, in 100 ns.
const UUID_EPOCH: u64 = 0x01b2_1dd2_1381_4000;

/// What was found.
#[derive(Debug)]
pub struct Inspection {
    /// Nodes of the datacenter, and how many of them are connected.
    pub nodes: (usize, usize),
    /// Whether the keyspace is there and replicated in this datacenter alone.
    pub keyspace: Result<(), StoreError>,
    /// How many replicas it has in this datacenter, as the database writes it.
    pub replicas: Option<String>,
    /// Each table's name and how it is.
    pub tables: Vec<(String, TableState)>,
    /// What the user may do with the keyspace.
    pub permissions: Permissions,
    /// How far the database's clock is ahead of this machine's, microseconds; negative if it is behind.
    pub clock_ahead_us: i64,
    /// How exact that is: the time the question took, microseconds.
    pub clock_error_us: i64,
}

/// How a table is, compared with its declaration.
#[derive(Debug)]
pub enum TableState {
    /// As declared, and it can be read.
    Ready,
    /// Not there.
    Missing,
    /// It lacks these columns, or fields of lists, which can be appended.
    Lacks(Vec<&'static str>),
    /// It cannot be used.
    Wrong(StoreError),
}

/// What a user may do with a keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permissions {
    /// Everything: the database keeps no permissions, or the user is a superuser.
    All,
    /// These, by the database's names: `SELECT`, `MODIFY`, `CREATE`, …
    Only(BTreeSet<String>),
    /// The database does not tell, for this reason.
    Unknown(String),
}

impl Permissions {
    /// Those of `wanted` that are not held; none if it is not known.
    pub fn lacking<'a>(&self, wanted: &[&'a str]) -> Vec<&'a str> {
        match self {
            Self::All | Self::Unknown(_) => Vec::new(),
            Self::Only(held) => {
                wanted.iter().copied().filter(|permission| !held.contains(*permission)).collect()
            }
        }
    }
}

impl CqlStore {
    /// Looks at a database as a store with these options would find it. A missing keyspace is not created, whatever
    /// the options say.
    ///
    /// # Errors
    /// As [`CqlStore::connect`], but for the keyspace; and when the database does not answer.
    pub async fn inspect(
        options: CqlStoreOptions,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<Inspection, StoreError> {
        let options = CqlStoreOptions { create_keyspace: false, ..options };
        let store = Self::connect_unchecked(options).await?;
        store.within(store.look(generation, tables)).await
    }

    async fn look(
        &self,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<Inspection, StoreError> {
        let (clock_ahead_us, clock_error_us) = self.clock().await?;
        let keyspace = self.check_keyspace().await;
        if let Err(error @ StoreError::Unavailable(_)) = keyspace {
            return Err(error);
        }
        let replication = self.replication().await?;
        let (columns, numbers) = match replication {
            Some(_) => (self.all_columns().await?, self.numbers(generation).await?),
            None => (BTreeMap::new(), BTreeMap::new()),
        };
        let mut found = Vec::new();
        for table in tables {
            let name = ddl::table_name(generation, table);
            let checked = check_number(&numbers, &name, table);
            let lacking =
                columns.get(&name).map(|columns| checked.and_then(|()| lacking(table, &name, columns)));
            let state = match lacking {
                None => TableState::Missing,
                Some(Err(error)) => TableState::Wrong(error),
                Some(Ok(lacking)) if lacking.is_empty() => {
                    match self.read_one(generation, table, &name).await {
                        Ok(()) => TableState::Ready,
                        Err(error) => TableState::Wrong(error),
                    }
                }
                Some(Ok(lacking)) => TableState::Lacks(lacking.iter().map(Lacking::name).collect()),
            };
            found.push((name, state));
        }
        let state = self.session.get_cluster_state();
        let nodes = state.get_nodes_info().iter();
        let here: Vec<_> = nodes
            .filter(|node| node.datacenter.as_deref() == Some(self.options.datacenter.as_str()))
            .collect();
        let connected = here.iter().filter(|node| node.is_connected()).count();
        Ok(Inspection {
            nodes: (here.len(), connected),
            keyspace,
            replicas: replication.and_then(|replication| replication.get(&self.options.datacenter).cloned()),
            tables: found,
            permissions: self.permissions().await?,
            clock_ahead_us,
            clock_error_us,
        })
    }

    async fn read_one(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        name: &str,
    ) -> Result<(), StoreError> {
        let mut statement = Statement::new(format!("SELECT * FROM {}.{name} LIMIT 1", self.options.keyspace));
        statement.set_consistency(Consistency::LocalQuorum);
        statement.set_is_idempotent(true);
        let outcome = self.session.query_unpaged(statement, &[]).await;
        outcome.map(drop).map_err(|error| self.judge.request(&error).on(table.name, generation.0))
    }

    async fn permissions(&self) -> Result<Permissions, StoreError> {
        let Some(user) = &self.options.user else {
            // Who gives no name cannot be looked up; where permissions are kept, such a user is nobody.
            return Ok(Permissions::All);
        };
        let user = user.replace('"', "\"\"");
        let roles = match self.list(&format!("LIST ROLES OF \"{user}\"")).await {
            Ok(rows) => rows,
            Err(failure) => return not_told(failure),
        };
        let is_super = |row: &BTreeMap<String, CqlValue>| row.get("super") == Some(&CqlValue::Boolean(true));
        if roles.iter().any(is_super) {
            return Ok(Permissions::All);
        }
        let rows = match self.list(&format!("LIST ALL PERMISSIONS OF \"{user}\"")).await {
            Ok(rows) => rows,
            Err(failure) => return not_told(failure),
        };
        let keyspace = format!("<keyspace {}>", self.options.keyspace);
        let text = |row: &BTreeMap<String, CqlValue>, column: &str| match row.get(column) {
            Some(CqlValue::Text(text) | CqlValue::Ascii(text)) => text.clone(),
            _ => String::new(),
        };
        let held = rows
            .iter()
            .filter(|row| [keyspace.as_str(), "<all keyspaces>"].contains(&text(row, "resource").as_str()))
            .map(|row| text(row, "permission"));
        Ok(Permissions::Only(held.collect()))
    }

    /// Rows of a statement about roles, by column.
    async fn list(&self, text: &str) -> Result<Vec<BTreeMap<String, CqlValue>>, Failure> {
        let result = self.answer(text, ()).await?;
        // Where there is nothing to list, Cassandra answers without rows rather than with none.
        if !result.is_rows() {
            return Ok(Vec::new());
        }
        let rows = result.into_rows_result().map_err(|error| Failure::Refused(line(&error)))?;
        let columns: Vec<String> =
            rows.column_specs().iter().map(|column| column.name().to_owned()).collect();
        let mut found = Vec::new();
        for row in rows.rows::<Row>().map_err(|error| Failure::Refused(line(&error)))? {
            let row = row.map_err(|error| Failure::Refused(line(&error)))?;
            let cells = columns.iter().cloned().zip(row.columns);
            found.push(cells.filter_map(|(name, value)| Some((name, value?))).collect());
        }
        Ok(found)
    }

    /// How far the database's clock is ahead, and how exact that is, microseconds.
    async fn clock(&self) -> Result<(i64, i64), StoreError> {
        let before = now_us();
        let rows = self.ask("SELECT now() FROM system.local", ()).await.map_err(Failure::general)?;
        let after = now_us();
        let (time,) = rows.first_row::<(CqlTimeuuid,)>().map_err(|error| {
            StoreError::Failed(format!("the database does not tell the time: {}", line(&error)))
        })?;
        let middle = before.midpoint(after);
        Ok((time_us(time.as_bytes()) - middle, after - before))
    }
}

fn not_told(failure: Failure) -> Result<Permissions, StoreError> {
    match failure {
        // A database that keeps no permissions has nothing to list: `AllowAllAuthorizer` in its words.
        Failure::Refused(what) if what.contains("AllowAll") => Ok(Permissions::All),
        Failure::Final(error @ StoreError::Forbidden { .. }) => Ok(Permissions::Unknown(line(&error))),
        Failure::Refused(what) => Ok(Permissions::Unknown(what)),
        other => Err(other.general()),
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// The time in a UUID of version 1, microseconds since 1970.
fn time_us(uuid: &[u8; 16]) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = *uuid;
    let ticks = u64::from_be_bytes([g & 0x0f, h, e, f, a, b, c, d]);
    i64::try_from(ticks / 10).unwrap_or(i64::MAX) - i64::try_from(UUID_EPOCH / 10).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_tells_its_time() {
        // 2023-11-14 22:13:20 UTC is 1,700,000,000 s.
        let ticks: u64 = UUID_EPOCH + 1_700_000_000 * 10_000_000;
        let [g, h, e, f, a, b, c, d] = ticks.to_be_bytes();
        let uuid = [a, b, c, d, e, f, g | 0x10, h, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(time_us(&uuid), 1_700_000_000_000_000);
    }

    #[test]
    fn what_is_lacking_is_told_as_far_as_it_is_known() {
        let some = Permissions::Only(["SELECT".to_owned()].into());
        assert_eq!(some.lacking(&["SELECT", "MODIFY"]), ["MODIFY"]);
        assert_eq!(Permissions::All.lacking(&["MODIFY"]), [""; 0]);
        assert_eq!(Permissions::Unknown("x".to_owned()).lacking(&["MODIFY"]), [""; 0]);
    }
}
