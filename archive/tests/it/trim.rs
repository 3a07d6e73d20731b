//! Trimming: only what is archived, read back and free goes, and one archived record stays.

use std::sync::Arc;

use object_store::ObjectStoreExt as _;
use tidewheel_archive::{ArchiveError, Catalog, JoinedLog, trim};
use tidewheel_log::Bounds;

use crate::common::{all, in_memory, log_of, place, record, sealed};

#[tokio::test]
async fn what_is_archived_and_free_goes_and_one_archived_record_stays() {
    let log = log_of([500, 300], 1).await;
    let (_, archive) = in_memory();
    let nothing = trim(&log, &archive, &[(place(0), 500)].into()).await.unwrap();
    assert_eq!((nothing[0].allowed, nothing[0].after), (0, 0), "nothing is archived");
    sealed(&log, &archive).await.unwrap();
    log.append(&place(0), (500..600).map(record).collect()).await.unwrap();
    let before = all(&*log, &place(0)).await;
    let done = trim(&log, &archive, &[(place(0), 120), (place(1), i64::MAX)].into()).await.unwrap();
    assert_eq!((done[0].before, done[0].allowed, done[0].after), (0, 120, 120));
    assert_eq!((done[1].before, done[1].allowed, done[1].after), (0, 299, 299));
    let done = trim(&log, &archive, &[(place(0), 590)].into()).await.unwrap();
    assert_eq!((done[0].before, done[0].allowed, done[0].after), (120, 499, 499));
    let again = trim(&log, &archive, &[(place(0), 100)].into()).await.unwrap();
    assert_eq!((again[0].allowed, again[0].after), (499, 499));
    assert_eq!(all(&JoinedLog::new(Arc::clone(&log), archive.clone()), &place(0)).await, before);
    // And the export goes on where it ended.
    let sealed = sealed(&log, &archive).await.unwrap();
    assert_eq!((sealed[0].from, sealed[0].to, sealed[0].ranges), (500, 600, 2));
}

#[tokio::test]
async fn nothing_goes_while_what_would_go_cannot_be_read_back() {
    let log = log_of([500, 300], 1).await;
    let (store, archive) = in_memory();
    sealed(&log, &archive).await.unwrap();
    let catalog = Catalog::load(&archive, Some(&place(0))).await.unwrap();
    let range = &catalog.chains[0].ranges[4];
    let file = range.file_name().into();
    let whole = store.get(&file).await.unwrap().bytes().await.unwrap();
    let mut flipped = whole.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let shorter = whole.slice(..whole.len() - 1);
    for damaged in [Some(flipped.into()), Some(shorter), None] {
        match damaged {
            Some(bytes) => drop(store.put(&file, bytes.into()).await.unwrap()),
            None => store.delete(&file).await.unwrap(),
        }
        match trim(&log, &archive, &[(place(0), 400), (place(1), 200)].into()).await {
            Err(ArchiveError::Damaged { object, .. }) => assert!(object.contains(&range.file), "{object}"),
            other => panic!("a damaged file was answered with {other:?}"),
        }
        for partition in [0, 1] {
            assert_eq!(log.bounds(&place(partition)).await.unwrap().start, 0);
        }
        // What does not lose a record is not in the way.
        let done = trim(&log, &archive, &[(place(0), 0)].into()).await.unwrap();
        assert_eq!(done[0].after, 0);
    }
    store.put(&file, whole.into()).await.unwrap();
    trim(&log, &archive, &[(place(0), 400)].into()).await.unwrap();
    assert_eq!(log.bounds(&place(0)).await.unwrap(), Bounds { start: 400, end: 500 });
}
