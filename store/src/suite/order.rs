//! Promises about writes that arrive late, twice, or at once.

use super::tables::{ENTITY, INDEX, entry, header, part};
use super::{GENERATION, Numbers, dump, set};
use crate::{Generation, Source, StateStore, Value, Write, WriteSet};

/// At equal timestamps a deletion wins over a put, and of two puts always the same one, in either order.
pub async fn equal_timestamps_follow_the_tie_rule(store: &dyn StateStore) {
    let pairs = [
        (part(1, 0, 8, Some("a")), part(1, 0, 8, None)),
        (part(1, 0, 8, Some("a")), part(1, 0, 8, Some("b"))),
        (part(1, 0, 8, Some("a")), part(1, 0, 8, Some("aa"))),
        (header(1, 8, Some(1)), header(1, 8, Some(-1))),
    ];
    for (number, (left, right)) in pairs.into_iter().enumerate() {
        let mut states = Vec::new();
        for (order, writes) in [[&left, &right], [&right, &left]].into_iter().enumerate() {
            let generation = Generation((number * 2 + order) as u32);
            store.create_tables(generation, &[&ENTITY]).await.expect("create");
            for write in writes {
                store.write(generation, &set(vec![write.clone()])).await.expect("write");
            }
            states.push(dump(store, generation, &ENTITY).await);
        }
        assert_eq!(states[0], states[1], "{left:?} and {right:?}");
        assert_eq!(states[0].is_empty(), right.columns.is_none());
    }
}

/// A row deleted at some time stays deleted when an older put arrives, whoever wrote either.
pub async fn a_late_older_write_does_not_bring_a_row_back(store: &dyn StateStore) {
    let sources = [None, Some(Source(0))];
    let mut generation = Generation(0);
    for deleter in sources {
        for late in sources {
            for put_first in [false, true] {
                generation.0 += 1;
                store.create_tables(generation, &[&INDEX]).await.expect("create");
                let of = |source, write| WriteSet { source, ..set(vec![write]) };
                if put_first {
                    let put = of(deleter, entry("a", 1, 1, "n", 8, true));
                    store.write(generation, &put).await.expect("put");
                }
                let deletion = of(deleter, entry("a", 1, 1, "n", 80, false));
                store.write(generation, &deletion).await.expect("delete");
                // Other rows go on, so that the source's newest write is not the deletion.
                let other = of(deleter, entry("a", 1, 2, "n", 800, true));
                store.write(generation, &other).await.expect("put");
                for timestamp_us in [8, 72, 79, 80] {
                    let put = of(late, entry("a", 1, 1, "n", timestamp_us, true));
                    store.write(generation, &put).await.expect("late put");
                    let rows = dump(store, generation, &INDEX).await;
                    assert_eq!(rows.len(), 1, "{deleter:?} {late:?} {put_first} {timestamp_us}");
                }
                let put = of(late, entry("a", 1, 1, "n", 81, true));
                store.write(generation, &put).await.expect("newer put");
                assert_eq!(dump(store, generation, &INDEX).await.len(), 2);
            }
        }
    }
}

/// A source that writes older rows again (a rebuild, a restored checkpoint), or meets newer rows of a writer that
/// named no source, loses against what is newer.
pub async fn a_source_that_goes_back_is_compared_with_what_is_stored(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&ENTITY]).await.expect("create");
    let live = |writes| WriteSet { source: Some(Source(3)), ..set(writes) };
    store.write(GENERATION, &live(vec![part(1, 0, 800, Some("newest"))])).await.expect("write");
    store
        .write(GENERATION, &live(vec![part(1, 0, 80, Some("older")), part(1, 1, 88, Some("older"))]))
        .await
        .expect("write");
    store.write(GENERATION, &set(vec![part(1, 2, 8_000, Some("mended"))])).await.expect("write");
    store.write(GENERATION, &live(vec![part(1, 2, 1_600, Some("live"))])).await.expect("write");
    store.write(GENERATION, &live(vec![part(1, 2, 16_000, Some("live"))])).await.expect("write");
    store
        .write(GENERATION, &live(vec![part(1, 1, 16_008, None), part(1, 0, 799, None)]))
        .await
        .expect("write");
    let rows = dump(store, GENERATION, &ENTITY).await;
    let rows: Vec<_> = rows.iter().map(|row| (row.timestamp_us, &row.columns[0])).collect();
    assert_eq!(rows, [(800, &super::text("newest")), (16_000, &super::text("live"))]);
}

/// Of several writes to one row in one set the newest wins, whichever stage it is in and whoever wrote it.
pub async fn one_set_may_write_a_row_more_than_once(store: &dyn StateStore) {
    for (number, source) in [None, Some(Source(1))].into_iter().enumerate() {
        let generation = Generation(number as u32);
        store.create_tables(generation, &[&INDEX]).await.expect("create");
        let writes = WriteSet {
            source,
            is_bulk: false,
            inserts: vec![entry("a", 1, 1, "put last", 24, true), entry("a", 1, 1, "deleted last", 8, true)],
            entities: vec![entry("a", 1, 1, "put last", 16, false)],
            deletions: vec![
                entry("a", 1, 1, "put last", 8, false),
                entry("a", 1, 1, "deleted last", 16, false),
            ],
            checkpoints: vec![entry("a", 1, 1, "deleted last", 12, true)],
        };
        store.write(generation, &writes).await.expect("write");
        let rows = dump(store, generation, &INDEX).await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].key.clustering.as_ref().map(|key| key[2].clone()), Some(super::text("put last")));
        assert_eq!(rows[0].timestamp_us, 24);
    }
}

/// Any permutation and duplication of a set of writes, in sets of any size, gives the same rows.
pub async fn any_order_gives_the_same_rows(store: &dyn StateStore, seed: u64) {
    let mut numbers = Numbers(seed);
    let mut writes = Vec::new();
    for _ in 0..120 {
        let timestamp_us = numbers.below(40) as i64;
        let slot = numbers.below(6) as i64;
        let body = format!("{}", numbers.below(3));
        writes.push(match numbers.below(5) {
            0 => part(1, slot, timestamp_us, None),
            1 => header(1, timestamp_us, Some(numbers.below(3) as i64)),
            _ => part(1, slot, timestamp_us, Some(&body)),
        });
    }
    let mut states = Vec::new();
    for round in 0..4 {
        let generation = Generation(round);
        store.create_tables(generation, &[&ENTITY]).await.expect("create");
        let mut order: Vec<Write> = writes.clone();
        if round > 0 {
            order.extend(writes.iter().take(40).cloned());
            numbers.shuffle(&mut order);
        }
        // All rows belong to the source here, so naming it must change nothing.
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            let size = (numbers.below(9) as usize + 1).min(rest.len());
            let source = (numbers.below(3) > 0).then_some(Source(0));
            let writes = WriteSet { source, ..set(rest[..size].to_vec()) };
            store.write(generation, &writes).await.expect("write");
            rest = &rest[size..];
        }
        states.push(dump(store, generation, &ENTITY).await);
    }
    for state in &states {
        assert_eq!(*state, states[0], "seed {seed}");
    }
    for row in &states[0] {
        let newest = writes.iter().filter(|write| write.key == row.key).map(|write| write.timestamp_us).max();
        assert_eq!(Some(row.timestamp_us), newest, "seed {seed}");
        assert!(row.columns.iter().any(|value| *value != Value::Null));
    }
}
