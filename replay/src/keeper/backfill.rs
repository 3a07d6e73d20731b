//! Backfills: this process's parts of them, one after the other. What a part does is said in `backfill`.
//!
//! A part is a partition. Whoever projects it does it, and records that it is done; until then nothing is, and whoever
//! takes the partition over begins it anew. That two processes believe they do the same part costs nothing: both write
//! what the log says, at the same timestamps.

use std::sync::Arc;

use tidewheel_engine::Rejection;
use tidewheel_engine::config::views::{MENDINGS_MAX, ReplayKind, ReplayState, ReplayStatus, ViewsState};
use tidewheel_schemas::event::{ReplayCancelled, ReplayProgressed, ViewsMended};
use tidewheel_store::Generation;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::recorder::{RecordError, Recorder};
use super::{AGAIN_AFTER, Keeper, Kept, STALLED_AFTER};
use crate::backfill::{Backfill, BackfillError, Done, Number, Part};
use crate::pace::SpeedSender;
use crate::selection::Selection;
use crate::share::Standing;
use crate::verify::{self, Stop};

/// How often a number for a mending is asked for that somebody else takes first.
const NUMBERS_TRIED: u32 = 2 * MENDINGS_MAX;

/// A part at work, or one that rests after a failure.
pub(super) struct Working {
    replay: u32,
    partition: u32,
    stop: Stop,
    speed: SpeedSender,
    standing: Standing,
    task: Option<JoinHandle<()>>,
    /// When it is begun again, unless it was done.
    again_at: Option<Instant>,
    reported: bool,
}

impl Drop for Working {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl Working {
    /// Stops it and waits until it has.
    pub(super) async fn end(mut self) {
        self.stop.stop();
        if let Some(task) = self.task.take() {
            // It reports its failure itself.
            let _ = task.await;
        }
    }

    /// Says once that it does not come further.
    fn report_stall(&mut self) {
        let still_for = self.standing.still_for();
        if still_for < STALLED_AFTER {
            self.reported = false;
        } else if !std::mem::replace(&mut self.reported, true) {
            tracing::warn!(
                replay = self.replay,
                partition = self.partition,
                offset = self.standing.next_offset(),
                still_for_s = still_for.as_secs(),
                reason = self.standing.failure(),
                "a part of a backfill has stalled"
            );
        }
    }
}

impl Keeper {
    /// Whether every part of a backfill is done.
    pub(super) fn is_backfilled(&self, replay: &ReplayState) -> bool {
        let selection = Selection::new(Arc::clone(&replay.scope), self.materials.partitions);
        selection.is_ok_and(|selection| selection.parts().iter().all(|part| replay.done.contains_key(part)))
    }

    /// Carries out the parts that are this process's, and stops what is not its own any more.
    pub(super) fn backfill(&self, views: &ViewsState, kept: &mut Kept) {
        let replay = views.running().filter(|replay| replay.kind == ReplayKind::Backfill);
        if let Some(working) = &mut kept.backfill {
            let is_ours = replay.is_some_and(|replay| {
                replay.number == working.replay
                    && !replay.done.contains_key(&working.partition)
                    && self.duties.of(working.partition).projects
            });
            match replay.filter(|_| is_ours) {
                Some(replay) => self.look_after(replay, working),
                None => working.stop.stop(),
            }
            let is_resting = working.again_at.is_some_and(|at| is_ours && at > Instant::now());
            if working.task.as_ref().is_some_and(|task| !task.is_finished()) || is_resting {
                return;
            }
            kept.backfill = None;
            self.parts.lock().clear();
        }
        let Some(replay) = replay.filter(|replay| replay.status == ReplayStatus::Running) else { return };
        let Some((selection, partition)) = self.next_part(replay) else { return };
        let Some(projector) = self.generations.get(Generation(replay.generation)) else { return };
        let speed = SpeedSender::new();
        speed.set(self.speed(replay));
        let (stop, standing) = (Stop::default(), Standing::default());
        let end = replay.ends.get(partition as usize).copied().unwrap_or(0);
        let backfill = Backfill {
            views: self.materials.views(replay.generation),
            selection,
            held: Some(verify::held(projector)),
            pace: Some(speed.pace()),
        };
        let part = Part { backfill, partition, end, stop: stop.clone(), standing: standing.clone() };
        self.parts.lock().insert((replay.number, partition), standing.clone());
        let work = done(part, replay.number, replay.generation, self.recorder());
        // Folding is work for a processor, and those who serve requests need theirs.
        let task = if self.materials.has_threads {
            let runtime = tokio::runtime::Handle::current();
            tokio::task::spawn_blocking(move || runtime.block_on(work))
        } else {
            tokio::spawn(work)
        };
        kept.backfill = Some(Working {
            replay: replay.number,
            partition,
            stop,
            speed,
            standing,
            task: Some(task),
            again_at: None,
            reported: false,
        });
    }

    fn look_after(&self, replay: &ReplayState, working: &mut Working) {
        let speed = self.speed(replay);
        if speed.paused {
            working.standing.rests();
        }
        working.speed.set(speed);
        working.report_stall();
        if working.task.take_if(|task| task.is_finished()).is_some() {
            // What was done is no part of this process any more as soon as the configuration says so.
            working.again_at = Some(Instant::now() + AGAIN_AFTER);
        }
    }

    /// The first part that is this process's and not done.
    fn next_part(&self, replay: &ReplayState) -> Option<(Selection, u32)> {
        let selection = match Selection::new(Arc::clone(&replay.scope), self.materials.partitions) {
            Ok(selection) => selection,
            Err(error) => {
                tracing::debug!(replay = replay.number, %error, "a backfill is left to a newer build");
                return None;
            }
        };
        let is_next = |partition: &u32| {
            !replay.done.contains_key(partition)
                && self.duties.of(*partition).projects
                && self.generations.has_owner(*partition)
        };
        let partition = selection.parts().into_iter().find(is_next)?;
        Some((selection, partition))
    }
}

/// Carries a part out, and records that it is done.
async fn done(part: Part, replay: u32, generation: u32, recorder: Recorder) {
    let partition = part.partition;
    let number: Number = {
        let recorder = recorder.clone();
        Arc::new(move || {
            let recorder = recorder.clone();
            Box::pin(async move { number(&recorder, replay, generation).await })
        })
    };
    let ended = match part.carry_out(&number).await {
        Ok(done) => record(&recorder, replay, partition, done).await.map_err(|error| error.to_string()),
        Err(error) if error.is_stop() => return,
        // What nobody looked at is not done, and looking again would not get further.
        Err(error @ BackfillError::NotCompared { .. }) => {
            Err(give_up(&recorder, replay, error.to_string()).await)
        }
        Err(error) if error.is_transient() => {
            tracing::warn!(replay, partition, %error, "a part of a backfill cannot be done for now, trying again");
            Err(error.to_string())
        }
        Err(error) => {
            tracing::error!(replay, partition, %error, "a part of a backfill cannot be done");
            Err(error.to_string())
        }
    };
    if let Err(why) = ended {
        part.standing.fails(why);
    }
}

/// Records that a part is done.
async fn record(recorder: &Recorder, replay: u32, partition: u32, done: Done) -> Result<(), RecordError> {
    let event = ReplayProgressed {
        replay: integer(replay),
        partition: integer(partition),
        done: 1,
        rows: i64::try_from(done.rows).unwrap_or(i64::MAX),
    };
    let event_id = recorder.event_id("progress", &format!("{replay}/{partition}"));
    match recorder.change(event_id, event.into()).await {
        Ok(()) => {
            let Done { rows, left } = done;
            tracing::info!(replay, partition, rows, left, "a part of a backfill is done");
            Ok(())
        }
        // Another process did it too, or it was cancelled meanwhile.
        Err(RecordError::Refused(Rejection::VersionConflict | Rejection::ReplayEnded)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The number of the mending of a backfill: the one that was taken for it, by whoever had a row to write first. A
/// backfill for which none is left is cancelled, since nobody can carry it out.
async fn number(recorder: &Recorder, replay: u32, generation: u32) -> Result<u8, String> {
    for _ in 0..NUMBERS_TRIED {
        let views = recorder.views();
        let Some(running) = views.running().filter(|running| running.number == replay) else {
            return Err("the backfill has ended".to_owned());
        };
        let number = |number: u32| u8::try_from(number).map_err(|_| "there is no such mending".to_owned());
        if let Some(taken) = running.mending {
            return number(taken);
        }
        let next = views.generations.get(&generation).map_or(0, |state| state.mendings).saturating_add(1);
        if next > MENDINGS_MAX {
            let reason = format!(
                "generation {generation} was mended {MENDINGS_MAX} times, which is as often as it can be; rebuild it: \
                 tidewheel replay run rebuild --cutover"
            );
            return Err(give_up(recorder, replay, reason).await);
        }
        let event = ViewsMended { generation: integer(generation), number: integer(next) };
        let event_id = ViewsState::mending_id(&recorder.datacenter, replay, next);
        match recorder.change(event_id, event.into()).await {
            Ok(()) => return number(next),
            // Somebody else took it, for this backfill or for a mend of their own.
            Err(RecordError::Refused(Rejection::VersionConflict)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("others take every number first".to_owned())
}

/// Cancels a backfill that nobody can carry out.
async fn give_up(recorder: &Recorder, replay: u32, reason: String) -> String {
    let event = ReplayCancelled { replay: integer(replay), reason: reason.clone() };
    let event_id = recorder.event_id("give-up", &replay.to_string());
    if let Err(error) = recorder.change(event_id, event.into()).await {
        tracing::warn!(replay, %error, "a backfill that nobody can carry out cannot be cancelled yet");
    }
    reason
}

fn integer(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
