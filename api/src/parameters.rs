//! Path and query parameters: parsed with the parameter at fault named, unknown ones refused.

use axum::extract::FromRequestParts;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidewheel_schemas::Position;
use tidewheel_schemas::limit::PAGE_ITEMS_MAX;

use crate::body::misfit;
use crate::code::Code;
use crate::problem::Problem;

/// The parts of the path, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Sync + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(failure)) => {
                Err(explain_path(failure.into_kind()))
            }
            Err(rejection) => Err(Problem::new(Code::Internal, rejection.body_text())),
        }
    }
}

fn explain_path(kind: ErrorKind) -> Problem {
    match kind {
        ErrorKind::InvalidUtf8InPathParam { key } => {
            Problem::new(Code::MalformedRequest, format!("`{key}` in the path is not valid UTF-8")).field(key)
        }
        ErrorKind::ParseErrorAtKey { key, value, expected_type } => {
            let value: String = value.chars().take(80).collect();
            Problem::new(
                Code::InvalidParameter,
                format!("`{value}` is not a valid `{key}` ({expected_type})"),
            )
            .field(key)
        }
        ErrorKind::DeserializeError { key, value: _, message } => {
            Problem::new(Code::InvalidParameter, message).field(key)
        }
        other => Problem::new(Code::InvalidParameter, other.to_string()),
    }
}

/// Items of a page unless the request says otherwise.
const PAGE_ITEMS: usize = 100;

/// The number of items a page may have, of which a request asks for `limit`.
///
/// # Errors
/// `invalid_parameter` when it is not from 1 to [`PAGE_ITEMS_MAX`].
pub fn page_items(limit: Option<impl TryInto<usize>>) -> Result<usize, Problem> {
    let limit = limit.map_or(Some(PAGE_ITEMS), |limit| limit.try_into().ok());
    limit.filter(|limit| (1..=PAGE_ITEMS_MAX).contains(limit)).ok_or_else(|| {
        Problem::new(Code::InvalidParameter, format!("`limit` must be from 1 to {PAGE_ITEMS_MAX}"))
            .field("limit")
    })
}

/// The query parameters. `T` should deny unknown fields.
///
/// # Errors
/// `unknown_parameter`, `missing_parameter`, `invalid_parameter`; `invalid_cursor` for `cursor` and
/// `invalid_position` for `at_least`; each names the parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + Send, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parse_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Parses a query string; see [`Query`] for errors.
pub fn parse_query<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_urlencoded::from_str(text).map_err(|error| {
        let deserializer = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text.as_bytes()));
        let path = match serde_path_to_error::deserialize::<_, T>(deserializer) {
            Ok(_) => String::new(),
            Err(error) => error.path().to_string(),
        };
        let invalid = match path.as_str() {
            "cursor" => Code::InvalidCursor,
            "at_least" => Code::InvalidPosition,
            _ => Code::InvalidParameter,
        };
        misfit(&error.to_string(), &path, [Code::UnknownParameter, Code::MissingParameter, invalid])
    })
}

/// The position a read must have reached: the `at_least` parameter, as an earlier answer gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct AtLeast(pub Position);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cursor, DurationParameter};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its parsing matters")]
    struct Parameters {
        wait: Option<DurationParameter>,
        limit: Option<u32>,
        cursor: Option<Cursor>,
        at_least: Option<AtLeast>,
        must: String,
    }

    #[test]
    fn every_bad_parameter_is_named() {
        for (text, code, field) in [
            ("must=1&wiat=3s", "unknown_parameter", "wiat"),
            ("must=1&wait=3", "invalid_parameter", "wait"),
            ("must=1&wait=9m", "invalid_parameter", "wait"),
            ("must=1&limit=x", "invalid_parameter", "limit"),
            ("must=1&limit=1&limit=2", "invalid_parameter", "limit"),
            ("must=1&cursor=abc", "invalid_cursor", "cursor"),
            ("must=1&at_least=abc", "invalid_position", "at_least"),
            ("limit=3", "missing_parameter", "must"),
        ] {
            let problem = parse_query::<Parameters>(text).expect_err(text);
            assert_eq!(problem.code().as_str(), code, "{text}: {problem}");
            assert_eq!(problem.details().field.as_deref(), Some(field), "{text}: {problem}");
            assert_eq!(problem.status(), 422);
        }
        assert!(parse_query::<Parameters>("must=%C3%A4+b&wait=30s&limit=5").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_query_panics(text in ".{0,80}") {
            let _ = parse_query::<Parameters>(&text);
        }
    }
}
