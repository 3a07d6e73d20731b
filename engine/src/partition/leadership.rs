//! Reigns: claiming a partition and writing records under the claim.

use std::sync::Arc;

use tidewheel_schemas::event::PartitionClaimed;
use tidewheel_schemas::{
    Author, Claim, Entity, Envelope, Event, EventId, Name, NewRecord, RecordHeaders, codec,
};

use super::Partition;
use crate::control::Control;

/// Where this process stands towards the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leadership {
    /// It folds and authors nothing.
    Following,
    /// It has appended a claim and waits to read it back.
    Claiming {
        /// The claim's event.
        event_id: EventId,
    },
    /// Its claim was accepted.
    Leading {
        /// The claim.
        claim: Claim,
        /// Sequence number of its next record.
        next_seq: u64,
    },
}

/// The record that claims the partition of `control`.
pub(super) fn claim(control: &Control, process: &Arc<str>, event_id: EventId, now_us: i64) -> NewRecord {
    let envelope = Envelope {
        event_id,
        entity: Entity::Partition(control.partition),
        namespace: None,
        recorded_at_us: now_us,
        cause: None,
        traceparent: None,
        author: Author::Candidate { process: Arc::clone(process) },
    };
    encode_small(&envelope, &PartitionClaimed { replaces: control.claim }.into())
}

/// Encodes an event that is known to be within every limit.
fn encode_small(envelope: &Envelope, event: &Event) -> NewRecord {
    codec::encode(envelope, event).unwrap_or_else(|error| NewRecord {
        // Kept total: a record nobody can read is rejected at its place and named in the log.
        key: envelope.entity.routing_key(),
        headers: RecordHeaders::Foreign(error.to_string()),
        value: bytes::Bytes::new(),
    })
}

impl Partition {
    /// Proposes an engine event; returns its sequence number, or nothing while this process does not lead.
    pub(super) fn propose(
        &mut self,
        entity: &Entity,
        namespace: Option<&Name>,
        seen: u64,
        idle: bool,
        event: Event,
        now_us: i64,
    ) -> Option<u64> {
        let log_id = self.log_id()?;
        let Leadership::Leading { claim, next_seq } = &mut self.leadership else { return None };
        let seq = *next_seq;
        let envelope = Envelope {
            event_id: EventId::engine(log_id, *claim, seq),
            entity: entity.clone(),
            namespace: namespace.cloned(),
            recorded_at_us: now_us,
            cause: None,
            traceparent: None,
            author: Author::Engine { claim: *claim, seq, seen, idle },
        };
        *next_seq += 1;
        self.effects.appends.push(encode_small(&envelope, &event));
        Some(seq)
    }
}
