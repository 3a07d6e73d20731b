//! The request to start a run: its shape, its limits, the run id it leads to. One of them or a line of a batch.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidewheel_api::body::{parse_json, share};
use tidewheel_api::{Code, Problem};
use tidewheel_schemas::event::RunStarted;
use tidewheel_schemas::limit::{
    KEY_BYTES_MAX, PAYLOAD_BYTES_MAX, TAG_KEY_BYTES_MAX, TAG_VALUE_BYTES_MAX, TAGS_MAX,
};
use tidewheel_schemas::{Name, Payload, RunId};
use utoipa::ToSchema;

use crate::datacenters::Place;
use crate::forward::Neighbour;
use crate::state::Ingest;
use crate::submit::{Asker, Prepared};

/// Asks for a run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StartRun)]
pub struct StartRun<'a> {
    /// Which workflow; a name of 1 to 128 characters out of `a-z A-Z 0-9 . _ -`.
    #[serde(borrow)]
    #[schema(value_type = String, example = "order")]
    workflow: Cow<'a, str>,
    /// A key of 1 to 512 bytes: the run's id derives from it, so that starting twice is one run.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    key: Option<Cow<'a, str>>,
    /// The workflow's argument: any JSON of at most 512 KiB; `null` if absent.
    #[serde(borrow, default)]
    #[schema(value_type = Option<serde_json::Value>)]
    input: Option<&'a RawValue>,
    /// Up to 16 words to find the run by; keys of 1 to 64 bytes, values of at most 256.
    #[serde(default)]
    tags: BTreeMap<String, String>,
    /// The datacenter the run shall live in; its namespace's home if absent. A start for another datacenter than the
    /// one that is asked is forwarded, and acknowledged once it is durable there.
    #[serde(borrow, default)]
    #[schema(value_type = Option<String>)]
    datacenter: Option<Cow<'a, str>>,
}

/// What is to be done about a request to start a run.
pub(crate) enum Start<'a> {
    /// To make a record of it.
    Here(StartRun<'a>),
    /// To have it answered by another datacenter.
    There(Arc<Neighbour>),
}

impl Ingest {
    /// Reads the request to start a run that `body` holds, as far as it must be to tell where it belongs.
    pub(crate) fn read_start<'a>(
        &self,
        namespace: &Name,
        body: &'a Bytes,
        is_forwarded: bool,
    ) -> Result<Start<'a>, Problem> {
        let request: StartRun<'_> = parse_json(body)?;
        let forwarder = &self.0.settings.forwarder;
        match forwarder.of_start(namespace, request.datacenter.as_deref(), is_forwarded)? {
            Place::Here => Ok(Start::Here(request)),
            Place::There(to) => Ok(Start::There(to)),
        }
    }

    /// Makes a record of a request to start a run, which `body` holds.
    pub(crate) fn prepare_start(
        &self,
        asker: &Asker<'_>,
        request: StartRun<'_>,
        body: &Bytes,
    ) -> Result<Prepared, Problem> {
        let workflow = self.workflow(&request.workflow)?;
        let key = request.key.map(Cow::into_owned);
        if let Some(key) = &key {
            check_key(key)?;
        }
        check_tags(&request.tags)?;
        let input = payload(body, request.input, "input")?;
        let (namespace, datacenter) = (asker.namespace, self.0.settings.forwarder.label());
        let run_id = match (&key, &asker.idempotency_key) {
            (Some(key), _) => RunId::keyed(namespace, datacenter, &workflow, key),
            // A retry must lead to the same run.
            (None, Some(key)) => RunId::idempotent(namespace, datacenter, &workflow, key),
            (None, None) => {
                let unix_ms = u64::try_from(self.0.producer.now_us() / 1000).unwrap_or(0);
                let random = self.0.producer.random();
                RunId::fresh(datacenter, unix_ms, std::array::from_fn(|index| random[index]))
            }
        };
        let event = RunStarted { workflow, key, input, tags: request.tags }.into();
        self.prepare(asker, run_id, "start", &event)
    }

    fn workflow(&self, text: &str) -> Result<Name, Problem> {
        let Some(known) = &self.0.settings.workflows else { return name(text, "workflow") };
        if let Some(found) = known.get(text) {
            return Ok(found.clone());
        }
        let asked = name(text, "workflow")?;
        let detail =
            format!("no workflow `{asked}` is registered here; use one of `known` or deploy it first");
        Err(Problem::new(Code::WorkflowNotFound, detail)
            .field("workflow")
            .known(known.iter().map(Name::to_string).collect()))
    }
}

/// Checks the rule of names.
pub(crate) fn name(text: &str, field: &'static str) -> Result<Name, Problem> {
    Name::new(text)
        .map_err(|error| Problem::new(Code::InvalidName, format!("`{field}`: {error}")).field(field))
}

/// The payload a request carries in `field`: the JSON as it was given, sharing the body's memory.
pub(crate) fn payload(body: &Bytes, raw: Option<&RawValue>, field: &'static str) -> Result<Payload, Problem> {
    let Some(raw) = raw else { return Ok(Payload::null()) };
    if raw.get().len() > PAYLOAD_BYTES_MAX {
        let detail = format!(
            "`{field}` has {} bytes, over the limit of {PAYLOAD_BYTES_MAX}; store it elsewhere and pass a reference",
            raw.get().len()
        );
        return Err(Problem::new(Code::PayloadTooLarge, detail).field(field));
    }
    Ok(Payload::json(share(body, raw.get())))
}

fn check_key(key: &str) -> Result<(), Problem> {
    if key.is_empty() || key.chars().any(char::is_control) {
        let detail = "`key` must not be empty and must hold no control characters";
        return Err(Problem::new(Code::InvalidField, detail).field("key"));
    }
    over(key.len(), KEY_BYTES_MAX, "key", "bytes")
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Problem> {
    over(tags.len(), TAGS_MAX, "tags", "tags")?;
    for (key, value) in tags {
        if key.is_empty() || key.chars().chain(value.chars()).any(char::is_control) {
            let detail = "`tags`: keys must not be empty; keys and values must hold no control characters";
            return Err(Problem::new(Code::InvalidField, detail).field("tags"));
        }
        over(key.len(), TAG_KEY_BYTES_MAX, "tags", "bytes in a key")?;
        over(value.len(), TAG_VALUE_BYTES_MAX, "tags", "bytes in a value")?;
    }
    Ok(())
}

/// Refuses a value over its limit.
pub(crate) fn over(found: usize, limit: usize, field: &'static str, what: &str) -> Result<(), Problem> {
    if found <= limit {
        return Ok(());
    }
    let detail = format!("`{field}` has {found} {what}, over the limit of {limit}");
    Err(Problem::new(Code::OverLimit, detail).field(field))
}
