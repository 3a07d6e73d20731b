//! Strategies and helpers for the property tests of this and other crates. Not part of the product.

pub mod compose;
mod fixture;
mod json;
pub mod next_fold;
mod strategies;

pub use self::fixture::Fixture;
pub use self::json::{config_to_json, to_json};
pub use self::strategies::*;
pub use crate::codec::older::{ConfigChange, WorkflowEvent, read as read_with_apache_avro};
