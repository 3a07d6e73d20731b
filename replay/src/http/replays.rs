//! `/v1/replays`: start, list, pause, resume, slow and cancel them.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use tidewheel_api::{Code, JsonBody, Path, Problem, json};
use tidewheel_ingest::administration::Asker;
use tidewheel_schemas::ConfigEvent;
use tidewheel_schemas::event::{ReplayCancelled, ReplayPaused, ReplayRateChanged, ReplayResumed};
use utoipa::ToSchema;

use super::Replaying;
use super::plan::WantedReplay;

/// Longest reason of a cancel, bytes.
const REASON_BYTES_MAX: usize = 1_024;

/// The number in a path.
pub(super) fn number(text: &str) -> Result<i32, Problem> {
    text.parse::<i32>().ok().filter(|number| *number > 0).ok_or_else(|| {
        Problem::new(
            Code::InvalidParameter,
            format!("`{text}` is no number of a replay or generation, such as 2"),
        )
    })
}

/// List the replays and generations of this datacenter's views.
#[utoipa::path(
    get,
    path = "/v1/replays",
    tag = "replays",
    operation_id = "list_replays",
    responses(
        (status = 200, description = "Generations, replays and how far they are", body = super::answer::ReplaysAnswer),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list_replays(State(replaying): State<Replaying>) -> Result<Response, Problem> {
    let views = replaying.views().await?;
    Ok(json(StatusCode::OK, &replaying.answer(&views, None).await))
}

/// Start a replay.
///
/// The processes that write the views do it beside their other work, until it got to where the log ends now. The
/// generation of a rebuild is then kept up to date until it is dropped; reads stay where they are.
#[utoipa::path(
    post,
    path = "/v1/replays",
    tag = "replays",
    operation_id = "start_replay",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes retries the same event; 1 to 512 printable characters")),
    request_body = WantedReplay,
    responses(
        (status = 201, description = "It was started", body = super::answer::ReplaysAnswer),
        (status = 202, description = "Durable, but not judged in time", body = super::answer::PendingReplayAnswer),
        (status = "4XX", description = "Refused; nothing was written", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn start_replay(
    State(replaying): State<Replaying>,
    asker: Asker,
    body: JsonBody,
) -> Result<Response, Problem> {
    let planned = replaying.plan(&body.parse::<WantedReplay>()?, false).await?;
    let accepted = replaying.change(asker, "start", planned.started.into()).await?;
    replaying.changed(accepted, StatusCode::CREATED).await
}

async fn steer(
    replaying: &Replaying,
    asker: Asker,
    verb: &str,
    event: ConfigEvent,
) -> Result<Response, Problem> {
    let accepted = replaying.change(asker, verb, event).await?;
    replaying.changed(accepted, StatusCode::OK).await
}

/// Pause a replay. It rests until it is resumed; the generation of a rebuild falls behind meanwhile.
#[utoipa::path(
    post,
    path = "/v1/replays/{replay}/pause",
    tag = "replays",
    operation_id = "pause_replay",
    params(("replay" = u32, Path, description = "Its number")),
    responses(
        (status = 200, description = "It rests", body = super::answer::ReplaysAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn pause_replay(
    State(replaying): State<Replaying>,
    Path(replay): Path<String>,
    asker: Asker,
) -> Result<Response, Problem> {
    let event = ReplayPaused { replay: number(&replay)? };
    steer(&replaying, asker, &format!("pause/{replay}"), event.into()).await
}

/// Resume a paused replay.
#[utoipa::path(
    post,
    path = "/v1/replays/{replay}/resume",
    tag = "replays",
    operation_id = "resume_replay",
    params(("replay" = u32, Path, description = "Its number")),
    responses(
        (status = 200, description = "It goes on", body = super::answer::ReplaysAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn resume_replay(
    State(replaying): State<Replaying>,
    Path(replay): Path<String>,
    asker: Asker,
) -> Result<Response, Problem> {
    let event = ReplayResumed { replay: number(&replay)? };
    steer(&replaying, asker, &format!("resume/{replay}"), event.into()).await
}

/// How fast a replay may go from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRate {
    /// Most records it folds in a second; as many as it can if absent.
    #[serde(default)]
    records_per_second: Option<u64>,
}

/// Make a replay faster or slower while it runs.
#[utoipa::path(
    post,
    path = "/v1/replays/{replay}/rate",
    tag = "replays",
    operation_id = "change_replay_rate",
    params(("replay" = u32, Path, description = "Its number")),
    request_body = ChangeRate,
    responses(
        (status = 200, description = "It goes on at that rate", body = super::answer::ReplaysAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn change_rate(
    State(replaying): State<Replaying>,
    Path(replay): Path<String>,
    asker: Asker,
    body: JsonBody,
) -> Result<Response, Problem> {
    let ChangeRate { records_per_second } = body.parse()?;
    if records_per_second == Some(0) {
        let detail = "at 0 records in a second it never ends; pause it instead";
        return Err(Problem::new(Code::InvalidField, detail).field("records_per_second"));
    }
    let records_per_second = records_per_second.map(|rate| i64::try_from(rate).unwrap_or(i64::MAX));
    let event = ReplayRateChanged { replay: number(&replay)?, records_per_second };
    steer(&replaying, asker, &format!("rate/{replay}"), event.into()).await
}

/// Why a replay is cancelled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelReplay {
    /// For people; at most 1,024 bytes.
    #[serde(default)]
    reason: String,
}

/// Cancel a replay. The generation that a rebuild was filling is dropped; what a backfill has mended stays mended.
#[utoipa::path(
    post,
    path = "/v1/replays/{replay}/cancel",
    tag = "replays",
    operation_id = "cancel_replay",
    params(("replay" = u32, Path, description = "Its number")),
    request_body = CancelReplay,
    responses(
        (status = 200, description = "It has ended", body = super::answer::ReplaysAnswer),
        (status = "4XX", description = "Refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn cancel_replay(
    State(replaying): State<Replaying>,
    Path(replay): Path<String>,
    asker: Asker,
    body: JsonBody,
) -> Result<Response, Problem> {
    let CancelReplay { reason } = body.parse()?;
    if reason.len() > REASON_BYTES_MAX {
        let detail = format!("the reason has {} bytes, the limit is {REASON_BYTES_MAX}", reason.len());
        return Err(Problem::new(Code::InvalidField, detail).field("reason"));
    }
    let event = ReplayCancelled { replay: number(&replay)?, reason };
    steer(&replaying, asker, &format!("cancel/{replay}"), event.into()).await
}
