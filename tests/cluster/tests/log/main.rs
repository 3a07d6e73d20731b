//! What the Kafka log promises, held against real brokers.

mod faults;
mod foreign;
mod history;
mod raw;
mod security;
mod settings;
mod suite;

use std::time::Duration;

use tidewheel_log::suite::fresh_topic;
use tidewheel_log::{EventLog, KafkaLog, Tail};
use tidewheel_schemas::{Record, TopicPartition};

async fn one_partition(log: &KafkaLog) -> TopicPartition {
    let topic = fresh_topic();
    log.create_topic(&topic, 1).await.expect("a topic");
    TopicPartition::new(topic, 0)
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect()
}

async fn take(tail: &mut Box<dyn Tail>, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(60), tail.next(count - records.len()));
        records.extend(next.await.expect("a tail hangs though records are there").expect("records"));
    }
    records
}
