//! One request on its way to another datacenter: sent, waited for, and what is known when nothing comes back.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use reqwest::{Error, Response, Url};
use tidewheel_api::{Code, DurationParameter, Problem};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::{Forwarder, Neighbour, headers};
use crate::state::{RETRY_AFTER_MS, VERDICT_TIMEOUT};

/// A request as it goes to another datacenter.
pub(crate) struct Outgoing {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
    /// How long an answer may take by what the request asks for.
    patience: Duration,
    /// Whether the request waits or follows, so that it stays for long.
    waits: bool,
}

/// An answer that has begun, and its place among the requests that are forwarded at once.
pub(super) struct Begun {
    pub(super) response: Response,
    pub(super) place: OwnedSemaphorePermit,
}

impl Outgoing {
    /// The request of these parts for `to`; `None` if its path would be another one there.
    pub(crate) fn new(to: &Neighbour, parts: &Parts, body: Bytes) -> Option<Self> {
        let url = there(&to.url, &parts.uri)?;
        let asked = parts.uri.query().and_then(asked_patience);
        let follows = parts.uri.path().ends_with("/events");
        Some(Self {
            method: parts.method.clone(),
            url,
            headers: headers::of_request(&parts.headers, &to.name),
            body,
            patience: asked.unwrap_or(VERDICT_TIMEOUT),
            waits: follows || asked.is_some_and(|asked| asked > VERDICT_TIMEOUT),
        })
    }

    pub(super) const fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn is_mutation(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }
}

/// The URL of what `uri` asks for, at `base`. Dots in a path are resolved by some and not by others: such a path is
/// refused, lest it is another one there.
fn there(base: &Url, uri: &Uri) -> Option<Url> {
    let path = format!("{}{}", base.path().trim_end_matches('/'), uri.path());
    let mut url = base.clone();
    url.set_path(&path);
    url.set_query(uri.query());
    (url.path() == path).then_some(url)
}

/// The longest time that the request asks to be waited.
fn asked_patience(query: &str) -> Option<Duration> {
    form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "wait" || name == "timeout")
        .filter_map(|(_, value)| value.parse::<DurationParameter>().ok())
        .map(|duration| duration.0)
        .max()
}

/// Why a request failed, in the words of whoever noticed first.
pub(super) fn root_cause(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl Forwarder {
    /// Sends a request and waits until its answer begins.
    pub(super) async fn begin(&self, to: &Neighbour, request: Outgoing) -> Result<Begun, Problem> {
        let place = to.admit(request.waits)?;
        let is_mutation = request.is_mutation();
        let patience = request.patience + self.0.limits.answer_slack;
        let asked = timeout(patience, self.ask(to, request));
        let response = tokio::select! {
            biased;
            asked = asked => match asked {
                Ok(asked) => asked?,
                Err(_) => {
                    return Err(to.unanswered(is_mutation, &format!("nothing came within {patience:?}")));
                }
            },
            // What was asked to change something may still be answered before the connections are closed.
            () = self.0.stopping.cancelled(), if !is_mutation => {
                let detail = "the node is stopping; ask again";
                return Err(Problem::new(Code::NotReady, detail).retry_after_ms(RETRY_AFTER_MS));
            }
        };
        to.count("answered");
        Ok(Begun { response, place })
    }

    async fn ask(&self, to: &Neighbour, request: Outgoing) -> Result<Response, Problem> {
        let is_mutation = request.is_mutation();
        let Outgoing { method, url, headers, body, .. } = request;
        // A kept connection may be closed from the other side just when it is used. Reading twice harms nobody.
        let mut tries_left = if is_mutation { 0 } else { 1 };
        loop {
            let mut request = reqwest::Request::new(method.clone(), url.clone());
            *request.headers_mut() = headers.clone();
            if is_mutation {
                *request.body_mut() = Some(body.clone().into());
            }
            match self.0.client.execute(request).await {
                Ok(response) => return Ok(response),
                Err(error) if error.is_connect() || error.is_builder() => {
                    return Err(to.not_sent(&root_cause(&error)));
                }
                Err(_) if tries_left > 0 => tries_left -= 1,
                Err(error) => return Err(to.unanswered(is_mutation, &root_cause(&error))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_the_same_there_or_the_request_is_not_forwarded() {
        let base: Url = "http://beta:7400/tidewheel/".parse().unwrap();
        let url = |text: &'static str| there(&base, &Uri::from_static(text)).map(String::from);
        for text in [
            "/v1/namespaces/a/runs/b?x=%2F&y",
            "/v1/namespaces/a%20b/runs/%41",
            "/v1/namespaces/a/runs:batch",
        ] {
            assert_eq!(url(text), Some(format!("http://beta:7400/tidewheel{text}")));
        }
        for text in ["/v1/namespaces/../runs/b", "/v1/namespaces/%2e%2E/runs/b", "/v1/namespaces/./runs"] {
            assert_eq!(url(text), None, "{text}");
        }
    }

    #[test]
    fn an_answer_may_take_as_long_as_the_request_asks_for() {
        assert_eq!(asked_patience("timeout=2s&wait=3m&limit=4"), Some(Duration::from_secs(180)));
        assert_eq!(asked_patience("timeout=nonsense"), None);
    }
}
