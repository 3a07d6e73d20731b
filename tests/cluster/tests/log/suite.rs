//! The suite of every log.

use std::sync::Arc;

use tidewheel_cluster::kafka;
use tidewheel_log::{SharedLog, log_suite};

async fn make() -> Option<(SharedLog, ())> {
    let kafka = kafka::shared("the suite of the Kafka log").await?;
    Some((Arc::new(kafka::log(kafka)), ()))
}

log_suite!(optional make);
