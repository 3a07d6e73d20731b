//! A namespace: what a record does to it.

use std::sync::Arc;

use tidewheel_schemas::event::NamespaceCreated;
use tidewheel_schemas::{Author, Envelope, Name};

use super::judged::Judged;
use crate::run::apply::Place;
use crate::verdict::{Rejection, Verdict};

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceState {
    /// Its name.
    pub name: Name,
    /// The datacenter its runs live in unless a start says otherwise.
    pub home: Name,
    /// When it was created, microseconds since 1970.
    pub created_at_us: i64,
    /// Who created it.
    pub created_by: Arc<str>,
    /// Number of records it accepted.
    pub version: u64,
    judged: Judged,
}

impl NamespaceState {
    pub(super) fn create(name: &Name, place: Place, envelope: &Envelope, created: &NamespaceCreated) -> Self {
        let mut judged = Judged::default();
        judged.judge(place, envelope.event_id, Ok(()));
        Self {
            name: name.clone(),
            home: created.home.clone(),
            created_at_us: envelope.recorded_at_us,
            created_by: principal(envelope),
            version: 1,
            judged,
        }
    }

    /// The namespace is created again.
    pub(super) fn repeat(&mut self, place: Place, envelope: &Envelope) -> Verdict {
        self.judged
            .repeated(envelope.event_id)
            .unwrap_or_else(|| self.judged.judge(place, envelope.event_id, Err(Rejection::NamespaceExists)))
    }
}

/// Who asked for a change.
pub(super) fn principal(envelope: &Envelope) -> Arc<str> {
    match &envelope.author {
        Author::Ingest { principal } => Arc::clone(principal),
        Author::Engine { .. } | Author::Outbox { .. } | Author::Candidate { .. } => "".into(),
    }
}
