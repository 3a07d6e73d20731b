//! What a process of a cluster answers while log or store are still away: that it lives, and to come again.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use tidewheel_api::{Code, Problem};
use tower::ServiceExt as _;

/// When to try again, milliseconds.
const RETRY_AFTER_MS: u64 = 1_000;

/// A face that is put on later.
#[derive(Clone, Default)]
pub(super) struct Gate(Arc<OnceLock<Router>>);

impl Gate {
    /// The face as it is served from the start.
    pub(super) fn router(&self) -> Router {
        let gate = self.clone();
        Router::new().fallback(move |request: Request| gate.clone().pass(request))
    }

    /// Puts the face on.
    pub(super) fn open(&self, router: Router) {
        // There is one start.
        let _ = self.0.set(router);
    }

    async fn pass(self, request: Request) -> Response {
        match self.0.get() {
            Some(router) => match router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            None if request.uri().path() == "/health/live" => {
                tidewheel_api::json(StatusCode::OK, &serde_json::json!({ "status": "live" }))
            }
            None => {
                Problem::new(Code::NotReady, "the process is starting: its log or its store is not there yet")
                    .retry_after_ms(RETRY_AFTER_MS)
                    .into_response()
            }
        }
    }
}
