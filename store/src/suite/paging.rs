//! Promises about pages and cursors.

use bytes::Bytes;

use super::tables::{ENTITY, INDEX, PLAIN, entry, part};
use super::{GENERATION, Numbers, everything, partition, set, text};
use crate::{Cursor, PAGE_BYTES, RowKey, Scan, StateStore, StoreError, Value, Write};

/// Rows that stand still while a scan pages are returned exactly once, though others come and go between pages,
/// the row under the cursor included; no page but the last is empty.
pub async fn paging_neither_loses_nor_repeats_rows(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&INDEX]).await.expect("create");
    let row = |offset: i64, timestamp_us, present| entry("bucket", 1, offset, "n", timestamp_us, present);
    let still: Vec<Write> = (0..60).map(|offset| row(offset * 10, 8, true)).collect();
    store.write(GENERATION, &set(still)).await.expect("write");
    let mut numbers = Numbers(2);
    let mut timestamp_us = 8;
    for reverse in [false, true] {
        for limit in [1, 3, 7, 60, 61] {
            let mut scan = Scan { reverse, ..partition(vec![text("bucket")], limit) };
            let mut read = Vec::new();
            loop {
                let page = store.scan(GENERATION, &INDEX, &scan).await.expect("scan");
                assert!(!page.rows.is_empty() || page.next.is_none(), "an empty page that is not the last");
                let offset = |key: &RowKey| match key.clustering.as_deref() {
                    Some([_, Value::Int(offset), _]) => *offset,
                    _ => unreachable!("an index row has three clustering columns"),
                };
                read.extend(page.rows.iter().map(|row| offset(&row.key)));
                timestamp_us += 8;
                let mut changes: Vec<Write> = (0..20)
                    .map(|_| row(numbers.below(60) as i64 * 10 + 5, timestamp_us, numbers.below(2) == 0))
                    .collect();
                if let Some(last) = read.last().filter(|last| **last % 10 != 0) {
                    changes.push(row(*last, timestamp_us + 1, false));
                }
                store.write(GENERATION, &set(changes)).await.expect("write");
                match page.next {
                    Some(next) => scan.after = Some(next),
                    None => break,
                }
            }
            let ordered =
                read.windows(2).all(|pair| if reverse { pair[0] < pair[1] } else { pair[0] > pair[1] });
            assert!(ordered, "rows repeat or are out of order: {read:?}");
            assert_eq!(read.iter().filter(|offset| **offset % 10 == 0).count(), 60);
        }
    }
}

/// A page of large rows ends before its limit, and the rest follows.
pub async fn large_rows_end_a_page_early(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&PLAIN]).await.expect("create");
    let large = Value::Blob(Bytes::from(vec![1; PAGE_BYTES / 8 - 1_000]));
    for id in 0..12 {
        let write = Write {
            table: &PLAIN,
            key: RowKey { partition: vec![Value::Uuid([id; 16])], clustering: Some(vec![]) },
            timestamp_us: 8,
            columns: Some(vec![Value::Null, Value::Null, Value::Null, large.clone(), Value::Null]),
        };
        store.write(GENERATION, &set(vec![write])).await.expect("write");
    }
    let mut scan = everything(100);
    let page = store.scan(GENERATION, &PLAIN, &scan).await.expect("scan");
    assert_eq!(page.rows.len(), 9);
    scan.after = page.next;
    let page = store.scan(GENERATION, &PLAIN, &scan).await.expect("scan");
    assert_eq!((page.rows.len(), page.next), (3, None));
}

/// A cursor is refused by another table, partition or kind of scan, and when its bytes are not a cursor's.
pub async fn cursors_of_other_places_are_refused(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&INDEX, &ENTITY]).await.expect("create");
    let mut writes: Vec<Write> = (0..5).map(|offset| entry("bucket", 1, offset, "n", 8, true)).collect();
    writes.extend((0..5).map(|slot| part(1, slot, 8, Some("part"))));
    store.write(GENERATION, &set(writes)).await.expect("write");
    let scan = partition(vec![text("bucket")], 2);
    let cursor = store.scan(GENERATION, &INDEX, &scan).await.expect("scan").next.expect("a cursor");
    let of_table =
        store.scan(GENERATION, &INDEX, &everything(2)).await.expect("scan").next.expect("a cursor");
    let bad = async |table, scan: &Scan, cursor: Cursor| {
        let result = store.scan(GENERATION, table, &Scan { after: Some(cursor), ..scan.clone() }).await;
        assert!(matches!(result, Err(StoreError::BadCursor { .. })), "{result:?}");
    };
    bad(&INDEX, &partition(vec![text("bucket2")], 2), cursor.clone()).await;
    bad(&INDEX, &everything(2), cursor.clone()).await;
    bad(&INDEX, &scan, of_table).await;
    bad(&ENTITY, &partition(vec![text("bucket"), Value::Int(1)], 2), cursor.clone()).await;
    for length in 0..cursor.0.len() {
        bad(&INDEX, &scan, Cursor(cursor.0.slice(..length))).await;
    }
    bad(&INDEX, &scan, Cursor([&cursor.0[..], b"more"].concat().into())).await;
    bad(&INDEX, &scan, Cursor(vec![0xFF; 64].into())).await;

    // A good cursor never widens the range it is used with.
    let from = Some(vec![Value::Int(1), Value::Int(1)]);
    let narrow = Scan { from, after: Some(cursor), ..scan };
    let page = store.scan(GENERATION, &INDEX, &narrow).await.expect("scan");
    assert_eq!((page.rows.len(), page.next), (2, None));
    let beyond = Scan { to: Some(vec![Value::Int(0)]), from: None, ..narrow };
    assert!(store.scan(GENERATION, &INDEX, &beyond).await.expect("scan").rows.is_empty());
}
