//! Which runs cannot exist, so that nobody needs to look for them: fresh ids that are newer than every one a view may
//! hold. Ids that derive from a key carry no time, so views are asked about them.

use std::collections::{BTreeSet, VecDeque};

use tidewheel_schemas::RunId;
use tidewheel_schemas::mutation::{self, Mutation};

/// Runs that left memory are remembered one by one for a while, because starts that are judged side by side do not
/// come in the order of their times. Some seconds at full load.
const REMEMBERED_MAX: usize = 8_192;

/// What was seen of fresh ids.
#[derive(Debug, Clone)]
pub(super) struct Unseen {
    /// The largest time of a run that is neither in memory nor in `remembered`. None if that is not known: then every
    /// run may exist.
    newest_ms: Option<u64>,
    /// Runs that left memory lately, oldest first, and the same for looking them up.
    remembered: VecDeque<RunId>,
    lookup: BTreeSet<RunId>,
    remembered_max: usize,
}

impl Unseen {
    /// Nothing is in memory, and views hold runs up to this time.
    pub(super) fn since(newest_ms: Option<u64>) -> Self {
        let (remembered, lookup) = (VecDeque::new(), BTreeSet::new());
        Self { newest_ms, remembered, lookup, remembered_max: REMEMBERED_MAX }
    }

    /// A run left memory: a view holds it.
    pub(super) fn left(&mut self, run_id: RunId) {
        let (Some(newest_ms), Some(fresh_ms)) = (self.newest_ms, run_id.fresh_ms()) else { return };
        if fresh_ms <= newest_ms || !self.lookup.insert(run_id) {
            return;
        }
        self.remembered.push_back(run_id);
        while self.remembered.len() > self.remembered_max
            && let Some(oldest) = self.remembered.pop_front()
        {
            self.lookup.remove(&oldest);
            self.newest_ms = self.newest_ms.max(oldest.fresh_ms());
        }
    }

    /// Whether a run that is not in memory exists nowhere.
    pub(super) fn contains(&self, run_id: RunId) -> bool {
        let Some(fresh_ms) = run_id.fresh_ms() else { return false };
        if mutation::is(Mutation::EvictedTakenForNew) {
            return true;
        }
        self.newest_ms.is_some_and(|newest_ms| fresh_ms > newest_ms) && !self.lookup.contains(&run_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(fresh_ms: u64) -> RunId {
        RunId::fresh(1, fresh_ms, [7; 8])
    }

    #[test]
    fn a_run_that_left_memory_is_never_taken_for_new() {
        let mut unseen = Unseen { remembered_max: 2, ..Unseen::since(Some(100)) };
        assert!(!unseen.contains(run(100)), "a view may hold it");
        assert!(unseen.contains(run(101)) && unseen.contains(run(200)));
        for fresh_ms in [200, 101, 150] {
            unseen.left(run(fresh_ms));
        }
        for fresh_ms in [200, 101, 150] {
            assert!(!unseen.contains(run(fresh_ms)));
        }
        assert!(!unseen.contains(run(199)), "no longer told apart from the one that was forgotten");
        assert!(unseen.contains(run(201)));
    }

    #[test]
    fn keyed_runs_and_runs_before_an_unknown_time_may_exist() {
        assert!(!Unseen::since(Some(0)).contains(RunId::keyed("default", 1, "order", "4711")));
        assert!(!Unseen::since(None).contains(run(u64::MAX >> 16)));
    }

    #[test]
    fn a_run_that_comes_and_goes_is_remembered_once() {
        let mut unseen = Unseen { remembered_max: 1, ..Unseen::since(Some(0)) };
        for _ in 0..3 {
            unseen.left(run(5));
        }
        assert!(unseen.contains(run(6)) && !unseen.contains(run(5)));
    }
}
