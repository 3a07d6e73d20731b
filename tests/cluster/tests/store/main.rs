//! What the CQL store promises, held against a real server.

mod admin;
mod faults;
mod orders;
mod refusals;
mod suite;
mod tables;
mod views;
/// Logs made of random actions, as the projector's own tests make them.
#[allow(dead_code)]
#[path = "../../../../projector/tests/views/world.rs"]
mod world;
