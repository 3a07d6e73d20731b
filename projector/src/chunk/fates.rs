//! What becomes of the keys that a run's changes touch.

use std::collections::BTreeMap;

use tidewheel_schemas::mutation::{self, Mutation};

/// Keys up to which they are kept in a row. Most runs touch one to four, and a tree's node has room for eleven; a run that
/// touches many must not move all of them for each.
const FEW: usize = 32;

/// The last fate of a key within the chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    pub(super) live: bool,
    pub(super) offset: i64,
    /// The key did not exist before the chunk.
    pub(super) fresh: bool,
}

impl Fate {
    /// Whether its deletion must be written.
    pub(super) fn must_delete(self, atomic: bool) -> bool {
        let is_kept = atomic || mutation::is(Mutation::IntermediateKeysKept);
        !(self.live || is_kept && self.fresh)
    }
}

/// Keys and their last fates.
#[derive(Debug)]
pub(super) struct Fates<K> {
    /// Sorted.
    few: Vec<(K, Fate)>,
    /// All of them, once they are many.
    many: BTreeMap<K, Fate>,
}

impl<K> Default for Fates<K> {
    fn default() -> Self {
        Self { few: Vec::new(), many: BTreeMap::new() }
    }
}

impl<K: Ord> Fates<K> {
    /// The record at `offset` puts the key (`live`) or removes it.
    pub(super) fn note(&mut self, key: K, live: bool, offset: i64) {
        let fate = Fate { live, offset, fresh: live };
        if !self.many.is_empty() {
            let fate = self.many.entry(key).or_insert(fate);
            (fate.live, fate.offset) = (live, offset);
            return;
        }
        match self.few.binary_search_by(|(noted, _)| noted.cmp(&key)) {
            Ok(place) => {
                let fate = &mut self.few[place].1;
                (fate.live, fate.offset) = (live, offset);
            }
            Err(_) if self.few.len() == FEW => {
                self.many.extend(self.few.drain(..));
                self.many.insert(key, fate);
            }
            Err(place) => self.few.insert(place, (key, fate)),
        }
    }

    /// The keys in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, Fate)> {
        let few = self.few.iter().map(|(key, fate)| (key, *fate));
        few.chain(self.many.iter().map(|(key, fate)| (key, *fate)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_keys_and_many_keep_their_order_their_first_and_their_last_fate(
            notes in prop::collection::vec((0..3 * FEW, any::<bool>()), 0..6 * FEW)
        ) {
            let (mut fates, mut expected) = (Fates::default(), BTreeMap::new());
            for (offset, (key, live)) in (0_i64..).zip(notes) {
                fates.note(key, live, offset);
                let (last, _) = expected.entry(key).or_insert(((live, offset), live));
                *last = (live, offset);
            }
            let found = fates.iter().map(|(key, fate)| (*key, ((fate.live, fate.offset), fate.fresh)));
            prop_assert_eq!(found.collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
        }
    }
}
