//! Looking into the past: one run, or a list of runs, as they stood at a place of the log. From the log alone, so that it
//! tells the truth when views are wrong. How runs are shown is said in `state`.

mod difference;
mod list;
pub mod state;

use std::str::FromStr;

use jiff::Timestamp;
use tidewheel_engine::{Fold, FoldError, LogInfo, Run};
use tidewheel_log::{LogError, SharedLog};
use tidewheel_schemas::{Position, Record, RecordHeaders, RunId, Topic, TopicPartition};

pub use self::difference::{Change, changes};
pub use self::list::{Listed, ListedRuns, Wanted, list};
use crate::verify::Stop;
use crate::verify::owner::{self, Owner};

pub(crate) const READ_RECORDS: usize = 2_048;

/// A log to look into.
#[derive(Clone)]
pub struct Past {
    /// The log.
    pub log: SharedLog,
    /// The topic.
    pub topic: Topic,
    /// How many partitions it has.
    pub partitions: u32,
}

/// A place of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// Its end.
    Now,
    /// After the record at this offset of the partition.
    Offset(i64),
    /// After the record at this position.
    Position(Position),
    /// Before the first record that was written later than this, microseconds since 1970.
    TimeUs(i64),
}

/// A text that names no place of a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no place of the log: give a time such as 2026-11-22T03:00:00Z, a position as an answer gave it, or an offset"
)]
pub struct ParseAsOfError(String);

impl FromStr for AsOf {
    type Err = ParseAsOfError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(offset) = text.parse::<u32>().map(i64::from).or_else(|_| text.parse::<i64>()) {
            return if offset < 0 { Err(ParseAsOfError(text.to_owned())) } else { Ok(Self::Offset(offset)) };
        }
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(position));
        }
        match text.parse::<Timestamp>() {
            Ok(time) => Ok(Self::TimeUs(time.as_microsecond())),
            Err(_) => Err(ParseAsOfError(text.chars().take(80).collect())),
        }
    }
}

/// A look that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The log could not be read.
    #[error("reading the log: {0}")]
    Log(#[from] LogError),
    /// The log is ahead of this build.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The log begins after its first record.
    #[error("{partition} begins at offset {start}: what was before is not known without an archive of it")]
    Trimmed {
        /// The partition.
        partition: TopicPartition,
        /// The first offset held.
        start: i64,
    },
    /// A position of another partition or log.
    #[error("the position is not one of {partition}, where the records of this run lie")]
    Foreign {
        /// The partition.
        partition: TopicPartition,
    },
    /// An earlier place than the one before.
    #[error("offset {to} is before offset {from}; name the earlier place first")]
    Backwards {
        /// Where it stands.
        from: i64,
        /// What was asked for.
        to: i64,
    },
    /// More than is held.
    #[error("more than {0} runs had not ended then; name one workflow, or look at one run")]
    TooMany(usize),
    /// It was asked to stop.
    #[error("the look was stopped")]
    Stopped,
}

/// A record that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Its offset.
    pub offset: i64,
    /// When it was written, microseconds since 1970; 0 where that cannot be read.
    pub recorded_at_us: i64,
}

/// One run, folded on from place to place.
pub struct Looking {
    past: Past,
    place: TopicPartition,
    run_id: RunId,
    fold: Fold,
    end: i64,
    last: Option<Passed>,
    records_read: u64,
    stop: Stop,
}

impl Looking {
    /// At the beginning of the log.
    ///
    /// # Errors
    /// When the log cannot be read or lacks its beginning.
    pub async fn at(past: &Past, run_id: RunId, stop: Stop) -> Result<Self, LookError> {
        let partition = owner::partition_of(run_id, past.partitions);
        let (place, end) = past.place(partition).await?;
        let fold = Fold::new(partition);
        Ok(Self { past: past.clone(), place, run_id, fold, end, last: None, records_read: 0, stop })
    }

    /// The run as it stands; none before its start.
    pub fn run(&self) -> Option<&Run> {
        self.fold.run(self.run_id)
    }

    /// The partition its records lie in.
    pub const fn partition(&self) -> u32 {
        self.place.partition
    }

    /// The log of that partition.
    pub fn log(&self) -> Option<LogInfo> {
        self.fold.control().log
    }

    /// The last record folded, of whatever run.
    pub const fn last(&self) -> Option<Passed> {
        self.last
    }

    /// Records read so far.
    pub const fn records_read(&self) -> u64 {
        self.records_read
    }

    /// Folds on to a place.
    ///
    /// # Errors
    /// When the log cannot be read or folded, or the place is before this one or of another log.
    pub async fn go(&mut self, to: AsOf) -> Result<(), LookError> {
        let next = self.fold.control().next_offset;
        let until = match to {
            AsOf::Now | AsOf::TimeUs(_) => self.end,
            AsOf::Offset(offset) => offset.saturating_add(1),
            AsOf::Position(position) => position.offset.saturating_add(1),
        };
        if until < next {
            return Err(LookError::Backwards { from: next - 1, to: until - 1 });
        }
        let mut is_checked = false;
        let mut offset = next;
        while offset < until.min(self.end) {
            self.stop.check().map_err(|()| LookError::Stopped)?;
            let left = usize::try_from(until.min(self.end) - offset).unwrap_or(usize::MAX);
            let records = self.past.log.read(&self.place, offset, READ_RECORDS.min(left)).await?;
            let Some(last) = records.last() else { break };
            offset = last.offset + 1;
            for record in &records {
                if let AsOf::TimeUs(time_us) = to
                    && recorded_at_us(record) > time_us
                {
                    return Ok(());
                }
                self.fold(record)?;
                // Known from the first record on.
                if !is_checked {
                    self.check(to)?;
                    is_checked = true;
                }
            }
        }
        self.check(to)
    }

    fn check(&self, to: AsOf) -> Result<(), LookError> {
        let AsOf::Position(position) = to else { return Ok(()) };
        let log_id = self.log().map(|log| log.log_id);
        if position.partition == self.place.partition && Some(position.log_id) == log_id {
            return Ok(());
        }
        Err(LookError::Foreign { partition: self.place.clone() })
    }

    fn fold(&mut self, record: &Record) -> Result<(), LookError> {
        let owner = owner::of_record(record, self.place.partition, self.past.partitions);
        if owner == Owner::Run(self.run_id) {
            self.fold.apply(record)?;
        } else {
            self.fold.pass_over(record)?;
        }
        self.last = Some(Passed { offset: record.offset, recorded_at_us: recorded_at_us(record) });
        self.records_read += 1;
        Ok(())
    }
}

impl Past {
    /// A partition and where its log ends.
    pub(crate) async fn place(&self, partition: u32) -> Result<(TopicPartition, i64), LookError> {
        let place = TopicPartition::new(self.topic.clone(), partition);
        let bounds = self.log.bounds(&place).await?;
        if bounds.start > 0 {
            return Err(LookError::Trimmed { partition: place, start: bounds.start });
        }
        Ok((place, bounds.end))
    }
}

fn recorded_at_us(record: &Record) -> i64 {
    match &record.headers {
        RecordHeaders::Known(headers) => headers.recorded_at_us,
        RecordHeaders::Foreign(_) => 0,
    }
}
