//! The views as the owners of a simulated process see them: its projector, and the notes invariants are checked on.

use std::sync::Arc;

use async_trait::async_trait;
use tidewheel_engine::{Control, Run, Transition};
use tidewheel_projector::load::{LoadError, OpenWorkPlace};
use tidewheel_projector::{Projector, ProjectorError};
use tidewheel_runtime::{OpenWork, Resume, Views, ViewsError};
use tidewheel_schemas::RunId;
use tidewheel_store::StoreError;

use crate::port::Port;

/// Few, so that takeovers page.
const OPEN_WORK_PAGE: usize = 3;

/// The views of one process.
pub(super) struct LocalViews {
    pub(super) projector: Projector,
    pub(super) port: Arc<Port>,
}

fn error(what: &impl std::fmt::Display, transient: bool) -> ViewsError {
    ViewsError { what: what.to_string(), advice: "see the seed's trace".to_owned(), transient }
}

fn store_error(failed: &StoreError) -> ViewsError {
    error(failed, matches!(failed, StoreError::Unavailable(_)))
}

#[async_trait]
impl Views for LocalViews {
    async fn begin(&self, partition: u32, writes: bool) -> Result<(), ViewsError> {
        self.projector.begin(partition, writes).await.map_err(|failed| match &failed {
            ProjectorError::Store(store) => store_error(store),
            _ => error(&failed, false),
        })
    }

    async fn resume(&self, partition: u32) -> Result<Option<Resume>, ViewsError> {
        let checkpoint = self.projector.checkpoint(partition).await.map_err(|error| store_error(&error))?;
        let Some(checkpoint) = checkpoint else { return Ok(None) };
        let outbox = self.projector.views().outbox(&checkpoint).await.map_err(|error| store_error(&error))?;
        Ok(Some(Resume { control: checkpoint.control, outbox }))
    }

    async fn load_run(&self, run_id: RunId) -> Result<Option<Run>, ViewsError> {
        self.projector
            .views()
            .load_run(run_id)
            .await
            .map_err(|failed: LoadError| error(&failed, failed.is_transient()))
    }

    async fn open_work(
        &self,
        partition: u32,
        until_us: i64,
        page: Option<Vec<u8>>,
    ) -> Result<(Vec<OpenWork>, Option<Vec<u8>>), ViewsError> {
        let checkpoint = self.projector.checkpoint(partition).await.map_err(|error| store_error(&error))?;
        let Some(checkpoint) = checkpoint else { return Ok((Vec::new(), None)) };
        let place = page.as_deref().and_then(OpenWorkPlace::from_bytes);
        let views = self.projector.views();
        let page = views.open_work(&checkpoint, until_us, place, OPEN_WORK_PAGE).await;
        let (work, next) = page.map_err(|error| store_error(&error))?;
        let work =
            work.into_iter().map(|work| OpenWork { run_id: work.run_id, due_us: work.due_us }).collect();
        Ok((work, next.map(|place| place.to_bytes())))
    }

    fn publish(&self, transitions: &[Transition]) {
        self.port.world.note_live(self.port.who, transitions);
    }

    async fn project(
        &self,
        partition: u32,
        transitions: Vec<Transition>,
        control: &Control,
    ) -> Result<(), ViewsError> {
        self.projector.submit(partition, transitions, control).await.map_err(|failed| error(&failed, false))
    }

    fn applied_offset(&self, partition: u32) -> i64 {
        self.projector.applied_offset(partition)
    }
}
