//! Reading the configuration once, without creating or following anything: for whoever looks and changes nothing.

use tidewheel_engine::config::{ConfigFold, ConfigSnapshot};
use tidewheel_log::SharedLog;
use tidewheel_schemas::{Topic, TopicPartition};

use super::ConfigStopped;

/// Records read at once.
const RECORDS_MAX: usize = 1_024;

/// The configuration as its log says now; empty if there is no such topic yet.
///
/// # Errors
/// When the log cannot be read, or holds what cannot be folded here.
pub async fn read(log: &SharedLog, topic: &Topic) -> Result<ConfigSnapshot, ConfigStopped> {
    let mut snapshot = ConfigSnapshot::default();
    for partition in 0..log.partitions(topic).await?.unwrap_or(0) {
        let place = TopicPartition::new(topic.clone(), partition);
        let (mut fold, end) = (ConfigFold::new(partition), log.bounds(&place).await?.end);
        while fold.control().next_offset < end {
            let records = log.read(&place, fold.control().next_offset, RECORDS_MAX).await?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                if let Some(after) = fold.apply(record)?.after {
                    snapshot.put(after);
                }
            }
        }
    }
    snapshot.is_complete = true;
    Ok(snapshot)
}
