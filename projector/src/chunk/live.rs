//! What a projector keeps in memory of a partition's views: the live keys whose lowest ones stand in the
//! checkpoint. Rebuilt from the rows when a partition is opened.

use std::collections::{BTreeMap, BTreeSet};

use tidewheel_engine::Control;
use tidewheel_schemas::{OutboxName, RunId};
use tidewheel_store::StoreError;

use crate::load::Views;
use crate::views::open_work::Bucket;
use crate::views::parked;
use crate::views::partition_control::Checkpoint;

/// The live keys of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// The runs, by the offset of their start, in each bucket of open work. Not a mere count: after a crash
    /// between two stages a row may be there already when it is put again.
    buckets: BTreeMap<Bucket, BTreeSet<i64>>,
    outbox: BTreeSet<OutboxName>,
    /// Runs whose records are no more applied because the store refused a row.
    refused: BTreeSet<RunId>,
}

impl Live {
    /// Reads the live keys as of a checkpoint.
    ///
    /// # Errors
    /// When the store fails or a row cannot be read.
    pub async fn load(views: &Views, checkpoint: &Checkpoint) -> Result<Self, StoreError> {
        let mut live = Self::default();
        let partition = checkpoint.control.partition;
        for bucket in views.open_buckets(checkpoint, None, i64::MAX).await? {
            let starts = views.open_starts(partition, bucket).await?;
            if !starts.is_empty() {
                live.buckets.insert(bucket, starts);
            }
        }
        live.outbox = views.outbox(checkpoint).await?.into_iter().map(|entry| entry.name).collect();
        views
            .each(&parked::TABLE, parked::partition_key(partition), None, |row| {
                let row = parked::read(row)?;
                // What cannot be read halts a run in the fold, which says itself what is applied.
                if row.cause != parked::CAUSE_UNREADABLE {
                    live.refused.insert(row.run_id);
                }
                Ok(())
            })
            .await?;
        Ok(live)
    }

    pub(super) fn is_refused(&self, run_id: RunId) -> bool {
        self.refused.contains(&run_id)
    }

    pub(super) fn refuse(&mut self, run_id: RunId) {
        self.refused.insert(run_id);
    }

    pub(super) fn outbox_through(&self, through: OutboxName) -> impl Iterator<Item = OutboxName> {
        self.outbox.range(..=through).copied()
    }

    pub(super) fn outbox_put(&mut self, name: OutboxName) {
        self.outbox.insert(name);
    }

    pub(super) fn outbox_removed(&mut self, name: OutboxName) {
        self.outbox.remove(&name);
    }

    pub(super) fn bucket_put(&mut self, bucket: Bucket, started_offset: i64) {
        self.buckets.entry(bucket).or_default().insert(started_offset);
    }

    pub(super) fn bucket_removed(&mut self, bucket: Bucket, started_offset: i64) {
        if let Some(starts) = self.buckets.get_mut(&bucket) {
            starts.remove(&started_offset);
            if starts.is_empty() {
                self.buckets.remove(&bucket);
            }
        }
    }

    pub(super) fn has_bucket(&self, bucket: Bucket) -> bool {
        self.buckets.contains_key(&bucket)
    }

    /// The checkpoint at `control`.
    pub(super) fn checkpoint(&self, control: Control) -> Checkpoint {
        let first_later = Bucket { later: true, number: i64::MIN };
        Checkpoint {
            control,
            open_now_from: self.buckets.range(..first_later).next().map(|(bucket, _)| bucket.number),
            open_later_from: self.buckets.range(first_later..).next().map(|(bucket, _)| bucket.number),
            outbox_from: self.outbox.first().map(|name| name.offset),
        }
    }
}
