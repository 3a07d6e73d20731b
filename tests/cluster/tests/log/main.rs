//! What the Kafka log promises, held against real brokers.

mod faults;
mod foreign;
mod history;
mod raw;
mod security;
mod settings;
mod suite;

use std::time::Duration;

use tidewheel_cluster::kafka::one_partition;
use tidewheel_log::Tail;
use tidewheel_log::suite::texts;
use tidewheel_schemas::Record;

async fn take(tail: &mut Box<dyn Tail>, count: usize) -> Vec<Record> {
    tidewheel_log::suite::take(tail.as_mut(), count, Duration::from_secs(60)).await
}
