//! What `tidewheel check` asks brokers and databases in a build without clients for them: nothing, and it says so.

use crate::check::Finding;
use crate::config::Config;
use crate::wire::WireError;

/// Says that this build cannot look.
pub async fn inspect(_config: &Config) -> Vec<Finding> {
    std::future::ready(vec![Finding::error("brokers and database", WireError::NotLooked)]).await
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn commands(_config: &Config) -> Result<String, WireError> {
    Err(WireError::NotLooked)
}
