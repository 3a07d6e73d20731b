//! The rules: what a fact does. Pure: no clock, no randomness, no IO, no tokio.
