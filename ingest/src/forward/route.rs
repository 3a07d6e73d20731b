//! Which requests are forwarded: those about a run by its id's label, lists by their parameter `datacenter`. Starts are
//! looked into by their own routes, since what they ask for is in their body.

use std::sync::Arc;

use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use tidewheel_api::body::JSON_BODY_BYTES_MAX;
use tidewheel_api::{Code, Problem, read_body};
use tidewheel_schemas::RunId;

use super::headers::FORWARDED;
use super::{Forwarder, Neighbour, Outgoing};
use crate::datacenters::Place;

/// Lists that answer for one datacenter and take the parameter `datacenter`.
const LISTS: &[&str] = &["/v1/namespaces/{ns}/runs", "/v1/namespaces/{ns}/rejections"];
const PARAMETER: &str = "datacenter";

/// Lets a request through to its route, or has it answered by the datacenter that it is about; for
/// `Router::route_layer`, inside of whatever checks who asks.
pub async fn forward(State(forwarder): State<Forwarder>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match forwarder.place(&mut parts).await {
        Err(problem) => problem.into_response(),
        Ok(Place::Here) => next.run(Request::from_parts(parts, body)).await,
        Ok(Place::There(to)) => {
            let body = if matches!(parts.method, Method::GET | Method::HEAD) {
                Bytes::new()
            } else {
                // Whole, and within the limit it has there: so a slow or torn one keeps nothing busy there.
                match read_body(&parts.headers, body, JSON_BODY_BYTES_MAX).await {
                    Ok(body) => body,
                    Err(problem) => return problem.into_response(),
                }
            };
            forwarder.forward_parts(&to, &parts, body).await
        }
    }
}

impl Forwarder {
    /// Whether a request was forwarded by another datacenter.
    pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
        headers.contains_key(FORWARDED)
    }

    /// Has the request of these parts answered by `to`.
    pub(crate) async fn forward_parts(&self, to: &Arc<Neighbour>, parts: &Parts, body: Bytes) -> Response {
        match Outgoing::new(to, parts, body) {
            Some(request) => self.forward(to, request).await,
            None => tidewheel_api::fallback::not_found(parts.method.clone(), parts.uri.clone())
                .await
                .into_response(),
        }
    }

    /// Where a request belongs, as far as its head says.
    async fn place(&self, parts: &mut Parts) -> Result<Place, Problem> {
        let is_forwarded = Self::is_forwarded(&parts.headers);
        if let Some(to) = parts.headers.get(FORWARDED)
            && to.as_bytes() != self.0.map.own.as_bytes()
        {
            return Err(self.mismatch(&String::from_utf8_lossy(to.as_bytes())));
        }
        let path = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str).unwrap_or_default();
        let place = if path.contains("{run_id}") {
            match run_id(parts).await {
                Some(run_id) => self.0.map.of_label(run_id.datacenter())?,
                // The route says best what is wrong with it.
                None => Place::Here,
            }
        } else if LISTS.contains(&path) && matches!(parts.method, Method::GET | Method::HEAD) {
            match asked(parts.uri.query().unwrap_or_default())? {
                Some(name) => {
                    let place = self.0.map.named(&name)?;
                    if matches!(place, Place::Here) {
                        parts.uri = without_parameter(&parts.uri);
                    }
                    place
                }
                None => Place::Here,
            }
        } else {
            Place::Here
        };
        match place {
            Place::There(to) if is_forwarded => Err(self.mismatch(&to.name)),
            place => Ok(place),
        }
    }
}

async fn run_id(parts: &mut Parts) -> Option<RunId> {
    let parameters = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    parameters.iter().find(|(name, _)| *name == "run_id")?.1.parse().ok()
}

/// The datacenter that a query asks for.
fn asked(query: &str) -> Result<Option<String>, Problem> {
    let mut asked = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == PARAMETER)
        .map(|(_, value)| value);
    let first = asked.next();
    if asked.next().is_some() {
        let detail = "`datacenter` is given twice; give it once";
        return Err(Problem::new(Code::InvalidParameter, detail).field(PARAMETER));
    }
    Ok(first.map(std::borrow::Cow::into_owned))
}

/// The same without the parameter, which the route itself does not know.
fn without_parameter(uri: &Uri) -> Uri {
    let Some(query) = uri.query() else { return uri.clone() };
    let is_it = |part: &&str| form_urlencoded::parse(part.as_bytes()).any(|(name, _)| name == PARAMETER);
    let kept: Vec<_> = query.split('&').filter(|part| !is_it(part)).collect();
    let text =
        if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), kept.join("&")) };
    let mut parts = uri.clone().into_parts();
    match text.parse() {
        Ok(path_and_query) => {
            parts.path_and_query = Some(path_and_query);
            Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
        }
        Err(_) => uri.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_is_taken_out_and_the_others_stay_as_they_were() {
        for (uri, rest) in [
            ("/runs?datacenter=alpha", "/runs"),
            ("/runs?tag=a%3Ab&datacenter=alpha&limit=3", "/runs?tag=a%3Ab&limit=3"),
            ("/runs?dat%61center=alpha&x", "/runs?x"),
            ("/runs?datacenters=alpha", "/runs?datacenters=alpha"),
        ] {
            assert_eq!(without_parameter(&Uri::from_static(uri)), Uri::from_static(rest));
        }
        assert_eq!(asked("x=1&dat%61center=b%65ta").unwrap().as_deref(), Some("beta"));
        assert!(asked("datacenter=a&datacenter=b").is_err());
    }
}
