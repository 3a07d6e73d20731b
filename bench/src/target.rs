//! Who is measured: the requests that mean the same to Tidewheel and to a peer, and what their answers must say.

use std::fmt::Write as _;

use serde_json::json;

use crate::http::{Answer, HttpError, Server};
use crate::load::Wrong;

/// Longer than an operation that is still of interest takes.
const WAIT: &str = "30s";

/// A server and how it is spoken to.
#[derive(Debug, Clone)]
pub enum Target {
    /// Tidewheel.
    Tidewheel {
        /// Its API.
        api: Server,
    },
    /// Restate with the worker of `bench/peers/restate`.
    Restate {
        /// Its ingress.
        ingress: Server,
        /// Where the worker tells the ids of awakeables.
        awakeables: Server,
    },
}

/// Steps per workflow that Restate's worker has handlers for.
pub const RESTATE_STEPS: [u32; 4] = [0, 1, 3, 9];

impl Target {
    /// A Tidewheel server by its address.
    ///
    /// # Errors
    /// When it is no address.
    pub fn tidewheel(url: &str) -> Result<Self, HttpError> {
        Ok(Self::Tidewheel { api: Server::new(url)? })
    }

    /// The same target, asked with an access token; Restate is not asked with one.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        match self {
            Self::Tidewheel { api } => Self::Tidewheel { api: api.with_token(token) },
            restate @ Self::Restate { .. } => restate,
        }
    }

    /// Where most requests go.
    pub const fn server(&self) -> &Server {
        match self {
            Self::Tidewheel { api } => api,
            Self::Restate { ingress, .. } => ingress,
        }
    }

    /// Starts a workflow that is not waited for.
    pub fn start(&self, payload: &str) -> Vec<u8> {
        match self {
            Self::Tidewheel { api } => api.post(
                "/v1/namespaces/default/runs",
                &json!({"workflow": "wait", "input": payload}).to_string(),
            ),
            Self::Restate { ingress, .. } => {
                ingress.post("/Bench/steps0/send?delay=10h", &json!(payload).to_string())
            }
        }
    }

    /// The answer to [`Target::start`] must name what was started.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_started(&self, answer: &Answer<'_>) -> Result<(), Wrong> {
        let (status, named) = match self {
            // 202 would be a start whose verdict is not known.
            Self::Tidewheel { .. } => (201, answer.contains(b"\"run_id\":\"")),
            Self::Restate { .. } => {
                (202, answer.contains(b"\"invocationId\":\"") && answer.contains(b"\"Accepted\""))
            }
        };
        if answer.status == status && named { Ok(()) } else { Err(Wrong::answer(answer)) }
    }

    /// Starts a workflow of `steps` steps that returns `payload`, and waits for its result.
    pub fn steps(&self, steps: u32, payload: &str) -> Vec<u8> {
        match self {
            Self::Tidewheel { api } => {
                let body = json!({"workflow": "steps", "input": {"steps": steps, "payload": payload}});
                api.post(&format!("/v1/namespaces/default/runs?wait={WAIT}"), &body.to_string())
            }
            Self::Restate { ingress, .. } => {
                ingress.post(&format!("/Bench/steps{steps}"), &json!(payload).to_string())
            }
        }
    }

    /// What stands in the answer of a workflow that returned `payload`.
    pub fn returned(&self, payload: &str) -> Vec<u8> {
        match self {
            Self::Tidewheel { .. } => format!("\"output\":\"{payload}\"").into_bytes(),
            Self::Restate { .. } => format!("\"{payload}\"").into_bytes(),
        }
    }

    /// A workflow must have completed and said `returned`.
    ///
    /// # Errors
    /// When it has not.
    pub fn check_returned(&self, answer: &Answer<'_>, returned: &[u8]) -> Result<(), Wrong> {
        let is_right = match self {
            Self::Tidewheel { .. } => {
                answer.contains(b"\"status\":\"completed\"") && answer.contains(returned)
            }
            Self::Restate { .. } => answer.body == returned,
        };
        if answer.status == 200 && is_right { Ok(()) } else { Err(Wrong::answer(answer)) }
    }
}

/// The body of a batch of `lines` starts of `wait`, one a line.
pub fn batch(lines: usize, payload: &str) -> String {
    let line = json!({"workflow": "wait", "input": payload}).to_string();
    let mut body = String::with_capacity(lines * (line.len() + 1));
    for _ in 0..lines {
        let _ = writeln!(body, "{line}");
    }
    body
}

/// Asks Tidewheel for the result of a run, and waits for it.
pub fn result(api: &Server, run_id: &str) -> Vec<u8> {
    api.get(&format!("/v1/namespaces/default/runs/{run_id}/result?timeout={WAIT}"))
}

/// Signals a waiting run of Tidewheel.
pub fn signal(api: &Server, run_id: &str, payload: &str) -> Vec<u8> {
    let body = json!({"name": "go", "payload": payload}).to_string();
    api.post(&format!("/v1/namespaces/default/runs/{run_id}/signals"), &body)
}
