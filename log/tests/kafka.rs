//! The Kafka log against brokers that librdkafka plays itself, with the faults that real ones show only by chance.

use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tidewheel_log::kafka::{KafkaCluster, KafkaLogOptions};
use tidewheel_log::suite::{record, texts};
use tidewheel_log::{Appended, EventLog, KafkaLog, LogError, Tail};
use tidewheel_schemas::{Record, Topic, TopicPartition};

type Brokers = MockCluster<'static, DefaultProducerContext>;

fn brokers() -> (Brokers, KafkaLog, TopicPartition) {
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("played", 1, 1).unwrap();
    let mut options = KafkaLogOptions::new(KafkaCluster::plain(brokers.bootstrap_servers()));
    options.message_timeout = Duration::from_secs(3);
    options.request_timeout = Duration::from_secs(3);
    let log = KafkaLog::open(options).unwrap();
    (brokers, log, TopicPartition::new(Topic::new("played"), 0))
}

async fn take(tail: &mut Box<dyn Tail>, count: usize) -> Vec<Record> {
    tidewheel_log::suite::take(tail.as_mut(), count, Duration::from_secs(30)).await
}

/// Appends until it works again.
async fn goes_on(log: &KafkaLog, to: &TopicPartition) -> Appended {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match log.append(to, vec![record("again")]).await {
            Ok(appended) => return appended,
            Err(LogError::OutcomeUnknown { .. }) if Instant::now() < until => {}
            Err(error) => panic!("the log does not go on: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_brokers_refuse_for_a_moment_is_sent_again_in_order_and_lies_there_once() {
    let (brokers, log, to) = brokers();
    log.append(&to, vec![record("first")]).await.unwrap();
    brokers.request_errors(
        RDKafkaApiKey::Produce,
        &[
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ],
    );
    let appends: Vec<_> = (0..200).map(|number| log.append(&to, vec![record(&number.to_string())])).collect();
    for (number, append) in appends.into_iter().enumerate() {
        match append.await {
            Ok(appended) => assert_eq!(appended.first(), number as i64 + 1),
            // A batch that is sent again after it was stored is answered as a duplicate, without its place.
            Err(LogError::OutcomeUnknown { .. }) => {}
            Err(error) => panic!("record {number}: {error}"),
        }
    }
    let mut tail = log.tail(&to, 1).await.unwrap();
    let expected: Vec<String> = (0..200).map(|number: u32| number.to_string()).collect();
    assert_eq!(texts(&take(&mut tail, 200).await), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_without_an_answer_end_as_unknown_together_and_later_ones_go_on() {
    let (brokers, log, to) = brokers();
    log.append(&to, vec![record("before")]).await.unwrap();
    brokers.broker_down(1).unwrap();
    let appends: Vec<_> = (0..20).map(|number| log.append(&to, vec![record(&number.to_string())])).collect();
    let began = Instant::now();
    for append in appends {
        match append.await {
            Err(LogError::OutcomeUnknown { partition, .. }) => assert_eq!(partition, to),
            other => panic!("an append to nobody was answered with {other:?}"),
        }
    }
    assert!(began.elapsed() < Duration::from_secs(60));
    brokers.broker_up(1).unwrap();
    let after = goes_on(&log, &to).await;
    let found = log.read(&to, after.first(), 10).await.unwrap();
    assert_eq!(texts(&found)[0], "again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_the_brokers_no_longer_know_is_replaced_and_order_holds() {
    for error in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
    ] {
        let (brokers, log, to) = brokers();
        log.append(&to, vec![record("before")]).await.unwrap();
        brokers.request_errors(RDKafkaApiKey::Produce, &[error]);
        let appends: Vec<_> =
            (0..20).map(|number| log.append(&to, vec![record(&number.to_string())])).collect();
        let mut last = 0;
        for append in appends {
            match append.await {
                Ok(appended) => {
                    assert!(appended.first() > last, "{error:?}: out of order");
                    last = appended.first();
                }
                Err(LogError::OutcomeUnknown { .. }) => {}
                Err(other) => panic!("{error:?} was answered with {other}"),
            }
        }
        let after = goes_on(&log, &to).await;
        assert!(after.first() > last, "{error:?}: out of order");
        let count = usize::try_from(after.first() + 1).unwrap();
        let found = texts(&take(&mut log.tail(&to, 0).await.unwrap(), count).await);
        let numbers: Vec<u32> = found.iter().filter_map(|text| text.parse().ok()).collect();
        assert!(numbers.is_sorted_by(|before, after| before < after), "{error:?}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_partitions_are_read_by_few_threads() {
    let (brokers, log, _) = brokers();
    brokers.create_topic("wide", 64, 1).unwrap();
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let mut tails = Vec::new();
    let place = |partition| TopicPartition::new(Topic::new("wide"), partition);
    tails.push(log.tail(&place(0), 0).await.unwrap());
    let before = threads();
    for partition in 1..64 {
        tails.push(log.tail(&place(partition), 0).await.unwrap());
    }
    for partition in 0..64 {
        log.append(&place(partition), vec![record(&partition.to_string())]).await.unwrap();
    }
    for (partition, tail) in tails.iter_mut().enumerate() {
        assert_eq!(texts(&take(tail, 1).await), [partition.to_string()]);
    }
    // Blocking questions come and go; 64 consumers would be hundreds.
    assert!(threads() < before + 64, "{} threads, {before} before", threads());
}
