//! Promises about single rows, declarations and generations.

use bytes::Bytes;

use super::tables::{ENTITY, INDEX, PLAIN, PLAIN_BEFORE, entry, header, part};
use super::{GENERATION, dump, set, text};
use crate::{
    Generation, KEY_BYTES_MAX, ROW_BYTES_MAX, RowKey, StateStore, StoreError, Value, Write, WriteSet,
};

fn plain(id: u8, timestamp_us: i64, columns: Option<Vec<Value>>) -> Write {
    Write {
        table: &PLAIN,
        key: RowKey { partition: vec![Value::Uuid([id; 16])], clustering: Some(vec![]) },
        timestamp_us,
        columns,
    }
}

/// Values of every type come back as written, in a set as a whole.
pub async fn written_rows_are_read_back(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&ENTITY, &PLAIN]).await.expect("create");
    store.create_tables(GENERATION, &[&ENTITY, &PLAIN]).await.expect("create again");
    let rows = [
        vec![Value::Null; 5],
        vec![
            Value::Bool(true),
            Value::Int(i64::MIN),
            text("a\0é"),
            Value::Blob(Bytes::from_static(b"\0\xFF")),
            Value::Uuid([7; 16]),
        ],
        vec![Value::Bool(false), Value::Int(i64::MAX), text(""), Value::Null, Value::Uuid([0; 16])],
        vec![Value::Null, Value::Int(-1), Value::Null, Value::Blob(Bytes::new()), Value::Null],
    ];
    let writes = WriteSet {
        inserts: vec![plain(0, 10, Some(rows[0].clone())), plain(1, 11, Some(rows[1].clone()))],
        entities: vec![header(1, 12, Some(3)), part(1, 0, 12, Some("zero"))],
        checkpoints: vec![plain(2, 13, Some(rows[2].clone())), plain(3, -13, Some(rows[3].clone()))],
        ..WriteSet::default()
    };
    store.write(GENERATION, &writes).await.expect("write");
    for (id, (columns, timestamp_us)) in rows.iter().zip([10, 11, 13, -13]).enumerate() {
        let key = plain(id as u8, 0, None).key;
        let row = store.get(GENERATION, &PLAIN, &key).await.expect("get").expect("a row");
        assert_eq!((row.key, &row.columns, row.timestamp_us), (key, columns, timestamp_us));
    }
    let row = store.get(GENERATION, &ENTITY, &part(1, 0, 0, None).key).await.expect("get").expect("a row");
    assert_eq!(row.columns, [text("zero"), Value::Bool(true)]);
    assert_eq!(store.get(GENERATION, &ENTITY, &part(1, 1, 0, None).key).await.expect("get"), None);
    store.write(GENERATION, &WriteSet::default()).await.expect("an empty set");
}

/// A deleted row is gone from gets and scans; a newer write brings it back.
pub async fn deletions_remove_rows(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&ENTITY]).await.expect("create");
    store
        .write(GENERATION, &set(vec![part(1, 0, 8, Some("a")), part(1, 1, 8, Some("b"))]))
        .await
        .expect("write");
    let deletions = WriteSet { deletions: vec![part(1, 0, 16, None)], ..WriteSet::default() };
    store.write(GENERATION, &deletions).await.expect("delete");
    assert_eq!(store.get(GENERATION, &ENTITY, &part(1, 0, 0, None).key).await.expect("get"), None);
    assert_eq!(dump(store, GENERATION, &ENTITY).await.len(), 1);
    store.write(GENERATION, &set(vec![part(1, 0, 24, Some("c"))])).await.expect("write");
    assert_eq!(dump(store, GENERATION, &ENTITY).await.len(), 2);
}

/// Reads and writes of tables that a generation does not have are typed errors, and so is a table whose number
/// belongs to another.
pub async fn unknown_tables_are_refused(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&ENTITY]).await.expect("create");
    let unknown = |result: Result<(), StoreError>| matches!(result, Err(StoreError::UnknownTable { .. }));
    assert!(unknown(store.write(GENERATION, &set(vec![entry("a", 1, 1, "n", 8, true)])).await));
    assert!(unknown(store.write(Generation(9), &set(vec![part(1, 0, 8, Some("a"))])).await));
    assert!(unknown(store.get(GENERATION, &PLAIN, &plain(0, 0, None).key).await.map(drop)));
    assert!(unknown(store.scan(Generation(9), &ENTITY, &super::everything(1)).await.map(drop)));

    static OTHER: crate::TableSchema = crate::TableSchema { name: "other", ..ENTITY };
    let result = store.create_tables(GENERATION, &[&OTHER]).await;
    assert!(matches!(result, Err(StoreError::Refused { table: "other", .. })), "{result:?}");
    assert!(unknown(store.get(GENERATION, &OTHER, &part(1, 0, 0, None).key).await.map(drop)));
}

/// A row that does not fit its declaration, or is too large, is refused, and nothing of its set is written.
pub async fn unfit_rows_are_refused_and_nothing_is_written(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&ENTITY, &INDEX, &PLAIN]).await.expect("create");
    let with_key = |partition: Vec<Value>, clustering: Option<Vec<Value>>| Write {
        key: RowKey { partition, clustering },
        ..part(1, 1, 8, Some("a"))
    };
    let with_columns = |columns| Write { columns: Some(columns), ..part(1, 1, 8, None) };
    let partition = || vec![text("default"), Value::Int(1)];
    let clustering = || Some(vec![text("step"), Value::Int(1)]);
    let large = |bytes: usize| Value::Blob(Bytes::from(vec![0; bytes]));
    let blob =
        |bytes| plain(1, 8, Some(vec![Value::Null, Value::Null, Value::Null, large(bytes), Value::Null]));
    let unfit = [
        with_key(vec![text("default")], clustering()),
        with_key(vec![text("default"), Value::Int(1), Value::Int(1)], clustering()),
        with_key(vec![Value::Int(1), text("default")], clustering()),
        with_key(vec![text("default"), Value::Null], clustering()),
        with_key(vec![text(&"x".repeat(KEY_BYTES_MAX)), Value::Int(1)], clustering()),
        with_key(partition(), Some(vec![text("step")])),
        with_key(partition(), Some(vec![text("step"), Value::Bool(true)])),
        with_key(partition(), Some(vec![])),
        with_columns(vec![text("a")]),
        with_columns(vec![text("a"), Value::Bool(true), Value::Null]),
        with_columns(vec![Value::Int(1), Value::Bool(true)]),
        Write { columns: Some(vec![text("no version")]), ..header(1, 8, None) },
        Write {
            key: RowKey { clustering: None, ..entry("a", 1, 1, "n", 8, true).key },
            ..entry("a", 1, 1, "n", 8, true)
        },
        blob(ROW_BYTES_MAX + 1),
        entry("", 1, 1, "n", 8, true),
    ];
    for write in unfit {
        let table = write.table.name;
        assert!(matches!(write.check(), Err(StoreError::Refused { table: of, .. }) if of == table));
        let writes = WriteSet {
            inserts: vec![part(2, 0, 8, Some("before"))],
            entities: vec![write.clone()],
            checkpoints: vec![part(3, 0, 8, Some("after"))],
            ..WriteSet::default()
        };
        let result = store.write(GENERATION, &writes).await;
        assert!(
            matches!(result, Err(StoreError::Refused { table: of, .. }) if of == table),
            "{write:?}: {result:?}"
        );
        if write.columns.is_some() && write.key.partition.len() != 2 {
            let result = store.get(GENERATION, write.table, &write.key).await;
            assert!(!matches!(result, Ok(Some(_))));
        }
    }
    for table in [&ENTITY, &INDEX, &PLAIN] {
        assert_eq!(dump(store, GENERATION, table).await, []);
    }
    let fits = [
        blob(ROW_BYTES_MAX),
        with_key(vec![text(&"\0".repeat(KEY_BYTES_MAX - 20)), Value::Int(1)], clustering()),
    ];
    for write in fits {
        store.write(GENERATION, &set(vec![write.clone()])).await.expect("a row at the limit");
        let row = store.get(GENERATION, write.table, &write.key).await.expect("get").expect("a row");
        assert_eq!(Some(row.columns), write.columns);
    }
}

/// Columns appended to a table read as null in rows written before, and writing such a row again changes nothing.
pub async fn columns_appended_later_read_as_null(store: &dyn StateStore) {
    store.create_tables(GENERATION, &[&PLAIN_BEFORE]).await.expect("create");
    let before = vec![Value::Bool(true), Value::Int(5)];
    let old = Write { table: &PLAIN_BEFORE, ..plain(1, 8, Some(before)) };
    store.write(GENERATION, &set(vec![old.clone()])).await.expect("write");
    store.create_tables(GENERATION, &[&PLAIN]).await.expect("append columns");
    let row = store.get(GENERATION, &PLAIN, &old.key).await.expect("get").expect("a row");
    let extended = vec![Value::Bool(true), Value::Int(5), Value::Null, Value::Null, Value::Null];
    assert_eq!(row.columns, extended);
    store.write(GENERATION, &set(vec![plain(1, 8, Some(extended.clone()))])).await.expect("write");
    assert_eq!(dump(store, GENERATION, &PLAIN).await[0].columns, extended);
    store.create_tables(GENERATION, &[&PLAIN_BEFORE]).await.expect("an older binary");
    let row = store.get(GENERATION, &PLAIN_BEFORE, &old.key).await.expect("get").expect("a row");
    assert_eq!(row.columns.len(), 2);
}

/// Rows and deletions of one generation do not show in another; a dropped one leaves nothing, and may be made anew.
pub async fn generations_do_not_see_each_other(store: &dyn StateStore) {
    let (left, right) = (Generation(1), Generation(u32::MAX));
    for generation in [left, right] {
        store.create_tables(generation, &[&ENTITY, &INDEX]).await.expect("create");
    }
    let rows: Vec<Write> = (0..50).map(|slot| part(1, slot, 80, Some("left"))).collect();
    store.write(left, &set(rows)).await.expect("write");
    store
        .write(left, &set(vec![part(2, 0, 80, None), entry("a", 1, 1, "n", 80, true)]))
        .await
        .expect("write");
    assert_eq!(dump(store, right, &ENTITY).await, []);
    store
        .write(right, &set(vec![part(1, 0, 8, Some("right")), part(2, 0, 8, Some("right"))]))
        .await
        .expect("write");
    assert_eq!(dump(store, right, &ENTITY).await.len(), 2);
    assert_eq!(dump(store, left, &ENTITY).await.len(), 50);

    store.drop_generation(left).await.expect("drop");
    store.drop_generation(left).await.expect("drop again");
    let result = store.get(left, &ENTITY, &part(1, 0, 0, None).key).await;
    assert!(matches!(result, Err(StoreError::UnknownTable { generation: 1, .. })), "{result:?}");
    let result = store.write(left, &set(vec![part(1, 0, 88, Some("late"))])).await;
    assert!(matches!(result, Err(StoreError::UnknownTable { .. })), "{result:?}");
    assert_eq!(dump(store, right, &ENTITY).await.len(), 2);

    store.create_tables(left, &[&ENTITY, &INDEX]).await.expect("make anew");
    assert_eq!(dump(store, left, &ENTITY).await, []);
    assert_eq!(dump(store, left, &INDEX).await, []);
    store.write(left, &set(vec![part(2, 0, 8, Some("anew"))])).await.expect("write");
    assert_eq!(dump(store, left, &ENTITY).await.len(), 1, "deletions go with their generation");
}
