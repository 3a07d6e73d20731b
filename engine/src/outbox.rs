//! Outbox entries: messages to other entities, created by the fold, delivered by the owner.

use tidewheel_schemas::{Name, OutboxName, Payload, RunId};

/// A message on its way to another entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Where it came from: the record that created it.
    pub name: OutboxName,
    /// The run that sent it.
    pub sender: RunId,
    /// The sender's namespace, which the target must share.
    pub namespace: Name,
    /// The run it is for.
    pub target: RunId,
    /// The signal's name.
    pub signal: Name,
    /// What it says.
    pub payload: Payload,
}
