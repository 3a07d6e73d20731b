//! The client of a server's HTTP API that the commands share. What is asked is said by each command.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;

use crate::args::{AccessArguments, ServerArguments};
use crate::failure::Failure;

/// The variable that holds the access token, unless a file is named.
const TOKEN_VARIABLE: &str = "TIDEWHEEL_TOKEN";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than any wait a server grants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(6 * 60);

/// No limit: of what is told line by line, every line says that the server is alive.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Longest line of an answer.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A server.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    server: Url,
}

/// What a server said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status; a success.
    pub status: u16,
    /// The body.
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_str(&self.text).map_err(|error| {
            Failure::Failed(format!("the server's answer is not JSON ({error}): {}", cut(&self.text)))
        })
    }
}

/// A key that makes a request's own repetitions the same change. Its time spares a start its lookup.
pub fn random_key() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The access token in the environment, if there is one.
pub fn token_of_environment() -> Option<String> {
    std::env::var(TOKEN_VARIABLE).ok().map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())
}

impl Client {
    /// A client of `server`, such as `http://127.0.0.1:7400`, with the token that the command line or the environment
    /// names. Does not connect yet.
    pub fn of(server: &str, access: &AccessArguments) -> Result<Self, Failure> {
        let token = match &access.token_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .map_err(|error| Failure::Usage(format!("--token-file {}: {error}", path.display())))?,
            ),
            None => token_of_environment(),
        };
        Self::with_token(server, token.as_deref().map(str::trim).filter(|token| !token.is_empty()))
    }

    /// A client of the server that the command line names, as [`Self::of`].
    pub fn at(arguments: &ServerArguments) -> Result<Self, Failure> {
        Self::of(&arguments.server, &arguments.access)
    }

    /// A client of `server` without a token. Does not connect yet.
    pub fn new(server: &str) -> Result<Self, Failure> {
        Self::with_token(server, None)
    }

    fn with_token(server: &str, token: Option<&str>) -> Result<Self, Failure> {
        let wrong = |what: String| {
            Failure::Usage(format!("--server {server}: {what}; give one such as http://127.0.0.1:7400"))
        };
        let url = Url::parse(server).map_err(|error| wrong(error.to_string()))?;
        if url.scheme() != "http" || url.cannot_be_a_base() {
            return Err(wrong("it must begin with http://".to_owned()));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
                Failure::Usage("the access token holds characters that no token has".to_owned())
            })?;
            // Shown nowhere, not even in debug output.
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .default_headers(headers)
            .no_proxy()
            .build()
            .map_err(|error| Failure::Failed(format!("no HTTP client can be made: {error}")))?;
        Ok(Self { http, server: url })
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.server.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url)
    }

    /// Reads.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, Failure> {
        self.answer(self.request(Method::GET, path, query)).await
    }

    /// Changes something. `idempotency_key` makes a repetition the same change.
    pub async fn post(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: String,
        idempotency_key: &str,
    ) -> Result<Answer, Failure> {
        self.answer(self.post_request(path, query, "application/json", body, idempotency_key)).await
    }

    /// Changes something; the answer is read while it arrives.
    pub async fn post_lines(
        &self,
        path: &str,
        body: String,
        idempotency_key: &str,
    ) -> Result<Lines<'_>, Failure> {
        let request = self.post_request(path, &[], "application/x-ndjson", body, idempotency_key);
        Ok(Lines { client: self, response: self.send(request).await?, rest: Vec::new(), searched: 0 })
    }

    /// As [`Self::post_lines`], for an answer that takes as long as it takes; the request is one JSON object.
    pub async fn follow_lines(
        &self,
        path: &str,
        body: String,
        idempotency_key: &str,
    ) -> Result<Lines<'_>, Failure> {
        let request = self.post_request(path, &[], "application/json", body, idempotency_key);
        let response = self.send(request.timeout(FOLLOW_TIMEOUT)).await?;
        Ok(Lines { client: self, response, rest: Vec::new(), searched: 0 })
    }

    fn post_request(
        &self,
        path: &str,
        query: &[(&str, &str)],
        content_type: &str,
        body: String,
        idempotency_key: &str,
    ) -> RequestBuilder {
        self.request(Method::POST, path, query)
            .header("content-type", content_type)
            .header("idempotency-key", idempotency_key)
            .body(body)
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = self.send(request).await?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        Ok(Answer { status, text })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        Err(refused(status, &text))
    }

    /// The failure of a request that got no whole answer.
    pub fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut reason = String::new();
        let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
        while let Some(error) = cause {
            reason = error.to_string();
            cause = error.source();
        }
        let server = self.server.as_str().trim_end_matches('/');
        Failure::Unreachable(format!(
            "{server} does not answer ({reason}); start a node with `tidewheel dev` or name another with --server"
        ))
    }
}

/// The lines of an answer, read while it arrives.
pub struct Lines<'a> {
    client: &'a Client,
    response: Response,
    rest: Vec<u8>,
    /// Bytes of `rest` that hold no end of a line.
    searched: usize,
}

impl Lines<'_> {
    /// The next line without its end; `None` after the last one. What follows the last end of a line is no line.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some(end) = self.rest[self.searched..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.rest.drain(..=self.searched + end).collect();
                line.pop();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.rest.len();
            if self.searched > LINE_BYTES_MAX {
                return Err(Failure::Failed("the server's answer has a line without an end".to_owned()));
            }
            let part = self.response.chunk().await.map_err(|error| self.client.unreachable(&error))?;
            let Some(part) = part else { return Ok(None) };
            self.rest.extend_from_slice(&part);
        }
    }
}

/// Words a problem: what happened, its code, what to do.
pub fn refused(status: u16, text: &str) -> Failure {
    let problem: Value = serde_json::from_str(text).unwrap_or_default();
    let member = |name: &str| problem.get(name).and_then(Value::as_str);
    let Some(code) = member("code") else {
        return Failure::Refused {
            status,
            code: String::new(),
            text: format!("HTTP {status}: {}", cut(text)),
        };
    };
    Failure::Refused { status, code: code.to_owned(), text: problem_text(&problem) }
}

/// The text of a problem for people.
pub fn problem_text(problem: &Value) -> String {
    let member = |name: &str| problem.get(name).and_then(Value::as_str);
    let mut text = member("title").unwrap_or("The server refused").to_owned();
    if let Some(detail) = member("detail") {
        let _ = write!(text, ": {detail}");
    }
    if let Some(code) = member("code") {
        let _ = write!(text, "\n  code: {code}");
    }
    for (name, title) in [("field", "field"), ("position", "position")] {
        if let Some(value) = member(name) {
            let _ = write!(text, "\n  {title}: {value}");
        }
    }
    if let Some(known) = problem.get("known").and_then(Value::as_array) {
        let known: Vec<_> = known.iter().filter_map(Value::as_str).collect();
        let _ = write!(text, "\n  known: {}", known.join(", "));
    }
    if let Some(milliseconds) = problem.get("retry_after_ms").and_then(Value::as_u64) {
        let _ = write!(text, "\n  try again in {milliseconds} ms");
    }
    text
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_worded_with_its_code_and_field() {
        let text = r#"{"title":"A field is missing","detail":"`workflow` is missing; give it","code":"missing_field","field":"workflow","status":422}"#;
        let failure = refused(422, text);
        assert!(matches!(&failure, Failure::Refused { status: 422, code, .. } if code == "missing_field"));
        assert_eq!(
            failure.to_string(),
            "A field is missing: `workflow` is missing; give it\n  code: missing_field\n  field: workflow"
        );
    }

    #[test]
    fn an_answer_of_something_else_is_shown_as_it_is() {
        assert_eq!(refused(502, "bad gateway").to_string(), "HTTP 502: bad gateway");
    }

    #[test]
    fn a_token_is_in_no_debug_output() {
        let client = Client::with_token("http://127.0.0.1:1", Some("twk_secret")).unwrap();
        assert!(!format!("{client:?}").contains("twk_secret"));
        assert!(matches!(Client::with_token("http://127.0.0.1:1", Some("a\nb")), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_server_that_is_no_http_address_is_refused() {
        for server in ["localhost", "https://127.0.0.1", "mailto:a@b", ""] {
            assert!(matches!(Client::new(server), Err(Failure::Usage(_))), "{server}");
        }
    }
}
