//! Lines of a batch for other datacenters: sent there as batches of their own, under the numbers they have here, so
//! that a retry of the whole batch makes the same events of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tidewheel_api::{Code, Problem};
use tidewheel_schemas::Name;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::forward::{Forwarder, Neighbour, Outgoing};

/// The content type of lines that begin with their number and a space. Datacenters speak it among themselves.
const NUMBERED: &str = "application/vnd.tidewheel.numbered-lines";
/// Room for a number and the space behind it.
pub(super) const NUMBER_BYTES_MAX: usize = 21;
/// Most bytes of the answers to one batch that is sent on.
const ANSWERS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Whether the lines of a request are numbered: those that another datacenter sent on.
pub(super) fn is_numbered(headers: &HeaderMap) -> bool {
    Forwarder::is_forwarded(headers) && headers.get(CONTENT_TYPE).is_some_and(|value| value == NUMBERED)
}

/// Takes the number off a line.
pub(super) fn numbered(line: &Bytes) -> Option<(usize, Bytes)> {
    let space = line.iter().take(NUMBER_BYTES_MAX).position(|byte| *byte == b' ')?;
    let number = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    Some((number, line.slice(space + 1..)))
}

/// What another datacenter said of the lines it was sent.
pub(super) struct Answers {
    lines: BTreeMap<usize, Box<RawValue>>,
    /// The problem of the lines it said nothing of.
    missing: Box<RawValue>,
}

/// A line's problem, as another datacenter worded it.
#[derive(Serialize)]
struct Refused<'a> {
    line: usize,
    problem: &'a RawValue,
}

/// As much of an answer as must be understood here.
#[derive(Deserialize)]
struct Numbered {
    line: usize,
}

impl Answers {
    fn none(problem: &Problem) -> Self {
        Self { lines: BTreeMap::new(), missing: to_raw_value(problem).unwrap_or_default() }
    }

    /// Writes the answer to one line.
    pub(super) fn write(&self, line: usize, out: &mut Vec<u8>) {
        match self.lines.get(&line) {
            Some(answer) => out.extend_from_slice(answer.get().as_bytes()),
            None => {
                let refused = Refused { line, problem: &self.missing };
                out.extend_from_slice(&serde_json::to_vec(&refused).unwrap_or_default());
            }
        }
        out.push(b'\n');
    }
}

/// Lines on their way to another datacenter.
pub(super) struct Sent(JoinHandle<Answers>);

impl Sent {
    pub(super) async fn answers(self) -> Answers {
        self.0.await.unwrap_or_else(|error| {
            Answers::none(&Problem::new(Code::Internal, format!("forwarding the line failed: {error}")))
        })
    }
}

/// The way of one batch to other datacenters: what is sent to one of them arrives in order.
#[derive(Default)]
pub(super) struct Lanes(BTreeMap<Name, oneshot::Receiver<()>>);

impl Lanes {
    /// Sends lines to `to`, after those it was sent before. `head` is that of the whole batch.
    pub(super) fn send(
        &mut self,
        forwarder: &Forwarder,
        to: &Arc<Neighbour>,
        head: &Parts,
        lines: &[(usize, Bytes)],
    ) -> Sent {
        let mut body = Vec::new();
        for (number, line) in lines {
            body.extend_from_slice(format!("{number} ").as_bytes());
            body.extend_from_slice(line);
            body.push(b'\n');
        }
        let mut head = head.clone();
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(NUMBERED));
        let (done, next) = oneshot::channel();
        let before = self.0.insert(to.name.clone(), next);
        let (forwarder, to) = (forwarder.clone(), Arc::clone(to));
        Sent(tokio::spawn(async move {
            if let Some(before) = before {
                // Whether it succeeded or not, it is over.
                let _ = before.await;
            }
            let answers = send(&forwarder, &to, &head, body.into()).await;
            let _ = done.send(());
            answers.unwrap_or_else(|problem| Answers::none(&problem))
        }))
    }
}

async fn send(
    forwarder: &Forwarder,
    to: &Arc<Neighbour>,
    head: &Parts,
    body: Bytes,
) -> Result<Answers, Problem> {
    let request = Outgoing::new(to, head, body)
        .ok_or_else(|| Problem::new(Code::RouteNotFound, "there is no such route in that datacenter"))?;
    let (status, whole) = forwarder.forward_whole(to, request, ANSWERS_BYTES_MAX).await?;
    let unanswered = || to.unanswered(true, "its answer is not whole");
    if !status.is_success() {
        let missing = serde_json::from_slice(&whole).map_err(|_| {
            to.unanswered(true, &format!("it answers {status} and not in the words of this API"))
        })?;
        return Ok(Answers { lines: BTreeMap::new(), missing });
    }
    let read = |text: &[u8]| {
        let answer: Box<RawValue> = serde_json::from_slice(text).ok()?;
        let Numbered { line } = serde_json::from_str(answer.get()).ok()?;
        Some((line, answer))
    };
    let lines = whole.split(|byte| *byte == b'\n').filter_map(read).collect();
    Ok(Answers { lines, ..Answers::none(&unanswered()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_taken_off_and_the_line_stays_as_it_was() {
        let line = |text: &'static str| numbered(&Bytes::from_static(text.as_bytes()));
        assert_eq!(line(r#"17 {"a": 1}"#), Some((17, Bytes::from_static(br#"{"a": 1}"#))));
        for text in ["", "17", "x {}", "-1 {}", r#"{"workflow":"a b"}"#, "99999999999999999999999 {}"] {
            assert_eq!(line(text), None, "{text}");
        }
    }
}
