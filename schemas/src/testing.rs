//! Strategies and helpers for the property tests of this and other crates. Not part of the product.

pub mod compose;
mod strategies;

pub use self::strategies::*;
