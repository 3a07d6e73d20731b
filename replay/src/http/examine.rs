//! The state of the routes that look at views and log: verify, and what looks into the past. What changes views is said
//! in the files beside it.

use std::sync::Arc;

use axum::extract::FromRef;
use tidewheel_api::{Code, Idempotency, Namespaces, Principal, Problem, Traceparent};
use tidewheel_engine::Rejection;
use tidewheel_ingest::administration::Asker;
use tidewheel_schemas::event::ViewsMended;
use tidewheel_store::Generation;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Replaying, inspect, verify};
use crate::verify::{Held, Views, held};

/// The state of the routes. Cloning is cheap.
#[derive(Clone)]
pub struct Examine(Arc<Shared>);

struct Shared {
    replaying: Replaying,
    stopping: CancellationToken,
    /// Verifications that may run at once: one.
    verifications: Arc<Semaphore>,
    /// Looks into the past that may run at once; others wait.
    looks: Arc<Semaphore>,
    datacenter: u16,
}

/// Looks into the past at once: each takes a processor.
const LOOKS_MAX: usize = 2;

impl FromRef<Examine> for Namespaces {
    fn from_ref(examine: &Examine) -> Self {
        Self::from_ref(&examine.0.replaying.administration)
    }
}

impl Examine {
    /// The state of the routes beside those of `replaying`. `datacenter` is the label of the datacenter whose topic is
    /// read, 12 bits; `stopping` is cancelled when the node stops.
    pub fn new(replaying: Replaying, datacenter: u16, stopping: CancellationToken) -> Self {
        let (verifications, looks) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(LOOKS_MAX)));
        Self(Arc::new(Shared { replaying, stopping, verifications, looks, datacenter }))
    }

    pub(super) fn looks(&self) -> &Arc<Semaphore> {
        &self.0.looks
    }

    pub(super) fn datacenter(&self) -> u16 {
        self.0.datacenter
    }

    pub(super) fn replaying(&self) -> &Replaying {
        &self.0.replaying
    }

    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    pub(super) fn verifications(&self) -> &Arc<Semaphore> {
        &self.0.verifications
    }

    /// The views of a generation, the one that is read unless another is asked for.
    pub(super) fn views(&self, asked: Option<u32>) -> Result<Views, Problem> {
        let replaying = &self.0.replaying;
        let generations = &replaying.generations;
        let projector = match asked {
            None => generations.active(),
            Some(asked) => generations.get(Generation(asked)).ok_or_else(|| {
                let detail = format!("there is no generation {asked} of the views; use one of `known`");
                let known = generations.all().iter().map(|known| known.generation().0.to_string()).collect();
                Problem::new(Code::GenerationNotFound, detail).field("generation").known(known)
            })?,
        };
        Ok(Views {
            log: Arc::clone(&replaying.log),
            topic: replaying.topic.clone(),
            partitions: replaying.partitions,
            store: Arc::clone(projector.views().store()),
            generation: projector.generation(),
        })
    }

    /// How far the partitions of a generation are known to be.
    pub(super) fn held(&self, generation: Generation) -> Option<Held> {
        self.0.replaying.generations.get(generation).map(held)
    }

    /// Notes that rows of a generation are about to be mended; the number of the mend, 1 to 7.
    pub(super) async fn mend(&self, generation: Generation, principal: Principal) -> Result<u8, Problem> {
        let views = self.0.replaying.views().await?;
        let mends = views.generations.get(&generation.0).map_or(0, |state| state.mendings);
        let number = mends.saturating_add(1);
        let too_many = |_| Problem::rejected(Rejection::TooManyMendings);
        let mended = ViewsMended {
            generation: i32::try_from(generation.0).map_err(too_many)?,
            number: i32::try_from(number).map_err(too_many)?,
        };
        let asker = Asker { principal, idempotency: Idempotency(None), traceparent: Traceparent(None) };
        let accepted = self.0.replaying.change(asker, "mend", mended.into()).await?;
        if accepted.judged.is_none() {
            let detail = "the mend was noted, but not judged in time; nothing was mended";
            return Err(Problem::new(Code::ConfigUnavailable, detail).retry_after_ms(1_000));
        }
        u8::try_from(number).map_err(too_many)
    }
}

/// Every route that looks at views and log, described.
pub fn router(examine: Examine) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(verify::verify_views))
        .routes(routes!(inspect::get_past_run))
        .routes(routes!(inspect::diff_past_run))
        .routes(routes!(inspect::list_past_runs))
        .routes(routes!(inspect::get_records))
        .with_state(examine)
}
