//! Request headers the API gives a meaning to: `Idempotency-Key` and `traceparent`.

use axum::extract::FromRequestParts;
use http::request::Parts;
use tidewheel_schemas::limit::KEY_BYTES_MAX;

use crate::code::Code;
use crate::problem::Problem;

/// Name of the idempotency header.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The request's `Idempotency-Key`, if it has one: 1 to 512 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency(pub Option<Box<str>>);

impl<S: Sync> FromRequestParts<S> for Idempotency {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let refuse =
            |detail: String| Err(Problem::new(Code::InvalidIdempotencyKey, detail).field(IDEMPOTENCY_KEY));
        if values.next().is_some() {
            return refuse("the Idempotency-Key header is given more than once; give one".to_owned());
        }
        match std::str::from_utf8(value.as_bytes()) {
            Ok(text)
                if (1..=KEY_BYTES_MAX).contains(&text.len())
                    && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) =>
            {
                Ok(Self(Some(text.into())))
            }
            _ => {
                refuse(format!("the Idempotency-Key must be 1 to {KEY_BYTES_MAX} printable ASCII characters"))
            }
        }
    }
}

/// The request's W3C trace context, if it has a valid one. As the standard asks, an invalid one is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traceparent(pub Option<String>);

impl<S: Sync> FromRequestParts<S> for Traceparent {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let text = parts.headers.get("traceparent").and_then(|value| value.to_str().ok());
        Ok(Self(text.filter(|text| is_traceparent(text)).map(str::to_owned)))
    }
}

/// Whether a text is a W3C `traceparent` of version 00.
pub fn is_traceparent(text: &str) -> bool {
    let hexadecimal = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let not_zero = |part: &str| part.bytes().any(|byte| byte != b'0');
    if text.len() != 55 || !text.is_ascii() {
        return false;
    }
    let mut parts = text.split('-');
    let (Some(version), Some(trace), Some(parent), Some(flags), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    version == "00"
        && (trace.len(), parent.len(), flags.len()) == (32, 16, 2)
        && [trace, parent, flags].into_iter().all(hexadecimal)
        && not_zero(trace)
        && not_zero(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_is_valid_and_its_deformations_are_not() {
        let valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(valid));
        for invalid in [
            "",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319cb-7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
        ] {
            assert!(!is_traceparent(invalid), "{invalid}");
        }
    }
}
