//! Problem details (RFC 9457): how every error is told. Which errors there are is said in `code`.

use std::borrow::Cow;
use std::fmt;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::{Serialize, Serializer};
use tidewheel_engine::Rejection;
use tidewheel_schemas::Position;
use utoipa::ToSchema;

use crate::code::Code;

/// The content type of a problem.
pub const CONTENT_TYPE_PROBLEM: &str = "application/problem+json";

/// What went wrong, to which thing, what to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<ProblemDetails>);

/// The document of a [`Problem`].
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDetails {
    /// URI of the problem's type: `urn:tidewheel:problem:` and the code.
    #[serde(rename = "type")]
    pub type_uri: &'static str,
    /// The type's title, the same for every occurrence.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened here, and what to do.
    pub detail: Cow<'static, str>,
    /// A stable word to branch on.
    #[serde(serialize_with = "code_text")]
    #[schema(value_type = String)]
    pub code: Code,
    /// The field, parameter or header at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<Cow<'static, str>>,
    /// The resource it happened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Milliseconds after which to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The fold's reason, where the fold refused an appended record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection: Option<&'static str>,
    /// Where in the log the refused or unjudged record lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub position: Option<Position>,
    /// Line of the fault in the body, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column of the fault in that line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The values that would have been accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<Vec<String>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn code_text<S: Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.as_str())
}

impl Problem {
    /// A problem of this code. `detail` says what happened to which thing and what to do.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(ProblemDetails {
            type_uri: code.type_uri(),
            title: code.title(),
            status: code.status().as_u16(),
            detail: detail.into(),
            code,
            field: None,
            instance: None,
            retry_after_ms: None,
            rejection: None,
            position: None,
            line: None,
            column: None,
            known: None,
        }))
    }

    /// The problem of a record the fold refused, with the rejection's own code and text.
    pub fn rejected(rejection: Rejection) -> Self {
        let mut problem = Self::new(Code::of_rejection(rejection), rejection.to_string());
        problem.0.rejection = Some(rejection.code());
        problem
    }

    /// Names the field, parameter or header at fault.
    pub fn field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Names the resource it happened to.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.0.instance = Some(instance.into());
        self
    }

    /// Says when to try again; also sent as `Retry-After`, in whole seconds.
    pub fn retry_after_ms(mut self, milliseconds: u64) -> Self {
        self.0.retry_after_ms = Some(milliseconds);
        self
    }

    /// Says where in the log the record lies.
    pub fn position(mut self, position: Option<Position>) -> Self {
        self.0.position = position;
        self
    }

    /// Says where in the body the fault is, both from 1.
    pub fn place(mut self, line: usize, column: usize) -> Self {
        self.0.line = Some(line);
        self.0.column = Some(column);
        self
    }

    /// Lists the values that would have been accepted.
    pub fn known(mut self, known: Vec<String>) -> Self {
        self.0.known = Some(known);
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.code.status()
    }

    /// The document.
    pub fn details(&self) -> &ProblemDetails {
        &self.0
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.0.code.as_str(), self.0.detail)
    }
}

impl std::error::Error for Problem {}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE_PROBLEM));
        if let Some(milliseconds) = self.0.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1000)));
        }
        // What is left of a request that was refused half-read must not be taken for the next one.
        if matches!(self.0.code, Code::BodyTooLarge | Code::RequestTimeout) {
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl utoipa::PartialSchema for Problem {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        ProblemDetails::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Problem")
    }
}
