//! A build without Kafka and CQL: it serves on the log and the store of its machine alone.

use std::collections::BTreeSet;
use std::convert::Infallible;

use tidewheel_ingest::fold::Member;
use tidewheel_log::SharedLog;
use tidewheel_schemas::Topic;
use tokio::sync::watch;

use super::{WireError, Wiring};
use crate::config::Config;

/// Refuses.
///
/// # Errors
/// Always.
pub async fn join(_config: &Config) -> Result<Wiring, WireError> {
    std::future::ready(Err(WireError::NotBuilt)).await
}

/// Refuses.
///
/// # Errors
/// Always.
pub fn join_log(_config: &Config) -> Result<SharedLog, WireError> {
    Err(WireError::NotBuilt)
}

/// Refuses.
///
/// # Errors
/// Always.
pub async fn members(_config: &Config, _topic: &Topic) -> Result<Vec<Member>, WireError> {
    std::future::ready(Err(WireError::NotBuilt)).await
}

/// There are no groups to join.
pub struct Memberships(Infallible);

impl Memberships {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn join(_config: &Config, _topic: &Topic) -> Result<Self, WireError> {
        Err(WireError::NotBuilt)
    }

    /// Never called.
    pub fn leads(&self) -> Option<watch::Receiver<BTreeSet<u32>>> {
        match self.0 {}
    }

    /// Never called.
    pub fn projects(&self) -> Option<watch::Receiver<BTreeSet<u32>>> {
        match self.0 {}
    }
}
