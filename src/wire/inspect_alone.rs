//! A build without Kafka and CQL: it has nobody to ask.

use crate::check::Finding;
use crate::config::Config;
use crate::wire::WireError;

/// Says that this build cannot look.
pub async fn inspect(_config: &Config) -> Vec<Finding> {
    std::future::ready(vec![Finding::error("this program", WireError::NotBuilt)]).await
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn commands(_config: &Config) -> Result<String, WireError> {
    Err(WireError::NotBuilt)
}
