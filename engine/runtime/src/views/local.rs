//! The generations of the views of this process as its owners see them, and those who wait in it.

use std::sync::Arc;

use async_trait::async_trait;
use tidewheel_engine::{Control, Run, Transition};
use tidewheel_projector::load::{LoadError, OpenWorkPlace};
use tidewheel_projector::{Generations, ProjectorError};
use tidewheel_schemas::RunId;
use tidewheel_store::StoreError;

use super::{OpenWork, Resume, Views, ViewsError};

/// Hears of transitions.
pub type Publish = Arc<dyn Fn(&[Transition]) + Send + Sync>;

/// The views of one process.
pub struct LocalViews {
    /// The generations there are.
    pub generations: Generations,
    /// Tells those who wait for a verdict or follow a run. Must not block.
    pub publish: Publish,
    /// Runs that a page of open work holds at most.
    pub open_work_page: usize,
}

fn store_error(error: &StoreError) -> ViewsError {
    ViewsError {
        what: format!("a view cannot be read: {error}"),
        advice: "if it persists, stop the node and delete the store folder; it is rebuilt from the log"
            .to_owned(),
        transient: matches!(error, StoreError::Unavailable(_)),
    }
}

fn load_error(error: LoadError) -> ViewsError {
    match error {
        LoadError::Store(error) => store_error(&error),
        LoadError::Torn { .. } => ViewsError {
            what: error.to_string(),
            advice: "stop the node and delete the store folder; it is rebuilt from the log".to_owned(),
            transient: false,
        },
    }
}

fn projector_error(error: &ProjectorError) -> ViewsError {
    ViewsError {
        what: format!("the views cannot be written: {error}"),
        advice: "see the store's message; the log holds everything, restart the node when it is mended"
            .to_owned(),
        transient: matches!(error, ProjectorError::Store(StoreError::Unavailable(_))),
    }
}

#[async_trait]
impl Views for LocalViews {
    async fn begin(&self, partition: u32, writes: bool) -> Result<(), ViewsError> {
        // As in `project`: nothing is lost with a generation that is gone.
        let Some(fed) = self.generations.fed(partition) else { return Ok(()) };
        fed.begin(partition, writes).await.map_err(|error| projector_error(&error))
    }

    async fn resume(&self, partition: u32) -> Result<Option<Resume>, ViewsError> {
        // What the owner folds from here on goes into the views that it goes on from.
        let projector = self.generations.feed(partition);
        let views = projector.views();
        let Some(checkpoint) = views.checkpoint(partition).await.map_err(|error| store_error(&error))? else {
            return Ok(None);
        };
        let outbox = views.outbox(&checkpoint).await.map_err(|error| store_error(&error))?;
        Ok(Some(Resume { control: checkpoint.control, outbox }))
    }

    async fn load_run(&self, run_id: RunId) -> Result<Option<Run>, ViewsError> {
        self.generations.active().views().load_run(run_id).await.map_err(load_error)
    }

    async fn open_work(
        &self,
        partition: u32,
        until_us: i64,
        page: Option<Vec<u8>>,
    ) -> Result<(Vec<OpenWork>, Option<Vec<u8>>), ViewsError> {
        let projector = self.generations.active();
        let views = projector.views();
        let Some(checkpoint) = views.checkpoint(partition).await.map_err(|error| store_error(&error))? else {
            return Ok((Vec::new(), None));
        };
        let place = page.as_deref().and_then(OpenWorkPlace::from_bytes);
        let (work, next) = views
            .open_work(&checkpoint, until_us, place, self.open_work_page)
            .await
            .map_err(|error| store_error(&error))?;
        let work =
            work.into_iter().map(|work| OpenWork { run_id: work.run_id, due_us: work.due_us }).collect();
        Ok((work, next.map(|place| place.to_bytes())))
    }

    fn publish(&self, transitions: &[Transition]) {
        (self.publish)(transitions);
    }

    async fn project(
        &self,
        partition: u32,
        transitions: Vec<Transition>,
        control: &Control,
    ) -> Result<(), ViewsError> {
        // A generation that was dropped needs nothing; whoever reads the log fills the one that is read.
        let Some(fed) = self.generations.fed(partition) else { return Ok(()) };
        match fed.submit(partition, transitions, control).await {
            Err(ProjectorError::Closed) if self.generations.get(fed.generation()).is_none() => Ok(()),
            submitted => submitted.map_err(|error| projector_error(&error)),
        }
    }

    fn applied_offset(&self, partition: u32) -> i64 {
        self.generations.applied_offset(partition)
    }
}
