//! What answers when no handler does: unknown routes, wrong methods, panics. All as problems.

#![expect(clippy::unused_async, reason = "axum takes handlers that are async")]

use std::any::Any;

use axum::response::{IntoResponse, Response};
use http::{Method, Uri};
use tower_http::catch_panic::CatchPanicLayer;

use crate::code::Code;
use crate::problem::Problem;

/// Answers a path that no route has; for `Router::fallback`.
pub async fn not_found(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(Code::RouteNotFound, format!("there is no route {method} {path}; see /docs")).instance(path)
}

/// Answers a method a route does not take; for `Router::method_not_allowed_fallback`. `Allow` names those it takes.
pub async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(
        Code::MethodNotAllowed,
        format!("{path} does not take {method}; see the Allow header and /docs"),
    )
    .instance(path)
}

/// Turns a panic into a problem.
pub type PanicAnswer = fn(Box<dyn Any + Send + 'static>) -> Response;

/// Answers a handler that panicked with a 500, so that the connection and the others live on.
pub fn catch_panic() -> CatchPanicLayer<PanicAnswer> {
    CatchPanicLayer::custom(answer_panic as PanicAnswer)
}

fn answer_panic(_panic: Box<dyn Any + Send + 'static>) -> Response {
    Problem::new(
        Code::Internal,
        "the request met a fault of ours; whether it changed anything is not known. Retry with the same \
         Idempotency-Key, and report it with the node's log",
    )
    .into_response()
}
