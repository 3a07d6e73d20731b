//! The face of replays: routes that plan, start, steer and show them, and move reads between generations.

mod answer;
mod examine;
mod generations;
mod inspect;
mod parked;
mod plan;
mod replays;
mod scope;
mod select;
mod verify;

use std::sync::Arc;

use tidewheel_api::Problem;
use tidewheel_engine::config::views::ViewsState;
use tidewheel_ingest::Administration;
use tidewheel_ingest::administration::{Accepted, Asker};
use tidewheel_log::SharedLog;
use tidewheel_projector::Generations;
use tidewheel_schemas::{ConfigEvent, Entity, Topic};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use self::examine::{Examine, router as examine_router};
use crate::share::Standings;
use crate::verified::Verified;

/// What the routes of replays need of their node.
#[derive(Clone)]
pub struct Replaying {
    /// Where changes are appended and judged.
    pub administration: Administration,
    /// The log whose views these are.
    pub log: SharedLog,
    /// Its topic.
    pub topic: Topic,
    /// How many partitions it has.
    pub partitions: u32,
    /// The generations of this process.
    pub generations: Generations,
    /// Where the shares of this process stand.
    pub standings: Standings,
    /// Where the parts of backfills stand that this process is at, by replay and partition.
    pub parts: Standings,
    /// Which generations were found to be what the log says.
    pub verified: Verified,
    /// How many records a partition of a generation may be behind its log when it becomes the active one.
    pub lag_max: u64,
}

/// Every route, described.
pub fn router(replaying: Replaying) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(replays::list_replays, replays::start_replay))
        .routes(routes!(plan::plan_replay))
        .routes(routes!(replays::pause_replay))
        .routes(routes!(replays::resume_replay))
        .routes(routes!(replays::change_rate))
        .routes(routes!(replays::cancel_replay))
        .routes(routes!(parked::list_parked))
        .routes(routes!(generations::activate_generation))
        .routes(routes!(generations::drop_generation))
        .with_state(replaying)
}

impl Replaying {
    /// The views of this datacenter, as far as the configuration was read.
    async fn views(&self) -> Result<Arc<ViewsState>, Problem> {
        let snapshot = self.administration.read(None).await?;
        Ok(snapshot.views(self.administration.datacenter()))
    }

    /// Appends a change of the views and waits for the fold's verdict.
    async fn change(&self, asker: Asker, verb: &str, event: ConfigEvent) -> Result<Accepted, Problem> {
        let entity = Entity::Views(self.administration.datacenter().clone());
        self.administration.change(asker, verb, entity, event).await
    }
}
