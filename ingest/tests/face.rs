//! The producer API over real TCP, against a log in memory and the real fold.

#[path = "face/bad_input.rs"]
mod bad_input;
#[path = "face/batch.rs"]
mod batch;
#[path = "face/description.rs"]
mod description;
#[path = "face/fates.rs"]
mod fates;
#[path = "face/forwarding.rs"]
mod forwarding;
#[path = "face/limits.rs"]
mod limits;
#[path = "face/node.rs"]
mod node;
#[path = "face/random.rs"]
mod random;
#[path = "face/runs.rs"]
mod runs;
#[path = "face/unpark.rs"]
mod unpark;
