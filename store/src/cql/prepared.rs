//! The tables this process knows, each with the statements it has prepared: every text is prepared once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use scylla::statement::prepared::PreparedStatement;
use tokio::time::Instant;

use super::CqlStore;
use super::ddl::table_name;
use super::failure::Failure;
use super::statement::Statement;
use crate::{Generation, StoreError, TableSchema};

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Tells declarations apart: a table of one name may be declared with more columns by another part of a program.
pub(super) type Declared = usize;

/// A table that exists as declared.
pub(super) struct Table {
    pub(super) schema: &'static TableSchema,
    /// Keyspace and name.
    name: String,
    statements: RwLock<HashMap<Statement, PreparedStatement>>,
}

fn declared(schema: &'static TableSchema) -> Declared {
    std::ptr::from_ref(schema).addr()
}

impl CqlStore {
    /// A table of a generation; the database is asked once.
    pub(super) async fn table(
        &self,
        generation: Generation,
        schema: &'static TableSchema,
    ) -> Result<Arc<Table>, StoreError> {
        let known = self.tables.read().get(&(generation, declared(schema))).cloned();
        if let Some(table) = known {
            return Ok(table);
        }
        self.check_exists(generation, schema).await?;
        Ok(self.remember(generation, schema))
    }

    /// Notes that a table exists as declared.
    pub(super) fn remember(&self, generation: Generation, schema: &'static TableSchema) -> Arc<Table> {
        let name = format!("{}.{}", self.options.keyspace, table_name(generation, schema));
        let table = Table { schema, name, statements: RwLock::default() };
        let mut tables = self.tables.write();
        Arc::clone(tables.entry((generation, declared(schema))).or_insert_with(|| Arc::new(table)))
    }

    /// Forgets the tables of a generation.
    pub(super) fn forget(&self, generation: Generation) {
        self.tables.write().retain(|(of, _), _| *of != generation);
    }

    /// The error of an operation on a table; one that is gone is looked for anew next time.
    pub(super) fn fail(&self, failure: Failure, generation: Generation, table: &'static str) -> StoreError {
        if matches!(failure, Failure::NoTable) {
            self.forget(generation);
        }
        failure.on(table, generation.0)
    }

    /// A statement of a table.
    pub(super) async fn prepared(
        &self,
        table: &Table,
        statement: Statement,
    ) -> Result<PreparedStatement, Failure> {
        if let Some(prepared) = table.statements.read().get(&statement) {
            return Ok(prepared.clone());
        }
        let text = statement.text(&table.name, table.schema);
        let mut prepared = self.session.prepare(text).await.map_err(|error| self.judge.prepare(&error))?;
        // Writes carry their timestamps, so doing one twice is doing it once.
        prepared.set_is_idempotent(true);
        prepared.set_use_cached_result_metadata(true);
        table.statements.write().insert(statement, prepared.clone());
        Ok(prepared)
    }

    /// Patience for one request.
    pub(super) fn patience(&self) -> Patience {
        Patience { until: Instant::now() + self.options.retry_for, backoff: BACKOFF_MIN }
    }
}

/// How long a request is attempted again, and how long to wait in between.
pub(super) struct Patience {
    until: Instant,
    backoff: Duration,
}

impl Patience {
    /// Waits before another attempt; the failure when another would not help or time is up.
    pub(super) async fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        match failure {
            Failure::Transient(reason) if Instant::now() + self.backoff < self.until => {
                tracing::debug!(
                    reason,
                    backoff_ms = self.backoff.as_millis() as u64,
                    "request is tried again"
                );
                tokio::time::sleep(self.backoff).await;
                self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
                Ok(())
            }
            failure => Err(failure),
        }
    }
}
