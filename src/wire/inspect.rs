//! Looking at what a process of a cluster needs with the eyes of that process: brokers, topics, groups, database.

mod database;
mod kafka;
mod script;

pub use self::script::commands;

use crate::check::Finding;
use crate::config::Config;

/// Looks at everything that the process of this configuration would use, and changes nothing. Also at the brokers of
/// the other datacenters, which it would not.
pub async fn inspect(config: &Config) -> Vec<Finding> {
    let (mut kafka, database) =
        futures::future::join(kafka::inspect(config), database::inspect(config)).await;
    kafka.extend(database);
    kafka
}
