//! What the owner needs of the views: the snapshot it takes over from, and the place its transitions go to.

mod local;

use async_trait::async_trait;
use tidewheel_engine::outbox::OutboxEntry;
use tidewheel_engine::{Control, Run, Transition};
use tidewheel_schemas::RunId;

pub use self::local::LocalViews;

/// A view that cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}; {advice}")]
pub struct ViewsError {
    /// What happened, to which view.
    pub what: String,
    /// What to do.
    pub advice: String,
    /// Whether trying again may help.
    pub transient: bool,
}

/// The checkpoint of a partition: where its views stand.
#[derive(Debug, Clone)]
pub struct Resume {
    /// Control after the last record the views hold.
    pub control: Control,
    /// The outbox at that place.
    pub outbox: Vec<OutboxEntry>,
}

/// A run for which there is something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenWork {
    /// The run.
    pub run_id: RunId,
    /// When; `i64::MIN` is now. Microseconds since 1970.
    pub due_us: i64,
}

/// The views as the owner of a partition sees them.
#[async_trait]
pub trait Views: Send + Sync + 'static {
    /// From now on this process writes the views of a partition, or leaves that to another one. Called after
    /// [`Views::resume`] and before the first transition from there is handed over: a writer reads again where the
    /// views stand, since another process may have written them meanwhile.
    async fn begin(&self, partition: u32, writes: bool) -> Result<(), ViewsError>;

    /// The checkpoint of a partition; `None` if nothing was projected yet.
    async fn resume(&self, partition: u32) -> Result<Option<Resume>, ViewsError>;

    /// A run with its active history and parts; `None` if no view knows it. Costs one point read when absent.
    async fn load_run(&self, run_id: RunId) -> Result<Option<Run>, ViewsError>;

    /// A page of the runs of a partition with work due before `until_us`, by due time. The second value asks for
    /// the next page.
    async fn open_work(
        &self,
        partition: u32,
        until_us: i64,
        page: Option<Vec<u8>>,
    ) -> Result<(Vec<OpenWork>, Option<Vec<u8>>), ViewsError>;

    /// Tells those who wait in this process. Never blocks.
    fn publish(&self, transitions: &[Transition]);

    /// Hands over what records changed, in offset order, with Control after the last of them, if this process writes
    /// the partition's views; does nothing otherwise. Waits while the projector is behind by more than its queue.
    async fn project(
        &self,
        partition: u32,
        transitions: Vec<Transition>,
        control: &Control,
    ) -> Result<(), ViewsError>;

    /// The last offset of the partition that the views hold; -1 before the first.
    fn applied_offset(&self, partition: u32) -> i64;
}
