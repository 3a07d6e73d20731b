//! How a replay ends in the configuration: that it is done, and that its generation is to be read.

use tidewheel_engine::config::views::{ReplayKind, ReplayState, ReplayStatus, ViewsState};
use tidewheel_projector::Projector;
use tidewheel_schemas::EventId;
use tidewheel_schemas::event::{GenerationActivated, ReplayFinished};
use tidewheel_store::Generation;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{AGAIN_AFTER, Keeper, Kept, Materials};
use crate::verify::{self, Report, Stop, VerifyError, VerifyOptions};
use crate::{lag, thread};

/// The verification of a generation that is to become the active one by itself. It stops when this is dropped.
pub(super) struct Verifying {
    generation: u32,
    /// What was found; `None` if it could not be told.
    report: oneshot::Receiver<Option<Report>>,
    is_told: bool,
    /// When one that failed is begun again.
    again_at: Option<Instant>,
    stop: Stop,
}

impl Drop for Verifying {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl Keeper {
    /// Says that a replay is done: a rebuild once its generation is as far as the log was when it began, a backfill once
    /// all its parts are done. Whoever writes the first partition does; that two of them say so at once changes nothing.
    pub(super) async fn finish(&self, views: &ViewsState) {
        let Some(replay) = views.running() else { return };
        let is_done = match replay.kind {
            ReplayKind::Rebuild => {
                let Some(projector) = self.generations.get(Generation(replay.generation)) else { return };
                self.duties.of(0).projects && self.is_filled(replay, &projector).await
            }
            ReplayKind::Backfill => self.duties.of(0).projects && self.is_backfilled(replay),
        };
        if !is_done {
            return;
        }
        let event = ReplayFinished { replay: i32::try_from(replay.number).unwrap_or(i32::MAX) };
        // Two processes that see it at once say the same.
        let recorder = self.recorder();
        let event_id = recorder.event_id("finish", &replay.number.to_string());
        match recorder.change(event_id, event.into()).await {
            Ok(()) => {
                tracing::info!(replay = replay.number, generation = replay.generation, "a replay is finished")
            }
            Err(error) => tracing::warn!(replay = replay.number, %error, "its end cannot be recorded yet"),
        }
    }

    /// Whether a generation holds what the log held when its replay began.
    async fn is_filled(&self, replay: &ReplayState, projector: &Projector) -> bool {
        let holds = |ends: &[i64]| {
            (0_u32..).zip(ends).all(|(partition, end)| projector.applied_offset(partition) + 1 >= *end)
        };
        if holds(&replay.ends) {
            return true;
        }
        // A log that was restored as of an earlier time ends before that. It is asked for once nothing is left to fill.
        let is_followed = (self.standings.lock())
            .range((replay.generation, 0)..=(replay.generation, u32::MAX))
            .all(|(_, standing)| standing.follows());
        let Materials { log, topic, partitions, .. } = &self.materials;
        if !is_followed {
            return false;
        }
        let Ok(now) = lag::ends(log, topic, *partitions).await else { return false };
        let ends: Vec<_> = replay.ends.iter().zip(now).map(|(end, now)| now.min(*end)).collect();
        holds(&ends)
    }

    /// Lets a generation be read whose rebuild was to end so, once it is near its log and no row differs from it.
    pub(super) async fn activate_by_itself(&self, views: &ViewsState, kept: &mut Kept) {
        let waiting = views.replays.values().rev().find(|replay| {
            let generation = views.generations.get(&replay.generation);
            replay.activates
                && replay.status == ReplayStatus::Finished
                && generation.is_some_and(|generation| generation.activated_at_us.is_none())
        });
        let Some(replay) = waiting.filter(|_| self.duties.of(0).projects) else {
            // What was found by then is not what is there once it is asked for again.
            kept.verifying = None;
            return;
        };
        let generation = replay.generation;
        let verifying = match &mut kept.verifying {
            Some(verifying) if verifying.generation == generation => verifying,
            _ => {
                kept.verifying = Some(self.verify(generation));
                return;
            }
        };
        let report = match verifying.report.try_recv() {
            Ok(Some(report)) => report,
            Err(oneshot::error::TryRecvError::Empty) => return,
            // Once told, it has said what it had to say.
            Err(oneshot::error::TryRecvError::Closed) if verifying.is_told => return,
            Ok(None) | Err(oneshot::error::TryRecvError::Closed) => {
                // Whatever was away may be back.
                let again = verifying.again_at.get_or_insert_with(|| Instant::now() + AGAIN_AFTER);
                if *again <= Instant::now() {
                    kept.verifying = None;
                }
                return;
            }
        };
        verifying.is_told = true;
        if !report.is_clean() {
            let difference = report.differences.first();
            tracing::error!(
                generation,
                differences = report.difference_count,
                ?difference,
                "a generation was filled and differs from the log: it does not become the active one"
            );
            return;
        }
        // It is asked for again when it is nearer.
        let Some(lag) = self.lag(generation).await else {
            kept.verifying = None;
            return;
        };
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let event = GenerationActivated {
            generation: number(generation),
            replaces: number(views.active),
            lag: i64::try_from(lag).unwrap_or(i64::MAX),
            compared_rows: i64::try_from(report.compared_rows()).unwrap_or(i64::MAX),
        };
        let event_id = EventId::random(self.clock.random_16());
        match self.recorder().change(event_id, event.into()).await {
            Ok(()) => tracing::info!(generation, "a rebuilt generation becomes the active one by itself"),
            Err(error) => {
                tracing::warn!(generation, %error, "a rebuilt generation cannot become the active one yet");
                kept.verifying = None;
            }
        }
    }

    /// How many records a generation is behind its log; `None` if that is too many in a partition, or cannot be told.
    async fn lag(&self, generation: u32) -> Option<u64> {
        let projector = self.generations.get(Generation(generation))?;
        let Materials { log, topic, partitions, .. } = &self.materials;
        let ends = lag::ends(log, topic, *partitions).await.ok()?;
        let applied = (0..*partitions).map(|partition| projector.applied_offset(partition));
        lag::lag(&ends, applied, self.lag_max).ok()
    }

    /// Begins to compare a generation with the log.
    fn verify(&self, generation: u32) -> Verifying {
        let views = self.materials.views(generation);
        let held = self.generations.get(Generation(generation)).map(verify::held);
        let stop = Stop::default();
        let options =
            VerifyOptions { differences_max: 1, held, stop: stop.clone(), ..VerifyOptions::default() };
        let (sender, report) = oneshot::channel();
        let work = async move {
            let report = match verify::verify_with(&views, &options).await {
                Ok(report) => Some(report),
                Err(VerifyError::Stopped) => None,
                Err(error) => {
                    tracing::error!(generation, %error, "a filled generation cannot be compared with the log yet");
                    None
                }
            };
            // Whoever stopped meanwhile needs no report.
            let _ = sender.send(report);
        };
        if !self.materials.has_threads {
            tokio::spawn(work);
        } else if let Err(error) = thread::spawn("verify", work) {
            tracing::error!(generation, %error, "a filled generation cannot be compared with the log yet");
        }
        Verifying { generation, report, is_told: false, again_at: None, stop }
    }
}
