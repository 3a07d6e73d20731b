//! The left edge: the producer HTTP API, from a request to an appended record and the fold's verdict on it.
//!
//! What a record does is decided by the fold; reading views is the projector's. A request about a run of another
//! datacenter is asked there.

pub mod administration;
pub mod command;
pub mod datacenters;
pub mod fold;
pub mod forward;
pub mod http;
pub mod producer;
pub mod server;
pub mod start;
pub mod state;
mod submit;

pub use administration::Administration;
pub use datacenters::Datacenters;
pub use forward::Forwarder;
pub use producer::{LogProducer, Producer};
pub use state::{Ingest, Settings};
