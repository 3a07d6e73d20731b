//! Answers that stay open: they end, with a problem in their own form, when the token they were asked with does.

use std::future::Future;
use std::pin::Pin;

use axum::body::{Body, BodyDataStream};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::CONTENT_TYPE;

use crate::problem::Problem;

/// Resolves when an answer must end.
pub(super) type Over = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Guarded {
    data: BodyDataStream,
    over: Over,
    last: Bytes,
}

/// Ends the answer once `over` resolves, if it is one that stays open.
pub(super) fn guarded(response: Response, over: Over, problem: &Problem) -> Response {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let json = serde_json::to_string(problem).unwrap_or_default();
    let last = match content_type {
        Some("text/event-stream") => format!("event: problem\ndata: {json}\n\n"),
        Some("application/x-ndjson") => format!("{{\"line\":0,\"problem\":{json}}}\n"),
        _ => return response,
    };
    let (parts, body) = response.into_parts();
    let guarded = Guarded { data: body.into_data_stream(), over, last: last.into() };
    let stream = futures::stream::unfold(Some(guarded), |guarded| async move {
        let mut guarded = guarded?;
        tokio::select! {
            biased;
            () = &mut guarded.over => Some((Ok(guarded.last), None)),
            data = guarded.data.next() => data.map(|data| (data, Some(guarded))),
        }
    });
    Response::from_parts(parts, Body::from_stream(stream))
}
