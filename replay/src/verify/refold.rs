//! Refolding one partition into the writes it must have led to, record by record or some records at a time. Who takes
//! them says which runs are folded.

use tidewheel_engine::{Control, Fold, FoldError, Transition};
use tidewheel_projector::chunk::{Chunk, Live};
use tidewheel_schemas::{Entity, Record, RecordHeaders, TopicPartition};
use tidewheel_store::Write;

use super::ground::STEP_US;
use super::meter::Meter;
use super::owner::{self, Owner};
use super::{VerifyError, Views};

const READ_RECORDS: usize = 2_048;

/// Takes what a refold leads to.
pub(super) trait Sink {
    /// Whether records of this owner are folded; otherwise they are passed over.
    fn wants(&mut self, owner: Owner, offset: i64, fold: &Fold) -> bool;

    /// A record was folded; its writes are still to be taken.
    fn folded(&mut self, owner: Owner, record: &Record, transition: &Transition);

    /// Takes a write that the record at `offset` leads to. `owner` is that of the record, if records are taken one by
    /// one.
    fn take(&mut self, owner: Option<Owner>, offset: i64, write: Write);

    /// Everything that was folded was taken. Runs that are needed no more may be forgotten.
    fn taken(&mut self, fold: &mut Fold);

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
    /// Control before what is folded and not taken yet.
    before: Option<Control>,
    folded: Vec<Transition>,
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
            before: None,
            folded: Vec::new(),
        }
    }

    /// Folds on up to the record before `until`, and lets the writes of `at_once` records be taken at a time. With
    /// `may_end`, a record that this build must not fold ends it; where it ended.
    pub(super) async fn run(
        &mut self,
        views: &Views,
        until: i64,
        at_once: usize,
        may_end: bool,
        meter: &Meter,
        sink: &mut (impl Sink + Send),
    ) -> Result<i64, VerifyError> {
        while self.offset < until {
            let left = usize::try_from(until - self.offset).unwrap_or(usize::MAX);
            let wanted = meter.take(READ_RECORDS.min(left)).await?;
            let records = views.log.read(&self.place, self.offset, wanted).await?;
            if records.is_empty() {
                let (partition, end) = (self.place.clone(), self.offset);
                return Err(VerifyError::AheadOfLog { partition, checkpoint: until, end });
            }
            for record in &records {
                match self.record(record, at_once, sink) {
                    Ok(()) => self.offset = record.offset + 1,
                    Err(FoldError::Newer { .. }) if may_end => {
                        self.take(None, sink);
                        return Ok(self.offset);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            meter.records(self.partition, self.offset, records.len() as u64);
        }
        self.take(None, sink);
        Ok(self.offset)
    }

    fn record(&mut self, record: &Record, at_once: usize, sink: &mut impl Sink) -> Result<(), FoldError> {
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
        let before = self.before.take().unwrap_or_else(|| self.fold.control().clone());
        let transition = self.fold.apply(record)?;
        self.before = Some(before);
        sink.folded(owner, record, &transition);
        self.folded.push(transition);
        if self.folded.len() >= at_once {
            self.take((at_once <= 1).then_some(owner), sink);
        }
        sink.passed(self.fold.control());
        Ok(())
    }

    /// Hands over the writes of what was folded.
    fn take(&mut self, owner: Option<Owner>, sink: &mut impl Sink) {
        let Some(before) = self.before.take() else { return };
        let mut chunk = Chunk::new(before);
        chunk.add(&self.folded, self.fold.control(), &self.live);
        self.folded.clear();
        let epoch_us = self.fold.control().write_timestamp_us(0);
        let writes = chunk.finish(&mut self.live, false).writes;
        for write in
            [writes.inserts, writes.entities, writes.deletions, writes.checkpoints].into_iter().flatten()
        {
            let offset = (write.timestamp_us - epoch_us).div_euclid(STEP_US);
            sink.take(owner, offset, write);
        }
        sink.taken(&mut self.fold);
    }
}
