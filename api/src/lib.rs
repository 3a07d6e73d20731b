//! The face: problem details, extractors, answers, principals, paging and waiting, shared by every HTTP route.
//!
//! Which routes exist is said where they are served (`ingest`, `projector`); what a fact is, in `schemas`.

pub mod answer;
pub mod auth;
pub mod body;
pub mod code;
pub mod cursor;
pub mod duration;
pub mod fallback;
pub mod headers;
pub mod namespace;
pub mod parameters;
pub mod payload;
pub mod principal;
pub mod problem;
pub mod run;
pub mod time;
pub mod token;
pub mod waiting;

pub use answer::json;
pub use auth::{Auth, Identity, Role};
pub use body::{JsonBody, read_body};
pub use code::Code;
pub use cursor::Cursor;
pub use duration::DurationParameter;
pub use headers::{Idempotency, Traceparent};
pub use namespace::{Namespace, Namespaces, RunPath};
pub use parameters::{AtLeast, Path, Query, page_items};
pub use payload::PayloadAnswer;
pub use principal::Principal;
pub use problem::Problem;
pub use run::RunAnswer;
pub use time::Time;
pub use waiting::Waiting;
