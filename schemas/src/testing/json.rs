//! An event as JSON, as the frozen fixtures spell it. Not what the HTTP API shows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::codec::older::{ConfigChange, WorkflowEvent};
use crate::{ConfigEvent, Envelope, Event};

/// The event with the field names of its schema: a union's branch is an object with its name as the one key, ids
/// are UUIDs, times are microseconds, bytes are base64.
///
/// # Panics
/// When a number is out of the schema's range.
pub fn to_json(envelope: &Envelope, event: &Event) -> Value {
    spell(WorkflowEvent::try_from((envelope, event)).expect("numbers within the schema's range"))
}

/// As [`to_json`], for an event of the configuration.
///
/// # Panics
/// When a number is out of the schema's range.
pub fn config_to_json(envelope: &Envelope, event: &ConfigEvent) -> Value {
    spell(ConfigChange::try_from((envelope, event)).expect("numbers within the schema's range"))
}

fn spell(record: impl serde::Serialize) -> Value {
    let mut json = serde_json::to_value(record).expect("plain data");
    bytes_as_text(&mut json);
    json
}

fn bytes_as_text(json: &mut Value) {
    if let Some(list) = json.as_array_mut() {
        list.iter_mut().for_each(bytes_as_text);
    } else if let Some(map) = json.as_object_mut() {
        let is_payload = map.len() == 2 && map.contains_key("content_type");
        for (key, value) in map {
            if is_payload && key == "data" {
                let bytes = serde_json::from_value::<Vec<u8>>(value.take()).expect("a list of bytes");
                *value = STANDARD.encode(bytes).into();
            } else {
                bytes_as_text(value);
            }
        }
    }
}
