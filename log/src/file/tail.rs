//! A reader that follows a partition: from the segments until it has caught up, then from memory.

use std::sync::Arc;

use async_trait::async_trait;
use tidewheel_schemas::{Record, TopicPartition};

use super::partition::{Lookup, Partition};
use super::reader::Cursor;
use super::shared::Shared;
use crate::{LogError, Tail};

pub(crate) struct FileTail {
    shared: Arc<Shared>,
    place: TopicPartition,
    partition: Arc<Partition>,
    next: i64,
    /// Kept while records come from the segments.
    cursor: Option<Cursor>,
}

impl FileTail {
    pub const fn new(
        shared: Arc<Shared>,
        place: TopicPartition,
        partition: Arc<Partition>,
        next: i64,
    ) -> Self {
        Self { shared, place, partition, next, cursor: None }
    }

    /// What is there now; empty at the end.
    fn take(&mut self, records_max: usize) -> Result<Vec<Record>, LogError> {
        let records = match self.partition.lookup(self.next, records_max) {
            Lookup::AtEnd => return Ok(Vec::new()),
            Lookup::Records(records) => {
                self.cursor = None;
                records
            }
            Lookup::OnDisk { end } => {
                let mut cursor = match self.cursor.take() {
                    Some(cursor) => cursor,
                    None => Cursor::at_offset(&self.shared, &self.partition, self.next)?,
                };
                let records = cursor.read(records_max, end)?;
                self.cursor = Some(cursor);
                records
            }
        };
        if let Some(last) = records.last() {
            self.next = last.offset + 1;
        }
        Ok(records)
    }
}

/// The error of reading at `offset`, unless what lay there has been trimmed meanwhile: then it is that.
pub(crate) fn or_trimmed(
    place: &TopicPartition,
    partition: &Partition,
    offset: i64,
    error: LogError,
) -> LogError {
    let start = partition.start();
    if offset < start {
        return LogError::Trimmed { partition: place.clone(), asked: offset, start };
    }
    error
}

#[async_trait]
impl Tail for FileTail {
    async fn next(&mut self, records_max: usize) -> Result<Vec<Record>, LogError> {
        let records_max = records_max.max(1);
        loop {
            let partition = Arc::clone(&self.partition);
            let grown = partition.grown.notified();
            tokio::pin!(grown);
            // Registered before looking, so that a group published in between wakes us.
            grown.as_mut().enable();
            let ended = self.shared.queue.ended();
            let taken = self.take(records_max);
            let records =
                taken.map_err(|error| or_trimmed(&self.place, &self.partition, self.next, error))?;
            if !records.is_empty() {
                return Ok(records);
            }
            if let Some(error) = ended {
                return Err(error);
            }
            grown.await;
        }
    }
}
