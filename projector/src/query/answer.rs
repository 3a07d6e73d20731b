//! Putting a run's answer together from its rows.

use tidewheel_api::{Code, Problem, RunAnswer};
use tidewheel_engine::RunStatus;
use tidewheel_schemas::{Event, Name, Payload, RunId};
use tidewheel_store::RowKey;

use super::{READ_TIMEOUT, Reads, projector_problem, store_problem};
use crate::views::run_parts::{self, Parts};
use crate::views::runs::{self, StoredHeader};

pub(super) fn no_run(run_id: RunId) -> Problem {
    Problem::new(
        Code::RunNotFound,
        format!(
            "there is no run {run_id} in this namespace; right after a start, pass its position as `at_least`"
        ),
    )
    .field("run_id")
}

impl Reads {
    /// The stored header of a run of this namespace.
    pub(super) async fn find(&self, namespace: &Name, run_id: RunId) -> Result<StoredHeader, Problem> {
        let views = self.views();
        let mut found = views.header(run_id).await.map_err(|error| store_problem(&error))?;
        if found.is_none() {
            // It may have been started a moment ago: what was judged so far is worth waiting for.
            let partitions = self.projector.partitions();
            let key = tidewheel_schemas::Entity::Run(run_id).routing_key();
            let partition = tidewheel_schemas::partition::partition_for(&key, partitions);
            let caught_up = self.catch_up(partition, READ_TIMEOUT).await;
            caught_up.map_err(|error| projector_problem(&error, None))?;
            found = views.header(run_id).await.map_err(|error| store_problem(&error))?;
        }
        found.filter(|stored| stored.header.namespace == *namespace).ok_or_else(|| no_run(run_id))
    }

    /// What a completed run returned.
    pub(super) async fn output(&self, stored: &StoredHeader) -> Result<Option<Payload>, Problem> {
        let header = &stored.header;
        if header.status != RunStatus::Completed {
            return Ok(None);
        }
        // The record that completed it is the last one it accepted.
        let last = self.views().entries(header.run_id, header.version, header.version, 1).await;
        let last = last.map_err(|error| store_problem(&error))?.pop();
        Ok(last.and_then(|(_, entry)| match &*entry.event {
            Event::RunCompleted(completed) => Some(completed.output.clone()),
            _ => None,
        }))
    }

    async fn state(&self, stored: &StoredHeader) -> Result<Option<Payload>, Problem> {
        if !stored.has_state {
            return Ok(None);
        }
        let key = RowKey {
            partition: runs::partition_key(stored.header.run_id),
            clustering: Some(run_parts::state_clustering()),
        };
        let views = self.views();
        let row = views
            .store()
            .get(views.generation(), &runs::TABLE, &key)
            .await
            .map_err(|error| store_problem(&error))?;
        let mut parts = Parts::default();
        if let Some(row) = row {
            parts.add(row).map_err(|error| store_problem(&error))?;
        }
        Ok(parts.state.map(|(_, state)| state))
    }

    /// The whole answer for a run, with its output and state.
    pub(super) async fn answer(&self, mut stored: StoredHeader) -> Result<RunAnswer, Problem> {
        let output = self.output(&stored).await?;
        stored.header.state = self.state(&stored).await?;
        let position = self.position(stored.partition, stored.header.applied_offset)?;
        Ok(RunAnswer::new(&stored.header, output.as_ref(), position))
    }
}
