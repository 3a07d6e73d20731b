//! The HTTP client of producers: start, signal, cancel and read runs. Retries what may be retried, with one key.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidewheel_schemas::RunId;
use uuid::Uuid;

pub use answer::{CommandAnswer, RunAnswer, RunFailure};

/// How often one request is sent at most.
const ATTEMPTS_MAX: u32 = 6;
/// Longest wait between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest time for one attempt, on top of the time the server was asked to wait.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server's address is no URL that paths can be added to.
    #[error("`{0}` is no address of a server; expected one such as http://127.0.0.1:7400")]
    Address(String),
    /// No answer, however often it was tried. A mutation may have happened all the same.
    #[error("no answer after {attempts} attempts; a mutation may have happened, ask again with the same key")]
    Unreachable {
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        source: reqwest::Error,
    },
    /// The server refused.
    #[error("{code} ({status}): {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The problem's stable code, such as `run_not_found`.
        code: String,
        /// What happened and what to do.
        detail: String,
    },
    /// The access token holds characters that no token has.
    #[error("the access token is none; it begins with twk_")]
    Token,
    /// The input or payload cannot be written as JSON.
    #[error("the value cannot be written as JSON")]
    Unwritable(#[source] serde_json::Error),
    /// The answer is not what this client reads.
    #[error("the answer cannot be read")]
    Unreadable(#[source] serde_json::Error),
}

/// What to start.
#[derive(Debug, Clone, Serialize)]
pub struct Start<'a, I: ?Sized> {
    /// Which workflow.
    pub workflow: &'a str,
    /// The run's key: starting twice with one key starts once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The workflow's argument.
    pub input: &'a I,
    /// Words to find the run by.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub tags: std::collections::BTreeMap<String, String>,
    /// The datacenter the run shall live in; its namespace's home if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datacenter: Option<&'a str>,
}

impl<'a, I: ?Sized> Start<'a, I> {
    /// A run without key and tags, in its namespace's home.
    pub fn new(workflow: &'a str, input: &'a I) -> Self {
        Self { workflow, key: None, input, tags: std::collections::BTreeMap::new(), datacenter: None }
    }
}

/// A request's body, shared by its attempts.
type Body = Arc<[u8]>;

#[derive(Serialize)]
struct Signal<'a, T: ?Sized> {
    name: &'a str,
    payload: &'a T,
}

#[derive(Serialize)]
struct End<'a> {
    reason: &'a str,
}

/// A client of one namespace on one server. Cloning shares its connections.
///
/// Every mutation carries an `Idempotency-Key` of its own, kept across retries, so that none happens twice. Answers
/// 429 and 503 and failed connections are retried up to six times, at growing intervals or when the server says.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// A client of `namespace` on the server at `address`, such as `http://127.0.0.1:7400`.
    ///
    /// # Errors
    /// When `address` is no URL, or no HTTP client can be made.
    pub fn new(address: &str, namespace: &str) -> Result<Self, ClientError> {
        let invalid = || ClientError::Address(address.chars().take(200).collect());
        let mut base = Url::parse(address).map_err(|_| invalid())?;
        base.path_segments_mut().map_err(|()| invalid())?.pop_if_empty().extend([
            "v1",
            "namespaces",
            namespace,
            "runs",
        ]);
        Ok(Self { http: reqwest::Client::new(), base })
    }

    /// The same client with an access token, which every request carries.
    ///
    /// # Errors
    /// When the token holds characters that no token has, or no HTTP client can be made.
    pub fn with_token(self, token: &str) -> Result<Self, ClientError> {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
        // Shown nowhere, not even in debug output.
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let http = reqwest::Client::builder().default_headers(headers).build();
        Ok(Self { http: http.map_err(|source| ClientError::Unreachable { attempts: 0, source })?, ..self })
    }

    /// Starts a run, durably. With `wait` the answer comes once the run has ended or the time is up.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn start<I: Serialize + ?Sized>(
        &self,
        start: &Start<'_, I>,
        wait: Option<Duration>,
    ) -> Result<RunAnswer, ClientError> {
        let body = encode(start)?;
        let query: Vec<_> = wait.map(|wait| ("wait", milliseconds(wait))).into_iter().collect();
        self.send(Method::POST, self.base.clone(), &query, Some(body), wait).await
    }

    /// A run as it stands.
    ///
    /// # Errors
    /// See [`ClientError`]; `run_not_found` among the refusals.
    pub async fn get(&self, run_id: RunId) -> Result<RunAnswer, ClientError> {
        self.send(Method::GET, self.url(run_id, None), &[], None, None).await
    }

    /// A run once it has ended, or as it stands when `timeout` is over.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn result(&self, run_id: RunId, timeout: Duration) -> Result<RunAnswer, ClientError> {
        let query = [("timeout", milliseconds(timeout))];
        self.send(Method::GET, self.url(run_id, Some("result")), &query, None, Some(timeout)).await
    }

    /// Sends a signal to a run.
    ///
    /// # Errors
    /// See [`ClientError`]; `run_finished` among the refusals.
    pub async fn signal<T: Serialize + ?Sized>(
        &self,
        run_id: RunId,
        name: &str,
        payload: &T,
    ) -> Result<CommandAnswer, ClientError> {
        self.command(run_id, "signals", encode(&Signal { name, payload })?).await
    }

    /// Asks a run to stop; its compensations run.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cancel(&self, run_id: RunId, reason: &str) -> Result<CommandAnswer, ClientError> {
        self.command(run_id, "cancel", encode(&End { reason })?).await
    }

    /// Ends a run at once; none of its code runs.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn terminate(&self, run_id: RunId, reason: &str) -> Result<CommandAnswer, ClientError> {
        self.command(run_id, "terminate", encode(&End { reason })?).await
    }

    /// Tries a parked run again with the code now deployed.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn resume(&self, run_id: RunId) -> Result<CommandAnswer, ClientError> {
        self.command(run_id, "resume", Arc::from(*b"{}")).await
    }

    /// One page of runs as the API answers it. `query` holds filters and cursor, such as `("status", "failed")`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn list(&self, query: &[(&str, String)]) -> Result<Value, ClientError> {
        self.send(Method::GET, self.base.clone(), query, None, None).await
    }

    /// One page of a run's history as the API answers it; `query` may hold a cursor.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn history(&self, run_id: RunId, query: &[(&str, String)]) -> Result<Value, ClientError> {
        self.send(Method::GET, self.url(run_id, Some("history")), query, None, None).await
    }

    async fn command(&self, run_id: RunId, what: &str, body: Body) -> Result<CommandAnswer, ClientError> {
        self.send(Method::POST, self.url(run_id, Some(what)), &[], Some(body), None).await
    }

    fn url(&self, run_id: RunId, what: Option<&str>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(&run_id.to_string()).extend(what);
        }
        url
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        url: Url,
        query: &[(&str, String)],
        body: Option<Body>,
        wait: Option<Duration>,
    ) -> Result<T, ClientError> {
        // With a time in it, which spares a start its lookup.
        let key = Uuid::now_v7().to_string();
        let mut pause = Duration::from_millis(100);
        let mut attempt = 1;
        loop {
            let timeout = ATTEMPT_TIMEOUT.saturating_add(wait.unwrap_or_default());
            let mut request = self.http.request(method.clone(), url.clone()).query(query).timeout(timeout);
            if let Some(body) = &body {
                let json = request.header("content-type", "application/json");
                request = json.header("idempotency-key", &key).body(body.to_vec());
            }
            let last = attempt == ATTEMPTS_MAX;
            let answered = async {
                let response = request.send().await?;
                let (status, retry_after) = (response.status(), retry_after(&response));
                Ok::<_, reqwest::Error>((status, retry_after, response.bytes().await?))
            };
            match answered.await {
                Ok((status, _, bytes)) if status.is_success() => {
                    return serde_json::from_slice(&bytes).map_err(ClientError::Unreadable);
                }
                Ok((status, retry_after, _)) if is_transient(status) && !last => {
                    pause = retry_after.unwrap_or(pause);
                }
                Ok((status, _, bytes)) => return Err(refused(status, &bytes)),
                Err(source) if last || source.is_builder() => {
                    return Err(ClientError::Unreachable { attempts: attempt, source });
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause.min(PAUSE_MAX)).await;
            pause = (pause * 2).min(PAUSE_MAX);
            attempt += 1;
        }
    }
}

fn is_transient(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE
}

fn retry_after(response: &reqwest::Response) -> Option<Duration> {
    let text = response.headers().get("retry-after")?.to_str().ok()?;
    text.parse().ok().map(Duration::from_secs)
}

fn refused(status: StatusCode, body: &[u8]) -> ClientError {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |field: &str| problem.get(field).and_then(Value::as_str).map(str::to_owned);
    ClientError::Refused {
        status: status.as_u16(),
        code: text("code").unwrap_or_else(|| "unknown".to_owned()),
        detail: text("detail").unwrap_or_else(|| String::from_utf8_lossy(body).chars().take(400).collect()),
    }
}

/// Written once, so that every attempt sends the same bytes, with keys in the caller's order.
fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Body, ClientError> {
    serde_json::to_vec(value).map(Body::from).map_err(ClientError::Unwritable)
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_in_no_debug_output() {
        let client = Client::new("http://127.0.0.1:1", "default").unwrap().with_token("twk_secret").unwrap();
        assert!(!format!("{client:?}").contains("twk_secret"));
        let client = Client::new("http://127.0.0.1:1", "default").unwrap();
        assert!(matches!(client.with_token("a\nb"), Err(ClientError::Token)));
    }
}
