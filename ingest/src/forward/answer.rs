//! The answer of another datacenter, handed on: short ones whole, so that a broken one is told as a problem, longer
//! ones and streams as they come.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Limited};
use tidewheel_api::Problem;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::outgoing::{Begun, root_cause};
use super::{Forwarder, Neighbour, Outgoing, headers};

/// Answers up to this length are read whole before they are handed on.
const WHOLE_BYTES_MAX: u64 = 64 * 1024;

impl Forwarder {
    /// Has a request answered by `to`.
    pub(crate) async fn forward(&self, to: &Arc<Neighbour>, request: Outgoing) -> Response {
        let is_mutation = request.is_mutation();
        let is_head = request.method() == Method::HEAD;
        let begun = match self.begin(to, request).await {
            Ok(begun) => begun,
            Err(problem) => return problem.into_response(),
        };
        let Begun { response, place } = begun;
        let (mut parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        headers::keep_end_to_end(&mut parts.headers);
        if is_head {
            // A body of no known length: one known to be empty would be announced as such.
            let nothing = futures::stream::empty::<Result<Bytes, io::Error>>();
            return Response::from_parts(parts, Body::from_stream(nothing));
        }
        if length(&parts.headers).is_some_and(|length| length <= WHOLE_BYTES_MAX) {
            return match timeout(self.0.limits.idle_timeout, body.collect()).await {
                Ok(Ok(whole)) => Response::from_parts(parts, Body::from(whole.to_bytes())),
                Ok(Err(error)) => to.unanswered(is_mutation, &root_cause(&error)).into_response(),
                Err(_) => to.unanswered(is_mutation, "its answer broke off").into_response(),
            };
        }
        let is_events = is_event_stream(&parts.headers);
        let relay = Relay {
            stream: body.into_data_stream().boxed(),
            idle_timeout: self.0.limits.idle_timeout,
            stopping: self.0.stopping.clone(),
            to: Arc::clone(to),
            is_mutation,
            is_events,
            is_between_events: true,
            line_ends: 0,
            ended: false,
            _place: place,
        };
        Response::from_parts(parts, Body::from_stream(futures::stream::unfold(relay, Relay::next)))
    }

    /// Has a request answered by `to` and reads the answer whole, up to `bytes_max`.
    pub(crate) async fn forward_whole(
        &self,
        to: &Arc<Neighbour>,
        request: Outgoing,
        bytes_max: usize,
    ) -> Result<(http::StatusCode, Bytes), Problem> {
        let is_mutation = request.is_mutation();
        let Begun { response, place: _place } = self.begin(to, request).await?;
        let status = response.status();
        let mut body = Limited::new(http::Response::<reqwest::Body>::from(response).into_body(), bytes_max);
        let mut whole = Vec::new();
        loop {
            match timeout(self.0.limits.idle_timeout, body.frame()).await {
                Ok(Some(Ok(frame))) => whole.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Ok(None) => return Ok((status, whole.into())),
                // What came before is as good as a whole answer to those it is about.
                Ok(Some(Err(_))) | Err(_) if !whole.is_empty() && status.is_success() => {
                    to.count("broken_off");
                    return Ok((status, whole.into()));
                }
                Ok(Some(Err(error))) => return Err(to.unanswered(is_mutation, &error.to_string())),
                Err(_) => return Err(to.unanswered(is_mutation, "its answer broke off")),
            }
        }
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.trim_start().starts_with("text/event-stream"))
}

/// An answer being handed on, part by part.
struct Relay {
    stream: BoxStream<'static, reqwest::Result<Bytes>>,
    idle_timeout: Duration,
    stopping: CancellationToken,
    to: Arc<Neighbour>,
    is_mutation: bool,
    is_events: bool,
    /// Whether what was handed on so far ends where an event ends.
    is_between_events: bool,
    /// Line ends that what was handed on so far ends with.
    line_ends: usize,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Relay {
    async fn next(mut self) -> Option<(Result<Bytes, io::Error>, Self)> {
        if self.ended {
            return None;
        }
        let part = tokio::select! {
            biased;
            part = timeout(self.idle_timeout, self.stream.next()) => part,
            // As the followers of this datacenter's own runs.
            () = self.stopping.cancelled(), if self.is_events => return None,
        };
        let error = match part {
            Ok(None) => return None,
            Ok(Some(Ok(part))) => {
                self.watch(&part);
                return Some((Ok(part), self));
            }
            Ok(Some(Err(error))) => io::Error::other(root_cause(&error)),
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "the other datacenter fell silent"),
        };
        self.ended = true;
        let problem = self.to.unanswered(self.is_mutation, &error.to_string());
        // A torn event must not be taken for a whole one, so then only the connection can say it.
        if self.is_events && self.is_between_events {
            let problem = serde_json::to_string(&problem).unwrap_or_default();
            return Some((Ok(format!("event: problem\ndata: {problem}\n\n").into()), self));
        }
        Some((Err(error), self))
    }

    fn watch(&mut self, part: &[u8]) {
        let line_ends = part.iter().rev().take_while(|byte| **byte == b'\n').count();
        self.line_ends = if line_ends == part.len() { self.line_ends + line_ends } else { line_ends };
        self.is_between_events = self.line_ends >= 2;
    }
}
