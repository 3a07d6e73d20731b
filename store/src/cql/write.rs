//! Writing a set: stage after stage, the groups of a stage at once, as many as there is room for.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use scylla::statement::batch::{Batch, BatchType};

use super::CqlStore;
use super::cells::BoundWrite;
use super::failure::{Failure, line};
use super::group::{Group, groups};
use super::prepared::Table;
use crate::{Generation, StoreError, Write, WriteSet};

impl CqlStore {
    pub(super) async fn write_stages(
        &self,
        generation: Generation,
        writes: &WriteSet,
    ) -> Result<(), StoreError> {
        // All is checked before anything is written.
        let mut tables: Vec<Arc<Table>> = Vec::new();
        for write in writes.iter() {
            if !tables.iter().any(|table| std::ptr::eq(table.schema, write.table)) {
                tables.push(self.table(generation, write.table).await?);
            }
            write.check()?;
        }
        let known = writes.source.is_some();
        for (stage, whole) in [
            (&writes.inserts, false),
            (&writes.entities, true),
            (&writes.deletions, false),
            (&writes.checkpoints, false),
        ] {
            self.write_stage(generation, &tables, stage, whole, known).await?;
        }
        Ok(())
    }

    async fn write_stage(
        &self,
        generation: Generation,
        tables: &[Arc<Table>],
        writes: &[Write],
        whole: bool,
        known: bool,
    ) -> Result<(), StoreError> {
        let mut waiting = groups(writes, whole, known).into_iter();
        let mut sending = FuturesUnordered::new();
        loop {
            while sending.len() < self.options.requests_max {
                let Some(group) = waiting.next() else { break };
                sending.push(self.send(generation, tables, group));
            }
            match sending.next().await {
                Some(sent) => sent?,
                None => return Ok(()),
            }
        }
    }

    async fn send(
        &self,
        generation: Generation,
        tables: &[Arc<Table>],
        group: Group<'_>,
    ) -> Result<(), StoreError> {
        for batch in &group.batches {
            let Some(schema) = batch.first().map(|first| first.write.table) else { continue };
            let Some(table) = tables.iter().find(|table| std::ptr::eq(table.schema, schema)) else {
                return Err(StoreError::UnknownTable { table: schema.name, generation: generation.0 });
            };
            let mut patience = self.patience();
            while let Err(failure) = self.send_batch(table, batch).await {
                let borne = patience.bear(failure).await;
                borne.map_err(|failure| self.fail(failure, generation, schema.name))?;
            }
        }
        Ok(())
    }

    async fn send_batch(&self, table: &Table, writes: &[BoundWrite<'_>]) -> Result<(), Failure> {
        let _room = self.room.acquire().await.map_err(|error| Failure::Transient(line(&error)))?;
        if let [write] = writes {
            let prepared = self.prepared(table, write.statement).await?;
            let sent = self.session.execute_unpaged(&prepared, write).await;
            return sent.map(drop).map_err(|error| self.judge.request(&error));
        }
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_is_idempotent(true);
        for write in writes {
            batch.append_statement(self.prepared(table, write.statement).await?);
        }
        let sent = self.session.batch(&batch, writes).await;
        sent.map(drop).map_err(|error| self.judge.request(&error))
    }
}
