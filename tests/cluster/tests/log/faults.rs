//! Brokers that die and come back while somebody appends and somebody reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tidewheel_cluster::kafka;
use tidewheel_log::suite::record;
use tidewheel_log::{Appended, EventLog, KafkaLog, LogError};
use tidewheel_native::KafkaOptions;
use tidewheel_schemas::TopicPartition;

use crate::{one_partition, take, texts};

/// How many appends an appender must have had acknowledged after the last broker came back.
const GO_ON: usize = 50;

/// Appends batches of two until told to stop, several on their way at once; answers what became of each, and counts in
/// `acknowledged` meanwhile.
async fn appender(
    log: Arc<KafkaLog>,
    to: TopicPartition,
    who: usize,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> Vec<(usize, Result<Appended, LogError>)> {
    let mut outcomes = Vec::new();
    let mut on_the_way = std::collections::VecDeque::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let part = |part: &str| record(&format!("{who}.{number}.{part}"));
        on_the_way.push_back((number, log.append(&to, vec![part("a"), part("b")])));
        if on_the_way.len() >= 20
            && let Some((number, append)) = on_the_way.pop_front()
        {
            let outcome = append.await;
            acknowledged.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
            outcomes.push((number, outcome));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for (number, append) in on_the_way {
        outcomes.push((number, append.await));
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_and_doubles_nothing_and_everything_goes_on_by_itself() {
    let Some(kafka) = kafka::own("a killed broker", KafkaOptions::default()).await else { return };
    let log = Arc::new(kafka::log(&kafka));
    let to = one_partition(&log).await;
    let mut tail = log.tail(&to, 0).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Vec<Arc<AtomicUsize>> = (0..3).map(|_| Arc::default()).collect();
    let appenders: Vec<_> = counts
        .iter()
        .enumerate()
        .map(|(who, count)| {
            tokio::spawn(appender(Arc::clone(&log), to.clone(), who, Arc::clone(&stop), Arc::clone(count)))
        })
        .collect();
    let kafka = Arc::new(kafka);
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let server = Arc::clone(&kafka);
        tokio::task::spawn_blocking(move || {
            server.kill(0).unwrap();
            std::thread::sleep(Duration::from_millis(500));
            server.start_again(0).unwrap();
        })
        .await
        .unwrap();
    }
    // How long a client takes to come back is the machine's matter; that each goes on by itself is the promise.
    for (who, count) in counts.iter().enumerate() {
        let before = count.load(Ordering::Relaxed);
        let goes_on = async {
            while count.load(Ordering::Relaxed) < before + GO_ON {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(90), goes_on).await;
        assert!(waited.is_ok(), "appender {who} does not go on after the broker came back");
    }
    stop.store(true, Ordering::Relaxed);
    let mut outcomes = Vec::new();
    for appender in appenders {
        outcomes.push(appender.await.unwrap());
    }
    let end = log.bounds(&to).await.unwrap().end;
    let found = take(&mut tail, usize::try_from(end).unwrap()).await;
    assert!(found.iter().zip(0..).all(|(record, offset)| record.offset == offset), "a hole");
    let mut at: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for (text, record) in texts(&found).into_iter().zip(&found) {
        at.entry(text).or_default().push(record.offset);
    }
    assert!(at.values().all(|offsets| offsets.len() == 1), "a record is there twice");
    for (who, outcomes) in outcomes.iter().enumerate() {
        let acknowledged =
            outcomes.iter().filter_map(|(number, outcome)| Some((number, outcome.as_ref().ok()?)));
        let mut last = -1;
        let mut count = 0;
        for (number, appended) in acknowledged {
            for (index, part) in ["a", "b"].iter().enumerate() {
                let offsets = at.get(&format!("{who}.{number}.{part}"));
                let offsets = offsets.unwrap_or_else(|| panic!("{who}.{number}.{part} is lost"));
                assert_eq!(offsets[0], appended.offset(index));
                assert!(offsets[0] > last, "the records of {who} are out of order");
                last = offsets[0];
            }
            count += 1;
        }
        assert!(count >= GO_ON, "appender {who} had {count} appends acknowledged");
        let failed = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().err());
        for error in failed {
            assert!(matches!(error, LogError::OutcomeUnknown { .. } | LogError::Overloaded), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_brokers_are_away_appends_end_in_time_memory_is_bounded_and_readers_wait() {
    let Some(kafka) = kafka::own("brokers away", KafkaOptions::default()).await else { return };
    let mut options = kafka::options(&kafka);
    options.message_timeout = Duration::from_secs(2);
    options.request_timeout = Duration::from_secs(2);
    options.queue_records_max = 500;
    let log = KafkaLog::open(options).unwrap();
    let to = one_partition(&log).await;
    log.append(&to, vec![record("before")]).await.unwrap();
    let mut tail = log.tail(&to, 0).await.unwrap();
    take(&mut tail, 1).await;
    let kafka = Arc::new(kafka);
    let server = Arc::clone(&kafka);
    tokio::task::spawn_blocking(move || server.kill(0)).await.unwrap().unwrap();
    let appends: Vec<_> =
        (0..600).map(|number| log.append(&to, vec![record(&format!("away {number}"))])).collect();
    let outcomes = tokio::time::timeout(Duration::from_secs(30), futures::future::join_all(appends)).await;
    let outcomes = outcomes.expect("appends wait for ever");
    assert!(outcomes[500..].iter().all(|outcome| matches!(outcome, Err(LogError::Overloaded))));
    let unknown =
        |outcome: &&Result<Appended, LogError>| matches!(outcome, Err(LogError::OutcomeUnknown { .. }));
    assert_eq!(outcomes[..500].iter().filter(unknown).count(), 500);
    match log.bounds(&to).await {
        Err(LogError::Unreachable { .. }) => {}
        other => panic!("absent brokers were answered with {other:?}"),
    }
    let waiting = tokio::time::timeout(Duration::from_secs(3), tail.next(1)).await;
    assert!(waiting.is_err(), "a tail of absent brokers ended: {waiting:?}");
    let server = Arc::clone(&kafka);
    tokio::task::spawn_blocking(move || server.start_again(0)).await.unwrap().unwrap();
    // The client reconnects by itself, and its queue has room again.
    let after = loop {
        match log.append(&to, vec![record("after")]).await {
            Ok(appended) => break appended.first(),
            Err(LogError::OutcomeUnknown { .. } | LogError::Overloaded) => {}
            Err(other) => panic!("{other}"),
        }
    };
    let rest = take(&mut tail, usize::try_from(after).unwrap()).await;
    assert_eq!(rest.last().map(|record| record.offset), Some(after));
}
