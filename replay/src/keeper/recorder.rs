//! Recording in the configuration what a process has done to the views.

use std::sync::Arc;
use std::time::Duration;

use tidewheel_engine::config::views::ViewsState;
use tidewheel_engine::{Rejection, Verdict};
use tidewheel_log::SharedClock;
use tidewheel_runtime::Configuration;
use tidewheel_schemas::{Author, ConfigEvent, Entity, Envelope, EventId, Name};

use super::Keeper;

/// How long a record of the configuration may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Records changes of the views of a datacenter in the name of a process. Cloning shares it.
#[derive(Clone)]
pub(super) struct Recorder {
    pub(super) configuration: Configuration,
    pub(super) datacenter: Name,
    clock: SharedClock,
    process: Arc<str>,
}

/// A change that does not count.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    /// The fold refused it.
    #[error("{0}")]
    Refused(Rejection),
    /// It is not known to be recorded; the same change may be tried again.
    #[error("{0}")]
    Unknown(String),
}

impl Keeper {
    pub(super) fn recorder(&self) -> Recorder {
        Recorder {
            configuration: self.configuration.clone(),
            datacenter: self.materials.datacenter.clone(),
            clock: self.clock.clone(),
            process: Arc::clone(&self.process),
        }
    }
}

impl Recorder {
    /// The views as far as the configuration was read.
    pub(super) fn views(&self) -> Arc<ViewsState> {
        self.configuration.snapshot().views(&self.datacenter)
    }

    /// An id that whoever does the same gives too: that two of them do it changes nothing.
    pub(super) fn event_id(&self, what: &str, key: &str) -> EventId {
        let name = format!("{what}/{}", Entity::Views(self.datacenter.clone()));
        EventId::idempotent("", &name, key)
    }

    /// Records a change of the views.
    pub(super) async fn change(&self, event_id: EventId, event: ConfigEvent) -> Result<(), RecordError> {
        let envelope = Envelope {
            event_id,
            entity: Entity::Views(self.datacenter.clone()),
            namespace: None,
            recorded_at_us: self.clock.now_us(),
            cause: None,
            traceparent: None,
            author: Author::Ingest { principal: format!("process:{}", self.process).into() },
        };
        let unknown = |what: String| Err(RecordError::Unknown(what));
        match self.configuration.change(envelope, event, PATIENCE).await {
            Err(error) => unknown(error.to_string()),
            Ok(changed) => match changed.judged.map(|judged| judged.verdict) {
                Some(Verdict::Accepted | Verdict::Duplicate(Ok(()))) => Ok(()),
                Some(Verdict::Rejected(rejection) | Verdict::Duplicate(Err(rejection))) => {
                    Err(RecordError::Refused(rejection))
                }
                Some(verdict) => unknown(format!("{verdict:?}")),
                None => unknown("it was not judged in time".to_owned()),
            },
        }
    }
}
