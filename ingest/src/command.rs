//! Requests about an existing run: their shapes and limits. Not how they are answered.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidewheel_api::{Code, JsonBody, Problem};
use tidewheel_schemas::Event;
use tidewheel_schemas::event::{RunCancelRequested, RunResumed, RunSignaled, RunTerminated, RunUnparked};
use tidewheel_schemas::limit::FAILURE_MESSAGE_BYTES_MAX;
use utoipa::ToSchema;

use crate::start::{name, over, payload};

/// A signal for a run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignalRun)]
pub struct SignalRun<'a> {
    /// Which signal; a name of 1 to 128 characters out of `a-z A-Z 0-9 . _ -`.
    #[serde(borrow)]
    #[schema(value_type = String, example = "go")]
    name: Cow<'a, str>,
    /// What it says: any JSON of at most 512 KiB; `null` if absent.
    #[serde(borrow, default)]
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<&'a RawValue>,
}

/// Why a run is to end.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndRun {
    /// The reason, for people; at most 16 KiB.
    #[serde(default)]
    reason: Option<String>,
}

/// Nothing more needs to be said.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeRun {}

/// Which record a run is to go on without.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UnparkRun {
    /// The offset of the record that parked it, as `GET /v1/parked` names it.
    #[schema(minimum = 0, example = 4711)]
    pub(crate) offset: i64,
    /// The reason, for people; at most 16 KiB.
    reason: String,
}

/// What a request does to an existing run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Signal,
    Cancel,
    Terminate,
    Resume,
    Unpark,
}

impl Command {
    /// The word for it in event ids; persisted through them.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Cancel => "cancel",
            Self::Terminate => "terminate",
            Self::Resume => "resume",
            Self::Unpark => "unpark",
        }
    }

    /// Whether the request may come without a body.
    pub(crate) const fn may_be_empty(self) -> bool {
        !matches!(self, Self::Signal | Self::Unpark)
    }

    /// The event that `body` asks for.
    pub(crate) fn event(self, body: &JsonBody) -> Result<Event, Problem> {
        Ok(match self {
            Self::Signal => {
                let signal: SignalRun<'_> = body.parse()?;
                let name = name(&signal.name, "name")?;
                RunSignaled { name, payload: payload(&body.0, signal.payload, "payload")? }.into()
            }
            Self::Cancel => RunCancelRequested { reason: reason(body)? }.into(),
            Self::Terminate => RunTerminated { reason: reason(body)? }.into(),
            Self::Resume => {
                if !body.0.is_empty() {
                    body.parse::<ResumeRun>()?;
                }
                RunResumed {}.into()
            }
            Self::Unpark => {
                let UnparkRun { offset, reason } = body.parse()?;
                over(reason.len(), FAILURE_MESSAGE_BYTES_MAX, "reason", "bytes")?;
                if reason.trim().is_empty() {
                    let detail = "say why, for those who look at the run's history later";
                    return Err(Problem::new(Code::InvalidField, detail).field("reason"));
                }
                RunUnparked { offset, reason }.into()
            }
        })
    }
}

fn reason(body: &JsonBody) -> Result<String, Problem> {
    let request = if body.0.is_empty() { EndRun::default() } else { body.parse()? };
    let reason = request.reason.unwrap_or_default();
    over(reason.len(), FAILURE_MESSAGE_BYTES_MAX, "reason", "bytes")?;
    Ok(reason)
}
