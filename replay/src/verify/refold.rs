//! Refolding one partition, record by record, into the writes it must have led to. Who takes them says which runs are
//! folded.

use tidewheel_engine::{Control, Fold, FoldError, Transition};
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_schemas::{Entity, Record, RecordHeaders, TopicPartition};
use tidewheel_store::Write;

use super::meter::Meter;
use super::owner::{self, Owner};
use super::{VerifyError, Views};

const READ_RECORDS: usize = 2_048;

/// Takes what a refold leads to.
pub(super) trait Sink {
    /// Whether records of this owner are folded; otherwise they are passed over.
    fn wants(&mut self, owner: Owner, offset: i64, fold: &Fold) -> bool;

    /// Takes a write that the record at `offset`, of `owner`, leads to.
    fn take(&mut self, owner: Owner, offset: i64, write: Write);

    /// A record was folded, and its writes were taken. Runs that are needed no more may be forgotten.
    fn folded(&mut self, owner: Owner, record: &Record, transition: &Transition, fold: &mut Fold);

    /// Control stands after this record, folded or passed over.
    fn passed(&mut self, control: &Control);
}

/// A refold of one partition.
pub(super) struct Refold {
    partition: u32,
    partitions: u32,
    place: TopicPartition,
    fold: Fold,
    live: Live,
    offset: i64,
}

impl Refold {
    /// From the first record.
    pub(super) fn new(views: &Views, partition: u32) -> Self {
        Self {
            partition,
            partitions: views.partitions,
            place: TopicPartition::new(views.topic.clone(), partition),
            fold: Fold::new(partition),
            live: Live::default(),
            offset: 0,
        }
    }

    /// Folds on up to the record before `until`. With `may_end`, a record that this build must not fold ends it; where
    /// it ended.
    pub(super) async fn run(
        &mut self,
        views: &Views,
        until: i64,
        may_end: bool,
        meter: &Meter,
        sink: &mut (impl Sink + Send),
    ) -> Result<i64, VerifyError> {
        while self.offset < until {
            meter.check()?;
            let left = usize::try_from(until - self.offset).unwrap_or(usize::MAX);
            let records = views.log.read(&self.place, self.offset, READ_RECORDS.min(left)).await?;
            if records.is_empty() {
                let (partition, end) = (self.place.clone(), self.offset);
                return Err(VerifyError::AheadOfLog { partition, checkpoint: until, end });
            }
            for record in &records {
                match self.record(record, sink) {
                    Ok(()) => self.offset = record.offset + 1,
                    Err(FoldError::Newer { .. }) if may_end => return Ok(self.offset),
                    Err(error) => return Err(error.into()),
                }
            }
            meter.records(self.partition, self.offset, records.len() as u64);
        }
        Ok(self.offset)
    }

    fn record(&mut self, record: &Record, sink: &mut impl Sink) -> Result<(), FoldError> {
        let owner = owner::of_record(record, self.partition, self.partitions);
        // Control folds from all of them.
        let is_control = matches!(
            &record.headers,
            RecordHeaders::Known(headers) if matches!(headers.entity, Entity::Partition(_))
        );
        if !is_control && !sink.wants(owner, record.offset, &self.fold) {
            self.fold.pass_over(record)?;
            sink.passed(self.fold.control());
            return Ok(());
        }
        let mut chunk = Chunk::new(self.fold.control().clone());
        let transition = self.fold.apply(record)?;
        chunk.add(std::slice::from_ref(&transition), self.fold.control(), &self.live);
        let writes = chunk.finish(&mut self.live, false).writes;
        for write in
            [writes.inserts, writes.entities, writes.deletions, writes.checkpoints].into_iter().flatten()
        {
            sink.take(owner, record.offset, write);
        }
        sink.folded(owner, record, &transition, &mut self.fold);
        sink.passed(self.fold.control());
        Ok(())
    }
}
