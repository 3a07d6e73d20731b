//! Values to payloads and back: JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidewheel_schemas::payload::CONTENT_TYPE_JSON;
use tidewheel_schemas::{Failure, Payload};

/// A value as a payload; `what` names it in the failure `invalid_<what>`.
pub fn encode<T: Serialize + ?Sized>(value: &T, what: &str) -> Result<Payload, Failure> {
    match serde_json::to_vec(value) {
        Ok(json) => Ok(Payload::json(json)),
        Err(error) => {
            Err(Failure::new(format!("invalid_{what}"), format!("cannot be written as JSON: {error}")))
        }
    }
}

/// A payload as a value; `what` names it in the failure `invalid_<what>`.
pub fn decode<T: DeserializeOwned>(payload: &Payload, what: &str) -> Result<T, Failure> {
    let content_type = payload.content_type.as_str();
    if content_type != CONTENT_TYPE_JSON {
        let message = format!("the {what} is `{content_type}`, expected `{CONTENT_TYPE_JSON}`");
        return Err(Failure::new(format!("invalid_{what}"), message));
    }
    serde_json::from_slice(&payload.data).map_err(|error| {
        let expected = std::any::type_name::<T>();
        Failure::new(format!("invalid_{what}"), format!("the {what} cannot be read as `{expected}`: {error}"))
    })
}
