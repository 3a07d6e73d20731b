//! Request bodies: read whole within a limit and a time, parsed with the place of the fault named.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;

use crate::code::Code;
use crate::problem::Problem;

/// How long a body read whole may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Deepest nesting of arrays and objects in a JSON body. Common readers stop at 128; answers add a few levels.
pub const JSON_DEPTH_MAX: usize = 100;

/// Room around a payload for the other fields of its request.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// Largest JSON body, in bytes: the largest payload and room for the other fields.
pub const JSON_BODY_BYTES_MAX: usize = tidewheel_schemas::limit::PAYLOAD_BYTES_MAX + ENVELOPE_BYTES_MAX;

/// A whole body whose content type is JSON. Parsing borrows from it.
#[derive(Debug, Clone)]
pub struct JsonBody(pub Bytes);

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        require_json(&parts.headers)?;
        read_body(&parts.headers, body, JSON_BODY_BYTES_MAX).await.map(Self)
    }
}

/// Refuses a request whose body is not announced as JSON.
pub fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    require_content_type(headers, is_json, "application/json")
}

fn is_json(essence: &str) -> bool {
    essence.eq_ignore_ascii_case("application/json")
        || (essence.len() > 17
            && essence.is_char_boundary(12)
            && essence[..12].eq_ignore_ascii_case("application/")
            && essence.to_ascii_lowercase().ends_with("+json"))
}

/// Refuses a request whose content type is not one of `accepted`, of which `expected` is the text to show.
pub fn require_content_type(
    headers: &HeaderMap,
    accepted: impl Fn(&str) -> bool,
    expected: &'static str,
) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("(unreadable)"));
    let essence = given.map(|text| text.split(';').next().unwrap_or("").trim());
    if essence.is_some_and(accepted) {
        return Ok(());
    }
    let detail = match given {
        Some(given) => {
            let given: String = given.chars().take(80).collect();
            format!("the body's content type is `{given}`; send `{expected}`")
        }
        None => format!("the request names no content type; send `{expected}`"),
    };
    Err(Problem::new(Code::UnsupportedMediaType, detail).field("content-type"))
}

/// Reads a body whole.
///
/// # Errors
/// A problem when it is over `bytes_max`, takes longer than [`BODY_TIMEOUT`], or breaks off.
pub async fn read_body(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            Code::BodyTooLarge,
            format!("the body is over the limit of {bytes_max} bytes; send less"),
        )
    };
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(
            Code::MalformedRequest,
            "the body broke off or was framed wrongly; send the request again as a whole",
        )),
        Err(_) => Err(Problem::new(
            Code::RequestTimeout,
            format!("the body did not arrive within {} s; send it faster", BODY_TIMEOUT.as_secs()),
        )),
    }
}

impl JsonBody {
    /// Parses the body; see [`parse_json`].
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        parse_json(&self.0)
    }

    /// Shares a part of the body that parsing borrowed, without a copy.
    pub fn share(&self, part: &str) -> Bytes {
        share(&self.0, part)
    }
}

/// Shares `part`, which was borrowed from `whole`, without a copy.
pub fn share(whole: &Bytes, part: &str) -> Bytes {
    let (whole_at, part_at) = (whole.as_ptr() as usize, part.as_ptr() as usize);
    match part_at.checked_sub(whole_at) {
        Some(from) if from + part.len() <= whole.len() => whole.slice(from..from + part.len()),
        _ => Bytes::copy_from_slice(part.as_bytes()),
    }
}

/// Parses the text of a JSON object.
///
/// # Errors
/// `invalid_json` (400) with line and column when it is not JSON or nests deeper than [`JSON_DEPTH_MAX`];
/// `unknown_field`, `missing_field` or `invalid_field` (422) naming the field when it does not fit.
pub fn parse_json<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Problem> {
    check_depth(text)?;
    check_object(text)?;
    serde_json::from_slice(text).map_err(|error| explain::<T>(text, &error))
}

fn check_depth(text: &[u8]) -> Result<(), Problem> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > JSON_DEPTH_MAX {
                    let before = &text[..at];
                    let line = before.split(|byte| *byte == b'\n').count();
                    let line_at =
                        before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
                    return Err(Problem::new(
                        Code::InvalidJson,
                        format!("the JSON nests deeper than {JSON_DEPTH_MAX} arrays and objects"),
                    )
                    .place(line, at - line_at + 1));
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses an array: serde would take its elements for the fields in the order in which the code declares them.
fn check_object(text: &[u8]) -> Result<(), Problem> {
    if text.trim_ascii_start().first() != Some(&b'[') {
        return Ok(());
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        Ok(_) => Err(Problem::new(Code::InvalidField, "the body is an array; send an object")),
        Err(syntax) => Err(explain::<serde::de::IgnoredAny>(text, &syntax)),
    }
}

/// Finds the field at fault by parsing again; only errors pay for it.
fn explain<'a, T: Deserialize<'a>>(text: &'a [u8], error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    if error.classify() != serde_json::error::Category::Data {
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        let detail = format!("the body is not valid JSON: {what} at line {line}, column {column}");
        return Problem::new(Code::InvalidJson, detail).place(line, column);
    }
    // A misfit may be found before the text turns out not to be JSON at all, which is the thing to say first.
    if let Err(syntax) = serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        return explain::<serde::de::IgnoredAny>(text, &syntax);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let path = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => String::new(),
        Err(error) => error.path().to_string(),
    };
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or_default();
    misfit(what, &path, [Code::UnknownField, Code::MissingField, Code::InvalidField]).place(line, column)
}

/// Words a serde message: `codes` are those for an unknown, a missing and an invalid member.
pub(crate) fn misfit(what: &str, path: &str, [unknown, missing, invalid]: [Code; 3]) -> Problem {
    let named = |prefix: &str| what.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
    let inside = |name: &str| match path.rsplit_once('.') {
        _ if path == name || path.ends_with(&format!(".{name}")) => path.to_owned(),
        Some((parent, _)) if unknown == Code::UnknownField => format!("{parent}.{name}"),
        _ => name.to_owned(),
    };
    let cut = |text: String| text.chars().take(200).collect::<String>();
    if let Some(name) = named("unknown field `") {
        let known = what.split_once("`, expected ").map_or("", |(_, expected)| expected);
        let field = cut(inside(name));
        let known = known.trim_start_matches("one of ");
        Problem::new(unknown, format!("`{field}` is not known here; known: {known}")).field(field)
    } else if let Some(name) = named("missing field `") {
        Problem::new(missing, format!("`{name}` is missing; give it")).field(name.to_owned())
    } else if let Some(name) = named("duplicate field `") {
        Problem::new(invalid, format!("`{name}` is given twice; give it once")).field(name.to_owned())
    } else {
        let field = if path.is_empty() || path == "." { None } else { Some(cut(path.to_owned())) };
        let detail = match &field {
            Some(field) => format!("`{field}`: {}", cut(what.to_owned())),
            None => cut(what.to_owned()),
        };
        let problem = Problem::new(invalid, detail);
        match field {
            Some(field) => problem.field(field),
            None => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample<'a> {
        #[serde(borrow)]
        #[expect(dead_code, reason = "only its parsing matters")]
        name: std::borrow::Cow<'a, str>,
        #[serde(borrow, default)]
        input: Option<&'a serde_json::value::RawValue>,
        #[serde(default)]
        #[expect(dead_code, reason = "only its parsing matters")]
        tags: std::collections::BTreeMap<String, String>,
    }

    fn problem(text: &str) -> (u16, &'static str, Option<String>) {
        let problem = parse_json::<Sample<'_>>(text.as_bytes()).expect_err(text);
        let details = problem.details();
        (details.status, details.code.as_str(), details.field.clone().map(std::borrow::Cow::into_owned))
    }

    #[test]
    fn every_misfit_names_its_field() {
        let field = |name: &str| Some(name.to_owned());
        assert_eq!(problem(r#"{"name":"a","nmae":1}"#), (422, "unknown_field", field("nmae")));
        assert_eq!(problem(r#"{}"#), (422, "missing_field", field("name")));
        assert_eq!(problem(r#"{"name":1}"#), (422, "invalid_field", field("name")));
        assert_eq!(problem(r#"{"name":"a","tags":{"x":1}}"#), (422, "invalid_field", field("tags.x")));
        assert_eq!(problem(r#"{"name":"a","name":"b"}"#), (422, "invalid_field", field("name")));
        for array in ["[]", r#"["a"]"#, r#" ["a",null,{}]"#] {
            assert_eq!(problem(array), (422, "invalid_field", None));
        }
    }

    #[test]
    fn text_that_is_not_json_is_a_400_with_its_place() {
        assert_eq!(problem("").1, "invalid_json");
        assert_eq!(problem(r#"{"name":1,"#).1, "invalid_json");
        assert_eq!(problem(r#"{"name":"a"} x"#).1, "invalid_json");
        assert_eq!(problem(r#"["a""#).1, "invalid_json");
        let deep = format!(r#"{{"name":"a","input":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert_eq!(problem(&deep).1, "invalid_json");
        let error = parse_json::<Sample<'_>>(b"{\n  \"name\": tru}").unwrap_err();
        assert_eq!((error.details().line, error.details().column), (Some(2), Some(14)));
    }

    #[test]
    fn an_input_is_shared_as_it_was_given() {
        let body = JsonBody(Bytes::from_static(br#"{"name":"a","input": { "x" : 1.0 } }"#));
        let sample: Sample<'_> = body.parse().unwrap();
        assert_eq!(body.share(sample.input.unwrap().get()), &b"{ \"x\" : 1.0 }"[..]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in proptest::prelude::any::<Vec<u8>>()) {
            let _ = parse_json::<Sample<'_>>(&text);
        }
    }
}
