//! Log and archive as one: the same records whichever part holds them, and every gap named.

use std::sync::Arc;
use std::time::Duration;

use tidewheel_archive::{ArchiveError, JoinedLog};
use tidewheel_log::{Bounds, EventLog as _, LogError, SharedLog};

use crate::common::{all, in_memory, log_of, place, record, sealed};

#[tokio::test]
async fn the_joined_log_is_the_log_before_it_was_trimmed() {
    let log = log_of([500, 300], 1).await;
    let before = [all(&*log, &place(0)).await, all(&*log, &place(1)).await];
    let times = |log: SharedLog| async move {
        let mut found = Vec::new();
        for time_us in (-5..505).step_by(9).map(|number| 1_700_000_000_000_000 + number * 1_000_000) {
            found.push(log.offset_for_time(&place(0), time_us).await.unwrap());
        }
        found
    };
    let times_before = times(Arc::clone(&log)).await;
    let (_, archive) = in_memory();
    sealed(&log, &archive).await.unwrap();
    log.append(&place(0), (500..520).map(record).collect()).await.unwrap();
    for limit in [1, 49, 50, 51, 333, 499] {
        log.trim(&[(place(0), limit), (place(1), limit.min(299))].into()).await.unwrap();
        let joined = JoinedLog::new(Arc::clone(&log), archive.clone());
        assert_eq!(joined.bounds(&place(0)).await.unwrap(), Bounds { start: 0, end: 520 });
        assert_eq!(joined.bounds(&place(1)).await.unwrap(), Bounds { start: 0, end: 300 });
        let found = all(&joined, &place(0)).await;
        assert_eq!(found[..500], before[0]);
        assert_eq!(found.len(), 520);
        assert_eq!(all(&joined, &place(1)).await, before[1]);
        let joined: SharedLog = Arc::new(joined);
        assert_eq!(times(Arc::clone(&joined)).await, times_before);
        for offset in [0, 1, limit - 1, limit, 499, 500, 519] {
            let expected = &found[usize::try_from(offset).unwrap()];
            assert_eq!(&joined.read(&place(0), offset, 1).await.unwrap()[0], expected);
        }
    }
}

#[tokio::test]
async fn a_tail_goes_from_the_archive_into_the_log_and_on_while_it_is_trimmed() {
    let log = log_of([500, 0], 1).await;
    let (_, archive) = in_memory();
    sealed(&log, &archive).await.unwrap();
    log.trim(&[(place(0), 200)].into()).await.unwrap();
    let joined = JoinedLog::new(Arc::clone(&log), archive.clone());
    let mut tail = joined.tail(&place(0), 0).await.unwrap();
    let mut late = joined.tail(&place(0), 210).await.unwrap();
    assert_eq!(late.next(5).await.unwrap()[0].offset, 210);
    let mut next = 0;
    while next < 600 {
        for record in tail.next(17).await.unwrap() {
            assert_eq!(record.offset, next);
            next += 1;
        }
        if next > 300 && next < 400 {
            // Before it and the other one got there.
            log.trim(&[(place(0), 498)].into()).await.unwrap();
        }
        if next == 500 {
            log.append(&place(0), (500..600).map(record).collect()).await.unwrap();
        }
    }
    let mut next = 215;
    while next < 600 {
        for record in late.next(40).await.unwrap() {
            assert_eq!(record.offset, next);
            next += 1;
        }
    }
    assert!(tokio::time::timeout(Duration::from_millis(20), late.next(1)).await.is_err());
}

async fn refused(joined: &JoinedLog) -> String {
    let bounds = joined.log().bounds(&place(0)).await.unwrap();
    assert_eq!(joined.bounds(&place(0)).await.unwrap(), bounds, "nothing is promised that cannot be read");
    let tail = joined.tail(&place(0), 0).await.err();
    match (tail, joined.read(&place(0), 0, 1).await.err()) {
        (
            Some(LogError::Archive { what: one, is_transient: false, .. }),
            Some(LogError::Archive { what: other, .. }),
        ) if one == other => one,
        other => panic!("what is in neither was answered with {other:?}"),
    }
}

#[tokio::test]
async fn offsets_that_are_in_neither_are_named() {
    let log = log_of([500, 0], 1).await;
    let (_, archive) = in_memory();
    let nothing = JoinedLog::new(Arc::clone(&log), archive.clone());
    sealed(&log, &archive).await.unwrap();
    log.append(&place(0), (500..700).map(record).collect()).await.unwrap();
    // Somebody else trims beyond what is archived.
    log.trim(&[(place(0), 650)].into()).await.unwrap();
    let text = refused(&nothing).await;
    assert!(text.contains("offsets 500 to 649"), "{text}");
    match sealed(&log, &archive).await {
        Err(ArchiveError::Gap { from: 500, last: 649, partition }) => assert_eq!(partition, place(0)),
        other => panic!("a gap was answered with {other:?}"),
    }
    let (_, empty) = in_memory();
    let text = refused(&JoinedLog::new(log, empty)).await;
    assert!(text.contains("offsets 0 to 649"), "{text}");
}

#[tokio::test]
async fn a_range_that_is_lost_from_the_middle_is_named() {
    let log = log_of([500, 0], 1).await;
    let (store, archive) = in_memory();
    sealed(&log, &archive).await.unwrap();
    let catalog = tidewheel_archive::Catalog::load(&archive, None).await.unwrap();
    let lost = &catalog.chains[0].ranges[3];
    use object_store::ObjectStoreExt as _;
    store.delete(&lost.name().into()).await.unwrap();
    log.trim(&[(place(0), 400)].into()).await.unwrap();
    let text = refused(&JoinedLog::new(Arc::clone(&log), archive.clone())).await;
    assert!(text.contains("offsets 150 to 199"), "{text}");
    assert!(matches!(sealed(&log, &archive).await, Err(ArchiveError::Gap { from: 150, last: 199, .. })));
}

#[tokio::test]
async fn the_archive_of_another_log_is_refused() {
    let (_, archive) = in_memory();
    sealed(&log_of([500, 0], 1).await, &archive).await.unwrap();
    // Same topic, other log: it seals beside the first one, untrimmed.
    let other = log_of([400, 0], 9).await;
    assert_eq!(sealed(&other, &archive).await.unwrap()[0].to, 400);
    let unsealed = log_of([450, 0], 17).await;
    unsealed.trim(&[(place(0), 300)].into()).await.unwrap();
    let text = refused(&JoinedLog::new(unsealed, archive.clone())).await;
    assert!(text.contains("not the one here"), "{text}");
    other.trim(&[(place(0), 300)].into()).await.unwrap();
    let joined = JoinedLog::new(other, archive);
    assert_eq!(all(&joined, &place(0)).await.len(), 400);
}

#[tokio::test]
async fn a_log_that_went_on_differently_under_the_same_name_is_refused() {
    let (_, archive) = in_memory();
    let log = log_of([300, 0], 1).await;
    sealed(&log, &archive).await.unwrap();
    // The same log up to 200, as a copy would be; then other records.
    let copy = log_of([200, 0], 1).await;
    match sealed(&copy, &archive).await {
        Err(ArchiveError::AheadOfLog { archived: 300, end: 200, .. }) => {}
        other => panic!("a log that lost its end was answered with {other:?}"),
    }
    copy.append(&place(0), (1_000..1_200).map(record).collect()).await.unwrap();
    match sealed(&copy, &archive).await {
        Err(ArchiveError::Diverged { offset: 299, .. }) => {}
        other => panic!("another history was answered with {other:?}"),
    }
}
