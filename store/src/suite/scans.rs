//! Promises about ranges and order.

use bytes::Bytes;

use super::tables::{ENTITY, EVERY_KEY, INDEX, entry, header, part};
use super::{GENERATION, Numbers, dump, everything, partition, set, text};
use crate::{Key, Order, Row, RowKey, Scan, StateStore, StoreError, Value, Write};

fn names(rows: &[Row]) -> Vec<String> {
    rows.iter()
        .map(|row| match row.key.clustering.as_deref() {
            Some([Value::Int(day), Value::Int(offset), Value::Text(name)]) => {
                format!("{day}/{offset}/{name}")
            }
            other => format!("{other:?}"),
        })
        .collect()
}

/// A partition's static row is read by its key and by whole-table scans, never by a partition's scan.
pub async fn static_rows_stand_apart(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&ENTITY]).await.expect("create");
    let writes = vec![header(1, 8, Some(4)), part(1, -1, 8, Some("part")), header(2, 8, Some(5))];
    store.write(GENERATION, &set(writes)).await.expect("write");
    let row = store.get(GENERATION, &ENTITY, &header(1, 0, None).key).await.expect("get").expect("a row");
    assert_eq!(row.columns, [Value::Int(4)]);
    for reverse in [false, true] {
        let scan = Scan { reverse, ..partition(header(1, 0, None).key.partition, 10) };
        let page = store.scan(GENERATION, &ENTITY, &scan).await.expect("scan");
        assert_eq!(page.rows.len(), 1);
        assert!(page.rows[0].key.clustering.is_some() && page.next.is_none());
    }
    let rows = dump(store, GENERATION, &ENTITY).await;
    let statics = rows.iter().filter(|row| row.key.clustering.is_none()).count();
    assert_eq!((rows.len(), statics), (3, 2));
    let places: Vec<usize> = [header(1, 0, None).key, part(1, -1, 0, None).key]
        .iter()
        .filter_map(|key| rows.iter().position(|row| row.key == *key))
        .collect();
    assert!(places.len() == 2 && places[0] < places[1], "the static row comes before its partition's rows");
    store.write(GENERATION, &set(vec![header(1, 16, None)])).await.expect("delete");
    assert_eq!(dump(store, GENERATION, &ENTITY).await.len(), 2, "deleting the static row leaves the parts");
}

/// Bounds take key prefixes: from inclusive, to exclusive, in the table's order, forward and reversed.
pub async fn ranges_take_prefixes(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&INDEX]).await.expect("create");
    let mut writes = vec![entry("other", 2, 2, "x", 8, true), entry("bucke", 2, 2, "y", 8, true)];
    for day in 1..=3 {
        for offset in 1..=2 {
            writes.extend(["", "a", "b"].map(|name| entry("bucket", day, offset, name, 8, true)));
        }
    }
    store.write(GENERATION, &set(writes)).await.expect("write");
    let day = |day| Some(vec![Value::Int(day)]);
    let offset = |day, offset| Some(vec![Value::Int(day), Value::Int(offset)]);
    let second = ["2/2/b", "2/2/a", "2/2/", "2/1/b", "2/1/a", "2/1/"];
    let cases: [(Option<Key>, Option<Key>, &[&str]); 8] = [
        (day(2), day(3), &second),
        (offset(2, 2), offset(2, 1), &second[..3]),
        (offset(2, 1), day(3), &second[3..]),
        (Some(vec![Value::Int(2), Value::Int(1), text("a")]), day(3), &second[4..]),
        (offset(2, 9), offset(2, 1), &second[..3]),
        (day(4), None, &[]),
        (day(3), day(2), &[]),
        (None, day(1), &[]),
    ];
    for (from, to, expected) in cases {
        let mut scan = Scan { from, to, ..partition(vec![text("bucket")], 100) };
        let page = store.scan(GENERATION, &INDEX, &scan).await.expect("scan");
        assert_eq!(names(&page.rows), expected, "{scan:?}");
        scan.reverse = true;
        let mut page = store.scan(GENERATION, &INDEX, &scan).await.expect("scan");
        page.rows.reverse();
        assert_eq!(names(&page.rows), expected, "{scan:?}");
    }
    let page = store.scan(GENERATION, &INDEX, &partition(vec![text("bucket")], 4)).await.expect("scan");
    assert_eq!((page.rows.len(), page.next.is_some()), (4, true));
    let unfit = [
        Scan { limit: 0, ..everything(1) },
        Scan { from: day(1), ..everything(1) },
        Scan { reverse: true, ..everything(1) },
        Scan { from: Some(vec![text("a")]), ..partition(vec![text("bucket")], 1) },
        Scan { to: Some(vec![Value::Int(1); 4]), ..partition(vec![text("bucket")], 1) },
        partition(vec![Value::Int(1)], 1),
        partition(vec![], 1),
    ];
    for scan in unfit {
        let result = store.scan(GENERATION, &INDEX, &scan).await;
        assert!(matches!(result, Err(StoreError::Refused { .. })), "{scan:?}: {result:?}");
    }
}

/// Clustering rows come in the order of their keys' values, descending columns reversed, for every type.
pub async fn rows_come_in_the_order_of_their_keys(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&EVERY_KEY]).await.expect("create");
    let mut numbers = Numbers(1);
    let bytes =
        [&b""[..], b"\0", b"\0\0", b"\0\x01", b"\0\xFF", b"\x01", b"a", b"a\0", b"ab", b"\xFF", b"\xFF\xFF"];
    let texts = ["", "\0", "\0\0", "\0\u{1}", "a", "a\0", "ab", "b", "é", "\u{10FFFF}"];
    let integers = [i64::MIN, -257, -256, -1, 0, 1, 255, 256, i64::MAX];
    let mut keys = Vec::new();
    for _ in 0..300 {
        // Few leading values, so that the later columns decide too.
        let mut pick = |count: usize, few: usize| {
            (if numbers.below(3) == 0 { numbers.below(count as u64) } else { numbers.below(few as u64) })
                as usize
        };
        keys.push(vec![
            Value::Bool(pick(2, 1) == 1),
            Value::Bool(pick(2, 1) == 1),
            Value::Int(integers[pick(integers.len(), 2)]),
            Value::Int(integers[pick(integers.len(), 2)]),
            text(texts[pick(texts.len(), 2)]),
            text(texts[pick(texts.len(), 2)]),
            Value::Blob(Bytes::from_static(bytes[pick(bytes.len(), 2)])),
            Value::Blob(Bytes::from_static(bytes[pick(bytes.len(), 2)])),
            Value::Uuid([pick(256, 3) as u8; 16]),
        ]);
    }
    let bucket = || vec![Value::Blob(Bytes::from_static(b"\0bucket"))];
    let writes = keys.iter().map(|key| Write {
        table: &EVERY_KEY,
        key: RowKey { partition: bucket(), clustering: Some(key.clone()) },
        timestamp_us: 8,
        columns: Some(vec![]),
    });
    store.write(GENERATION, &set(writes.collect())).await.expect("write");
    keys.sort_by(|left, right| {
        let columns = EVERY_KEY.clustering_key.iter();
        let mut orders =
            left.iter().zip(right).zip(columns).map(|((left, right), column)| match column.order {
                Order::Ascending => left.cmp(right),
                Order::Descending => right.cmp(left),
            });
        orders.find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
    keys.dedup();
    for reverse in [false, true] {
        let scan = Scan { reverse, ..partition(bucket(), 1_000) };
        let page = store.scan(GENERATION, &EVERY_KEY, &scan).await.expect("scan");
        let read: Vec<_> = page.rows.into_iter().filter_map(|row| row.key.clustering).collect();
        assert_eq!(read, keys);
        keys.reverse();
    }
}

/// A scan without a partition lists every row of the table, each once, whatever the size of its pages.
pub async fn a_whole_table_lists_every_row_once(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&ENTITY, &INDEX]).await.expect("create");
    let mut writes = vec![entry("noise", 1, 1, "n", 8, true)];
    for id in -10..10 {
        writes.push(header(id, 8, Some(1)));
        writes.extend((0..3).map(|slot| part(id, slot, 8, Some("part"))));
    }
    let mut expected: Vec<RowKey> = writes[1..].iter().map(|write| write.key.clone()).collect();
    expected.sort();
    store.write(GENERATION, &set(writes)).await.expect("write");
    for limit in [1, 2, 7, 79, 80, 81] {
        let mut scan = everything(limit);
        let mut read: Vec<RowKey> = Vec::new();
        loop {
            let page = store.scan(GENERATION, &ENTITY, &scan).await.expect("scan");
            assert!(page.rows.len() == limit || page.next.is_none());
            read.extend(page.rows.into_iter().map(|row| row.key));
            match page.next {
                Some(next) => scan.after = Some(next),
                None => break,
            }
        }
        let together = read.chunk_by(|left, right| left.partition == right.partition);
        assert!(together.clone().all(|rows| rows.is_sorted()), "limit {limit}");
        assert_eq!(together.count(), 20, "limit {limit}");
        // The order of partitions is the store's own.
        read.sort();
        assert_eq!(read, expected, "limit {limit}");
    }
}
