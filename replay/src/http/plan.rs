//! What a replay would do, and whether it may be started. Nothing is changed by asking.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidewheel_api::{Code, JsonBody, Problem, json};
use tidewheel_engine::Rejection;
use tidewheel_engine::config::views::{GENERATIONS_MAX, MENDINGS_MAX, ReplayKind, ViewsState};
use tidewheel_log::LogError;
use tidewheel_projector::views::TABLES;
use tidewheel_schemas::TopicPartition;
use tidewheel_schemas::event::{ReplayScope, ReplayStarted};
use utoipa::ToSchema;

use super::Replaying;
use super::scope::{WantedScope, check_views};

/// Records of which the mean size is taken, per partition.
const SAMPLED_RECORDS: usize = 256;

/// What is wanted of a replay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedReplay {
    /// What it does: `rebuild` fills a new generation of every view, `backfill` writes the rows of a scope that are not
    /// what the log says again, in a generation that exists.
    kind: String,
    /// Most records it folds in a second, over all partitions and processes' shares of them; as many as it can if absent.
    #[serde(default)]
    records_per_second: Option<u64>,
    /// Whether its generation becomes the one that is read by itself, once it is filled and no difference to the log is
    /// found. Only for a rebuild.
    #[serde(default)]
    activates: bool,
    /// The generation that a backfill writes; the one that is read unless said.
    #[serde(default)]
    generation: Option<u32>,
    /// What a backfill is about; everything unless said. A rebuild is about everything.
    #[serde(default)]
    scope: Option<WantedScope>,
    /// The datacenter whose views are meant: that of the node that is asked.
    #[serde(default)]
    datacenter: Option<String>,
    /// Views are replayed together: a name given here is refused.
    #[serde(default)]
    views: Vec<String>,
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
    /// What a backfill is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<WantedScope>,
    /// How many runs that is; absent where no run is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<u64>,
    /// Whether there are more of them than were looked for.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more_runs: bool,
    /// How many mendings the generation has left; only for a backfill, which takes one if a row differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mendings_left: Option<u32>,
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
    /// what was started is no second start. With `counts`, also how many runs there are in it.
    pub(super) async fn plan(&self, wanted: &WantedReplay, counts: bool) -> Result<Planned, Problem> {
        let views = self.views().await?;
        let kind = kind_of(wanted)?;
        self.check_datacenter(wanted.datacenter.as_ref())?;
        check_views(&wanted.views)?;
        let generation = match kind {
            ReplayKind::Rebuild => views.generation_last.saturating_add(1),
            ReplayKind::Backfill => mendable(&views, wanted.generation)?,
        };
        let replay = views.replay_last.saturating_add(1);
        let mut partitions = self.ranges().await?;
        let ends: Vec<i64> = partitions.iter().map(|range| range.until).collect();
        if ends.iter().all(|end| *end <= 0) {
            let detail = "the log holds no record; there is nothing to replay";
            return Err(Problem::new(Code::NothingToReplay, detail));
        }
        let backfill = match kind {
            ReplayKind::Rebuild => None,
            ReplayKind::Backfill => {
                let scope = self.scope(&wanted.scope.clone().unwrap_or_default(), &ends)?;
                Some(self.selected(scope, generation, &ends, counts).await?)
            }
        };
        if let Some(selected) = &backfill {
            partitions.retain(|range| selected.parts.contains(&range.partition));
        }
        let records: u64 = partitions.iter().map(|range| (range.until - range.from).unsigned_abs()).sum();
        let read = records + backfill.as_ref().map_or(0, |selected| selected.looked_at);
        let records_per_second =
            wanted.records_per_second.map(|rate| i64::try_from(rate).unwrap_or(i64::MAX));
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let mendings = views.generations.get(&generation).map_or(0, |state| state.mendings);
        let answer = PlanAnswer {
            kind: kind.as_str(),
            replay,
            generation,
            active: views.active,
            views: TABLES.iter().map(|table| table.name).collect(),
            scope: backfill.as_ref().map(|selected| WantedScope::from(&selected.scope)),
            runs: backfill.as_ref().and_then(|selected| selected.runs),
            more_runs: backfill.as_ref().is_some_and(|selected| selected.more),
            mendings_left: backfill.as_ref().map(|_| MENDINGS_MAX.saturating_sub(mendings)),
            bytes: self.bytes(&partitions).await,
            partitions,
            records,
            seconds: wanted.records_per_second.map(|rate| read.div_ceil(rate)),
        };
        let started = ReplayStarted {
            replay: number(replay),
            kind: kind.as_str().to_owned(),
            generation: number(generation),
            scope: backfill.map_or_else(ReplayScope::default, |selected| selected.scope),
            ends,
            records_per_second,
            activates: wanted.activates,
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
    let invalid = |field: &'static str, detail: &str| {
        Err(Problem::new(Code::InvalidField, detail.to_owned()).field(field))
    };
    if wanted.records_per_second == Some(0) {
        return invalid("records_per_second", "at 0 records in a second it never ends; pause it instead");
    }
    match ReplayKind::from_text(&wanted.kind) {
        Some(ReplayKind::Rebuild)
            if wanted.scope.as_ref().is_some_and(|of| *of != WantedScope::default()) =>
        {
            invalid("scope", "a generation holds everything, so a rebuild has no scope; a backfill has one")
        }
        Some(ReplayKind::Rebuild) if wanted.generation.is_some() => {
            invalid("generation", "a rebuild fills a new generation; leave it out")
        }
        Some(ReplayKind::Backfill) if wanted.activates => invalid(
            "activates",
            "a backfill writes a generation that exists; only a rebuild brings a new one",
        ),
        Some(kind) => Ok(kind),
        None => {
            let known = [ReplayKind::Rebuild, ReplayKind::Backfill].map(|kind| kind.as_str().to_owned());
            let detail = "there is no such kind of replay; use one of `known`";
            Err(Problem::new(Code::InvalidField, detail).field("kind").known(known.to_vec()))
        }
    }
}

/// The generation that a backfill is to write; refused if there is none, or none of its rows can be mended any more.
fn mendable(views: &ViewsState, wanted: Option<u32>) -> Result<u32, Problem> {
    let generation = wanted.unwrap_or(views.active);
    let Some(state) = views.generations.get(&generation) else {
        let known = views.generations.keys().map(u32::to_string).collect();
        let detail = format!("there is no generation {generation} of the views; use one of `known`");
        return Err(Problem::new(Code::GenerationNotFound, detail).field("generation").known(known));
    };
    if state.mendings >= MENDINGS_MAX {
        let detail = format!(
            "generation {generation} was mended {MENDINGS_MAX} times, which is as often as it can be; rebuild it: \
             tidewheel replay run rebuild --cutover"
        );
        return Err(Problem::new(Code::TooManyMendings, detail).field("generation"));
    }
    Ok(generation)
}

/// Refuses what the fold would refuse, with what to do about it.
fn check(views: &ViewsState, kind: ReplayKind) -> Result<(), Problem> {
    if let Some(running) = views.running() {
        let detail =
            format!("replay {} is {}; wait for it or cancel it", running.number, running.status.as_str());
        return Err(Problem::new(Code::ReplayRunning, detail));
    }
    if kind == ReplayKind::Rebuild && views.generations.len() >= GENERATIONS_MAX {
        let spare = views.generations.keys().find(|generation| **generation != views.active);
        let detail = match spare {
            Some(spare) => format!("generations {spare} and {} exist; drop {spare} first", views.active),
            None => Rejection::TooManyGenerations.to_string(),
        };
        return Err(Problem::new(Code::TooManyGenerations, detail));
    }
    Ok(())
}

pub(super) fn log_problem(error: &LogError) -> Problem {
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
    check(&*replaying.views().await?, kind_of(&wanted)?)?;
    let planned = replaying.plan(&wanted, true).await?;
    Ok(json(StatusCode::OK, &planned.answer))
}
