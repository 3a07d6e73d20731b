//! `/v1/generations`: which generation of the views is read, and which go.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use tidewheel_api::{Code, JsonBody, Path, Problem};
use tidewheel_engine::config::views::ViewsState;
use tidewheel_ingest::administration::Asker;
use tidewheel_schemas::event::{GenerationActivated, GenerationDropped};
use tidewheel_store::Generation;
use utoipa::ToSchema;

use super::Replaying;
use super::replays::number;
use crate::lag::lag;

/// How a generation is made the active one.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivateGeneration {
    /// Whether it may become active although this process has not compared it with the log within the last hour. The
    /// generation that was active before needs no comparison.
    #[serde(default)]
    unverified: bool,
}

impl Replaying {
    /// How many records a generation is behind, if that is few enough for reads to move there.
    async fn ready(&self, views: &ViewsState, generation: u32) -> Result<u64, Problem> {
        let behind = |detail: String| Problem::new(Code::NotReadyToActivate, detail).retry_after_ms(1_000);
        if let Some(filling) = views.running().filter(|_| views.is_being_filled(generation)) {
            let detail = format!("replay {} still fills generation {generation}", filling.number);
            return Err(behind(detail));
        }
        let Some(ends) = self.ends().await else {
            let detail = "the log does not say where it ends; try again";
            return Err(Problem::new(Code::LogUnavailable, detail).retry_after_ms(1_000));
        };
        lag(&ends, self.applied(generation), self.lag_max)
            .map_err(|far| behind(format!("generation {generation}: {far}; wait until it is there")))
    }
}

/// Move every read to another generation, or back.
///
/// Each process moves once its other generation is as far as the one it reads, so that no read goes back. Both go on
/// being written until one is dropped.
#[utoipa::path(
    post,
    path = "/v1/generations/{generation}/activate",
    tag = "replays",
    operation_id = "activate_generation",
    params(("generation" = u32, Path, description = "Its number")),
    request_body = ActivateGeneration,
    responses(
        (status = 200, description = "It is the active one", body = super::answer::ReplaysAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn activate_generation(
    State(replaying): State<Replaying>,
    Path(generation): Path<String>,
    asker: Asker,
    body: JsonBody,
) -> Result<Response, Problem> {
    let ActivateGeneration { unverified } = body.parse()?;
    let asked = number(&generation)?;
    let views = replaying.views().await?;
    let known = asked.unsigned_abs();
    let compared_rows = replaying.verified.rows(Generation(known));
    // What does not exist or is active is for the fold to refuse.
    let lag = match views.generations.contains_key(&known) && known != views.active {
        true => {
            if compared_rows.is_none() && !unverified && views.previous != Some(known) {
                let detail = format!(
                    "generation {known} was not compared with the log by this process within the last hour, or differs \
                     from it; verify it first"
                );
                return Err(Problem::new(Code::NotReadyToActivate, detail));
            }
            replaying.ready(&views, known).await?
        }
        false => 0,
    };
    let event = GenerationActivated {
        generation: asked,
        replaces: i32::try_from(views.active).unwrap_or(i32::MAX),
        lag: i64::try_from(lag).unwrap_or(i64::MAX),
        compared_rows: i64::try_from(compared_rows.unwrap_or(0)).unwrap_or(i64::MAX),
    };
    let accepted = replaying.change(asker, &format!("activate/{generation}"), event.into()).await?;
    replaying.changed(accepted, StatusCode::OK).await
}

/// Drop a generation that is not read. Its tables go half a minute later.
#[utoipa::path(
    post,
    path = "/v1/generations/{generation}/drop",
    tag = "replays",
    operation_id = "drop_generation",
    params(("generation" = u32, Path, description = "Its number")),
    responses(
        (status = 200, description = "It is written no more", body = super::answer::ReplaysAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn drop_generation(
    State(replaying): State<Replaying>,
    Path(generation): Path<String>,
    asker: Asker,
) -> Result<Response, Problem> {
    let event = GenerationDropped { generation: number(&generation)? };
    let accepted = replaying.change(asker, &format!("drop/{generation}"), event.into()).await?;
    replaying.changed(accepted, StatusCode::OK).await
}
