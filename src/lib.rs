//! The door: a node to embed, its configuration and its telemetry. Rules, log, store and routes live in their rooms.

pub mod config;
pub mod telemetry;
