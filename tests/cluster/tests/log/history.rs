//! Logs that are trimmed, cut or made anew while somebody reads them.

use std::time::Duration;

use tidewheel_cluster::kafka;
use tidewheel_log::suite::record;
use tidewheel_log::{Bounds, EventLog, LogError, Tail};

use crate::{one_partition, take, texts};

async fn end_of(tail: &mut Box<dyn Tail>) -> LogError {
    let ended = async {
        loop {
            if let Err(error) = tail.next(10).await {
                return error;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the tail goes on")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trimmed_log_is_noticed_by_who_reads_and_by_who_comes_back() {
    let Some(kafka) = kafka::shared("a trimmed topic").await else { return };
    let log = kafka::log(kafka);
    let to = one_partition(&log).await;
    for number in 0..10 {
        log.append(&to, vec![record(&number.to_string())]).await.unwrap();
    }
    let mut before = log.tail(&to, 0).await.unwrap();
    assert_eq!(take(&mut before, 10).await.len(), 10);
    kafka::trim(kafka, &to, 6).await;
    assert_eq!(log.bounds(&to).await.unwrap(), Bounds { start: 6, end: 10 });
    for outcome in [log.tail(&to, 3).await.err(), log.read(&to, 5, 1).await.err()] {
        match outcome {
            Some(LogError::Trimmed { start: 6, .. }) => {}
            other => panic!("a trimmed offset was answered with {other:?}"),
        }
    }
    assert_eq!(texts(&log.read(&to, 6, 10).await.unwrap()), ["6", "7", "8", "9"]);
    // Who has read everything is not concerned.
    log.append(&to, vec![record("10")]).await.unwrap();
    assert_eq!(texts(&take(&mut before, 1).await), ["10"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_whose_next_record_is_trimmed_ends_and_never_jumps() {
    let Some(kafka) = kafka::shared("a tail over trimmed records").await else { return };
    let mut options = kafka::options(kafka);
    options.read_ahead_bytes = 64 << 10;
    // Or else everything would come in one answer.
    options.compression = tidewheel_log::kafka::Compression::None;
    let log = tidewheel_log::KafkaLog::open(options).unwrap();
    let to = one_partition(&log).await;
    // Far more than is read ahead.
    for _ in 0..100 {
        let batch = (0..10).map(|_| record(&"x".repeat(10_000))).collect();
        log.append(&to, batch).await.unwrap();
    }
    let mut tail = log.tail(&to, 0).await.unwrap();
    assert_eq!(take(&mut tail, 1).await[0].offset, 0);
    tokio::time::sleep(Duration::from_millis(500)).await;
    kafka::trim(kafka, &to, 990).await;
    let mut next = 1;
    let error = loop {
        match tokio::time::timeout(Duration::from_secs(60), tail.next(100)).await.expect("the tail hangs") {
            Ok(records) => {
                for record in records {
                    assert_eq!(record.offset, next, "the tail jumped");
                    next += 1;
                }
            }
            Err(error) => break error,
        }
    };
    assert!(next < 990, "everything was read ahead");
    match &error {
        LogError::Trimmed { asked, start: 990, .. } => assert_eq!(*asked, next),
        other => panic!("a trimmed tail ended with {other:?}"),
    }
    assert!(tail.next(1).await.is_err(), "an ended tail goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_anew_is_noticed() {
    let Some(kafka) = kafka::shared("a topic made anew").await else { return };
    let log = kafka::log(kafka);
    let to = one_partition(&log).await;
    for number in 0..5 {
        log.append(&to, vec![record(&number.to_string())]).await.unwrap();
    }
    let mut tail = log.tail(&to, 0).await.unwrap();
    take(&mut tail, 5).await;
    kafka::delete_topic(kafka, &to.topic).await;
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while log.partitions(&to.topic).await.unwrap().is_some() {
        assert!(std::time::Instant::now() < until, "the topic is not deleted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    kafka::log(kafka).create_topic(&to.topic, 1).await.unwrap();
    match end_of(&mut tail).await {
        LogError::BeyondEnd { end: 0, .. } | LogError::UnknownPartition(_) | LogError::Rewritten { .. } => {}
        other => panic!("a topic made anew ended its tail with {other:?}"),
    }
    assert!(matches!(log.tail(&to, 5).await.err(), Some(LogError::BeyondEnd { asked: 5, end: 0, .. })));
    // The same process goes on with the new topic.
    assert_eq!(log.append(&to, vec![record("new")]).await.unwrap().first(), 0);
    assert_eq!(texts(&log.read(&to, 0, 10).await.unwrap()), ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_ends_its_tails() {
    let Some(kafka) = kafka::shared("a deleted topic").await else { return };
    let log = kafka::log(kafka);
    let to = one_partition(&log).await;
    log.append(&to, vec![record("only")]).await.unwrap();
    let mut tail = log.tail(&to, 0).await.unwrap();
    take(&mut tail, 1).await;
    kafka::delete_topic(kafka, &to.topic).await;
    match end_of(&mut tail).await {
        LogError::UnknownPartition(named) => assert_eq!(named, to),
        other => panic!("a deleted topic ended its tail with {other:?}"),
    }
    match log.read(&to, 0, 1).await {
        Err(LogError::UnknownPartition(named)) => assert_eq!(named, to),
        other => panic!("a deleted topic was read: {other:?}"),
    }
}
