//! Strategies and helpers for the property tests of this and other crates. Not part of the product.

pub mod compose;
mod strategies;

pub use self::strategies::*;
pub use crate::codec::older::{WorkflowEvent, read as read_with_apache_avro};
