//! The highest write timestamp of each source, from which follows that a write set is newer than every stored row
//! it can meet.

use std::collections::HashMap;

use crate::{Generation, Source};

/// Highest timestamps by generation and source; `None` stands for all writers that name no source.
#[derive(Debug, Default)]
pub(super) struct Marks {
    highest_us: HashMap<(Generation, Option<Source>), i64>,
}

impl Marks {
    /// Whether a set of this source whose lowest timestamp this is can meet only older rows: everything stored
    /// under a key of the source was written by the source or by a writer that named none.
    pub(super) fn all_older(&self, generation: Generation, source: Source, lowest_us: i64) -> bool {
        let older =
            |mark| self.highest_us.get(&(generation, mark)).is_none_or(|highest| *highest < lowest_us);
        older(Some(source)) && older(None)
    }

    /// Raises a mark; whether it rose.
    pub(super) fn raise(&mut self, generation: Generation, source: Option<Source>, highest_us: i64) -> bool {
        let mark = self.highest_us.entry((generation, source)).or_insert(i64::MIN);
        let rises = highest_us > *mark;
        if rises {
            *mark = highest_us;
        }
        rises
    }

    /// Forgets a generation.
    pub(super) fn remove(&mut self, generation: Generation) {
        self.highest_us.retain(|(of, _), _| *of != generation);
    }
}
