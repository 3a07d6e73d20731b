//! Random write sets in random orders leave the same rows in both backends, with and without named sources.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::executor::block_on;
use proptest::prelude::*;
use tidewheel_store::suite::dump;
use tidewheel_store::suite::tables::{ENTITY, header, part};
use tidewheel_store::{
    EmbeddedOptions, EmbeddedStore, Generation, MemoryStore, RowKey, Source, StateStore, Write, WriteSet,
};

struct Opened {
    store: EmbeddedStore,
    generations: AtomicU32,
    _folder: tempfile::TempDir,
}

/// One store for all cases, each in a generation of its own: opening one takes longer than a case.
static EMBEDDED: LazyLock<Opened> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let store = EmbeddedStore::open(&EmbeddedOptions::new(folder.path())).expect("the store opens");
    Opened { store, generations: AtomicU32::new(0), _folder: folder }
});

/// Sets of writes whose entity is owned by one source, as the promise of [`WriteSet::source`] demands: entity n by
/// source n. Sets without a source write any entity.
fn sets() -> impl Strategy<Value = Vec<WriteSet>> {
    let write = (0_i64..4, 0_i64..30, proptest::option::weighted(0.6, "[ab]{0,2}"), 0_u8..4);
    let set =
        (proptest::option::weighted(0.75, 0_u32..2), proptest::collection::vec((0_i64..2, write), 1..6));
    let set = set.prop_map(|(source, writes)| {
        let entities = writes
            .into_iter()
            .map(|(id, (slot, timestamp_us, body, stage))| {
                let id = source.map_or(id, i64::from);
                if stage == 0 {
                    header(id, timestamp_us, body.as_ref().map(|body| body.len() as i64))
                } else {
                    part(id, slot, timestamp_us, body.as_deref())
                }
            })
            .collect();
        WriteSet { source: source.map(Source), entities, ..WriteSet::default() }
    });
    proptest::collection::vec(set, 1..25)
}

/// Sets whose timestamps mostly rise, as a live projector's do, so that most are written without reading.
fn rising_sets() -> impl Strategy<Value = Vec<WriteSet>> {
    sets().prop_map(|mut sets| {
        for (number, set) in sets.iter_mut().enumerate() {
            for write in &mut set.entities {
                write.timestamp_us += 25 * number as i64;
            }
        }
        sets
    })
}

fn state_after(
    store: &dyn StateStore,
    generation: Generation,
    sets: &[&WriteSet],
) -> Vec<tidewheel_store::Row> {
    block_on(store.create_tables(generation, &[&ENTITY])).expect("create");
    for set in sets {
        block_on(store.write(generation, &(*set).clone())).expect("write");
    }
    block_on(dump(store, generation, &ENTITY))
}

fn check(sets: &[WriteSet], order: &[prop::sample::Index]) -> Result<(), TestCaseError> {
    let in_order: Vec<&WriteSet> = sets.iter().collect();
    let mut shuffled = in_order.clone();
    for (at, other) in order.iter().enumerate().take(shuffled.len()) {
        shuffled.swap(at, other.index(sets.len()));
    }
    // Some arrive twice.
    shuffled.extend(order.iter().skip(20).map(|other| &sets[other.index(sets.len())]));
    let expected = state_after(&MemoryStore::new(), Generation(1), &in_order);
    prop_assert_eq!(&state_after(&MemoryStore::new(), Generation(1), &shuffled), &expected);
    for sets in [&in_order, &shuffled] {
        let generation = Generation(EMBEDDED.generations.fetch_add(1, Ordering::Relaxed));
        prop_assert_eq!(&state_after(&EMBEDDED.store, generation, sets), &expected);
    }

    let mut newest: BTreeMap<&RowKey, (i64, bool)> = BTreeMap::new();
    for write in sets.iter().flat_map(WriteSet::iter) {
        let Write { key, timestamp_us, columns, .. } = write;
        let place = newest.entry(key).or_insert((i64::MIN, false));
        *place = (*place).max((*timestamp_us, columns.is_none()));
    }
    let mut expected_keys: Vec<_> = newest
        .into_iter()
        .filter(|(_, (_, deleted))| !deleted)
        .map(|(key, (time, _))| (key.clone(), time))
        .collect();
    expected_keys.sort();
    let mut keys: Vec<_> = expected.into_iter().map(|row| (row.key, row.timestamp_us)).collect();
    keys.sort();
    prop_assert_eq!(keys, expected_keys);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_any_sets_leaves_the_same_rows(
        sets in sets(),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 30),
    ) {
        check(&sets, &order)?;
    }

    #[test]
    fn any_order_of_rising_sets_leaves_the_same_rows(
        sets in rising_sets(),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 30),
    ) {
        check(&sets, &order)?;
    }
}
