//! The one table of which route needs which role. A route that is not in it needs an admin of every namespace.

use http::Method;

use super::role::Role;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: the route tells nothing of anybody's data.
    Nothing,
    /// One of these roles, or admin, in the namespace of the path if it has one, else in any.
    Role(&'static [Role]),
    /// One of these roles, or admin, in every namespace.
    Everywhere(&'static [Role]),
}

use Role::{Admin, Operator, Producer, Reader, Runner};

const STARTS: Need = Need::Role(&[Producer]);
const SIGNALS: Need = Need::Role(&[Producer, Operator]);
const STEERS: Need = Need::Role(&[Operator]);
/// What who started a run needs to learn its fate.
const READS_ONE: Need = Need::Role(&[Producer, Operator, Reader]);
const READS: Need = Need::Role(&[Operator, Reader]);
const ANY: Need = Need::Role(&[Producer, Operator, Reader, Runner]);
const ADMINISTERS: Need = Need::Role(&[Admin]);

/// Method, path and need. Reading a path needs the same with `HEAD` as with `GET`.
const TABLE: &[(&str, &str, Need)] = &[
    ("GET", "/health/live", Need::Nothing),
    ("GET", "/health/ready", Need::Nothing),
    ("GET", "/docs", Need::Nothing),
    ("GET", "/openapi.json", Need::Nothing),
    ("GET", "/metrics", READS),
    ("GET", "/v1/status", READS_ONE),
    ("POST", "/v1/fold", Need::Everywhere(&[Admin])),
    ("GET", "/v1/replays", Need::Everywhere(&[Admin])),
    ("POST", "/v1/replays", Need::Everywhere(&[Admin])),
    ("GET", "/v1/parked", Need::Everywhere(&[Admin])),
    ("POST", "/v1/replays:plan", Need::Everywhere(&[Admin])),
    ("POST", "/v1/replays/{replay}/pause", Need::Everywhere(&[Admin])),
    ("POST", "/v1/replays/{replay}/resume", Need::Everywhere(&[Admin])),
    ("POST", "/v1/replays/{replay}/rate", Need::Everywhere(&[Admin])),
    ("POST", "/v1/replays/{replay}/cancel", Need::Everywhere(&[Admin])),
    ("POST", "/v1/generations/{generation}/activate", Need::Everywhere(&[Admin])),
    ("POST", "/v1/generations/{generation}/drop", Need::Everywhere(&[Admin])),
    ("POST", "/v1/replay/verify", Need::Everywhere(&[Admin])),
    ("GET", "/v1/replay/archive", Need::Everywhere(&[Admin])),
    ("POST", "/v1/replay/archive", Need::Everywhere(&[Admin])),
    ("POST", "/v1/replay/archive/verify", Need::Everywhere(&[Admin])),
    ("POST", "/v1/replay/archive/trim", Need::Everywhere(&[Admin])),
    ("GET", "/v1/namespaces", ANY),
    ("GET", "/v1/namespaces/{ns}", ANY),
    ("POST", "/v1/namespaces", Need::Everywhere(&[Admin])),
    ("GET", "/v1/tokens", ADMINISTERS),
    ("POST", "/v1/tokens", ADMINISTERS),
    ("GET", "/v1/tokens/{token_id}", ADMINISTERS),
    ("POST", "/v1/tokens/{token_id}/rotate", ADMINISTERS),
    ("POST", "/v1/tokens/{token_id}/revoke", ADMINISTERS),
    ("POST", "/v1/namespaces/{ns}/runs", STARTS),
    ("POST", "/v1/namespaces/{ns}/runs:batch", STARTS),
    ("POST", "/v1/namespaces/{ns}/runs/{run_id}/signals", SIGNALS),
    ("POST", "/v1/namespaces/{ns}/runs/{run_id}/cancel", STEERS),
    ("POST", "/v1/namespaces/{ns}/runs/{run_id}/terminate", STEERS),
    ("POST", "/v1/namespaces/{ns}/runs/{run_id}/resume", STEERS),
    ("POST", "/v1/namespaces/{ns}/runs/{run_id}/unpark", STEERS),
    ("GET", "/v1/namespaces/{ns}/runs", READS),
    ("GET", "/v1/namespaces/{ns}/runs/{run_id}", READS_ONE),
    ("GET", "/v1/namespaces/{ns}/runs/{run_id}/result", READS_ONE),
    ("GET", "/v1/namespaces/{ns}/runs/{run_id}/history", READS),
    ("GET", "/v1/namespaces/{ns}/runs/{run_id}/events", READS_ONE),
    ("GET", "/v1/namespaces/{ns}/runs/{run_id}/past", READS),
    ("GET", "/v1/namespaces/{ns}/runs/{run_id}/past/diff", READS),
    ("GET", "/v1/namespaces/{ns}/runs/{run_id}/records", READS),
    ("GET", "/v1/namespaces/{ns}/past", READS),
    ("GET", "/v1/namespaces/{ns}/rejections", READS_ONE),
];

/// What a request to this route needs; `path` is the route's, with its parameters' names.
pub fn need(method: &Method, path: &str) -> Need {
    let asked = if method == Method::HEAD { "GET" } else { method.as_str() };
    if let Some((_, _, need)) = TABLE.iter().find(|(method, known, _)| *method == asked && *known == path) {
        return *need;
    }
    // Who reads the log needs its schemas, whatever else they do.
    if asked == "GET" && (path == "/schemas" || path.starts_with("/schemas/")) {
        return ANY;
    }
    Need::Everywhere(&[Admin])
}

/// Whether the route is in the table by name.
pub fn is_listed(method: &Method, path: &str) -> bool {
    need(method, path) != Need::Everywhere(&[Admin])
        || TABLE.iter().any(|(known_method, known, _)| *known_method == method.as_str() && *known == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_nobody_listed_needs_an_admin_of_everything() {
        assert_eq!(need(&Method::GET, "/v1/new"), Need::Everywhere(&[Admin]));
        assert_eq!(need(&Method::DELETE, "/health/live"), Need::Everywhere(&[Admin]));
        assert!(!is_listed(&Method::GET, "/v1/new") && is_listed(&Method::POST, "/v1/namespaces"));
    }

    #[test]
    fn a_head_request_needs_what_a_get_needs() {
        assert_eq!(need(&Method::HEAD, "/health/live"), Need::Nothing);
        assert_eq!(need(&Method::HEAD, "/v1/namespaces/{ns}/runs"), READS);
    }
}
