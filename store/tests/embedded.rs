//! The embedded backend keeps the suite's promises, and its own about folders.

use std::path::Path;
use std::sync::Arc;

use tidewheel_store::suite::tables::{ENTITY, INDEX, entry, header, part};
use tidewheel_store::suite::{self, GENERATION, dump};
use tidewheel_store::{EmbeddedOptions, EmbeddedStore, Source, StateStore, StoreError, WriteSet};

fn open(directory: &Path) -> EmbeddedStore {
    EmbeddedStore::open(&EmbeddedOptions::new(directory)).expect("the store opens")
}

#[tokio::test]
async fn the_embedded_store_keeps_every_promise() {
    let root = tempfile::tempdir().expect("a folder");
    let opened = std::cell::Cell::new(0);
    suite::all(|| {
        opened.set(opened.get() + 1);
        Arc::new(open(&root.path().join(opened.get().to_string())))
    })
    .await;
}

#[tokio::test]
async fn a_reopened_store_holds_what_was_written() {
    let root = tempfile::tempdir().expect("a folder");
    let live = |entities| WriteSet { source: Some(Source(1)), entities, ..WriteSet::default() };
    {
        let store = open(root.path());
        store.create_tables(GENERATION, &[&ENTITY, &INDEX]).await.expect("create");
        let writes =
            live(vec![header(1, 8, Some(1)), part(1, 0, 8, Some("kept")), part(1, 1, 8, Some("gone"))]);
        store.write(GENERATION, &writes).await.expect("write");
        store.write(GENERATION, &live(vec![part(1, 1, 80, None)])).await.expect("write");
    }
    let store = open(root.path());
    assert_eq!(
        dump(&store, GENERATION, &ENTITY).await.len(),
        2,
        "the tables are known without creating them"
    );
    store.write(GENERATION, &live(vec![part(1, 1, 72, Some("late"))])).await.expect("write");
    assert_eq!(dump(&store, GENERATION, &ENTITY).await.len(), 2, "deletions and marks are known too");
    store.write(GENERATION, &live(vec![entry("a", 1, 1, "n", 88, true)])).await.expect("write");
    assert_eq!(dump(&store, GENERATION, &INDEX).await.len(), 1);
}

#[tokio::test]
async fn a_second_opener_is_refused() {
    let root = tempfile::tempdir().expect("a folder");
    let first = open(root.path());
    let second = EmbeddedStore::open(&EmbeddedOptions::new(root.path()));
    assert!(matches!(second, Err(StoreError::Locked { .. })), "{second:?}");
    drop(first);
    open(root.path());
}

#[tokio::test]
async fn a_folder_left_half_made_is_made_anew() {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::write(root.path().join("0.jnl"), [0; 64]).expect("a journal");
    std::fs::create_dir_all(root.path().join("keyspaces/0")).expect("a folder");
    open(root.path());
    let root = tempfile::tempdir().expect("a folder");
    std::fs::write(root.path().join("version"), []).expect("an empty marker");
    open(root.path());
}

#[tokio::test]
async fn unreadable_files_are_a_typed_error_that_says_what_to_do() {
    let root = tempfile::tempdir().expect("a folder");
    drop(open(root.path()));
    std::fs::write(root.path().join("version"), b"something else").expect("a marker");
    let refused = EmbeddedStore::open(&EmbeddedOptions::new(root.path())).expect_err("a damaged store");
    assert!(matches!(refused, StoreError::Damaged { .. }), "{refused:?}");
    assert!(refused.to_string().contains("delete that folder"), "{refused}");

    let file = root.path().join("file");
    std::fs::write(&file, b"").expect("a file");
    let refused = EmbeddedStore::open(&EmbeddedOptions::new(&file));
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}
