//! Promises about columns that are lists. Rows and declarations of other types are in `rows`.

use bytes::Bytes;

use super::tables::{ITEMS, ITEMS_AFTER, items};
use super::{GENERATION, Numbers, dump, text};
use crate::{
    Column, ColumnType, ROW_BYTES_MAX, RowKey, Source, StateStore, StoreError, TableSchema, Value, Write,
    WriteSet,
};

fn item(place: i64, title: &str) -> Vec<Value> {
    vec![Value::Int(place), text(title)]
}

fn inserted(inserts: Vec<Write>) -> WriteSet {
    WriteSet { source: Some(Source(1)), inserts, ..WriteSet::default() }
}

/// Lists of any length, with and without nulls, come back as written; the newest put replaces a list as a whole in
/// any order of arrival.
pub async fn lists_are_read_back_and_replaced_as_wholes(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&ITEMS]).await.expect("create");
    let lists = [
        Value::Null,
        Value::list(vec![]),
        Value::list(vec![vec![Value::Null, Value::Null]]),
        Value::list(vec![
            item(i64::MIN, ""),
            vec![Value::Null, text("a\0é")],
            vec![Value::Int(0), Value::Null],
        ]),
        Value::list((0..1_000).map(|place| item(place, &"x".repeat(place as usize % 130)))),
    ];
    let writes =
        (0..).zip(&lists).map(|(number, list)| items(number, 8, Some(vec![Value::Null, list.clone()])));
    store.write(GENERATION, &inserted(writes.collect())).await.expect("write");
    for (number, list) in (0..).zip(&lists) {
        let row =
            store.get(GENERATION, &ITEMS, &items(number, 0, None).key).await.expect("get").expect("a row");
        assert_eq!(row.columns, [Value::Null, list.clone()]);
    }
    let of = |row: crate::Row| (row.key.clustering, row.columns, row.timestamp_us);
    let listed: Vec<_> = dump(store, GENERATION, &ITEMS).await.into_iter().map(of).collect();
    let expected: Vec<_> = (0..)
        .zip(&lists)
        .map(|(number, list)| (Some(vec![Value::Int(number)]), vec![Value::Null, list.clone()], 8))
        .collect();
    assert_eq!(listed, expected);
    // Each of them longer than the one before, in an order of their own for each seed.
    for seed in 0..8 {
        let mut growing: Vec<Write> = (1..9)
            .map(|length| {
                let list = (0..length).map(|place| item(place, "growing"));
                items(100 + seed as i64, 8 * length, Some(vec![Value::Null, Value::list(list)]))
            })
            .collect();
        let last = growing.last().cloned().expect("a write");
        Numbers(seed).shuffle(&mut growing);
        for write in growing {
            store.write(GENERATION, &inserted(vec![write])).await.expect("write");
        }
        let row = store.get(GENERATION, &ITEMS, &last.key).await.expect("get").expect("a row");
        assert_eq!((Some(row.columns), row.timestamp_us), (last.columns, last.timestamp_us));
    }
    refused(store).await;
}

/// What is no list of the fields declared is refused, and nothing of its set is written.
async fn refused(store: &dyn StateStore) {
    let before = dump(store, GENERATION, &ITEMS).await;
    let large = Value::Text("x".repeat(ROW_BYTES_MAX).into());
    for list in [
        text("no list"),
        Value::list(vec![vec![text("a"), Value::Int(1)]]),
        Value::list(vec![vec![Value::Int(1), text("a"), Value::Int(2)]]),
        Value::list(vec![vec![Value::list(vec![]), text("a")]]),
        Value::list(vec![vec![Value::Null, large], item(1, "a")]),
    ] {
        let write = items(1, 800, Some(vec![Value::Null, list]));
        let fits = items(2, 800, Some(vec![Value::Null, Value::Null]));
        let refused = store.write(GENERATION, &inserted(vec![fits, write])).await;
        assert!(matches!(refused, Err(StoreError::Refused { table: "items", .. })), "{refused:?}");
    }
    assert_eq!(dump(store, GENERATION, &ITEMS).await, before);
    static IN_A_KEY: TableSchema = TableSchema {
        name: "in_a_key",
        number: 6,
        clustering_key: &[Column::new("key", ITEMS.columns[1].kind)],
        bucket_bits: None,
        ..ITEMS
    };
    static NESTED: TableSchema = TableSchema {
        name: "nested",
        number: 7,
        columns: &[Column::new("outer", ColumnType::List(ITEMS.columns))],
        ..ITEMS
    };
    static OTHER_FIELDS: TableSchema = TableSchema {
        columns: &[
            Column::new("label", ColumnType::Text),
            Column::new("items", ColumnType::List(&[Column::new("place", ColumnType::Text)])),
        ],
        ..ITEMS
    };
    for table in [&IN_A_KEY, &NESTED, &OTHER_FIELDS] {
        let refused = store.create_tables(GENERATION, &[table]).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{}: {refused:?}", table.name);
    }
}

/// Fields appended to a list, and lists appended to a table, read as null in rows written before; a build that does
/// not know them reads the rest.
pub async fn fields_appended_to_lists_read_as_null(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&ITEMS]).await.expect("create");
    let old =
        items(1, 8, Some(vec![text("old"), Value::list(vec![item(1, "a"), vec![Value::Null, text("b")]])]));
    store.write(GENERATION, &inserted(vec![old.clone()])).await.expect("write");
    store.create_tables(GENERATION, &[&ITEMS_AFTER]).await.expect("append fields");
    let nulls = || [Value::Null, Value::Null, Value::Null];
    let extended = |mut item: Vec<Value>| {
        item.extend(nulls());
        item
    };
    let row = store.get(GENERATION, &ITEMS_AFTER, &old.key).await.expect("get").expect("a row");
    let list = vec![extended(item(1, "a")), extended(vec![Value::Null, text("b")])];
    assert_eq!(row.columns, [text("old"), Value::list(list), Value::Null]);
    let mut whole = item(2, "c");
    whole.extend([Value::Bool(true), Value::Blob(Bytes::from_static(b"\0\xFF")), Value::Uuid([7; 16])]);
    let columns = vec![
        text("new"),
        Value::list(vec![whole, extended(item(3, "d"))]),
        Value::list(vec![vec![text("mark")]]),
    ];
    let new = Write {
        table: &ITEMS_AFTER,
        key: RowKey { clustering: Some(vec![Value::Int(2)]), ..old.key.clone() },
        timestamp_us: 16,
        columns: Some(columns.clone()),
    };
    store.write(GENERATION, &inserted(vec![new.clone()])).await.expect("write");
    let row = store.get(GENERATION, &ITEMS_AFTER, &new.key).await.expect("get").expect("a row");
    assert_eq!(row.columns, columns);
    store.create_tables(GENERATION, &[&ITEMS]).await.expect("an older build");
    let row = store.get(GENERATION, &ITEMS, &new.key).await.expect("get").expect("a row");
    assert_eq!(row.columns, [text("new"), Value::list(vec![item(2, "c"), item(3, "d")])]);
}
