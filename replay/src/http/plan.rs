//! What a replay would do, and whether it may be started. Nothing is changed by asking.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidewheel_api::{Code, JsonBody, Problem, json};
use tidewheel_engine::Rejection;
use tidewheel_engine::config::views::{GENERATIONS_MAX, ReplayKind, ViewsState};
use tidewheel_log::LogError;
use tidewheel_projector::views::TABLES;
use tidewheel_schemas::TopicPartition;
use tidewheel_schemas::event::{ReplayScope, ReplayStarted};
use utoipa::ToSchema;

use super::Replaying;

/// Records of which the mean size is taken, per partition.
const SAMPLED_RECORDS: usize = 256;

/// What is wanted of a replay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedReplay {
    /// What it does: `rebuild` fills a new generation of every view.
    kind: String,
    /// Most records it folds in a second, over all partitions and processes' shares of them; as many as it can if absent.
    #[serde(default)]
    records_per_second: Option<u64>,
    /// Whether its generation becomes the one that is read by itself, once it is filled and no difference to the log is
    /// found.
    #[serde(default)]
    activates: bool,
}

/// What a replay would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanAnswer {
    /// What it does.
    pub kind: &'static str,
    /// Its number, if nobody starts another one before.
    pub replay: u32,
    /// The generation it would write.
    pub generation: u32,
    /// The generation that is read, and stays so until another one is activated.
    pub active: u32,
    /// The views it would write.
    pub views: Vec<&'static str>,
    /// What it would read.
    pub partitions: Vec<PlannedPartition>,
    /// Records over all partitions.
    pub records: u64,
    /// About how many bytes of values that is, from a sample; absent if none could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// At least how long it takes at the rate asked for, seconds; absent without a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// What would be read of a partition.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlannedPartition {
    /// Its number.
    pub partition: u32,
    /// The first offset.
    pub from: i64,
    /// One past the last offset.
    pub until: i64,
}

/// A replay that may be started.
pub(super) struct Planned {
    pub(super) started: ReplayStarted,
    answer: PlanAnswer,
}

impl Replaying {
    /// What was asked for, with the numbers it would have. Whether these are to be had is for the fold to say: a retry of
    /// what was started is no second start.
    pub(super) async fn plan(&self, wanted: &WantedReplay) -> Result<Planned, Problem> {
        let views = self.views().await?;
        let kind = kind_of(wanted)?;
        let (replay, generation) =
            (views.replay_last.saturating_add(1), views.generation_last.saturating_add(1));
        let partitions = self.ranges().await?;
        let records: u64 = partitions.iter().map(|range| (range.until - range.from).unsigned_abs()).sum();
        if records == 0 {
            let detail = "the log holds no record; there is nothing to replay";
            return Err(Problem::new(Code::NothingToReplay, detail));
        }
        let ends = partitions.iter().map(|range| range.until).collect();
        let records_per_second =
            wanted.records_per_second.map(|rate| i64::try_from(rate).unwrap_or(i64::MAX));
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let started = ReplayStarted {
            replay: number(replay),
            kind: kind.as_str().to_owned(),
            generation: number(generation),
            scope: ReplayScope::default(),
            ends,
            records_per_second,
            activates: wanted.activates,
        };
        let answer = PlanAnswer {
            kind: kind.as_str(),
            replay,
            generation,
            active: views.active,
            views: TABLES.iter().map(|table| table.name).collect(),
            bytes: self.bytes(&partitions).await,
            partitions,
            records,
            seconds: wanted.records_per_second.map(|rate| records.div_ceil(rate)),
        };
        Ok(Planned { started, answer })
    }

    /// What the log holds of each partition; refused where its beginning is gone.
    async fn ranges(&self) -> Result<Vec<PlannedPartition>, Problem> {
        let mut ranges = Vec::new();
        for partition in 0..self.partitions {
            let place = TopicPartition::new(self.topic.clone(), partition);
            let bounds = self.log.bounds(&place).await.map_err(|error| log_problem(&error))?;
            if bounds.start > 0 {
                // Whoever has an archive is told exactly what is in neither.
                let missing = match self.log.read(&place, 0, 1).await {
                    Err(LogError::Archive { what, .. }) => what,
                    Ok(_) | Err(_) => format!(
                        "offsets 0 to {} were trimmed and are in no archive that this process knows",
                        bounds.start - 1
                    ),
                };
                let detail = format!("{place} begins at offset {}: {missing}", bounds.start);
                return Err(Problem::new(Code::LogTrimmed, detail));
            }
            ranges.push(PlannedPartition { partition, from: bounds.start, until: bounds.end });
        }
        Ok(ranges)
    }

    /// About how many bytes of values lie in these ranges.
    async fn bytes(&self, ranges: &[PlannedPartition]) -> Option<u64> {
        let mut bytes = 0.0;
        for range in ranges.iter().filter(|range| range.until > range.from) {
            let place = TopicPartition::new(self.topic.clone(), range.partition);
            // From the middle: the first records are claims, and the last ones may be of one kind.
            let from = range.from + (range.until - range.from) / 2;
            let records = self.log.read(&place, from, SAMPLED_RECORDS).await.ok()?;
            let sum: usize = records.iter().map(|record| record.value.len()).sum();
            bytes += sum as f64 / records.len().max(1) as f64 * (range.until - range.from) as f64;
        }
        Some(bytes as u64)
    }
}

fn kind_of(wanted: &WantedReplay) -> Result<ReplayKind, Problem> {
    if wanted.records_per_second == Some(0) {
        let detail = "at 0 records in a second it never ends; pause it instead";
        return Err(Problem::new(Code::InvalidField, detail).field("records_per_second"));
    }
    match ReplayKind::from_text(&wanted.kind) {
        Some(ReplayKind::Rebuild) => Ok(ReplayKind::Rebuild),
        Some(ReplayKind::Backfill) => {
            let detail = "backfills are not built yet; verify with mending writes single rows again";
            Err(Problem::new(Code::InvalidField, detail).field("kind"))
        }
        None => {
            let detail = "there is no such kind of replay";
            Err(Problem::new(Code::InvalidField, detail).field("kind").known(vec!["rebuild".to_owned()]))
        }
    }
}

/// Refuses what the fold would refuse, with what to do about it.
fn check(views: &ViewsState) -> Result<(), Problem> {
    if let Some(running) = views.running() {
        let detail =
            format!("replay {} is {}; wait for it or cancel it", running.number, running.status.as_str());
        return Err(Problem::new(Code::ReplayRunning, detail));
    }
    if views.generations.len() >= GENERATIONS_MAX {
        let spare = views.generations.keys().find(|generation| **generation != views.active);
        let detail = match spare {
            Some(spare) => format!("generations {spare} and {} exist; drop {spare} first", views.active),
            None => Rejection::TooManyGenerations.to_string(),
        };
        return Err(Problem::new(Code::TooManyGenerations, detail));
    }
    Ok(())
}

fn log_problem(error: &LogError) -> Problem {
    Problem::new(Code::LogUnavailable, error.to_string()).retry_after_ms(1_000)
}

/// Plan a replay.
///
/// Says what starting it would read and write, or why it would be refused. Changes nothing.
#[utoipa::path(
    post,
    path = "/v1/replays:plan",
    tag = "replays",
    operation_id = "plan_replay",
    request_body = WantedReplay,
    responses(
        (status = 200, description = "What it would do", body = PlanAnswer),
        (status = "4XX", description = "It would be refused", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Not possible now", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn plan_replay(State(replaying): State<Replaying>, body: JsonBody) -> Result<Response, Problem> {
    let wanted = body.parse()?;
    check(&*replaying.views().await?)?;
    let planned = replaying.plan(&wanted).await?;
    Ok(json(StatusCode::OK, &planned.answer))
}
