//! What is verified: which partitions and runs, and the buckets that these are cut into.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use tidewheel_schemas::RunId;

use super::owner::Owner;

/// Fewest and most buckets of a partition.
const BUCKETS_MIN: u64 = 64;
const BUCKETS_MAX: u64 = 1 << 20;
/// Records of a partition for each of its buckets.
const BUCKET_RECORDS: u64 = 16;

/// Which runs are verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Runs {
    /// All of them, and everything else.
    #[default]
    Every,
    /// One of so many, always the same ones. Rows that stand for several runs are not verified.
    Sample(u64),
    /// One. Rows that stand for several runs are not verified.
    One(RunId),
    /// These. Rows that stand for several runs are not verified.
    Selected(Arc<RunSet>),
}

/// A set of runs.
pub type RunSet = HashSet<RunId, foldhash::fast::FixedState>;

/// The runs of a partition that are verified, in buckets.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    runs: Runs,
    mask: u64,
}

impl Scope {
    /// For partitions of up to so many records.
    pub(super) fn new(runs: Runs, records: u64) -> Self {
        let buckets = (records / BUCKET_RECORDS).clamp(BUCKETS_MIN, BUCKETS_MAX).next_power_of_two();
        Self { runs, mask: buckets - 1 }
    }

    /// How many buckets there are.
    pub(super) fn buckets(&self) -> usize {
        usize::try_from(self.mask).unwrap_or(usize::MAX).saturating_add(1)
    }

    /// The bucket of an owner, if it is verified.
    pub(super) fn bucket(&self, owner: Owner) -> Option<usize> {
        let spread = owner.spread();
        let is_within = match (&self.runs, owner) {
            (Runs::Every, _) => true,
            (Runs::Sample(of), _) => spread.is_multiple_of((*of).max(1)),
            (Runs::One(run_id), _) => owner == Owner::Run(*run_id),
            (Runs::Selected(runs), Owner::Run(run_id)) => runs.contains(&run_id),
            (Runs::Selected(_), Owner::Record(_) | Owner::Partition) => false,
        };
        is_within.then(|| usize::try_from((spread >> 32) & self.mask).unwrap_or(0))
    }

    /// Whether rows that stand for several runs can be told.
    pub(super) fn is_whole(&self) -> bool {
        self.runs == Runs::Every
    }
}

/// Buckets of one partition that are looked at closely.
#[derive(Debug, Clone, Default)]
pub(super) struct Chosen(BTreeSet<usize>);

impl Chosen {
    pub(super) fn extend(&mut self, buckets: impl IntoIterator<Item = usize>) {
        self.0.extend(buckets);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, bucket: Option<usize>) -> bool {
        bucket.is_some_and(|bucket| self.0.contains(&bucket))
    }
}
