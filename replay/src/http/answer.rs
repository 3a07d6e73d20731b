//! How replays and generations are shown.

use std::sync::Arc;

use http::StatusCode;
use serde::Serialize;
use tidewheel_api::{Problem, Time, json};
use tidewheel_engine::config::ConfigEntity;
use tidewheel_engine::config::views::{ReplayKind, ReplayState, ViewsState};
use tidewheel_ingest::administration::Accepted;
use tidewheel_schemas::{Entity, Position, RunId};
use tidewheel_store::Generation;
use utoipa::ToSchema;

use super::Replaying;
use super::scope::WantedScope;
use crate::lag::{ends, lags};
use crate::selection::Selection;
use crate::share::Standings;

/// The views of a datacenter: generations and replays.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplaysAnswer {
    /// The datacenter.
    pub datacenter: String,
    /// The generation that is read.
    pub active: u32,
    /// The generation that was read before, while it is kept: reads can go back to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<u32>,
    /// The generation that the process that answers reads; for a moment after a change still the one before.
    pub read_here: u32,
    /// The generations that are written.
    pub generations: Vec<GenerationAnswer>,
    /// Replays that run and those that have ended, the newest first.
    pub replays: Vec<ReplayAnswer>,
    /// Where the last change lies, when just made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub position: Option<Position>,
}

/// A generation of the views.
#[derive(Debug, Serialize, ToSchema)]
pub struct GenerationAnswer {
    /// Its number.
    pub generation: u32,
    /// The replay that filled it; absent for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filled_by: Option<u32>,
    /// When it was last made the active one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Time>,
    /// How often rows of it were mended in place.
    pub mendings: u32,
    /// How many records it is behind the log, over all partitions; absent if it cannot be told now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// How far each partition is, in the order of partitions: the offset of the last record it holds, -1 before the first.
    pub applied: Vec<i64>,
}

/// A replay.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayAnswer {
    /// Its number.
    pub replay: u32,
    /// What it does: `rebuild` or `backfill`.
    pub kind: &'static str,
    /// How it stands: `running`, `paused`, `finished` or `cancelled`.
    pub status: &'static str,
    /// The generation it writes.
    pub generation: u32,
    /// What a backfill is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<WantedScope>,
    /// In how many parts a backfill is done: partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<u64>,
    /// How many of them are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts_done: Option<u64>,
    /// Rows that a backfill has written, in the parts that are done and in what the process that answers is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Records that the log held when it was started, of the partitions it is about.
    pub records: u64,
    /// Records of those that are done.
    pub done: u64,
    /// Most records it folds in a second; absent for as many as it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_per_second: Option<u64>,
    /// When it was started.
    pub started_at: Time,
    /// Who started it.
    pub started_by: String,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// Why it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the process that answers works on, while it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<ShareAnswer>,
}

/// A partition on which a process works.
#[derive(Debug, Serialize, ToSchema)]
pub struct ShareAnswer {
    /// Its number.
    pub partition: u32,
    /// The offset of the first record that is not done.
    pub next_offset: i64,
    /// Records done since the process took it: those whose rows are written, or that part of a backfill's which was gone
    /// through.
    pub done: u64,
    /// Rows written since the process took it.
    pub rows: u64,
    /// For how long it has not come further, while there is more to do.
    pub still_for_ms: u64,
    /// The run whose record it is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub run_id: Option<RunId>,
    /// Why it does not come further.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A change that is durable in the log, but that the fold has not judged yet.
#[derive(Debug, Serialize, ToSchema)]
pub struct PendingReplayAnswer {
    /// What it is about.
    pub entity: String,
    /// Always `pending`.
    pub status: &'static str,
    /// Where the record lies.
    #[schema(value_type = String)]
    pub position: Position,
}

impl Replaying {
    /// The views as they stand.
    pub(super) async fn answer(&self, views: &ViewsState, position: Option<Position>) -> ReplaysAnswer {
        let ends = self.ends().await;
        let generations = views.generations.iter().map(|(generation, state)| {
            let applied = self.applied(*generation);
            let lag = ends.as_ref().map(|ends| lags(ends, applied.iter().copied()).sum());
            GenerationAnswer {
                generation: *generation,
                filled_by: state.filled_by,
                activated_at: state.activated_at_us.map(Time),
                mendings: state.mendings,
                lag,
                applied,
            }
        });
        ReplaysAnswer {
            datacenter: views.datacenter.to_string(),
            active: views.active,
            previous: views.previous,
            read_here: self.generations.active().generation().0,
            generations: generations.collect(),
            replays: views.replays.values().rev().map(|replay| self.replay(replay)).collect(),
            position,
        }
    }

    /// The answer to a change.
    pub(super) async fn changed(
        &self,
        accepted: Accepted,
        status: StatusCode,
    ) -> Result<axum::response::Response, Problem> {
        let Accepted { position, judged } = accepted;
        Ok(match judged {
            Some((ConfigEntity::Views(views), is_new)) => {
                let status = if is_new { status } else { StatusCode::OK };
                json(status, &self.answer(&views, Some(position)).await)
            }
            _ => {
                let entity = Entity::Views(self.administration.datacenter().clone()).to_string();
                json(StatusCode::ACCEPTED, &PendingReplayAnswer { entity, status: "pending", position })
            }
        })
    }

    /// Where the log ends now, by partition; `None` if that cannot be told.
    pub(super) async fn ends(&self) -> Option<Vec<i64>> {
        ends(&self.log, &self.topic, self.partitions).await.ok()
    }

    /// How far a generation is, by partition.
    pub(super) fn applied(&self, generation: u32) -> Vec<i64> {
        let projector = self.generations.get(Generation(generation));
        (0..self.partitions)
            .map(|partition| projector.as_ref().map_or(-1, |projector| projector.applied_offset(partition)))
            .collect()
    }

    fn replay(&self, replay: &ReplayState) -> ReplayAnswer {
        let shares = match (replay.status.is_over(), replay.kind) {
            (true, _) => Vec::new(),
            (false, ReplayKind::Rebuild) => shares(&self.standings, replay.generation),
            (false, ReplayKind::Backfill) => shares(&self.parts, replay.number),
        };
        let selection = Selection::new(Arc::clone(&replay.scope), self.partitions);
        let parts = selection.map_or_else(|_| (0..self.partitions).collect(), |selection| selection.parts());
        let of =
            |partition: u32| replay.ends.get(partition as usize).copied().unwrap_or(0).max(0).unsigned_abs();
        let records: u64 = parts.iter().map(|partition| of(*partition)).sum();
        let done = match (replay.status.is_over(), replay.kind) {
            (true, _) if replay.reason.is_none() => records,
            (_, ReplayKind::Rebuild) => (self.applied(replay.generation).iter())
                .zip(replay.ends.iter())
                .map(|(applied, end)| (applied + 1).clamp(0, *end).unsigned_abs())
                .sum(),
            (_, ReplayKind::Backfill) => {
                let done: u64 = replay.done.keys().map(|partition| of(*partition)).sum();
                let at_work = shares.iter().filter(|share| !replay.done.contains_key(&share.partition));
                done + at_work.map(|share| share.done.min(of(share.partition))).sum::<u64>()
            }
        };
        let is_backfill = replay.kind == ReplayKind::Backfill;
        let rows = replay.done.values().map(|done| done.rows).sum::<u64>()
            + shares.iter().map(|share| share.rows).sum::<u64>();
        ReplayAnswer {
            replay: replay.number,
            kind: replay.kind.as_str(),
            status: replay.status.as_str(),
            generation: replay.generation,
            scope: is_backfill.then(|| WantedScope::from(&*replay.scope)),
            parts: is_backfill.then_some(parts.len() as u64),
            parts_done: is_backfill.then_some(replay.done.len() as u64),
            rows: is_backfill.then_some(rows),
            records,
            done,
            records_per_second: replay.records_per_second,
            started_at: Time(replay.started_at_us),
            started_by: replay.started_by.to_string(),
            ended_at: replay.ended_at_us.map(Time),
            reason: replay.reason.as_deref().map(str::to_owned),
            shares,
        }
    }
}

/// What this process is at of a generation, or of a backfill.
fn shares(standings: &Standings, of: u32) -> Vec<ShareAnswer> {
    let standings = standings.lock();
    let ours = standings.range((of, 0)..=(of, u32::MAX));
    ours.map(|((_, partition), standing)| ShareAnswer {
        partition: *partition,
        next_offset: standing.next_offset(),
        done: standing.records(),
        rows: standing.rows(),
        still_for_ms: u64::try_from(standing.still_for().as_millis()).unwrap_or(u64::MAX),
        run_id: standing.run_id(),
        failure: standing.failure(),
    })
    .collect()
}
