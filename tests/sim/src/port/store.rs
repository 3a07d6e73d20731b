//! The store as a process sees it: a chunk is written stage by stage and batch by batch, and the process may end, stand
//! still or be cut off between any two of them.

use std::sync::Arc;

use async_trait::async_trait;
use tidewheel_store::{
    Generation, Page, Row, RowKey, Scan, StateStore, StoreError, TableSchema, Write, WriteSet,
};
use tokio::time::Instant;

use super::Port;
use crate::fault::Fault;

/// The store through one process's port.
pub struct StorePort(pub Arc<Port>);

impl StorePort {
    async fn reach(&self) -> Result<(), StoreError> {
        self.0.access().await;
        if !self.0.world.is_calm() && Instant::now() < self.0.troubles.lock().store_until {
            return Err(StoreError::Unavailable("planned".to_owned()));
        }
        Ok(())
    }

    async fn land(&self, generation: Generation, batch: Vec<Write>) -> Result<(), StoreError> {
        self.reach().await?;
        self.0.world.trace.note(self.0.who, "rows", &[batch.len() as i64, batch[0].timestamp_us]);
        let set = WriteSet { inserts: batch, ..WriteSet::default() };
        self.0.world.store().write(generation, &set).await
    }

    /// Writes rows in any order, some at a time.
    async fn stage(&self, generation: Generation, writes: &[Write]) -> Result<(), StoreError> {
        let mut rows: Vec<_> = writes.iter().collect();
        for index in (1..rows.len()).rev() {
            let other = self.0.random.below(index as u64 + 1) as usize;
            rows.swap(index, other);
        }
        let mut rows = rows.into_iter().peekable();
        let mut written = false;
        while rows.peek().is_some() {
            if written && self.0.world.strikes(&self.0.random, Fault::StoreWriteTorn, 2) {
                return Err(StoreError::Unavailable("planned, half-way".to_owned()));
            }
            let count = self.0.random.between(1, 8) as usize;
            self.land(generation, rows.by_ref().take(count).cloned().collect()).await?;
            written = true;
        }
        Ok(())
    }

    /// Writes entities one after the other, each as one batch.
    async fn entities(&self, generation: Generation, writes: &[Write]) -> Result<(), StoreError> {
        for batch in writes.chunk_by(|left, right| {
            left.table.number == right.table.number && left.key.partition == right.key.partition
        }) {
            self.land(generation, batch.to_vec()).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl StateStore for StorePort {
    async fn create_tables(
        &self,
        generation: Generation,
        tables: &[&'static TableSchema],
    ) -> Result<(), StoreError> {
        self.reach().await?;
        self.0.world.store().create_tables(generation, tables).await
    }

    async fn drop_generation(&self, generation: Generation) -> Result<(), StoreError> {
        self.reach().await?;
        self.0.world.store().drop_generation(generation).await
    }

    async fn write(&self, generation: Generation, writes: &WriteSet) -> Result<(), StoreError> {
        if self.0.world.atomic {
            self.reach().await?;
            self.0.world.trace.note(self.0.who, "chunk", &[writes.iter().count() as i64]);
            return self.0.world.store().write(generation, writes).await;
        }
        self.stage(generation, &writes.inserts).await?;
        self.entities(generation, &writes.entities).await?;
        self.stage(generation, &writes.deletions).await?;
        self.stage(generation, &writes.checkpoints).await
    }

    async fn get(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        key: &RowKey,
    ) -> Result<Option<Row>, StoreError> {
        self.reach().await?;
        self.0.world.store().get(generation, table, key).await
    }

    async fn scan(
        &self,
        generation: Generation,
        table: &'static TableSchema,
        scan: &Scan,
    ) -> Result<Page, StoreError> {
        self.reach().await?;
        self.0.world.store().scan(generation, table, scan).await
    }
}
