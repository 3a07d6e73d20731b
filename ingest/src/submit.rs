//! From events to judged records: identity, append, the fold's verdict, and what to say when one of them fails.

use std::borrow::Cow;
use std::time::Instant;

use futures::FutureExt;
use tidewheel_api::waiting::{Follower, Outcome};
use tidewheel_api::{Code, Problem, RunAnswer};
use tidewheel_engine::{RunHeader, Verdict};
use tidewheel_log::LogError;
use tidewheel_schemas::codec::{EncodeError, encode};
use tidewheel_schemas::limit::RECORD_BYTES_MAX;
use tidewheel_schemas::partition::partition_for;
use tidewheel_schemas::{Author, Entity, Envelope, Event, EventId, Name, NewRecord, Position, RunId};
use tokio::time::timeout_at;

use crate::state::{Ingest, RETRY_AFTER_MS};

/// Who asks, in which namespace, under which key: what every event of a request shares.
pub(crate) struct Asker<'a> {
    pub(crate) namespace: &'a Name,
    pub(crate) principal: tidewheel_api::Principal,
    pub(crate) traceparent: Option<String>,
    /// With a key, retries of a request are the same event.
    pub(crate) idempotency_key: Option<Cow<'a, str>>,
}

/// An event ready to be appended.
pub(crate) struct Prepared {
    pub(crate) run_id: RunId,
    pub(crate) event_id: EventId,
    pub(crate) partition: u32,
    pub(crate) record: NewRecord,
}

/// A durable record and, if it came in time, what the fold said of it.
pub(crate) struct Judged {
    pub(crate) position: Position,
    pub(crate) outcome: Option<Outcome>,
}

impl Ingest {
    /// Makes a record of an event about a run. `verb` is what the request does, such as `signal`.
    pub(crate) fn prepare(
        &self,
        asker: &Asker<'_>,
        run_id: RunId,
        verb: &str,
        event: &Event,
    ) -> Result<Prepared, Problem> {
        let producer = &self.0.producer;
        let event_id = match &asker.idempotency_key {
            Some(key) => EventId::idempotent(asker.namespace, &format!("{verb}/{run_id}"), key),
            None => EventId::random(producer.random()),
        };
        let envelope = Envelope {
            event_id,
            entity: Entity::Run(run_id),
            namespace: Some(asker.namespace.clone()),
            recorded_at_us: producer.now_us(),
            cause: None,
            traceparent: asker.traceparent.clone(),
            author: Author::Ingest { principal: asker.principal.0.clone() },
        };
        let record = encode(&envelope, event).map_err(|error| unencodable(&error))?;
        let partition = partition_for(&record.key, producer.partitions());
        Ok(Prepared { run_id, event_id, partition, record })
    }

    /// Appends one record, of the event `event_id`, and waits for the fold's verdict on it until `deadline`.
    ///
    /// With a `follower` of the run an accepted record is told of once the run has settled, the deadline has passed
    /// or the node stops: its request has nothing to say before, and each time it is woken costs.
    pub(crate) async fn submit(
        &self,
        partition: u32,
        event_id: EventId,
        record: NewRecord,
        deadline: Instant,
        follower: Option<&mut Follower>,
    ) -> Result<Judged, Problem> {
        self.position(partition, 0)?;
        let began = Instant::now();
        // Before the append: the verdict may come before the append is known to be durable here.
        let mut waiter = self.0.waiting.expect(event_id);
        let appended = self.0.producer.append(partition, vec![record]).await;
        let appended = appended.map_err(|error| {
            self.0.meters.append_failed.increment(1);
            append_failed(&error)
        })?;
        let offset = appended.first();
        self.0.meters.appended.increment(1);
        self.0.meters.append_seconds.record(began.elapsed());
        let is_followed = follower.is_some();
        if let Some(follower) = follower {
            tokio::select! {
                biased;
                _ = waiter.at_unless_accepted(offset) => {}
                _ = timeout_at(deadline.into(), follower.settled()) => {}
                () = self.0.settings.stopping.cancelled() => {}
            }
        }
        let outcome = timeout_at(deadline.into(), waiter.at(offset)).await.ok();
        match &outcome {
            Some(outcome) => {
                // With a follower the verdict was told long before.
                if !is_followed {
                    self.0.meters.verdict_seconds.record(began.elapsed());
                }
                self.0.meters.count(outcome.verdict);
            }
            None => self.0.meters.pending.increment(1),
        }
        Ok(Judged { position: self.position(partition, offset)?, outcome })
    }

    /// The answer for a run as it stands at `position`, with its output if it has one.
    pub(crate) async fn answer(&self, run: &RunHeader, position: Position) -> Result<RunAnswer, Problem> {
        let mut output = None;
        if let (tidewheel_engine::RunStatus::Completed, Some(offset)) = (run.status, run.finished_offset) {
            let reading = self.0.producer.output(position.partition, offset).map(|read| {
                read.map_err(|error| {
                    let detail = format!("the run has ended, but its output cannot be read: {error}");
                    Problem::new(Code::LogUnavailable, detail)
                        .position(Some(position))
                        .retry_after_ms(RETRY_AFTER_MS)
                })
            });
            output = reading.await?;
        }
        Ok(RunAnswer::new(run, output.as_ref(), position))
    }
}

/// The problem a refused record is answered with; `None` if it was not refused.
pub(crate) fn refusal(verdict: Verdict, position: Position) -> Option<Problem> {
    match verdict {
        Verdict::Accepted | Verdict::Duplicate(Ok(())) | Verdict::Parked | Verdict::Skipped => None,
        Verdict::Rejected(rejection) | Verdict::Duplicate(Err(rejection)) => {
            Some(Problem::rejected(rejection).position(Some(position)))
        }
        Verdict::Stale => Some(
            Problem::new(
                Code::Stale,
                "the log did not let the record through; it changed nothing, try again",
            )
            .position(Some(position)),
        ),
    }
}

pub(crate) fn unencodable(error: &EncodeError) -> Problem {
    match error {
        EncodeError::TooLarge { .. } => Problem::new(
            Code::PayloadTooLarge,
            format!("the record would be over the limit of {RECORD_BYTES_MAX} bytes; send less data"),
        ),
        EncodeError::AuthorTooLong { .. }
        | EncodeError::WrongEntity { .. }
        | EncodeError::Unencodable { .. } => Problem::new(Code::InvalidField, error.to_string()),
    }
}

/// What a failed append means for who asked. Only errors that say nothing was appended may say so.
pub(crate) fn append_failed(error: &LogError) -> Problem {
    match error {
        LogError::Overloaded => {
            Problem::new(Code::Overloaded, "the log's queue is full; nothing was appended, try again later")
                .retry_after_ms(RETRY_AFTER_MS)
        }
        LogError::TooLarge { .. } => Problem::new(Code::PayloadTooLarge, error.to_string()),
        LogError::Refused { .. } => {
            Problem::new(Code::LogUnavailable, error.to_string()).retry_after_ms(RETRY_AFTER_MS)
        }
        LogError::UnknownPartition(_)
        | LogError::PartitionCount { .. }
        | LogError::Locked { .. }
        | LogError::Topic(_)
        | LogError::Untrimmable
        | LogError::Options(_) => {
            Problem::new(Code::LogUnavailable, format!("nothing was appended: {error}"))
                .retry_after_ms(RETRY_AFTER_MS)
        }
        LogError::Trimmed { .. }
        | LogError::BeyondEnd { .. }
        | LogError::Damaged { .. }
        | LogError::Failed(_)
        | LogError::Closed
        | LogError::Rewritten { .. }
        | LogError::Unreachable { .. }
        | LogError::Credentials { .. }
        | LogError::Forbidden { .. }
        | LogError::OutcomeUnknown { .. }
        | LogError::Archive { .. }
        | LogError::Io { .. } => Problem::new(
            Code::OutcomeUnknown,
            format!(
                "whether it was appended is not known: {error}. Send it again with the same Idempotency-Key, \
                 which makes it the same event; without one, look first whether it happened"
            ),
        )
        .retry_after_ms(RETRY_AFTER_MS),
    }
}
