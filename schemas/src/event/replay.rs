//! Events about the views of a datacenter: generations, and replays that fill or mend them. They are changes of the
//! configuration; their entity is `views/<datacenter>`.

use serde::{Deserialize, Serialize};

use crate::id::RunId;
use crate::name::Name;

/// What a replay is about. An empty list leaves nothing out. Runs are written whole: a run of which one record is in a
/// window is written with its whole history.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReplayScope {
    /// These partitions of the log.
    pub partitions: Vec<i32>,
    /// These runs.
    pub runs: Vec<RunId>,
    /// Runs of these namespaces.
    pub namespaces: Vec<Name>,
    /// Runs that have an event of one of these types within the window, by the names of event types.
    pub event_types: Vec<String>,
    /// Runs that have a record at or after this offset of their partition.
    pub from_offset: Option<i64>,
    /// Runs that have a record before this offset of their partition.
    pub until_offset: Option<i64>,
    /// Runs that have a record written at or after this time, microseconds since 1970.
    pub from_us: Option<i64>,
    /// Runs that have a record written before this time, microseconds since 1970.
    pub until_us: Option<i64>,
}

/// The views of a datacenter begin to be written again from the log. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayStarted {
    /// The number of the replay: one more than the last one of its datacenter, from 1.
    pub replay: i32,
    /// What it does: `rebuild` fills a new generation, `backfill` writes rows of an existing one again.
    pub kind: String,
    /// The generation it writes; for a rebuild one more than the last one there was.
    pub generation: i32,
    /// What of the views it writes; everything in a rebuild.
    pub scope: ReplayScope,
    /// Where the log ended at its start, by partition: it is finished once it got there.
    pub ends: Vec<i64>,
    /// Most records it folds in a second, all partitions together; `None` for as many as it can.
    pub records_per_second: Option<i64>,
    /// Whether the generation becomes the active one by itself once it is ready.
    pub activates: bool,
}

/// A replay rests until it is resumed. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayPaused {
    /// Which one.
    pub replay: i32,
}

/// A paused replay goes on. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayResumed {
    /// Which one.
    pub replay: i32,
}

/// A replay becomes faster or slower while it runs. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRateChanged {
    /// Which one.
    pub replay: i32,
    /// Most records it folds in a second, all partitions together; `None` for as many as it can.
    pub records_per_second: Option<i64>,
}

/// A replay ends before its time; a generation that it was filling is dropped. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayCancelled {
    /// Which one.
    pub replay: i32,
    /// Why, for people.
    pub reason: String,
}

/// How far a backfill is in one partition; whoever takes it over goes on there. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayProgressed {
    /// Which one.
    pub replay: i32,
    /// The partition.
    pub partition: i32,
    /// How many of its parts are done.
    pub done: i64,
    /// How many rows it wrote in this partition so far.
    pub rows: i64,
}

/// A replay did all it was started for. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayFinished {
    /// Which one.
    pub replay: i32,
}

/// Reads move to another generation of the views. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationActivated {
    /// Which one is active from then on.
    pub generation: i32,
    /// Which one is active until then; refused if it is another by now.
    pub replaces: i32,
    /// How many records it was behind its log when this was decided.
    pub lag: i64,
    /// How many rows were compared with the log, without a difference, before this was decided; 0 if none were.
    pub compared_rows: i64,
}

/// A generation of the views is written no more, and its tables go. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationDropped {
    /// Which one.
    pub generation: i32,
}

/// Rows of a generation are about to be mended in place. External.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewsMended {
    /// Which generation.
    pub generation: i32,
    /// The number of the mending within the generation, 1 to 7: it is added to the write timestamps.
    pub number: i32,
}
