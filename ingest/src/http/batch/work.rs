//! The work of one batch: chunks of lines are prepared, appended once per partition, and answered in order.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use futures::future::join_all;
use http::request::Parts;
use tidewheel_api::body::JSON_BODY_BYTES_MAX;
use tidewheel_api::waiting::VerdictWaiter;
use tidewheel_api::{Code, Principal, Problem};
use tidewheel_engine::Verdict;
use tidewheel_log::{Appended, Appending};
use tidewheel_schemas::limit::RECORD_BYTES_MAX;
use tidewheel_schemas::{Name, NewRecord, RunId};
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::elsewhere::{self, Lanes, NUMBER_BYTES_MAX, Sent};
use super::lines::{Line, Lines};
use super::{BATCH_LINES_MAX, LineAnswer};
use crate::forward::{Forwarder, Neighbour};
use crate::start::Start;
use crate::state::Ingest;
use crate::submit::{Asker, Prepared, append_failed, refusal};

/// Most lines of one chunk.
const CHUNK_LINES_MAX: usize = 1_000;

/// A chunk takes no further line once it holds this many bytes.
const CHUNK_BYTES_MAX: usize = RECORD_BYTES_MAX;

/// Chunks that are on their way to the log or the fold while the next one is read.
const CHUNKS_IN_FLIGHT_MAX: usize = 3;

/// Lines for another datacenter, by their numbers.
type Portion = (Arc<Neighbour>, Vec<(usize, Bytes)>);

pub(super) struct Work {
    pub(super) ingest: Ingest,
    pub(super) namespace: Name,
    pub(super) principal: Principal,
    pub(super) idempotency_key: Option<Box<str>>,
    pub(super) traceparent: Option<String>,
    /// The head of the request, for lines that go to other datacenters.
    pub(super) head: Parts,
    /// Has room for every answer.
    pub(super) answers: mpsc::Sender<Bytes>,
}

/// A line that was read.
enum Read {
    Refused(Problem),
    Here(Prepared),
    There(Arc<Neighbour>, Bytes),
}

impl From<Result<Prepared, Problem>> for Read {
    fn from(prepared: Result<Prepared, Problem>) -> Self {
        prepared.map_or_else(Self::Refused, Self::Here)
    }
}

/// A line on its way.
enum Pending {
    Refused(Problem),
    Sent(Name),
    Appended { run_id: RunId, partition: u32, index: usize, waiter: VerdictWaiter },
}

/// Lines that were submitted together.
struct Chunk {
    lines: Vec<(usize, Pending)>,
    appends: BTreeMap<u32, Appending>,
    /// By datacenter.
    sent: Vec<(Name, Sent)>,
    began: Instant,
}

/// Lines that are read but not submitted.
struct Reading {
    lines: Vec<(usize, Read)>,
    bytes: usize,
}

impl Work {
    /// Reads the body to its end; nobody waits for it but who reads the answers.
    pub(super) async fn run(self, body: Body) {
        let is_numbered = elsewhere::is_numbered(&self.head.headers);
        let number_bytes_max = if is_numbered { NUMBER_BYTES_MAX } else { 0 };
        let mut lines = Lines::new(body, JSON_BODY_BYTES_MAX + number_bytes_max);
        let mut lanes = Lanes::default();
        let mut flying = VecDeque::new();
        let mut number = 0;
        let mut count = 0;
        let mut over = false;
        let mut lines_before = 0;
        while !over {
            let mut reading = Reading { lines: Vec::with_capacity(lines_before), bytes: 0 };
            // The client may be waiting for answers before it sends more.
            let mut next = match lines.ready() {
                Some(line) => line,
                None => {
                    while let Some(chunk) = flying.pop_front() {
                        self.settle(chunk).await;
                    }
                    lines.next().await
                }
            };
            loop {
                number += 1;
                over = !self.read(next, is_numbered, number, &mut count, &mut reading);
                if over || reading.lines.len() >= CHUNK_LINES_MAX || reading.bytes >= CHUNK_BYTES_MAX {
                    break;
                }
                match lines.ready() {
                    Some(line) => next = line,
                    None => break,
                }
            }
            lines_before = reading.lines.len();
            if self.answers.is_closed() {
                return;
            }
            if flying.len() >= CHUNKS_IN_FLIGHT_MAX
                && let Some(chunk) = flying.pop_front()
            {
                self.settle(chunk).await;
            }
            flying.push_back(self.submit(reading, &mut lanes));
        }
        for chunk in flying {
            self.settle(chunk).await;
        }
    }

    /// Takes one line; false if it was the last.
    fn read(
        &self,
        line: Line,
        is_numbered: bool,
        place: usize,
        count: &mut usize,
        reading: &mut Reading,
    ) -> bool {
        let mut number = place;
        let read = match line {
            Line::End => return false,
            Line::Broken(problem) => {
                reading.lines.push((number, Read::Refused(problem)));
                return false;
            }
            Line::Text(text) if text.trim_ascii().is_empty() => return true,
            Line::Text(_) | Line::TooLong if *count >= BATCH_LINES_MAX => {
                let detail = format!(
                    "a batch has at most {BATCH_LINES_MAX} lines; this one and all after it were not read, send them as another batch"
                );
                reading.lines.push((number, Read::Refused(Problem::new(Code::BatchTooLong, detail))));
                return false;
            }
            Line::TooLong => Read::Refused(Problem::new(
                Code::BodyTooLarge,
                format!("the line is over the limit of {JSON_BODY_BYTES_MAX} bytes; send less"),
            )),
            Line::Text(text) => {
                reading.bytes += text.len();
                if is_numbered {
                    match elsewhere::numbered(&text) {
                        Some((own, text)) => {
                            number = own;
                            self.prepare(text, number)
                        }
                        None => Read::Refused(Problem::new(
                            Code::MalformedRequest,
                            "a line that was sent on must begin with its number",
                        )),
                    }
                } else {
                    self.prepare(text, number)
                }
            }
        };
        *count += 1;
        reading.lines.push((number, read));
        true
    }

    fn prepare(&self, text: Bytes, number: usize) -> Read {
        let is_forwarded = Forwarder::is_forwarded(&self.head.headers);
        let request = match self.ingest.read_start(&self.namespace, &text, is_forwarded) {
            Ok(Start::Here(request)) => request,
            Ok(Start::There(to)) => return Read::There(to, text),
            Err(problem) => return Read::Refused(problem),
        };
        let asker = Asker {
            namespace: &self.namespace,
            principal: self.principal.clone(),
            traceparent: self.traceparent.clone(),
            idempotency_key: self.idempotency_key.as_deref().map(|key| Cow::Owned(format!("{key}#{number}"))),
        };
        self.ingest.prepare_start(&asker, request, &text).into()
    }

    fn submit(&self, reading: Reading, lanes: &mut Lanes) -> Chunk {
        let mut elsewhere: BTreeMap<Name, Portion> = BTreeMap::new();
        let mut records: BTreeMap<u32, Vec<NewRecord>> = BTreeMap::new();
        let began = Instant::now();
        let admitted = self.ingest.admit();
        let lines = reading
            .lines
            .into_iter()
            .map(|(number, read)| {
                let prepared = match read {
                    Read::Here(prepared) => Ok(prepared),
                    Read::Refused(problem) => Err(problem),
                    Read::There(to, text) => {
                        let name = to.name.clone();
                        let (_, lines) = elsewhere.entry(name.clone()).or_insert_with(|| (to, Vec::new()));
                        lines.push((number, text));
                        return (number, Pending::Sent(name));
                    }
                };
                let pending = prepared.and_then(|prepared| {
                    admitted.clone()?;
                    let Prepared { run_id, event_id, partition, record } = prepared;
                    self.ingest.position(partition, 0)?;
                    let batch = records.entry(partition).or_default();
                    let index = batch.len();
                    batch.push(record);
                    let waiter = self.ingest.0.waiting.expect(event_id);
                    Ok(Pending::Appended { run_id, partition, index, waiter })
                });
                (number, pending.unwrap_or_else(Pending::Refused))
            })
            .collect();
        // Every waiter is registered by now, so no verdict is missed.
        let append = |(partition, batch)| (partition, self.ingest.0.producer.append(partition, batch));
        let appends = records.into_iter().map(append).collect();
        let forwarder = &self.ingest.0.settings.forwarder;
        let send = |(name, (to, lines)): (Name, (Arc<Neighbour>, Vec<_>))| {
            (name, lanes.send(forwarder, &to, &self.head, &lines))
        };
        Chunk { lines, appends, sent: elsewhere.into_iter().map(send).collect(), began }
    }

    async fn settle(&self, chunk: Chunk) {
        let (partitions, appends): (Vec<u32>, Vec<Appending>) = chunk.appends.into_iter().unzip();
        let outcomes: BTreeMap<u32, Result<Appended, Problem>> = partitions
            .into_iter()
            .zip(join_all(appends).await)
            .map(|(partition, appended)| (partition, appended.map_err(|error| append_failed(&error))))
            .collect();
        let meters = &self.ingest.0.meters;
        meters.append_failed.increment(outcomes.values().filter(|appended| appended.is_err()).count() as u64);
        meters.append_seconds.record(chunk.began.elapsed());
        let mut answers = BTreeMap::new();
        for (name, sent) in chunk.sent {
            answers.insert(name, sent.answers().await);
        }
        let deadline = chunk.began + self.ingest.0.settings.verdict_timeout;
        let mut out = Vec::with_capacity(chunk.lines.len() * 192);
        for (number, pending) in chunk.lines {
            let answer = match pending {
                Pending::Refused(problem) => LineAnswer::problem(number, problem),
                Pending::Sent(name) => {
                    if let Some(answers) = answers.get(&name) {
                        answers.write(number, &mut out);
                    }
                    continue;
                }
                Pending::Appended { run_id, partition, index, mut waiter } => {
                    match outcomes.get(&partition) {
                        Some(Ok(appended)) => {
                            let offset = appended.offset(index);
                            let judged = self.judge(&mut waiter, partition, offset, deadline).await;
                            let (outcome, status, position, problem) = judged;
                            LineAnswer {
                                line: number,
                                run_id: Some(run_id),
                                outcome,
                                status,
                                position,
                                problem,
                            }
                        }
                        Some(Err(problem)) => LineAnswer {
                            run_id: Some(run_id),
                            ..LineAnswer::problem(number, problem.clone())
                        },
                        None => LineAnswer::problem(
                            number,
                            Problem::new(Code::Internal, "the line was appended nowhere; report this"),
                        ),
                    }
                }
            };
            if serde_json::to_writer(&mut out, &answer).is_ok() {
                out.push(b'\n');
            }
        }
        // There is room for every chunk, so this waits for nobody; an error means that nobody listens any more.
        let _ = self.answers.send(out.into()).await;
    }

    async fn judge(
        &self,
        waiter: &mut VerdictWaiter,
        partition: u32,
        offset: i64,
        deadline: Instant,
    ) -> (Option<&'static str>, Option<&'static str>, Option<tidewheel_schemas::Position>, Option<Problem>)
    {
        let meters = &self.ingest.0.meters;
        meters.appended.increment(1);
        let position = match self.ingest.position(partition, offset) {
            Ok(position) => position,
            Err(problem) => return (None, None, None, Some(problem)),
        };
        let Ok(outcome) = timeout_at(deadline.into(), waiter.at(offset)).await else {
            meters.pending.increment(1);
            return (Some("pending"), None, Some(position), None);
        };
        meters.count(outcome.verdict);
        if let Some(problem) = refusal(outcome.verdict, position) {
            return (None, None, Some(position), Some(problem));
        }
        let word = match outcome.verdict {
            Verdict::Parked => "parked",
            Verdict::Skipped => "pending",
            Verdict::Duplicate(_) => "duplicate",
            Verdict::Accepted | Verdict::Rejected(_) | Verdict::Stale => "accepted",
        };
        (Some(word), outcome.run.map(|run| run.status.as_str()), Some(position), None)
    }
}
