//! Who wrote a record, which decides by which rule Control lets it through.

use std::sync::Arc;

use crate::id::LogId;

/// Offset of the `PartitionClaimed` record a reign began with: the fencing epoch.
pub type Claim = i64;

/// Name of an outbox entry: where the record that created it lies, and its place among that record's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboxName {
    /// Offset, in the source partition, of the record that created the entry.
    pub offset: i64,
    /// Place among the entries of that record, from 0.
    pub index: u32,
}

/// Who wrote a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// A request from outside, by the named principal.
    Ingest {
        /// Who asked, for example `anonymous` or a token's name.
        principal: Arc<str>,
    },
    /// The owner of the partition.
    Engine {
        /// The claim it acts under.
        claim: Claim,
        /// Dense number of this record under the claim, from 0.
        seq: u64,
        /// How many external records of the entity it was decided on.
        seen: u64,
        /// Having seen these, the entity waits for external records and timers only.
        idle: bool,
    },
    /// An outbox entry of another partition (or this one), delivered by that partition's owner.
    Outbox {
        /// Log of the source partition.
        source: LogId,
        /// Number of the source partition.
        partition: u32,
        /// Name of the entry.
        name: OutboxName,
        /// The entry before it on the way from this source to this destination; none for the first.
        predecessor: Option<OutboxName>,
    },
    /// A claim, or a record that begins the log: authored by a process that does not lead yet.
    Candidate {
        /// Name of the process, for people.
        process: Arc<str>,
    },
}

impl Author {
    /// Whether records of this author come from outside the entity's owner, and are thus deduplicated and
    /// counted in `seen`.
    pub const fn is_external(&self) -> bool {
        matches!(self, Self::Ingest { .. } | Self::Outbox { .. })
    }
}
