//! Positions: a place in the log, shown to users as an opaque token.

use crate::id::LogId;
use crate::topic::TopicFamily;

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The partition's log.
    pub log_id: LogId,
    /// The topic's family.
    pub family: TopicFamily,
    /// Label of the datacenter whose topic it is; 0 where the family has none.
    pub datacenter: u16,
    /// The partition.
    pub partition: u32,
    /// The offset of a record.
    pub offset: i64,
}
