//! Which runs a replay's scope is about, told from the log: whoever has one record within the scope is in it whole. What
//! is done to them is said in `backfill` and `verify`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use tidewheel_log::LogError;
use tidewheel_schemas::event::ReplayScope;
use tidewheel_schemas::{EventType, Headers, Record, RecordHeaders, RunId, TopicPartition, codec};

use crate::verify::meter::Meter;
use crate::verify::owner::{self, Owner};
use crate::verify::{RunSet, Runs, Stop, VerifyError, Views};

/// Most runs that are held at once. A part of a backfill with more of them is done slice by slice.
pub const RUNS_MAX: usize = 1_000_000;

const READ_RECORDS: usize = 2_048;

/// A selection that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// The log could not be read.
    #[error("reading the log: {0}")]
    Log(#[from] LogError),
    /// An event type that this build does not know: which runs have it cannot be told.
    #[error(
        "this build knows no event type `{0}`; let processes of the newer build write the views, or cancel the replay"
    )]
    UnknownEventType(String),
    /// More runs than may be held at once.
    #[error(
        "more than {most} runs of partition {partition} are within the scope; take a smaller one, or leave out what \
         selects runs: everything is compared then"
    )]
    TooMany {
        /// The partition.
        partition: u32,
        /// How many may be held.
        most: usize,
    },
    /// The log ends before the place it had got to when the replay was started.
    #[error("{partition} ends at offset {end}, and the replay was started when it ended at {expected}")]
    Ended {
        /// The partition.
        partition: TopicPartition,
        /// Where it ends.
        end: i64,
        /// Where it had ended.
        expected: i64,
    },
    /// It was asked to stop.
    #[error("the selection was stopped")]
    Stopped,
}

impl From<VerifyError> for SelectionError {
    fn from(_: VerifyError) -> Self {
        Self::Stopped
    }
}

/// One of so many slices of all runs, which together are all of them. Twice the index of twice as many begins where this
/// one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Its number, from 0.
    pub index: u64,
    /// How many there are, at least 1.
    pub of: u64,
}

impl Slice {
    /// All runs.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    fn holds(self, run_id: RunId) -> bool {
        let spread = u128::from(Owner::Run(run_id).spread());
        (spread * u128::from(self.of.max(1))) >> 64 == u128::from(self.index)
    }
}

/// How much may be read and held to select runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most runs that are held; more are an error.
    pub runs_max: usize,
    /// Runs after which no more are looked for.
    pub enough: usize,
    /// Most records that are read.
    pub records_max: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { runs_max: RUNS_MAX, enough: usize::MAX, records_max: u64::MAX }
    }
}

/// Runs that were selected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// They.
    pub runs: RunSet,
    /// Records that were read to find them.
    pub records: u64,
    /// Whether these are all; not if there were more records than may be read.
    pub is_whole: bool,
}

/// What selects the runs of a scope.
#[derive(Debug, Clone)]
pub struct Selection {
    scope: Arc<ReplayScope>,
    event_types: BTreeSet<EventType>,
    partitions: u32,
}

impl Selection {
    /// Of the runs of a topic with so many partitions.
    ///
    /// # Errors
    /// When the scope names an event type that this build does not know.
    pub fn new(scope: Arc<ReplayScope>, partitions: u32) -> Result<Self, SelectionError> {
        let known = |name: &String| {
            EventType::from_text(name).ok_or_else(|| SelectionError::UnknownEventType(name.clone()))
        };
        let event_types = scope.event_types.iter().map(known).collect::<Result<_, _>>()?;
        Ok(Self { scope, event_types, partitions })
    }

    /// The partitions that hold what the scope is about: the parts of a replay.
    pub fn parts(&self) -> Vec<u32> {
        let holds_runs = |partition: &u32| {
            let mut runs = self.scope.runs.iter();
            runs.any(|run_id| owner::partition_of(*run_id, self.partitions) == *partition)
        };
        let is_asked = |partition: &u32| {
            let asked = &self.scope.partitions;
            asked.is_empty() || asked.iter().any(|asked| u32::try_from(*asked) == Ok(*partition))
        };
        (0..self.partitions)
            .filter(|partition| is_asked(partition) && (self.scope.runs.is_empty() || holds_runs(partition)))
            .collect()
    }

    /// Whether every run of the parts is within the scope, and so is what belongs to no run.
    pub fn is_everything(&self) -> bool {
        self.scope.runs.is_empty() && !self.looks_at_records()
    }

    /// Whether the log must be read to know the runs.
    pub fn looks_at_records(&self) -> bool {
        let ReplayScope {
            partitions: _,
            runs: _,
            namespaces,
            event_types,
            from_offset,
            until_offset,
            from_us,
            until_us,
        } = &*self.scope;
        !namespaces.is_empty()
            || !event_types.is_empty()
            || [from_offset, until_offset, from_us, until_us].into_iter().any(Option::is_some)
    }

    /// The runs of a slice of a partition whose log ended at `end` when the replay was started; always the same ones.
    /// Reads no record where the scope alone names them.
    ///
    /// # Errors
    /// See [`SelectionError`].
    pub(crate) async fn runs(
        &self,
        views: &Views,
        partition: u32,
        end: i64,
        slice: Slice,
        meter: &Meter,
    ) -> Result<Runs, SelectionError> {
        if self.is_everything() {
            return Ok(Runs::Every);
        }
        if !self.looks_at_records() {
            let here = |run_id: &RunId| owner::partition_of(*run_id, self.partitions) == partition;
            let runs = self.scope.runs.iter().copied().filter(here).filter(|run_id| slice.holds(*run_id));
            return Ok(Runs::Selected(Arc::new(runs.collect())));
        }
        let found = self.find_at(views, partition, end, slice, Bounds::default(), meter).await?;
        Ok(Runs::Selected(Arc::new(found.runs)))
    }

    /// The runs of all parts, whose logs ended at `ends`.
    ///
    /// # Errors
    /// See [`SelectionError`]; also when there are too many of them to be held together.
    pub(crate) async fn all(
        &self,
        views: &Views,
        ends: &[i64],
        meter: &Meter,
    ) -> Result<Runs, SelectionError> {
        if self.is_everything() {
            return Ok(Runs::Every);
        }
        let mut all = RunSet::default();
        for partition in self.parts() {
            let end = ends.get(partition as usize).copied().unwrap_or(0);
            let bounds = Bounds { runs_max: RUNS_MAX - all.len(), ..Bounds::default() };
            all.extend(self.find_at(views, partition, end, Slice::WHOLE, bounds, meter).await?.runs);
        }
        Ok(Runs::Selected(Arc::new(all)))
    }

    /// Looks for the runs of a slice of a partition that have a record within the scope, before `end`.
    ///
    /// # Errors
    /// See [`SelectionError`].
    pub async fn find(
        &self,
        views: &Views,
        partition: u32,
        end: i64,
        slice: Slice,
        bounds: Bounds,
        stop: &Stop,
    ) -> Result<Found, SelectionError> {
        self.find_at(views, partition, end, slice, bounds, &Meter::new(stop.clone(), None)).await
    }

    async fn find_at(
        &self,
        views: &Views,
        partition: u32,
        end: i64,
        slice: Slice,
        bounds: Bounds,
        meter: &Meter,
    ) -> Result<Found, SelectionError> {
        let mut finding = Finding {
            selection: self,
            views,
            place: TopicPartition::new(views.topic.clone(), partition),
            slice,
            bounds,
            meter,
            wanted: self.runs_in(partition).unwrap_or(usize::MAX).min(bounds.enough),
            runs: HashMap::default(),
            unsure: 0,
            records: 0,
        };
        let is_whole = finding.select(end).await? && finding.confirm(end).await?;
        let runs = finding.runs.into_iter().filter(|(_, is_sure)| *is_sure).map(|(run_id, _)| run_id);
        Ok(Found { runs: runs.collect(), records: finding.records, is_whole })
    }

    /// How many runs of a partition are named; none if any may be.
    fn runs_in(&self, partition: u32) -> Option<usize> {
        let here = |run_id: &&RunId| owner::partition_of(**run_id, self.partitions) == partition;
        let named: BTreeSet<&RunId> = self.scope.runs.iter().filter(here).collect();
        (!self.scope.runs.is_empty()).then_some(named.len())
    }

    /// Whether a record of a run is within the scope, whatever the namespace.
    fn holds(&self, run_id: RunId, headers: &Headers) -> bool {
        let scope = &self.scope;
        let at_us = headers.recorded_at_us;
        (scope.runs.is_empty() || scope.runs.contains(&run_id))
            && (self.event_types.is_empty() || self.event_types.contains(&headers.event_type))
            && scope.from_us.is_none_or(|from_us| at_us >= from_us)
            && scope.until_us.is_none_or(|until_us| at_us < until_us)
    }

    /// Whether a record says that its run is of one of the namespaces.
    fn is_of_namespaces(&self, headers: &Headers, record: &Record) -> bool {
        let opened = codec::open(headers, &record.value);
        let namespace = opened.as_ref().ok().and_then(codec::Opened::namespace);
        namespace
            .is_some_and(|namespace| self.scope.namespaces.iter().any(|wanted| wanted.as_str() == namespace))
    }
}

/// A look through one partition.
struct Finding<'a> {
    selection: &'a Selection,
    views: &'a Views,
    place: TopicPartition,
    slice: Slice,
    bounds: Bounds,
    meter: &'a Meter,
    /// How many runs to look for.
    wanted: usize,
    /// Runs with a record within the scope, and whether their namespace is known to be.
    runs: HashMap<RunId, bool, FixedState>,
    unsure: usize,
    records: u64,
}

impl Finding<'_> {
    /// The runs that have a record within the window; whether the window was read to its end.
    async fn select(&mut self, end: i64) -> Result<bool, SelectionError> {
        let scope = &self.selection.scope;
        let from = scope.from_offset.unwrap_or(0).max(0);
        let until = scope.until_offset.map_or(end, |until| until.min(end));
        let (selection, slice) = (self.selection, self.slice);
        let is_any_namespace = selection.scope.namespaces.is_empty();
        self.read("selecting", from, until, |finding, run_id, headers, record| {
            if !slice.holds(run_id) || !selection.holds(run_id, headers) {
                return Ok(true);
            }
            // The namespace of a run is that of its start: what another one sent it was refused.
            let is_sure = is_any_namespace || headers.event_type == EventType::RunStarted;
            if finding.runs.contains_key(&run_id)
                || !(is_any_namespace || selection.is_of_namespaces(headers, record))
            {
                return Ok(true);
            }
            finding.runs.insert(run_id, is_sure);
            finding.unsure += usize::from(!is_sure);
            if finding.runs.len() > finding.bounds.runs_max {
                let (partition, most) = (finding.place.partition, finding.bounds.runs_max);
                return Err(SelectionError::TooMany { partition, most });
            }
            Ok(finding.runs.len() - finding.unsure < finding.wanted)
        })
        .await
    }

    /// Looks for the starts of runs of which only later records were met.
    async fn confirm(&mut self, end: i64) -> Result<bool, SelectionError> {
        if self.unsure == 0 {
            return Ok(true);
        }
        let selection = self.selection;
        self.read("selecting", 0, end, |finding, run_id, headers, record| {
            if headers.event_type == EventType::RunStarted && finding.runs.get(&run_id) == Some(&false) {
                if selection.is_of_namespaces(headers, record) {
                    finding.runs.insert(run_id, true);
                } else {
                    finding.runs.remove(&run_id);
                }
                finding.unsure -= 1;
            }
            Ok(finding.unsure > 0)
        })
        .await
    }

    /// Hands over the records of runs from `from` up to `until` while they are wanted; `false` if there were more of them
    /// than may be read.
    async fn read(
        &mut self,
        phase: &'static str,
        from: i64,
        until: i64,
        mut take: impl FnMut(&mut Self, RunId, &Headers, &Record) -> Result<bool, SelectionError>,
    ) -> Result<bool, SelectionError> {
        self.meter.begin(phase, Some(until.saturating_sub(from).max(0).unsigned_abs()));
        let (partition, partitions) = (self.place.partition, self.views.partitions);
        let mut offset = from;
        while offset < until {
            if self.records >= self.bounds.records_max {
                return Ok(false);
            }
            let left = usize::try_from(until - offset).unwrap_or(usize::MAX);
            let wanted = self.meter.take(READ_RECORDS.min(left)).await?;
            let records = self.views.log.read(&self.place, offset, wanted).await?;
            let Some(last) = records.last() else {
                return Err(SelectionError::Ended {
                    partition: self.place.clone(),
                    end: offset,
                    expected: until,
                });
            };
            offset = last.offset + 1;
            self.records += records.len() as u64;
            for record in records.iter().take_while(|record| record.offset < until) {
                let RecordHeaders::Known(headers) = &record.headers else { continue };
                let Owner::Run(run_id) = owner::of_record(record, partition, partitions) else { continue };
                if !take(self, run_id, headers, record)? {
                    return Ok(true);
                }
            }
            self.meter.records(partition, offset, records.len() as u64);
        }
        Ok(true)
    }
}
